/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bridges and their addresses, and what the kernel has to be told so that packets pass them. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "berth/file.h"
#include "berth/network.h"
#include "berth/string.h"
#include "network-netlink.h"

#define IPV6_CONFIG "/proc/sys/net/ipv6/conf"

bool network_bridge_exists(const NetworkBridge *bridge)
{
        return if_nametoindex(bridge->name) != 0;
}

static int create_link(struct mnl_socket *socket, const NetworkBridge *bridge)
{
        NetlinkRequest request;
        struct ifinfomsg *link = netlink_begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*link));
        uint8_t mac[6];

        mnl_attr_put_strz(&request.header, IFLA_IFNAME, bridge->name);
        /* A fixed address: else the bridge takes over that of whichever port joined, and neighbours lose it. */
        network_mac_of_address(
                bridge->prefix > 0 ? bridge->gateway : (struct in_addr) { bridge->gateway6.s6_addr32[0] }, mac);
        mnl_attr_put(&request.header, IFLA_ADDRESS, sizeof(mac), mac);
        if (bridge->mtu > 0)
                mnl_attr_put_u32(&request.header, IFLA_MTU, bridge->mtu);
        struct nlattr *info = mnl_attr_nest_start(&request.header, IFLA_LINKINFO);
        mnl_attr_put_strz(&request.header, IFLA_INFO_KIND, "bridge");
        mnl_attr_nest_end(&request.header, info);
        int r = netlink_call(socket, &request);
        return r == -EEXIST ? 0 : r;
}

static int bring_up(struct mnl_socket *socket, const NetworkBridge *bridge)
{
        NetlinkRequest request;
        struct ifinfomsg *link = netlink_begin(&request, RTM_NEWLINK, 0, sizeof(*link));

        link->ifi_index = (int) if_nametoindex(bridge->name);
        link->ifi_flags = link->ifi_change = IFF_UP;
        return netlink_call(socket, &request);
}

static int add_address(struct mnl_socket *socket, const NetworkBridge *bridge)
{
        NetlinkRequest request;
        struct ifaddrmsg *message = netlink_begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*message));

        message->ifa_family = AF_INET;
        message->ifa_prefixlen = bridge->prefix;
        message->ifa_index = if_nametoindex(bridge->name);
        mnl_attr_put_u32(&request.header, IFA_LOCAL, bridge->gateway.s_addr);
        mnl_attr_put_u32(&request.header, IFA_ADDRESS, bridge->gateway.s_addr);
        mnl_attr_put_u32(&request.header, IFA_BROADCAST, bridge->gateway.s_addr | htonl(UINT32_MAX >> bridge->prefix));
        int r = netlink_call(socket, &request);
        return r == -EEXIST ? 0 : r;
}

static int add_address6(struct mnl_socket *socket, const NetworkBridge *bridge)
{
        NetlinkRequest request;
        struct ifaddrmsg *message = netlink_begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*message));

        message->ifa_family = AF_INET6;
        message->ifa_prefixlen = bridge->prefix6;
        message->ifa_flags = IFA_F_NODAD;
        message->ifa_index = if_nametoindex(bridge->name);
        mnl_attr_put(&request.header, IFA_LOCAL, sizeof(bridge->gateway6), &bridge->gateway6);
        mnl_attr_put(&request.header, IFA_ADDRESS, sizeof(bridge->gateway6), &bridge->gateway6);
        int r = netlink_call(socket, &request);
        return r == -EEXIST ? 0 : r;
}

static bool setting_is(const char *path, char value)
{
        CLEANUP_FREE char *text = NULL;

        return file_read_at(AT_FDCWD, path, 16, &text, NULL) >= 0 && text[0] == value;
}

static int set_link(const char *family, const char *name, const char *key, const char *value)
{
        char path[128];

        snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, name, key);
        return file_write_kernel(path, value);
}

/* A host that forwards takes no router's word any more, unless told to: those of its links that did go on doing so. */
static int enable_forwarding6(void)
{
        struct dirent *entry;

        if (setting_is(IPV6_CONFIG "/all/forwarding", '1'))
                return 0;
        CLEANUP_CLOSEDIR DIR *directory = opendir(IPV6_CONFIG);
        while (directory && (entry = readdir(directory))) {
                char path[sizeof(IPV6_CONFIG) + NAME_MAX + 16];
                snprintf(path, sizeof(path), IPV6_CONFIG "/%s/accept_ra", entry->d_name);
                if (entry->d_name[0] != '.' && setting_is(path, '1') && !str_equal(entry->d_name, "lo"))
                        file_write_kernel(path, "2");
        }
        return file_write_kernel(IPV6_CONFIG "/all/forwarding", "1");
}

