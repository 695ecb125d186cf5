/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the build cache takes, and giving it back. A record's space is its step's layer, while no tagged image has it
 * too. One record goes each time the loop comes round; the trash is emptied by a worker. */
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-build.h"

#define SUFFIX ".json"

static void insert(json_t *list, json_t *record)
{
        size_t n = json_array_size(list), at = 0;

        while (at < n && json_get_int(json_array_get(list, at), "Used", 0) > json_get_int(record, "Used", 0))
                at++;
        json_array_insert(list, at, record);
}

/* A build that goes on may be at this step. */
static bool is_used(const Engine *engine, const json_t *record)
{
        const Build *build;

        LIST_FOREACH(build, &engine->builds, link)
                if (!build->ended && build->started_ns <= json_get_int(record, "Used", 0))
                        return true;
        return false;
}

/* All records, of steps, cache mounts and contexts, each with its "ID", the one used last first. */
static json_t *read_records(const Engine *engine)
{
        CLEANUP_FREE char *path = engine_build_path(engine, "cache");
        CLEANUP_CLOSEDIR DIR *directory = path ? opendir(path) : NULL;
        CLEANUP_JSON json_t *mounts = json_array();
        json_t *list = json_array(), *mount;
        struct dirent *item;
        size_t i;

        while (list && directory && (item = readdir(directory))) {
                CLEANUP_JSON json_t *record = NULL;

                if (!str_has_suffix(item->d_name, SUFFIX) || json_read_at(dirfd(directory), item->d_name, &record) < 0)
                        continue;
                CLEANUP_FREE char *id = strndup(item->d_name, strlen(item->d_name) - strlen(SUFFIX));
                json_set_string(record, "ID", id);
                json_set_bool(record, "InUse", is_used(engine, record));
                insert(list, record);
        }
        build_mount_list(engine, mounts);
        build_keep_list(engine, mounts);
        json_array_foreach(mounts, i, mount)
                insert(list, mount);
        return list;
}

static bool is_tagged(Engine *engine, const char *image)
{
        CLEANUP_STRV char **references = NULL;

        return store_image_references(engine->store, image, &references) >= 0 && references && references[0];
}

static bool is_mount(const json_t *record)
{
        return str_equal(json_get_string(record, "Type"), "exec.cachemount");
}

static bool is_context(const json_t *record)
{
        return str_equal(json_get_string(record, "Type"), BUILD_KEEP_TYPE);
}

/* What is no step has no image. */
static bool is_step(const json_t *record)
{
        return !is_mount(record) && !is_context(record);
}

json_t *engine_build_usage(Engine *engine)
{
        CLEANUP_JSON json_t *records = read_records(engine), *by_image = json_object();
        json_t *list = json_array(), *record;
        size_t i;

        json_array_foreach(records, i, record)
                json_object_set(by_image, json_get_string_or(record, "Image", ""), json_object_get(record, "ID"));
        json_array_foreach(records, i, record) {
                const char *image = json_get_string_or(record, "Image", "");
                json_t *parent = json_object_get(by_image, json_get_string_or(record, "Parent", ""));
                char created[TIME_RFC3339_SIZE], used[TIME_RFC3339_SIZE];

                bool step = is_step(record);
                if (step && !store_image_exists(engine->store, image))
                        continue;
                time_format_rfc3339(json_get_int(record, "Created", 0), created);
                time_format_rfc3339(json_get_int(record, "Used", 0), used);
                json_t *entry =
                        json_pack("{sO ss ss sb sb sI ss ss sI}", "ID", json_object_get(record, "ID"), "Type",
                                  json_get_string_or(record, "Type", "regular"), "Description",
                                  json_get_string_or(record, "Description", ""), "InUse",
                                  json_get_bool(record, "InUse"), "Shared", step && is_tagged(engine, image), "Size",
                                  (json_int_t) json_get_int(record, "Size", 0), "CreatedAt", created, "LastUsedAt",
                                  used, "UsageCount", (json_int_t) json_get_int(record, "Count", 0));
                if (entry && parent)
                        json_object_set_new(entry, "Parents", json_pack("[O]", parent));
                json_array_append_new(list, entry);
        }
        return list;
}

/* --- Prune -------------------------------------------------------------------------------------------------------- */

typedef struct CachePrune {
        Engine *engine;
        json_t *records, *deleted; /* owned */
        int64_t reclaimed;         /* of cache mounts and contexts, in bytes */
        size_t next;
        int64_t before;
        sd_event_source *turn;
        EngineJsonDone done;
        void *userdata;
} CachePrune;

static void prune_free(CachePrune *prune)
{
        sd_event_source_disable_unref(prune->turn);
        json_decref(prune->records);
        json_decref(prune->deleted);
        free(prune);
}

static bool used_before(const char *value, const void *userdata)
{
        int64_t until;

        return time_parse_query(value, time_now_ns(), &until) >= 0 && json_get_int(userdata, "Used", 0) < until;
}

