/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ports, networks, names and addresses of a create request. */
#include <arpa/inet.h>
#include <string.h>

#include "client-run.h"

int client_check_address(const char *value, Error *error)
{
        struct in6_addr address;

        if (inet_pton(AF_INET, value, &address) == 1 || inet_pton(AF_INET6, value, &address) == 1)
                return 0;
        return error_set(error, OUTCOME_BAD_REQUEST, "IP address is not correctly formatted: %s", value);
}

/* host:ip or host=ip; the address may be in brackets, or the word "host-gateway". */
static char *parse_host(const char *value)
{
        size_t n = strcspn(value, "=");
        const char *address = value[n] ? value + n + 1 : NULL;
        CLEANUP_FREE char *bare = NULL;

        if (!address) {
                n = strcspn(value, ":");
                address = value[n] ? value + n + 1 : "";
        }
        if (*address == '[' && str_has_suffix(address, "]"))
                bare = client_must(strndup(address + 1, strlen(address) - 2));
        else
                bare = client_must(strdup(address));
        return n > 0 && *bare ? client_must(str_printf("%.*s:%s", (int) n, value, bare)) : NULL;
}

int client_check_host(const char *value, Error *error)
{
        CLEANUP_FREE char *host = parse_host(value);

        if (!host)
                return error_set(error, OUTCOME_BAD_REQUEST, "bad format for add-host: \"%s\"", value);
        if (strcmp(strchr(host, ':') + 1, "host-gateway") == 0)
                return 0;
        if (client_check_address(strchr(host, ':') + 1, NULL) != 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid IP address in add-host: \"%s\"",
                                 strchr(host, ':') + 1);
        return 0;
}

int client_check_link(const char *value, Error *error)
{
        const char *colon = strchr(value, ':');

        if (!*value)
                return error_set(error, OUTCOME_BAD_REQUEST, "empty string specified for links");
        if (colon && strchr(colon + 1, ':'))
                return error_set(error, OUTCOME_BAD_REQUEST, "bad format for links: %s", value);
        return 0;
}

/* --- ports --- */

static int parse_range(const char *s, int64_t *first, int64_t *last)
{
        CLEANUP_FREE char *low = client_must(strndup(s, strcspn(s, "-")));
        const char *dash = strchr(s, '-');

        if (str_to_int64(low, 0, 65535, first) < 0 || str_to_int64(dash ? dash + 1 : low, 0, 65535, last) < 0)
                return -EINVAL;
        return *first <= *last ? 0 : -ERANGE;
}

static void expose(json_t *body, int64_t port, const char *protocol)
{
        CLEANUP_FREE char *key = client_must(str_printf("%lld/%s", (long long) port, protocol));

        client_must_zero(json_object_set_new(client_run_object(body, "ExposedPorts"), key, json_object()));
}

static void bind_port(json_t *body, int64_t port, const char *protocol, const char *address, const char *host_port)
{
        CLEANUP_FREE char *key = client_must(str_printf("%lld/%s", (long long) port, protocol));
        json_t *bindings = client_run_object(body, "HostConfig.PortBindings");
        json_t *list = json_object_get(bindings, key);

        if (!list) {
                list = client_must(json_array());
                client_must_zero(json_object_set_new(bindings, key, list));
        }
        client_must_zero(json_array_append_new(list, json_pack("{s:s,s:s}", "HostIp", address, "HostPort", host_port)));
}

typedef struct PortSpec {
        char *copy; /* owned; the rest points into it */
        const char *address, *outer, *inner, *protocol;
} PortSpec;

static void port_spec_clear(PortSpec *spec)
{
        free(spec->copy);
}

