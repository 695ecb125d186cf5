/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attaching by WebSocket: a worker that outlives this process stands between the client and a plain stream, which is
 * attached as any other. */
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-bridge.h"
#include "engine-private.h"

static int run_bridge(void *userdata, int result_fd)
{
        fd_close(result_fd);
        return bridge_run(userdata);
}

/* Starts a worker for the client. *ret_stream_fd is the caller's end of the plain stream. */
static int bridge_start(Engine *engine, Bridge *bridge, Buffer *received, int *ret_stream_fd)
{
        int fds[2];
        int r = bridge_feed(bridge, received);

        buffer_clear(received);
        if (r >= 0)
                r = socket_pair(SOCK_STREAM, fds);
        if (r < 0)
                return r;
        CLEANUP_CLOSE int ours = fds[0], theirs = fds[1];
        const int keep[2] = { bridge->client_fd, theirs };
        const WorkerJob job = {
                .run = run_bridge, .userdata = bridge, .keep_fds = keep, .n_keep_fds = 2, .detached = true
        };

        bridge->stream_fd = theirs;
        r = fd_set_nonblock(ours, true);
        if (r >= 0)
                r = fd_set_nonblock(theirs, true);
        if (r >= 0)
                r = engine_worker_start(engine, &job);
        if (r >= 0)
                *ret_stream_fd = TAKE_FD(ours);
        return r;
}

int container_attach_websocket(Container *container, const ContainerAttach *attach, bool text, int fd, Buffer *received,
                               Error *error)
{
        CLEANUP_BRIDGE Bridge bridge = { .client_fd = fd,
                                         .opcode = text ? WEBSOCKET_TEXT : WEBSOCKET_BINARY,
                                         .lasting = attach->standard_input &&
                                                    json_get_bool(container_config(container), "StdinOnce") };
        Buffer nothing = { 0 };
        int stream_fd;
        int r = bridge_start(container->engine, &bridge, received, &stream_fd);

        return r < 0 ? r : container_attach(container, attach, stream_fd, &nothing, error);
}

int container_logs_websocket(Container *container, const ContainerLogs *logs, bool text, int fd, Buffer *received)
{
        CLEANUP_BRIDGE Bridge bridge = { .client_fd = fd, .opcode = text ? WEBSOCKET_TEXT : WEBSOCKET_BINARY };
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        int r = bridge_start(container->engine, &bridge, received, &stream.fd);

        return r < 0 ? r : container_logs(container, logs, &stream);
}
