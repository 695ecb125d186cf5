/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Endpoints: the settings a container is created with, the addresses and interfaces of a run, and what inspect shows of
 * both. Addresses are given out here alone: those of a network are what its endpoints have. */
#include <arpa/inet.h>
#include <fcntl.h>

#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

char *mac_text(const uint8_t mac[static 6], char ret_text[static 18])
{
        snprintf(ret_text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        return ret_text;
}

static bool mac_parse(const char *text, uint8_t ret_mac[static 6])
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

/* --- Settings -------------------------------------------------------------------------------------------------------
 */

json_t *container_networks(const Container *container)
{
        return json_object_get(container->record, "Networks");
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

static int check_settings(const json_t *settings, const Network *network, Error *error)
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
        int r = check_settings(settings, network, error);
        if (r > 0) {
                CLEANUP_FREE char *prefix = str_printf("invalid config for network %s", network_name);
                return prefix ? error_prefix(error, prefix) : -ENOMEM;
        }
        *ret_settings = TAKE_PTR(settings);
        return 0;
}

/* --- Addresses ------------------------------------------------------------------------------------------------------
 */

static bool is_auxiliary(const Network *network, const char *text)
{
        json_t *entry, *value;
        const char *name;
        size_t i;

        json_array_foreach(json_object_get(json_object_get(network->record, "IPAM"), "Config"), i, entry)
                json_object_foreach(json_object_get(entry, "AuxiliaryAddresses"), name, value)
                        if (str_equal(json_string_value(value), text))
                                return true;
        return false;
}

static bool address_taken(const Network *network, in_addr_t address)
{
        const Endpoint *endpoint;
        char text[INET_ADDRSTRLEN];

        LIST_FOREACH(endpoint, &network->endpoints, network_link)
                if (endpoint->side.address.s_addr == address)
                        return true;
        return address == network->bridge.gateway.s_addr ||
               is_auxiliary(network, inet_ntop(AF_INET, &address, text, sizeof(text)));
}

static bool address6_taken(const Network *network, const struct in6_addr *address)
{
        const Endpoint *endpoint;
        char text[INET6_ADDRSTRLEN];

        LIST_FOREACH(endpoint, &network->endpoints, network_link)
                if (IN6_ARE_ADDR_EQUAL(&endpoint->side.address6, address))
                        return true;
        return IN6_ARE_ADDR_EQUAL(&network->bridge.gateway6, address) ||
               is_auxiliary(network, inet_ntop(AF_INET6, address, text, sizeof(text)));
}

static int no_address(const Network *network, const char *family, Error *error)
{
        return error_set(error, OUTCOME_FAILED, "no available %s addresses on this network's address pools: %s (%s)",
                         family, network->name, network->id);
}

static int allocate4(const Network *network, const char *wanted, struct in_addr *ret_address, Error *error)
{
        NetworkSubnet range = network->range;
        uint32_t hosts = range.prefix == 0 ? UINT32_MAX : (UINT32_C(1) << (32 - range.prefix)) - 1;
        uint32_t all = UINT32_MAX >> network->bridge.prefix;
        struct in_addr address;

        if (network->bridge.prefix == 0)
                return 0;
        if (!str_empty(wanted)) {
                if (inet_pton(AF_INET, wanted, &address) != 1 || address_taken(network, address.s_addr))
                        return error_set(error, OUTCOME_FORBIDDEN, "Address already in use");
                *ret_address = address;
                return 0;
        }
        /* Which addresses of the range are taken, at one look at each endpoint. */
        CLEANUP_FREE uint8_t *taken = calloc(1, (size_t) MIN(hosts, 1u << 20) / 8 + 1);
        const Endpoint *endpoint;
        if (!taken)
                return -ENOMEM;
        LIST_FOREACH(endpoint, &network->endpoints, network_link) {
                uint32_t offset = ntohl(endpoint->side.address.s_addr) - range.address;
                if (offset < MIN(hosts, 1u << 20))
                        taken[offset / 8] |= (uint8_t) (1 << offset % 8);
        }
        for (uint32_t i = 0; i <= hosts && i < 1u << 20; i++) {
                uint32_t host = (range.address + i) & all;
                if (taken[i / 8] & 1 << i % 8 || (network->bridge.prefix < 31 && (host == 0 || host == all)))
                        continue;
                address.s_addr = htonl(range.address + i);
                if (address_taken(network, address.s_addr))
                        continue;
                *ret_address = address;
                return 0;
        }
        return no_address(network, "IPv4", error);
}

static int allocate6(const Network *network, const char *wanted, struct in6_addr *ret_address, Error *error)
{
        const NetworkBridge *bridge = &network->bridge;
        struct in6_addr address;

        if (bridge->prefix6 == 0)
                return 0;
        if (!str_empty(wanted)) {
                if (inet_pton(AF_INET6, wanted, &address) != 1 || address6_taken(network, &address))
                        return error_set(error, OUTCOME_FORBIDDEN, "Address already in use");
                *ret_address = address;
                return 0;
        }
        uint32_t hosts = bridge->prefix6 >= 128 ? 0
                         : bridge->prefix6 > 97 ? UINT32_MAX >> (bridge->prefix6 - 96)
                                                : 1u << 24;
        for (uint32_t i = 1; i <= hosts; i++) {
                address = bridge->gateway6;
                address.s6_addr32[3] =
                        bridge->prefix6 > 96 ? (bridge->gateway6.s6_addr32[3] & ~htonl(hosts)) | htonl(i) : htonl(i);
                for (unsigned bit = bridge->prefix6; bit < 96; bit++)
                        address.s6_addr[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
                if (address6_taken(network, &address))
                        continue;
                *ret_address = address;
                return 0;
        }
        return no_address(network, "IPv6", error);
}

/* --- Endpoints ------------------------------------------------------------------------------------------------------
 */

Endpoint *container_endpoint_on(const Container *container, const Network *network)
{
        Endpoint *endpoint;

        LIST_FOREACH(endpoint, &container->endpoints, link)
                if (endpoint->network == network)
                        return endpoint;
        return NULL;
}

static void choose_interface(const Container *container, NetworkEndpoint *side)
{
        for (unsigned i = 0;; i++) {
                const Endpoint *other;
                bool taken = false;

                snprintf(side->name, sizeof(side->name), "eth%u", i);
                LIST_FOREACH(other, &container->endpoints, link)
                        taken = taken || str_equal(other->side.name, side->name);
                if (!taken)
                        return;
        }
}

static void append_endpoint(Container *container, Network *network, Endpoint *endpoint)
{
        Endpoint *last = LIST_FIRST(&container->endpoints);

        endpoint->container = container;
        endpoint->network = network;
        LIST_INSERT_HEAD(&network->endpoints, endpoint, network_link);
        while (last && LIST_NEXT(last, link))
                last = LIST_NEXT(last, link);
        if (last)
                LIST_INSERT_AFTER(last, endpoint, link);
        else
                LIST_INSERT_HEAD(&container->endpoints, endpoint, link);
}

void endpoint_free(Endpoint *endpoint)
{
        LIST_REMOVE(endpoint, link);
        LIST_REMOVE(endpoint, network_link);
        free(endpoint);
}

int endpoint_new(Container *container, Network *network, const json_t *settings, Endpoint **ret_endpoint, Error *error)
{
        const json_t *ipam = json_object_get(settings, "IPAMConfig");
        CLEANUP_FREE Endpoint *endpoint = calloc(1, sizeof(*endpoint));
        int r = endpoint ? id_generate(endpoint->id) : -ENOMEM;

        if (r == 0 && network_has_links(network)) {
                NetworkEndpoint *side = &endpoint->side;
                r = allocate4(network, json_get_string(ipam, "IPv4Address"), &side->address, error);
                if (r == 0)
                        r = allocate6(network, json_get_string(ipam, "IPv6Address"), &side->address6, error);
                if (!mac_parse(json_get_string(settings, "MacAddress"), side->mac))
                        network_mac_of_address(side->address.s_addr != 0
                                                       ? side->address
                                                       : (struct in_addr) { side->address6.s6_addr32[3] },
                                               side->mac);
                snprintf(side->host_name, sizeof(side->host_name), "veth%.7s", endpoint->id);
                choose_interface(container, side);
        }
        if (r != 0)
                return r;
        append_endpoint(container, network, endpoint);
        *ret_endpoint = TAKE_PTR(endpoint);
        return 0;
}

static int64_t priority_of(const Endpoint *endpoint)
{
        return json_get_int(json_object_get(container_networks(endpoint->container), endpoint->network->name),
                            "GwPriority", 0);
}

static bool is_better_gateway(const Endpoint *endpoint, const Endpoint *than)
{
        if (!than || priority_of(endpoint) != priority_of(than))
                return !than || priority_of(endpoint) > priority_of(than);
        return strcmp(endpoint->network->name, than->network->name) < 0;
}

void container_choose_gateways(Container *container)
{
        Endpoint *endpoint, *best = NULL, *best6 = NULL;

        LIST_FOREACH(endpoint, &container->endpoints, link) {
                const NetworkBridge *bridge = &endpoint->network->bridge;

                endpoint->side.route = endpoint->side.route6 = false;
                if (!network_has_links(endpoint->network) || bridge->internal)
                        continue;
                if (endpoint->side.address.s_addr != 0 && is_better_gateway(endpoint, best))
                        best = endpoint;
                if (!IN6_IS_ADDR_UNSPECIFIED(&endpoint->side.address6) && is_better_gateway(endpoint, best6))
                        best6 = endpoint;
        }
        if (best)
                best->side.route = true;
        if (best6)
                best6->side.route6 = true;
}

Endpoint *container_gateway(const Container *container)
{
        Endpoint *endpoint;

        LIST_FOREACH(endpoint, &container->endpoints, link)
                if (endpoint->side.route)
                        return endpoint;
        LIST_FOREACH(endpoint, &container->endpoints, link)
                if (endpoint->side.route6)
                        return endpoint;
        return NULL;
}

static int join(Container *container, const char *name, json_t *settings, Error *error)
{
        const char *id = json_get_string(settings, "NetworkID");
        Network *network = NULL;
        Endpoint *endpoint;
        int r = 0;

        if (str_empty(id))
                r = engine_network_find(container->engine, name, &network, error);
        else if (!(network = network_by_id(container->engine, id)))
                r = error_set(error, OUTCOME_NOT_FOUND, "network %s not found", id);
        if (r == 0 && json_get_bool(network->record, "ConfigOnly"))
                r = error_set(error, OUTCOME_FORBIDDEN, "cannot attach to a config-only network");
        if (r == 0)
                r = check_settings(settings, network, error);
        if (r == 0)
                r = endpoint_new(container, network, settings, &endpoint, error);
        if (r == 0 && str_empty(id))
                r = json_set_string(settings, "NetworkID", network->id);
        return r;
}

/* The network of NetworkMode has the first interface. */
int container_join_networks(Container *container, Error *error)
{
        CLEANUP_JSON json_t *sorted = json_array();
        json_t *networks = container_networks(container);
        const char *mode = container_network_mode(container), *name;
        json_t *settings;
        int r = 0;

        if (!networks) { /* a record of an earlier version */
                networks = json_pack("{s{}}", mode);
                json_object_set_new(container->record, "Networks", networks);
        }
        json_object_foreach(networks, name, settings) {
                bool first = str_equal(name, mode) || str_equal(json_get_string(settings, "NetworkID"), mode);
                size_t at = first ? 0 : json_array_size(sorted);
                json_array_insert_new(sorted, at, json_string(name));
        }
        for (size_t i = 0; r == 0 && i < json_array_size(sorted); i++) {
                name = json_string_value(json_array_get(sorted, i));
                r = join(container, name, json_object_get(networks, name), error);
        }
        if (r == 0)
                container_choose_gateways(container);
        return r;
}

void container_leave_networks(Container *container)
{
        Endpoint *endpoint;

        while ((endpoint = LIST_FIRST(&container->endpoints))) {
                Network *network = endpoint->network;
                if (container->pid > 0)
                        network_event_emit(network, "disconnect", container);
                endpoint_free(endpoint);
                if (network_has_names(network))
                        network_write_names(network);
        }
}

/* The container runs: its names are known. */
void container_tell_names(Container *container)
{
        Endpoint *endpoint;

        LIST_FOREACH(endpoint, &container->endpoints, link) {
                network_event_emit(endpoint->network, "connect", container);
                if (network_has_names(endpoint->network))
                        network_write_names(endpoint->network);
        }
}

bool container_has_links(const Container *container)
{
        const Endpoint *endpoint;

        LIST_FOREACH(endpoint, &container->endpoints, link)
                if (network_has_links(endpoint->network))
                        return true;
        return false;
}

/* --- The volatile state
 * ----------------------------------------------------------------------------------------------- */

json_t *container_endpoints_state(const Container *container)
{
        json_t *list = json_array();
        const Endpoint *endpoint;

        LIST_FOREACH(endpoint, &container->endpoints, link) {
                const NetworkEndpoint *side = &endpoint->side;
                char four[INET_ADDRSTRLEN], six[INET6_ADDRSTRLEN], mac[18];

                if (!endpoint->moving)
                        json_array_append_new(list, json_pack("{ss ss ss ss ss ss ss sb sb sb}", "Network",
                                                              endpoint->network->id, "Endpoint", endpoint->id, "Name",
                                                              side->name, "HostName", side->host_name, "Address",
                                                              inet_ntop(AF_INET, &side->address, four, sizeof(four)),
                                                              "Address6",
                                                              inet_ntop(AF_INET6, &side->address6, six, sizeof(six)),
                                                              "Mac", mac_text(side->mac, mac), "Route", side->route,
                                                              "Route6", side->route6, "Hairpin", side->hairpin));
        }
        return list;
}

void container_read_endpoints(Container *container, const json_t *state)
{
        json_t *entry;
        size_t i;

        json_array_foreach((json_t *) state, i, entry) {
                Network *network = network_by_id(container->engine, json_get_string_or(entry, "Network", ""));
                Endpoint *endpoint = network ? calloc(1, sizeof(*endpoint)) : NULL;

                if (!endpoint)
                        continue;
                NetworkEndpoint *side = &endpoint->side;
                strncpy(endpoint->id, json_get_string_or(entry, "Endpoint", ""), ID_LENGTH);
                strncpy(side->name, json_get_string_or(entry, "Name", ""), IFNAMSIZ - 1);
                strncpy(side->host_name, json_get_string_or(entry, "HostName", ""), IFNAMSIZ - 1);
                inet_pton(AF_INET, json_get_string_or(entry, "Address", ""), &side->address);
                inet_pton(AF_INET6, json_get_string_or(entry, "Address6", ""), &side->address6);
                mac_parse(json_get_string(entry, "Mac"), side->mac);
                side->route = json_get_bool(entry, "Route");
                side->route6 = json_get_bool(entry, "Route6");
                side->hairpin = json_get_bool(entry, "Hairpin");
                append_endpoint(container, network, endpoint);
        }
}

/* --- What inspect shows
 * ----------------------------------------------------------------------------------------------- */

static void add_name(json_t *names, const char *name)
{
        json_t *entry;
        size_t i;

        if (str_empty(name))
                return;
        json_array_foreach(names, i, entry)
                if (str_equal(json_string_value(entry), name))
                        return;
        json_array_append_new(names, json_string(name));
}

json_t *container_dns_names(const Container *container, const Network *network, const json_t *settings)
{
        char id[ID_SHORT_LENGTH + 1] = { 0 };
        json_t *names, *alias;
        size_t i;

        if (!network || !network_has_names(network))
                return json_null();
        names = json_array();
        memcpy(id, container->id, ID_SHORT_LENGTH);
        add_name(names, container->name);
        json_array_foreach(json_object_get(settings, "Aliases"), i, alias)
                add_name(names, json_string_value(alias));
        add_name(names, id);
        add_name(names, json_get_string(container_config(container), "Hostname"));
        return names;
}

static json_t *endpoint_object(const Container *container, const char *name, const json_t *settings)
{
        const char *id = json_get_string_or(settings, "NetworkID", "");
        const Network *network = *id ? network_by_id(container->engine, id) : network_by_name(container->engine, name);
        const Endpoint *endpoint = network ? container_endpoint_on(container, network) : NULL;
        char four[INET_ADDRSTRLEN] = "", six[INET6_ADDRSTRLEN] = "", via[INET_ADDRSTRLEN] = "",
             via6[INET6_ADDRSTRLEN] = "", mac[18] = "";
        const NetworkBridge *bridge = network ? &network->bridge : NULL;
        bool on = endpoint && !endpoint->moving;
        bool has4 = on && endpoint->side.address.s_addr != 0;
        bool has6 = on && !IN6_IS_ADDR_UNSPECIFIED(&endpoint->side.address6);

        if (has4) {
                inet_ntop(AF_INET, &endpoint->side.address, four, sizeof(four));
                inet_ntop(AF_INET, &bridge->gateway, via, sizeof(via));
        }
        if (has6) {
                inet_ntop(AF_INET6, &endpoint->side.address6, six, sizeof(six));
                inet_ntop(AF_INET6, &bridge->gateway6, via6, sizeof(via6));
        }
        if (on && network_has_links(network))
                mac_text(endpoint->side.mac, mac);
        return json_pack("{sO? sO? sO? ss sO? sI ss ss ss ss si ss ss si so}", "IPAMConfig",
                         json_object_get(settings, "IPAMConfig"), "Links", json_object_get(settings, "Links"),
                         "Aliases", json_object_get(settings, "Aliases"), "MacAddress",
                         *mac ? mac : json_get_string_or(settings, "MacAddress", ""), "DriverOpts",
                         json_object_get(settings, "DriverOpts"), "GwPriority",
                         (json_int_t) json_get_int(settings, "GwPriority", 0), "NetworkID", id, "EndpointID",
                         on ? endpoint->id : "", "Gateway", via, "IPAddress", four, "IPPrefixLen",
                         has4 ? bridge->prefix : 0, "IPv6Gateway", via6, "GlobalIPv6Address", six,
                         "GlobalIPv6PrefixLen", has6 ? bridge->prefix6 : 0, "DNSNames",
                         container_dns_names(container, network, settings));
}

json_t *container_network_settings(const Container *container)
{
        CLEANUP_JSON json_t *networks = json_object(), *empty = json_object();
        const char *name;
        json_t *settings;
        bool running = container_is_running(container);

        json_object_foreach(container_networks(container), name, settings)
                json_object_set_new(networks, name, endpoint_object(container, name, settings));
        /* Deprecated, and said of the network "bridge" alone. */
        json_t *bridge = json_object_get(networks, "bridge");
        CLEANUP_FREE char *key =
                running && container->pid > 0 ? str_printf("/proc/%d/ns/net", (int) container->pid) : strdup("");
        return json_pack("{ss ss ss* so sb ss si sn sn ss ss ss si ss si ss ss sO}", "Bridge", "", "SandboxID",
                         running && json_object_size(networks) > 0 ? container->id : "", "SandboxKey", key, "Ports",
                         container_ports_object(container), "HairpinMode", 0, "LinkLocalIPv6Address", "",
                         "LinkLocalIPv6PrefixLen", 0, "SecondaryIPAddresses", "SecondaryIPv6Addresses", "EndpointID",
                         json_get_string_or(bridge, "EndpointID", ""), "Gateway",
                         json_get_string_or(bridge, "Gateway", ""), "GlobalIPv6Address",
                         json_get_string_or(bridge, "GlobalIPv6Address", ""), "GlobalIPv6PrefixLen",
                         (int) json_get_int(bridge, "GlobalIPv6PrefixLen", 0), "IPAddress",
                         json_get_string_or(bridge, "IPAddress", ""), "IPPrefixLen",
                         (int) json_get_int(bridge, "IPPrefixLen", 0), "IPv6Gateway",
                         json_get_string_or(bridge, "IPv6Gateway", ""), "MacAddress",
                         json_get_string_or(bridge, "MacAddress", ""), "Networks", networks);
}

/* --- In the child ------------------------------------------------------------------------------------------------- */

int container_set_up_networks(const Container *container, int namespace_fd, Error *error)
{
        const Endpoint *endpoint;
        int r = container_set_up_firewall(container);

        if (r < 0)
                return error_set(error, OUTCOME_FAILED, "failed to set up the firewall: %s", strerror(-r));
        LIST_FOREACH(endpoint, &container->endpoints, link) {
                const NetworkBridge *bridge = &endpoint->network->bridge;

                if (!network_has_links(endpoint->network))
                        continue;
                if (!network_bridge_exists(bridge))
                        r = network_bridge_ensure(bridge);
                if (r >= 0)
                        r = network_endpoint_create(bridge, &endpoint->side, namespace_fd);
                if (r < 0)
                        return error_set(error, OUTCOME_FAILED,
                                         "failed to set up container networking: network %s (%s): %s",
                                         endpoint->network->name, bridge->name, strerror(-r));
        }
        return 0;
}
