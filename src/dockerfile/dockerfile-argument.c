/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Build arguments. A value given with the build wins over an ARG's default, but only where there is an ARG; a global
 * ARG reaches a stage only where that has an ARG of the same name. Proxies need no ARG, and platforms have their values
 * without being given. */
#include <strings.h>

#include "berth/json.h"
#include "berth/string.h"
#include "dockerfile-private.h"

static const char *const proxies[] = { "ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY",
                                       "all_proxy", "ftp_proxy", "https_proxy", "http_proxy", "no_proxy" };

void arguments_clear(Arguments *arguments)
{
        json_decref(arguments->meta);
        json_decref(arguments->stage);
}

/* The N-th part of "os/architecture/variant". */
static const char *platform_part(const char *platform, size_t part, char buffer[static 64])
{
        for (; part > 0 && platform; part--) {
                platform = strchr(platform, '/');
                platform = platform ? platform + 1 : NULL;
        }
        snprintf(buffer, 64, "%.*s", platform ? (int) MIN(strcspn(platform, "/"), (size_t) 63) : 0, platform ?: "");
        return buffer;
}

const char *arguments_global(const Arguments *arguments, const char *name, char buffer[static 64])
{
        static const struct {
                const char *name;
                bool host;
                int part;
        } table[] = {
                { "BUILDPLATFORM", true, -1 }, { "BUILDOS", true, 0 },          { "BUILDARCH", true, 1 },
                { "BUILDVARIANT", true, 2 },   { "TARGETPLATFORM", false, -1 }, { "TARGETOS", false, 0 },
                { "TARGETARCH", false, 1 },    { "TARGETVARIANT", false, 2 },
        };
        const char *given = json_get_string(arguments->options->arguments, name);

        if (given)
                return given;
        if (str_equal(name, "TARGETSTAGE"))
                return str_empty(arguments->options->target) ? "default" : arguments->options->target;
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                const char *platform = table[i].host ? arguments->options->host_platform : arguments->options->platform;

                if (!str_equal(table[i].name, name))
                        continue;
                return table[i].part < 0 ? platform : platform_part(platform, (size_t) table[i].part, buffer);
        }
        return NULL;
}

int arguments_declare(Arguments *arguments, bool meta, const char *name, const char *value)
{
        char buffer[64];
        const char *given = arguments_global(arguments, name, buffer);
        json_t *table = meta ? arguments->meta : arguments->stage;

        if (given)
                value = given;
        else if (!value && !meta)
                value = json_get_string(arguments->meta, name);
        if (json_object_set_new(table, name, value ? json_string(value) : json_null()) < 0)
                return -ENOMEM;
        return 0;
}

static int append(json_t *list, const char *name, const char *value)
{
        CLEANUP_FREE char *text = str_printf("%s=%s", name, value);

        return text && json_array_append_new(list, json_string(text)) >= 0 ? 0 : -ENOMEM;
}

json_t *arguments_list(const Arguments *arguments, bool meta)
{
        static const char *const platforms[] = { "BUILDPLATFORM", "BUILDOS",        "BUILDARCH",
                                                 "BUILDVARIANT",  "TARGETPLATFORM", "TARGETOS",
                                                 "TARGETARCH",    "TARGETVARIANT",  "TARGETSTAGE" };
        json_t *table = meta ? arguments->meta : arguments->stage, *list = json_array(), *value;
        const char *name;
        char buffer[64];

        json_object_foreach(table, name, value)
                if (json_is_string(value))
                        append(list, name, json_string_value(value));
        for (size_t i = 0; meta && i < ARRAY_SIZE(platforms); i++)
                if (!json_object_get(table, platforms[i]))
                        append(list, platforms[i], arguments_global(arguments, platforms[i], buffer) ?: "");
        return list;
}

bool environment_names(const json_t *env, const char *name, size_t length)
{
        json_t *item;
        size_t i;

        json_array_foreach((json_t *) env, i, item) {
                const char *text = json_string_value(item);
                if (text && strncmp(text, name, length) == 0 && (text[length] == '=' || !text[length]))
                        return true;
        }
        return false;
}

static int compare_text(const void *a, const void *b)
{
        return strcmp(json_string_value(*(json_t *const *) a), json_string_value(*(json_t *const *) b));
}

static json_t *sorted(json_t *list)
{
        size_t n = json_array_size(list), i;
        json_t **items = calloc(n + 1, sizeof(*items)), *result = json_array(), *item;

        if (!items) {
                json_decref(list);
                json_decref(result);
                return NULL;
        }
        json_array_foreach(list, i, item)
                items[i] = item;
        qsort(items, n, sizeof(*items), compare_text);
        for (i = 0; i < n; i++)
                json_array_append(result, items[i]);
        free(items);
        json_decref(list);
        return result;
}

json_t *arguments_environment(const Arguments *arguments, const json_t *env, bool with_proxies)
{
        json_t *list = json_array(), *value;
        const char *name;

        json_object_foreach(arguments->stage, name, value)
                if (json_is_string(value) && !environment_names(env, name, strlen(name)))
                        append(list, name, json_string_value(value));
        for (size_t i = 0; with_proxies && i < ARRAY_SIZE(proxies); i++) {
                const char *given = json_get_string(arguments->options->arguments, proxies[i]);
                if (given && !environment_names(env, proxies[i], strlen(proxies[i])) &&
                    !environment_names(list, proxies[i], strlen(proxies[i])))
                        append(list, proxies[i], given);
        }
        return sorted(list);
}

/* --- Arguments that nobody took ----------------------------------------------------------------------------------- */

static bool is_declared(const Dockerfile *file, const char *name)
{
        size_t length = strlen(name);

        for (size_t i = 0; i < file->count; i++) {
                const ChangeInstruction *instruction = &file->items[i].parsed;

                if (!instruction_is(instruction, "ARG"))
                        continue;
                for (char **word = instruction->words; *word; word++)
                        if (strncmp(*word, name, length) == 0 && ((*word)[length] == '=' || !(*word)[length]))
                                return true;
        }
        for (size_t i = 0; i < ARRAY_SIZE(proxies); i++)
                if (str_equal(proxies[i], name))
                        return true;
        return str_equal(name, "SOURCE_DATE_EPOCH");
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

int dockerfile_unused(const Dockerfile *file, const DockerfileOptions *options, char ***ret_names)
{
        CLEANUP_STRV char **names = calloc(1, sizeof(char *));
        const char *name;
        json_t *value;

        if (!names)
                return -ENOMEM;
        json_object_foreach((json_t *) options->arguments, name, value)
                if (!is_declared(file, name) && !str_after_prefix(name, "BUILDKIT_") && strv_append(&names, name) < 0)
                        return -ENOMEM;
        qsort(names, strv_length(names), sizeof(char *), compare_names);
        *ret_names = TAKE_PTR(names);
        return 0;
}
