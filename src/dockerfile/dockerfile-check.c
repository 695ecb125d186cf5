/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The form of each instruction, by a table: which flags it has, and how many arguments. */
#include <ctype.h>
#include <strings.h>

#include "berth/string.h"
#include "dockerfile-private.h"

typedef enum ArgumentRule {
        ANY_ARGUMENTS,
        ONE_ARGUMENT,
        SOME_ARGUMENTS,
        TWO_ARGUMENTS,
        FROM_ARGUMENTS,
        JSON_ARGUMENTS,
} ArgumentRule;

/* Flags by name; one with "=" takes a value, with "*" it may be repeated. */
static const struct {
        const char *name;
        const char *const flags[10];
        ArgumentRule rule;
} instructions[] = {
        { "ADD",
          { "from=", "chown=", "chmod=", "link", "keep-git-dir", "checksum=", "exclude=*", "unpack" },
          TWO_ARGUMENTS },
        { "ARG", { NULL }, SOME_ARGUMENTS },
        { "CMD", { NULL }, ANY_ARGUMENTS },
        { "COPY", { "from=", "chown=", "chmod=", "link", "parents", "exclude=*" }, TWO_ARGUMENTS },
        { "ENTRYPOINT", { NULL }, ANY_ARGUMENTS },
        { "ENV", { NULL }, SOME_ARGUMENTS },
        { "EXPOSE", { NULL }, SOME_ARGUMENTS },
        { "FROM", { "platform=" }, FROM_ARGUMENTS },
        { "HEALTHCHECK", { "interval=", "timeout=", "start-period=", "start-interval=", "retries=" }, SOME_ARGUMENTS },
        { "LABEL", { NULL }, SOME_ARGUMENTS },
        { "MAINTAINER", { NULL }, ONE_ARGUMENT },
        { "ONBUILD", { NULL }, SOME_ARGUMENTS },
        { "RUN", { "mount=*", "network=", "security=" }, SOME_ARGUMENTS },
        { "SHELL", { NULL }, JSON_ARGUMENTS },
        { "STOPSIGNAL", { NULL }, ONE_ARGUMENT },
        { "USER", { NULL }, ONE_ARGUMENT },
        { "VOLUME", { NULL }, SOME_ARGUMENTS },
        { "WORKDIR", { NULL }, ONE_ARGUMENT },
};

bool instruction_is(const ChangeInstruction *instruction, const char *name)
{
        return strcasecmp(instruction->name, name) == 0;
}

static const char *flag_value(const char *flag, const char *name)
{
        const char *rest = str_after_prefix(flag + 2, name);

        if (!rest || (*rest && *rest != '='))
                return NULL;
        return *rest ? rest + 1 : "";
}

const char *instruction_flag(const ChangeInstruction *instruction, const char *name)
{
        for (char **flag = instruction->flags; *flag; flag++)
                if (flag_value(*flag, name))
                        return flag_value(*flag, name);
        return NULL;
}

/* "--link", "--link=true". */
bool instruction_flag_bool(const ChangeInstruction *instruction, const char *name)
{
        const char *value = instruction_flag(instruction, name);

        return value && strcasecmp(value, "false") != 0;
}

static int check_flag(const ChangeInstruction *instruction, size_t index, const char *flag, Error *error)
{
        const char *const *known = instructions[index].flags;
        size_t length = strcspn(flag + 2, "="), same = 0;
        bool value = flag[2 + length] == '=';

        for (; *known; known++)
                if (strcspn(*known, "=") == length && strncmp(*known, flag + 2, length) == 0)
                        break;
        if (!*known)
                return error_set(error, OUTCOME_BAD_REQUEST, "unknown flag: %.*s", (int) length, flag + 2);
        for (char **other = instruction->flags; *other != flag; other++)
                same += strcspn(*other + 2, "=") == length && strncmp(*other + 2, flag + 2, length) == 0;
        if (same > 0 && !str_has_suffix(*known, "*"))
                return error_set(error, OUTCOME_BAD_REQUEST, "duplicate flag specified: %.*s", (int) length, flag + 2);
        if (strchr(*known, '=') && !value)
                return error_set(error, OUTCOME_BAD_REQUEST, "missing a value on flag: %.*s", (int) length, flag + 2);
        if (!strchr(*known, '=') && value && strcasecmp(flag + 3 + length, "true") != 0 &&
            strcasecmp(flag + 3 + length, "false") != 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "expecting boolean value for flag %.*s, not: %s",
                                 (int) length, flag + 2, flag + 3 + length);
        return 0;
}

static int check_from(const ChangeInstruction *instruction, Error *error)
{
        char *const *words = instruction->words;
        size_t n = strv_length(words);

        if ((n != 1 && n != 3) || (n == 3 && strcasecmp(words[1], "AS") != 0))
                return error_set(error, OUTCOME_BAD_REQUEST, "FROM requires either one or three arguments");
        if (n == 1)
                return 0;
        const char *name = words[2];
        bool valid = isalpha((unsigned char) *name);
        for (const char *p = name; valid && *p; p++)
                valid = isalnum((unsigned char) *p) || strchr("-_.", *p);
        if (!valid)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid name for build stage: \"%s\", name can't start with a number or contain "
                                 "symbols",
                                 name);
        return 0;
}