/* [ADDRESS:][[HOST]:]CONTAINER[/PROTOCOL], an IPv6 address in brackets. */
static int split_port(const char *value, PortSpec *spec, Error *error)
{
        char *s = spec->copy = client_must(strdup(value)), *slash = strrchr(s, '/'), *colon;
        struct in6_addr address;

        spec->protocol = "tcp";
        if (slash) {
                *slash = 0;
                spec->protocol = slash + 1;
                for (char *c = slash + 1; *c; c++)
                        if (*c >= 'A' && *c <= 'Z')
                                *c += 'a' - 'A';
        }
        spec->address = spec->outer = "";
        spec->inner = s;
        colon = strrchr(s, ':');
        if (colon) {
                *colon = 0;
                spec->inner = colon + 1;
                colon = strrchr(s, ':');
                if (colon)
                        *colon = 0;
                spec->outer = colon ? colon + 1 : s;
                spec->address = colon ? s : "";
        }
        if (*spec->address == '[' && str_has_suffix(spec->address, "]")) {
                s[strlen(s) - 1] = 0;
                spec->address = s + 1;
        }
        if (*spec->address && inet_pton(AF_INET, spec->address, &address) != 1 &&
            inet_pton(AF_INET6, spec->address, &address) != 1)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid IP address: %s", spec->address);
        if (!*spec->inner)
                return error_set(error, OUTCOME_BAD_REQUEST, "no port specified: %s<empty>", value);
        if (strcmp(spec->protocol, "tcp") != 0 && strcmp(spec->protocol, "udp") != 0 &&
            strcmp(spec->protocol, "sctp") != 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid proto: %s", spec->protocol);
        return 0;
}

static int publish(json_t *body, const char *value, Error *error)
{
        CLEANUP(port_spec_clear) PortSpec spec = {};
        int64_t inner, inner_last, outer = 0, outer_last = 0;
        int r = split_port(value, &spec, error);

        if (r != 0)
                return r;
        if (parse_range(spec.inner, &inner, &inner_last) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid containerPort: %s", spec.inner);
        if (*spec.outer && parse_range(spec.outer, &outer, &outer_last) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid hostPort: %s", spec.outer);
        if (*spec.outer && inner_last - inner != outer_last - outer && inner != inner_last)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid ranges specified for container and host Ports: %s and %s", spec.inner,
                                 spec.outer);
        for (int64_t i = 0; i <= inner_last - inner; i++) {
                CLEANUP_FREE char *port = NULL;

                if (!*spec.outer)
                        port = strdup("");
                else if (inner == inner_last)
                        port = strdup(spec.outer);
                else
                        port = str_printf("%lld", (long long) (outer + i));
                expose(body, inner + i, spec.protocol);
                bind_port(body, inner + i, spec.protocol, spec.address, client_must(port));
        }
        return 0;
}

int client_run_ports(const ClientArguments *arguments, json_t *body, Error *error)
{
        char *const *s;

        for (s = client_value(arguments, "publish")->list; s && *s; s++) {
                int r = publish(body, *s, error);

                if (r != 0)
                        return r;
        }
        for (s = client_value(arguments, "expose")->list; s && *s; s++) {
                const char *slash = strchr(*s, '/');
                CLEANUP_FREE char *range = client_must(strndup(*s, strcspn(*s, "/")));
                int64_t first, last;

                if (strchr(*s, ':'))
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid port format for --expose: %s", *s);
                if (parse_range(range, &first, &last) < 0)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "invalid range format for --expose: %s, error: strconv.ParseUint: parsing "
                                         "\"%s\": invalid syntax",
                                         *s, range);
                for (; first <= last; first++)
                        expose(body, first, slash ? slash + 1 : "tcp");
        }
        return 0;
}

/* --- networks --- */

static void append(json_t *object, const char *path, const char *value)
{
        const char *dot = strrchr(path, '.');
        CLEANUP_FREE char *parent = client_must(strndup(path, dot ? (size_t) (dot - path) : 0));
        json_t *at = client_run_object(object, parent);
        json_t *list = json_object_get(at, dot ? dot + 1 : path);

        if (!list) {
                list = client_must(json_array());
                client_must_zero(json_object_set_new(at, dot ? dot + 1 : path, list));
        }
        client_must_zero(json_array_append_new(list, json_string(value)));
}

/* "NETWORK" or "name=NETWORK,alias=A,ip=I,...". Fills ENDPOINT, names the network. */
static int parse_network(const char *value, json_t *endpoint, char **ret_name, Error *error)
{
        static const struct {
                const char *key, *path;
                bool list;
        } keys[] = {
                { "alias", "Aliases", true },
                { "link-local-ip", "IPAMConfig.LinkLocalIPs", true },
                { "ip", "IPAMConfig.IPv4Address", false },
                { "ip6", "IPAMConfig.IPv6Address", false },
                { "mac-address", "MacAddress", false },
        };
        CLEANUP_FREE char *copy = client_must(strdup(value)), *name = NULL;
        char *rest = copy, *field;

        if (!strchr(value, '=')) {
                *ret_name = client_must(strdup(value));
                return 0;
        }
        while ((field = strsep(&rest, ","))) {
                char *text = strchr(field, '=');
                size_t i;

                if (!text)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid field %s", field);
                *text++ = 0;
                for (i = 0; i < ARRAY_SIZE(keys) && strcmp(keys[i].key, field) != 0;)
                        i++;
                if (i < ARRAY_SIZE(keys) && keys[i].list) {
                        append(endpoint, keys[i].path, text);
                } else if (i < ARRAY_SIZE(keys)) {
                        client_run_set(endpoint, keys[i].path, json_string(text));
                } else if (strcmp(field, "name") == 0) {
                        free(name);
                        name = client_must(strdup(text));
                } else if (strcmp(field, "gw-priority") == 0) {
                        int64_t priority;

                        if (str_to_int64(text, INT32_MIN, INT32_MAX, &priority) < 0)
                                return error_set(error, OUTCOME_BAD_REQUEST, "invalid gw-priority: %s", text);
                        client_run_set(endpoint, "GwPriority", json_integer(priority));
                } else if (strcmp(field, "driver-opt") == 0) {
                        char *option = text, *setting = strchr(option, '=');

                        if (setting)
                                *setting++ = 0;
                        client_must_zero(json_object_set_new(client_run_object(endpoint, "DriverOpts"), option,
                                                             json_string(setting ?: "")));
                } else {
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid field key %s", field);
                }
        }
        if (!name)
                return error_set(error, OUTCOME_BAD_REQUEST, "network name/id is not specified");
        *ret_name = TAKE_PTR(name);
        return 0;
}

static bool is_user_defined(const char *network)
{
        static const char *const own[] = { "default", "bridge", "host", "none", "nat" };

        for (size_t i = 0; i < ARRAY_SIZE(own); i++)
                if (strcmp(own[i], network) == 0)
                        return false;
        return !str_after_prefix(network, "container:");
}

static void append_all(json_t *object, const char *path, char *const *list)
{
        for (; list && *list; list++)
                append(object, path, *list);
}

/* The options for the one network there is, or the first. */
static int apply_plain_options(const ClientArguments *arguments, json_t *body, json_t *endpoint, const char *name,
                               Error *error)
{
        char *const *aliases = client_value(arguments, "network-alias")->list;
        char *const *old_aliases = client_value(arguments, "net-alias")->list;
        char *const *links = client_value(arguments, "link")->list;
        const char *ip = client_string(arguments, "ip"), *ip6 = client_string(arguments, "ip6");
        const char *mac = client_string(arguments, "mac-address");

        if ((aliases || old_aliases) && !is_user_defined(name))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "network-scoped aliases are only supported for user-defined networks");
        append_all(endpoint, "Aliases", aliases);
        append_all(endpoint, "Aliases", old_aliases);
        append_all(body, "HostConfig.Links", links);
        if (is_user_defined(name))
                append_all(endpoint, "Links", links);
        append_all(endpoint, "IPAMConfig.LinkLocalIPs", client_value(arguments, "link-local-ip")->list);
        if (*ip)
                client_run_set(endpoint, "IPAMConfig.IPv4Address", json_string(ip));
        if (*ip6)
                client_run_set(endpoint, "IPAMConfig.IPv6Address", json_string(ip6));
        if (*mac)
                client_run_set(endpoint, "MacAddress", json_string(mac));
        return 0;
}

