/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of log drivers: which there are, a table, and what they may say. Those that choose what records say
 * beside their text are in engine-log-attributes.c. */
#include <ctype.h>

#include "berth/json.h"
#include "engine-private.h"

static const char *const journald_options[] = { "labels", "labels-regex",    "env", "env-regex", "tag",
                                                "mode",   "max-buffer-size", NULL };
static const char *const json_file_options[] = { "labels", "labels-regex",    "env",      "env-regex",
                                                 "tag",    "max-size",        "max-file", "compress",
                                                 "mode",   "max-buffer-size", NULL };

static const struct {
        const char *driver;
        const char *const *options;
} drivers[] = {
        { "journald", journald_options },
        { "json-file", json_file_options },
        { "none", NULL },
};

static bool is_among(const char *const *options, const char *name)
{
        while (*options && !str_equal(*options, name))
                options++;
        return *options != NULL;
}

/* A size in units of a thousand, as the option has them. */
static int parse_size(const char *text, int64_t *ret)
{
        static const char units[] = "bkmgtp";
        char *end;
        double value = isdigit((unsigned char) *text) ? strtod(text, &end) : -1;
        const char *unit;

        if (value < 0)
                return -EINVAL;
        if (*end == ' ')
                end++;
        unit = *end ? strchr(units, tolower((unsigned char) *end)) : units;
        if (!unit)
                return -EINVAL;
        if (*end)
                end++;
        if (unit > units && tolower((unsigned char) *end) == 'b')
                end++;
        for (; unit > units; unit--)
                value *= 1000;
        if (*end || value >= 9e18)
                return -EINVAL;
        *ret = (int64_t) value;
        return 0;
}

static int refuse(Error *error, const char *what, const char *text)
{
        return error_set(error, OUTCOME_BAD_REQUEST, "failed to initialize logging driver: %s%s", what, text);
}

int container_log_files(const json_t *log, ContainerLogFiles *ret, Error *error)
{
        const json_t *options = json_object_get(log, "Config");
        const char *size = json_get_string(options, "max-size"), *files = json_get_string(options, "max-file");

        *ret = (ContainerLogFiles) { .files = 1 };
        if (!str_equal(json_get_string(log, "Type"), "json-file"))
                return 0;
        if (size && parse_size(size, &ret->size) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "failed to initialize logging driver: invalid size: '%s'",
                                 size);
        if (size && ret->size == 0)
                return refuse(error, "max-size must be a positive number", "");
        if (files && str_to_int64(files, INT32_MIN, INT32_MAX, &ret->files) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "failed to initialize logging driver: strconv.Atoi: parsing \"%s\": invalid syntax",
                                 files);
        return ret->files < 1 ? refuse(error, "max-file cannot be less than 1", "") : 0;
}

/* As Go's strconv.ParseBool. */
static int parse_boolean(const char *text, bool *ret)
{
        static const char *const words[2][6] = { { "0", "f", "F", "FALSE", "false", "False" },
                                                 { "1", "t", "T", "TRUE", "true", "True" } };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                for (size_t j = 0; j < ARRAY_SIZE(words[i]); j++)
                        if (str_equal(words[i][j], text)) {
                                *ret = i == 1;
                                return 0;
                        }
        return -EINVAL;
}

static int warn(json_t *warnings, const char *text)
{
        return json_array_append_new(warnings, json_string(text)) < 0 ? -ENOMEM : 0;
}

static int check_compress(const json_t *options, const ContainerLogFiles *files, json_t *warnings, Error *error)
{
        const char *text = json_get_string(options, "compress");
        bool compress = false;

        if (text && parse_boolean(text, &compress) < 0)
                return error_set(
                        error, OUTCOME_BAD_REQUEST,
                        "failed to initialize logging driver: strconv.ParseBool: parsing \"%s\": invalid syntax", text);
        if (!compress)
                return 0;
        if (files->files < 2 || files->size == 0)
                return refuse(error, "compress cannot be true when max-file is less than 2 or max-size is not set", "");
        return warn(warnings, "The log option compress has no effect: older files of a log stay as they are.");
}

static int check_mode(const json_t *options, json_t *warnings, Error *error)
{
        const char *mode = json_get_string_or(options, "mode", ""), *size = json_get_string(options, "max-buffer-size");
        bool waits = !*mode || str_equal(mode, "blocking");
        int64_t bytes;

        if (!waits && !str_equal(mode, "non-blocking"))
                return error_set(error, OUTCOME_BAD_REQUEST, "logger: logging mode not supported: %s", mode);
        if (size && waits)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
        if (size && parse_size(size, &bytes) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "error parsing option max-buffer-size: invalid size: '%s'",
                                 size);
        if (waits)
                return 0;
        return warn(warnings, "The log options mode and max-buffer-size have no effect: no line is dropped to keep a "
                              "container from waiting.");
}

int container_log_check(const json_t *log, json_t *warnings, Error *error)
{
        const json_t *options = json_object_get(log, "Config");
        const char *type = json_get_string_or(log, "Type", ""), *name;
        ContainerLogFiles files;
        size_t i = 0;
        json_t *value;

        while (i < ARRAY_SIZE(drivers) && !str_equal(drivers[i].driver, type))
                i++;
        if (i == ARRAY_SIZE(drivers))
                return error_set(error, OUTCOME_BAD_REQUEST, "logger: no log driver named '%s' is registered", type);
        json_object_foreach(json_object_get(log, "Config"), name, value) {
                if (drivers[i].options && !is_among(drivers[i].options, name))
                        return error_set(error, OUTCOME_BAD_REQUEST, "unknown log opt '%s' for %s log driver", name,
                                         type);
        }
        if (!drivers[i].options)
                return 0;
        int r = container_log_files(log, &files, error);
        if (r == 0)
                r = check_compress(options, &files, warnings, error);
        if (r == 0)
                r = check_mode(options, warnings, error);
        return r == 0 ? log_attributes_check(options, error) : r;
}

char *container_log_path(const Container *container)
{
        const json_t *log = json_object_get(container_host_config(container), "LogConfig");
        CLEANUP_FREE char *name = str_printf("%s-json.log", container->id);

        return name && str_equal(json_get_string(log, "Type"), "json-file") ? container_path(container, name) : NULL;
}
