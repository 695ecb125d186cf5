/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The settings of an endpoint: what a container is created or connected with, checked and in the form of its record. */
#include <arpa/inet.h>

#include "berth/json.h"
#include "engine-private.h"

char *mac_text(const uint8_t mac[static 6], char ret_text[static 18])
{
        snprintf(ret_text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        return ret_text;
}

bool mac_parse(const char *text, uint8_t ret_mac[static 6])
{
        unsigned b[6];
        char rest;

        if (!text || (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &rest) != 6 &&
                      sscanf(text, "%2x-%2x-%2x-%2x-%2x-%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &rest) != 6))
                return false;
        for (size_t i = 0; i < 6; i++)
                ret_mac[i] = (uint8_t) b[i];
        return true;
}
static bool in_subnets(const Network *network, const char *text)
{
        json_t *entry;
        size_t i;

        json_array_foreach(json_object_get(json_object_get(network->record, "IPAM"), "Config"), i, entry) {
                NetworkSubnet subnet;
                struct in6_addr base, six;
                struct in_addr four;
                uint8_t prefix;

                if (inet_pton(AF_INET, text, &four) == 1 && subnet_parse(json_get_string(entry, "Subnet"), &subnet) &&
                    subnet_contains(subnet, four.s_addr))
                        return true;
                if (inet_pton(AF_INET6, text, &six) == 1 &&
                    subnet6_parse(json_get_string(entry, "Subnet"), &base, &prefix) &&
                    subnet6_contains(&base, prefix, &six))
                        return true;
        }
        return false;
}

static void complain(Buffer *problems, size_t *n, const char *text, const char *value)
{
        if (problems->size > 0)
                buffer_append_string(problems, "\n");
        buffer_printf(problems, "* %s%s", text, value ? value : "");
        (*n)++;
}

static void check_addresses(const json_t *ipam, const Network *network, Buffer *problems, size_t *n)
{
        const char *four = json_get_string(ipam, "IPv4Address"), *six = json_get_string(ipam, "IPv6Address");
        struct in6_addr ignored;
        bool any = !str_empty(four) || !str_empty(six), user = json_get_bool(network->record, "userSubnet");

        if (!any)
                return;
        if (network->predefined)
                complain(problems, n, "user specified IP address is supported on user defined networks only", NULL);
        if (!str_empty(four) && inet_pton(AF_INET, four, &ignored) != 1)
                complain(problems, n, "invalid IPv4 address: ", four);
        else if (!str_empty(six) && inet_pton(AF_INET6, six, &ignored) != 1)
                complain(problems, n, "invalid IPv6 address: ", six);
        else if (!user)
                complain(problems, n,
                         "user specified IP address is supported only when connecting to networks with user "
                         "configured subnets",
                         NULL);
        else if (!str_empty(four) && !in_subnets(network, four))
                complain(problems, n, "no configured subnet or ip-range contain the IP address ", four);
        else if (!str_empty(six) && !in_subnets(network, six))
                complain(problems, n, "no configured subnet or ip-range contain the IP address ", six);
}

int endpoint_settings_check(const json_t *settings, const Network *network, Error *error)
{
        CLEANUP_BUFFER Buffer problems = { 0 };
        const char *mac = json_get_string(settings, "MacAddress");
        uint8_t bytes[6];
        size_t n = 0;

        if (!str_empty(mac) && !mac_parse(mac, bytes))
                complain(&problems, &n, "invalid MAC address: ", mac);
        if (network)
                check_addresses(json_object_get(settings, "IPAMConfig"), network, &problems, &n);
        if (network && !network_has_names(network) && json_array_size(json_object_get(settings, "Aliases")) > 0)
                complain(&problems, &n, "network-scoped aliases are only supported for user-defined networks", NULL);
        if (n == 0)
                return 0;
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid endpoint settings:\n%s",
                         problems.data + (n == 1 ? strlen("* ") : 0));
}

static json_t *nullable(json_t *value)
{
        return value ? json_incref(value) : json_null();
}

int endpoint_settings_normalise(const json_t *given, const Network *network, const char *network_name,
                                json_t **ret_settings, Error *error)
{
        json_t *mac = fields_member(given, "MacAddress"), *priority = fields_member(given, "GwPriority");
        json_t *ipam = fields_member(given, "IPAMConfig");
        CLEANUP_JSON json_t *addresses = json_is_object(ipam) ? json_object() : json_null();
        static const char *const members[] = { "IPv4Address", "IPv6Address", "LinkLocalIPs" };

        for (size_t i = 0; json_is_object(ipam) && i < ARRAY_SIZE(members); i++) {
                json_t *value = fields_member(ipam, members[i]);
                if (json_string_length(value) > 0 || json_array_size(value) > 0)
                        json_object_set(addresses, members[i], value);
        }
        CLEANUP_JSON json_t *settings =
                json_pack("{sO so so ss so sI ss}", "IPAMConfig", addresses, "Links",
                          nullable(fields_member(given, "Links")), "Aliases", nullable(fields_member(given, "Aliases")),
                          "MacAddress", json_is_string(mac) ? json_string_value(mac) : "", "DriverOpts",
                          nullable(fields_member(given, "DriverOpts")), "GwPriority",
                          (json_int_t) (json_is_integer(priority) ? json_integer_value(priority) : 0), "NetworkID",
                          network ? network->id : "");
        if (!settings)
                return -ENOMEM;
        int r = endpoint_settings_check(settings, network, error);
        if (r > 0) {
                CLEANUP_FREE char *prefix = str_printf("invalid config for network %s", network_name);
                return prefix ? error_prefix(error, prefix) : -ENOMEM;
        }
        *ret_settings = TAKE_PTR(settings);
        return 0;
}
