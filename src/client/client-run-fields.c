/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams, environment, labels, health, limits, devices, security options and the restart policy of a create
 * request. */
#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "berth/file.h"
#include "berth/json.h"
#include "client-run.h"
#include "client-text.h"

#define FILE_MAX (16u * 1024 * 1024)

/* --- streams --- */

int client_check_attach(const char *value, Error *error)
{
        if (strcasecmp(value, "stdin") == 0 || strcasecmp(value, "stdout") == 0 || strcasecmp(value, "stderr") == 0)
                return 0;
        return error_set(error, OUTCOME_BAD_REQUEST, "valid streams are STDIN, STDOUT and STDERR");
}

int client_run_streams(const ClientArguments *arguments, json_t *body, Error *error)
{
        const ClientValue *attach = client_value(arguments, "attach");
        bool interactive = client_flag(arguments, "interactive"), detach = client_flag(arguments, "detach");
        bool in = interactive, out = !detach, err = !detach;

        (void) error;
        if (attach->list) {
                in = out = err = false;
                for (char **s = attach->list; *s; s++) {
                        in |= strcasecmp(*s, "stdin") == 0;
                        out |= strcasecmp(*s, "stdout") == 0;
                        err |= strcasecmp(*s, "stderr") == 0;
                }
        }
        if (detach)
                in = false;
        client_run_set(body, "AttachStdin", json_boolean(in));
        client_run_set(body, "AttachStdout", json_boolean(out));
        client_run_set(body, "AttachStderr", json_boolean(err));
        client_run_set(body, "OpenStdin", json_boolean(interactive));
        client_run_set(body, "StdinOnce", json_boolean(interactive && in));
        return 0;
}

/* --- environment and labels --- */

static int read_lines(const char *path, int (*line)(json_t *target, char *text, const char *path, Error *error),
                      json_t *target, Error *error)
{
        CLEANUP_FREE char *data = NULL;
        int r = file_read_at(AT_FDCWD, path, FILE_MAX, &data, NULL);

        if (r == -ENOENT)
                return error_set(error, OUTCOME_BAD_REQUEST, "open %s: no such file or directory", path);
        if (r < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "open %s: %s", path, strerror(-r));
        for (char *s = data, *next; s; s = next) {
                next = strchr(s, '\n');
                if (next) {
                        if (next > s && next[-1] == '\r')
                                next[-1] = 0;
                        *next++ = 0;
                }
                s += strspn(s, " \t");
                if (*s && *s != '#') {
                        r = line(target, s, path, error);
                        if (r != 0)
                                return r;
                }
        }
        return 0;
}

/* A variable without a value takes that of this process. One that has none here either is to be taken away from what
 * the image sets, which its bare name stands for; in a file it says nothing. */
static void add_variable(json_t *list, const char *variable, bool keep_bare)
{
        const char *value = strchr(variable, '=') ? NULL : getenv(variable);
        CLEANUP_FREE char *text = value ? client_must(str_printf("%s=%s", variable, value)) : NULL;

        if (text || keep_bare || strchr(variable, '='))
                client_must_zero(json_array_append_new(list, json_string(text ?: variable)));
}

int client_check_env(const char *value, Error *error)
{
        if (*value == '=' || !*value)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid environment variable: %s", value);
        return 0;
}

static int environment_line(json_t *list, char *text, const char *path, Error *error)
{
        size_t n = strcspn(text, "=");

        if (n == 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid env file (%s): no variable name on line '%s'",
                                 path, text);
        if (strcspn(text, " \t") < n)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid env file (%s): variable '%.*s' contains whitespaces", path, (int) n, text);
        add_variable(list, text, false);
        return 0;
}

int client_run_environment(const ClientArguments *arguments, json_t *body, Error *error)
{
        CLEANUP_JSON json_t *list = client_must(json_array());
        char *const *s;

        for (s = client_value(arguments, "env-file")->list; s && *s; s++) {
                int r = read_lines(*s, environment_line, list, error);

                if (r != 0)
                        return r;
        }
        for (s = client_value(arguments, "env")->list; s && *s; s++)
                add_variable(list, *s, true);
        if (json_array_size(list) > 0)
                client_run_set(body, "Env", json_incref(list));
        return 0;
}

static int label_line(json_t *labels, char *text, const char *path, Error *error)
{
        char *equal = strchr(text, '=');

        (void) path;
        (void) error;
        if (equal)
                *equal = 0;
        client_must_zero(json_object_set_new(labels, text, json_string(equal ? equal + 1 : "")));
        return 0;
}

