/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listing images as the API's ImageSummary, from their records alone. Filters are dispatched by a table. */
#include <fnmatch.h>
#include <string.h>

#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"

#define NS_PER_SECOND 1000000000

typedef struct List {
        Store *store;
        const StoreListOptions *options;
        const StoreUsers *users;
        Error *error;
        json_t *parents;              /* owned; keys are the images that have children */
        json_t *shared;               /* owned; diff ID to the number of images it is in; with shared_size */
        int64_t before, since, until; /* ns; bounds of the time of creation */
        bool has_before, has_since, has_until, has_dangling, dangling;
        char **labels, **references; /* owned; what must match */
} List;

static void list_clear(List *list)
{
        json_decref(list->parents);
        json_decref(list->shared);
        strv_free(list->labels);
        strv_free(list->references);
}

static int created_of(Store *store, const char *name, int64_t *ret_created, Error *error)
{
        char *id CLEANUP_FREE = NULL;
        json_t *record;
        int r;

        r = store_resolve(store, name, &id, error);
        if (r != 0)
                return r;
        r = store_index_record(store, store_index_find(store, id), &record);
        if (r < 0)
                return r;
        *ret_created = json_get_int(record, "Created", 0);
        return 0;
}

static int filter_before(List *list, const char *value)
{
        list->has_before = true;
        return created_of(list->store, value, &list->before, list->error);
}

static int filter_since(List *list, const char *value)
{
        list->has_since = true;
        return created_of(list->store, value, &list->since, list->error);
}

static int filter_until(List *list, const char *value)
{
        if (list->has_until)
                return error_set(list->error, OUTCOME_BAD_REQUEST, "more than one until filter specified");
        if (time_parse_query(value, time_now_ns(), &list->until) < 0)
                return error_set(list->error, OUTCOME_BAD_REQUEST, "failed to parse value as time or duration: \"%s\"",
                                 value);
        list->has_until = true;
        return 0;
}

static int filter_label(List *list, const char *value)
{
        return strv_append(&list->labels, value);
}

/* Go's patterns have brackets that close and backslashes that escape something. */
static bool pattern_is_valid(const char *p)
{
        for (; *p; p++) {
                if (*p == '\\' && !*++p)
                        return false;
                if (*p == '[') {
                        const char *start = p + 1 + (p[1] == '^');

                        p = *start ? strchr(start + 1, ']') : NULL;
                        if (!p)
                                return false;
                }
        }
        return true;
}

static int filter_reference(List *list, const char *value)
{
        if (!pattern_is_valid(value))
                return error_set(list->error, OUTCOME_BAD_REQUEST, "syntax error in pattern");
        return strv_append(&list->references, value);
}

static const struct {
        const char *name;
        int (*add)(List *list, const char *value);
} filters[] = {
        { "before", filter_before }, { "label", filter_label }, { "reference", filter_reference },
        { "since", filter_since },   { "until", filter_until },
};

/* Values come as an array, or as the keys of an object. */
static int add_values(List *list, int (*add)(List *list, const char *value), const json_t *values)
{
        json_t *item;
        const char *key;
        size_t i;
        int r = 0;

        if (json_is_array(values))
                json_array_foreach(values, i, item) {
                        r = add(list, json_string_value(item) ?: "");
                        if (r != 0)
                                return r;
                }
        else
                json_object_foreach((json_t *) values, key, item) {
                        if (!json_is_true(item))
                                continue;
                        r = add(list, key);
                        if (r != 0)
                                return r;
                }
        return 0;
}

static int add_filters(List *list)
{
        const char *name;
        json_t *values;

        json_object_foreach((json_t *) list->options->filters, name, values) {
                size_t i;
                int r;

                if (str_equal(name, "dangling")) {
                        r = store_filter_bool(name, values, &list->dangling, list->error);
                        if (r != 0)
                                return r;
                        list->has_dangling = true;
                        continue;
                }
                for (i = 0; i < ARRAY_SIZE(filters); i++)
                        if (str_equal(name, filters[i].name))
                                break;
                if (i == ARRAY_SIZE(filters))
                        return error_set(list->error, OUTCOME_BAD_REQUEST, "invalid filter '%s'", name);
                r = add_values(list, filters[i].add, values);
                if (r != 0)
                        return r;
        }
        return 0;
}

static bool labels_match(const List *list, const json_t *labels)
{
        for (size_t i = 0; list->labels && list->labels[i]; i++) {
                const char *equals = strchr(list->labels[i], '=');
                char *key CLEANUP_FREE = equals ? strndup(list->labels[i], (size_t) (equals - list->labels[i]))
                                                : strdup(list->labels[i]);
                const char *value = key ? json_get_string(labels, key) : NULL;

                if (!value || (equals && !str_equal(value, equals + 1)))
                        return false;
        }
        return true;
}

static bool record_matches(const List *list, const json_t *record)
{
        int64_t created = json_get_int(record, "Created", 0);

        return !(list->has_before && created >= list->before) && !(list->has_since && created <= list->since) &&
               !(list->has_until && created >= list->until) && labels_match(list, json_get_object(record, "Labels"));
}

/* A pattern is matched against the whole familiar reference, and against its name alone. */
static bool reference_matches(const List *list, const StoreReference *reference)
{
        char *whole CLEANUP_FREE = store_reference_familiar(reference);
        char *name CLEANUP_FREE = store_reference_familiar_name(reference);

        if (!list->references)
                return true;
        for (size_t i = 0; whole && name && list->references[i]; i++)
                if (fnmatch(list->references[i], whole, FNM_PATHNAME) == 0 ||
                    fnmatch(list->references[i], name, FNM_PATHNAME) == 0)
                        return true;
        return false;
}

