/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container's interface. On a bridge it is a veth pair: one message makes both ends, puts one on the bridge and the
 * other, named and addressed, into the container's namespace; further ones give it its addresses and default routes.
 * On a parent it is a macvlan or ipvlan link made there and moved likewise. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <string.h>

#include "berth/file.h"
#include "berth/network.h"
#include "berth/string.h"
#include "network-netlink.h"

void network_mac_of_address(struct in_addr address, uint8_t ret_mac[static 6])
{
        ret_mac[0] = 0x02;
        ret_mac[1] = 0x42;
        memcpy(ret_mac + 2, &address.s_addr, 4);
}

static bool is_set6(const struct in6_addr *address)
{
        return !IN6_IS_ADDR_UNSPECIFIED(address);
}

static int create_pair(struct mnl_socket *socket, const NetworkBridge *bridge, unsigned int master,
                       const NetworkEndpoint *endpoint, int namespace_fd)
{
        NetlinkRequest request;
        struct ifinfomsg *link = netlink_begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*link));
        link->ifi_flags = link->ifi_change = IFF_UP;
        mnl_attr_put_strz(&request.header, IFLA_IFNAME, endpoint->host_name);
        mnl_attr_put_u32(&request.header, IFLA_MASTER, master);
        if (bridge->mtu > 0)
                mnl_attr_put_u32(&request.header, IFLA_MTU, bridge->mtu);

        struct nlattr *info = mnl_attr_nest_start(&request.header, IFLA_LINKINFO);
        mnl_attr_put_strz(&request.header, IFLA_INFO_KIND, "veth");
        struct nlattr *data = mnl_attr_nest_start(&request.header, IFLA_INFO_DATA);
        struct nlattr *peer = mnl_attr_nest_start(&request.header, VETH_INFO_PEER);
        struct ifinfomsg *inner = mnl_nlmsg_put_extra_header(&request.header, sizeof(*inner));
        inner->ifi_family = AF_UNSPEC; /* brought up later: a veth can't be before its other end is there */
        mnl_attr_put_strz(&request.header, IFLA_IFNAME, endpoint->name);
        mnl_attr_put(&request.header, IFLA_ADDRESS, sizeof(endpoint->mac), endpoint->mac);
        mnl_attr_put_u32(&request.header, IFLA_NET_NS_FD, (uint32_t) namespace_fd);
        if (bridge->mtu > 0)
                mnl_attr_put_u32(&request.header, IFLA_MTU, bridge->mtu);
        mnl_attr_nest_end(&request.header, peer);
        mnl_attr_nest_end(&request.header, data);
        mnl_attr_nest_end(&request.header, info);
        return netlink_call(socket, &request);
}

static uint32_t macvlan_mode(const char *mode)
{
        static const struct {
                const char *name;
                uint32_t mode;
        } modes[] = { { "bridge", MACVLAN_MODE_BRIDGE },
                      { "private", MACVLAN_MODE_PRIVATE },
                      { "vepa", MACVLAN_MODE_VEPA },
                      { "passthru", MACVLAN_MODE_PASSTHRU } };

        for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
                if (str_equal(modes[i].name, mode))
                        return modes[i].mode;
        return MACVLAN_MODE_BRIDGE;
}

static int create_child(struct mnl_socket *socket, const NetworkBridge *bridge, unsigned int parent,
                        const NetworkEndpoint *endpoint, int namespace_fd)
{
        NetlinkRequest request;
        bool macvlan = bridge->kind == NETWORK_MACVLAN;

        netlink_begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
        mnl_attr_put_strz(&request.header, IFLA_IFNAME, endpoint->name);
        mnl_attr_put_u32(&request.header, IFLA_LINK, parent);
        mnl_attr_put_u32(&request.header, IFLA_NET_NS_FD, (uint32_t) namespace_fd);
        if (macvlan)
                mnl_attr_put(&request.header, IFLA_ADDRESS, sizeof(endpoint->mac), endpoint->mac);
        if (bridge->mtu > 0)
                mnl_attr_put_u32(&request.header, IFLA_MTU, bridge->mtu);
        struct nlattr *info = mnl_attr_nest_start(&request.header, IFLA_LINKINFO);
        mnl_attr_put_strz(&request.header, IFLA_INFO_KIND, macvlan ? "macvlan" : "ipvlan");
        struct nlattr *data = mnl_attr_nest_start(&request.header, IFLA_INFO_DATA);
        if (macvlan)
                mnl_attr_put_u32(&request.header, IFLA_MACVLAN_MODE, macvlan_mode(bridge->mode));
        else
                mnl_attr_put_u16(&request.header, IFLA_IPVLAN_MODE,
                                 str_equal(bridge->mode, "l3")    ? IPVLAN_MODE_L3
                                 : str_equal(bridge->mode, "l3s") ? IPVLAN_MODE_L3S
                                                                  : IPVLAN_MODE_L2);
        mnl_attr_nest_end(&request.header, data);
        mnl_attr_nest_end(&request.header, info);
        return netlink_call(socket, &request);
}

