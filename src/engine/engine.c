/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine as a whole: opening, closing, and whether anything still needs the process. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/log.h"
#include "berth/spool.h"
#include "engine-build.h"
#include "engine-spare.h"

void engine_set_activity(Engine *engine, void (*activity)(void *userdata), void *userdata)
{
        engine->activity = activity;
        engine->activity_userdata = userdata;
}

bool engine_busy(const Engine *engine)
{
        return engine->n_jobs > 0;
}

static void notify_activity(Engine *engine)
{
        if (engine->activity)
                engine->activity(engine->activity_userdata);
}

void engine_job_begin(Engine *engine)
{
        engine->n_jobs++;
        notify_activity(engine);
}

void engine_job_end(Engine *engine)
{
        engine->n_jobs--;
        notify_activity(engine);
}

static int make_directories(Engine *engine)
{
        int r = path_make_directories(engine->config->data_root, 0711);

        engine->container_root = path_join(engine->config->data_root, "container");
        engine->runtime_root = path_join(engine->config->exec_root, "container");
        engine->name_root = path_join(engine->config->data_root, "name");
        engine->network_root = path_join(engine->config->data_root, "network");
        CLEANUP_FREE char *names = path_join(engine->config->exec_root, "network");
        engine->spool_root = path_join(engine->config->data_root, SPOOL_DIRECTORY);
        engine->exec_root = path_join(engine->config->exec_root, "exec");
        if (!engine->exec_root || !engine->container_root || !engine->runtime_root || !engine->name_root ||
            !engine->spool_root || !engine->network_root || !names)
                return -ENOMEM;
        if (r >= 0)
                r = path_make_directories(engine->container_root, 0710);
        if (r >= 0)
                r = path_make_directories(engine->runtime_root, 0711);
        if (r >= 0)
                r = path_make_directories(engine->exec_root, 0700);
        if (r >= 0)
                r = path_make_directories(engine->network_root, 0700);
        if (r >= 0)
                r = path_make_directories(names, 0700);
        if (r >= 0)
                r = path_make_directories(engine->name_root, 0700);
        if (r >= 0)
                r = path_make_directories(engine->spool_root, 0700);
        return r;
}

/* A file that is there while requests may be under way; a process that finds it follows one that was cut off. */
static char *unrest_path(const Engine *engine)
{
        return path_join(engine->config->exec_root, "unrest");
}

static int note_unrest(Engine *engine)
{
        CLEANUP_FREE char *path = unrest_path(engine);
        CLEANUP_CLOSE int fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -EBADF;

        engine->interrupted = path && fd < 0 && errno == EEXIST;
        return fd >= 0 || engine->interrupted ? 0 : path ? -errno : -ENOMEM;
}

void engine_rest(Engine *engine)
{
        CLEANUP_FREE char *path = unrest_path(engine);

        if (path)
                unlink(path);
}

static int engine_open(Engine *engine)
{
        int r = make_directories(engine);

        if (r < 0)
                return log_error_errno(r, "Cannot make the directories under %s and %s", engine->config->data_root,
                                       engine->config->exec_root);
        r = note_unrest(engine);
        if (r < 0)
                return log_error_errno(r, "Cannot write to %s", engine->config->exec_root);
        r = store_open(engine->config->data_root, &engine->store);
        if (r < 0)
                return log_error_errno(r, "Cannot open the image store in %s", engine->config->data_root);
        r = engine_events_open(engine);
        if (r < 0)
                return log_error_errno(r, "Cannot prepare the events");
        r = engine_volumes_open(engine);
        if (r < 0)
                return log_error_errno(r, "Cannot open the volumes in %s", engine->config->data_root);
        r = unit_manager_new(engine->event, &engine->units);
        if (r < 0)
                return r;
        r = engine_load_networks(engine);
        if (r < 0)
                return log_error_errno(r, "Cannot read the networks in %s", engine->network_root);
        r = engine_load_containers(engine);
        if (r < 0)
                return log_error_errno(r, "Cannot read the containers in %s", engine->container_root);
        r = engine_load_execs(engine);
        if (r < 0)
                return log_error_errno(r, "Cannot read %s", engine->exec_root);
        return 0;
}

int engine_new(sd_event *event, const Config *config, Engine **ret_engine)
{
        Engine *engine = calloc(1, sizeof(*engine));
        if (!engine)
                return -ENOMEM;

        engine->event = sd_event_ref(event);
        engine->config = config;
        sd_event_now(event, CLOCK_MONOTONIC, &engine->opened_us);
        LIST_INIT(&engine->containers);
        LIST_INIT(&engine->networks);
        LIST_INIT(&engine->execs);
        LIST_INIT(&engine->workers);
        LIST_INIT(&engine->removals);
        LIST_INIT(&engine->drains);
        LIST_INIT(&engine->pulls);
        LIST_INIT(&engine->builds);
        int r = engine_open(engine);
        if (r < 0) {
                engine_free(engine);
                return r;
        }
        engine_volumes_settle(engine);
        engine_thaw_leftovers(engine);
        engine_load_updates(engine);
        engine_build_leftovers(engine);
        engine_links_sweep(engine);
        engine_forget_images(engine); /* a container's removal may have been cut off */
        engine_sweep(engine);         /* as may any job that had begun to remove something */
        *ret_engine = engine;
        return 0;
}

void engine_free(Engine *engine)
{
        if (!engine)
                return;
        engine->activity = NULL;
        engine->closing = true;
        engine_workers_free(engine);
        engine_spare_free(engine);
        engine_settle_free(engine);
        engine_removals_free(engine);
        engine_autostart_free(engine);
        engine_drains_free(engine);
        engine_execs_free(engine);
        engine_updates_free(engine);
        while (!LIST_EMPTY(&engine->containers))
                container_free(LIST_FIRST(&engine->containers));
        engine_events_free(engine);
        engine_links_free(engine);
        engine_networks_free(engine);
        unit_manager_free(engine->units);
        store_free(engine->store);
        engine_seccomp_forget(engine);
        free(engine->container_root);
        free(engine->runtime_root);
        free(engine->name_root);
        free(engine->exec_root);
        free(engine->spool_root);
        free(engine->volume_root);
        free(engine->volume_state);
        free(engine->network_root);
        sd_event_unref(engine->event);
        free(engine);
}
