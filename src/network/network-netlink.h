/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One request and its answer over rtnetlink. */
#pragma once

#include <libmnl/libmnl.h>

#include "berth/cleanup.h"

DEFINE_CLEANUP(cleanup_netlink, struct mnl_socket *, mnl_socket_close)
#define CLEANUP_NETLINK CLEANUP(cleanup_netlink)

typedef struct NetlinkRequest {
        union {
                struct nlmsghdr header;
                char bytes[2048];
        };
} NetlinkRequest;

/* Opens a route socket in the current network namespace; NULL with errno set. */
struct mnl_socket *netlink_open(void);

/* Begins a request with a zeroed family header of SIZE bytes, which is returned. */
void *netlink_begin(NetlinkRequest *request, uint16_t type, uint16_t flags, size_t size);

/* Sends and waits for the acknowledgement. 0 or the kernel's negative errno. */
int netlink_call(struct mnl_socket *socket, NetlinkRequest *request);

/* Asks for a dump; calls EACH for every answer. */
int netlink_dump(struct mnl_socket *socket, NetlinkRequest *request, mnl_cb_t each, void *userdata);
