/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bridges, endpoints and address translation, by netlink (rtnetlink(7)) and the nft program. All functions act on the
 * caller's network namespace and return 0 or a negative errno. */
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct NetworkBridge {
        char name[IFNAMSIZ];
        struct in_addr gateway; /* the bridge's own address, network byte order */
        uint8_t prefix;         /* length of the subnet's prefix, 1 to 30 */
        uint32_t mtu;           /* 0: the kernel's default */
} NetworkBridge;

/* One container's side of a network. */
typedef struct NetworkEndpoint {
        char host_name[IFNAMSIZ]; /* the end on the bridge */
        char name[IFNAMSIZ];      /* the end in the container */
        struct in_addr address;
        uint8_t mac[6];
} NetworkEndpoint;

/* Makes the bridge with its address if it isn't there, and masquerading for what leaves the subnet by another
 * interface, in a table of our own (`nft list table ip berth`). Turns IPv4 forwarding on. May take some milliseconds.
 */
int network_bridge_ensure(const NetworkBridge *bridge);

/* True where the bridge exists. */
bool network_bridge_exists(const NetworkBridge *bridge);

/* Makes the veth pair, one end on the bridge, the other in the namespace with address and default route. -ENODEV where
 * the bridge isn't there. Quick: two netlink exchanges. */
int network_endpoint_create(const NetworkBridge *bridge, const NetworkEndpoint *endpoint, int namespace_fd);

/* Removes the host's end, and with it the other. One that is gone is success. */
int network_endpoint_delete(const char *host_name);

/* Picks the first of the pools' subnets that no address or route of the host touches. Pools are Docker's defaults:
 * 172.17.0.0/16 to 172.31.0.0/16 by 16, then 192.168.0.0/16 by 20. -ENOSPC where none is free. */
int network_choose_subnet(struct in_addr *ret_subnet, uint8_t *ret_prefix);

/* Docker's MAC address of an IPv4 address: 02:42 and its four bytes. */
void network_mac_of_address(struct in_addr address, uint8_t ret_mac[static 6]);
