/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container's veth pair. One message makes both ends, puts one on the bridge and the other, named and addressed, into
 * the container's namespace; two more give it its IPv4 address and default route. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <string.h>

#include "berth/file.h"
#include "berth/network.h"
#include "network-netlink.h"

void network_mac_of_address(struct in_addr address, uint8_t ret_mac[static 6])
{
        ret_mac[0] = 0x02;
        ret_mac[1] = 0x42;
        memcpy(ret_mac + 2, &address.s_addr, 4);
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

static int add_default_route(struct mnl_socket *socket, const NetworkBridge *bridge, unsigned int index)
{
        NetlinkRequest request;
        struct rtmsg *message = netlink_begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*message));

        message->rtm_family = AF_INET;
        message->rtm_table = RT_TABLE_MAIN;
        message->rtm_protocol = RTPROT_BOOT;
        message->rtm_scope = RT_SCOPE_UNIVERSE;
        message->rtm_type = RTN_UNICAST;
        mnl_attr_put_u32(&request.header, RTA_GATEWAY, bridge->gateway.s_addr);
        mnl_attr_put_u32(&request.header, RTA_OIF, index);
        return netlink_call(socket, &request);
}

/* A network without IPv6 shows none inside, as with Docker. Set as the namespace's default while the link is made, so
 * that no link-local address ever appears. Kernels without IPv6 have no such file. */
static void set_default_ipv6(bool disabled)
{
        file_write_kernel("/proc/sys/net/ipv6/conf/default/disable_ipv6", disabled ? "1" : "0");
}

static int configure_inside(struct mnl_socket *outside, const NetworkBridge *bridge, unsigned int master,
                            const NetworkEndpoint *endpoint, int namespace_fd)
{
        CLEANUP_NETLINK struct mnl_socket *inside = netlink_open();
        if (!inside)
                return -errno;

        set_default_ipv6(true);
        int r = create_pair(outside, bridge, master, endpoint, namespace_fd);
        set_default_ipv6(false);
        if (r < 0)
                return r;

        unsigned int index = if_nametoindex(endpoint->name);
        if (index == 0)
                return -errno;
        r = bring_up(inside, index);
        if (r >= 0)
                r = add_address(inside, bridge, endpoint, index);
        return r < 0 ? r : add_default_route(inside, bridge, index);
}

int network_endpoint_create(const NetworkBridge *bridge, const NetworkEndpoint *endpoint, int namespace_fd)
{
        CLEANUP_CLOSE int host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        CLEANUP_NETLINK struct mnl_socket *outside = netlink_open();

        if (host < 0 || !outside)
                return -errno;
        unsigned int master = if_nametoindex(bridge->name);
        if (master == 0)
                return -ENODEV;
        if (setns(namespace_fd, CLONE_NEWNET) < 0)
                return -errno;
        int r = configure_inside(outside, bridge, master, endpoint, namespace_fd);
        if (setns(host, CLONE_NEWNET) < 0)
                return -errno;
        return r;
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
