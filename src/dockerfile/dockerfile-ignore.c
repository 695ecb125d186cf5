/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* .dockerignore: one pattern a line, # comments, ! for what is in again. A pattern that matches a directory matches all
 * below it; the last pattern that matches decides. "**" stands for any number of names, also none. */
#include <ctype.h>

#include "berth/dockerfile.h"
#include "berth/string.h"
#include "dockerfile-private.h"

#define PATTERN_MAX 4096

typedef struct Pattern {
        char *text; /* owned: clean, without a slash at either end */
        bool included;
} Pattern;

struct DockerIgnore {
        Pattern *patterns; /* owned */
        size_t count;
        bool any_included;
};

void dockerignore_free(DockerIgnore *ignore)
{
        if (!ignore)
                return;
        for (size_t i = 0; i < ignore->count; i++)
                free(ignore->patterns[i].text);
        free(ignore->patterns);
        free(ignore);
}

/* --- Matching ----------------------------------------------------------------------------------------------------- */

/* "[a-z]", from behind the bracket: whether C is in it. NULL where it doesn't end. */
static const char *match_class(const char *p, char c, bool *ret)
{
        bool negated = *p == '^', found = false;

        p += negated;
        for (bool first = true; *p && (first || *p != ']'); first = false) {
                char low = *p == '\\' && p[1] ? *++p : *p, high = low;

                p++;
                if (p[0] == '-' && p[1] && p[1] != ']') {
                        high = p[1] == '\\' && p[2] ? p[2] : p[1];
                        p += p[1] == '\\' && p[2] ? 3 : 2;
                }
                if (low <= c && c <= high)
                        found = true;
        }
        *ret = found != negated;
        return *p == ']' ? p + 1 : NULL;
}

/* By dynamic programming over both texts' lengths, so that no pattern takes long: row I says which prefixes of PATH the
 * first I elements match. */
typedef struct Element {
        enum { LITERAL, ANY_ONE, ANY_IN_NAME, ANY_NAMES, CLASS } kind;
        const char *at; /* of a class */
        char c;
} Element;

static size_t next_element(const char *p, Element *ret)
{
        if (p[0] == '*' && p[1] == '*') {
                size_t n = strspn(p, "*");
                *ret = (Element) { .kind = ANY_NAMES };
                return n;
        }
        if (*p == '*' || *p == '?') {
                *ret = (Element) { .kind = *p == '*' ? ANY_IN_NAME : ANY_ONE };
                return 1;
        }
        bool found;
        const char *end = *p == '[' ? match_class(p + 1, 'x', &found) : NULL;
        if (end) {
                *ret = (Element) { .kind = CLASS, .at = p + 1 };
                return (size_t) (end - p);
        }
        bool escaped = *p == '\\' && p[1];
        *ret = (Element) { .kind = LITERAL, .c = p[escaped] };
        return 1 + escaped;
}

static void advance(const Element *element, const char *path, size_t size, const bool *from, bool *to)
{
        bool running = false;

        memset(to, 0, size + 1);
        for (size_t i = 0; i <= size; i++) {
                bool here = from[i], in;

                switch (element->kind) {
                case ANY_IN_NAME:
                        running = here || (running && i > 0 && path[i - 1] != '/');
                        to[i] = running;
                        break;
                case ANY_NAMES:
                        running = running || here;
                        to[i] = running;
                        break;
                default:
                        if (!here || i == size)
                                break;
                        if (element->kind == LITERAL)
                                in = path[i] == element->c;
                        else if (element->kind == ANY_ONE)
                                in = path[i] != '/';
                        else
                                in = path[i] != '/' && match_class(element->at, path[i], &in) && in;
                        to[i + 1] = in;
                }
        }
}

