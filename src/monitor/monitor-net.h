/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the monitor does on the network: published ports (monitor-relay.c), names (monitor-resolver.c), and a watch over
 * the host's packet filter (monitor-watch.c). Its descriptors are in one epoll set, which the main loop polls as one.
 *
 * A source owns its descriptor. One that is closed while events are being handled is freed after the last of them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

typedef struct NetSource NetSource;
typedef struct MonitorNet MonitorNet;

struct NetSource {
        LIST_ENTRY(NetSource) link;
        MonitorNet *net;
        int fd; /* owned; -EBADF once closed */
        uint32_t events;
        int64_t due_ns; /* INT64_MAX: never */
        void (*ready)(NetSource *source, uint32_t events, int64_t now);
        void (*due)(NetSource *source, int64_t now);
        void (*destroy)(NetSource *source); /* frees the object it is part of */
};

struct MonitorNet {
        int epoll; /* owned; -EBADF: nothing to do */
        LIST_HEAD(, NetSource) sources, closed;
        const char *notify; /* the engine's socket; borrowed */
        struct MonitorResolver *resolver;
        size_t n_relayed; /* connections and flows */
};

int monitor_net_init(MonitorNet *net, const char *notify);
/* Closes everything. */
void monitor_net_deinit(MonitorNet *net);
/* When something has to be done that no descriptor tells. */
int64_t monitor_net_due(const MonitorNet *net);
void monitor_net_dispatch(MonitorNet *net, int64_t now);

/* Adds a source, part of an object of its own. Takes FD over, also on failure; then the object is the caller's. */
int net_source_add(MonitorNet *net, NetSource *source, int fd, uint32_t events);
void net_source_want(NetSource *source, uint32_t events);
void net_source_close(NetSource *source);

/* monitor-relay.c: LINES has one for each of the bound sockets, "tcp ADDRESS PORT"; the descriptors are taken over. */
int monitor_relay_add(MonitorNet *net, const char *lines, const int *fds, size_t n_fds);

/* What arrives from now on goes to FOUR, or where that is "-" to SIX. */
void monitor_relay_target(MonitorNet *net, const char *four, const char *six);

/* monitor-resolver.c: the sockets of 127.0.0.11, which are taken over; FILE says what is known. */
int monitor_resolver_start(MonitorNet *net, const char *file, int udp, int tcp);
void monitor_resolver_free(struct MonitorResolver *resolver);

/* monitor-watch.c */
int monitor_watch_start(MonitorNet *net);