static int check_arguments(const ChangeInstruction *instruction, size_t index, size_t n_heredocs, Error *error)
{
        const char *name = instructions[index].name;
        size_t n = strv_length(instruction->words);

        switch (instructions[index].rule) {
        case ONE_ARGUMENT:
                return n == 1 ? 0 : error_set(error, OUTCOME_BAD_REQUEST, "%s requires exactly one argument", name);
        case SOME_ARGUMENTS:
                if (n > 0)
                        return 0;
                return error_set(error, OUTCOME_BAD_REQUEST, "%s requires at least one argument", name);
        case TWO_ARGUMENTS:
                if (n >= 2)
                        return 0;
                (void) n_heredocs;
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "%s requires at least two arguments, but only one was provided. Destination could "
                                 "not be determined",
                                 name);
        case FROM_ARGUMENTS:
                return check_from(instruction, error);
        case JSON_ARGUMENTS:
                if (n == 0)
                        return error_set(error, OUTCOME_BAD_REQUEST, "SHELL requires at least one argument");
                if (!instruction->json)
                        return error_set(error, OUTCOME_BAD_REQUEST, "SHELL requires the arguments to be in JSON form");
                return 0;
        default:
                return 0;
        }
}

/* An ARG's name may not be missing: "ARG =x". */
static int check_names(const ChangeInstruction *instruction, Error *error)
{
        bool pairs = instruction_is(instruction, "ENV") || instruction_is(instruction, "LABEL");

        for (size_t i = 0; pairs && instruction->words[i]; i += 2)
                if (!*instruction->words[i])
                        return error_set(error, OUTCOME_BAD_REQUEST, "%s names can not be blank",
                                         instruction_is(instruction, "ENV") ? "ENV" : "LABEL");
        if (instruction_is(instruction, "ARG"))
                for (char **word = instruction->words; *word; word++)
                        if (**word == '=')
                                return error_set(error, OUTCOME_BAD_REQUEST, "ARG names can not be blank");
        return 0;
}

static int check_trigger(const ChangeInstruction *instruction, Error *error)
{
        const char *inner = instruction->words[0];

        if (!instruction_is(instruction, "ONBUILD"))
                return 0;
        if (strcasecmp(inner, "ONBUILD") == 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
        if (strcasecmp(inner, "FROM") == 0 || strcasecmp(inner, "MAINTAINER") == 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "%s isn't allowed as an ONBUILD trigger",
                                 strcasecmp(inner, "FROM") == 0 ? "FROM" : "MAINTAINER");
        return 0;
}

#define SUGGEST_LENGTH_MAX 24
#define SUGGEST_DISTANCE_MAX 2

/* How many characters have to be put in, left out or changed. */
static size_t distance(const char *a, const char *b)
{
        size_t row[SUGGEST_LENGTH_MAX + 1], n = strlen(b);

        for (size_t k = 0; k <= n; k++)
                row[k] = k;
        for (size_t i = 1; a[i - 1]; i++) {
                size_t diagonal = row[0];

                row[0] = i;
                for (size_t k = 1; k <= n; k++) {
                        bool same = toupper((unsigned char) a[i - 1]) == b[k - 1];
                        size_t best = MIN(diagonal + !same, MIN(row[k], row[k - 1]) + 1);
                        diagonal = row[k];
                        row[k] = best;
                }
        }
        return row[n];
}

static int refuse_unknown(const char *name, Error *error)
{
        size_t best = SUGGEST_DISTANCE_MAX + 1;
        const char *other = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(instructions) && strlen(name) <= SUGGEST_LENGTH_MAX; i++) {
                size_t d = distance(name, instructions[i].name);
                if (d < best) {
                        best = d;
                        other = instructions[i].name;
                }
        }
        return error_set(error, OUTCOME_BAD_REQUEST, "unknown instruction: %s%s%s%s", name,
                         other ? " (did you mean " : "", other ?: "", other ? "?)" : "");
}

int dockerfile_check(const DockerfileInstruction *item, Error *error)
{
        const ChangeInstruction *instruction = &item->parsed;
        size_t i = 0;
        int r = 0;

        while (i < ARRAY_SIZE(instructions) && !instruction_is(instruction, instructions[i].name))
                i++;
        if (i == ARRAY_SIZE(instructions))
                return refuse_unknown(instruction->name, error);
        for (char **flag = instruction->flags; r == 0 && *flag; flag++)
                r = check_flag(instruction, i, *flag, error);
        if (r == 0)
                r = check_arguments(instruction, i, item->n_heredocs, error);
        if (r == 0)
                r = check_names(instruction, error);
        return r == 0 ? check_trigger(instruction, error) : r;
}
