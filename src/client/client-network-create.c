/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth network create. Ranges, gateways and further addresses are given apart from the subnets they belong to: each is
 * put with the subnet it lies in. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-run.h"

typedef struct Prefix {
        int family;
        uint8_t address[16];
        int64_t length; /* in bits; -1 where there is none */
} Prefix;

static int parse_prefix(const char *text, Prefix *ret)
{
        CLEANUP_FREE char *address = client_must(strndup(text, strcspn(text, "/")));
        const char *slash = strchr(text, '/');
        Prefix prefix = { .family = strchr(address, ':') ? AF_INET6 : AF_INET, .length = -1 };

        if (inet_pton(prefix.family, address, prefix.address) != 1)
                return -EINVAL;
        if (slash && str_to_int64(slash + 1, 0, prefix.family == AF_INET ? 32 : 128, &prefix.length) < 0)
                return -EINVAL;
        *ret = prefix;
        return 0;
}

static bool contains(const Prefix *subnet, const Prefix *other)
{
        if (subnet->family != other->family)
                return false;
        for (int64_t bit = 0; bit < subnet->length; bit++)
                if ((subnet->address[bit / 8] ^ other->address[bit / 8]) & 0x80 >> bit % 8)
                        return false;
        return true;
}

/* The configuration whose subnet TEXT lies in. */
static int find_config(json_t *configs, const char *what, const char *text, json_t **ret, Error *error)
{
        Prefix other, subnet;
        json_t *config;
        size_t i;

        if (parse_prefix(text, &other) == 0)
                json_array_foreach(configs, i, config) {
                        if (parse_prefix(json_get_string_or(config, "Subnet", ""), &subnet) == 0 &&
                            contains(&subnet, &other)) {
                                *ret = config;
                                return 0;
                        }
                }
        return error_set(error, OUTCOME_BAD_REQUEST, "no matching subnet for %s %s", what, text);
}

static int add_subnets(char *const *list, json_t *configs, Error *error)
{
        for (; list && *list; list++) {
                Prefix subnet = {}, other = {};
                json_t *config;
                size_t i;

                /* One alone goes to the daemon as it is. */
                if ((parse_prefix(*list, &subnet) < 0 || subnet.length < 0) &&
                    (list[1] || json_array_size(configs) > 0))
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid subnet %s: invalid CIDR address: %s",
                                         *list, *list);
                json_array_foreach(configs, i, config) {
                        parse_prefix(json_get_string_or(config, "Subnet", ""), &other);
                        if (contains(&other, &subnet) || contains(&subnet, &other))
                                return error_set(error, OUTCOME_BAD_REQUEST,
                                                 "multiple overlapping subnet configuration is not supported");
                }
                client_must_zero(json_array_append_new(configs, json_pack("{s:s}", "Subnet", *list)));
        }
        return 0;
}

/* What a subnet has one of. */
static int add_single(char *const *list, const char *what, const char *plural, const char *member, json_t *configs,
                      Error *error)
{
        for (; list && *list; list++) {
                json_t *config = NULL;
                int r = find_config(configs, what, *list, &config, error);

                if (r != 0)
                        return r;
                if (json_get_string(config, member))
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "cannot configure multiple %s (%s, %s) for the same subnet (%s)", plural,
                                         *list, json_get_string(config, member),
                                         json_get_string_or(config, "Subnet", ""));
                client_run_set(config, member, json_string(*list));
        }
        return 0;
}

static int add_auxiliary(char *const *list, json_t *configs, Error *error)
{
        for (; list && *list; list++) {
                const char *equal = strchr(*list, '='), *address = equal ? equal + 1 : "";
                CLEANUP_FREE char *name = client_must(strndup(*list, strcspn(*list, "=")));
                json_t *config;
                int r = find_config(configs, "aux-address", address, &config, error);

                if (r != 0)
                        return r;
                if (!json_object_get(config, "AuxiliaryAddresses"))
                        client_run_set(config, "AuxiliaryAddresses", json_object());
                client_must_zero(json_object_set_new(json_object_get(config, "AuxiliaryAddresses"), name,
                                                     client_must(json_string(address))));
        }
        return 0;
}

