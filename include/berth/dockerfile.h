/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Dockerfile front end: text to a plan of stages, and a stage, once its base's configuration is known, to steps.
 * Nothing here reads or writes anything. The language is that of Docker's Dockerfile reference (syntax 1).
 *
 * A plan:
 *   {"Arguments":[{"Title","First"}],"Values":{},     global ARGs in order, and what they are
 *    "Target":N,                                       the stage that is the result
 *    "Stages":[{"Name","Platform","Title","First","Last",
 *               "Base":reference or "scratch",
 *               "BaseStage":N,                       absent: an image
 *               "Needs":[N],                         earlier ones that it is made of
 *               "Needed":bool,                       the target needs it
 *               "Commands":n}]}                      instructions behind FROM
 * A stage:
 *   {"Config":{...},            the configuration it begins with: the base's, less its triggers
 *    "Triggers":n,              so many of the first steps are the base's triggers
 *    "Arguments":[...],"Environment":[...]  what a stage made of this one starts with
 *    "Steps":[{"Kind":"config"|"workdir"|"copy"|"run","Title","First","Last",
 *              "CreatedBy",     of the history; of a copy, "%s" stands for what was copied
 *              "Config":{...},  the configuration after it
 *              ...}]}
 * and of the kinds:
 *   refusal  "Message": the instruction makes no sense where it stands; no step follows
 *   workdir  "Path"
 *   run      "Argv","Env" (all of it),"Network","Security","Script":text or absent,
 *            "Mounts":[{"Type","Target","Source","From","FromStage","Context","ReadOnly","Id","Sharing","Uid","Gid",
 *                       "Mode","Size","Required","Env"}]
 *   copy     "Add","Sources":[...],"Inline":[{"Name","Content"}],
 *            "Target" (absolute; ends in / where it was so written),
 *            "FromStage":N,"From":reference,"Context","Owner","Mode","Link","Parents","Exclude":[...],"Checksum",
 *            "KeepGit","Unpack":bool or absent */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "berth/change.h"
#include "berth/ignore.h"
#include "berth/outcome.h"

typedef struct DockerfileHeredoc {
        char *name, *content; /* owned */
        bool expand;          /* its name was not quoted */
} DockerfileHeredoc;

typedef struct DockerfileInstruction {
        ChangeInstruction parsed;
        unsigned first, last; /* lines, from 1 */
        DockerfileHeredoc *heredocs;
        size_t n_heredocs;
} DockerfileInstruction;

/* The empty value is {}. */
typedef struct Dockerfile {
        char escape;
        DockerfileInstruction *items; /* owned */
        size_t count;
        char *syntax, *check; /* of the parser directives; owned, may be NULL */
} Dockerfile;

void dockerfile_clear(Dockerfile *file);
#define CLEANUP_DOCKERFILE CLEANUP(dockerfile_clear)

/* Reads it and checks the form of every instruction. OUTCOME_BAD_REQUEST "dockerfile parse error on line N: ...". */
int dockerfile_parse(const char *data, size_t size, Dockerfile *ret, Error *error);

typedef struct DockerfileOptions {
        const json_t *arguments;              /* of --build-arg: {"NAME": "value" or null}; may be NULL */
        const json_t *labels;                 /* {"name": "value"}, a last LABEL of the target; may be NULL */
        const json_t *contexts;               /* {"NAME": anything}: what FROM and from= first mean; may be NULL */
        const char *target;                   /* name or number of a stage; NULL or "": the last */
        const char *platform, *host_platform; /* "linux/amd64", "linux/arm64/v8" */
} DockerfileOptions;

/* OUTCOME_BAD_REQUEST. */
int dockerfile_plan(const Dockerfile *file, const DockerfileOptions *options, json_t **ret_plan, Error *error);

/* The steps of one stage. BASE_CONFIG is the base image's "config" object, NULL for scratch; PARENT what this returned
 * for the stage it is based on, NULL where that is an image. */
int dockerfile_stage(const Dockerfile *file, const DockerfileOptions *options, const json_t *plan, size_t stage,
                     const json_t *base_config, const json_t *parent, json_t **ret_stage, Error *error);

/* The names given by --build-arg that no ARG took, sorted. */
int dockerfile_unused(const Dockerfile *file, const DockerfileOptions *options, char ***ret_names);
