/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trees that nothing names any more are removed by processes that outlive the engine and that nobody waits for. Each
 * holds one end of a socket and says there when it is through; one that is gone without a word was killed, and another
 * takes its place. Where the engine ended first, its next start finds what is left. */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "berth/file.h"
#include "berth/log.h"
#include "engine-private.h"

/* A tree of fewer entries is removed faster than a process is made for it. */
#define INLINE_MAX 128u
/* Of processes in a row: whatever ends them so often has to be over first. */
#define DEATHS_MAX 10u
#define REMOVER_NICE 5
/* Who removes one image often removes the next: what is on disk of them goes together, so long after the last of them,
 * or the first. */
#define SETTLE_US (UINT64_C(200) * 1000)
#define SETTLE_LATEST_US (UINT64_C(1000) * 1000)

struct Removal {
        LIST_ENTRY(Removal) link;
        Engine *engine;
        char **paths; /* owned */
        unsigned deaths;
        int fd;                  /* owned; the process's word, or its end */
        sd_event_source *source; /* owned */
};

static void removal_free(Removal *removal)
{
        LIST_REMOVE(removal, link);
        sd_event_source_disable_unref(removal->source);
        fd_close(removal->fd);
        strv_free(removal->paths);
        free(removal);
}

static int run(void *userdata, int result_fd)
{
        char *const *paths = userdata;
        int r = 0;

        /* Nobody waits for it, but somebody may for what runs beside it. */
        (void) setpriority(PRIO_PROCESS, 0, REMOVER_NICE);
        for (; paths && *paths; paths++)
                r = MIN(r, path_remove_tree_at(AT_FDCWD, *paths));
        /* What cannot be removed now is no reason to begin anew. */
        (void) fd_write_all(result_fd, ".", 1);
        return r;
}

static int on_word(sd_event_source *source, int fd, uint32_t revents, void *userdata);

static int start(Removal *removal)
{
        WorkerJob job = { .run = run, .userdata = removal->paths, .detached = true, .ret_end_fd = &removal->fd };
        int r = engine_worker_start(removal->engine, &job);

        if (r >= 0)
                r = fd_set_nonblock(removal->fd, true);
        return r < 0 ? r
                     : sd_event_add_io(removal->engine->event, &removal->source, removal->fd, EPOLLIN, on_word,
                                       removal);
}

static int on_word(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        Removal *removal = userdata;
        char word;
        ssize_t n = read(fd, &word, 1);
        (void) source;
        (void) revents;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        removal->source = sd_event_source_disable_unref(removal->source);
        removal->fd = fd_close(removal->fd);
        if (n == 0 && ++removal->deaths < DEATHS_MAX) {
                int r = start(removal);

                if (r >= 0)
                        return 0;
                log_warning_errno(r, "Cannot go on removing %s", *removal->paths);
        }
        removal_free(removal);
        return 0;
}

int engine_remove_trees(Engine *engine, char **paths)
{
        Removal *removal = NULL;

        if (!paths || !*paths) {
                strv_free(paths);
                return 0;
        }
        removal = calloc(1, sizeof(*removal));
        if (!removal) {
                strv_free(paths);
                return -ENOMEM;
        }
        LIST_INSERT_HEAD(&engine->removals, removal, link);
        removal->engine = engine;
        removal->paths = paths;
        removal->fd = -EBADF;
        int r = start(removal);
        if (r < 0)
                removal_free(removal);
        return r;
}

int engine_remove_tree(Engine *engine, const char *path)
{
        CLEANUP_STRV char **paths = NULL;

        if (path_tree_count_at(AT_FDCWD, path, INLINE_MAX) < INLINE_MAX)
                return path_remove_tree_at(AT_FDCWD, path);
        int r = strv_append(&paths, path);
        return r < 0 ? r : engine_remove_trees(engine, TAKE_PTR(paths));
}

void engine_removals_free(Engine *engine)
{
        while (!LIST_EMPTY(&engine->removals))
                removal_free(LIST_FIRST(&engine->removals));
}

static bool is_being_removed(const Engine *engine, const char *path)
{
        const Removal *removal;

        LIST_FOREACH(removal, &engine->removals, link)
                if (strv_contains(removal->paths, path))
                        return true;
        return false;
}

static void sweep(Engine *engine)
{
        CLEANUP_STRV char **paths = NULL, **rest = NULL;

        if (engine->n_readers > 0)
                return;
        /* By name: what is moved there from now on may be what a worker that has yet to start reads. */
        int r = store_trash_paths(engine->store, &paths);
        for (size_t i = 0; r >= 0 && paths && paths[i]; i++)
                if (!is_being_removed(engine, paths[i]))
                        r = strv_append(&rest, paths[i]);
        if (r >= 0)
                r = engine_remove_trees(engine, TAKE_PTR(rest));
        if (r < 0)
                log_warning_errno(r, "Cannot remove layers that are no longer used");
}

static void settle(Engine *engine)
{
        int r = store_settle(engine->store);

        if (r < 0)
                log_warning_errno(r, "Cannot take from the disk what was removed, and try again later");
        sweep(engine);
}

static int on_settle(sd_event_source *source, uint64_t usec, void *userdata)
{
        Engine *engine = userdata;
        (void) source;
        (void) usec;

        engine->settle = sd_event_source_disable_unref(engine->settle);
        settle(engine);
        engine_job_end(engine);
        return 0;
}

void engine_sweep(Engine *engine)
{
        if (store_is_settled(engine->store)) {
                sweep(engine);
                return;
        }
        uint64_t now = 0;
        (void) sd_event_now(engine->event, CLOCK_MONOTONIC, &now);
        if (engine->settle) {
                (void) sd_event_source_set_time(engine->settle, MIN(now + SETTLE_US, engine->settle_latest_us));
                return;
        }
        engine->settle_latest_us = now + SETTLE_LATEST_US;
        if (sd_event_add_time(engine->event, &engine->settle, CLOCK_MONOTONIC, now + SETTLE_US, 0, on_settle, engine) <
            0)
                settle(engine);
        else
                engine_job_begin(engine);
}

void engine_settle_free(Engine *engine)
{
        if (!engine->settle)
                return;
        engine->settle = sd_event_source_disable_unref(engine->settle);
        settle(engine);
}
