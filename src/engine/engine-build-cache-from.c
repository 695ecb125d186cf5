/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Steps from images that were built before, maybe elsewhere. An image tells by its history what its layers were made
 * by; where that begins like the state's and goes on with the step at hand, its layer is the step's result. Of a step
 * that is made of more than "created_by" has, the comment has a digest of the rest.
 *
 * BuildKit's images tell the same in other words, but not what was copied: its cache of the image, too, only names
 * digests of its own graph of steps, which nobody else can make. So steps come from these images up to the first that
 * copies. */
#include "berth/digest.h"
#include "berth/json.h"
#include "engine-build-work.h"

#define COMMENT "berth.step:"

int work_comment(json_t *step)
{
        static const char *const untold[] = { "MountSums", "Script", "Link", "Parents", "KeepGit", "Unpack" };
        CLEANUP_JSON json_t *all = json_object();
        char digest[STORE_DIGEST_SIZE];

        for (size_t i = 0; i < ARRAY_SIZE(untold); i++) {
                json_t *value = json_object_get(step, untold[i]);
                if (value && !json_is_false(value))
                        json_object_set(all, untold[i], value);
        }
        if (!str_equal(json_get_string_or(step, "Network", "default"), "default"))
                json_object_set(all, "Network", json_object_get(step, "Network"));
        if (json_object_get(all, "MountSums"))
                json_object_set(all, "Mounts", json_object_get(step, "Mounts"));
        if (json_object_size(all) == 0)
                return 0;
        CLEANUP_FREE char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS), *comment = NULL;
        int r = text ? store_digest_data(text, strlen(text), digest) : -ENOMEM;
        if (r == 0)
                comment = str_printf(COMMENT "%s", store_digest_hex(digest));
        return r < 0 ? r : comment ? json_set_string(step, "Comment", comment) : -ENOMEM;
}

/* --- BuildKit's words --------------------------------------------------------------------------------------------- */

static bool is_buildkit(const json_t *entry)
{
        return str_after_prefix(json_get_string_or(entry, "comment", ""), "buildkit.") != NULL;
}

/* Instructions that it writes down in a form of its own, and that change nothing for the steps behind them but by what
 * those say themselves. */
static bool is_without_effect(const char *theirs, const char *ours)
{
        static const char *const names[] = { "ARG ",         "LABEL ", "EXPOSE ",     "CMD ",     "ENTRYPOINT ",
                                             "HEALTHCHECK ", "SHELL ", "STOPSIGNAL ", "ONBUILD ", "MAINTAINER " };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_after_prefix(theirs, names[i]) && str_after_prefix(ours, names[i]))
                        return true;
        return false;
}

/* "RUN /bin/sh -c make # buildkit", "ENV a=b". */
static bool is_said_by_buildkit(const char *theirs, const char *ours)
{
        const char *run = str_after_prefix(theirs, "RUN "), *nop = strstr(ours, "#(nop) ");
        CLEANUP_FREE char *whole = str_printf("%s # buildkit", ours);

        if (!nop)
                return run && str_equal(run, whole);
        nop += strlen("#(nop) ");
        nop += strspn(nop, " ");
        return str_equal(theirs, nop) || is_without_effect(theirs, nop);
}

static bool is_by(const json_t *entry, const char *created_by)
{
        const char *theirs = json_get_string_or(entry, "created_by", "");

        return str_equal(theirs, created_by) || (is_buildkit(entry) && is_said_by_buildkit(theirs, created_by));
}

/* --- Matching ----------------------------------------------------------------------------------------------------- */

/* Whether the other's entry stands for what ours does. */
static bool is_same_entry(const json_t *ours, const json_t *other)
{
        return is_by(other, json_get_string_or(ours, "created_by", "")) &&
               json_get_bool(ours, "empty_layer") == json_get_bool(other, "empty_layer");
}

/* What the step is made of besides is the same, or is nothing. */
static bool is_with(const json_t *entry, const json_t *step)
{
        const char *comment = json_get_string(step, "Comment"), *theirs = json_get_string(entry, "comment");

        return comment ? str_equal(comment, theirs) : !str_after_prefix(theirs ?: "", COMMENT);
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
static const json_t *find_entry(const json_t *other, const WorkState *state, const json_t *step, const char *created_by)
{
        size_t n = json_array_size(json_get_array(state->image, "history"));
        const json_t *entry = json_array_get(json_get_array(other, "history"), n);

        if (!entry || !is_by(entry, created_by) || !is_with(entry, step) || !begins_with(other, state->image))
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
                const json_t *entry = find_entry(other, state, step, created_by);
                int r = entry ? take_entry(work, other, entry, step, key, state, error) : 0;

                if (entry)
                        return r == 0 ? 1 : r;
        }
        return 0;
}

static void warn_of_buildkit(BuildWork *work, const char *name, const json_t *image)
{
        const json_t *history = json_get_array(image, "history");

        if (is_buildkit(json_array_get(history, json_array_size(history) - 1)))
                work_say(work,
                         "[Warning] %s was built by BuildKit, whose cache names nothing but digests of BuildKit's own: "
                         "steps come from its history, up to the first that copies files\n",
                         name);
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
                else
                        warn_of_buildkit(work, text, image.image);
        }
        return 0;
}
