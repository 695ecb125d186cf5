/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A line of a Dockerfile to a name, flags and words. How the words are cut depends on the instruction, by a table. */
#include <ctype.h>
#include <strings.h>

#include "berth/change.h"
#include "berth/string.h"
#include "dockerfile-private.h"

#define NESTING_MAX 16

void change_instruction_clear(ChangeInstruction *instruction)
{
        free(instruction->name);
        free(instruction->original);
        strv_free(instruction->flags);
        strv_free(instruction->words);
        *instruction = (ChangeInstruction) { 0 };
}

static int refuse(Error *error, const char *text)
{
        return error_set(error, OUTCOME_BAD_REQUEST, "%s", text);
}

/* --- Arguments ---------------------------------------------------------------------------------------------------- */

static int append_run(char ***list, const char *start, size_t size)
{
        CLEANUP_FREE char *copy = strndup(start, size);

        return copy ? strv_append(list, copy) : -ENOMEM;
}

static int split_blanks(const char *text, ChangeInstruction *ret)
{
        int r = 0;

        for (text += strspn(text, BLANKS); r == 0 && *text; text += strspn(text, BLANKS)) {
                size_t n = strcspn(text, BLANKS);

                r = append_run(&ret->words, text, n);
                text += n;
        }
        return r;
}

static int whole_text(const char *text, ChangeInstruction *ret)
{
        return *text ? strv_append(&ret->words, text) : 0;
}

/* Whether it is a JSON array, and its words; what follows the array is passed over. */
static int json_words(const char *text, ChangeInstruction *ret, Error *error)
{
        CLEANUP_JSON json_t *array = NULL;
        json_t *item;
        size_t i;

        text += strspn(text, BLANKS);
        if (*text == '[')
                array = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
        if (!json_is_array(array))
                return 0;
        json_array_foreach(array, i, item) {
                if (!json_is_string(item))
                        return refuse(error, "when using JSON array syntax, arrays must be comprised of strings only");
                if (strv_append(&ret->words, json_string_value(item)) < 0)
                        return -ENOMEM;
        }
        ret->json = true;
        return 0;
}

typedef int (*ParseWords)(const char *text, char escape, unsigned depth, ChangeInstruction *ret, Error *error);

static int parse_text(const char *text, char escape, unsigned depth, ChangeInstruction *ret, Error *error)
{
        (void) escape;
        (void) depth;
        (void) error;
        return whole_text(text, ret);
}

static int parse_list(const char *text, char escape, unsigned depth, ChangeInstruction *ret, Error *error)
{
        (void) escape;
        (void) depth;
        (void) error;
        return split_blanks(text, ret);
}

/* A JSON array of words, or else what FALLBACK makes of the text. */
static int json_or(const char *text, ChangeInstruction *ret, Error *error,
                   int (*fallback)(const char *text, ChangeInstruction *ret))
{
        int r = json_words(text, ret, error);

        return r == 0 && !ret->json ? fallback(text, ret) : r;
}

static int parse_command(const char *text, char escape, unsigned depth, ChangeInstruction *ret, Error *error)
{
        (void) escape;
        (void) depth;
        return json_or(text, ret, error, whole_text);
}

static int parse_json_list(const char *text, char escape, unsigned depth, ChangeInstruction *ret, Error *error)
{
        (void) escape;
        (void) depth;
        return json_or(text, ret, error, split_blanks);
}

/* A word of ENV or LABEL with its quotes and escapes. */
static const char *end_of_word(const char *p, char escape)
{
        char quote = 0;

        for (; *p && (quote || !isspace((unsigned char) *p)); p++) {
                if (quote && *p == quote)
                        quote = 0;
                else if (!quote && (*p == '\'' || *p == '"'))
                        quote = *p;
                else if (*p == escape && quote != '\'' && p[1])
                        p++;
        }
        return p;
}

static int parse_pairs(const char *text, char escape, unsigned depth, ChangeInstruction *ret, Error *error)
{
        const char *end = end_of_word(text, escape);
        int r = 0;
        (void) depth;

        if (!*text)
                return 0;
        /* The old form: a name, and all the rest. */
        if (!memchr(text, '=', (size_t) (end - text))) {
                size_t n = strcspn(text, BLANKS);

                if (!text[n]) {
                        CLEANUP_FREE char *name = str_upper(strdup(ret->name));

                        return error_set(error, OUTCOME_BAD_REQUEST, "%s must have two arguments", name ?: "");
                }
                r = append_run(&ret->words, text, n);
                return r == 0 ? strv_append(&ret->words, text + n + strspn(text + n, BLANKS)) : r;
        }
        while (r == 0 && *text) {
                const char *equals = memchr(text, '=', (size_t) (end - text));

                if (!equals)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "Syntax error - can't find = in \"%.*s\". Must be of the form: name=value",
                                         (int) (end - text), text);
                r = append_run(&ret->words, text, (size_t) (equals - text));
                if (r == 0)
                        r = append_run(&ret->words, equals + 1, (size_t) (end - equals - 1));
                text = end;
                while (isspace((unsigned char) *text))
                        text++;
                end = end_of_word(text, escape);
        }
        return r;
}

