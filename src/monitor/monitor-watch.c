/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Watches for the removal of the engine's table, or of rules of it, from the host's packet filter, as by "nft flush
 * ruleset", and for a change of iptables' chain FORWARD, as by ufw; and tells the engine, which sets it right. Every
 * container's monitor watches, so that somebody does as long as there is anything to restore; the kernel wakes them for
 * removals and for chains alone, not for what engines add and take. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/monitor.h"
#include "monitor-net.h"

/* The engine's, and that of firewalld, which forgets the engine's bridges at a reload. */
static const char *const tables[] = { "berth", "firewalld" };
#define FILTER_TABLE "filter"
#define FORWARD_CHAIN "FORWARD"
/* What comes in between belongs to the same change. */
#define PAUSE_NS (20 * 1000000LL)
#define RETRY_NS (200 * 1000000LL)

#define NFT_TYPE(message) (NFNL_SUBSYS_NFTABLES << 8 | (message))

static void watch_destroy(NetSource *source)
{
        free(source);
}

/* The engine has answered, or ended. */
static void told(NetSource *source, uint32_t events, int64_t now)
{
        (void) events;
        (void) now;
        net_source_close(source);
}

/* The connection stays until there is an answer: the engine does not work for clients that have gone. */
static int tell(MonitorNet *net)
{
        CLEANUP_CLOSE int fd = net->notify ? socket_connect_unix(net->notify, SOCK_STREAM) : -EBADF;
        CLEANUP_FREE NetSource *source = calloc(1, sizeof(*source));

        if (fd < 0 || !source)
                return fd < 0 ? fd : -ENOMEM;
        if (send(fd, MONITOR_FIREWALL_REQUEST, strlen(MONITOR_FIREWALL_REQUEST), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                return -errno;
        source->ready = told;
        source->destroy = watch_destroy;
        int r = net_source_add(net, source, TAKE_FD(fd), EPOLLIN);
        if (r >= 0)
                TAKE_PTR(source);
        return r;
}

static void watch_due(NetSource *source, int64_t now)
{
        if (tell(source->net) < 0)
                source->due_ns = now + RETRY_NS;
}

/* Steps over the attribute at *AT, if it is TEXT. */
static bool attribute_is(const struct nlmsghdr *header, size_t *at, const char *text)
{
        const struct nlattr *attribute = (const void *) ((const char *) header + *at);
        size_t size = strlen(text) + 1;

        if (header->nlmsg_len < *at + NLA_HDRLEN + size || attribute->nla_len != NLA_HDRLEN + size ||
            memcmp((const char *) attribute + NLA_HDRLEN, text, size) != 0)
                return false;
        *at += NLA_HDRLEN + NLMSG_ALIGN(size);
        return true;
}

/* Every message has the table's name as its first attribute, and then the chain's where it is of one. */
static bool concerns_us(const struct nlmsghdr *header)
{
        const size_t begin = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
        uint16_t type = header->nlmsg_type;
        size_t at = begin;

        if (type == NFT_TYPE(NFT_MSG_NEWCHAIN) || type == NFT_TYPE(NFT_MSG_DELRULE))
                if (attribute_is(header, &at, FILTER_TABLE) && attribute_is(header, &at, FORWARD_CHAIN))
                        return true;
        if (type != NFT_TYPE(NFT_MSG_DELTABLE) && type != NFT_TYPE(NFT_MSG_DELCHAIN) &&
            type != NFT_TYPE(NFT_MSG_DELRULE))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
                at = begin;
                if (attribute_is(header, &at, tables[i]))
                        return true;
        }
        return false;
}

static void watch_ready(NetSource *source, uint32_t events, int64_t now)
{
        static char buffer[65536] __attribute__((aligned(8)));
        ssize_t n;
        (void) events;

        while ((n = recv(source->fd, buffer, sizeof(buffer), MSG_DONTWAIT)) != 0) {
                if (n < 0 && errno == ENOBUFS) { /* something was missed */
                        source->due_ns = now + PAUSE_NS;
                        continue;
                }
                if (n < 0)
                        return;
                size_t left = (size_t) n;
                for (const struct nlmsghdr *header = (void *) buffer; NLMSG_OK(header, left);
                     header = NLMSG_NEXT(header, left))
                        if (concerns_us(header))
                                source->due_ns = now + PAUSE_NS;
        }
}

/* Lets through what begins with a removal, a table or a chain: a batch is one packet, and one that removes a table
 * begins with its rules, sets or chains. */
static int filter(int fd)
{
#define TYPE_OF(message) htons_constant(NFT_TYPE(message))
#define htons_constant(x) ((uint16_t) ((((x) & 0xff) << 8) | (((x) >> 8) & 0xff)))
        static const struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE_OF(NFT_MSG_DELTABLE), 6, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE_OF(NFT_MSG_DELCHAIN), 5, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE_OF(NFT_MSG_DELRULE), 4, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE_OF(NFT_MSG_DELSET), 3, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE_OF(NFT_MSG_NEWTABLE), 2, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE_OF(NFT_MSG_NEWCHAIN), 1, 0),
                BPF_STMT(BPF_RET | BPF_K, 0),
                BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        };
        const struct sock_fprog program = { ARRAY_SIZE(code), (struct sock_filter *) code };

        return __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ ||
                               setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0
                       ? 0
                       : -errno;
}

int monitor_watch_start(MonitorNet *net)
{
        const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 << (NFNLGRP_NFTABLES - 1) };
        CLEANUP_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
        CLEANUP_FREE NetSource *source = calloc(1, sizeof(*source));

        if (fd < 0 || filter(fd) < 0 || bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        if (!source)
                return -ENOMEM;
        source->ready = watch_ready;
        source->due = watch_due;
        source->destroy = watch_destroy;
        int r = net_source_add(net, source, TAKE_FD(fd), EPOLLIN);
        if (r >= 0)
                TAKE_PTR(source);
        return r;
}
