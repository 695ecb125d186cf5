/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices and GPUs of a create request. */
#include <string.h>

#include "client-run.h"

static bool is_mode(const char *s)
{
        return *s && s[strspn(s, "rwm")] == 0 && strlen(s) <= 3;
}

/* A name of the Container Device Interface: "vendor.com/class=name". */
static bool is_cdi(const char *s)
{
        const char *slash = strchr(s, '/'), *equal = strchr(s, '=');

        return *s != '/' && slash && equal && slash < equal && equal[1] && !strchr(s, ':');
}

static int add_device(json_t *list, const char *value, Error *error)
{
        CLEANUP_FREE char *copy = client_must(strdup(value));
        char *rest = copy, *host = strsep(&rest, ":"), *inner = strsep(&rest, ":"), *mode = strsep(&rest, ":");

        if (rest || !*host)
                return error_set(error, OUTCOME_BAD_REQUEST, "bad format for path: %s", value);
        if (inner && !mode && is_mode(inner)) {
                mode = inner;
                inner = NULL;
        }
        if (mode && !is_mode(mode))
                return error_set(error, OUTCOME_BAD_REQUEST, "bad mode specified: %s", mode);
        if (!inner || !*inner)
                inner = host;
        if (*inner != '/')
                return error_set(error, OUTCOME_BAD_REQUEST, "%s is not an absolute path", inner);
        client_must_zero(json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "PathOnHost", host, "PathInContainer",
                                                               inner, "CgroupPermissions", mode ?: "rwm")));
        return 0;
}

/* "all", "2" or "count=2,driver=x,capabilities=a,device=0,options=..." . */
static int parse_gpus(const char *value, json_t **ret, Error *error)
{
        CLEANUP_FREE char *copy = client_must(strdup(value));
        CLEANUP_JSON json_t *request = client_must(json_pack("{s:s,s:i,s:n,s:[[s]],s:{}}", "Driver", "", "Count", 0,
                                                             "DeviceIDs", "Capabilities", "gpu", "Options"));
        CLEANUP_JSON json_t *ids = client_must(json_array());
        bool counted = false;
        char *rest = copy, *field;

        while ((field = client_csv_next(&rest))) {
                char *equal = strchr(field, '='), *text = equal ? equal + 1 : field;
                int64_t count = -1;

                if (equal)
                        *equal = 0;
                if (!equal || strcmp(field, "count") == 0) {
                        if (strcmp(text, "all") != 0 && str_to_int64(text, 0, INT32_MAX, &count) < 0)
                                return error_set(error, OUTCOME_BAD_REQUEST,
                                                 "invalid count (%s): value must be either \"all\" or an integer: "
                                                 "invalid syntax",
                                                 text);
                        client_run_set(request, "Count", json_integer(count));
                        counted = true;
                } else if (strcmp(field, "device") == 0) {
                        char *id;

                        while ((id = strsep(&text, ",")))
                                client_must_zero(json_array_append_new(ids, json_string(id)));
                } else if (strcmp(field, "driver") == 0) {
                        client_run_set(request, "Driver", json_string(text));
                } else if (strcmp(field, "capabilities") == 0) {
                        client_must_zero(json_array_append_new(
                                json_array_get(json_object_get(request, "Capabilities"), 0), json_string(text)));
                } else {
                        return error_set(error, OUTCOME_BAD_REQUEST, "unexpected key '%s' in '%s=%s'", field, field,
                                         text);
                }
        }
        if (json_array_size(ids) > 0)
                client_run_set(request, "DeviceIDs", json_incref(ids));
        else if (!counted)
                client_run_set(request, "Count", json_integer(1));
        if (ret)
                *ret = TAKE_PTR(request);
        return 0;
}

int client_check_gpus(const char *value, Error *error)
{
        return parse_gpus(value, NULL, error);
}

int client_run_devices(const ClientArguments *arguments, json_t *body, Error *error)
{
        char *const *s = client_value(arguments, "device")->list;
        CLEANUP_JSON json_t *list = client_must(json_array()), *requests = client_must(json_array());
        CLEANUP_JSON json_t *names = client_must(json_array());

        for (; s && *s; s++) {
                int r = 0;

                if (is_cdi(*s))
                        client_must_zero(json_array_append_new(names, json_string(*s)));
                else
                        r = add_device(list, *s, error);
                if (r != 0)
                        return r;
        }
        for (s = client_value(arguments, "gpus")->list; s && *s; s++) {
                json_t *request = NULL;
                int r = parse_gpus(*s, &request, error);

                if (r != 0)
                        return r;
                client_must_zero(json_array_append_new(requests, request));
        }
        if (json_array_size(names) > 0)
                client_must_zero(
                        json_array_append_new(requests, json_pack("{s:s,s:O}", "Driver", "cdi", "DeviceIDs", names)));
        if (json_array_size(list) > 0)
                client_run_set(body, "HostConfig.Devices", json_incref(list));
        if (json_array_size(requests) > 0)
                client_run_set(body, "HostConfig.DeviceRequests", json_incref(requests));
        return 0;
}
