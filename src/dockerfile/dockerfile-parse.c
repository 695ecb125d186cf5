/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A Dockerfile's text to instructions: directives at the top, comments, continuations, here-documents. Lines are
 * numbered as they are in the file, whatever was joined. */
#include <ctype.h>
#include <stdint.h>
#include <strings.h>

#include "berth/dockerfile.h"
#include "berth/string.h"
#include "dockerfile-private.h"

#define SIZE_LIMIT (16u * 1024 * 1024)
#define HEREDOCS_MAX 64

void dockerfile_instruction_clear(DockerfileInstruction *item)
{
        change_instruction_clear(&item->parsed);
        for (size_t i = 0; i < item->n_heredocs; i++) {
                free(item->heredocs[i].name);
                free(item->heredocs[i].content);
        }
        free(item->heredocs);
        *item = (DockerfileInstruction) { 0 };
}

void dockerfile_clear(Dockerfile *file)
{
        for (size_t i = 0; i < file->count; i++)
                dockerfile_instruction_clear(&file->items[i]);
        free(file->items);
        free(file->syntax);
        free(file->check);
        *file = (Dockerfile) { 0 };
}

/* --- Lines -------------------------------------------------------------------------------------------------------- */

static char *take_line(LineReader *reader)
{
        char *line = strsep(&reader->rest, "\n");

        if (line)
                reader->number++;
        return line;
}

/* Takes an escape character at the end off; true where there was one. "\\" at the end is no continuation. */
static bool is_continued(char *line, char escape)
{
        size_t n = strlen(line);

        while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
                n--;
        if (n == 0 || line[n - 1] != escape || (n > 1 && line[n - 2] == escape))
                return false;
        line[n - 1] = 0;
        return true;
}

int line_reader_next(LineReader *reader, Buffer *ret, unsigned *ret_first)
{
        bool continued = false;
        char *line;

        ret->size = 0;
        while (reader->rest && (line = take_line(reader))) {
                char *start = line + strspn(line, BLANKS);
                size_t n = strlen(start);

                if (n > 0 && start[n - 1] == '\r')
                        start[--n] = 0;
                if (*start == '#' || *start == 0)
                        continue;
                bool goes_on = is_continued(line, reader->escape);
                int r = buffer_append_string(ret, continued ? line : start);
                if (r < 0)
                        return r;
                if (!continued)
                        *ret_first = reader->number;
                if (!goes_on)
                        return 1;
                continued = true;
        }
        return continued;
}

/* --- Directives --------------------------------------------------------------------------------------------------- */

/* "# name = value", in place. */
static bool split_directive(char *line, char **ret_name, char **ret_value)
{
        char *name = line + strspn(line, BLANKS), *end, *value;

        if (*name != '#')
                return false;
        name += 1 + strspn(name + 1, BLANKS);
        if (!isalpha((unsigned char) *name))
                return false;
        for (end = name; isalnum((unsigned char) *end); end++)
                ;
        value = end + strspn(end, BLANKS);
        if (*value != '=')
                return false;
        value += 1 + strspn(value + 1, BLANKS);
        size_t n = strlen(value);
        while (n > 0 && strchr(BLANKS, value[n - 1]))
                value[--n] = 0;
        *end = 0;
        *ret_name = name;
        *ret_value = value;
        return n > 0;
}

static int take_directive(Dockerfile *file, const char *name, const char *value, unsigned *seen, Error *error)
{
        static const char *const known[] = { "escape", "syntax", "check" };
        size_t i = 0;

        while (i < ARRAY_SIZE(known) && strcasecmp(known[i], name) != 0)
                i++;
        if (i == ARRAY_SIZE(known))
                return 1;
        if (*seen & 1U << i)
                return -error_set(error, OUTCOME_BAD_REQUEST, "only one %s parser directive can be used", known[i]);
        *seen |= 1U << i;
        if (i == 0) {
                if (!str_equal(value, "\\") && !str_equal(value, "`"))
                        return -error_set(error, OUTCOME_BAD_REQUEST, "invalid ESCAPE '%s' does not match ` or \\",
                                          value);
                file->escape = *value;
                return 0;
        }
        char **text = i == 1 ? &file->syntax : &file->check;
        *text = strdup(value);
        return *text ? 0 : -ENOMEM;
}

