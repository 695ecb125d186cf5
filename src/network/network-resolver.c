/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sockets behind 127.0.0.11 in a container, and the rules in the container's namespace that lead port 53 of that
 * address to them. The sockets have ports the kernel chose: a container may have a name server of its own on port 53.
 *
 * The rules write the port into questions where they arrive, and the other one back into answers: on the loopback, so
 * that nothing else passes them. Translation as such would have the kernel track every connection of the container,
 * which is a tenth of what a packet between two containers costs; so it does so only in those that want it themselves.
 * The rules are few and made for every start, so they are written expression by expression. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "berth/network.h"
#include "network-expression.h"

#define TABLE "berth"
#define CHAIN "resolver"
#define RESOLVER_ADDRESS 0x7f00000bu
#define RESOLVER_PORT 53
#define LISTEN_BACKLOG 64

#define SOURCE_ADDRESS 12u
#define TARGET_ADDRESS 16u
#define SOURCE_PORT 0u
#define TARGET_PORT 2u
#define UDP_SUM 6u
#define TCP_SUM 16u

static void load_payload(struct nlmsghdr *header, uint32_t base, uint32_t offset, uint32_t size)
{
        struct nlattr *data, *item = nft_expression_begin(header, "payload", &data);

        nft_put_number(header, NFTA_PAYLOAD_DREG, NFT_REG_1);
        nft_put_number(header, NFTA_PAYLOAD_BASE, base);
        nft_put_number(header, NFTA_PAYLOAD_OFFSET, offset);
        nft_put_number(header, NFTA_PAYLOAD_LEN, size);
        nft_expression_end(header, item, data);
}

static void load_value(struct nlmsghdr *header, const void *bytes, size_t size)
{
        struct nlattr *data, *item = nft_expression_begin(header, "immediate", &data);

        nft_put_number(header, NFTA_IMMEDIATE_DREG, NFT_REG_1);
        nft_put_data(header, NFTA_IMMEDIATE_DATA, bytes, size);
        nft_expression_end(header, item, data);
}

