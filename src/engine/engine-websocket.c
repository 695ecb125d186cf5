/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attaching by WebSocket: a worker that outlives this process stands between the client and a plain stream, which is
 * attached as any other. */
#include "berth/file.h"
#include "berth/json.h"
#include "engine-bridge.h"
#include "engine-private.h"

int container_attach_websocket(Container *container, const ContainerAttach *attach, bool text, int fd, Buffer *received,
                               const Buffer *answer, Error *error)
{
        CLEANUP_BRIDGE Bridge bridge = { .client_fd = fd,
                                         .stream_fd = -EBADF,
                                         .opcode = text ? WEBSOCKET_TEXT : WEBSOCKET_BINARY,
                                         .lasting = attach->standard_input &&
                                                    json_get_bool(container_config(container), "StdinOnce") };
        Buffer nothing = { 0 };
        int stream_fd;
        int r = bridge_open(&bridge, answer, received, &stream_fd);

        if (r < 0)
                return r;
        /* Its input may end with its first client: a container that runs is not to get one that is none. */
        if (container_is_running(container)) {
                r = bridge_start(container->engine, &bridge);
                if (r >= 0)
                        return container_attach(container, attach, stream_fd, &nothing, &nothing, error);
                fd_close(stream_fd);
                return r;
        }
        int attached = container_attach(container, attach, stream_fd, &nothing, &nothing, error);
        r = bridge_start(container->engine, &bridge);
        if (r < 0)
                container_forget_attach(container, stream_fd);
        return r < 0 ? r : attached;
}

int container_logs_websocket(Container *container, const ContainerLogs *logs, bool text, int fd, Buffer *received,
                             const Buffer *answer)
{
        CLEANUP_BRIDGE Bridge bridge = { .client_fd = fd,
                                         .stream_fd = -EBADF,
                                         .opcode = text ? WEBSOCKET_TEXT : WEBSOCKET_BINARY };
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        int r = bridge_open(&bridge, answer, received, &stream.fd);

        if (r >= 0)
                r = bridge_start(container->engine, &bridge);
        return r < 0 ? r : container_logs(container, logs, &stream);
}
