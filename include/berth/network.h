/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks, endpoints, address translation and published ports, by netlink (rtnetlink(7), nf_tables) and, for the rules
 * that never change, the nft program. All functions act on the caller's network namespace and return 0 or a negative
 * errno. Addresses are in network byte order. */
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum NetworkKind {
        NETWORK_BRIDGE,
        NETWORK_MACVLAN,
        NETWORK_IPVLAN,
} NetworkKind;

/* How the world beyond the bridge sees its containers. */
typedef enum NetworkGatewayMode {
        NETWORK_NAT,             /* masqueraded; reached through published ports alone */
        NETWORK_NAT_UNPROTECTED, /* masqueraded; reached directly by whoever has a route */
        NETWORK_ROUTED,          /* its own addresses; published ports are reached directly */
        NETWORK_ISOLATED,        /* the host has no address on it */
} NetworkGatewayMode;

/* The host's side of a network. */
typedef struct NetworkBridge {
        NetworkKind kind;
        char name[IFNAMSIZ];      /* the bridge; of the other kinds the parent */
        char mode[16];            /* of macvlan and ipvlan; empty: the kind's own default */
        struct in_addr gateway;   /* the bridge's own address */
        uint8_t prefix;           /* length of the subnet's prefix, 1 to 31; 0: no IPv4 */
        struct in6_addr gateway6; /* the same for IPv6 */
        uint8_t prefix6;          /* 0: no IPv6 */
        uint32_t mtu;             /* 0: the kernel's default */
        bool internal;            /* nothing passes between it and what is not on it */
        bool separate;            /* its containers don't reach each other */
        bool masquerade;          /* as far as the modes below do */
        struct in_addr source;    /* instead of masquerading: the address shown outside; 0: none */
        NetworkGatewayMode mode4, mode6;
} NetworkBridge;

/* One container's side of a network. */
typedef struct NetworkEndpoint {
        char host_name[IFNAMSIZ]; /* the end on the bridge */
        char name[IFNAMSIZ];      /* the end in the container */
        struct in_addr address;   /* 0: none */
        struct in6_addr address6; /* ::  none */
        uint8_t mac[6];
        bool hairpin;       /* may reach itself through the bridge: a published port of its own */
        bool route, route6; /* the container's default route is by this one */
} NetworkEndpoint;

/* A published port: what arrives at HOST (an IPv4 address is mapped; 0 and :: stand for all of the host's) goes to
 * TARGET of the same family. */
typedef struct NetworkPort {
        uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
        struct in6_addr host, target;
        uint16_t outer, inner; /* host byte order */
        bool direct;           /* not translated: the target's own address is let through */
} NetworkPort;

/* Makes the bridge with its addresses if it isn't there, and turns forwarding on. May take some milliseconds. */
int network_bridge_ensure(const NetworkBridge *bridge);
/* Removes it; one that is gone is success. */
int network_bridge_delete(const char *name);

/* True where the bridge, or the parent, exists. */
bool network_bridge_exists(const NetworkBridge *bridge);

/* Makes the endpoint in the namespace, with addresses and default routes. -ENODEV where the bridge isn't there. Quick:
 * some netlink exchanges. */
int network_endpoint_create(const NetworkBridge *bridge, const NetworkEndpoint *endpoint, int namespace_fd);

/* Removes the host's end, and with it the other. One that is gone is success. */
int network_endpoint_delete(const char *host_name);
/* Removes the end in the namespace. */
int network_endpoint_delete_inside(const char *name, int namespace_fd);
/* Makes the endpoint's gateways those of the namespace, as far as its route and route6 say. */
int network_endpoint_route(const NetworkBridge *bridge, const NetworkEndpoint *endpoint, int namespace_fd);

typedef struct NetworkSubnet {
        uint32_t address; /* host byte order */
        uint8_t prefix;
} NetworkSubnet;

typedef struct NetworkPool {
        NetworkSubnet base;
        uint8_t size; /* prefix of the subnets taken from it */
} NetworkPool;

/* Picks the first of the pools' subnets that neither TAKEN nor an address or route of the host touches. No POOLS:
 * Docker's defaults, 172.17.0.0/16 to 172.31.0.0/16 by 16, then 192.168.0.0/16 by 20. -ENOSPC where none is free. */
int network_choose_subnet(const NetworkPool *pools, size_t n_pools, const NetworkSubnet *taken, size_t n_taken,
                          NetworkSubnet *ret_subnet);
bool network_subnets_overlap(NetworkSubnet a, NetworkSubnet b);

/* Docker's MAC address of an IPv4 address: 02:42 and its four bytes. */
void network_mac_of_address(struct in_addr address, uint8_t ret_mac[static 6]);

/* --- The firewall: table "inet berth" ------------------------------------------------------------------------------
 */

/* What the table's sets and maps hold. */
typedef struct NetworkFirewall {
        const NetworkBridge *bridges;
        size_t n_bridges;
        const NetworkPort *ports;
        size_t n_ports;
        bool strict; /* when built: published ports are reached through the host's input rules alone */
} NetworkFirewall;

/* True where all rules of the table, STRICT or not, are there; says nothing of its elements. Quick. */
bool network_firewall_is_whole(bool strict);
/* Makes the table anew, with the rules and all of the elements. Runs nft. LOCK is a file that keeps two from doing so
 * at the same time; with IF_NEEDED a table that is whole by then is left alone. */
int network_firewall_build(const NetworkFirewall *content, const char *lock, bool if_needed);
/* Elements that are there already are taken over; those that are gone are no failure. */
int network_firewall_add(const NetworkFirewall *content);
int network_firewall_remove(const NetworkFirewall *content);

/* True where firewalld runs, which has to know of a bridge that anything is to be forwarded to. */
bool network_firewalld_runs(void);
/* Tells it of one; success where it does not run. Takes half a second. */
int network_firewalld_add(const char *name);

/* True where iptables' chain FORWARD drops by its policy, as ufw and dockerd set it. Quick. */
bool network_forward_drops(void);
/* Lets through there what is forwarded from and to a bridge; success where nothing is dropped. */
int network_forward_allow(const char *name);
/* Takes back what the former has added for a bridge, and with the last of them all of it. */
void network_forward_forget(const char *name);

/* --- Name service in a container ------------------------------------------------------------------------------------
 */

/* Opens the sockets that answer for 127.0.0.11 in the namespace: whatever its processes send to port 53 there is led
 * to them by two rules in the namespace's own table. The port itself stays free for the container. */
int network_resolver_open(int namespace_fd, int *ret_udp, int *ret_tcp);

/* Forgets the connections that the kernel remembers for these ports, so that datagrams follow the ports' new targets.
 */
void network_forget_connections(const NetworkPort *ports, size_t n_ports);
