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

/* Of any driver: about a copy of the log for drivers that cannot read theirs, of which there are none. */
static const char *const cache_options[] = { "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress",
                                             NULL };
static const char *const local_options[] = { "max-size", "max-file", "compress", "mode", "max-buffer-size", NULL };

typedef struct Driver {
        const char *name;
        const char *const *options; /* NULL: any, and none has an effect */
        const char *path;           /* of its files, in the container's directory; %s: the container's ID */
        ContainerLogFiles files;    /* where the options do not say */
} Driver;

static const Driver drivers[] = {
        { "journald", journald_options, NULL, { .files = 1 } },
        { "json-file", json_file_options, "%s-json.log", { .files = 1 } },
        { "local", local_options, "local-logs/container.log", { .size = 20000000, .files = 5, .compress = true } },
        { "none", NULL, NULL, { .files = 1 } },
};

/* NULL: there is none of this name. */
static const Driver *find_driver(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
                if (str_equal(drivers[i].name, name))
                        return &drivers[i];
        return NULL;
}

static const Driver *driver_of(const json_t *log)
{
        return find_driver(json_get_string(log, "Type"));
}

static bool is_among(const char *const *options, const char *name)
{
        while (*options && !str_equal(*options, name))
                options++;
        return *options != NULL;
}

static int refuse(Error *error, const char *what, const char *text)
{
        return error_set(error, OUTCOME_BAD_REQUEST, "failed to initialize logging driver: %s%s", what, text);
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

static bool is_local(const Driver *driver)
{
        return str_equal(driver->name, "local");
}

/* What a driver says of a value that it cannot read; local says more. */
static int refuse_value(const Driver *driver, const char *option, const char *problem, const char *text, Error *error)
{
        CLEANUP_FREE char *before = NULL;

        if (is_local(driver))
                before = str_equal(option, "compress") ? strdup("error reading compress log option: ")
                                                       : str_printf("invalid value for %s: %s: ", option, text);
        return error_set(error, OUTCOME_BAD_REQUEST, "failed to initialize logging driver: %s%s", before ? before : "",
                         problem);
}

static int read_size(const Driver *driver, const char *text, int64_t *ret, Error *error)
{
        CLEANUP_FREE char *problem = text ? str_printf("invalid size: '%s'", text) : NULL;

        if (!text)
                return 0;
        if (str_to_size(text, 1000, ret) < 0)
                return refuse_value(driver, "max-size", problem ? problem : "", text, error);
        if (*ret > 0)
                return 0;
        /* Every record is too much for it then. */
        *ret = 1;
        return is_local(driver) ? 0 : refuse(error, "max-size must be a positive number", "");
}

static int read_number(const Driver *driver, const char *text, int64_t *ret, Error *error)
{
        CLEANUP_FREE char *problem = text ? str_printf("strconv.Atoi: parsing \"%s\": invalid syntax", text) : NULL;

        if (text && str_to_int64(text, INT32_MIN, INT32_MAX, ret) < 0)
                return refuse_value(driver, "max-file", problem ? problem : "", text, error);
        if (is_local(driver))
                return *ret < 0 ? refuse(error, "max file count cannot be less than 0", "") : 0;
        return *ret < 1 ? refuse(error, "max-file cannot be less than 1", "") : 0;
}

static int read_compress(const Driver *driver, const char *text, ContainerLogFiles *files, Error *error)
{
        CLEANUP_FREE char *problem =
                text ? str_printf("strconv.ParseBool: parsing \"%s\": invalid syntax", text) : NULL;

        if (text && parse_boolean(text, &files->compress) < 0)
                return refuse_value(driver, "compress", problem ? problem : "", text, error);
        if (!files->compress || (files->files > 1 && files->size > 0))
                return 0;
        return refuse(error,
                      is_local(driver) ? "compression cannot be enabled when max file count is 1"
                                       : "compress cannot be true when max-file is less than 2 or max-size is not set",
                      "");
}

int container_log_files(const json_t *log, ContainerLogFiles *ret, Error *error)
{
        const Driver *driver = driver_of(log);
        const json_t *options = json_object_get(log, "Config");
        int r;

        *ret = driver ? driver->files : drivers[0].files;
        if (!driver || !driver->path)
                return 0;
        r = read_size(driver, json_get_string(options, "max-size"), &ret->size, error);
        if (r == 0)
                r = read_number(driver, json_get_string(options, "max-file"), &ret->files, error);
        if (r == 0)
                r = read_compress(driver, json_get_string(options, "compress"), ret, error);
        ret->files = MAX(ret->files, 1);
        return r;
}

#define BUFFER_SIZE (1024 * 1024)

static int check_mode(const Driver *driver, const json_t *options, json_t *warnings, Error *error)
{
        const char *mode = json_get_string_or(options, "mode", ""), *size = json_get_string(options, "max-buffer-size");
        bool waits = !*mode || str_equal(mode, "blocking");
        int64_t bytes;

        if (!waits && !str_equal(mode, "non-blocking"))
                return error_set(error, OUTCOME_BAD_REQUEST, "logger: logging mode not supported: %s", mode);
        if (size && waits)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
        if (size && str_to_size(size, 1024, &bytes) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "error parsing option max-buffer-size: invalid size: '%s'",
                                 size);
        if (waits || !driver->path)
                return 0;
        return warnings_add(warnings,
                            "The log options mode and max-buffer-size have no effect with this log driver: what a "
                            "container writes goes into its file at once.");
}

int64_t container_log_buffer(const json_t *log)
{
        const json_t *options = json_object_get(log, "Config");
        const char *size = json_get_string(options, "max-buffer-size");
        int64_t bytes = BUFFER_SIZE;

        if (!str_equal(json_get_string(options, "mode"), "non-blocking"))
                return -1;
        return size && str_to_size(size, 1024, &bytes) < 0 ? BUFFER_SIZE : bytes;
}

int container_log_check(const json_t *log, json_t *warnings, Error *error)
{
        const json_t *options = json_object_get(log, "Config");
        const char *type = json_get_string_or(log, "Type", ""), *name;
        const Driver *driver = find_driver(type);
        ContainerLogFiles files;
        json_t *value;

        if (!driver)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "error looking up logging plugin %s: plugin \"%s\" not found", type, type);
        if (!driver->options)
                return 0;
        json_object_foreach((json_t *) options, name, value) {
                if (!is_among(driver->options, name) && !is_among(cache_options, name))
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         is_local(driver) ? "unknown log opt '%s' for log driver %s"
                                                          : "unknown log opt '%s' for %s log driver",
                                         name, type);
        }
        int r = container_log_files(log, &files, error);
        if (r == 0)
                r = check_mode(driver, options, warnings, error);
        return r == 0 ? log_attributes_check(options, error) : r;
}

bool engine_log_config_check(const char *driver, const json_t *options, char **ret_message)
{
        CLEANUP_JSON json_t *log =
                json_pack("{ss so*}", "Type", driver, "Config", options ? json_deep_copy(options) : NULL);
        CLEANUP_JSON json_t *warnings = json_array();
        CLEANUP_ERROR Error error = {};
        int r = log && warnings ? container_log_check(log, warnings, &error) : -ENOMEM;

        if (r != 0)
                *ret_message = strdup(error.message ? error.message : strerror(ENOMEM));
        return r == 0;
}

char *container_log_path(const Container *container)
{
        const Driver *driver = driver_of(json_object_get(container_host_config(container), "LogConfig"));
        CLEANUP_FREE char *name = driver && driver->path ? str_printf(driver->path, container->id) : NULL;

        return name ? container_path(container, name) : NULL;
}
