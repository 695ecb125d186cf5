/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HostConfig.PortBindings, checked: {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}. */
#include <string.h>

#include "berth/json.h"
#include "engine-private.h"

/* "80" or "80-90", as Docker's client sends ports; none at all is a port that is chosen. */
static bool port_is_valid(const char *text)
{
        const char *dash = strchr(text, '-');
        CLEANUP_FREE char *first = dash ? strndup(text, (size_t) (dash - text)) : strdup(text);
        int64_t low, high;

        if (!first || str_to_int64(first, 0, UINT16_MAX, &low) < 0)
                return str_empty(text);
        return !dash || (str_to_int64(dash + 1, 0, UINT16_MAX, &high) >= 0 && low <= high);
}

static int check_port(const char *port, const json_t *bindings, Error *error)
{
        CLEANUP_FREE char *inner = strndup(port, strcspn(port, "/"));
        int64_t number;
        json_t *binding;
        size_t i;

        if (!inner)
                return -ENOMEM;
        if (str_to_int64(inner, 0, UINT16_MAX, &number) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid port specification: \"%s\"", inner);
        if (!json_is_array(bindings) && !json_is_null(bindings))
                return fields_refuse(bindings, "HostConfig.HostConfig.PortBindings", "[]nat.PortBinding", error);
        json_array_foreach((json_t *) bindings, i, binding) {
                json_t *outer = json_object_get(binding, "HostPort");

                if (!json_is_object(binding))
                        return fields_refuse(binding, "HostConfig.HostConfig.PortBindings", "nat.PortBinding", error);
                if (outer && !json_is_string(outer) && !json_is_null(outer))
                        return fields_refuse(outer, "PortBinding.HostConfig.PortBindings.HostPort", "string", error);
                if (json_is_string(outer) && !port_is_valid(json_string_value(outer)))
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid port specification: \"%s\"",
                                         json_string_value(outer));
        }
        return 0;
}

int port_bindings_check(const json_t *ports, Error *error)
{
        const char *port;
        json_t *bindings;

        json_object_foreach((json_t *) ports, port, bindings) {
                int r = check_port(port, bindings, error);
                if (r != 0)
                        return r;
        }
        return 0;
}