static int configure(struct mnl_socket *socket, const NetworkBridge *bridge)
{
        bool address = bridge->mode4 != NETWORK_ISOLATED, address6 = bridge->mode6 != NETWORK_ISOLATED;
        int r = 0;

        /* Before the link is up, so that nothing is told on it that is not meant. Kernels without IPv6 have no files.
         */
        set_link("ipv6", bridge->name, "accept_ra", "0");
        /* The host looks for containers from the link's own address: not only once it has found out, for a second or
         * two, that nobody else has it. */
        set_link("ipv6", bridge->name, "accept_dad", "0");
        set_link("ipv6", bridge->name, "disable_ipv6", bridge->prefix6 > 0 ? "0" : "1");
        if (bridge->prefix > 0 && address) {
                r = add_address(socket, bridge);
                /* What the host sends to a port of 127.0.0.1 leaves by the bridge; the firewall lets nothing that came
                 * by it go there. */
                if (r >= 0)
                        r = set_link("ipv4", bridge->name, "route_localnet", "1");
        }
        if (r >= 0 && bridge->prefix6 > 0 && address6)
                r = add_address6(socket, bridge);
        if (r >= 0)
                r = bring_up(socket, bridge);
        if (r >= 0 && bridge->prefix > 0 && !bridge->internal)
                r = file_write_kernel("/proc/sys/net/ipv4/ip_forward", "1");
        if (r >= 0 && bridge->prefix6 > 0 && !bridge->internal)
                r = enable_forwarding6();
        return r;
}

int network_bridge_ensure(const NetworkBridge *bridge)
{
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open();
        if (!socket)
                return -errno;
        if (bridge->kind != NETWORK_BRIDGE)
                return network_bridge_exists(bridge) ? 0 : -ENODEV;

        int r = create_link(socket, bridge);
        if (r >= 0)
                r = configure(socket, bridge);
        if (r >= 0)
                (void) network_firewalld_add(bridge->name); /* what it then rejects, it may be told to */
        return r;
}

int network_bridge_delete(const char *name)
{
        return network_endpoint_delete(name);
}

/* --- Choosing a subnet -------------------------------------------------------------------------------------------- */

typedef struct Taken {
        NetworkSubnet *subnets;
        size_t n;
} Taken;

static int on_route(const struct nlmsghdr *header, void *userdata)
{
        Taken *taken = userdata;
        const struct rtmsg *route = mnl_nlmsg_get_payload(header);
        const struct nlattr *attribute;

        if (route->rtm_family != AF_INET || route->rtm_dst_len == 0 || route->rtm_type != RTN_UNICAST)
                return MNL_CB_OK;
        mnl_attr_for_each(attribute, header, sizeof(*route)) {
                if (mnl_attr_get_type(attribute) != RTA_DST || mnl_attr_get_payload_len(attribute) < 4)
                        continue;
                NetworkSubnet *grown = reallocarray(taken->subnets, taken->n + 1, sizeof(*grown));
                if (!grown)
                        return MNL_CB_ERROR;
                taken->subnets = grown;
                grown[taken->n++] = (NetworkSubnet) { ntohl(mnl_attr_get_u32(attribute)), route->rtm_dst_len };
        }
        return MNL_CB_OK;
}

bool network_subnets_overlap(NetworkSubnet a, NetworkSubnet b)
{
        uint8_t shorter = MIN(a.prefix, b.prefix);

        return shorter == 0 || ((a.address ^ b.address) & UINT32_MAX << (32 - shorter)) == 0;
}

static bool overlaps_any(const NetworkSubnet *subnets, size_t n, NetworkSubnet subnet)
{
        for (size_t i = 0; i < n; i++)
                if (network_subnets_overlap(subnets[i], subnet))
                        return true;
        return false;
}

int network_choose_subnet(const NetworkPool *pools, size_t n_pools, const NetworkSubnet *taken, size_t n_taken,
                          NetworkSubnet *ret_subnet)
{
        static const NetworkPool defaults[] = {
                { { 0xac110000, 16 }, 16 }, { { 0xac120000, 15 }, 16 }, { { 0xac140000, 14 }, 16 },
                { { 0xac180000, 13 }, 16 }, { { 0xc0a80000, 16 }, 20 },
        };
        CLEANUP_FREE NetworkSubnet *storage = NULL;
        Taken routes = { 0 };
        NetlinkRequest request;
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open();
        if (!socket)
                return -errno;

        struct rtmsg *route = netlink_begin(&request, RTM_GETROUTE, 0, sizeof(*route));
        route->rtm_family = AF_INET;
        int r = netlink_dump(socket, &request, on_route, &routes);
        storage = routes.subnets;
        if (r < 0)
                return r;

        if (n_pools == 0) {
                pools = defaults;
                n_pools = ARRAY_SIZE(defaults);
        }
        for (size_t i = 0; i < n_pools; i++) {
                uint64_t step = UINT64_C(1) << (32 - pools[i].size);
                uint64_t end = pools[i].base.address + (UINT64_C(1) << (32 - pools[i].base.prefix));
                for (uint64_t address = pools[i].base.address; address < end; address += step) {
                        NetworkSubnet subnet = { (uint32_t) address, pools[i].size };
                        if (overlaps_any(routes.subnets, routes.n, subnet) || overlaps_any(taken, n_taken, subnet))
                                continue;
                        *ret_subnet = subnet;
                        return 0;
                }
        }
        return -ENOSPC;
}