int client_run_labels(const ClientArguments *arguments, json_t *body, Error *error)
{
        CLEANUP_JSON json_t *labels = client_must(json_object());
        char *const *s;

        for (s = client_value(arguments, "label-file")->list; s && *s; s++) {
                int r = read_lines(*s, label_line, labels, error);

                if (r != 0)
                        return r;
        }
        for (s = client_value(arguments, "label")->list; s && *s; s++) {
                CLEANUP_FREE char *text = client_must(strdup(*s));

                label_line(labels, text, NULL, NULL);
        }
        if (json_object_size(labels) > 0)
                client_run_set(body, "Labels", json_incref(labels));
        return 0;
}

/* --- health --- */

int client_run_health(const ClientArguments *arguments, json_t *body, Error *error)
{
        static const struct {
                const char *option, *field;
        } numbers[] = {
                { "health-interval", "Healthcheck.Interval" },
                { "health-timeout", "Healthcheck.Timeout" },
                { "health-start-period", "Healthcheck.StartPeriod" },
                { "health-start-interval", "Healthcheck.StartInterval" },
                { "health-retries", "Healthcheck.Retries" },
        };
        const char *command = client_string(arguments, "health-cmd");
        bool any = *command;

        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
                int64_t number = client_value(arguments, numbers[i].option)->number;

                any |= number != 0;
                if (number < 0)
                        return error_set(error, OUTCOME_BAD_REQUEST, "--%s cannot be negative", numbers[i].option);
        }
        if (client_flag(arguments, "no-healthcheck")) {
                if (any)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "--no-healthcheck conflicts with --health-* options");
                client_run_set(body, "Healthcheck.Test", json_pack("[s]", "NONE"));
                return 0;
        }
        if (*command)
                client_run_set(body, "Healthcheck.Test", json_pack("[s,s]", "CMD-SHELL", command));
        for (size_t i = 0; any && i < ARRAY_SIZE(numbers); i++)
                client_run_set(body, numbers[i].field,
                               json_integer(client_value(arguments, numbers[i].option)->number));
        return 0;
}

/* --- limits --- */

static int parse_ulimit(const char *value, json_t **ret, Error *error)
{
        static const char *const names[] = { "core",    "cpu",      "data",   "fsize",      "locks",
                                             "memlock", "msgqueue", "nice",   "nofile",     "nproc",
                                             "rss",     "rtprio",   "rttime", "sigpending", "stack" };
        const char *equal = strchr(value, '='), *colon = equal ? strchr(equal, ':') : NULL;
        CLEANUP_FREE char *name = client_must(strndup(value, strcspn(value, "=")));
        CLEANUP_FREE char *first = NULL;
        int64_t soft, hard;
        bool known = false;

        if (!equal)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid ulimit argument: %s", value);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                known |= strcmp(names[i], name) == 0;
        if (!known)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid ulimit type: %s", name);
        first = client_must(strndup(equal + 1, colon ? (size_t) (colon - equal - 1) : strlen(equal + 1)));
        if (str_to_int64(first, INT64_MIN, INT64_MAX, &soft) < 0 ||
            str_to_int64(colon ? colon + 1 : first, INT64_MIN, INT64_MAX, &hard) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "strconv.ParseInt: parsing \"%s\": invalid syntax",
                                 equal + 1);
        if (hard != -1 && (soft == -1 || soft > hard))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "ulimit soft limit must be less than or equal to hard limit: %lld > %lld",
                                 (long long) soft, (long long) hard);
        if (ret)
                *ret = client_must(
                        json_pack("{s:s,s:I,s:I}", "Name", name, "Hard", (json_int_t) hard, "Soft", (json_int_t) soft));
        return 0;
}

int client_check_ulimit(const char *value, Error *error)
{
        return parse_ulimit(value, NULL, error);
}