static int add_network(const ClientArguments *arguments, json_t *body, const char *value, bool first, Error *error)
{
        CLEANUP_JSON json_t *endpoint = client_must(json_object());
        CLEANUP_FREE char *name = NULL;
        json_t *endpoints;
        int r = parse_network(value, endpoint, &name, error);

        if (r == 0 && name && first) {
                client_run_set(body, "HostConfig.NetworkMode", json_string(name));
                r = apply_plain_options(arguments, body, endpoint, name, error);
        }
        if (r != 0 || !name)
                return r;
        /* The engine's own networks need no endpoint unless something is said about it. */
        if (json_object_size(endpoint) == 0 && !is_user_defined(name))
                return 0;
        endpoints = client_run_object(body, "NetworkingConfig.EndpointsConfig");
        if (json_object_get(endpoints, name))
                return error_set(error, OUTCOME_BAD_REQUEST, "network \"%s\" is specified multiple times", name);
        client_must_zero(json_object_set(endpoints, name, endpoint));
        return 0;
}

static void apply_names(const ClientArguments *arguments, json_t *body)
{
        char *const *s;

        for (s = client_value(arguments, "add-host")->list; s && *s; s++) {
                CLEANUP_FREE char *host = client_must(parse_host(*s));

                append(body, "HostConfig.ExtraHosts", host);
        }
        append_all(body, "HostConfig.DnsOptions", client_value(arguments, "dns-option")->list);
        append_all(body, "HostConfig.DnsOptions", client_value(arguments, "dns-opt")->list);
}

int client_run_networks(const ClientArguments *arguments, json_t *body, Error *error)
{
        CLEANUP_STRV char **networks = NULL;
        char *const *s;

        for (s = client_value(arguments, "network")->list; s && *s; s++)
                client_must_zero(strv_append(&networks, *s));
        for (s = client_value(arguments, "net")->list; s && *s; s++)
                client_must_zero(strv_append(&networks, *s));
        if (!networks)
                client_must_zero(strv_append(&networks, "default"));
        apply_names(arguments, body);
        for (size_t i = 0; networks[i]; i++) {
                int r = add_network(arguments, body, networks[i], i == 0, error);

                if (r != 0)
                        return r;
        }
        return 0;
}
