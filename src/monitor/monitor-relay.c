/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Published ports as far as the kernel does not lead them to the container: what comes by IPv6 for a container that has
 * none, what is sent to [::1], and everything while the firewall's table is away. Connections are joined by two
 * buffers; datagrams by a socket for each client, which is forgotten when it has been silent for a while. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "berth/cleanup.h"
#include "berth/string.h"
#include "monitor-net.h"

#define BUFFER_SIZE (32u * 1024)
#define RELAYED_MAX 4096u
#define FLOW_PATIENCE_NS (60 * 1000000000LL)
#define DATAGRAM_MAX 65536u
#define DATAGRAMS_AT_ONCE 64

typedef struct Listener {
        NetSource source;
        struct sockaddr_storage target;
        socklen_t n_target;
        int type, protocol;
        LIST_HEAD(, Flow) flows;
} Listener;

/* One direction: what was read and not yet written. */
typedef struct Half {
        char *buffer;
        size_t begin, end;
        bool ended, told; /* the reader's end came; the writer was told */
} Half;

typedef struct Side {
        NetSource source;
        struct Joint *joint;
        Half out; /* what is to be written to this side */
} Side;

typedef struct Joint {
        Side sides[2]; /* the client's, the container's */
        bool connected;
        unsigned open; /* sides that are not destroyed */
} Joint;

typedef struct Flow {
        NetSource source; /* connected to the container */
        LIST_ENTRY(Flow) link;
        Listener *listener;
        struct sockaddr_storage client;
        socklen_t n_client;
        int64_t used_ns;
} Flow;

/* --- Connections ----------------------------------------------------------------------------------------------------
 */

static void side_destroy(NetSource *source)
{
        Side *side = (Side *) source;
        Joint *joint = side->joint;

        free(TAKE_PTR(side->out.buffer));
        if (--joint->open > 0)
                return;
        source->net->n_relayed--;
        free(joint);
}

