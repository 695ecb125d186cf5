/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table "inet berth": rules that never change, made by the nft program, and sets and maps whose elements, one or a
 * few for each bridge and each published port, are put in and taken out over netlink. Nobody else's table is touched.
 *
 * A packet for a published port is translated where it comes in (prerouting) or is made (output); what comes by another
 * way than a bridge's own keeps its source address. [::1] is left to the monitor that holds the port: the kernel can't
 * lead it elsewhere. What is forwarded to a bridge without having been translated, answered or meant for its own
 * network is dropped.
 *
 * A strict table leaves what comes from outside for a published port to the monitor that holds it: so it passes the
 * host's own input rules, whoever's they are, or does not.
 *
 * Published ports are left to their monitors too where a packet comes from a container that is kept apart from those on
 * its own bridge: with the kernel's br_netfilter it would be translated before the bridge has passed it to the host,
 * and then kept apart from its target. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <spawn.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/network.h"
#include "berth/string.h"
#include "network-netlink.h"

#define TABLE "berth"
#define N_RULES 25u
/* Of one transaction: its bytes have to fit into one message to the kernel. */
#define ELEMENTS_MAX 2000u

static const char rules_begin[] =
        "add table inet berth\n"
        "delete table inet berth\n"
        "table inet berth {\n"
        "  set bridges { type ifname; }\n"
        "  set internal { type ifname; }\n"
        "  set apart { type ifname; }\n"
        "  set open4 { type ifname; }\n"
        "  set open6 { type ifname; }\n"
        "  set same { type ifname . ifname; }\n"
        "  set same4 { type ipv4_addr . ipv4_addr; flags interval; }\n"
        "  set same6 { type ipv6_addr . ipv6_addr; flags interval; }\n"
        "  set masquerade4 { type ipv4_addr; flags interval; }\n"
        "  set masquerade6 { type ipv6_addr; flags interval; }\n"
        "  map source4 { type ipv4_addr : ipv4_addr; flags interval; }\n"
        "  map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }\n"
        "  map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }\n"
        "  map one4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }\n"
        "  map one6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }\n"
        "  set direct4 { type ipv4_addr . inet_proto . inet_service; }\n"
        "  set direct6 { type ipv6_addr . inet_proto . inet_service; }\n"
        "  chain guard {\n"
        "    type filter hook prerouting priority raw; policy accept;\n"
        "    ip daddr 127.0.0.0/8 iifname @bridges drop\n"
        "  }\n"
        "  chain ports {\n"
        "    meta nfproto ipv4 dnat ip to ip daddr . meta l4proto . th dport map @one4\n"
        "    meta nfproto ipv4 dnat ip to meta l4proto . th dport map @any4\n"
        "    meta nfproto ipv6 dnat ip6 to ip6 daddr . meta l4proto . th dport map @one6\n"
        "    meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @any6\n"
        "  }\n"
        "  chain prerouting {\n"
        "    type nat hook prerouting priority -100; policy accept;\n"
        "    iifname @apart accept\n";

/* What makes ports reachable past the rules for the host's own input. */
static const char rules_past_input[] = "    fib daddr type local meta l4proto { tcp, udp, sctp } jump ports\n";

static const char rules_end[] = "  }\n"
                                "  chain output {\n"
                                "    type nat hook output priority -100; policy accept;\n"
                                "    ip6 daddr ::1 accept\n"
                                "    fib daddr type local meta l4proto { tcp, udp, sctp } jump ports\n"
                                "  }\n"
                                "  chain forward {\n"
                                "    type filter hook forward priority filter; policy accept;\n"
                                "    ct state established,related accept\n"
                                "    iifname . oifname @same accept\n"
                                "    iifname @internal drop\n"
                                "    oifname @internal drop\n"
                                "    oifname @bridges ct status dnat accept\n"
                                "    oifname @open4 meta nfproto ipv4 accept\n"
                                "    oifname @open6 meta nfproto ipv6 accept\n"
                                "    oifname @bridges ip daddr . meta l4proto . th dport @direct4 accept\n"
                                "    oifname @bridges ip6 daddr . meta l4proto . th dport @direct6 accept\n"
                                "    oifname @bridges drop\n"
                                "  }\n"
                                "  chain postrouting {\n"
                                "    type nat hook postrouting priority srcnat; policy accept;\n"
                                "    ct status dnat ip saddr . ip daddr @same4 masquerade\n"
                                "    ct status dnat ip6 saddr . ip6 daddr @same6 masquerade\n"
                                "    oifname @bridges ip saddr 127.0.0.0/8 masquerade\n"
                                "    oifname != @bridges snat ip to ip saddr map @source4\n"
                                "    oifname != @bridges ip saddr @masquerade4 masquerade\n"
                                "    oifname != @bridges ip6 saddr @masquerade6 masquerade\n"
                                "  }\n"
                                "}\n";