/* What the bridge does with the port: a container that may not reach the others, or that reaches itself. */
static int set_port(struct mnl_socket *socket, const NetworkBridge *bridge, const NetworkEndpoint *endpoint)
{
        NetlinkRequest request;
        struct ifinfomsg *link = netlink_begin(&request, RTM_SETLINK, 0, sizeof(*link));

        if (!bridge->separate && !endpoint->hairpin)
                return 0;
        link->ifi_family = AF_BRIDGE;
        link->ifi_index = (int) if_nametoindex(endpoint->host_name);
        struct nlattr *port = mnl_attr_nest_start(&request.header, IFLA_PROTINFO);
        if (bridge->separate)
                mnl_attr_put_u8(&request.header, IFLA_BRPORT_ISOLATED, 1);
        if (endpoint->hairpin)
                mnl_attr_put_u8(&request.header, IFLA_BRPORT_MODE, 1);
        mnl_attr_nest_end(&request.header, port);
        return netlink_call(socket, &request);
}

static int bring_up(struct mnl_socket *socket, unsigned int index)
{
        NetlinkRequest request;
        struct ifinfomsg *link = netlink_begin(&request, RTM_NEWLINK, 0, sizeof(*link));

        link->ifi_index = (int) index;
        link->ifi_flags = link->ifi_change = IFF_UP;
        return netlink_call(socket, &request);
}

static int add_address(struct mnl_socket *socket, const NetworkBridge *bridge, const NetworkEndpoint *endpoint,
                       unsigned int index)
{
        NetlinkRequest request;
        struct ifaddrmsg *message = netlink_begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*message));
        in_addr_t broadcast = endpoint->address.s_addr | htonl(UINT32_MAX >> bridge->prefix);

        message->ifa_family = AF_INET;
        message->ifa_prefixlen = bridge->prefix;
        message->ifa_index = index;
        mnl_attr_put_u32(&request.header, IFA_LOCAL, endpoint->address.s_addr);
        mnl_attr_put_u32(&request.header, IFA_ADDRESS, endpoint->address.s_addr);
        mnl_attr_put_u32(&request.header, IFA_BROADCAST, broadcast);
        return netlink_call(socket, &request);
}

static int add_address6(struct mnl_socket *socket, const NetworkBridge *bridge, const NetworkEndpoint *endpoint,
                        unsigned int index)
{
        NetlinkRequest request;
        struct ifaddrmsg *message = netlink_begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*message));

        message->ifa_family = AF_INET6;
        message->ifa_prefixlen = bridge->prefix6;
        message->ifa_flags = IFA_F_NODAD; /* nobody else is given it */
        message->ifa_index = index;
        mnl_attr_put(&request.header, IFA_LOCAL, sizeof(endpoint->address6), &endpoint->address6);
        mnl_attr_put(&request.header, IFA_ADDRESS, sizeof(endpoint->address6), &endpoint->address6);
        return netlink_call(socket, &request);
}

static int set_default_route(struct mnl_socket *socket, int family, const void *gateway, size_t size,
                             unsigned int index)
{
        NetlinkRequest request;
        struct rtmsg *message = netlink_begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*message));

        message->rtm_family = (unsigned char) family;
        message->rtm_table = RT_TABLE_MAIN;
        message->rtm_protocol = RTPROT_BOOT;
        message->rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
        message->rtm_type = RTN_UNICAST;
        if (gateway)
                mnl_attr_put(&request.header, RTA_GATEWAY, size, gateway);
        mnl_attr_put_u32(&request.header, RTA_OIF, index);
        return netlink_call(socket, &request);
}

