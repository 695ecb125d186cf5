/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes in number: the list with its filters, the space they take, and the removal of those that nothing uses. Sizes
 * are a worker's to find out; what is removed is decided before and looked at again when it is known. */
#include <fcntl.h>
#include <regex.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-volume-private.h"

/* --- Filters ------------------------------------------------------------------------------------------------------ */

typedef struct Bool {
        int values[2]; /* how often false and true were said */
        bool wrong;
} Bool;

static void read_bool(const char *value, void *userdata)
{
        static const char *const words[][6] = { { "0", "f", "F", "FALSE", "false", "False" },
                                                { "1", "t", "T", "TRUE", "true", "True" } };
        Bool *result = userdata;
        int found = -1;

        for (int i = 0; i < 2; i++)
                for (size_t j = 0; j < ARRAY_SIZE(words[0]); j++)
                        if (str_equal(words[i][j], value))
                                found = i;
        if (found < 0)
                result->wrong = true;
        else
                result->values[found]++;
}

static void append_value(const char *value, void *userdata)
{
        Buffer *text = userdata;

        buffer_printf(text, "%s%s", text->size > 0 ? " " : "", value);
}

/* -1: not asked for. */
static int filter_bool(const json_t *filters, const char *key, int *ret, Error *error)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        Bool value = { 0 };

        *ret = -1;
        if (!filters_has(filters, key))
                return 0;
        filters_each(filters, key, read_bool, &value);
        if (value.wrong || (value.values[0] > 0 && value.values[1] > 0)) {
                filters_each(filters, key, append_value, &text);
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid filter '%s=[%s]'", key,
                                 text.data ? text.data : "");
        }
        *ret = value.values[1] > 0;
        return 0;
}

static bool match_equal(const char *value, const void *userdata)
{
        return str_equal(value, userdata);
}

/* As Docker does, a name matches as a regular expression. */
static bool match_name(const char *value, const void *userdata)
{
        regex_t expression;

        if (str_equal(value, userdata))
                return true;
        if (regcomp(&expression, value, REG_EXTENDED | REG_NOSUB) != 0)
                return false;
        bool found = regexec(&expression, userdata, 0, NULL, 0) == 0;
        regfree(&expression);
        return found;
}

/* --- List --------------------------------------------------------------------------------------------------------- */

typedef struct List {
        Engine *engine;
        const json_t *filters;
        json_t *used; /* an object: names that containers say, and how many do */
        json_t *volumes;
        int dangling;
} List;

/* How many containers name each volume, each container once. */
static json_t *count_uses(Engine *engine)
{
        json_t *counts = json_object(), *point;
        const Container *container;
        size_t i;

        engine_ensure_all(engine);
        LIST_FOREACH(container, &engine->containers, link) {
                CLEANUP_JSON json_t *seen = json_object();

                json_array_foreach(json_get_array(container->record, "MountPoints"), i, point) {
                        const char *name = json_get_string(point, "Name");

                        if (!name || !str_equal(json_get_string(point, "Type"), "volume") ||
                            json_object_get(seen, name))
                                continue;
                        json_set_bool(seen, name, true);
                        json_set_int(counts, name, json_get_int(counts, name, 0) + 1);
                }
        }
        return counts;
}

static int list_each(const char *name, const json_t *record, void *userdata)
{
        List *list = userdata;
        bool used = json_get_int(list->used, name, 0) > 0;

        if (list->dangling >= 0 && list->dangling == used)
                return 0;
        if (!filters_any(list->filters, "name", match_name, name) ||
            !filters_any(list->filters, "driver", match_equal, VOLUME_DRIVER) ||
            !filters_labels(list->filters, json_object_get(record, "Labels")))
                return 0;
        return json_array_append_new(list->volumes, volume_object(list->engine, record)) < 0 ? -ENOMEM : 0;
}

int engine_volume_list(Engine *engine, const json_t *filters, json_t **ret_object, Error *error)
{
        static const char *const known[] = { "dangling", "driver", "label", "name", NULL };
        List list = { .engine = engine, .filters = filters };
        int r = filters_check(filters, known, error);

        if (r == 0)
                r = filter_bool(filters, "dangling", &list.dangling, error);
        if (r != 0)
                return r;
        CLEANUP_JSON json_t *used = list.dangling >= 0 ? count_uses(engine) : NULL;
        CLEANUP_JSON json_t *volumes = json_array();
        list.used = used;
        list.volumes = volumes;
        r = volume_each(engine, list_each, &list);
        if (r < 0)
                return r;
        *ret_object = json_pack("{sO sn}", "Volumes", volumes, "Warnings");
        return *ret_object ? 0 : -ENOMEM;
}

/* --- Usage -------------------------------------------------------------------------------------------------------- */

