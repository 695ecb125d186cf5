/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See engine-bridge.h. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "engine-bridge.h"
#include "engine-private.h"

#define CHUNK (32u * 1024)
/* So much may wait for one side before the other is not read any more. */
#define WAITING_MAX (256u * 1024)
/* A client that was told of the end has so long to close. */
#define CLOSE_PATIENCE_MS 2000

static int bridge_close(Bridge *bridge, uint16_t reason)
{
        if (bridge->closing)
                return 0;
        bridge->closing = true;
        return bridge->plain ? 0 : websocket_append_close(&bridge->to_client, reason);
}

/* Reads once. Returns as read(2), -EAGAIN where there is nothing now. */
static ssize_t read_some(int fd, Buffer *buffer)
{
        ssize_t n = buffer_read(buffer, fd, CHUNK);

        return n == -EINTR ? -EAGAIN : n;
}

static int write_some(int fd, Buffer *buffer)
{
        if (buffer->size == 0)
                return 0;
        ssize_t n = send(fd, buffer->data, buffer->size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        buffer_consume(buffer, (size_t) n);
        return 0;
}

int bridge_feed(Bridge *bridge, const Buffer *bytes)
{
        if (bridge->plain)
                return buffer_append(&bridge->to_stream, bytes->data, bytes->size);

        int r = websocket_feed(&bridge->reader, (const uint8_t *) bytes->data, bytes->size, &bridge->to_stream,
                               &bridge->to_client);

        if (r <= 0)
                return r;
        bridge->client_ended = true;
        if (r == WEBSOCKET_BROKEN)
                return bridge_close(bridge, WEBSOCKET_PROTOCOL_ERROR);
        return bridge->lasting ? 0 : bridge_close(bridge, WEBSOCKET_NORMAL);
}

static int on_client(Bridge *bridge)
{
        CLEANUP_BUFFER Buffer bytes = { 0 };
        ssize_t n = read_some(bridge->client_fd, &bytes);

        if (n == -EAGAIN)
                return 0;
        if (n == 0 && bridge->plain) {
                bridge->client_ended = true;
                return 0;
        }
        if (n <= 0)
                return n < 0 ? (int) n : -ECONNRESET; /* without a close frame: it is gone */
        return bridge_feed(bridge, &bytes);
}

static int on_stream(Bridge *bridge)
{
        CLEANUP_BUFFER Buffer bytes = { 0 };
        ssize_t n = read_some(bridge->stream_fd, &bytes);

        if (n == -EAGAIN)
                return 0;
        if (n <= 0)
                return bridge_close(bridge, WEBSOCKET_NORMAL);
        return bridge->plain ? buffer_append(&bridge->to_client, bytes.data, bytes.size)
                             : websocket_append(&bridge->to_client, bridge->opcode, bytes.data, bytes.size);
}

static int tell_end(Bridge *bridge)
{
        if (bridge->client_ended && !bridge->input_told && bridge->to_stream.size == 0) {
                bridge->input_told = true;
                (void) shutdown(bridge->stream_fd, SHUT_WR);
        }
        return 0;
}

/* One wait, and what it brought. 1 when all was said. */
static int bridge_step(Bridge *bridge)
{
        bool room = bridge->to_client.size < WAITING_MAX && bridge->to_stream.size < WAITING_MAX;
        struct pollfd fds[2] = {
                { .fd = bridge->client_fd,
                  .events = (short) ((!bridge->client_ended && room ? POLLIN : 0) |
                                     (bridge->to_client.size > 0 ? POLLOUT : 0)) },
                { .fd = bridge->stream_fd,
                  .events = (short) ((!bridge->closing && bridge->to_client.size < WAITING_MAX ? POLLIN : 0) |
                                     (bridge->to_stream.size > 0 ? POLLOUT : 0)) },
        };
        int r = 0;

        if (bridge->closing && bridge->to_client.size == 0 && bridge->to_stream.size == 0)
                return 1;
        /* Nothing is wanted of it, and its end may be there for long. */
        if (bridge->client_ended && bridge->to_client.size == 0 && !bridge->closing &&
            (bridge->plain ? bridge->to_stream.size > 0 : bridge->lasting))
                fds[0].fd = -1;
        if (bridge->closing && bridge->to_stream.size == 0)
                fds[1].fd = -1;
        if (poll(fds, 2, -1) < 0)
                return errno == EINTR ? 0 : -errno;
        if (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) {
                if (bridge->client_ended || !room)
                        r = fds[0].revents & (POLLHUP | POLLERR) ? -ECONNRESET : 0;
                else
                        r = on_client(bridge);
        }
        if (r >= 0 && fds[1].revents & (POLLIN | POLLHUP | POLLERR) && !bridge->closing &&
            bridge->to_client.size < WAITING_MAX)
                r = on_stream(bridge);
        if (r >= 0)
                r = write_some(bridge->client_fd, &bridge->to_client);
        /* A program that reads no more does not keep its output from the client. */
        if (r >= 0 && write_some(bridge->stream_fd, &bridge->to_stream) < 0)
                buffer_clear(&bridge->to_stream);
        return r < 0 ? r : tell_end(bridge);
}

/* The client closes first, as otherwise what it has not read yet could be lost with a reset. */
static void bridge_end(const Bridge *bridge)
{
        struct pollfd closed = { .fd = bridge->client_fd, .events = POLLIN };
        char discarded[4096];

        (void) shutdown(bridge->client_fd, SHUT_WR);
        for (size_t i = 0; i < 1024 && poll(&closed, 1, CLOSE_PATIENCE_MS) > 0; i++)
                if (recv(bridge->client_fd, discarded, sizeof(discarded), MSG_DONTWAIT) <= 0)
                        break;
}

int bridge_run(Bridge *bridge)
{
        int r = 0;

        while (r == 0)
                r = bridge_step(bridge);
        if (r > 0)
                bridge_end(bridge);
        return MIN(r, 0);
}

static int run_bridge(void *userdata, int result_fd)
{
        fd_close(result_fd);
        return bridge_run(userdata);
}

int bridge_open(Bridge *bridge, const Buffer *answer, Buffer *received, int *ret_stream_fd)
{
        int fds[2];
        int r = buffer_append(&bridge->to_client, answer->data, answer->size);

        if (r >= 0)
                r = bridge_feed(bridge, received);
        buffer_clear(received);
        if (r >= 0)
                r = socket_pair(SOCK_STREAM, fds);
        if (r < 0)
                return r;
        CLEANUP_CLOSE int ours = fds[0];
        bridge->stream_fd = fds[1];
        r = fd_set_nonblock(ours, true);
        if (r >= 0)
                r = fd_set_nonblock(bridge->stream_fd, true);
        if (r >= 0)
                *ret_stream_fd = TAKE_FD(ours);
        return r;
}

int bridge_start(Engine *engine, Bridge *bridge)
{
        const int keep[2] = { bridge->client_fd, bridge->stream_fd };
        const WorkerJob job = {
                .run = run_bridge, .userdata = bridge, .keep_fds = keep, .n_keep_fds = 2, .detached = true
        };

        return engine_worker_start(engine, &job);
}

void bridge_clear(Bridge *bridge)
{
        fd_close(bridge->client_fd);
        fd_close(bridge->stream_fd);
        buffer_clear(&bridge->to_client);
        buffer_clear(&bridge->to_stream);
}
