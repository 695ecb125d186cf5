/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POST /commit: a container's changes become an image. The configuration is worked out here, from the request, the
 * changes and the container's own; a worker makes the layer, of a container that is held still unless the client would
 * not have it. */
#include <fcntl.h>
#include <sys/resource.h>

#include "berth/change.h"
#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define FREEZE_TIMEOUT_MS 10000

/* Shared by the worker (its copy after the fork) and the engine. */
typedef struct Commit {
        Engine *engine;
        char *container_id, *group; /* group: what is frozen; NULL where nothing is */
        char *image_id;             /* the container's; NULL where it is gone */
        char *staging, *reference, *author, *comment, *created_by;
        int staging_fd, upper_fd;
        json_t *parent, *config, *container_config;
        EngineJsonDone done;
        void *userdata;
} Commit;

static void commit_free(Commit *commit)
{
        if (commit->group)
                engine_thaw(commit->engine, commit->container_id, commit->group);
        if (commit->staging)
                store_staging_discard(commit->engine->store, commit->staging);
        engine_sweep(commit->engine);
        fd_close(commit->staging_fd);
        fd_close(commit->upper_fd);
        json_decref(commit->parent);
        json_decref(commit->config);
        json_decref(commit->container_config);
        free(commit->container_id);
        free(commit->group);
        free(commit->image_id);
        free(commit->staging);
        free(commit->reference);
        free(commit->author);
        free(commit->comment);
        free(commit->created_by);
        free(commit);
}

DEFINE_CLEANUP(cleanup_commit_ptr, Commit *, commit_free)

/* --- The configuration -------------------------------------------------------------------------------------------- */

static bool is_nothing(const json_t *value)
{
        return !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0) ||
               (json_is_array(value) && json_array_size(value) == 0) ||
               (json_is_object(value) && json_object_size(value) == 0) ||
               (json_is_integer(value) && json_integer_value(value) == 0);
}

static void inherit(json_t *config, const json_t *from, const char *key)
{
        json_t *value = json_object_get(from, key);

        if (is_nothing(json_object_get(config, key)) && value)
                json_object_set(config, key, value);
}

static void inherit_members(json_t *config, const json_t *from, const char *key)
{
        json_t *ours = json_get_object(config, key), *theirs = json_get_object(from, key);

        if (!ours)
                inherit(config, from, key);
        else if (theirs) {
                CLEANUP_JSON json_t *merged = json_deep_copy(ours);
                json_object_update_missing(merged, theirs);
                json_object_set(config, key, merged);
        }
}

static bool names_variable(const json_t *list, const char *text)
{
        size_t i, length = strcspn(text, "=");
        json_t *item;

        json_array_foreach(list, i, item) {
                const char *other = json_string_value(item);
                if (other && strcspn(other, "=") == length && strncmp(other, text, length) == 0)
                        return true;
        }
        return false;
}

static void inherit_env(json_t *config, const json_t *from)
{
        json_t *item;
        size_t i;

        if (is_nothing(json_object_get(config, "Env"))) {
                inherit(config, from, "Env");
                return;
        }
        CLEANUP_JSON json_t *merged = json_copy(json_object_get(config, "Env"));
        json_array_foreach(json_object_get(from, "Env"), i, item)
                if (!names_variable(merged, json_string_value(item)))
                        json_array_append(merged, item);
        json_object_set(config, "Env", merged);
}

/* What the request leaves open is the container's. */
static void merge_config(json_t *config, const json_t *from)
{
        static const char *const values[] = { "User", "WorkingDir", "StopSignal" };
        static const char *const maps[] = { "ExposedPorts", "Volumes", "Labels", "Healthcheck" };

        for (size_t i = 0; i < ARRAY_SIZE(values); i++)
                inherit(config, from, values[i]);
        for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
                inherit_members(config, from, maps[i]);
        inherit_env(config, from);
        if (is_nothing(json_object_get(config, "Entrypoint"))) {
                inherit(config, from, "Cmd");
                if (!json_is_array(json_object_get(config, "Entrypoint")))
                        inherit(config, from, "Entrypoint");
        }
}

static int make_config(Commit *commit, const Container *container, const json_t *body, char *const *changes,
                       Error *error)
{
        const json_t *own = container_config(container);
        int r = 0;

        if (json_object_size(body) > 0)
                r = fields_normalise("Config", body, &commit->config, error);
        else
                commit->config = json_deep_copy(own);
        if (r != 0)
                return r;
        commit->container_config = json_deep_copy(own);
        if (!commit->config || !commit->container_config)
                return -ENOMEM;
        r = change_apply(commit->config, changes, error);
        if (r == 0)
                merge_config(commit->config, own);
        return r;
}

static char *join_command(const Container *container)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        json_t *word;
        size_t i;

        json_array_foreach(json_object_get(container_config(container), "Cmd"), i, word)
                if (buffer_printf(&text, "%s%s", i > 0 ? " " : "", json_string_value(word)) < 0)
                        return NULL;
        return buffer_take(&text);
}

/* --- The worker --------------------------------------------------------------------------------------------------- */

static int run_commit(void *userdata, int result_fd)
{
        Commit *commit = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *result = NULL;
        StoreInput input = { .fd = -EBADF, .staging_fd = commit->staging_fd };
        StoreChild child = {
                .upper_fd = commit->upper_fd,
                .parent = commit->parent,
                .parent_id = commit->image_id,
                .reference = commit->reference,
                .config = commit->config,
                .container_config = commit->container_config,
                .container_id = commit->container_id,
                .author = commit->author,
                .comment = commit->comment,
                .created_by = commit->created_by,
        };
        int keep[] = { commit->upper_fd, commit->staging_fd, result_fd };

        engine_worker_raise_files();
        int r = commit->group ? freeze_wait(commit->group, FREEZE_TIMEOUT_MS) : 0;
        if (r >= 0)
                r = store_worker_confine(commit->staging_fd, keep, ARRAY_SIZE(keep));
        if (r >= 0)
                r = store_child(&input, &child, &result, &error);
        return engine_worker_answer(result_fd, r, result, &error);
}

