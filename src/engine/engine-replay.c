/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attaching with the log first: a worker that outlives this process writes what there is of the log to the client and
 * stands between it and a plain stream from then on. While the container runs, the monitor is asked to attach that
 * stream and to read no output until the worker knows what it will take from the log; so the two meet without a gap and
 * without a line that comes twice. */
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "engine-bridge.h"
#include "engine-logs.h"

/* The monitor waits for no longer than ten seconds; later than this, something may have come between. */
#define HOLD_MAX_NS INT64_C(8000000000)
/* What may come while the log is written, before the container has to wait. */
#define STREAM_BUFFER (4 * 1024 * 1024)

typedef struct Replay {
        LogJob log;
        Bridge bridge;
        char *monitor_path, *request; /* owned; NULL: the container does not run */
        int stream_fd;                /* owned: the monitor's end */
        int monitor_fd;               /* in the worker: the request's connection, while the monitor waits */
        int64_t asked_ns;
} Replay;

static void replay_clear(Replay *replay)
{
        log_job_clear(&replay->log);
        bridge_clear(&replay->bridge);
        fd_close(replay->stream_fd);
        free(replay->monitor_path);
        free(replay->request);
}

#define CLEANUP_REPLAY CLEANUP(replay_clear)

/* --- In the worker ------------------------------------------------------------------------------------------------ */

/* What the log gives is settled: the monitor goes on. */
static int on_ready(void *userdata)
{
        Replay *replay = (Replay *) ((char *) userdata - offsetof(Replay, log));

        replay->monitor_fd = fd_close(replay->monitor_fd);
        return replay->request && time_monotonic_ns() - replay->asked_ns > HOLD_MAX_NS ? -ETIME : 0;
}

static int ask_monitor(Replay *replay)
{
        char answer[64] = "";
        ssize_t n;

        replay->asked_ns = time_monotonic_ns();
        replay->monitor_fd =
                monitor_request_send(replay->monitor_path, replay->request, strlen(replay->request), replay->stream_fd);
        if (replay->monitor_fd < 0)
                return replay->monitor_fd;
        do
                n = recv(replay->monitor_fd, answer, sizeof(answer) - 1, 0);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : str_equal(answer, "ok") ? 0 : -EIO;
}

static int run_replay(void *userdata, int result_fd)
{
        Replay *replay = userdata;
        int r = 0;

        fd_close(result_fd);
        if (replay->request)
                r = ask_monitor(replay);
        /* One that has just ended has all in its log, and no stream. */
        if (r < 0)
                log_debug("cannot attach by way of %s: %s", replay->monitor_path, strerror(-r));
        replay->stream_fd = fd_close(replay->stream_fd);
        r = log_job_write(&replay->log);
        return r < 0 ? r : bridge_run(&replay->bridge);
}

/* --- In the engine ------------------------------------------------------------------------------------------------ */

static int describe(Replay *replay, Container *container, const ContainerAttach *attach)
{
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        const ContainerLogs logs = { .standard_output = attach->standard_output,
                                     .standard_error = attach->standard_error,
                                     .raw = !attach->multiplexed,
                                     .tail = -1,
                                     /* What a run that begins meanwhile has to say comes by the stream. */
                                     .until_ns = container_is_running(container) ||
                                                                 engine_has_spool(container->engine, container->id)
                                                         ? 0
                                                         : time_now_ns() };

        stream.fd = fcntl(replay->bridge.client_fd, F_DUPFD_CLOEXEC, 3);
        if (stream.fd < 0)
                return -errno;
        log_job_init(&replay->log, container, &logs, &stream);
        replay->log.query.ready = on_ready;
        if (!container_is_running(container))
                return 0;
        CLEANUP_FREE char *request = attach_request(attach);
        replay->request = request ? str_printf("attach h%s", request + strlen("attach ")) : NULL;
        replay->monitor_path = container_runtime_path(container, MONITOR_SOCKET_NAME);
        return replay->request && replay->monitor_path ? 0 : -ENOMEM;
}

static int make_stream(Replay *replay)
{
        const int size = STREAM_BUFFER;
        int fds[2];
        int r = socket_pair(SOCK_STREAM, fds);

        if (r < 0)
                return r;
        replay->stream_fd = fds[0];
        replay->bridge.stream_fd = fds[1];
        (void) setsockopt(fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
        r = fd_set_nonblock(fds[0], true);
        if (r >= 0)
                r = fd_set_nonblock(fds[1], true);
        return r < 0 ? r : fd_set_nonblock(replay->bridge.client_fd, true);
}

int replay_start(Container *container, const ContainerAttach *attach, int fd, const Buffer *received,
                 int *ret_stream_fd)
{
        CLEANUP_REPLAY Replay replay = { .log = { .stream = STREAM_INIT },
                                         .bridge = { .client_fd = fd, .stream_fd = -EBADF, .plain = true },
                                         .stream_fd = -EBADF,
                                         .monitor_fd = -EBADF };
        int r = bridge_feed(&replay.bridge, received);

        if (r >= 0)
                r = make_stream(&replay);
        if (r >= 0)
                r = describe(&replay, container, attach);
        if (r < 0)
                return r;
        const int keep[] = { replay.bridge.client_fd, replay.log.stream.fd, replay.bridge.stream_fd, replay.stream_fd };
        const WorkerJob job = { .run = run_replay,
                                .userdata = &replay,
                                .keep_fds = keep,
                                .n_keep_fds = ARRAY_SIZE(keep),
                                .detached = true };
        r = engine_worker_start(container->engine, &job);
        if (r >= 0)
                *ret_stream_fd = replay.request ? -EBADF : TAKE_FD(replay.stream_fd);
        return r;
}
