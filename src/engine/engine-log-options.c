/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of log drivers: which there are, a table, and what those of json-file say. */
#include <ctype.h>

#include "berth/json.h"
#include "engine-private.h"

static const char *const journald_options[] = { "labels", "labels-regex", "env", "env-regex", "tag", NULL };
static const char *const json_file_options[] = { "max-size", "max-file", NULL };

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

int container_log_check(const json_t *log, Error *error)
{
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
        return container_log_files(log, &files, error);
}

char *container_log_path(const Container *container)
{
        const json_t *log = json_object_get(container_host_config(container), "LogConfig");
        CLEANUP_FREE char *name = str_printf("%s-json.log", container->id);

        return name && str_equal(json_get_string(log, "Type"), "json-file") ? container_path(container, name) : NULL;
}
