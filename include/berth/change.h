/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines of a Dockerfile that change an image's configuration: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL,
 * ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR, in Docker's grammar, with its errors. The grammar is that of Docker's
 * Dockerfile reference; what it leaves open was seen in what dockerd answers. */
#pragma once

#include <jansson.h>

#include "berth/buffer.h"
#include "berth/outcome.h"

/* Changes CONFIG (an image's "config" object) by the lines of CHANGES, a NULL-terminated vector that may be NULL, taken
 * together as one file. OUTCOME_BAD_REQUEST; CONFIG may then be changed in part. */
int change_apply(json_t *config, char *const *changes, Error *error);

/* One instruction as it was read. The empty value is {}. */
typedef struct ChangeInstruction {
        char *name;     /* as it was written; all owned */
        char *original; /* the whole line, continuations joined */
        char **flags;   /* "--name=value" in front of the arguments */
        char **words;   /* of ENV and LABEL: name, value, name, value */
        bool json;      /* the words were a JSON array */
} ChangeInstruction;

void change_instruction_clear(ChangeInstruction *instruction);

/* Reads one line, continuations joined. ESCAPE is the escape character, a backslash by default. */
int change_parse_line(const char *line, char escape, ChangeInstruction *ret, Error *error);

/* Takes the quotes off a word, and puts in what variables stand for: $a, ${a}, and ${a:-b} and its kin. ENV is an array
 * of "name=value", or NULL. */
int change_expand(const char *word, char escape, const json_t *env, Buffer *ret, Error *error);
