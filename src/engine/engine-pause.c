/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pausing: the container's group is frozen (Linux Documentation/admin-guide/cgroup-v2.rst, cgroup.freeze) until it is
 * unpaused. That it is paused is in the volatile state before the group is frozen, and until it is thawed, so that the
 * next daemon, which freezes what its state calls paused, never disagrees with the kernel for long.
 *
 * Freezing takes as long as the last process takes to get to a place where it can be held: a Pause waits for the
 * kernel's word, which comes as an event on cgroup.events. */
#include <fcntl.h>
#include <sys/epoll.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define PAUSE_TIMEOUT_US (10 * 1000000ull)

typedef struct Pause {
        Engine *engine;
        char id[ID_LENGTH + 1]; /* the container may be gone before the answer */
        int fd;                 /* cgroup.events */
        sd_event_source *changed, *deadline;
        EngineDone done;
        void *userdata;
} Pause;

static void pause_free(Pause *pause)
{
        sd_event_source_disable_unref(pause->changed);
        sd_event_source_disable_unref(pause->deadline);
        fd_close(pause->fd);
        free(pause);
}

static int write_freeze(const Container *container, const char *state)
{
        CLEANUP_FREE char *scope = container_scope_path(container);
        CLEANUP_FREE char *path = scope ? path_join(scope, "payload/cgroup.freeze") : NULL;

        return path ? file_write_kernel(path, state) : -ENOMEM;
}

static int set_paused(Container *container, bool paused)
{
        container->paused = paused;
        return container_save_state(container);
}

void container_pause_restore(Container *container)
{
        if (container->paused)
                write_freeze(container, "1");
}

bool container_is_paused(const Container *container)
{
        return container_is_running(container) && container->paused;
}

static int undo(Container *container)
{
        int r = write_freeze(container, "0");

        if (r == -ENOENT) /* it has ended */
                r = 0;
        return r < 0 ? r : set_paused(container, false);
}

static void pause_finish(Pause *pause, int result, const char *problem)
{
        Engine *engine = pause->engine;
        Container *container = engine_container_by_id(engine, pause->id);
        CLEANUP_ERROR Error error = { 0 };

        if (!container)
                result = error_set(&error, OUTCOME_NOT_FOUND, "No such container: %s", pause->id);
        else if (result < 0) {
                undo(container);
                result = error_set(&error, OUTCOME_FAILED, "cannot pause container %s: %s", pause->id, problem);
        } else
                container_event_emit(container, "pause", NULL);
        if (container)
                container_forget_caller(container);
        pause->done(result, &error, pause->userdata);
        pause_free(pause);
        engine_job_end(engine);
}

/* 1 once the group is frozen or empty. */
static int is_held(int fd)
{
        char text[256];
        ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

        if (n < 0)
                return errno == ENODEV ? 1 : -errno;
        text[n] = 0;
        return strstr(text, "frozen 1") || strstr(text, "populated 0");
}

static int on_changed(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        int r = is_held(fd);
        (void) source;
        (void) revents;

        if (r != 0)
                pause_finish(userdata, r < 0 ? r : 0, r < 0 ? strerror(-r) : "");
        return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void) source;
        (void) usec;
        pause_finish(userdata, -ETIMEDOUT, "its processes cannot be held");
        return 0;
}

static int watch(Pause *pause, const Container *container)
{
        CLEANUP_FREE char *scope = container_scope_path(container);
        CLEANUP_FREE char *path = scope ? path_join(scope, "payload/cgroup.events") : NULL;
        sd_event *event = container->engine->event;

        if (!path)
                return -ENOMEM;
        pause->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (pause->fd < 0)
                return -errno;
        int r = sd_event_add_io(event, &pause->changed, pause->fd, EPOLLPRI, on_changed, pause);
        return r < 0 ? r
                     : sd_event_add_time_relative(event, &pause->deadline, CLOCK_MONOTONIC, PAUSE_TIMEOUT_US, 0,
                                                  on_deadline, pause);
}

static int begin(Container *container, EngineDone done, void *userdata)
{
        Pause *pause = calloc(1, sizeof(*pause));

        if (!pause)
                return -ENOMEM;
        *pause = (Pause) { .engine = container->engine, .fd = -EBADF, .done = done, .userdata = userdata };
        memcpy(pause->id, container->id, sizeof(pause->id));
        int r = watch(pause, container);
        if (r >= 0)
                r = set_paused(container, true);
        if (r >= 0)
                r = write_freeze(container, "1");
        if (r < 0) {
                set_paused(container, false);
                pause_free(pause);
                return r;
        }
        engine_job_begin(container->engine);
        container_note_caller(container);
        r = is_held(pause->fd);
        if (r > 0)
                pause_finish(pause, 0, "");
        return 0;
}

static int pause_refusal(const Container *container, Error *error)
{
        if (container->restarting)
                return container_restarting_refusal(container, error);
        if (!container_is_running(container))
                return container_not_running(container, error);
        if (container->paused)
                return error_set(error, OUTCOME_CONFLICT, "container %s is already paused", container->id);
        return 0;
}

void container_pause_end(Container *container)
{
        if (container_is_paused(container) && undo(container) >= 0)
                container_event_emit(container, "unpause", NULL);
}

void container_pause(Container *container, EngineDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = pause_refusal(container, &error);

        if (r == 0)
                r = begin(container, done, userdata);
        if (r != 0)
                done(r, &error, userdata);
}

int container_unpause(Container *container, Error *error)
{
        if (!container_is_paused(container))
                return error_set(error, OUTCOME_FAILED, "Container %s is not paused", container->id);
        int r = undo(container);
        if (r < 0)
                return error_set(error, OUTCOME_FAILED, "Cannot unpause container %s: %s", container->id, strerror(-r));
        container_event_emit(container, "unpause", NULL);
        return 0;
}
