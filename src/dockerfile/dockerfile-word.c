/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A word of a Dockerfile: quotes, escapes and variables. A word is scanned once, from its first byte to its last; the
 * part behind a modifier is a word in itself, so the scanner calls itself, to a limit. Patterns (* and ?) are tried by
 * the states that can be reached, which takes as long as text and pattern are long, multiplied: beyond a limit they are
 * refused. */
#include <ctype.h>

#include "berth/change.h"
#include "berth/json.h"
#include "berth/string.h"
#include "dockerfile-private.h"

#define WORD_DEPTH_MAX 50
#define PATTERN_WORK_MAX (32u * 1024 * 1024)

typedef struct Word {
        const char *next;
        char escape;
        const json_t *env;
        unsigned depth;
        Error *error;
} Word;

static int scan(Word *word, char stop, bool raw_escapes, Buffer *result);

static int refuse(Word *word, const char *text)
{
        return error_set(word->error, OUTCOME_BAD_REQUEST, "%s", text);
}

static int add(Buffer *result, char c)
{
        return buffer_append(result, &c, 1);
}

static const char *find_variable(const json_t *env, const char *name)
{
        size_t i, length = strlen(name);
        json_t *item;

        json_array_foreach((json_t *) env, i, item) {
                const char *text = json_string_value(item);
                if (text && strncmp(text, name, length) == 0 && (text[length] == '=' || !text[length]))
                        return text[length] ? text + length + 1 : "";
        }
        return NULL;
}

static bool is_name(char c)
{
        return isalnum((unsigned char) c) || c == '_' || (c & 0x80);
}

/* Digits alone, one of the shell's special characters, or a name. */
static char *scan_name(Word *word)
{
        const char *start = word->next;

        if (isdigit((unsigned char) *word->next))
                while (isdigit((unsigned char) *word->next))
                        word->next++;
        else if (*word->next && strchr("@*#?-$!", *word->next))
                word->next++;
        else
                while (*word->next && is_name(*word->next))
                        word->next++;
        return strndup(start, (size_t) (word->next - start));
}

/* --- Patterns ----------------------------------------------------------------------------------------------------- */

typedef struct Pattern {
        char *text;    /* owned: the characters, escapes undone */
        bool *special; /* owned: the character is * or ? and means it */
        size_t size;
} Pattern;

static void pattern_clear(Pattern *pattern)
{
        free(pattern->text);
        free(pattern->special);
}

static int pattern_read(const char *text, Pattern *ret)
{
        Pattern pattern = { .text = malloc(strlen(text) + 1), .special = calloc(strlen(text) + 1, sizeof(bool)) };

        if (!pattern.text || !pattern.special) {
                pattern_clear(&pattern);
                return -ENOMEM;
        }
        for (const char *p = text; *p; p++) {
                bool escaped = *p == '\\' && p[1];

                p += escaped;
                pattern.special[pattern.size] = !escaped && (*p == '*' || *p == '?');
                pattern.text[pattern.size++] = *p;
        }
        *ret = pattern;
        return 0;
}

/* What of TEXT, from its beginning, the pattern matches: the shortest and longest length. False where nothing does.
 * BACKWARDS: from the end of both. */
static int pattern_match(const Pattern *pattern, const char *text, size_t size, bool backwards, bool *ret_found,
                         size_t *ret_shortest, size_t *ret_longest)
{
        CLEANUP_FREE bool *now = calloc(pattern->size + 1, sizeof(bool)),
                          *then = calloc(pattern->size + 1, sizeof(bool));

        if (!now || !then)
                return -ENOMEM;
        *ret_found = false;
        now[0] = true;
        for (size_t i = 0; i <= size; i++) {
                char c = i < size ? text[backwards ? size - 1 - i : i] : 0;
                bool any = false;

                memset(then, 0, pattern->size + 1);
                for (size_t k = 0; k < pattern->size; k++) {
                        size_t at = backwards ? pattern->size - 1 - k : k;
                        bool star = pattern->special[at] && pattern->text[at] == '*';

                        if (!now[k])
                                continue;
                        if (star)
                                now[k + 1] = then[k] = any = true;
                        else if (i < size && (pattern->special[at] || pattern->text[at] == c))
                                then[k + 1] = any = true;
                }
                if (now[pattern->size]) {
                        if (!*ret_found)
                                *ret_shortest = i;
                        *ret_longest = i;
                        *ret_found = true;
                }
                if (!any)
                        break;
                bool *swap = now;
                now = then;
                then = swap;
        }
        return 0;
}

static int check_work(Word *word, size_t a, size_t b)
{
        if (a > 0 && b > PATTERN_WORK_MAX / a)
                return refuse(word, "pattern too long");
        return 0;
}

