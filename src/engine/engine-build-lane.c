/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How berthd hears a build's processes and answers them. A worker that builds stages side by side has a lane for each;
 * it keeps one end, or a process that it makes does, and berthd the other. */
#include <sys/epoll.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-build.h"

void build_lane_init(BuildLane *lane, Build *build)
{
        *lane = (BuildLane) { .build = build, .fd = -EBADF, .pull_fd = -EBADF };
        LIST_INIT(&lane->containers);
}

void build_lane_clear(BuildLane *lane)
{
        build_pull_stop(lane);
        build_remove_all(lane);
        lane->source = sd_event_source_disable_unref(lane->source);
        lane->fd = fd_close(lane->fd);
        buffer_clear(&lane->in);
}

static void lane_free(BuildLane *lane)
{
        build_lane_clear(lane);
        LIST_REMOVE(lane, link);
        free(lane);
}

void build_lanes_clear(Build *build)
{
        while (!LIST_EMPTY(&build->lanes))
                lane_free(LIST_FIRST(&build->lanes));
        build_lane_clear(&build->own);
}

static int on_lane(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        BuildLane *lane = userdata;
        ssize_t n = buffer_read(&lane->in, fd, 65536);
        size_t size;
        (void) source;
        (void) revents;

        if (n == -EAGAIN || n == -EINTR)
                return 0;
        while (buffer_line(&lane->in, &size)) {
                build_request(lane, lane->in.data, size);
                buffer_consume(&lane->in, size + 1);
        }
        if (n <= 0)
                lane_free(lane);
        return 0;
}

static int lane_new(Build *build, int *ret_fd)
{
        BuildLane *lane = calloc(1, sizeof(*lane));
        int fds[2], r = lane ? socket_pair(SOCK_STREAM, fds) : -ENOMEM;

        if (r < 0) {
                free(lane);
                return r;
        }
        build_lane_init(lane, build);
        LIST_INSERT_HEAD(&build->lanes, lane, link);
        lane->fd = fds[0];
        fd_set_nonblock(lane->fd, true);
        r = sd_event_add_io(build->engine->event, &lane->source, lane->fd, EPOLLIN, on_lane, lane);
        if (r < 0) {
                lane_free(lane);
                fd_close(fds[1]);
                return r;
        }
        *ret_fd = fds[1];
        return 0;
}

void build_lane(BuildLane *lane, const json_t *request)
{
        CLEANUP_CLOSE int fd = -EBADF;
        int r = lane_new(lane->build, &fd);
        (void) request;

        if (r < 0)
                build_fail(lane, r, &(Error) { 0 });
        else
                build_reply_fd(lane, json_object(), fd);
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static int lane_send(const BuildLane *lane, json_t *message, int fd)
{
        CLEANUP_JSON json_t *owned = message;
        CLEANUP_FREE char *line = json_line(owned);

        if (!line)
                return -ENOMEM;
        if (lane->fd < 0)
                return worker_send_fd(lane->build->worker, line, fd);
        if (fd >= 0)
                return socket_send_fds(lane->fd, line, strlen(line), &fd, 1);
        ssize_t n = send(lane->fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
        return n < 0 ? -errno : (size_t) n == strlen(line) ? 0 : -EMSGSIZE;
}

void build_reply(BuildLane *lane, json_t *reply)
{
        build_reply_fd(lane, reply, -EBADF);
}

/* A process of the worker's may be at its end, which is for the worker to see. */
void build_reply_fd(BuildLane *lane, json_t *reply, int fd)
{
        Worker *worker = lane->build->worker;

        if (!worker) {
                json_decref(reply);
                return;
        }
        int r = lane_send(lane, reply, fd);
        /* A worker that doesn't read is of no use any more. */
        if (r < 0 && !(lane->fd >= 0 && (r == -EPIPE || r == -ECONNRESET)))
                worker_kill(worker);
}

void build_tell(BuildLane *lane, json_t *message)
{
        if (!lane->build->worker)
                json_decref(message);
        else if (lane_send(lane, message, -EBADF) == -EMSGSIZE)
                worker_kill(lane->build->worker);
}

void build_fail(BuildLane *lane, int r, const Error *error)
{
        const char *text = error->message ? error->message : strerror(abs(r));

        build_reply(lane, json_pack("{ss si}", "Failure", text, "Outcome", r > 0 ? r : (int) OUTCOME_FAILED));
}
