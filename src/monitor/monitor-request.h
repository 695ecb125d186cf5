/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine's requests (include/berth/monitor.h): connections of a SOCK_SEQPACKET socket, any number of messages
 * each. */
#pragma once

#include <poll.h>
#include <stddef.h>

#include "monitor-client.h"
#include "monitor-net.h"

#define MONITOR_CONNECTIONS_MAX 64

typedef struct MonitorRequests {
        int listen;      /* owned; or -EBADF */
        int terminal;    /* not owned; or -EBADF */
        MonitorNet *net; /* not owned */
        const char *resolver_file;
        int list[MONITOR_CONNECTIONS_MAX]; /* owned */
        size_t n;
} MonitorRequests;

void monitor_requests_close(MonitorRequests *requests);

/* Accepts and answers all that waits. */
void monitor_requests_serve(MonitorRequests *requests, MonitorClients *clients, MonitorInput *input);

/* For the event loop: room for MONITOR_CONNECTIONS_MAX + 1. Returns how many were filled. */
size_t monitor_requests_poll(const MonitorRequests *requests, struct pollfd *fds);
