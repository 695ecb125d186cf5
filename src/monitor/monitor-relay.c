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
        struct sockaddr_in four; /* family 0: none */
        struct sockaddr_in6 six;
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
        /* The host's address that the client uses, as the kernel told it and takes it back. */
        char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] __attribute__((aligned(8)));
        size_t n_control;
} Flow;

/* The container's address of the client's family, or else the other: a connection to it, under way; or -1. */
static int connect_target(const Listener *listener, const struct sockaddr_storage *client)
{
        const struct sockaddr_in6 *address = (const struct sockaddr_in6 *) client;
        bool is_four = client->ss_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&address->sin6_addr);
        bool four = listener->four.sin_family && (is_four || !listener->six.sin6_family);
        const struct sockaddr *target =
                four ? (const struct sockaddr *) &listener->four : (const struct sockaddr *) &listener->six;
        CLEANUP_CLOSE int fd =
                socket(target->sa_family, listener->type | SOCK_CLOEXEC | SOCK_NONBLOCK, listener->protocol);

        if (fd < 0 ||
            (connect(fd, target, four ? sizeof(listener->four) : sizeof(listener->six)) < 0 && errno != EINPROGRESS))
                return -1;
        return TAKE_FD(fd);
}

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
        struct sockaddr_storage address;
        socklen_t size = sizeof(address);
        int client;
        (void) events;
        (void) now;

        while ((client = accept4(source->fd, (struct sockaddr *) &address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
                int container = net->n_relayed < RELAYED_MAX ? connect_target(listener, &address) : -1;

                if (container >= 0)
                        (void) join(net, client, container);
                else
                        fd_close(client);
                size = sizeof(address);
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
                struct iovec part = { datagram, (size_t) n };
                struct msghdr message = { .msg_name = &flow->client,
                                          .msg_namelen = flow->n_client,
                                          .msg_iov = &part,
                                          .msg_iovlen = 1,
                                          .msg_control = flow->n_control > 0 ? flow->control : NULL,
                                          .msg_controllen = flow->n_control };
                flow->used_ns = now;
                (void) sendmsg(flow->listener->source.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
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
        int fd = connect_target(listener, client);
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

/* Whence the client shall be answered; by which interface is the kernel's choice. */
static void keep_address(Flow *flow, struct msghdr *message)
{
        for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
                bool six = header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO;
                bool four = header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO;

                if ((!six && !four) || CMSG_ALIGN(header->cmsg_len) > sizeof(flow->control))
                        continue;
                if (six)
                        ((struct in6_pktinfo *) CMSG_DATA(header))->ipi6_ifindex = 0;
                else
                        ((struct in_pktinfo *) CMSG_DATA(header))->ipi_ifindex = 0;
                memset(flow->control, 0, sizeof(flow->control));
                memcpy(flow->control, header, header->cmsg_len);
                flow->n_control = CMSG_ALIGN(header->cmsg_len);
                if (six == (message->msg_namelen == sizeof(struct sockaddr_in6)))
                        return; /* what fits the socket's family; IPv4 to a socket of both may bring both */
        }
}

static void receive_all(NetSource *source, uint32_t events, int64_t now)
{
        Listener *listener = (Listener *) source;
        (void) events;

        for (int i = 0; i < DATAGRAMS_AT_ONCE; i++) {
                struct sockaddr_storage client = { 0 };
                char control[256] __attribute__((aligned(8)));
                struct iovec part = { datagram, sizeof(datagram) };
                struct msghdr message = { .msg_name = &client,
                                          .msg_namelen = sizeof(client),
                                          .msg_iov = &part,
                                          .msg_iovlen = 1,
                                          .msg_control = control,
                                          .msg_controllen = sizeof(control) };
                ssize_t n = recvmsg(source->fd, &message, MSG_DONTWAIT);
                if (n < 0)
                        return;
                Flow *flow = find_flow(listener, &client, message.msg_namelen, now);
                if (!flow)
                        continue;
                keep_address(flow, &message);
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

static int parse_targets(Listener *listener, const char *four, const char *six, uint16_t port)
{
        listener->four = (struct sockaddr_in) { .sin_port = htons(port) };
        listener->six = (struct sockaddr_in6) { .sin6_port = htons(port) };
        if (inet_pton(AF_INET, four, &listener->four.sin_addr) == 1)
                listener->four.sin_family = AF_INET;
        if (inet_pton(AF_INET6, six, &listener->six.sin6_addr) == 1)
                listener->six.sin6_family = AF_INET6;
        return listener->four.sin_family || listener->six.sin6_family ? 0 : -EINVAL;
}

static int add_listener(MonitorNet *net, const char *line, int fd)
{
        CLEANUP_CLOSE int owned = fd;
        CLEANUP_FREE Listener *listener = calloc(1, sizeof(*listener));
        char protocol[8], four[INET6_ADDRSTRLEN], six[INET6_ADDRSTRLEN];
        const int on = 1;
        unsigned port;

        if (!listener)
                return -ENOMEM;
        if (sscanf(line, "%7s %45s %45s %u", protocol, four, six, &port) != 4 || port > UINT16_MAX)
                return -EINVAL;
        int r = parse_targets(listener, four, six, (uint16_t) port);
        if (r < 0)
                return r;
        bool datagrams = str_equal(protocol, "udp");
        listener->type = datagrams ? SOCK_DGRAM : SOCK_STREAM;
        listener->protocol = str_equal(protocol, "sctp") ? IPPROTO_SCTP : 0;
        listener->source.ready = datagrams ? receive_all : accept_all;
        listener->source.destroy = listener_destroy;
        LIST_INIT(&listener->flows);
        if (datagrams) {
                (void) setsockopt(owned, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
                (void) setsockopt(owned, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
        }
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

void monitor_relay_target(MonitorNet *net, const char *four, const char *six)
{
        NetSource *source;

        LIST_FOREACH(source, &net->sources, link) {
                Listener *listener = (Listener *) source;

                if (source->destroy == listener_destroy)
                        (void) parse_targets(listener, four, six, ntohs(listener->four.sin_port));
        }
}