/* A link of layer 3 has no neighbour to send to. */
static bool has_gateway(const NetworkBridge *bridge)
{
        return bridge->kind != NETWORK_IPVLAN || !str_after_prefix(bridge->mode, "l3");
}

static int set_routes(struct mnl_socket *socket, const NetworkBridge *bridge, const NetworkEndpoint *endpoint,
                      unsigned int index)
{
        bool gateway = has_gateway(bridge);
        int r = 0;

        if (endpoint->route && bridge->prefix > 0 && (bridge->gateway.s_addr != 0 || !gateway))
                r = set_default_route(socket, AF_INET, gateway ? &bridge->gateway : NULL, sizeof(bridge->gateway),
                                      index);
        if (r >= 0 && endpoint->route6 && bridge->prefix6 > 0 && (is_set6(&bridge->gateway6) || !gateway))
                r = set_default_route(socket, AF_INET6, gateway ? &bridge->gateway6 : NULL, sizeof(bridge->gateway6),
                                      index);
        return r;
}

/* A network without IPv6 shows none inside, as with Docker. Set as the namespace's default while the link is made, so
 * that no link-local address ever appears. Kernels without IPv6 have no such file. */
static void set_default_ipv6(bool disabled)
{
        file_write_kernel("/proc/sys/net/ipv6/conf/default/disable_ipv6", disabled ? "1" : "0");
}

typedef struct Inside {
        struct mnl_socket *outside;
        const NetworkBridge *bridge;
        unsigned int master;
        const NetworkEndpoint *endpoint;
        int namespace_fd;
} Inside;

static int configure_inside(void *userdata)
{
        const Inside *inside = userdata;
        const NetworkBridge *bridge = inside->bridge;
        const NetworkEndpoint *endpoint = inside->endpoint;
        bool six = is_set6(&endpoint->address6);
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open();
        if (!socket)
                return -errno;

        if (!six)
                set_default_ipv6(true);
        int r = bridge->kind == NETWORK_BRIDGE
                        ? create_pair(inside->outside, bridge, inside->master, endpoint, inside->namespace_fd)
                        : create_child(inside->outside, bridge, inside->master, endpoint, inside->namespace_fd);
        if (!six)
                set_default_ipv6(false);
        if (r < 0)
                return r;

        unsigned int index = if_nametoindex(endpoint->name);
        if (index == 0)
                return -errno;
        r = bring_up(socket, index);
        if (r >= 0 && endpoint->address.s_addr != 0)
                r = add_address(socket, bridge, endpoint, index);
        if (r >= 0 && six)
                r = add_address6(socket, bridge, endpoint, index);
        return r < 0 ? r : set_routes(socket, bridge, endpoint, index);
}

int network_endpoint_create(const NetworkBridge *bridge, const NetworkEndpoint *endpoint, int namespace_fd)
{
        CLEANUP_NETLINK struct mnl_socket *outside = netlink_open();
        if (!outside)
                return -errno;
        Inside inside = { outside, bridge, if_nametoindex(bridge->name), endpoint, namespace_fd };

        if (inside.master == 0)
                return -ENODEV;
        int r = netlink_inside(namespace_fd, configure_inside, &inside);
        if (r < 0 || bridge->kind != NETWORK_BRIDGE)
                return r;
        return set_port(outside, bridge, endpoint);
}

int network_endpoint_delete(const char *host_name)
{
        NetlinkRequest request;
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open();
        if (!socket)
                return -errno;

        netlink_begin(&request, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
        mnl_attr_put_strz(&request.header, IFLA_IFNAME, host_name);
        int r = netlink_call(socket, &request);
        return r == -ENODEV ? 0 : r;
}

static int delete_inside(void *userdata)
{
        return network_endpoint_delete(userdata);
}

int network_endpoint_delete_inside(const char *name, int namespace_fd)
{
        return netlink_inside(namespace_fd, delete_inside, (void *) name);
}

static int route_inside(void *userdata)
{
        const Inside *inside = userdata;
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open();
        unsigned int index = if_nametoindex(inside->endpoint->name);

        if (!socket || index == 0)
                return -errno;
        return set_routes(socket, inside->bridge, inside->endpoint, index);
}

int network_endpoint_route(const NetworkBridge *bridge, const NetworkEndpoint *endpoint, int namespace_fd)
{
        Inside inside = { .bridge = bridge, .endpoint = endpoint };

        return netlink_inside(namespace_fd, route_inside, &inside);
}