/* "**" and a slash behind it also stand for nothing at all. */
static bool match(const char *pattern, const char *path, size_t size)
{
        bool a[PATTERN_MAX + 1], b[PATTERN_MAX + 1], *from = a, *to = b;

        if (size > PATTERN_MAX)
                return false;
        memset(a, 0, size + 1);
        a[0] = true;
        while (*pattern) {
                Element element;
                size_t n = next_element(pattern, &element);

                advance(&element, path, size, from, to);
                if (element.kind == ANY_NAMES && pattern[n] == '/') {
                        /* The names with their slash, or neither. */
                        bool slash[PATTERN_MAX + 1];
                        advance(&(Element) { .kind = LITERAL, .c = '/' }, path, size, to, slash);
                        for (size_t i = 0; i <= size; i++)
                                to[i] = slash[i] || from[i];
                        n++;
                }
                pattern += n;
                bool *swap = from;
                from = to;
                to = swap;
        }
        return from[size];
}

/* The path or a directory above it. */
static bool match_upward(const char *pattern, const char *path)
{
        for (const char *end = path; *end; end++) {
                end += strcspn(end, "/");
                if (match(pattern, path, (size_t) (end - path)))
                        return true;
                if (!*end)
                        break;
        }
        return false;
}

bool dockerignore_match(const DockerIgnore *ignore, const char *path)
{
        bool ignored = false;

        for (size_t i = 0; i < ignore->count; i++) {
                const Pattern *pattern = &ignore->patterns[i];

                if (pattern->included == ignored && match_upward(pattern->text, path))
                        ignored = !pattern->included;
        }
        return ignored;
}

bool dockerignore_may_include_below(const DockerIgnore *ignore, const char *directory)
{
        (void) directory;
        return ignore->any_included;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static int clean_pattern(const char *line, char **ret)
{
        CLEANUP_FREE char *joined = str_printf("/%s", line);
        CLEANUP_BUFFER Buffer path = { 0 };
        int r = joined ? change_clean_path(joined, &path) : -ENOMEM;

        if (r < 0)
                return r;
        *ret = strdup(path.data + 1);
        return *ret ? 0 : -ENOMEM;
}

static int check_pattern(const char *text, Error *error)
{
        bool found;

        for (const char *p = text; *p; p++) {
                if (*p == '\\' && !p[1])
                        return error_set(error, OUTCOME_BAD_REQUEST, "syntax error in pattern: %s", text);
                if (*p == '\\')
                        p++;
                else if (*p == '[' && !match_class(p + 1, 'x', &found))
                        return error_set(error, OUTCOME_BAD_REQUEST, "syntax error in pattern: %s", text);
        }
        return strlen(text) > PATTERN_MAX ? error_set(error, OUTCOME_BAD_REQUEST, "pattern too long") : 0;
}

static int add_line(DockerIgnore *ignore, char *line, Error *error)
{
        CLEANUP_FREE char *text = NULL;
        bool included = false;
        size_t n;
        int r;

        if (*line == '#')
                return 0;
        line += strspn(line, BLANKS);
        for (n = strlen(line); n > 0 && strchr(BLANKS, line[n - 1]); n--)
                line[n - 1] = 0;
        if (*line == '!') {
                included = true;
                line++;
                line += strspn(line, BLANKS);
                if (!*line)
                        return error_set(error, OUTCOME_BAD_REQUEST, "illegal exclusion pattern: \"!\"");
        }
        if (!*line)
                return 0;
        r = clean_pattern(line, &text);
        if (r == 0)
                r = check_pattern(text, error);
        if (r != 0 || !*text)
                return r;
        Pattern *grown = reallocarray(ignore->patterns, ignore->count + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        ignore->patterns = grown;
        grown[ignore->count++] = (Pattern) { TAKE_PTR(text), included };
        ignore->any_included = ignore->any_included || included;
        return 0;
}

int dockerignore_parse(const char *text, size_t size, DockerIgnore **ret, Error *error)
{
        CLEANUP_DOCKERIGNORE DockerIgnore *ignore = calloc(1, sizeof(*ignore));
        CLEANUP_FREE char *copy = strndup(text ?: "", size);
        char *rest = copy, *line;
        int r = ignore && copy ? 0 : -ENOMEM;

        if (r == 0 && str_after_prefix(rest, "\xef\xbb\xbf"))
                rest += 3;
        while (r == 0 && (line = strsep(&rest, "\n")))
                r = add_line(ignore, line, error);
        if (r == 0)
                *ret = TAKE_PTR(ignore);
        return r;
}