static void write_number(struct nlmsghdr *header, uint32_t offset, uint16_t number, bool in_sum)
{
        load_value(header, &number, sizeof(number));
        struct nlattr *data, *item = nft_expression_begin(header, "payload", &data);
        nft_put_number(header, NFTA_PAYLOAD_SREG, NFT_REG_1);
        nft_put_number(header, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
        nft_put_number(header, NFTA_PAYLOAD_OFFSET, offset);
        nft_put_number(header, NFTA_PAYLOAD_LEN, sizeof(number));
        if (in_sum) {
                nft_put_number(header, NFTA_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
                nft_put_number(header, NFTA_PAYLOAD_CSUM_OFFSET, TCP_SUM);
        }
        nft_expression_end(header, item, data);
}

/* A datagram may have been sent without a sum, and needs none where it goes. */
static void write_port(struct nlmsghdr *header, uint8_t protocol, uint32_t offset, in_port_t port)
{
        write_number(header, offset, port, protocol == IPPROTO_TCP);
        if (protocol == IPPROTO_UDP)
                write_number(header, UDP_SUM, 0, false);
}

/* ip daddr 127.0.0.11 PROTOCOL dport FROM PROTOCOL dport set TO, or the same of the source */
static void add_rule(NftBatch *batch, bool question, uint8_t protocol, in_port_t from, in_port_t to)
{
        NetlinkRequest message;
        struct nlmsghdr *header = &message.header;
        in_addr_t address = htonl(RESOLVER_ADDRESS);
        uint16_t ip = htons(ETH_P_IP);
        uint32_t port_offset = question ? TARGET_PORT : SOURCE_PORT;

        struct nlattr *list = nft_rule_begin(&message, NLM_F_APPEND, NFPROTO_NETDEV, TABLE, CHAIN);
        nft_load_meta(header, NFT_META_PROTOCOL);
        nft_compare(header, &ip, sizeof(ip));
        load_payload(header, NFT_PAYLOAD_NETWORK_HEADER, question ? TARGET_ADDRESS : SOURCE_ADDRESS, sizeof(address));
        nft_compare(header, &address, sizeof(address));
        nft_load_meta(header, NFT_META_L4PROTO);
        nft_compare(header, &protocol, sizeof(protocol));
        load_payload(header, NFT_PAYLOAD_TRANSPORT_HEADER, port_offset, sizeof(from));
        nft_compare(header, &from, sizeof(from));
        write_port(header, protocol, port_offset, to);
        nft_rule_end(&message, list);
        nft_batch_add(batch, &message);
}

static void add_chain(NftBatch *batch)
{
        NetlinkRequest message;

        nft_message(&message, NFT_MSG_NEWTABLE, NLM_F_CREATE, NFPROTO_NETDEV);
        mnl_attr_put_strz(&message.header, NFTA_TABLE_NAME, TABLE);
        nft_batch_add(batch, &message);
        nft_message(&message, NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFPROTO_NETDEV);
        mnl_attr_put_strz(&message.header, NFTA_CHAIN_TABLE, TABLE);
        mnl_attr_put_strz(&message.header, NFTA_CHAIN_NAME, CHAIN);
        struct nlattr *hook = mnl_attr_nest_start(&message.header, NFTA_CHAIN_HOOK);
        nft_put_number(&message.header, NFTA_HOOK_HOOKNUM, NF_NETDEV_INGRESS);
        nft_put_number(&message.header, NFTA_HOOK_PRIORITY, 0);
        mnl_attr_put_strz(&message.header, NFTA_HOOK_DEV, "lo");
        mnl_attr_nest_end(&message.header, hook);
        mnl_attr_put_strz(&message.header, NFTA_CHAIN_TYPE, "filter");
        nft_batch_add(batch, &message);
}

static int add_rules(in_port_t udp, in_port_t tcp)
{
        CLEANUP(nft_batch_clear) NftBatch batch;
        in_port_t service = htons(RESOLVER_PORT);

        nft_batch_begin(&batch);
        add_chain(&batch);
        add_rule(&batch, true, IPPROTO_UDP, service, udp);
        add_rule(&batch, true, IPPROTO_TCP, service, tcp);
        add_rule(&batch, false, IPPROTO_UDP, udp, service);
        add_rule(&batch, false, IPPROTO_TCP, tcp, service);
        return nft_batch_commit(&batch);
}

static int open_socket(int type, in_port_t *ret_port)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(RESOLVER_ADDRESS) } };
        socklen_t size = sizeof(address);
        CLEANUP_CLOSE int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            getsockname(fd, (struct sockaddr *) &address, &size) < 0 ||
            (type == SOCK_STREAM && listen(fd, LISTEN_BACKLOG) < 0))
                return -errno;
        *ret_port = address.sin_port;
        return TAKE_FD(fd);
}

static int bring_loopback_up(void)
{
        NetlinkRequest request;
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open();
        struct ifinfomsg *link = netlink_begin(&request, RTM_NEWLINK, 0, sizeof(*link));

        if (!socket)
                return -errno;
        link->ifi_index = 1;
        link->ifi_flags = link->ifi_change = IFF_UP;
        return netlink_call(socket, &request);
}

typedef struct Resolver {
        int udp, tcp;
} Resolver;

static int open_inside(void *userdata)
{
        Resolver *resolver = userdata;
        in_port_t udp_port, tcp_port;
        int r = bring_loopback_up();

        if (r < 0)
                return r;
        CLEANUP_CLOSE int udp = open_socket(SOCK_DGRAM, &udp_port), tcp = open_socket(SOCK_STREAM, &tcp_port);
        if (udp < 0 || tcp < 0)
                return udp < 0 ? udp : tcp;
        r = add_rules(udp_port, tcp_port);
        if (r < 0)
                return r;
        *resolver = (Resolver) { TAKE_FD(udp), TAKE_FD(tcp) };
        return 0;
}

int network_resolver_open(int namespace_fd, int *ret_udp, int *ret_tcp)
{
        Resolver resolver;
        int r = netlink_inside(namespace_fd, open_inside, &resolver);

        if (r < 0)
                return r;
        *ret_udp = resolver.udp;
        *ret_tcp = resolver.tcp;
        return 0;
}