/* nft is a program to us, not a library: its library is under a licence ours can't link. */
static int run_nft(const char *text)
{
        static char *const argv[] = { "nft", "-f", "-", NULL };
        static char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
        posix_spawn_file_actions_t actions;
        CLEANUP_CLOSE int input = memfd_create("rules", MFD_CLOEXEC);
        pid_t pid;
        int status;

        if (input < 0)
                return -errno;
        int r = fd_write_all(input, text, strlen(text));
        if (r < 0 || lseek(input, 0, SEEK_SET) < 0)
                return r < 0 ? r : -errno;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
        r = posix_spawnp(&pid, "nft", &actions, NULL, argv, environment);
        posix_spawn_file_actions_destroy(&actions);
        if (r != 0)
                return -r;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int count_rule(const struct nlmsghdr *header, void *userdata)
{
        (void) header;
        (*(size_t *) userdata)++;
        return MNL_CB_OK;
}

bool network_firewall_is_whole(bool strict)
{
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open_protocol(NETLINK_NETFILTER);
        NetlinkRequest request;
        size_t n = 0;

        if (!socket)
                return false;
        nft_message(&request, NFT_MSG_GETRULE, 0, NFPROTO_INET);
        mnl_attr_put_strz(&request.header, NFTA_RULE_TABLE, TABLE);
        return netlink_dump(socket, &request, count_rule, &n) >= 0 && n == (strict ? N_RULES - 1 : N_RULES);
}

/* --- Elements -------------------------------------------------------------------------------------------------------
 */

/* Keys and data are rows of registers, four bytes each: every part of a concatenation begins a new one. */
typedef struct Element {
        const char *set;
        uint8_t key[40], key_end[40], data[24];
        size_t n_key, n_end, n_data; /* an end makes it an interval: of concatenations the last, else behind the last */
} Element;

static void put(uint8_t *bytes, size_t *n, const void *part, size_t size)
{
        memcpy(bytes + *n, part, size);
        *n += (size + 3) & ~(size_t) 3;
}

static void put_name(Element *element, const char *name)
{
        char padded[IFNAMSIZ] = { 0 };

        strncpy(padded, name, IFNAMSIZ - 1);
        put(element->key, &element->n_key, padded, sizeof(padded));
}

static Element named(const char *set, const char *name)
{
        Element element = { .set = set };

        put_name(&element, name);
        return element;
}

/* First and last address of the subnet, of which ANY is an address. */
static void subnet_bounds(const void *any, size_t size, uint8_t prefix, uint8_t *ret_first, uint8_t *ret_last)
{
        for (size_t i = 0; i < size; i++) {
                unsigned bits = prefix > 8 * i ? MIN(prefix - 8 * i, 8) : 0;
                uint8_t mask = (uint8_t) (0xff00 >> bits), byte = ((const uint8_t *) any)[i];

                ret_first[i] = byte & mask;
                ret_last[i] = byte | (uint8_t) ~mask;
        }
}

static Element subnet_pair(const char *set, const void *any, size_t size, uint8_t prefix)
{
        uint8_t first[16], last[16];
        Element element = { .set = set };

        subnet_bounds(any, size, prefix, first, last);
        put(element.key, &element.n_key, first, size);
        put(element.key, &element.n_key, first, size);
        put(element.key_end, &element.n_end, last, size);
        put(element.key_end, &element.n_end, last, size);
        return element;
}

static Element subnet_one(const char *set, const void *any, size_t size, uint8_t prefix)
{
        uint8_t first[16], last[16];
        Element element = { .set = set };

        subnet_bounds(any, size, prefix, first, last);
        put(element.key, &element.n_key, first, size);
        for (size_t i = size; i-- > 0 && ++last[i] == 0;)
                ;
        put(element.key_end, &element.n_end, last, size);
        return element;
}

static size_t family_elements(const NetworkBridge *bridge, bool four, Element *elements)
{
        const void *any = four ? (const void *) &bridge->gateway : &bridge->gateway6;
        uint8_t prefix = four ? bridge->prefix : bridge->prefix6;
        NetworkGatewayMode mode = four ? bridge->mode4 : bridge->mode6;
        bool nat = mode == NETWORK_NAT || mode == NETWORK_NAT_UNPROTECTED;
        size_t size = four ? 4 : 16, n = 0;

        if (prefix == 0 || bridge->internal)
                return 0;
        elements[n++] = subnet_pair(four ? "same4" : "same6", any, size, prefix);
        if (mode == NETWORK_NAT_UNPROTECTED)
                elements[n++] = named(four ? "open4" : "open6", bridge->name);
        if (bridge->masquerade && nat)
                elements[n++] = subnet_one(four ? "masquerade4" : "masquerade6", any, size, prefix);
        if (four && bridge->masquerade && nat && bridge->source.s_addr != 0) {
                elements[n] = subnet_one("source4", any, size, prefix);
                put(elements[n].data, &elements[n].n_data, &bridge->source, sizeof(bridge->source));
                n++;
        }
        return n;
}

static size_t bridge_elements(const NetworkBridge *bridge, Element *elements)
{
        size_t n = 0;

        if (bridge->kind != NETWORK_BRIDGE)
                return 0;
        elements[n++] = named("bridges", bridge->name);
        elements[n] = named("same", bridge->name);
        put_name(&elements[n++], bridge->name);
        if (bridge->internal)
                elements[n++] = named("internal", bridge->name);
        if (bridge->separate)
                elements[n++] = named("apart", bridge->name);
        n += family_elements(bridge, true, elements + n);
        return n + family_elements(bridge, false, elements + n);
}

static bool is_any(const struct in6_addr *address)
{
        return address->s6_addr32[3] == 0 && (IN6_IS_ADDR_V4MAPPED(address) || IN6_IS_ADDR_UNSPECIFIED(address));
}

static void put_address(uint8_t *bytes, size_t *n, const struct in6_addr *address)
{
        if (IN6_IS_ADDR_V4MAPPED(address))
                put(bytes, n, &address->s6_addr32[3], 4);
        else
                put(bytes, n, address, 16);
}

static void put_service(uint8_t *bytes, size_t *n, uint16_t port)
{
        uint16_t network_order = htons(port);

        put(bytes, n, &network_order, sizeof(network_order));
}

static Element port_element(const NetworkPort *port)
{
        bool four = IN6_IS_ADDR_V4MAPPED(&port->target);
        Element element = { 0 };

        if (port->direct) {
                element.set = four ? "direct4" : "direct6";
                put_address(element.key, &element.n_key, &port->target);
                put(element.key, &element.n_key, &port->protocol, 1);
                put_service(element.key, &element.n_key, port->inner);
                return element;
        }
        if (is_any(&port->host))
                element.set = four ? "any4" : "any6";
        else {
                element.set = four ? "one4" : "one6";
                put_address(element.key, &element.n_key, &port->host);
        }
        put(element.key, &element.n_key, &port->protocol, 1);
        put_service(element.key, &element.n_key, port->outer);
        put_address(element.data, &element.n_data, &port->target);
        put_service(element.data, &element.n_data, port->inner);
        return element;
}

static void put_value(struct nlmsghdr *header, uint16_t type, const void *bytes, size_t size)
{
        struct nlattr *value = mnl_attr_nest_start(header, type);

        mnl_attr_put(header, NFTA_DATA_VALUE, size, bytes);
        mnl_attr_nest_end(header, value);
}

/* A subnet's end is a further element, but of a concatenation a further key. */
static bool is_pair(const Element *element)
{
        return str_after_prefix(element->set, "same");
}

static void add_element(NftBatch *batch, const Element *element, bool removal)
{
        NetlinkRequest message;
        struct nlmsghdr *header = &message.header;

        nft_message(&message, removal ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM, removal ? 0 : NLM_F_CREATE,
                    NFPROTO_INET);
        mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, TABLE);
        mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, element->set);
        struct nlattr *list = mnl_attr_nest_start(header, NFTA_SET_ELEM_LIST_ELEMENTS);
        struct nlattr *item = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
        put_value(header, NFTA_SET_ELEM_KEY, element->key, element->n_key);
        if (element->n_end > 0 && is_pair(element))
                put_value(header, NFTA_SET_ELEM_KEY_END, element->key_end, element->n_end);
        if (element->n_data > 0 && !removal)
                put_value(header, NFTA_SET_ELEM_DATA, element->data, element->n_data);
        mnl_attr_nest_end(header, item);
        if (element->n_end > 0 && !is_pair(element)) {
                item = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
                mnl_attr_put_u32(header, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
                put_value(header, NFTA_SET_ELEM_KEY, element->key_end, element->n_end);
                mnl_attr_nest_end(header, item);
        }
        mnl_attr_nest_end(header, list);
        nft_batch_add(batch, &message);
}