static void emit_commit(const Commit *commit, const char *image)
{
        CLEANUP_REFERENCE StoreReference reference = { 0 };
        CLEANUP_FREE char *familiar = NULL;
        Container *container = engine_container_by_id(commit->engine, commit->container_id);

        if (commit->reference && store_reference_parse(commit->reference, &reference, NULL) == 0)
                familiar = store_reference_familiar(&reference);
        if (container && container->record)
                container_event_emit(container, "commit",
                                     json_pack("{ss ss ss}", "comment", commit->comment, "imageID", image, "imageRef",
                                               familiar ? familiar : ""));
}

static void commit_done(int status, const char *text, size_t size, void *userdata)
{
        CLEANUP(cleanup_commit_ptr) Commit *commit = userdata;
        CLEANUP_JSON json_t *result = NULL, *images = NULL, *answer = NULL;
        CLEANUP_ERROR Error error = { 0 };
        int r = engine_worker_result(status, text, size, &result, &error);

        if (commit->group) {
                engine_thaw(commit->engine, commit->container_id, commit->group);
                free(TAKE_PTR(commit->group));
        }
        /* Its image may have been removed meanwhile: then the new one has no parent, but all layers. */
        if (r == 0)
                r = store_commit(commit->engine->store, commit->staging, result, &images, &error);
        if (r == 0)
                answer = json_pack("{sO}", "Id", json_object_get(json_array_get(images, 0), "ID"));
        if (r == 0 && !answer)
                r = -ENOMEM;
        if (r == 0)
                emit_commit(commit, json_get_string_or(answer, "Id", ""));
        commit->done(r, answer, &error, commit->userdata);
}

static int start_commit(Commit *commit, Container *container, bool pause, Error *error)
{
        int keep[2];
        int r = store_staging_create(commit->engine->store, &commit->staging, &commit->staging_fd);

        if (r < 0)
                return r;
        if (pause && container_is_running(container)) {
                r = container_freeze(container, &commit->group);
                if (r < 0)
                        return error_set(error, OUTCOME_FAILED, "cannot pause container %s: %s", container->id,
                                         strerror(-r));
        }
        keep[0] = commit->upper_fd;
        keep[1] = commit->staging_fd;
        WorkerJob job = {
                .run = run_commit, .done = commit_done, .userdata = commit, .keep_fds = keep, .n_keep_fds = 2
        };
        return engine_worker_start(commit->engine, &job);
}

static int commit_refusal(const Container *container, Error *error)
{
        if (container->removing)
                return error_set(error, OUTCOME_CONFLICT, "You cannot commit container %s which is being removed",
                                 container->id);
        return 0;
}

static int parse_reference(const ContainerCommit *request, char **ret, Error *error)
{
        CLEANUP_REFERENCE StoreReference reference = { 0 };

        if (str_empty(request->repository))
                return 0;
        int r = store_reference_for_name(request->repository, request->tag ?: "", &reference, error);
        if (r != 0)
                return r;
        *ret = store_reference_normal(&reference);
        return *ret ? 0 : -ENOMEM;
}

static int prepare_commit(Commit *commit, Container *container, const ContainerCommit *request, const json_t *body,
                          Error *error)
{
        const char *image = json_get_string(container->record, "Image");
        CLEANUP_FREE char *upper = container_path(container, "upper");
        int r = commit_refusal(container, error);

        if (r == 0)
                r = make_config(commit, container, body, request->changes, error);
        if (r != 0)
                return r;
        commit->container_id = strdup(container->id);
        commit->created_by = join_command(container);
        commit->author = strdup(request->author ?: "");
        commit->comment = strdup(request->comment ?: "");
        commit->image_id = image ? strdup(image) : NULL;
        if (!upper || !commit->container_id || !commit->created_by || !commit->author || !commit->comment)
                return -ENOMEM;
        commit->upper_fd = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (commit->upper_fd < 0)
                return -errno;
        r = store_image_config(commit->engine->store, image ?: "", &commit->parent);
        return r == -ENOENT ? error_set(error, OUTCOME_NOT_FOUND, "No such image: %s", image ?: "") : r;
}

void engine_container_commit(Engine *engine, const ContainerCommit *request, const json_t *body, EngineJsonDone done,
                             void *userdata)
{
        CLEANUP(cleanup_commit_ptr) Commit *commit = calloc(1, sizeof(*commit));
        CLEANUP_ERROR Error error = { 0 };
        Container *container = NULL;
        int r = commit ? 0 : -ENOMEM;

        if (r == 0) {
                *commit = (Commit) { .engine = engine, .staging_fd = -EBADF, .upper_fd = -EBADF };
                r = parse_reference(request, &commit->reference, &error);
        }
        if (r == 0 && str_empty(request->container))
                r = error_set(&error, OUTCOME_BAD_REQUEST, "invalid name or ID supplied: \"\"");
        if (r == 0)
                r = engine_container_find(engine, request->container ?: "", &container, &error);
        if (r == 0)
                r = prepare_commit(commit, container, request, body, &error);
        if (r == 0) {
                commit->done = done;
                commit->userdata = userdata;
                r = start_commit(commit, container, request->pause, &error);
        }
        if (r != 0)
                done(r, NULL, &error, userdata);
        else
                TAKE_PTR(commit);
}
