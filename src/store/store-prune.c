/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a prune of images is to remove, from their records alone. */
#include <string.h>

#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"

typedef struct Prune {
        Store *store;
        bool dangling, has_until;
        int64_t until;
        const json_t *labels, *labels_not; /* borrowed */
        char **names;                      /* owned */
} Prune;

static void prune_clear(Prune *prune)
{
        strv_free(prune->names);
}

/* The values of a filter, in both forms that clients send. */
static char **filter_values(const json_t *values)
{
        char **result = calloc(1, sizeof(char *));
        const char *key;
        json_t *item;
        size_t i;

        if (json_is_array(values))
                json_array_foreach(values, i, item)
                        if (strv_append(&result, json_string_value(item) ?: "") < 0)
                                break;
        json_object_foreach((json_t *) values, key, item)
                if (json_is_true(item) && strv_append(&result, key) < 0)
                        break;
        return result;
}

static int read_dangling(Prune *prune, const json_t *values, Error *error)
{
        static const char *const words[] = { "0", "f", "F", "false", "FALSE", "False",
                                             "1", "t", "T", "true",  "TRUE",  "True" };
        char **given CLEANUP_STRV = filter_values(values), *joined CLEANUP_FREE = strdup("");
        size_t i = 0;

        if (strv_length(given) == 1)
                while (i < ARRAY_SIZE(words) && !str_equal(words[i], given[0]))
                        i++;
        if (strv_length(given) == 1 && i < ARRAY_SIZE(words)) {
                prune->dangling = i >= ARRAY_SIZE(words) / 2;
                return 0;
        }
        for (i = 0; joined && given && given[i]; i++) {
                char *longer = str_printf("%s%s%s", joined, i > 0 ? " " : "", given[i]);

                free(joined);
                joined = longer;
        }
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid filter 'dangling=[%s]'", joined ?: "");
}

static int read_until(Prune *prune, const json_t *values, Error *error)
{
        char **given CLEANUP_STRV = filter_values(values);

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
                        r = read_dangling(prune, values, error);
                else if (str_equal(name, "until"))
                        r = read_until(prune, values, error);
                else if (str_equal(name, "label"))
                        prune->labels = values;
                else if (str_equal(name, "label!"))
                        prune->labels_not = values;
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
        char **wanted CLEANUP_STRV = filter_values(prune->labels),
                      **unwanted CLEANUP_STRV = filter_values(prune->labels_not);
        bool all = strv_length(unwanted) > 0;

        for (size_t i = 0; wanted && wanted[i]; i++)
                if (!has_label(labels, wanted[i]))
                        return false;
        for (size_t i = 0; unwanted && unwanted[i]; i++)
                all = all && has_label(labels, unwanted[i]);
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

                r = store_index_record(store, &store->images[i], &record);
                if (r >= 0)
                        r = add_image(&prune, store->images[i].id, record);
        }
        if (r == 0)
                *ret_names = TAKE_PTR(prune.names);
        return r;
}