static int change_one(const Element *element, bool removal)
{
        CLEANUP(nft_batch_clear) NftBatch batch;

        nft_batch_begin(&batch);
        add_element(&batch, element, removal);
        int r = nft_batch_commit(&batch);
        return removal && r == -ENOENT ? 0 : r;
}

/* One after the other, where a transaction failed: what is there with another meaning is replaced. */
static int change_each(const Element *elements, size_t n, bool removal)
{
        int result = 0;

        for (size_t i = 0; i < n; i++) {
                int r = change_one(&elements[i], removal);
                if (r == -EEXIST && !removal && change_one(&elements[i], true) >= 0)
                        r = change_one(&elements[i], false);
                if (r < 0 && result == 0)
                        result = r;
        }
        return result;
}

static int change(const Element *elements, size_t n, bool removal)
{
        int result = 0;

        for (size_t done = 0; done < n; done += ELEMENTS_MAX) {
                CLEANUP(nft_batch_clear) NftBatch batch;
                size_t some = MIN(n - done, ELEMENTS_MAX);

                nft_batch_begin(&batch);
                for (size_t i = 0; i < some; i++)
                        add_element(&batch, &elements[done + i], removal);
                int r = nft_batch_commit(&batch);
                if (r == -ENOENT || r == -EEXIST)
                        r = change_each(elements + done, some, removal);
                if (r < 0 && result == 0)
                        result = r;
        }
        return result;
}

