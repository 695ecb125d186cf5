/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What log records say beside their text, where the options labels, labels-regex, env, env-regex and tag ask for it:
 * the members of "attrs" in files, fields of the journal. */
#include <ctype.h>
#include <regex.h>

#include "berth/json.h"
#include "engine-private.h"

#define TAG_ERROR "failed to initialize logging driver: template: log-tag:1: "

/* --- The tag ------------------------------------------------------------------------------------------------------ */

static char *short_form(const char *text)
{
        return strndup(text, ID_SHORT_LENGTH);
}

static char *command_line(const json_t *config)
{
        CLEANUP_BUFFER Buffer text = {};
        static const char *const parts[] = { "Entrypoint", "Cmd" };
        json_t *word;
        size_t j;

        for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
                json_array_foreach(json_get_array(config, parts[i]), j, word) {
                        if (buffer_printf(&text, "%s%s", text.size > 0 ? " " : "", json_string_value(word)) < 0)
                                return NULL;
                }
        return buffer_take(&text);
}

/* The caller's; NULL with RET_KNOWN false where there is no such field. */
static char *tag_field(const Container *container, const char *name, bool *ret_known)
{
        const json_t *config = container_config(container);
        const char *image = json_get_string_or(container->record, "Image", "");

        *ret_known = true;
        if (str_equal(name, "ID"))
                return short_form(container->id);
        if (str_equal(name, "FullID") || str_equal(name, "ContainerID"))
                return strdup(container->id);
        if (str_equal(name, "Name"))
                return strdup(container->name);
        if (str_equal(name, "ContainerName"))
                return str_printf("/%s", container->name);
        if (str_equal(name, "ImageID"))
                return short_form(image);
        if (str_equal(name, "ImageFullID") || str_equal(name, "ContainerImageID"))
                return strdup(image);
        if (str_equal(name, "ImageName") || str_equal(name, "ContainerImageName"))
                return strdup(json_get_string_or(config, "Image", ""));
        if (str_equal(name, "DaemonName"))
                return strdup("docker");
        if (str_equal(name, "Command"))
                return command_line(config);
        *ret_known = false;
        return NULL;
}

/* One {{.Field}} from *TEXT on, which then points behind it. CONTAINER NULL: only looked at. */
static int expand_action(const Container *container, const char **text, Buffer *out, Error *error)
{
        static const Container nobody = { .name = (char *) "" };
        const char *start = *text + strlen("{{"), *end = strstr(start, "}}");
        bool known;

        if (!end)
                return error_set(error, OUTCOME_BAD_REQUEST, TAG_ERROR "unclosed action");
        *text = end + strlen("}}");
        while (start < end && isspace((unsigned char) *start))
                start++;
        while (end > start && isspace((unsigned char) end[-1]))
                end--;
        CLEANUP_FREE char *name = strndup(start, (size_t) (end - start));
        if (!name)
                return -ENOMEM;
        if (name[0] != '.' || strpbrk(name, " |(\""))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 TAG_ERROR "\"%s\" is none of the fields that a tag can have, as {{.Name}}", name);
        CLEANUP_FREE char *value = tag_field(container ? container : &nobody, name + 1, &known);
        if (!known)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 TAG_ERROR "executing \"log-tag\" at <%s>: can't evaluate field %s in type "
                                           "*logger.Info",
                                 name, name + 1);
        return value ? buffer_append_string(out, value) : -ENOMEM;
}

static int expand_tag(const Container *container, const char *text, Buffer *out, Error *error)
{
        int r = 0;

        while (r == 0 && *text) {
                size_t plain = strcspn(text, "{");

                if (plain == 0 && str_after_prefix(text, "{{")) {
                        r = expand_action(container, &text, out, error);
                        continue;
                }
                plain = MAX(plain, 1u);
                r = buffer_append(out, text, plain);
                text += plain;
        }
        return r;
}

char *container_log_tag(const Container *container)
{
        const json_t *log = json_object_get(container_host_config(container), "LogConfig");
        const char *wanted = json_get_string(json_object_get(log, "Config"), "tag");
        CLEANUP_BUFFER Buffer tag = {};
        CLEANUP_ERROR Error error = {};

        if (!str_empty(wanted) && expand_tag(container, wanted, &tag, &error) == 0 && tag.size > 0)
                return buffer_take(&tag);
        return str_equal(json_get_string(log, "Type"), "journald") ? short_form(container->id) : strdup("");
}

/* --- Labels and variables ----------------------------------------------------------------------------------------- */

static bool is_listed(const char *list, const char *name)
{
        size_t size = strlen(name);

        while (list && *list) {
                size_t n = strcspn(list, ",");

                if (n == size && strncmp(list, name, n) == 0)
                        return true;
                list += n + (list[n] ? 1 : 0);
        }
        return false;
}

typedef struct Choice {
        const char *list; /* NULL: none */
        regex_t regex;
        bool has_regex;
} Choice;

