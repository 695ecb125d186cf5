/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Removal: the record goes first, which is the moment the container no longer exists; a crash after that leaves a
 * directory the next start purges. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/mount.h"
#include "engine-volume-private.h"

typedef struct RemoveRequest {
        LIST_ENTRY(RemoveRequest) link;
        EngineDone done;
        void *userdata;
} RemoveRequest;

static int remove_now(Container *container)
{
        CLEANUP_FREE char *record = container_path(container, CONTAINER_RECORD),
                          *directory = container_path(container, NULL), *upper = container_path(container, "upper");
        if (!record || !directory || !upper)
                return -ENOMEM;
        (void) mount_quota_clear(upper);
        if (unlink(record) < 0 && errno != ENOENT)
                return -errno;
        container_release_name(container, container->name);
        container_autostart_update(container, false);
        container_execs_remove(container);
        container_event_emit(container, "destroy", NULL);
        container_waiters_notify(container, WAIT_REMOVED);
        container_clean_runtime(container);
        return engine_remove_tree(container->engine, directory);
}

void container_removals_go_on(Container *container)
{
        Engine *engine = container->engine;
        RemoveRequest *request;

        if (!container->removing)
                return;
        struct RemovalList requests;
        LIST_INIT(&requests);
        while ((request = LIST_FIRST(&container->removals))) {
                LIST_REMOVE(request, link);
                LIST_INSERT_HEAD(&requests, request, link);
        }
        CLEANUP_JSON json_t *points = json_incref(json_object_get(container->record, "MountPoints"));
        bool volumes = container->removing_volumes;
        int r = remove_now(container);
        if (r >= 0) {
                container_free(container);
                engine_forget_images(engine);
                if (volumes)
                        mount_points_remove_anonymous(engine, points);
        } else
                container->removing = false;
        while ((request = LIST_FIRST(&requests))) {
                LIST_REMOVE(request, link);
                request->done(r, &(Error) { 0 }, request->userdata);
                free(request);
                engine_job_end(engine);
        }
}

static int removal_refusal(Container *container, bool force, Error *error)
{
        if (container->removing)
                return error_set(error, OUTCOME_CONFLICT, "removal of container %s is already in progress",
                                 container->id);
        if (container->start && !force) /* with force: ended as soon as it runs */
                return error_set(error, OUTCOME_CONFLICT, "container %s is being started", container->id);
        if (container_is_paused(container) && !force)
                return error_set(error, OUTCOME_CONFLICT,
                                 "cannot remove container \"/%s\": container is paused and must be unpaused first",
                                 container->name);
        if (container_is_up(container) && !force)
                return error_set(error, OUTCOME_CONFLICT,
                                 "cannot remove container \"/%s\": container is %s: stop the container before "
                                 "removing or force remove",
                                 container->name, container_status_name(container));
        return 0;
}

void container_remove(Container *container, bool force, bool volumes, EngineDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        RemoveRequest *request = NULL;
        int r = removal_refusal(container, force, &error);

        if (r == 0) {
                request = calloc(1, sizeof(*request));
                r = request ? 0 : -ENOMEM;
        }
        if (r != 0) {
                done(r, &error, userdata);
                return;
        }
        *request = (RemoveRequest) { .done = done, .userdata = userdata };
        LIST_INSERT_HEAD(&container->removals, request, link);
        container_restart_cancel(container);
        container->removing = true;
        container_note_caller(container);
        container->removing_volumes = volumes;
        engine_job_begin(container->engine);
        if (container_is_running(container))
                container_signal(container, SIGKILL); /* goes on when the run has ended */
        else if (!container->start)
                container_removals_go_on(container);
}

static void removed_unattended(int result, const Error *error, void *userdata)
{
        (void) userdata;
        if (result != 0)
                log_warning("A container could not be removed after its end: %s",
                            error->message ? error->message : strerror(abs(result)));
}

void container_remove_unattended(Container *container)
{
        container_remove(container, true, true, removed_unattended, NULL);
}

/* --- Prune -------------------------------------------------------------------------------------------------------- */

typedef struct Prune {
        Engine *engine;
        json_t *deleted;
        int64_t reclaimed;
        size_t pending;
        bool started;
        EngineJsonDone done;
        void *userdata;
} Prune;

static void prune_finish(Prune *prune)
{
        if (!prune->started || prune->pending > 0)
                return;
        CLEANUP_JSON json_t *answer = json_pack("{sO sI}", "ContainersDeleted", prune->deleted, "SpaceReclaimed",
                                                (json_int_t) prune->reclaimed);
        engine_event_pruned(prune->engine, "container", prune->reclaimed);
        prune->done(0, answer, &(Error) { 0 }, prune->userdata);
        json_decref(prune->deleted);
        free(prune);
}

static void pruned_one(int result, const Error *error, void *userdata)
{
        Prune *prune = userdata;
        (void) result;
        (void) error;

        prune->pending--;
        prune_finish(prune);
}

static bool before(const char *value, const void *userdata)
{
        const Container *container = userdata;
        int64_t until;

        return time_parse_query(value, time_now_ns(), &until) >= 0 && container->created_ns < until;
}

void engine_container_prune(Engine *engine, const json_t *filters, EngineJsonDone done, void *userdata)
{
        static const char *const known[] = { "label", "label!", "until", NULL };
        CLEANUP_ERROR Error error = { 0 };
        Prune *prune = calloc(1, sizeof(*prune));
        int r = prune ? filters_check(filters, known, &error) : -ENOMEM;

        if (r == 0)
                r = filters_check_moment(filters, "until", &error);
        if (r != 0) {
                free(prune);
                done(r, NULL, &error, userdata);
                return;
        }
        engine_ensure_all(engine);
        *prune = (Prune) { .engine = engine, .deleted = json_array(), .done = done, .userdata = userdata };
        Container *container = LIST_FIRST(&engine->containers);
        while (container) {
                Container *next = LIST_NEXT(container, link);
                bool idle = !container_is_up(container) && !container->start && !container->removing;
                if (idle && filters_any(filters, "until", before, container) &&
                    filters_labels(filters, json_object_get(container_config(container), "Labels"))) {
                        json_array_append_new(prune->deleted, json_string(container->id));
                        prune->reclaimed += container_upper_size(container);
                        prune->pending++;
                        container_remove(container, false, false, pruned_one, prune);
                }
                container = next;
        }
        prune->started = true;
        prune_finish(prune);
}
