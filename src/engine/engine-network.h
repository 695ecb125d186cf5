/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks and endpoints: what the files of the engine that deal with them share.
 *
 * A Network is in memory as long as its record (network/ID.json) is on disk. An Endpoint exists while a container runs,
 * or is being started or connected; it is part of the container's volatile state. What a container is to be connected
 * to when it starts is in its record: "Networks", an object of endpoint settings by the networks' names. */
#pragma once

#include "berth/network.h"

#define DEFAULT_BRIDGE "berth0"
#define RESOLVER_ADDRESS "127.0.0.11"

struct Network {
        LIST_ENTRY(Network) link;
        Engine *engine;
        char id[ID_LENGTH + 1];
        char *name;
        json_t *record; /* as GET /networks/ID shows it, and members of our own beginning with a small letter */
        int64_t created_ns;
        bool predefined;
        NetworkBridge bridge;
        NetworkSubnet range; /* addresses are taken from here */
        LIST_HEAD(, Endpoint) endpoints;
};

struct Endpoint {
        LIST_ENTRY(Endpoint) link;         /* of the container, in the order of the interfaces */
        LIST_ENTRY(Endpoint) network_link; /* of the network */
        Container *container;
        Network *network;
        char id[ID_LENGTH + 1];
        NetworkEndpoint side;
        bool moving; /* being connected or disconnected */
};

/* --- engine-network.c: records, and finding them --- */
int engine_load_networks(Engine *engine);
void engine_networks_free(Engine *engine);
/* Makes a Network of a record, which is taken over. */
int network_new(Engine *engine, json_t *record, Network **ret_network);
void network_free(Network *network);
int network_save(Network *network);
char *network_path(const Network *network);
char *network_names_path(const Engine *engine, const char *id);
Network *network_by_id(Engine *engine, const char *id);
/* By its exact name. */
Network *network_by_name(Engine *engine, const char *name);
/* A network with links on a bridge or a parent, unlike "host" and "none". */
bool network_has_links(const Network *network);
/* Names are resolved on it. */
bool network_has_names(const Network *network);
const char *network_option(const Network *network, const char *name);
/* "172.17.0.0/16" as a subnet; false where it isn't one. The address may have bits behind the prefix. */
bool subnet_parse(const char *text, NetworkSubnet *ret_subnet);
bool subnet6_parse(const char *text, struct in6_addr *ret_address, uint8_t *ret_prefix);
bool subnet_contains(NetworkSubnet subnet, in_addr_t address);
bool subnet6_contains(const struct in6_addr *base, uint8_t prefix, const struct in6_addr *address);
/* Every container that is, or is to be, connected. */
bool network_is_used(Network *network);
/* CONTAINER NULL: the event is of the network alone. */
void network_event_emit(Network *network, const char *action, const Container *container);

/* --- engine-network-create.c --- */
int network_choose_pool(Engine *engine, NetworkSubnet *ret_subnet);
int network_fill_bridge(Network *network, Error *error);