/* A comment that is none of them ends them, as anything else does. 0, a refusal's negative outcome, or -ENOMEM. */
static int read_directives(Dockerfile *file, const char *text, unsigned *ret_line, Error *error)
{
        CLEANUP_FREE char *copy = strdup(text);
        char *rest = copy, *line, *name, *value;
        unsigned seen = 0;
        int r = copy ? 0 : -ENOMEM;

        *ret_line = 0;
        while (r == 0 && (line = strsep(&rest, "\n"))) {
                ++*ret_line;
                if (!split_directive(line, &name, &value))
                        break;
                r = take_directive(file, name, value, &seen, error);
        }
        return r > 0 ? 0 : r;
}

/* --- Here-documents ----------------------------------------------------------------------------------------------- */

/* "3<<-'NAME'": whether the word begins a here-document, its bare name in place. */
static bool parse_heredoc_word(char *word, bool *ret_chomp, bool *ret_expand, char **ret_name)
{
        char *p = word + strspn(word, "0123456789");

        if (p[0] != '<' || p[1] != '<')
                return false;
        p += 2;
        *ret_chomp = *p == '-';
        p += *ret_chomp;
        if (!*p || strchr(p, '<'))
                return false;
        char *to = p;
        bool quoted = false;
        *ret_name = p;
        for (; *p; p++) {
                if (*p == '\'' || *p == '"')
                        quoted = true;
                else
                        *to++ = *p;
        }
        *to = 0;
        *ret_expand = !quoted;
        return **ret_name != 0;
}

static int read_content(LineReader *reader, const char *name, bool chomp, Buffer *content)
{
        char *line;

        while (reader->rest && (line = take_line(reader))) {
                char *bare = line + (chomp ? strspn(line, "\t") : 0);
                size_t n = strlen(bare);

                bool match = strncmp(bare, name, strlen(name)) == 0 &&
                             (n == strlen(name) || (n == strlen(name) + 1 && bare[n - 1] == '\r'));
                if (match)
                        return 0;
                if (buffer_printf(content, "%s\n", bare) < 0)
                        return -ENOMEM;
        }
        return 1;
}

static int add_heredoc(DockerfileInstruction *item, LineReader *reader, const char *name, bool chomp, bool expand,
                       Error *error)
{
        CLEANUP_BUFFER Buffer content = { 0 };
        int r = read_content(reader, name, chomp, &content);

        if (r > 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "unterminated heredoc");
        if (item->n_heredocs >= HEREDOCS_MAX)
                return error_set(error, OUTCOME_BAD_REQUEST, "too many here-documents");
        DockerfileHeredoc *grown = r == 0 ? reallocarray(item->heredocs, item->n_heredocs + 1, sizeof(*grown)) : NULL;
        if (!grown)
                return -ENOMEM;
        item->heredocs = grown;
        grown[item->n_heredocs] = (DockerfileHeredoc) { strdup(name), buffer_take(&content), expand };
        item->n_heredocs++;
        return grown[item->n_heredocs - 1].name && grown[item->n_heredocs - 1].content ? 0 : -ENOMEM;
}

static bool takes_heredocs(const ChangeInstruction *parsed)
{
        static const char *const names[] = { "ADD", "COPY", "RUN" };
        const char *name = parsed->name;

        if (parsed->json)
                return false;
        if (strcasecmp(name, "ONBUILD") == 0 && parsed->words[0])
                name = parsed->words[0];
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (strcasecmp(names[i], name) == 0)
                        return true;
        return false;
}