/* Names with or without a value, quotes kept. */
static int parse_names(const char *text, char escape, unsigned depth, ChangeInstruction *ret, Error *error)
{
        int r = 0;
        (void) depth;
        (void) error;

        while (r == 0 && *text) {
                const char *end = end_of_word(text, escape);

                r = append_run(&ret->words, text, (size_t) (end - text));
                for (text = end; isspace((unsigned char) *text); text++)
                        ;
        }
        return r;
}

/* NONE, or CMD and a command. */
static int parse_health(const char *text, char escape, unsigned depth, ChangeInstruction *ret, Error *error)
{
        size_t n = strcspn(text, BLANKS);
        int r;

        if (!*text)
                return 0;
        r = append_run(&ret->words, text, n);
        text += n + strspn(text + n, BLANKS);
        return r == 0 && *text ? parse_command(text, escape, depth, ret, error) : r;
}

static int parse_line(const char *line, char escape, unsigned depth, ChangeInstruction *ret, Error *error);

/* The instruction behind ONBUILD has to be one that can be read. */
static int parse_trigger(const char *text, char escape, unsigned depth, ChangeInstruction *ret, Error *error)
{
        CLEANUP(change_instruction_clear) ChangeInstruction inner = { 0 };
        int r;

        if (!*text)
                return 0;
        if (depth >= NESTING_MAX)
                return refuse(error, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
        r = parse_line(text, escape, depth + 1, &inner, error);
        return r == 0 ? strv_append(&ret->words, inner.name) : r;
}

/* --- Lines -------------------------------------------------------------------------------------------------------- */

/* Words that begin with two dashes, in front of the arguments. Quotes and backslashes have their usual meaning. */
static int take_flags(const char **text, ChangeInstruction *ret)
{
        const char *p = *text;
        int r = 0;

        while (r >= 0) {
                CLEANUP_BUFFER Buffer flag = { 0 };
                char quote = 0;

                while (isspace((unsigned char) *p))
                        p++;
                *text = p;
                if (p[0] != '-' || p[1] != '-')
                        return 0;
                for (; r >= 0 && *p && (quote || !isspace((unsigned char) *p)); p++) {
                        if (quote ? *p == quote : *p == '\'' || *p == '"') {
                                quote = quote ? 0 : *p;
                                continue;
                        }
                        if (*p == '\\' && p[1])
                                p++;
                        else if (*p == '\\')
                                continue;
                        r = buffer_append(&flag, p, 1);
                }
                *text = p;
                if (r >= 0 && str_equal(flag.data, "--"))
                        return 0;
                if (r >= 0)
                        r = strv_append(&ret->flags, flag.data ?: "");
        }
        return r;
}

/* What reads the arguments of an instruction. Others are not read here: their text stays whole. */
static const struct {
        const char *name;
        ParseWords parse;
} grammars[] = {
        { "CMD", parse_command },    { "ENTRYPOINT", parse_command }, { "RUN", parse_command },
        { "SHELL", parse_command },  { "ENV", parse_pairs },          { "LABEL", parse_pairs },
        { "EXPOSE", parse_list },    { "VOLUME", parse_json_list },   { "ADD", parse_json_list },
        { "COPY", parse_json_list }, { "HEALTHCHECK", parse_health }, { "FROM", parse_list },
        { "ARG", parse_names },      { "ONBUILD", parse_trigger },
};

static int parse_line(const char *line, char escape, unsigned depth, ChangeInstruction *ret, Error *error)
{
        CLEANUP(change_instruction_clear) ChangeInstruction instruction = { 0 };
        CLEANUP_FREE char *copy = NULL;
        ParseWords parse = parse_text;
        const char *rest;
        size_t n;
        int r;

        while (isspace((unsigned char) *line))
                line++;
        copy = strdup(line);
        if (!copy)
                return -ENOMEM;
        for (n = strlen(copy); n > 0 && isspace((unsigned char) copy[n - 1]); n--)
                copy[n - 1] = 0;
        n = strcspn(copy, BLANKS);
        instruction.name = strndup(copy, n);
        rest = copy + n;
        instruction.flags = calloc(1, sizeof(char *));
        instruction.words = calloc(1, sizeof(char *));
        if (!instruction.name || !instruction.flags || !instruction.words)
                return -ENOMEM;
        for (size_t i = 0; i < ARRAY_SIZE(grammars); i++)
                if (strcasecmp(instruction.name, grammars[i].name) == 0)
                        parse = grammars[i].parse;
        r = take_flags(&rest, &instruction);
        if (r == 0) {
                rest += strspn(rest, BLANKS);
                r = parse(rest, escape, depth, &instruction, error);
        }
        if (r != 0)
                return r;
        instruction.original = TAKE_PTR(copy);
        *ret = instruction;
        instruction = (ChangeInstruction) { 0 };
        return 0;
}

int change_parse_line(const char *line, char escape, ChangeInstruction *ret, Error *error)
{
        return parse_line(line, escape, 0, ret, error);
}
