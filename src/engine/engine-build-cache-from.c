/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Steps from images that were built before, maybe elsewhere. An image tells by its history what its layers were made
 * by; where that begins like the state's and goes on with the step at hand, its layer is the step's result. */
#include "berth/json.h"
#include "engine-build-work.h"

static bool is_same_entry(const json_t *a, const json_t *b)
{
        return str_equal(json_get_string_or(a, "created_by", ""), json_get_string_or(b, "created_by", "")) &&
               json_get_bool(a, "empty_layer") == json_get_bool(b, "empty_layer");
}

/* Whether the other begins with the image: its steps, and what they made. */
static bool begins_with(const json_t *other, const json_t *image)
{
        const json_t *pairs[][2] = { { json_get_array(image, "history"), json_get_array(other, "history") },
                                     { store_config_layers(image), store_config_layers(other) } };

        for (size_t i = 0; i < json_array_size(pairs[0][0]); i++)
                if (!is_same_entry(json_array_get(pairs[0][0], i), json_array_get(pairs[0][1], i)))
                        return false;
        for (size_t i = 0; i < json_array_size(pairs[1][0]); i++)
                if (!json_equal(json_array_get(pairs[1][0], i), json_array_get(pairs[1][1], i)))
                        return false;
        return true;
}

/* The entry of the other's history that is this step upon the state, or NULL. */
static const json_t *find_entry(const json_t *other, const WorkState *state, const char *created_by)
{
        size_t n = json_array_size(json_get_array(state->image, "history"));
        const json_t *entry = json_array_get(json_get_array(other, "history"), n);

        if (!entry || !str_equal(json_get_string(entry, "created_by"), created_by) || !begins_with(other, state->image))
                return NULL;
        size_t layer = json_array_size(store_config_layers(state->image));
        return json_get_bool(entry, "empty_layer") || json_array_get(store_config_layers(other), layer) ? entry : NULL;
}

/* The state with that layer, its configuration being the step's own. */
static int take_entry(BuildWork *work, const json_t *other, const json_t *entry, const json_t *step, const char *key,
                      WorkState *state, Error *error)
{
        CLEANUP_JSON json_t *parent = state->image ? json_deep_copy(state->image)
                                                   : json_pack("{s{ss s[]}}", "rootfs", "type", "layers", "diff_ids");
        CLEANUP_JSON json_t *result = NULL;
        CLEANUP_CLOSE int staging_fd = -EBADF;
        CLEANUP_FREE char *name = NULL;
        json_t *layers = store_config_layers(parent),
               *layer = json_array_get(store_config_layers(other), json_array_size(layers));

        if (!layers || (!json_get_bool(entry, "empty_layer") && json_array_append(layers, layer) < 0))
                return -ENOMEM;
        StoreChild child = work_child(work, state, step, NULL);
        child.parent = parent;
        child.entry = entry;
        int r = work_stage_directory(work, &name, &staging_fd, error);
        StoreInput input = { .fd = -EBADF, .staging_fd = staging_fd };
        if (r == 0)
                r = store_child(&input, &child, &result, error);
        return r == 0 ? work_commit(work, name, result, key, step, state, error) : r;
}

int work_cache_from(BuildWork *work, const json_t *step, const char *created_by, const char *key, WorkState *state,
                    Error *error)
{
        json_t *other;
        size_t i;

        json_array_foreach(work->sources, i, other) {
                const json_t *entry = find_entry(other, state, created_by);
                int r = entry ? take_entry(work, other, entry, step, key, state, error) : 0;

                if (entry)
                        return r == 0 ? 1 : r;
        }
        return 0;
}

/* One that is not to be had is no reason not to build. */
int work_cache_sources(BuildWork *work)
{
        json_t *name;
        size_t i;

        if (json_get_bool(work->options, "nocache"))
                return 0;
        json_array_foreach(json_get_array(work->options, "cachefrom"), i, name) {
                CLEANUP(work_state_clear) WorkState image = { 0 };
                CLEANUP_ERROR Error error = { 0 };
                const char *text = json_string_value(name) ?: "";
                int r = work_find_image(work, text, NULL, &image, &error);

                if (r != 0)
                        work_say(work, "[Warning] no steps come from %s: %s\n", text,
                                 error.message ? error.message : strerror(abs(r)));
                else if (json_array_append(work->sources, image.image) < 0)
                        return -ENOMEM;
        }
        return 0;
}
