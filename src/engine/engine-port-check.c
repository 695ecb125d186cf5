/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Published ports as they are written: HostConfig.PortBindings, {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}. */
#include <arpa/inet.h>
#include <string.h>

#include "berth/json.h"
#include "engine-private.h"

/* "80" or "80-90", as Docker's client sends ports; none at all is a port that is chosen. */
bool port_range_parse(const char *text, PortRange *ret_range)
{
        const char *dash = text ? strchr(text, '-') : NULL;
        CLEANUP_FREE char *first = text ? strndup(text, strcspn(text, "-")) : NULL;
        int64_t low, high;

        *ret_range = (PortRange) { 0 };
        if (str_empty(text))
                return true;
        if (!first || str_to_int64(first, 0, UINT16_MAX, &low) < 0)
                return false;
        high = low;
        if (dash && (str_to_int64(dash + 1, 0, UINT16_MAX, &high) < 0 || low > high))
                return false;
        *ret_range = (PortRange) { (uint16_t) low, (uint16_t) high };
        return true;
}

static const struct {
        const char *name;
        uint8_t number;
} protocols[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP } };

const char *port_protocol_name(uint8_t number)
{
        for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
                if (protocols[i].number == number)
                        return protocols[i].name;
        return "tcp";
}

/* "80/tcp", "80", "80/UDP". */
bool port_parse(const char *text, uint16_t *ret_port, uint8_t *ret_protocol)
{
        CLEANUP_FREE char *inner = strndup(text, strcspn(text, "/"));
        const char *slash = strchr(text, '/');
        int64_t number;

        if (!inner || str_to_int64(inner, 0, UINT16_MAX, &number) < 0)
                return false;
        *ret_port = (uint16_t) number;
        *ret_protocol = IPPROTO_TCP;
        if (!slash || !slash[1])
                return true;
        for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
                if (strcasecmp(protocols[i].name, slash + 1) == 0) {
                        *ret_protocol = protocols[i].number;
                        return true;
                }
        return false;
}

static int check_binding(const json_t *binding, Error *error)
{
        json_t *outer = json_object_get(binding, "HostPort"), *address = json_object_get(binding, "HostIp");
        struct in6_addr ignored;
        PortRange range;

        if (json_is_string(outer) && !port_range_parse(json_string_value(outer), &range))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid port specification: \"%s\"",
                                 json_string_value(outer));
        if (json_string_length(address) > 0 && inet_pton(AF_INET, json_string_value(address), &ignored) != 1 &&
            inet_pton(AF_INET6, json_string_value(address), &ignored) != 1)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid IP address: %s", json_string_value(address));
        return 0;
}

static int check_port(const char *port, const json_t *bindings, Error *error)
{
        CLEANUP_FREE char *inner = strndup(port, strcspn(port, "/"));
        uint16_t number;
        uint8_t protocol;
        json_t *binding;
        size_t i;
        int r = 0;

        if (!inner)
                return -ENOMEM;
        if (!port_parse(port, &number, &protocol))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid port specification: \"%s\"", inner);
        json_array_foreach((json_t *) bindings, i, binding)
                if (r == 0)
                        r = check_binding(binding, error);
        return r;
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