/* Sorts the image's references into tags and digests. */
static int split_references(const List *list, const char *id, json_t *tags, json_t *digests)
{
        json_t *item;
        size_t i;

        json_array_foreach(store_references_of(list->store, id), i, item) {
                StoreReference reference CLEANUP_REFERENCE = {};
                char *familiar CLEANUP_FREE = NULL;

                if (store_reference_parse(json_string_value(item), &reference, NULL) != 0 ||
                    !reference_matches(list, &reference))
                        continue;
                familiar = store_reference_familiar(&reference);
                if (!familiar || json_array_append_new(reference.digest ? digests : tags, json_string(familiar)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static bool names_match(const List *list, const char *id, const json_t *tags, const json_t *digests)
{
        if (json_array_size(tags) == 0 && json_array_size(digests) == 0) {
                /* Parents of images that were built here are of no interest by themselves. */
                if (!list->options->all && json_object_get(list->parents, id))
                        return false;
                return !list->references && !(list->has_dangling && !list->dangling);
        }
        return !(list->has_dangling && list->dangling && json_array_size(tags) > 0);
}

static int64_t shared_size(const List *list, const json_t *record)
{
        json_t *layer;
        int64_t size = 0;
        size_t i;

        if (!list->shared)
                return -1;
        json_array_foreach(json_get_array(record, "Layers"), i, layer) {
                if (json_get_int(list->shared, json_string_value(layer), 0) > 1)
                        size += json_integer_value(json_array_get(json_get_array(record, "Sizes"), i));
        }
        return size;
}

static int add_summary(const List *list, const char *id, const json_t *record, json_t *result)
{
        json_t *tags CLEANUP_JSON = json_array(), *digests CLEANUP_JSON = json_array(), *summary;
        json_t *labels = json_get_object(record, "Labels");
        int64_t created = json_get_int(record, "Created", 0), containers = -1;
        int r;

        if (!tags || !digests)
                return -ENOMEM;
        r = split_references(list, id, tags, digests);
        if (r < 0 || !names_match(list, id, tags, digests))
                return r;
        if (list->options->container_count && list->users && list->users->count)
                containers = list->users->count(id, list->users->userdata);
        summary = json_pack(
                "{s:I, s:I, s:s, s:O?, s:s, s:O, s:O, s:I, s:I}", "Containers", (json_int_t) containers, "Created",
                (json_int_t) (created >= 0 ? created / NS_PER_SECOND : -1 - (-1 - created) / NS_PER_SECOND), "Id", id,
                "Labels", labels, "ParentId", json_get_string_or(record, "Parent", ""), "RepoDigests", digests,
                "RepoTags", tags, "SharedSize", (json_int_t) shared_size(list, record), "Size",
                (json_int_t) json_get_int(record, "Size", 0));
        return summary && json_array_append_new(result, summary) >= 0 ? 0 : -ENOMEM;
}

/* What needs a look at all images: who is a parent, and which layers are shared. */
static int list_prepare(List *list)
{
        list->parents = json_object();
        list->shared = list->options->shared_size ? json_object() : NULL;
        if (!list->parents || (list->options->shared_size && !list->shared))
                return -ENOMEM;
        for (size_t i = 0; i < list->store->n_images; i++) {
                json_t *record, *layer;
                const char *parent;
                size_t at;
                int r;

                if (list->store->images[i].removed)
                        continue;
                r = store_index_record(list->store, &list->store->images[i], &record);
                if (r < 0)
                        return r;
                parent = json_get_string(record, "Parent");
                if (parent && json_set_bool(list->parents, parent, true) < 0)
                        return -ENOMEM;
                if (!list->shared)
                        continue;
                json_array_foreach(json_get_array(record, "Layers"), at, layer) {
                        const char *diff_id = json_string_value(layer);

                        if (!diff_id ||
                            json_set_int(list->shared, diff_id, json_get_int(list->shared, diff_id, 0) + 1) < 0)
                                return -ENOMEM;
                }
        }
        return 0;
}

static int compare_created(const void *a, const void *b)
{
        const json_t *left = *(json_t *const *) a, *right = *(json_t *const *) b;
        int64_t difference = json_get_int(right, "Created", 0) - json_get_int(left, "Created", 0);

        if (difference != 0)
                return difference < 0 ? -1 : 1;
        return strcmp(json_get_string(left, "Id"), json_get_string(right, "Id"));
}

static int sort_newest_first(json_t *array)
{
        size_t count = json_array_size(array);
        json_t **items CLEANUP_FREE = calloc(count + 1, sizeof(*items));

        if (!items)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++)
                items[i] = json_incref(json_array_get(array, i));
        qsort(items, count, sizeof(*items), compare_created);
        for (size_t i = 0; i < count; i++)
                (void) json_array_set_new(array, i, items[i]);
        return 0;
}

int store_list(Store *store, const StoreListOptions *options, const StoreUsers *users, json_t **ret_list, Error *error)
{
        List list CLEANUP(list_clear) = { .store = store, .options = options, .users = users, .error = error };
        json_t *result CLEANUP_JSON = json_array();
        int r;

        if (!result)
                return -ENOMEM;
        r = store_metadata_load(store);
        if (r >= 0)
                r = list_prepare(&list);
        if (r >= 0)
                r = add_filters(&list);
        for (size_t i = 0; r == 0 && i < store->n_images; i++) {
                json_t *record;

                if (store->images[i].removed)
                        continue;
                r = store_index_record(store, &store->images[i], &record);
                if (r >= 0 && record_matches(&list, record))
                        r = add_summary(&list, store->images[i].id, record, result);
        }
        if (r == 0)
                r = sort_newest_first(result);
        if (r != 0)
                return r;
        *ret_list = TAKE_PTR(result);
        return 0;
}
