/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See network-netlink.h. */
#include "network-netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#define SEQUENCE 1

struct mnl_socket *netlink_open_protocol(int protocol)
{
        CLEANUP_NETLINK struct mnl_socket *socket = mnl_socket_open2(protocol, SOCK_CLOEXEC);

        if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
                return NULL;
        return TAKE_PTR(socket);
}

struct mnl_socket *netlink_open(void)
{
        return netlink_open_protocol(NETLINK_ROUTE);
}

void *netlink_begin(NetlinkRequest *request, uint16_t type, uint16_t flags, size_t size)
{
        memset(request, 0, sizeof(*request));
        struct nlmsghdr *header = mnl_nlmsg_put_header(request->bytes);
        header->nlmsg_type = type;
        header->nlmsg_flags = NLM_F_REQUEST | flags;
        header->nlmsg_seq = SEQUENCE;
        return mnl_nlmsg_put_extra_header(header, size);
}

static int exchange(struct mnl_socket *socket, NetlinkRequest *request, mnl_cb_t each, void *userdata)
{
        char buffer[16384];

        if (mnl_socket_sendto(socket, &request->header, request->header.nlmsg_len) < 0)
                return -errno;
        for (;;) {
                ssize_t n = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                int r = mnl_cb_run(buffer, (size_t) n, SEQUENCE, mnl_socket_get_portid(socket), each, userdata);
                if (r < 0)
                        return -errno;
                if (r == MNL_CB_STOP)
                        return 0;
        }
}

int netlink_call(struct mnl_socket *socket, NetlinkRequest *request)
{
        request->header.nlmsg_flags |= NLM_F_ACK;
        return exchange(socket, request, NULL, NULL);
}

int netlink_dump(struct mnl_socket *socket, NetlinkRequest *request, mnl_cb_t each, void *userdata)
{
        request->header.nlmsg_flags |= NLM_F_DUMP;
        return exchange(socket, request, each, userdata);
}

int netlink_inside(int namespace_fd, int (*function)(void *userdata), void *userdata)
{
        CLEANUP_CLOSE int host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

        if (host < 0 || setns(namespace_fd, CLONE_NEWNET) < 0)
                return -errno;
        int r = function(userdata);
        return setns(host, CLONE_NEWNET) < 0 ? -errno : r;
}

/* --- nf_tables ------------------------------------------------------------------------------------------------------
 */

void nft_message(NetlinkRequest *message, uint16_t type, uint16_t flags, uint8_t family)
{
        struct nfgenmsg *general =
                netlink_begin(message, (uint16_t) (NFNL_SUBSYS_NFTABLES << 8 | type), flags, sizeof(*general));

        general->nfgen_family = family;
        general->version = NFNETLINK_V0;
}

static void append(NftBatch *batch, NetlinkRequest *message)
{
        message->header.nlmsg_seq = ++batch->sequence;
        int r = buffer_append(&batch->bytes, message->bytes, MNL_ALIGN(message->header.nlmsg_len));
        if (batch->result == 0)
                batch->result = r;
}

static void mark(NftBatch *batch, uint16_t type)
{
        NetlinkRequest message;
        struct nfgenmsg *general = netlink_begin(&message, type, 0, sizeof(*general));

        general->version = NFNETLINK_V0;
        general->res_id = htons(NFNL_SUBSYS_NFTABLES);
        append(batch, &message);
}

void nft_batch_begin(NftBatch *batch)
{
        *batch = (NftBatch) { 0 };
        mark(batch, NFNL_MSG_BATCH_BEGIN);
}

void nft_batch_add(NftBatch *batch, NetlinkRequest *message)
{
        append(batch, message);
}

/* What the kernel said of each message that it has anything to say of; all of it is there once the batch was sent. */
static int read_failures(struct mnl_socket *socket)
{
        char buffer[16384];
        int result = 0;
        ssize_t n;

        while ((n = recv(mnl_socket_get_fd(socket), buffer, sizeof(buffer), MSG_DONTWAIT)) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? result : errno == ENOBUFS && result < 0 ? result : -errno;
                int left = (int) n;
                for (struct nlmsghdr *header = (void *) buffer; mnl_nlmsg_ok(header, left);
                     header = mnl_nlmsg_next(header, &left)) {
                        const struct nlmsgerr *error = mnl_nlmsg_get_payload(header);
                        if (header->nlmsg_type == NLMSG_ERROR && error->error < 0 && result == 0)
                                result = error->error;
                }
        }
        return result;
}

int nft_batch_commit(NftBatch *batch)
{
        CLEANUP_NETLINK struct mnl_socket *socket = netlink_open_protocol(NETLINK_NETFILTER);
        int size;

        mark(batch, NFNL_MSG_BATCH_END);
        if (!socket)
                return -errno;
        if (batch->result < 0)
                return batch->result;
        size = (int) (2 * batch->bytes.size + 65536);
        (void) setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
        if (mnl_socket_sendto(socket, batch->bytes.data, batch->bytes.size) < 0)
                return -errno;
        return read_failures(socket);
}

void nft_batch_clear(NftBatch *batch)
{
        buffer_clear(&batch->bytes);
}
