/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the history says of an instruction that made no layer. The forms are what dockerd's classic builder writes;
 * people and scripts read them. */
#include <ctype.h>
#include <inttypes.h>
#include <strings.h>

#include "berth/json.h"
#include "berth/string.h"
#include "dockerfile-private.h"

/* As Go's %q. */
static int quote(Buffer *text, const char *value)
{
        int r = buffer_append_string(text, "\"");

        for (const char *p = value; r >= 0 && *p; p++) {
                if (*p == '"' || *p == '\\')
                        r = buffer_printf(text, "\\%c", *p);
                else if (*p == '\n' || *p == '\t' || *p == '\r')
                        r = buffer_printf(text, "\\%c", *p == '\n' ? 'n' : *p == '\t' ? 't' : 'r');
                else if ((unsigned char) *p < 0x20 || *p == 0x7f)
                        r = buffer_printf(text, "\\x%02x", (unsigned char) *p);
                else
                        r = buffer_append(text, p, 1);
        }
        return r < 0 ? r : buffer_append_string(text, "\"");
}

/* "[a b]", or with quotes. */
static int list(Buffer *text, const json_t *words, bool quoted)
{
        json_t *word;
        size_t i;
        int r = buffer_append_string(text, "[");

        json_array_foreach((json_t *) words, i, word) {
                if (r >= 0 && i > 0)
                        r = buffer_append_string(text, " ");
                if (r >= 0)
                        r = quoted ? quote(text, json_string_value(word))
                                   : buffer_append_string(text, json_string_value(word));
        }
        return r < 0 ? r : buffer_append_string(text, "]");
}

/* A span of time as Go writes it. */
static int duration(Buffer *text, int64_t ns)
{
        static const struct {
                int64_t unit;
                const char *name;
        } small[] = { { 1000000, "ms" }, { 1000, "\xc2\xb5s" }, { 1, "ns" } };
        int64_t hours = ns / INT64_C(3600000000000), minutes = ns / INT64_C(60000000000) % 60,
                rest = ns % INT64_C(60000000000);

        if (ns == 0)
                return buffer_append_string(text, "\"0s\"");
        for (size_t i = 0; ns < 1000000000 && i < ARRAY_SIZE(small); i++)
                if (ns >= small[i].unit)
                        return buffer_printf(text, "\"%.9g%s\"", (double) ns / (double) small[i].unit, small[i].name);
        int r = buffer_append_string(text, "\"");
        if (r >= 0 && hours > 0)
                r = buffer_printf(text, "%" PRId64 "h", hours);
        if (r >= 0 && (hours > 0 || minutes > 0))
                r = buffer_printf(text, "%" PRId64 "m", minutes);
        return r < 0 ? r : buffer_printf(text, "%.12gs\"", (double) rest / 1e9);
}

static int health(Buffer *text, const json_t *check)
{
        static const char *const keys[] = { "Interval", "Timeout", "StartPeriod", "StartInterval" };
        int64_t retries = json_get_int(check, "Retries", 0);
        int r = buffer_append_string(text, "HEALTHCHECK &{");

        if (r >= 0)
                r = list(text, json_get_array(check, "Test"), true);
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(keys); i++) {
                r = buffer_append_string(text, " ");
                if (r >= 0)
                        r = duration(text, json_get_int(check, keys[i], 0));
        }
        if (r < 0)
                return r;
        return isprint((int) MIN(retries, 255)) && retries < 127 ? buffer_printf(text, " '%c'}", (int) retries)
                                                                 : buffer_printf(text, " '\\x%02x'}", (int) retries);
}

static int expanded(const Change *change, Buffer *text, const char *before, const char *word)
{
        CLEANUP_BUFFER Buffer value = { 0 };
        int r = change_expand(word, change->escape, change->env, &value, NULL);

        return r < 0 ? r : buffer_printf(text, "%s%s", before, value.data ?: "");
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* In the order of the words as they were written; each may stand for several. */
static int ports(const Change *change, const ChangeInstruction *instruction, Buffer *text)
{
        size_t n = strv_length(instruction->words);
        CLEANUP_FREE char **words = calloc(n + 1, sizeof(char *));
        int r = words ? buffer_append_string(text, "EXPOSE") : -ENOMEM;

        if (r >= 0 && n > 0) {
                memcpy(words, instruction->words, n * sizeof(char *));
                qsort(words, n, sizeof(char *), compare_names);
        }
        for (size_t i = 0; r >= 0 && i < n; i++) {
                CLEANUP_BUFFER Buffer value = { 0 };

                r = change_expand(words[i], change->escape, change->env, &value, NULL);
                for (char *rest = value.data, *part; r >= 0 && (part = strsep(&rest, BLANKS "\n"));)
                        if (*part)
                                r = buffer_printf(text, " %s", part);
        }
        return r;
}

static int pairs(const Change *change, const ChangeInstruction *instruction, Buffer *text, const char *name)
{
        char *const *words = instruction->words;
        int r = buffer_append_string(text, name);

        for (size_t i = 0; r >= 0 && words[i] && words[i + 1]; i += 2) {
                r = expanded(change, text, " ", words[i]);
                if (r >= 0)
                        r = expanded(change, text, "=", words[i + 1]);
        }
        return r;
}

static int volumes(const Change *change, const ChangeInstruction *instruction, Buffer *text)
{
        int r = buffer_append_string(text, "VOLUME [");

        for (char **word = instruction->words; r >= 0 && *word; word++)
                r = expanded(change, text, word == instruction->words ? "" : " ", *word);
        return r < 0 ? r : buffer_append_string(text, "]");
}

static int write_comment(const Change *change, const ChangeInstruction *instruction, const char *name, Buffer *text)
{
        const json_t *config = change->config;

        if (str_equal(name, "ENV") || str_equal(name, "LABEL"))
                return pairs(change, instruction, text, name);
        if (str_equal(name, "EXPOSE"))
                return ports(change, instruction, text);
        if (str_equal(name, "VOLUME"))
                return volumes(change, instruction, text);
        if (str_equal(name, "HEALTHCHECK"))
                return health(text, json_get_object(config, "Healthcheck"));
        if (str_equal(name, "CMD") || str_equal(name, "ENTRYPOINT")) {
                int r = buffer_printf(text, "%s ", name);
                return r < 0 ? r : list(text, json_object_get(config, *name == 'C' ? "Cmd" : "Entrypoint"), true);
        }
        if (str_equal(name, "SHELL")) {
                int r = buffer_append_string(text, "SHELL ");
                return r < 0 ? r : list(text, json_get_array(config, "Shell"), false);
        }
        if (str_equal(name, "ONBUILD")) {
                const char *rest = instruction->original + strlen(instruction->name);
                return buffer_printf(text, "ONBUILD %s", rest + strspn(rest, BLANKS));
        }
        if (str_equal(name, "MAINTAINER"))
                return buffer_printf(text, "MAINTAINER %s", instruction->words[0]);
        CLEANUP_FREE char *before = str_printf("%s ", name);
        return before ? expanded(change, text, before, instruction->words[0] ?: "") : -ENOMEM;
}

char *change_comment(const Change *change, const ChangeInstruction *instruction)
{
        CLEANUP_FREE char *name = str_upper(strdup(instruction->name));
        CLEANUP_BUFFER Buffer text = { 0 };

        if (!name || write_comment(change, instruction, name, &text) < 0)
                return NULL;
        return buffer_take(&text);
}