static int trim(Word *word, char modifier, const char *text, const char *value, Buffer *result)
{
        CLEANUP(pattern_clear) Pattern pattern = { 0 };
        size_t size = strlen(value), shortest, longest;
        bool found, greedy = *text == modifier, backwards = modifier == '%';
        int r = pattern_read(text + greedy, &pattern);

        if (r == 0)
                r = check_work(word, size + 1, pattern.size + 1);
        if (r == 0)
                r = pattern_match(&pattern, value, size, backwards, &found, &shortest, &longest);
        if (r != 0)
                return r;
        size_t cut = !found ? 0 : greedy ? longest : shortest;
        return buffer_append(result, value + (backwards ? 0 : cut), size - cut);
}

static int replace(Word *word, const char *text, const char *with, bool all, const char *value, Buffer *result)
{
        CLEANUP(pattern_clear) Pattern pattern = { 0 };
        size_t size = strlen(value);
        int r = pattern_read(text, &pattern);
        bool done = false;

        if (r == 0)
                r = check_work(word, size + 1, pattern.size + 1);
        if (r == 0)
                r = check_work(word, (size + 1) * (pattern.size + 1), size + 1);
        for (size_t i = 0; r == 0 && i < size;) {
                size_t shortest, longest = 0;
                bool found = false;

                if (!done)
                        r = pattern_match(&pattern, value + i, size - i, false, &found, &shortest, &longest);
                if (r == 0 && found && longest > 0) {
                        r = buffer_append_string(result, with);
                        i += longest;
                        done = !all;
                } else if (r == 0)
                        r = add(result, value[i++]);
        }
        return r;
}

/* --- Variables ---------------------------------------------------------------------------------------------------- */

/* The rest of "${name<modifier>...}", up to STOP. */
static int scan_part(Word *word, char stop, bool raw_escapes, const char *missing, Buffer *part)
{
        int r;

        if (++word->depth > WORD_DEPTH_MAX)
                return refuse(word, "syntax error: nested too deep");
        r = scan(word, stop, raw_escapes, part);
        word->depth--;
        if (r > 0 && !*word->next) {
                error_clear(word->error);
                return refuse(word, missing);
        }
        return r == 0 ? buffer_append(part, "", 0) : r;
}

static int require(Word *word, const char *name, const char *value, const char *text, Buffer *result)
{
        if (value)
                return buffer_append_string(result, value);
        return error_set(word->error, OUTCOME_BAD_REQUEST, "%s: %s", name, text);
}

static int modify(Word *word, const char *name, char modifier, bool null_is_unset, const char *part, Buffer *result)
{
        const char *value = find_variable(word->env, name);
        bool unset = !value, usable = value && !(null_is_unset && !*value);

        switch (modifier) {
        case '-':
                return buffer_append_string(result, usable ? value : part);
        case '+':
                return buffer_append_string(result, usable ? part : "");
        case '?':
                return require(word, name, usable ? value : NULL,
                               *part   ? part
                               : unset ? "is not allowed to be unset"
                                       : "is not allowed to be empty",
                               result);
        default:
                return trim(word, modifier, part, value ?: "", result);
        }
}

/* The modifier as it is shown: a whole character, or the sign for none. */
static int refuse_modifier(Word *word, const char *colon, const char *at)
{
        size_t n = 1;

        while (*at && (at[n] & 0xc0) == 0x80)
                n++;
        return error_set(word->error, OUTCOME_BAD_REQUEST, "unsupported modifier (%s%.*s) in substitution", colon,
                         *at ? (int) n : 3, *at ? at : "\xef\xbf\xbd");
}

static int scan_replacement(Word *word, const char *name, Buffer *result)
{
        CLEANUP_BUFFER Buffer pattern = { 0 }, with = { 0 };
        bool all = *word->next == '/';
        int r;

        word->next += all;
        r = scan_part(word, '/', true, "syntax error: missing '/' in ${}", &pattern);
        if (r == 0)
                r = scan_part(word, '}', true, "syntax error: missing '}'", &with);
        if (r != 0)
                return r;
        return replace(word, pattern.data, with.data, all, find_variable(word->env, name) ?: "", result);
}

static int scan_modified(Word *word, const char *name, Buffer *result)
{
        CLEANUP_BUFFER Buffer part = { 0 };
        bool colon = *word->next == ':';
        const char *at = word->next + colon;

        if (*at == '/' && !colon) {
                word->next = at + 1;
                return scan_replacement(word, name, result);
        }
        bool known = *at && strchr("+-?#%", *at);
        if (!known && !colon)
                return refuse_modifier(word, "", at);
        word->next = at + (*at != 0);
        int r = scan_part(word, '}', *at == '#' || *at == '%', "syntax error: missing '}'", &part);
        if (r != 0)
                return r;
        return known ? modify(word, name, *at, colon, part.data, result) : refuse_modifier(word, ":", at);
}

