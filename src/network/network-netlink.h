/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests and answers over rtnetlink and nfnetlink. */
#pragma once

#include <libmnl/libmnl.h>

#include "berth/buffer.h"
#include "berth/cleanup.h"

DEFINE_CLEANUP(cleanup_netlink, struct mnl_socket *, mnl_socket_close)
#define CLEANUP_NETLINK CLEANUP(cleanup_netlink)

typedef struct NetlinkRequest {
        union {
                struct nlmsghdr header;
                char bytes[2048];
        };
} NetlinkRequest;

/* Opens a route socket, or one of another protocol, in the current network namespace; NULL with errno set. */
struct mnl_socket *netlink_open(void);
struct mnl_socket *netlink_open_protocol(int protocol);

/* Begins a request with a zeroed family header of SIZE bytes, which is returned. */
void *netlink_begin(NetlinkRequest *request, uint16_t type, uint16_t flags, size_t size);

/* Sends and waits for the acknowledgement. 0 or the kernel's negative errno. */
int netlink_call(struct mnl_socket *socket, NetlinkRequest *request);

/* Asks for a dump; calls EACH for every answer. */
int netlink_dump(struct mnl_socket *socket, NetlinkRequest *request, mnl_cb_t each, void *userdata);

/* Runs FUNCTION in another network namespace. */
int netlink_inside(int namespace_fd, int (*function)(void *userdata), void *userdata);

/* --- nf_tables: one transaction of many messages --------------------------------------------------------------------
 */

typedef struct NftBatch {
        Buffer bytes;
        uint32_t sequence; /* of the last message */
        int result;        /* the first failure of building it */
} NftBatch;

void nft_batch_begin(NftBatch *batch);
/* Adds MESSAGE, begun by nft_message(). */
void nft_batch_add(NftBatch *batch, NetlinkRequest *message);
/* Commits it. 0, or the first failure; then nothing of it was done. */
int nft_batch_commit(NftBatch *batch);
void nft_batch_clear(NftBatch *batch);

/* Begins a message of the nf_tables subsystem for an address family (NFPROTO_*). */
void nft_message(NetlinkRequest *message, uint16_t type, uint16_t flags, uint8_t family);
