/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The space that images and containers take, and giving some of it back. A prune removes one image each time the loop
 * comes round, so that nobody waits for all of it; sizes of containers are found out by a worker. */
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

typedef struct Prune {
        Engine *engine;
        char **names; /* owned */
        size_t next;
        json_t *deleted; /* owned */
        int64_t before;  /* bytes of all layers */
        sd_event_source *turn;
        EngineJsonDone done;
        void *userdata;
} Prune;

static void prune_free(Prune *prune)
{
        sd_event_source_disable_unref(prune->turn);
        strv_free(prune->names);
        json_decref(prune->deleted);
        free(prune);
}

static void prune_finish(Prune *prune)
{
        Engine *engine = prune->engine;
        int64_t after = prune->before;
        CLEANUP_JSON json_t *answer = NULL;

        (void) store_layers_size(engine->store, &after);
        answer = json_pack("{so sI}", "ImagesDeleted",
                           json_array_size(prune->deleted) > 0 ? json_incref(prune->deleted) : json_null(),
                           "SpaceReclaimed", (json_int_t) MAX(prune->before - after, 0));
        engine_event_pruned(engine, "image", MAX(prune->before - after, 0));
        prune->done(answer ? 0 : -ENOMEM, answer, &(Error) { 0 }, prune->userdata);
        prune_free(prune);
        engine_sweep(engine);
        engine_job_end(engine);
}

static int prune_turn(sd_event_source *source, void *userdata)
{
        Prune *prune = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *items = NULL;
        (void) source;

        if (!prune->names[prune->next]) {
                prune_finish(prune);
                return 0;
        }
        /* What is used, or went meanwhile, stays or is gone. */
        StoreUsers users = engine_image_removal(prune->engine);
        const char *name = prune->names[prune->next++];
        if (store_delete(prune->engine->store, name, false, true, &users, &items, &error) == 0)
                json_array_extend(prune->deleted, items);
        return 0;
}

void engine_image_prune(Engine *engine, const json_t *filters, EngineJsonDone done, void *userdata)
{
        Prune *prune = calloc(1, sizeof(*prune));
        CLEANUP_ERROR Error error = { 0 };
        int r = prune ? 0 : -ENOMEM;

        if (r == 0) {
                *prune = (Prune) { .engine = engine, .deleted = json_array(), .done = done, .userdata = userdata };
                r = store_prune_names(engine->store, filters, &prune->names, &error);
        }
        if (r == 0)
                r = store_layers_size(engine->store, &prune->before);
        if (r == 0)
                r = sd_event_add_defer(engine->event, &prune->turn, prune_turn, prune);
        if (r >= 0 && prune && prune->turn)
                r = sd_event_source_set_enabled(prune->turn, SD_EVENT_ON);
        if (r != 0) {
                if (prune)
                        prune_free(prune);
                done(r, NULL, &error, userdata);
                return;
        }
        engine_job_begin(engine);
}

/* --- Usage -------------------------------------------------------------------------------------------------------- */

typedef struct Usage {
        Engine *engine;
        json_t *answer, *containers, *volumes; /* owned; the latter: of the answer, or NULL */
        char **paths;                          /* owned; of the containers and the volumes, in order */
        EngineJsonDone done;
        void *userdata;
} Usage;

static void usage_free(Usage *usage)
{
        json_decref(usage->answer);
        json_decref(usage->containers);
        json_decref(usage->volumes);
        strv_free(usage->paths);
        free(usage);
}

static int run_usage(void *userdata, int result_fd)
{
        Usage *usage = userdata;
        CLEANUP_JSON json_t *sizes = json_array();

        for (size_t i = 0; usage->paths[i]; i++)
                json_array_append_new(sizes, json_integer(path_tree_size_at(AT_FDCWD, usage->paths[i])));
        return engine_worker_answer(result_fd, 0, sizes, NULL);
}