static int scan_variable(Word *word, Buffer *result)
{
        CLEANUP_FREE char *name = NULL;
        bool braces = *++word->next == '{';

        word->next += braces;
        if (braces && !*word->next)
                return refuse(word, "syntax error: missing '}'");
        if (braces && strchr("{}:", *word->next))
                return refuse(word, "syntax error: bad substitution");
        name = scan_name(word);
        if (!name)
                return -ENOMEM;
        if (!braces)
                return buffer_append_string(result, *name ? find_variable(word->env, name) ?: "" : "$");
        if (*word->next != '}')
                return scan_modified(word, name, result);
        word->next++;
        return buffer_append_string(result, find_variable(word->env, name) ?: "");
}

/* --- Quotes ------------------------------------------------------------------------------------------------------- */

static int scan_single_quoted(Word *word, Buffer *result)
{
        const char *end = strchr(++word->next, '\'');
        int r;

        if (!end) {
                word->next += strlen(word->next);
                return refuse(word, "unexpected end of statement while looking for matching single-quote");
        }
        r = buffer_append(result, word->next, (size_t) (end - word->next));
        word->next = end + 1;
        return r;
}

static int scan_double_quoted(Word *word, bool raw_escapes, Buffer *result)
{
        int r = 0;

        word->next++;
        while (r == 0) {
                char c = *word->next;

                if (!c)
                        return refuse(word, "unexpected end of statement while looking for matching double-quote");
                if (c == '$') {
                        r = scan_variable(word, result);
                        continue;
                }
                word->next++;
                if (c == '"')
                        return 0;
                if (c == word->escape) {
                        char escaped = *word->next;

                        if (raw_escapes)
                                r = add(result, c);
                        if (!escaped)
                                continue;
                        if (escaped == '"' || escaped == '$' || escaped == word->escape) {
                                c = escaped;
                                word->next++;
                        }
                }
                if (r == 0)
                        r = add(result, c);
        }
        return r;
}

static int scan(Word *word, char stop, bool raw_escapes, Buffer *result)
{
        int r = 0;

        while (r == 0 && *word->next) {
                char c = *word->next;

                if (stop && c == stop) {
                        word->next++;
                        return 0;
                }
                if (c == '\'')
                        r = scan_single_quoted(word, result);
                else if (c == '"')
                        r = scan_double_quoted(word, raw_escapes, result);
                else if (c == '$')
                        r = scan_variable(word, result);
                else {
                        word->next++;
                        if (c == word->escape) {
                                if (raw_escapes)
                                        r = add(result, c);
                                c = *word->next;
                                if (!c)
                                        break;
                                word->next++;
                        }
                        if (r == 0)
                                r = add(result, c);
                }
        }
        if (r == 0 && stop)
                return error_set(word->error, OUTCOME_BAD_REQUEST,
                                 "unexpected end of statement while looking for matching %c", stop);
        return r;
}

/* As Go's %q writes it, for the characters that matter. */
static int quote(const char *text, Buffer *result)
{
        int r = add(result, '"');

        for (; r >= 0 && *text; text++) {
                unsigned char c = (unsigned char) *text;

                if (c == '"' || c == '\\')
                        r = buffer_printf(result, "\\%c", c);
                else if (c == '\n' || c == '\t' || c == '\r')
                        r = buffer_printf(result, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
                else if (c < 0x20 || c == 0x7f)
                        r = buffer_printf(result, "\\x%02x", c);
                else
                        r = add(result, (char) c);
        }
        return r < 0 ? r : add(result, '"');
}

int change_expand(const char *text, char escape, const json_t *env, Buffer *ret, Error *error)
{
        CLEANUP_BUFFER Buffer result = { 0 }, quoted = { 0 };
        CLEANUP_ERROR Error problem = { 0 };
        Word word = { .next = text, .escape = escape, .env = env, .error = &problem };
        int r = buffer_append_string(&result, "");

        if (r >= 0)
                r = scan(&word, 0, false, &result);
        if (r > 0) {
                if (quote(text, &quoted) < 0)
                        return -ENOMEM;
                return error_set(error, OUTCOME_BAD_REQUEST, "failed to process %s: %s", quoted.data, problem.message);
        }
        if (r < 0)
                return r;
        buffer_clear(ret);
        *ret = result;
        result = (Buffer) { 0 };
        return 0;
}