/* --- engine-unhonoured.c --- */
/* Adds a text to an answer's array of warnings. -ENOMEM. */
int warnings_add(json_t *warnings, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What a request asks for that is not done here. -ENOMEM. */
/* Warnings about one endpoint's settings (EndpointSettings, as given), added to WARNINGS. */
int unhonoured_endpoint_warn(const json_t *settings, const char *network, json_t *warnings);
/* The same as an error, where an answer has no place for warnings. OUTCOME_BAD_REQUEST. */
int unhonoured_endpoint_refuse(const json_t *settings, Error *error);
/* Warnings about HostConfig, as given, added to WARNINGS. */
int unhonoured_container_warn(const json_t *host, json_t *warnings);
/* One line about a network's record, "" where there is nothing to say. */
int unhonoured_network_warning(const json_t *record, char **ret_warning);

/* --- engine-endpoint-settings.c --- */
bool mac_parse(const char *text, uint8_t ret_mac[static 6]);
int endpoint_settings_check(const json_t *settings, const Network *network, Error *error);
/* Settings of one endpoint, checked, in the form of the record. NETWORK may be NULL: not there yet. */
int endpoint_settings_normalise(const json_t *given, const Network *network, const char *network_name,
                                json_t **ret_settings, Error *error);

/* --- engine-address.c --- */
/* WANTED, or the first that is free; untouched where the network has none of the family. */
int network_allocate4(const Network *network, const char *wanted, struct in_addr *ret_address, Error *error);
int network_allocate6(const Network *network, const char *wanted, struct in6_addr *ret_address, Error *error);

/* --- engine-endpoint.c: the endpoints of a run --- */
json_t *container_networks(const Container *container);
int container_join_networks(Container *container, Error *error);
void container_leave_networks(Container *container);
void container_tell_names(Container *container);
int endpoint_new(Container *container, Network *network, const json_t *settings, Endpoint **ret_endpoint, Error *error);
void endpoint_free(Endpoint *endpoint);
Endpoint *container_endpoint_on(const Container *container, const Network *network);
/* Decides which endpoints the default routes are by. */
void container_choose_gateways(Container *container);
Endpoint *container_gateway(const Container *container);
/* Of the volatile state. */
json_t *container_endpoints_state(const Container *container);
void container_read_endpoints(Container *container, const json_t *state);
json_t *container_dns_names(const Container *container, const Network *network, const json_t *settings);
/* In the child that becomes the container's parent. */
int container_set_up_networks(const Container *container, int namespace_fd, Error *error);

/* --- engine-hosts.c: the files of /etc, and what the resolver reads --- */
int container_write_network_files(Container *container);
/* Anew for a running container, as far as nobody edited them. */
int container_update_network_files(Container *container);
/* Takes the lines whose first name this is out of the container's hosts file. */
int container_forget_host(const Container *container, const char *name);
int network_write_names(Network *network);
int container_write_resolver(Container *container);
bool container_needs_resolver(const Container *container);
/* Interfaces of our making. */
bool container_has_links(const Container *container);

/* --- engine-port-check.c, engine-port.c, engine-port-view.c: published ports --- */
typedef struct PortRange {
        uint16_t first, last; /* 0: any */
} PortRange;

struct PublishedPort {
        NetworkPort port; /* target :: where only the monitor leads there */
        bool six;         /* shown and bound as IPv6 */
        int fd;           /* holds the port, on its way to the monitor; -EBADF after that */
};

/* "80" or "80-90", as Docker's client sends ports; none at all is a port that is chosen. */
bool port_range_parse(const char *text, PortRange *ret_range);
/* "80/tcp", "80", "80/UDP". */
bool port_parse(const char *text, uint16_t *ret_port, uint8_t *ret_protocol);
const char *port_protocol_name(uint8_t number);
/* TEXT has room for INET6_ADDRSTRLEN. */
const char *port_host_text(const struct in6_addr *host, char *text);
int port_bindings_check(const json_t *ports, Error *error);
int container_keep_ports(Container *container, const PublishedPort *ports, size_t n);
/* Chooses and binds the host's ports. */
int container_publish(Container *container, Error *error);
void container_unpublish(Container *container);
/* The container has another gateway: its ports lead to its address there. */
int container_retarget_ports(Container *container);
/* Queues the bound sockets for the monitor, which may not run yet. */
int container_send_ports(Container *container);
json_t *container_ports_state(const Container *container);
void container_read_ports(Container *container, const json_t *state);
/* NetworkSettings.Ports, and "Ports" of a list's entry. */
json_t *container_ports_object(const Container *container);
json_t *container_ports_list(const Container *container);
/* The elements of the firewall that these ports are. Owned by the caller. */
NetworkPort *container_firewall_ports(const Container *container, size_t *ret_n);

/* --- engine-link.c --- */
/* The run that had the link NAME is over: if it is still there in a moment, it is removed. */
void engine_link_left(Engine *engine, const char *name);
/* The same for what a process before this one could not remove; all endpoints are known. */
void engine_links_sweep(Engine *engine);
void engine_links_free(Engine *engine);

/* --- engine-firewall.c --- */
/* In a child: the table is there, with what this container needs of it. */
int container_set_up_firewall(const Container *container);

/* --- Links on the default bridge, in engine-legacy-link.c -----------------------------------------------------------
 */

typedef struct LegacyLink {
        Container *target;
        char *alias; /* owned */
        char address[INET_ADDRSTRLEN];
} LegacyLink;

/* Reads an entry of the container's HostConfig.Links. False where container or target is not on the default bridge. */
bool legacy_link_read(const Container *container, const json_t *entry, LegacyLink *ret);
void legacy_link_clear(LegacyLink *link);

/* HostConfig.Links of a creation becomes what the record has. */
int legacy_links_make(Engine *engine, json_t *host_config, Error *error);
/* Whether the targets run, as a start wants. */
int container_check_links(const Container *container, Error *error);

/* The container that has this name by a link, "container/alias", or NULL. */
Container *legacy_link_find(Engine *engine, const char *name);
/* By the targets' IDs arrays of such names, each after a "/": those of links of running containers, or of all that are
 * loaded. */
json_t *legacy_link_names(Engine *engine, bool of_stopped);
/* As inspect shows them; null where there are none. */
json_t *container_links(const Container *container);

/* The variables that tell of the linked containers that run: their ports, their names, and their own variables. */
json_t *container_link_environment(const Container *container);
