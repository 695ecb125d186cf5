/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The clients that are attached: each is a stream socket that gets output, gives input, or both.
 *
 * Output that a client does not take at once waits in its queue, and no more output is read while any queue holds
 * something: a slow client slows the container down and loses nothing. A client that closes or fails is forgotten and
 * nobody else notices. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/buffer.h"
#include "monitor-detach.h"
#include "monitor-input.h"

#define MONITOR_CLIENTS_MAX 64

typedef struct MonitorClient {
        int fd;           /* owned */
        bool input;       /* its bytes are standard input */
        bool output[2];   /* gets standard output, standard error */
        bool framed;      /* output carries Docker's 8-byte headers */
        bool hung_up;     /* it takes no more output; what it sent before may still be to be read */
        Buffer queue;     /* output it has not taken */
        int64_t since_ns; /* since when it takes nothing */
        MonitorDetach detach;
        size_t poll_index; /* its place in the event loop's array, or SIZE_MAX */
} MonitorClient;

typedef struct MonitorClients {
        MonitorClient *list[MONITOR_CLIENTS_MAX]; /* owned */
        size_t n;
} MonitorClients;

/* FLAGS and KEYS as in the attach request. Takes FD over on success. 0 or a negative errno. */
int monitor_clients_add(MonitorClients *clients, int fd, const char *flags, const char *keys, bool terminal);
/* What the client that was added last had sent before. */
void monitor_clients_early(MonitorClients *clients, const char *data, size_t size, MonitorInput *input);
/* Output for that one alone. */
void monitor_clients_output_last(MonitorClients *clients, bool error_stream, const char *data, size_t size,
                                 int64_t now);
void monitor_clients_drop_last(MonitorClients *clients);
void monitor_clients_clear(MonitorClients *clients);

void monitor_clients_output(MonitorClients *clients, bool error_stream, const char *data, size_t size, int64_t now);

/* True while a client has not taken all of its output. */
bool monitor_clients_are_behind(const MonitorClients *clients);

/* Forgets the clients that have taken nothing since a time. */
void monitor_clients_drop_stuck(MonitorClients *clients, int64_t since_ns);

/* What to wait for on a client's socket; 0: nothing. */
short monitor_client_events(const MonitorClient *client, const MonitorInput *input);

/* Handles what came from each client. REVENTS of those not waited for is 0. */
void monitor_clients_dispatch(MonitorClients *clients, const struct pollfd *fds, MonitorInput *input, int64_t now);
