/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Base images that are not there: a pull of the engine's, whose messages go to the lane that asked for it. */
#include <sys/epoll.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-build.h"

void build_pull_stop(BuildLane *lane)
{
        lane->pull_source = sd_event_source_disable_unref(lane->pull_source);
        lane->pull_fd = fd_close(lane->pull_fd);
        buffer_clear(&lane->pull_text);
        free(TAKE_PTR(lane->pull_name));
        free(TAKE_PTR(lane->pull_error));
}

static void pull_line(BuildLane *lane, const char *text, size_t size)
{
        CLEANUP_JSON json_t *message = json_loadb(text, size, 0, NULL);
        const char *failure = json_get_string(json_get_object(message, "errorDetail"), "message");

        if (failure) {
                free(lane->pull_error);
                lane->pull_error = strdup(failure);
        } else if (message)
                build_tell(lane, json_pack("{sO}", "Progress", message));
}

static void pull_end(BuildLane *lane)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_FREE char *id = NULL;
        int r = 0;

        if (lane->pull_error)
                r = error_set(&error, OUTCOME_NOT_FOUND, "%s", lane->pull_error);
        if (r == 0)
                r = store_resolve(lane->build->engine->store, lane->pull_name, &id, &error);
        build_pull_stop(lane);
        if (r != 0)
                build_fail(lane, r, &error);
        else
                build_reply_image(lane, id);
}

static int on_pull(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        BuildLane *lane = userdata;
        ssize_t n = buffer_read(&lane->pull_text, fd, 65536);
        size_t size;
        (void) source;
        (void) revents;

        if (n == -EAGAIN || n == -EINTR)
                return 0;
        while (buffer_line(&lane->pull_text, &size)) {
                pull_line(lane, lane->pull_text.data, size);
                buffer_consume(&lane->pull_text, size + 1);
        }
        if (n <= 0)
                pull_end(lane);
        return 0;
}

/* A failure before the first message comes this way. */
static void pull_refused(Stream *stream, int result, const Error *error)
{
        const char *text = error->message ? error->message : strerror(abs(result));
        CLEANUP_JSON json_t *message = json_pack("{s{ss}}", "errorDetail", "message", text);
        CLEANUP_FREE char *line = json_dumps(message, JSON_COMPACT);

        if (line && stream_write(stream, line, strlen(line)) >= 0)
                (void) stream_write(stream, "\n", 1);
        stream_clear(stream);
}

void build_pull(BuildLane *lane, const json_t *request)
{
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        int fds[2], r = lane->pull_source ? -EBUSY : socket_pair(SOCK_STREAM, fds);

        if (r < 0) {
                build_fail(lane, r, &(Error) { 0 });
                return;
        }
        lane->pull_fd = fds[0];
        stream.fd = fds[1];
        fd_set_nonblock(lane->pull_fd, true);
        lane->pull_name = strdup(json_get_string_or(request, "Name", ""));
        r = lane->pull_name ? sd_event_add_io(lane->build->engine->event, &lane->pull_source, lane->pull_fd, EPOLLIN,
                                              on_pull, lane)
                            : -ENOMEM;
        if (r < 0) {
                build_pull_stop(lane);
                build_fail(lane, r, &(Error) { 0 });
                return;
        }
        ImagePull pull = { json_get_string(request, "Name"), "latest", json_get_string(request, "Platform"),
                           json_get_string(request, "Auth"), pull_refused };
        if (strchr(strrchr(pull.image, '/') ?: pull.image, ':') || strchr(pull.image, '@'))
                pull.tag = NULL;
        engine_image_pull(lane->build->engine, &stream, &pull);
}