static void choice_clear(Choice *choice)
{
        if (choice->has_regex)
                regfree(&choice->regex);
}

static int choice_init(Choice *choice, const json_t *options, const char *list, const char *regex, Error *error)
{
        const char *text = json_get_string(options, regex);
        char why[128];

        *choice = (Choice) { .list = json_get_string(options, list) };
        if (str_empty(text))
                return 0;
        int r = regcomp(&choice->regex, text, REG_EXTENDED | REG_NOSUB);
        choice->has_regex = r == 0;
        if (r == 0)
                return 0;
        regerror(r, &choice->regex, why, sizeof(why));
        return error_set(error, OUTCOME_BAD_REQUEST,
                         "failed to initialize logging driver: error parsing regexp: %s: `%s`", why, text);
}

static bool is_chosen(const Choice *choice, const char *name)
{
        return is_listed(choice->list, name) || (choice->has_regex && regexec(&choice->regex, name, 0, NULL, 0) == 0);
}

static int add_labels(const json_t *config, const Choice *choice, json_t *attributes)
{
        const char *key;
        json_t *value;

        json_object_foreach(json_object_get(config, "Labels"), key, value) {
                if (is_chosen(choice, key) && json_object_set(attributes, key, value) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int add_variables(const json_t *config, const Choice *choice, json_t *attributes)
{
        json_t *entry;
        size_t i;

        json_array_foreach(json_get_array(config, "Env"), i, entry) {
                const char *text = json_string_value(entry), *equals = text ? strchr(text, '=') : NULL;
                CLEANUP_FREE char *name = equals ? strndup(text, (size_t) (equals - text)) : NULL;

                if (equals && !name)
                        return -ENOMEM;
                if (name && is_chosen(choice, name) && json_set_string(attributes, name, equals + 1) < 0)
                        return -ENOMEM;
        }
        return 0;
}

json_t *container_log_attributes(const Container *container)
{
        const json_t *options =
                json_object_get(json_object_get(container_host_config(container), "LogConfig"), "Config");
        const json_t *config = container_config(container);
        CLEANUP_JSON json_t *attributes = json_object();
        CLEANUP(choice_clear) Choice labels = {}, variables = {};
        CLEANUP_ERROR Error error = {};

        if (!attributes || choice_init(&labels, options, "labels", "labels-regex", &error) != 0 ||
            choice_init(&variables, options, "env", "env-regex", &error) != 0 ||
            add_labels(config, &labels, attributes) < 0 || add_variables(config, &variables, attributes) < 0)
                return NULL;
        return TAKE_PTR(attributes);
}

int log_attributes_check(const json_t *options, Error *error)
{
        CLEANUP(choice_clear) Choice labels = {}, variables = {};
        CLEANUP_BUFFER Buffer tag = {};
        int r = choice_init(&labels, options, "labels", "labels-regex", error);

        if (r == 0)
                r = choice_init(&variables, options, "env", "env-regex", error);
        return r == 0 ? expand_tag(NULL, json_get_string_or(options, "tag", ""), &tag, error) : r;
}

/* --- As the monitor is told --------------------------------------------------------------------------------------- */

/* journald's names have capitals, digits and underscores, none of these in front. */
static int append_field(Buffer *out, const char *key, const char *value)
{
        size_t start = out->size;
        int r = 0;

        for (; *key && r >= 0; key++) {
                char c = (char) toupper((unsigned char) *key);

                if (!isupper((unsigned char) c) && !isdigit((unsigned char) c))
                        c = '_';
                if (c != '_' || out->size > start)
                        r = buffer_append(out, &c, 1);
        }
        if (r < 0 || out->size == start)
                return r;
        r = buffer_append(out, "=", 1);
        for (; *value && r >= 0; value++)
                r = buffer_append(out, (unsigned char) *value < ' ' ? " " : value, 1);
        return r < 0 ? r : buffer_append(out, "\n", 1);
}

char *container_log_extra(const Container *container)
{
        const json_t *log = json_object_get(container_host_config(container), "LogConfig");
        const char *type = json_get_string(log, "Type"), *key;
        CLEANUP_JSON json_t *attributes = container_log_attributes(container);
        CLEANUP_BUFFER Buffer fields = {};
        json_t *value;

        if (!attributes)
                return NULL;
        if (str_equal(type, "json-file")) {
                CLEANUP_FREE char *tag = container_log_tag(container);

                if (!tag || (*tag && json_set_string(attributes, "tag", tag) < 0))
                        return NULL;
                return json_object_size(attributes) > 0 ? json_dumps(attributes, JSON_COMPACT | JSON_SORT_KEYS)
                                                        : strdup("");
        }
        json_object_foreach(attributes, key, value) {
                if (append_field(&fields, key, json_string_value(value)) < 0)
                        return NULL;
        }
        return buffer_take(&fields);
}
