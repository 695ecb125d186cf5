/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Endpoints: the interfaces of a run, which of them the default routes are by, and what inspect shows of them. */
#include <arpa/inet.h>
#include <fcntl.h>

#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

json_t *container_networks(const Container *container)
{
        return json_object_get(container->record, "Networks");
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
                r = network_allocate4(network, json_get_string(ipam, "IPv4Address"), &side->address, error);
                if (r == 0)
                        r = network_allocate6(network, json_get_string(ipam, "IPv6Address"), &side->address6, error);
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
                r = endpoint_settings_check(settings, network, error);
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

        int r = container_check_links(container, error);
        if (r != 0)
                return r;
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
                if (network->bridge.kind == NETWORK_BRIDGE && *endpoint->side.host_name)
                        engine_link_left(network->engine, endpoint->side.host_name);
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
