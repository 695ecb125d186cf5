/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bridge, the choice of its subnet, and the table that masquerades what leaves it. */
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/network.h"
#include "berth/string.h"
#include "network-netlink.h"

bool network_bridge_exists(const NetworkBridge *bridge)
{
        return if_nametoindex(bridge->name) != 0;
}

static int create_link(struct mnl_socket *socket, const NetworkBridge *bridge)
{
        NetlinkRequest request;
        struct ifinfomsg *link = netlink_begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*link));
        uint8_t mac[6];

        link->ifi_flags = link->ifi_change = IFF_UP;
        mnl_attr_put_strz(&request.header, IFLA_IFNAME, bridge->name);
        /* A fixed address: else the bridge takes over that of whichever port joined, and neighbours lose it. */
        network_mac_of_address(bridge->gateway, mac);
        mnl_attr_put(&request.header, IFLA_ADDRESS, sizeof(mac), mac);
        if (bridge->mtu > 0)
                mnl_attr_put_u32(&request.header, IFLA_MTU, bridge->mtu);
        struct nlattr *info = mnl_attr_nest_start(&request.header, IFLA_LINKINFO);
        mnl_attr_put_strz(&request.header, IFLA_INFO_KIND, "bridge");
        mnl_attr_nest_end(&request.header, info);
        int r = netlink_call(socket, &request);
        return r == -EEXIST ? 0 : r;
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

/* Runs nft with the rules on its standard input (a memory file). nft is a program to us, not a library: its library is
 * under a licence ours can't link. */
static int run_nft(const char *rules)
{
        static char *const argv[] = { "nft", "-f", "-", NULL };
        static char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
        posix_spawn_file_actions_t actions;
        CLEANUP_FCLOSE FILE *input = tmpfile();
        pid_t pid;
        int status;

        if (!input || fputs(rules, input) < 0 || fflush(input) != 0 || fseek(input, 0, SEEK_SET) < 0)
                return -errno;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, fileno(input), STDIN_FILENO);
        int r = posix_spawnp(&pid, "nft", &actions, NULL, argv, environment);
        posix_spawn_file_actions_destroy(&actions);
        if (r != 0)
                return -r;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/* Each network is an element of two sets; the rules never grow. */
static int add_masquerade(const NetworkBridge *bridge)
{
        struct in_addr subnet = { bridge->gateway.s_addr & htonl(UINT32_MAX << (32 - bridge->prefix)) };
        char text[INET_ADDRSTRLEN];
        CLEANUP_FREE char *rules =
                str_printf("add table ip berth\n"
                           "add set ip berth subnets { type ipv4_addr; flags interval; }\n"
                           "add set ip berth bridges { type ifname; }\n"
                           "add chain ip berth postrouting { type nat hook postrouting priority srcnat; }\n"
                           "flush chain ip berth postrouting\n"
                           "add rule ip berth postrouting ip saddr @subnets oifname != @bridges masquerade\n"
                           "add element ip berth subnets { %s/%d }\n"
                           "add element ip berth bridges { \"%s\" }\n",
                           inet_ntop(AF_INET, &subnet, text, sizeof(text)), bridge->prefix, bridge->name);

        return rules ? run_nft(rules) : -ENOMEM;
}

int network_bridge_ensure(const NetworkBridge *bridge)
{
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open();
        if (!socket)
                return -errno;

        int r = create_link(socket, bridge);
        if (r >= 0)
                r = add_address(socket, bridge);
        if (r >= 0)
                r = file_write_kernel("/proc/sys/net/ipv4/ip_forward", "1");
        return r < 0 ? r : add_masquerade(bridge);
}

/* --- Choosing a subnet -------------------------------------------------------------------------------------------- */

typedef struct Subnet {
        uint32_t address; /* host byte order */
        uint8_t prefix;
} Subnet;

typedef struct Taken {
        Subnet *subnets;
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
                Subnet *grown = reallocarray(taken->subnets, taken->n + 1, sizeof(Subnet));
                if (!grown)
                        return MNL_CB_ERROR;
                taken->subnets = grown;
                grown[taken->n++] = (Subnet) { ntohl(mnl_attr_get_u32(attribute)), route->rtm_dst_len };
        }
        return MNL_CB_OK;
}

static bool overlaps(const Taken *taken, Subnet subnet)
{
        for (size_t i = 0; i < taken->n; i++) {
                uint8_t shorter = MIN(subnet.prefix, taken->subnets[i].prefix);
                uint32_t mask = UINT32_MAX << (32 - shorter);
                if ((subnet.address & mask) == (taken->subnets[i].address & mask))
                        return true;
        }
        return false;
}

int network_choose_subnet(struct in_addr *ret_subnet, uint8_t *ret_prefix)
{
        static const struct {
                uint32_t first, last;
                uint8_t prefix;
        } pools[] = { { 0xac110000, 0xac1f0000, 16 }, { 0xc0a80000, 0xc0a8f000, 20 } };
        CLEANUP_FREE Subnet *storage = NULL;
        Taken taken = { 0 };
        NetlinkRequest request;
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open();
        if (!socket)
                return -errno;

        struct rtmsg *route = netlink_begin(&request, RTM_GETROUTE, 0, sizeof(*route));
        route->rtm_family = AF_INET;
        int r = netlink_dump(socket, &request, on_route, &taken);
        storage = taken.subnets;
        if (r < 0)
                return r;

        for (size_t i = 0; i < ARRAY_SIZE(pools); i++)
                for (uint32_t address = pools[i].first; address <= pools[i].last;
                     address += UINT32_C(1) << (32 - pools[i].prefix)) {
                        if (overlaps(&taken, (Subnet) { address, pools[i].prefix }))
                                continue;
                        ret_subnet->s_addr = htonl(address);
                        *ret_prefix = pools[i].prefix;
                        return 0;
                }
        return -ENOSPC;
}