static bool is_value(const char *value, const void *userdata)
{
        return str_equal(value, userdata);
}

static bool is_prefix(const char *value, const void *userdata)
{
        return str_after_prefix(userdata, value) != NULL;
}

static bool matches(const json_t *filters, const json_t *record)
{
        return !json_get_bool(record, "InUse") && filters_any(filters, "until", used_before, record) &&
               filters_any(filters, "id", is_prefix, json_get_string_or(record, "ID", "")) &&
               filters_any(filters, "type", is_value, json_get_string_or(record, "Type", "regular")) &&
               filters_any(filters, "description", is_value, json_get_string_or(record, "Description", ""));
}

/* Drops from RECORDS what is to stay: what the filters leave out, and the newest, up to KEEP bytes. */
static void choose(json_t *records, const json_t *filters, int64_t keep)
{
        int64_t kept = 0;

        for (size_t i = 0; i < json_array_size(records);) {
                const json_t *record = json_array_get(records, i);
                int64_t size = json_get_int(record, "Size", 0);

                if (matches(filters, record) && (keep <= 0 || kept + size > keep)) {
                        i++;
                        continue;
                }
                kept += size;
                json_array_remove(records, i);
        }
}

static void prune_finish(CachePrune *prune)
{
        Engine *engine = prune->engine;
        int64_t after = prune->before;

        (void) store_layers_size(engine->store, &after);
        CLEANUP_JSON json_t *answer = json_pack("{sO sI}", "CachesDeleted", prune->deleted, "SpaceReclaimed",
                                                (json_int_t) (MAX(prune->before - after, 0) + prune->reclaimed));
        prune->done(answer ? 0 : -ENOMEM, answer, &(Error) { 0 }, prune->userdata);
        prune_free(prune);
        engine_sweep(engine);
        engine_job_end(engine);
}

/* The record goes; its image too, unless it is tagged, used, or another's parent. */
static int prune_turn(sd_event_source *source, void *userdata)
{
        CachePrune *prune = userdata;
        Engine *engine = prune->engine;
        const json_t *record = json_array_get(prune->records, prune->next++);
        const char *image = json_get_string_or(record, "Image", "");
        CLEANUP_FREE char *path = NULL;
        CLEANUP_JSON json_t *items = NULL;
        CLEANUP_ERROR Error error = { 0 };
        (void) source;

        if (!record) {
                prune_finish(prune);
                return 0;
        }
        if (!is_step(record)) {
                const char *id = json_get_string_or(record, "ID", "");

                if (is_mount(record) ? build_mount_remove(engine, id) : build_keep_remove(engine, id)) {
                        json_array_append(prune->deleted, json_object_get(record, "ID"));
                        prune->reclaimed += json_get_int(record, "Size", 0);
                }
                return 0;
        }
        CLEANUP_FREE char *directory = engine_build_path(engine, "cache");
        path = directory ? str_printf("%s/%s" SUFFIX, directory, json_get_string_or(record, "ID", "")) : NULL;
        if (path && unlink(path) == 0)
                json_array_append(prune->deleted, json_object_get(record, "ID"));
        if (!is_tagged(engine, image)) {
                StoreUsers users = engine_image_users(engine);
                (void) store_delete(engine->store, image, false, false, &users, &items, &error);
        }
        return 0;
}

void engine_build_prune(Engine *engine, const json_t *filters, int64_t keep_storage, bool all, EngineJsonDone done,
                        void *userdata)
{
        static const char *const known[] = { "until", "id",     "parent",  "type",       "description",
                                             "inuse", "shared", "private", "unused-for", NULL };
        CachePrune *prune = calloc(1, sizeof(*prune));
        CLEANUP_ERROR Error error = { 0 };
        int r = prune ? filters_check(filters, known, &error) : -ENOMEM;
        (void) all; /* no record is internal or a frontend's */

        if (r == 0) {
                r = filters_check_moment(filters, "until", &error);
                if (r > 0)
                        r = error_prefix(&error,
                                         "failed to prune build cache: \"until\" filter expects a duration (e.g., "
                                         "'24h') or a timestamp");
        }
        if (r == 0) {
                *prune = (CachePrune) { .engine = engine,
                                        .records = read_records(engine),
                                        .deleted = json_array(),
                                        .done = done,
                                        .userdata = userdata };
                choose(prune->records, filters, keep_storage);
                r = store_layers_size(engine->store, &prune->before);
        }
        if (r == 0)
                r = sd_event_add_defer(engine->event, &prune->turn, prune_turn, prune);
        if (r == 0)
                r = sd_event_source_set_enabled(prune->turn, SD_EVENT_ON);
        if (r != 0) {
                done(r, NULL, &error, userdata);
                if (prune)
                        prune_free(prune);
                return;
        }
        engine_job_begin(engine);
}
