/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-net.h. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "berth/cleanup.h"
#include "monitor-net.h"

#define EVENTS_MAX 32

int monitor_net_init(MonitorNet *net, const char *notify)
{
        *net = (MonitorNet) { .epoll = -EBADF, .notify = notify };
        LIST_INIT(&net->sources);
        LIST_INIT(&net->closed);
        return 0;
}

static int open_epoll(MonitorNet *net)
{
        struct rlimit files;

        if (net->epoll >= 0)
                return 0;
        net->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (net->epoll < 0)
                return -errno;
        /* A descriptor for each connection that passes through here. */
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &files);
        }
        return 0;
}

int net_source_add(MonitorNet *net, NetSource *source, int fd, uint32_t events)
{
        struct epoll_event event = { .events = events, .data.ptr = source };
        CLEANUP_CLOSE int owned = fd;
        int r = open_epoll(net);

        if (r < 0)
                return r;
        if (epoll_ctl(net->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
                return -errno;
        source->net = net;
        source->fd = TAKE_FD(owned);
        source->events = events;
        source->due_ns = INT64_MAX;
        LIST_INSERT_HEAD(&net->sources, source, link);
        return 0;
}

void net_source_want(NetSource *source, uint32_t events)
{
        struct epoll_event event = { .events = events, .data.ptr = source };

        if (source->fd < 0 || source->events == events)
                return;
        source->events = events;
        (void) epoll_ctl(source->net->epoll, EPOLL_CTL_MOD, source->fd, &event);
}

void net_source_close(NetSource *source)
{
        if (source->fd < 0)
                return;
        source->fd = fd_close(source->fd);
        LIST_REMOVE(source, link);
        LIST_INSERT_HEAD(&source->net->closed, source, link);
}

static void free_closed(MonitorNet *net)
{
        NetSource *source;

        while ((source = LIST_FIRST(&net->closed))) {
                LIST_REMOVE(source, link);
                source->destroy(source);
        }
}

void monitor_net_deinit(MonitorNet *net)
{
        while (!LIST_EMPTY(&net->sources))
                net_source_close(LIST_FIRST(&net->sources));
        free_closed(net);
        if (net->resolver)
                monitor_resolver_free(TAKE_PTR(net->resolver));
        net->epoll = fd_close(net->epoll);
}

int64_t monitor_net_due(const MonitorNet *net)
{
        const NetSource *source;
        int64_t due = INT64_MAX;

        LIST_FOREACH(source, &net->sources, link)
                due = MIN(due, source->due_ns);
        return due;
}

void monitor_net_dispatch(MonitorNet *net, int64_t now)
{
        struct epoll_event events[EVENTS_MAX];
        NetSource *source, *next;
        int n = net->epoll < 0 ? 0 : epoll_wait(net->epoll, events, EVENTS_MAX, 0);

        for (int i = 0; i < n; i++) {
                source = events[i].data.ptr;
                if (source->fd >= 0)
                        source->ready(source, events[i].events, now);
        }
        for (source = LIST_FIRST(&net->sources); source; source = next) {
                next = LIST_NEXT(source, link);
                if (source->due_ns <= now) {
                        source->due_ns = INT64_MAX;
                        source->due(source, now);
                        break; /* others may be gone with it: the loop comes back at once */
                }
        }
        free_closed(net);
}
