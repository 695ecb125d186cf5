/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine's requests (include/berth/monitor.h): connections of a SOCK_SEQPACKET socket, any number of messages
 * each. */
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor-client.h"
#include "monitor-net.h"

#define MONITOR_CONNECTIONS_MAX 64

typedef struct MonitorConnection {
        int fd;          /* owned */
        int64_t hold_ns; /* no output is read until then, or until the connection ends; 0: it is */
} MonitorConnection;

typedef struct MonitorRequests {
        int listen;      /* owned; or -EBADF */
        int terminal;    /* not owned; or -EBADF */
        MonitorNet *net; /* not owned */
        const char *resolver_file;
        /* Gives the client that was added last what the log will only have later. 0 or negative errno. */
        int (*join)(void *userdata);
        void *userdata;
        MonitorConnection list[MONITOR_CONNECTIONS_MAX];
        size_t n;
} MonitorRequests;

void monitor_requests_close(MonitorRequests *requests);

/* Accepts and answers all that waits. */
void monitor_requests_serve(MonitorRequests *requests, MonitorClients *clients, MonitorInput *input);

/* Until when output is not to be read, and nothing is to be added to the log; 0: there is no such time. */
int64_t monitor_requests_hold(const MonitorRequests *requests);

/* For the event loop: room for MONITOR_CONNECTIONS_MAX + 1. Returns how many were filled. */
size_t monitor_requests_poll(const MonitorRequests *requests, struct pollfd *fds);