static void usage_done(int status, const char *text, size_t size, void *userdata)
{
        Usage *usage = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *sizes = NULL;
        json_t *entry;
        size_t i;
        int r = engine_worker_result(status, text, size, &sizes, &error);

        json_array_foreach(usage->containers, i, entry) {
                int64_t own = json_integer_value(json_array_get(sizes, i));

                if (own > 0)
                        json_set_int(entry, "SizeRw", own);
                json_set_int(entry, "SizeRootFs", own + json_get_int(entry, "SizeRootFs", 0));
        }
        size_t before = json_array_size(usage->containers);
        json_array_foreach(usage->volumes, i, entry)
                json_set_int(json_object_get(entry, "UsageData"), "Size",
                             json_integer_value(json_array_get(sizes, before + i)));
        usage->done(r, usage->answer, &error, usage->userdata);
        usage_free(usage);
}

static int add_images(Engine *engine, json_t *answer, Error *error)
{
        StoreListOptions options = { .shared_size = true, .container_count = true };
        StoreUsers users = engine_image_users(engine);
        json_t *images = NULL;
        int64_t size = 0;
        int r = store_list(engine->store, &options, &users, &images, error);

        if (r == 0)
                r = json_object_set_new(answer, "Images", images) < 0 ? -ENOMEM : 0;
        if (r == 0)
                r = store_layers_size(engine->store, &size);
        return r == 0 ? json_set_int(answer, "LayersSize", size) : r;
}

/* The containers with what their images take; their own part is the worker's. */
static int add_containers(Usage *usage, Error *error)
{
        ContainerListQuery query = { .all = true };
        json_t *entry;
        size_t i;
        int r = engine_container_list(usage->engine, &query, &usage->containers, error);

        if (r != 0)
                return r;
        json_array_foreach(usage->containers, i, entry) {
                CLEANUP_JSON json_t *image = NULL;
                Container *container;

                r = engine_container_find(usage->engine, json_get_string_or(entry, "Id", ""), &container, error);
                CLEANUP_FREE char *upper = r == 0 ? container_path(container, "upper") : NULL;
                if (r == 0)
                        r = upper ? strv_append(&usage->paths, upper) : -ENOMEM;
                if (r != 0)
                        return r;
                if (store_image_inspect(usage->engine->store, json_get_string_or(entry, "ImageID", ""), &image) >= 0)
                        json_set_int(entry, "SizeRootFs", json_get_int(image, "Size", 0));
        }
        return json_object_set(usage->answer, "Containers", usage->containers) < 0 ? -ENOMEM : 0;
}

static int add_volumes(Usage *usage)
{
        json_t *volume;
        size_t i;
        int r = volumes_usage(usage->engine, &usage->volumes);

        json_array_foreach(usage->volumes, i, volume) {
                if (r >= 0)
                        r = strv_append(&usage->paths, json_get_string_or(volume, "Mountpoint", ""));
        }
        return r < 0 || json_object_set(usage->answer, "Volumes", usage->volumes) < 0 ? MIN(r, -ENOMEM) : 0;
}

static int usage_prepare(Usage *usage, unsigned what, Error *error)
{
        int r = 0;

        usage->answer = json_pack("{sI sn sn sn so}", "LayersSize", (json_int_t) 0, "Images", "Containers", "Volumes",
                                  "BuildCache",
                                  what & ENGINE_USAGE_BUILD_CACHE ? engine_build_usage(usage->engine) : json_null());
        usage->paths = calloc(1, sizeof(char *));
        if (!usage->answer || !usage->paths)
                return -ENOMEM;
        if (what & ENGINE_USAGE_IMAGES)
                r = add_images(usage->engine, usage->answer, error);
        if (r == 0 && what & ENGINE_USAGE_CONTAINERS)
                r = add_containers(usage, error);
        return r == 0 && what & ENGINE_USAGE_VOLUMES ? add_volumes(usage) : r;
}

void engine_usage(Engine *engine, unsigned what, EngineJsonDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        Usage *usage = calloc(1, sizeof(*usage));
        int r = usage ? 0 : -ENOMEM;

        if (r == 0) {
                *usage = (Usage) { .engine = engine, .done = done, .userdata = userdata };
                r = usage_prepare(usage, what, &error);
        }
        WorkerJob job = { .run = run_usage, .done = usage_done, .userdata = usage };
        if (r == 0 && usage->paths[0]) {
                r = engine_worker_start(engine, &job);
                if (r == 0)
                        return;
        }
        done(r, usage ? usage->answer : NULL, &error, userdata);
        if (usage)
                usage_free(usage);
}
