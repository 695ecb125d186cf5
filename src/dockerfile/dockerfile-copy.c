/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ADD and COPY to a step. */
#include <ctype.h>
#include <strings.h>

#include "berth/json.h"
#include "berth/string.h"
#include "dockerfile-private.h"

/* The heredoc that the word stands for, or NULL. */
static const DockerfileHeredoc *find_heredoc(const DockerfileInstruction *item, const char *word)
{
        const char *name = word + strspn(word, "0123456789");
        size_t length;

        if (name[0] != '<' || name[1] != '<')
                return NULL;
        name += 2;
        name += *name == '-';
        for (size_t i = 0; i < item->n_heredocs; i++) {
                length = strlen(item->heredocs[i].name);
                const char *bare = name + (*name == '\'' || *name == '"');
                if (strncmp(bare, item->heredocs[i].name, length) == 0 &&
                    strspn(bare + length, "'\"") == strlen(bare + length))
                        return &item->heredocs[i];
        }
        return NULL;
}

/* Variables of a here-document, outside of quotes of any kind: quotes mean nothing in it. */
static int expand_content(StageWork *work, const char *content, char **ret)
{
        CLEANUP_BUFFER Buffer quoted = { 0 };
        int r = buffer_append_string(&quoted, "\"");

        for (const char *p = content; r >= 0 && *p; p++) {
                if (*p == '"' || (*p == work->change.escape && p[1] != '$'))
                        r = buffer_append(&quoted, &work->change.escape, 1);
                if (r >= 0)
                        r = buffer_append(&quoted, p, 1);
        }
        if (r >= 0)
                r = buffer_append_string(&quoted, "\"");
        return r < 0 ? r : stage_expand(work, quoted.data, ret);
}

static int add_source(StageWork *work, const DockerfileInstruction *item, const char *word, json_t *sources,
                      json_t *inlines)
{
        const DockerfileHeredoc *heredoc = find_heredoc(item, word);
        CLEANUP_FREE char *text = NULL;
        int r;

        if (!heredoc) {
                r = stage_expand(work, word, &text);
                return r == 0 && json_array_append_new(sources, json_string(text)) < 0 ? -ENOMEM : r;
        }
        r = heredoc->expand ? expand_content(work, heredoc->content, &text) : 0;
        if (r == 0 && json_array_append_new(inlines, json_pack("{ss ss}", "Name", heredoc->name, "Content",
                                                               text ?: heredoc->content)) < 0)
                r = -ENOMEM;
        return r;
}

/* Absolute and clean, with a slash at the end where one was. */
static int make_target(const StageWork *work, const char *text, char **ret)
{
        CLEANUP_FREE char *joined = NULL;
        CLEANUP_BUFFER Buffer path = { 0 };
        const char *directory = json_get_string(work->change.config, "WorkingDir");
        int r;

        joined = *text == '/' ? strdup(text) : str_printf("%s/%s", directory ?: "", text);
        r = joined ? change_clean_path(joined, &path) : -ENOMEM;
        bool slash = str_has_suffix(text, "/") || str_equal(text, ".") || str_has_suffix(text, "/.") || !*text;
        if (r >= 0 && slash && !str_equal(path.data, "/"))
                r = buffer_append_string(&path, "/");
        if (r < 0)
                return r;
        *ret = buffer_take(&path);
        return *ret ? 0 : -ENOMEM;
}

/* Flags whose value is taken over, expanded. */
static int take_flags(StageWork *work, const ChangeInstruction *instruction, json_t *step)
{
        static const struct {
                const char *flag, *key;
        } texts[] = { { "chown", "Owner" }, { "chmod", "Mode" }, { "checksum", "Checksum" } };
        static const struct {
                const char *flag, *key;
        } bools[] = {
                { "link", "Link" }, { "parents", "Parents" }, { "keep-git-dir", "KeepGit" }, { "unpack", "Unpack" }
        };
        int r = 0;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++) {
                CLEANUP_FREE char *value = NULL;
                const char *given = instruction_flag(instruction, texts[i].flag);

                if (given)
                        r = stage_expand(work, given, &value);
                if (r == 0 && !str_empty(value))
                        r = json_set_string(step, texts[i].key, value);
        }
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(bools); i++)
                if (instruction_flag(instruction, bools[i].flag))
                        r = json_set_bool(step, bools[i].key, instruction_flag_bool(instruction, bools[i].flag));
        for (char **flag = instruction->flags; r == 0 && *flag; flag++) {
                CLEANUP_FREE char *value = NULL;
                const char *given = str_after_prefix(*flag, "--exclude=");

                if (given)
                        r = stage_expand(work, given, &value);
                if (r == 0 && value && json_array_append_new(json_get_array(step, "Exclude"), json_string(value)) < 0)
                        r = -ENOMEM;
        }
        return r;
}

/* "sh -c #(nop) COPY --chown=a %s in b ", as the history has it: TARGET is as it was written. */
static char *copy_comment(const StageWork *work, const json_t *step, bool add, const char *target)
{
        CLEANUP_JSON json_t *shell = stage_shell(work);
        const char *owner = json_get_string(step, "Owner"), *mode = json_get_string(step, "Mode");
        CLEANUP_BUFFER Buffer text = { 0 };
        json_t *word;
        size_t i;
        int r = 0;

        json_array_foreach(shell, i, word)
                r = r == 0 ? buffer_printf(&text, "%s ", json_string_value(word)) : r;
        if (r == 0)
                r = buffer_printf(&text, "#(nop) %s ", add ? "ADD" : "COPY");
        if (r == 0 && owner)
                r = buffer_printf(&text, "--chown=%s ", owner);
        if (r == 0 && mode)
                r = buffer_printf(&text, "--chmod=%s ", mode);
        if (r == 0)
                r = buffer_printf(&text, "%%s in %s ", target);
        return r == 0 ? buffer_take(&text) : NULL;
}

int stage_copy(StageWork *work, const DockerfileInstruction *item, json_t **ret_step)
{
        const ChangeInstruction *instruction = &item->parsed;
        const char *from = instruction_flag(instruction, "from");
        bool add = instruction_is(instruction, "ADD");
        size_t n = strv_length(instruction->words);
        CLEANUP_FREE char *written = NULL, *target = NULL, *comment = NULL;
        CLEANUP_JSON json_t *step =
                json_pack("{ss sb s[] s[] s[]}", "Kind", "copy", "Add", add, "Sources", "Inline", "Exclude");
        json_t *sources = json_get_array(step, "Sources"), *inlines = json_get_array(step, "Inline");
        int r = step ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i + 1 < n; i++)
                r = add_source(work, item, instruction->words[i], sources, inlines);
        if (r == 0)
                r = stage_expand(work, instruction->words[n - 1], &written);
        if (r == 0)
                r = make_target(work, written, &target);
        if (r == 0 && n > 2 && !str_has_suffix(target, "/"))
                r = error_set(work->error, OUTCOME_BAD_REQUEST,
                              "When using %s with more than one source file, the destination must be a directory and "
                              "end with a /",
                              add ? "ADD" : "COPY");
        if (r == 0)
                r = take_flags(work, instruction, step);
        if (r == 0 && !str_empty(from))
                r = stage_from(work, from, step);
        if (r != 0)
                return r;
        comment = copy_comment(work, step, add, written);
        r = comment ? json_set_string(step, "CreatedBy", comment) : -ENOMEM;
        if (r == 0)
                r = json_set_string(step, "Target", target);
        if (r == 0)
                *ret_step = TAKE_PTR(step);
        return r;
}