/* Words end at blanks outside of quotes. */
static int read_heredocs(DockerfileInstruction *item, LineReader *reader, Error *error)
{
        CLEANUP_FREE char *copy = strdup(item->parsed.original);
        int r = copy ? 0 : -ENOMEM;

        if (r < 0 || !takes_heredocs(&item->parsed) || !strstr(copy, "<<"))
                return r;
        for (char *p = copy; r == 0 && *p;) {
                char quote = 0, *word, *end, *name;
                bool chomp, expand;

                p += strspn(p, BLANKS);
                for (word = p; *p && (quote || !strchr(BLANKS, *p)); p++) {
                        if (quote ? *p == quote : *p == '\'' || *p == '"')
                                quote = quote ? 0 : *p;
                        else if (*p == reader->escape && p[1])
                                p++;
                }
                end = p;
                p += *p != 0;
                *end = 0;
                if (parse_heredoc_word(word, &chomp, &expand, &name))
                        r = add_heredoc(item, reader, name, chomp, expand, error);
        }
        return r;
}

/* --- The whole file ----------------------------------------------------------------------------------------------- */

static int add_instruction(Dockerfile *file, LineReader *reader, const char *line, unsigned first, Error *error)
{
        DockerfileInstruction *grown = reallocarray(file->items, file->count + 1, sizeof(*grown)), *item;

        if (!grown)
                return -ENOMEM;
        file->items = grown;
        item = &grown[file->count++];
        *item = (DockerfileInstruction) { .first = first, .last = reader->number };
        int r = change_parse_line(line, file->escape, &item->parsed, error);
        if (r == 0)
                r = read_heredocs(item, reader, error);
        item->last = reader->number;
        return r == 0 ? dockerfile_check(item, error) : r;
}

static int refuse_at(unsigned line, Error *error)
{
        char prefix[64];

        snprintf(prefix, sizeof(prefix), "dockerfile parse error on line %u", line);
        return error_prefix(error, prefix);
}

/* A byte order mark, and bytes that are no text. */
static int check_text(const char **data, size_t *size, Error *error)
{
        if (*size >= 3 && memcmp(*data, "\xef\xbb\xbf", 3) == 0) {
                *data += 3;
                *size -= 3;
        }
        if (*size > SIZE_LIMIT)
                return error_set(error, OUTCOME_BAD_REQUEST, "the Dockerfile is too large");
        if (memchr(*data ?: "", 0, *size))
                return error_set(error, OUTCOME_BAD_REQUEST, "the Dockerfile holds a zero byte");
        CLEANUP_JSON json_t *checked = json_stringn(*data ?: "", *size);
        return checked ? 0 : error_set(error, OUTCOME_BAD_REQUEST, "the Dockerfile is not valid UTF-8");
}

int dockerfile_parse(const char *data, size_t size, Dockerfile *ret, Error *error)
{
        CLEANUP_DOCKERFILE Dockerfile file = { .escape = '\\' };
        CLEANUP_BUFFER Buffer line = { 0 };
        CLEANUP_FREE char *text = NULL;
        unsigned first = 1;
        int r = check_text(&data, &size, error);

        if (r != 0)
                return r;
        text = strndup(data ?: "", size);
        r = text ? read_directives(&file, text, &first, error) : -ENOMEM;
        if (r < 0 && r != -ENOMEM)
                return refuse_at(first, error);
        LineReader reader = { .rest = text, .escape = file.escape };
        while (r >= 0 && (r = line_reader_next(&reader, &line, &first)) > 0) {
                r = add_instruction(&file, &reader, line.data ?: "", first, error);
                if (r > 0)
                        return refuse_at(first, error);
        }
        if (r < 0)
                return r;
        if (file.count == 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "failed to parse Dockerfile: file with no instructions");
        *ret = file;
        file = (Dockerfile) { 0 };
        return 0;
}