static int make_configs(const ClientArguments *arguments, json_t **ret, Error *error)
{
        char *const *subnets = client_value(arguments, "subnet")->list;
        char *const *ranges = client_value(arguments, "ip-range")->list;
        char *const *gateways = client_value(arguments, "gateway")->list;
        CLEANUP_JSON json_t *configs = client_must(json_array());
        size_t n = subnets ? strv_length(subnets) : 0;
        int r;

        if ((ranges && n < strv_length(ranges)) || (gateways && n < strv_length(gateways)))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "every ip-range or gateway must have a corresponding subnet");
        r = add_subnets(subnets, configs, error);
        if (r == 0)
                r = add_single(ranges, "range", "ranges", "IPRange", configs, error);
        if (r == 0)
                r = add_single(gateways, "gateway", "gateways", "Gateway", configs, error);
        if (r == 0)
                r = add_auxiliary(client_value(arguments, "aux-address")->list, configs, error);
        if (r == 0)
                *ret = TAKE_PTR(configs);
        return r;
}

static int run_create(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *body = client_must(json_object()), *configs = NULL;
        const char *copied = client_string(arguments, "config-from");
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};

        if (make_configs(arguments, &configs, &error) != 0)
                return client_fail(&error);
        client_run_set(body, "Name", json_string(arguments->words[0]));
        client_run_set(body, "Driver", json_string(client_string(arguments, "driver")));
        client_run_set(body, "Options", client_list_object(client_value(arguments, "opt")->list));
        client_run_set(body, "Labels", client_list_object(client_value(arguments, "label")->list));
        client_run_set(body, "IPAM.Driver", json_string(client_string(arguments, "ipam-driver")));
        client_run_set(body, "IPAM.Options", client_list_object(client_value(arguments, "ipam-opt")->list));
        client_run_set(body, "IPAM.Config", json_incref(configs));
        client_run_set_fields(arguments, body);
        if (*copied)
                client_run_set(body, "ConfigFrom.Network", json_string(copied));
        if (client_call(client, "POST", "/networks/create", body, &reply, &error) != 0)
                return client_fail(&error);
        if (!str_empty(json_get_string(reply.json, "Warning")))
                client_complain("WARNING: %s", json_get_string(reply.json, "Warning"));
        puts(json_get_string_or(reply.json, "Id", ""));
        return 0;
}

static const ClientOption create_options[] = {
        { 0, "attachable", OPTION_BOOL, NULL, NULL, "Let containers be attached by hand", "Attachable", NULL, false },
        { 0, "aux-address", OPTION_MAP, "map", NULL, "Address that is taken already (name=address)", NULL, NULL,
          false },
        { 0, "config-from", OPTION_STRING, "string", NULL, "Network to copy the configuration from", NULL, NULL,
          false },
        { 0, "config-only", OPTION_BOOL, NULL, NULL, "Create a configuration only", "ConfigOnly", NULL, false },
        { 'd', "driver", OPTION_STRING, "string", "bridge", "Driver of the network", NULL, NULL, false },
        { 0, "gateway", OPTION_COMMA, "strings", NULL, "Gateway of a subnet", NULL, NULL, false },
        { 0, "ingress", OPTION_BOOL, NULL, NULL, "Create a swarm's routing mesh", "Ingress", NULL, false },
        { 0, "internal", OPTION_BOOL, NULL, NULL, "No way to the outside", "Internal", NULL, false },
        { 0, "ip-range", OPTION_COMMA, "strings", NULL, "Part of a subnet that containers get addresses from", NULL,
          NULL, false },
        { 0, "ipam-driver", OPTION_STRING, "string", "default", "Driver that manages addresses", NULL, NULL, false },
        { 0, "ipam-opt", OPTION_MAP, "map", NULL, "Option of that driver", NULL, NULL, false },
        { 0, "ipv4", OPTION_BOOL, NULL, "true", "Give IPv4 addresses", "EnableIPv4", NULL, false },
        { 0, "ipv6", OPTION_BOOL, NULL, NULL, "Give IPv6 addresses", "EnableIPv6", NULL, false },
        { 0, "label", OPTION_LIST, "list", NULL, "Set metadata on the network", NULL, NULL, false },
        { 'o', "opt", OPTION_MAP, "map", NULL, "Option of the network's driver", NULL, NULL, false },
        { 0, "scope", OPTION_STRING, "string", NULL, "Scope of the network", "Scope", NULL, false },
        { 0, "subnet", OPTION_COMMA, "strings", NULL, "Subnet (address/length)", NULL, NULL, false },
        {},
};

const ClientCommand client_network_create = {
        .usage = "[OPTIONS] NETWORK",
        .summary = "Create a network",
        .options = create_options,
        .min_words = 1,
        .max_words = 1,
        .run = run_create,
};
