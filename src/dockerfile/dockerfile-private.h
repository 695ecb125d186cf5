/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the front end share. */
#pragma once

#include "berth/change.h"
#include "berth/dockerfile.h"

#define BLANKS "\t\v\f\r "

/* A configuration while instructions are applied to it. */
typedef struct Change {
        json_t *config;
        const json_t *arguments; /* "name=value", for expansion behind the configuration's own variables; may be NULL */
        json_t *env;             /* what words are expanded with: as it was before the instruction; owned */
        char escape;
        bool command_set; /* by an earlier line */
        Error *error;
} Change;

bool change_is_known(const char *name);

/* Makes ENV what holds now. */
int change_take_environment(Change *change);

/* An absolute path without "." and "..", doubled and trailing slashes. */
int change_clean_path(const char *path, Buffer *ret);

/* The instruction is known. */
int change_apply_instruction(Change *change, const ChangeInstruction *instruction);

/* A text by lines; it is cut up. */
typedef struct LineReader {
        char *rest;
        char escape;
        unsigned number; /* of the line that was read last */
} LineReader;

/* The next line that says something, continuations joined: 1, 0 at the end. FIRST is set to where it begins. */
int line_reader_next(LineReader *reader, Buffer *ret, unsigned *ret_first);

void dockerfile_instruction_clear(DockerfileInstruction *item);

/* dockerfile-check.c: whether an instruction is known, has the arguments it needs, and no flags but its own. */
int dockerfile_check(const DockerfileInstruction *item, Error *error);

/* A value of an instruction's flag ("--from=x"), borrowed: NULL where it isn't given, "" where it has none. */
const char *instruction_flag(const ChangeInstruction *instruction, const char *name);
bool instruction_flag_bool(const ChangeInstruction *instruction, const char *name);
bool instruction_is(const ChangeInstruction *instruction, const char *name);

/* dockerfile-comment.c: what stands in the history for an instruction that CHANGE has applied, as Docker's classic
 * builder writes it, behind the shell: "#(nop)  ENV a=b". Owned by the caller; NULL when out of memory. */
char *change_comment(const Change *change, const ChangeInstruction *instruction);

/* dockerfile-argument.c: ARGs in effect */
typedef struct Arguments {
        const DockerfileOptions *options;
        json_t *meta;  /* of the global ARGs: name to value or null; owned */
        json_t *stage; /* of the stage: name to value or null; owned */
} Arguments;

void arguments_clear(Arguments *arguments);
/* A value that holds without any ARG (platform and proxy arguments); NULL where there is none. */
const char *arguments_global(const Arguments *arguments, const char *name, char buffer[static 64]);
/* Declares NAME with its default (NULL: none) in the table. */
int arguments_declare(Arguments *arguments, bool meta, const char *name, const char *value);
/* "name=value" of all that have one, for expansion; those of the stage, or the global ones. */
json_t *arguments_list(const Arguments *arguments, bool meta);
/* Those of the stage that ENV (an array of "name=value") does not hide, sorted: what a RUN's environment has, and, with
 * PROXIES, also those that need no ARG. */
json_t *arguments_environment(const Arguments *arguments, const json_t *env, bool proxies);
bool environment_names(const json_t *env, const char *name, size_t length);

/* dockerfile-stage.c */
typedef struct StageWork {
        const Dockerfile *file;
        const DockerfileOptions *options;
        const json_t *plan;
        size_t stage;
        Change change;
        Arguments arguments;
        json_t *steps; /* owned */
        bool refused;  /* the last step says why there are no more */
        Error *error;
} StageWork;

/* dockerfile-copy.c, dockerfile-run.c: the step of one instruction, a new reference. */
int stage_copy(StageWork *work, const DockerfileInstruction *item, json_t **ret_step);
int stage_run(StageWork *work, const DockerfileInstruction *item, json_t **ret_step);
/* Whether the build has a context of that name, in whatever case: as it is called there, else NULL. */
const char *options_context(const DockerfileOptions *options, const char *name);
/* "--from=x": sets "FromStage", "From" or "Context". */
int stage_from(StageWork *work, const char *from, json_t *object);
/* The shell of the configuration, or /bin/sh -c, as a new array. */
json_t *stage_shell(const StageWork *work);
/* Expands a word with what holds now, as a new string. */
int stage_expand(StageWork *work, const char *word, char **ret);