static int usage_each(const char *name, const json_t *record, void *userdata)
{
        List *list = userdata;
        json_t *object = volume_object(list->engine, record);

        if (!object)
                return -ENOMEM;
        json_object_set_new(object, "UsageData",
                            json_pack("{sI sI}", "RefCount", (json_int_t) json_get_int(list->used, name, 0), "Size",
                                      (json_int_t) 0));
        return json_array_append_new(list->volumes, object) < 0 ? -ENOMEM : 0;
}

int volumes_usage(Engine *engine, json_t **ret_volumes)
{
        CLEANUP_JSON json_t *used = count_uses(engine), *volumes = json_array();
        List list = { .engine = engine, .used = used, .volumes = volumes };
        int r = used && volumes ? volume_each(engine, usage_each, &list) : -ENOMEM;

        if (r >= 0)
                *ret_volumes = TAKE_PTR(volumes);
        return r;
}

/* --- Prune -------------------------------------------------------------------------------------------------------- */

typedef struct Prune {
        Engine *engine;
        json_t *names; /* owned: of the volumes that may go */
        EngineJsonDone done;
        void *userdata;
} Prune;

typedef struct PruneChoice {
        Engine *engine;
        const json_t *filters;
        json_t *used, *names;
        bool all;
} PruneChoice;

/* One that was made with options is somebody's work. */
static int prune_each(const char *name, const json_t *record, void *userdata)
{
        PruneChoice *choice = userdata;
        const json_t *labels = json_object_get(record, "Labels");

        if (json_get_int(choice->used, name, 0) > 0 || json_object_size(json_object_get(record, "Options")) > 0 ||
            (!choice->all && !json_get_string(labels, VOLUME_ANONYMOUS_LABEL)) ||
            !filters_labels(choice->filters, labels))
                return 0;
        return json_array_append_new(choice->names, json_string(name)) < 0 ? -ENOMEM : 0;
}

static int prune_choose(Engine *engine, const json_t *filters, json_t **ret_names, Error *error)
{
        static const char *const known[] = { "all", "label", "label!", NULL };
        Bool all = { 0 };
        int r = filters_check(filters, known, error);

        if (r != 0)
                return r;
        filters_each(filters, "all", read_bool, &all);
        if (all.wrong) {
                CLEANUP_BUFFER Buffer text = { 0 };

                filters_each(filters, "all", append_value, &text);
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid filter 'all': strconv.ParseBool: parsing \"%s\": invalid syntax",
                                 text.data ? text.data : "");
        }
        CLEANUP_JSON json_t *used = count_uses(engine), *names = json_array();
        PruneChoice choice = {
                .engine = engine, .filters = filters, .used = used, .names = names, .all = all.values[1] > 0
        };
        r = used && names ? volume_each(engine, prune_each, &choice) : -ENOMEM;
        if (r >= 0)
                *ret_names = TAKE_PTR(names);
        return r;
}

static int prune_in_worker(void *userdata, int result_fd)
{
        const Prune *prune = userdata;
        CLEANUP_JSON json_t *sizes = json_array();
        json_t *name;
        size_t i;

        json_array_foreach(prune->names, i, name) {
                CLEANUP_FREE char *path = volume_path(prune->engine, json_string_value(name), VOLUME_DATA);

                json_array_append_new(sizes, json_integer(path ? path_tree_size_at(AT_FDCWD, path) : 0));
        }
        return engine_worker_answer(result_fd, 0, sizes, NULL);
}

static void prune_done(int status, const char *text, size_t size, void *userdata)
{
        Prune *prune = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *sizes = NULL, *answer = NULL, *deleted = json_array();
        json_int_t reclaimed = 0;
        json_t *name;
        size_t i;
        int r = engine_worker_result(status, text, size, &sizes, &error);

        json_array_foreach(prune->names, i, name) {
                /* What is used since is refused, and stays. */
                if (r != 0 || volume_remove(prune->engine, json_string_value(name), NULL) != 0)
                        continue;
                json_array_append(deleted, name);
                reclaimed += json_integer_value(json_array_get(sizes, i));
        }
        if (r == 0) {
                answer = json_pack("{sO sI}", "VolumesDeleted", deleted, "SpaceReclaimed", reclaimed);
                engine_event_pruned(prune->engine, "volume", reclaimed);
        }
        prune->done(r, answer, &error, prune->userdata);
        json_decref(prune->names);
        free(prune);
}

void engine_volume_prune(Engine *engine, const json_t *filters, EngineJsonDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        Prune *prune = calloc(1, sizeof(*prune));
        int r = prune ? 0 : -ENOMEM;

        if (r == 0) {
                *prune = (Prune) { .engine = engine, .done = done, .userdata = userdata };
                r = prune_choose(engine, filters, &prune->names, &error);
        }
        WorkerJob job = { .run = prune_in_worker, .done = prune_done, .userdata = prune };
        if (r == 0)
                r = engine_worker_start(engine, &job);
        if (r == 0)
                return;
        done(r, NULL, &error, userdata);
        if (prune)
                json_decref(prune->names);
        free(prune);
}