static int change_content(const NetworkFirewall *content, bool removal)
{
        CLEANUP_FREE Element *elements = calloc(content->n_bridges * 12 + content->n_ports + 1, sizeof(*elements));
        size_t n = 0;

        if (!elements)
                return -ENOMEM;
        for (size_t i = 0; i < content->n_bridges; i++)
                n += bridge_elements(&content->bridges[i], elements + n);
        for (size_t i = 0; i < content->n_ports; i++)
                elements[n++] = port_element(&content->ports[i]);
        return change(elements, n, removal);
}

int network_firewall_add(const NetworkFirewall *content)
{
        return change_content(content, false);
}

int network_firewall_remove(const NetworkFirewall *content)
{
        return change_content(content, true);
}

int network_firewall_build(const NetworkFirewall *content, const char *lock, bool if_needed)
{
        CLEANUP_CLOSE int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;
        while (flock(fd, LOCK_EX) < 0)
                if (errno != EINTR)
                        return -errno;
        if (if_needed && network_firewall_is_whole(content->strict))
                return 0;
        CLEANUP_FREE char *rules =
                str_printf("%s%s%s", rules_begin, content->strict ? "" : rules_past_input, rules_end);
        int r = rules ? run_nft(rules) : -ENOMEM;
        return r < 0 ? r : network_firewall_add(content);
}