static void joint_close(Joint *joint, bool reset)
{
        const struct linger linger = { .l_onoff = 1 };

        for (size_t i = 0; i < ARRAY_SIZE(joint->sides); i++) {
                if (reset && joint->sides[i].source.fd >= 0)
                        (void) setsockopt(joint->sides[i].source.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
                net_source_close(&joint->sides[i].source);
        }
}

/* Reads from one side and writes to the other as far as both go. False when the connection is broken. */
static bool pump(Side *from, Side *to)
{
        Half *half = &to->out;

        for (;;) {
                if (half->begin == half->end && !half->ended) {
                        ssize_t n = recv(from->source.fd, half->buffer, BUFFER_SIZE, MSG_DONTWAIT);
                        if (n < 0)
                                return errno == EAGAIN || errno == EINTR;
                        half->begin = 0;
                        half->end = (size_t) n;
                        half->ended = n == 0;
                }
                if (half->begin < half->end) {
                        ssize_t n = send(to->source.fd, half->buffer + half->begin, half->end - half->begin,
                                         MSG_DONTWAIT | MSG_NOSIGNAL);
                        if (n < 0)
                                return errno == EAGAIN || errno == EINTR;
                        half->begin += (size_t) n;
                        continue;
                }
                if (half->ended && !half->told) {
                        half->told = true;
                        (void) shutdown(to->source.fd, SHUT_WR);
                }
                return true;
        }
}

static uint32_t wanted(const Joint *joint, size_t i)
{
        const Half *in = &joint->sides[1 - i].out, *out = &joint->sides[i].out;

        if (!joint->connected)
                return i == 1 ? EPOLLOUT : 0;
        return (in->begin == in->end && !in->ended ? EPOLLIN : 0) | (out->begin < out->end ? EPOLLOUT : 0);
}

static void side_ready(NetSource *source, uint32_t events, int64_t now)
{
        Joint *joint = ((Side *) source)->joint;
        (void) now;

        if (!joint->connected) {
                int error = 0;
                socklen_t size = sizeof(error);
                (void) getsockopt(joint->sides[1].source.fd, SOL_SOCKET, SO_ERROR, &error, &size);
                if (error != 0 || (events & (EPOLLERR | EPOLLHUP))) {
                        joint_close(joint, true);
                        return;
                }
                joint->connected = source == &joint->sides[1].source;
        }
        if (joint->connected &&
            (!pump(&joint->sides[0], &joint->sides[1]) || !pump(&joint->sides[1], &joint->sides[0]))) {
                joint_close(joint, true);
                return;
        }
        if (joint->sides[0].out.told && joint->sides[1].out.told) {
                joint_close(joint, false);
                return;
        }
        for (size_t i = 0; i < ARRAY_SIZE(joint->sides); i++)
                net_source_want(&joint->sides[i].source, wanted(joint, i));
}

static int join(MonitorNet *net, int client, int container)
{
        CLEANUP_CLOSE int first = client, second = container;
        CLEANUP_FREE Joint *joint = calloc(1, sizeof(*joint));

        if (!joint)
                return -ENOMEM;
        for (size_t i = 0; i < 2; i++) {
                Side *side = &joint->sides[i];
                side->joint = joint;
                side->source.ready = side_ready;
                side->source.destroy = side_destroy;
                side->out.buffer = malloc(BUFFER_SIZE);
                if (!side->out.buffer) {
                        free(joint->sides[0].out.buffer);
                        return -ENOMEM;
                }
        }
        int r = net_source_add(net, &joint->sides[0].source, TAKE_FD(first), 0);
        if (r < 0) {
                free(joint->sides[0].out.buffer);
                free(joint->sides[1].out.buffer);
                return r;
        }
        joint->open = 1;
        net->n_relayed++;
        Joint *kept = TAKE_PTR(joint);
        r = net_source_add(net, &kept->sides[1].source, TAKE_FD(second), EPOLLOUT);
        if (r < 0) {
                free(kept->sides[1].out.buffer);
                net_source_close(&kept->sides[0].source);
                return r;
        }
        kept->open = 2;
        return 0;
}

static void accept_all(NetSource *source, uint32_t events, int64_t now)
{
        Listener *listener = (Listener *) source;
        MonitorNet *net = source->net;
        int client;
        (void) events;
        (void) now;

        while ((client = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
                int container = net->n_relayed >= RELAYED_MAX
                                        ? -1
                                        : socket(listener->target.ss_family,
                                                 listener->type | SOCK_CLOEXEC | SOCK_NONBLOCK, listener->protocol);
                if (container < 0 ||
                    (connect(container, (struct sockaddr *) &listener->target, listener->n_target) < 0 &&
                     errno != EINPROGRESS)) {
                        if (container >= 0)
                                fd_close(container);
                        fd_close(client);
                        continue;
                }
                (void) join(net, client, container);
        }
}

/* --- Datagrams ------------------------------------------------------------------------------------------------------
 */

static char datagram[DATAGRAM_MAX];

static void flow_destroy(NetSource *source)
{
        source->net->n_relayed--;
        free(source);
}

static void flow_close(Flow *flow)
{
        LIST_REMOVE(flow, link);
        net_source_close(&flow->source);
}

static void flow_due(NetSource *source, int64_t now)
{
        Flow *flow = (Flow *) source;

        if (now - flow->used_ns >= FLOW_PATIENCE_NS)
                flow_close(flow);
        else
                source->due_ns = flow->used_ns + FLOW_PATIENCE_NS;
}

static void flow_ready(NetSource *source, uint32_t events, int64_t now)
{
        Flow *flow = (Flow *) source;
        ssize_t n;
        (void) events;

        for (int i = 0; i < DATAGRAMS_AT_ONCE && (n = recv(source->fd, datagram, sizeof(datagram), MSG_DONTWAIT)) >= 0;
             i++) {
                flow->used_ns = now;
                (void) sendto(flow->listener->source.fd, datagram, (size_t) n, MSG_DONTWAIT | MSG_NOSIGNAL,
                              (struct sockaddr *) &flow->client, flow->n_client);
        }
}

static Flow *find_flow(Listener *listener, const struct sockaddr_storage *client, socklen_t size, int64_t now)
{
        MonitorNet *net = listener->source.net;
        Flow *flow;

        LIST_FOREACH(flow, &listener->flows, link)
                if (flow->n_client == size && memcmp(&flow->client, client, size) == 0)
                        return flow;
        if (net->n_relayed >= RELAYED_MAX)
                return NULL;
        int fd = socket(listener->target.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *) &listener->target, listener->n_target) < 0)
                fd = fd_close(fd);
        flow = fd >= 0 ? calloc(1, sizeof(*flow)) : NULL;
        if (!flow) {
                fd_close(fd);
                return NULL;
        }
        flow->source.ready = flow_ready;
        flow->source.due = flow_due;
        flow->source.destroy = flow_destroy;
        if (net_source_add(net, &flow->source, fd, EPOLLIN) < 0) {
                free(flow);
                return NULL;
        }
        net->n_relayed++;
        flow->listener = listener;
        memcpy(&flow->client, client, size);
        flow->n_client = size;
        flow->source.due_ns = now + FLOW_PATIENCE_NS;
        LIST_INSERT_HEAD(&listener->flows, flow, link);
        return flow;
}

