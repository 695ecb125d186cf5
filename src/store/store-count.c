/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many images have a layer, and how many are made of another: counted over all records when somebody first asks,
 * and kept while images go one after the other. What adds or hides an image makes them be counted anew. */
#include "berth/json.h"
#include "store-private.h"

static int add(json_t *counts, const char *key, int64_t more)
{
        return key ? json_set_int(counts, key, json_get_int(counts, key, 0) + more) : 0;
}

static int add_image(json_t *layers, json_t *children, const json_t *record, bool hidden, int64_t more)
{
        json_t *item;
        size_t i;
        int r = hidden ? 0 : add(children, json_get_string(record, "Parent"), more);

        json_array_foreach(json_get_array(record, "Layers"), i, item) {
                if (r < 0)
                        return r;
                r = add(layers, json_string_value(item), more);
        }
        return r;
}

static int count_all(Store *store)
{
        json_t *layers CLEANUP_JSON = json_object(), *children CLEANUP_JSON = json_object();
        int r = layers && children ? store_index_load(store) : -ENOMEM;

        for (size_t i = 0; r >= 0 && i < store->n_images; i++) {
                json_t *record;

                r = store_index_record(store, &store->images[i], &record);
                if (r >= 0)
                        r = add_image(layers, children, record, store->images[i].removed, 1);
        }
        if (r < 0)
                return r;
        store->layer_users = TAKE_PTR(layers);
        store->children = TAKE_PTR(children);
        return 0;
}

void store_counts_drop(Store *store)
{
        json_decref(TAKE_PTR(store->layer_users));
        json_decref(TAKE_PTR(store->children));
}

void store_counts_take(Store *store, const json_t *record, bool hidden)
{
        if (store->layer_users && add_image(store->layer_users, store->children, record, hidden, -1) < 0)
                store_counts_drop(store);
}

static int find(Store *store, json_t *const *counts, const char *key, size_t *ret_count)
{
        int r = store->layer_users ? 0 : count_all(store);

        if (r >= 0)
                *ret_count = (size_t) json_get_int(*counts, key, 0);
        return r;
}

int store_index_children(Store *store, const char *id, size_t *ret_count)
{
        return find(store, &store->children, id, ret_count);
}

int store_index_layer_users(Store *store, const char *diff_id, size_t *ret_count)
{
        return find(store, &store->layer_users, diff_id, ret_count);
}
