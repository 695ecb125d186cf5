/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a prune of images is to remove, from their records alone. */
#include <string.h>

#include "berth/buffer.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"

typedef struct Prune {
        Store *store;
        bool dangling, has_until;
        int64_t until;
        char **labels, **labels_not; /* owned, as the names are; NULL where not asked for */
        char **names;
} Prune;

static void prune_clear(Prune *prune)
{
        strv_free(prune->labels);
        strv_free(prune->labels_not);
        strv_free(prune->names);
}

static int read_until(Prune *prune, const json_t *values, Error *error)
{
        char **given CLEANUP_STRV = NULL;
        int r = store_filter_values(values, &given);

        if (r < 0)
                return r;
        if (strv_length(given) > 1)
                return error_set(error, OUTCOME_BAD_REQUEST, "more than one until filter specified");
        if (strv_length(given) == 0)
                return 0;
        if (time_parse_query(given[0], time_now_ns(), &prune->until) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "failed to parse value as time or duration: \"%s\"",
                                 given[0]);
        prune->has_until = true;
        return 0;
}

static int read_filters(Prune *prune, const json_t *filters, Error *error)
{
        const char *name;
        json_t *values;
        int r = 0;

        json_object_foreach((json_t *) filters, name, values) {
                if (str_equal(name, "dangling"))
                        r = store_filter_bool(name, values, &prune->dangling, error);
                else if (str_equal(name, "until"))
                        r = read_until(prune, values, error);
                else if (str_equal(name, "label"))
                        r = store_filter_values(values, &prune->labels);
                else if (str_equal(name, "label!"))
                        r = store_filter_values(values, &prune->labels_not);
                else
                        r = error_set(error, OUTCOME_BAD_REQUEST, "invalid filter '%s'", name);
                if (r != 0)
                        return r;
        }
        return 0;
}

static bool has_label(const json_t *labels, const char *text)
{
        size_t n = strcspn(text, "=");
        char *key CLEANUP_FREE = strndup(text, n);
        const char *value = key ? json_get_string(labels, key) : NULL;

        return value && (!text[n] || str_equal(value, text + n + 1));
}

/* All of the labels asked for, and not all of those not wanted. */
static bool labels_match(const Prune *prune, const json_t *labels)
{
        bool all = strv_length(prune->labels_not) > 0;

        for (size_t i = 0; prune->labels && prune->labels[i]; i++)
                if (!has_label(labels, prune->labels[i]))
                        return false;
        for (size_t i = 0; prune->labels_not && prune->labels_not[i]; i++)
                all = all && has_label(labels, prune->labels_not[i]);
        return !all;
}

static int add_image(Prune *prune, const char *id, const json_t *record)
{
        json_t *names = store_references_of(prune->store, id), *item;
        bool tagged = false;
        size_t i, children;
        int r;

        if ((prune->has_until && json_get_int(record, "Created", 0) > prune->until) ||
            !labels_match(prune, json_get_object(record, "Labels")))
                return 0;
        json_array_foreach(names, i, item)
                tagged = tagged || !strchr(json_string_value(item), '@');
        r = store_index_children(prune->store, id, &children);
        if (r < 0 || (json_array_size(names) == 0 && children > 0) || (prune->dangling && (tagged || children > 0)))
                return r;
        if (json_array_size(names) == 0)
                return strv_append(&prune->names, id);
        json_array_foreach(names, i, item) {
                char *familiar CLEANUP_FREE = store_familiar(json_string_value(item));

                if (!familiar || strv_append(&prune->names, familiar) < 0)
                        return -ENOMEM;
        }
        return 0;
}

int store_prune_names(Store *store, const json_t *filters, char ***ret_names, Error *error)
{
        Prune prune CLEANUP(prune_clear) = { .store = store, .dangling = true, .names = calloc(1, sizeof(char *)) };
        int r = prune.names ? read_filters(&prune, filters, error) : -ENOMEM;

        if (r == 0)
                r = store_metadata_load(store);
        for (size_t i = 0; r == 0 && i < store->n_images; i++) {
                json_t *record;

                if (store->images[i].removed)
                        continue;
                r = store_index_record(store, &store->images[i], &record);
                if (r >= 0)
                        r = add_image(&prune, store->images[i].id, record);
        }
        if (r == 0)
                *ret_names = TAKE_PTR(prune.names);
        return r;
}