static void receive_all(NetSource *source, uint32_t events, int64_t now)
{
        Listener *listener = (Listener *) source;
        (void) events;

        for (int i = 0; i < DATAGRAMS_AT_ONCE; i++) {
                struct sockaddr_storage client;
                socklen_t size = sizeof(client);
                ssize_t n = recvfrom(source->fd, datagram, sizeof(datagram), MSG_DONTWAIT, (struct sockaddr *) &client,
                                     &size);
                if (n < 0)
                        return;
                Flow *flow = find_flow(listener, &client, size, now);
                if (!flow)
                        continue;
                flow->used_ns = now;
                (void) send(flow->source.fd, datagram, (size_t) n, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
}

/* --- Listeners ------------------------------------------------------------------------------------------------------
 */

static void listener_destroy(NetSource *source)
{
        free(source);
}

static int parse_target(Listener *listener, const char *address, unsigned port)
{
        struct sockaddr_in *four = (struct sockaddr_in *) &listener->target;
        struct sockaddr_in6 *six = (struct sockaddr_in6 *) &listener->target;

        if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
                four->sin_family = AF_INET;
                four->sin_port = htons((uint16_t) port);
                listener->n_target = sizeof(*four);
        } else if (inet_pton(AF_INET6, address, &six->sin6_addr) == 1) {
                six->sin6_family = AF_INET6;
                six->sin6_port = htons((uint16_t) port);
                listener->n_target = sizeof(*six);
        } else {
                return -EINVAL;
        }
        return 0;
}

static int add_listener(MonitorNet *net, const char *line, int fd)
{
        CLEANUP_CLOSE int owned = fd;
        CLEANUP_FREE Listener *listener = calloc(1, sizeof(*listener));
        char protocol[8], address[INET6_ADDRSTRLEN];
        unsigned port;

        if (!listener)
                return -ENOMEM;
        if (sscanf(line, "%7s %45s %u", protocol, address, &port) != 3 || port > UINT16_MAX)
                return -EINVAL;
        int r = parse_target(listener, address, port);
        if (r < 0)
                return r;
        bool datagrams = str_equal(protocol, "udp");
        listener->type = datagrams ? SOCK_DGRAM : SOCK_STREAM;
        listener->protocol = str_equal(protocol, "sctp") ? IPPROTO_SCTP : 0;
        listener->source.ready = datagrams ? receive_all : accept_all;
        listener->source.destroy = listener_destroy;
        LIST_INIT(&listener->flows);
        r = net_source_add(net, &listener->source, TAKE_FD(owned), EPOLLIN);
        if (r >= 0)
                TAKE_PTR(listener);
        return r;
}

int monitor_relay_add(MonitorNet *net, const char *lines, const int *fds, size_t n_fds)
{
        int result = 0;

        for (size_t i = 0; i < n_fds; i++) {
                int r = add_listener(net, lines ? lines : "", fds[i]);
                if (r < 0 && result == 0)
                        result = r;
                lines = lines ? strchr(lines, '\n') : NULL;
                lines = lines ? lines + 1 : NULL;
        }
        return result;
}