/* "path:number" */
static int parse_throttle(const char *value, bool bytes, const char *field, json_t **ret, Error *error)
{
        const char *colon = strchr(value, ':');
        CLEANUP_FREE char *path = NULL;
        int64_t number;

        if (!colon || strchr(colon + 1, ':'))
                return error_set(error, OUTCOME_BAD_REQUEST, "bad format: %s", value);
        if (!str_after_prefix(value, "/dev/"))
                return error_set(error, OUTCOME_BAD_REQUEST, "bad format for device path: %s", value);
        if ((bytes ? text_parse_size(colon + 1, &number) : str_to_int64(colon + 1, 0, INT64_MAX, &number)) < 0 ||
            number < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid rate for device: %s", value);
        path = client_must(strndup(value, colon - value));
        if (ret)
                *ret = client_must(json_pack("{s:s,s:I}", "Path", path, field, (json_int_t) number));
        return 0;
}

int client_check_throttle(const char *value, Error *error)
{
        return parse_throttle(value, false, "", NULL, error);
}

int client_check_rate(const char *value, Error *error)
{
        return parse_throttle(value, true, "", NULL, error);
}

int client_run_limits(const ClientArguments *arguments, json_t *body, Error *error)
{
        static const struct {
                const char *option, *field, *member;
                bool bytes;
        } throttles[] = {
                { "blkio-weight-device", "HostConfig.BlkioWeightDevice", "Weight", false },
                { "device-read-bps", "HostConfig.BlkioDeviceReadBps", "Rate", true },
                { "device-read-iops", "HostConfig.BlkioDeviceReadIOps", "Rate", false },
                { "device-write-bps", "HostConfig.BlkioDeviceWriteBps", "Rate", true },
                { "device-write-iops", "HostConfig.BlkioDeviceWriteIOps", "Rate", false },
        };
        char *const *s = client_value(arguments, "ulimit")->list;

        for (size_t i = 0; i < ARRAY_SIZE(throttles); i++) {
                char *const *list = client_value(arguments, throttles[i].option)->list;
                json_t *array = list ? client_must(json_array()) : NULL;

                if (array)
                        client_run_set(body, throttles[i].field, array);
                for (; list && *list; list++) {
                        json_t *item = NULL;
                        int r = parse_throttle(*list, throttles[i].bytes, throttles[i].member, &item, error);

                        if (r != 0)
                                return r;
                        client_must_zero(json_array_append_new(array, item));
                }
        }
        if (s) {
                json_t *array = client_must(json_array());

                client_run_set(body, "HostConfig.Ulimits", array);
                for (; *s; s++) {
                        json_t *item = NULL;
                        int r = parse_ulimit(*s, &item, error);

                        if (r != 0)
                                return r;
                        client_must_zero(json_array_append_new(array, item));
                }
        }
        return 0;
}

/* --- security options and the restart policy --- */

static int add_security(json_t *list, json_t *body, const char *option, Error *error)
{
        const char *profile = str_after_prefix(option, "seccomp=") ?: str_after_prefix(option, "seccomp:");
        CLEANUP_FREE char *text = NULL, *data = NULL;

        if (strcmp(option, "systempaths=unconfined") == 0) {
                client_run_set(body, "HostConfig.MaskedPaths", json_array());
                client_run_set(body, "HostConfig.ReadonlyPaths", json_array());
                return 0;
        }
        if (!strchr(option, '=') && strcmp(option, "no-new-privileges") != 0 && !strchr(option, ':'))
                return error_set(error, OUTCOME_BAD_REQUEST, "Invalid --security-opt: \"%s\"", option);
        if (profile && strcmp(profile, "unconfined") != 0 && strcmp(profile, "builtin") != 0) {
                CLEANUP_JSON json_t *json = NULL;
                CLEANUP_FREE char *compact = NULL;
                int r = file_read_at(AT_FDCWD, profile, FILE_MAX, &data, NULL);

                if (r < 0)
                        return error_set(error, OUTCOME_BAD_REQUEST, "opening seccomp profile (%s) failed: open %s: %s",
                                         profile, profile, r == -ENOENT ? "no such file or directory" : strerror(-r));
                json = json_loads(data, 0, NULL);
                compact = json ? client_must(json_dumps(json, JSON_COMPACT)) : NULL;
                if (!compact)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "compacting json for seccomp profile (%s) failed: it is not JSON", profile);
                text = client_must(str_printf("seccomp=%s", compact));
        } else {
                text = client_must(strdup(option));
        }
        client_must_zero(json_array_append_new(list, json_string(text)));
        return 0;
}

int client_run_security(const ClientArguments *arguments, json_t *body, Error *error)
{
        char *const *s = client_value(arguments, "security-opt")->list;
        CLEANUP_JSON json_t *list = client_must(json_array());

        for (; s && *s; s++) {
                int r = add_security(list, body, *s, error);

                if (r != 0)
                        return r;
        }
        if (json_array_size(list) > 0)
                client_run_set(body, "HostConfig.SecurityOpt", json_incref(list));
        return 0;
}

int client_restart_parse(const char *policy, json_t **ret, Error *error)
{
        const char *colon = strchr(policy, ':');
        CLEANUP_FREE char *name = client_must(strndup(policy, strcspn(policy, ":")));
        int64_t count = 0;

        if (colon == policy)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid restart policy format: no policy provided before colon");
        if (colon && str_to_int64(colon + 1, INT32_MIN, INT32_MAX, &count) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid restart policy format: maximum retry count must be an integer");
        *ret = client_must(json_pack("{s:s,s:I}", "Name", name, "MaximumRetryCount", (json_int_t) count));
        return 0;
}

int client_run_restart(const ClientArguments *arguments, json_t *body, Error *error)
{
        CLEANUP_JSON json_t *policy = NULL;
        const char *name;
        int r = client_restart_parse(client_string(arguments, "restart"), &policy, error);

        if (r != 0)
                return r;
        name = json_get_string_or(policy, "Name", "");
        if (client_flag(arguments, "rm") && *name && strcmp(name, "no") != 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "conflicting options: cannot specify both --restart and --rm");
        client_run_set(body, "HostConfig.RestartPolicy", json_incref(policy));
        return 0;
}
