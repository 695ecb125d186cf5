/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network-netlink.h"

#include <errno.h>
#include <string.h>

#define SEQUENCE 1

struct mnl_socket *netlink_open(void)
{
        CLEANUP_NETLINK struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

        if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
                return NULL;
        return TAKE_PTR(socket);
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
