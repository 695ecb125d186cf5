/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images: the store's operations with what the engine knows of containers, and loading in a worker. */

#include "berth/change.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/platform.h"
#include "engine-private.h"

static bool uses_image(const Container *container, const char *image_id)
{
        return str_equal(json_get_string(container->record, "Image"), image_id) ||
               container_mounts_image(container, image_id);
}

static int64_t count_users(const char *image_id, void *userdata)
{
        const Engine *engine = userdata;
        const Container *container;
        int64_t n = 0;

        LIST_FOREACH(container, &engine->containers, link)
                n += uses_image(container, image_id);
        return n;
}

static const char *find_user(const char *image_id, bool running, void *userdata)
{
        const Engine *engine = userdata;
        const Container *container;

        LIST_FOREACH(container, &engine->containers, link)
                if (uses_image(container, image_id) && container_is_running(container) == running)
                        return container->id;
        return NULL;
}

static void emit_removal(const char *action, const char *image_id, const json_t *labels, void *userdata)
{
        json_t *attributes = labels ? json_copy((json_t *) labels) : json_object();

        if (attributes)
                json_set_string(attributes, "name", image_id);
        engine_event_emit(userdata, "image", action, image_id, attributes);
}

StoreUsers engine_image_users(Engine *engine)
{
        engine_ensure_all(engine);
        return (StoreUsers) { .count = count_users, .container = find_user, .userdata = engine };
}

StoreUsers engine_image_removal(Engine *engine)
{
        StoreUsers users = engine_image_users(engine);

        users.happened = emit_removal;
        return users;
}

static int64_t count_listed(const char *image_id, void *userdata)
{
        return json_get_int(userdata, image_id, 0);
}

/* How many containers each image has, by its ID. */
static json_t *count_containers(Engine *engine)
{
        CLEANUP_JSON json_t *counts = json_object();
        const Container *container;

        engine_ensure_all(engine);
        LIST_FOREACH(container, &engine->containers, link) {
                const char *id = json_get_string_or(container->record, "Image", "");

                if (json_set_int(counts, id, json_get_int(counts, id, 0) + 1) < 0)
                        return NULL;
        }
        return TAKE_PTR(counts);
}

int engine_image_list(Engine *engine, const ImageList *list, json_t **ret_list, Error *error)
{
        StoreListOptions options = { list->all, list->shared_size, list->containers, list->filters };
        CLEANUP_JSON json_t *counts = list->containers ? count_containers(engine) : NULL;
        StoreUsers users = { .count = count_listed, .userdata = counts };

        if (list->containers && !counts)
                return -ENOMEM;
        return store_list(engine->store, &options, &users, ret_list, error);
}

int engine_image_check_platform(Engine *engine, const char *name, const char *platform, Error *error)
{
        CLEANUP_FREE char *id = NULL;
        int r = str_empty(platform) ? 0 : store_resolve(engine->store, name, &id, error);

        return r != 0 || !id ? r : store_image_check_platform(engine->store, id, name, platform, error);
}

int engine_image_inspect(Engine *engine, const char *name, json_t **ret_object, Error *error)
{
        CLEANUP_FREE char *id = NULL;
        int r = store_resolve(engine->store, name, &id, error);

        return r != 0 ? r : store_image_inspect(engine->store, id, ret_object);
}

int engine_image_history(Engine *engine, const char *name, json_t **ret_list, Error *error)
{
        CLEANUP_FREE char *id = NULL;
        int r = store_resolve(engine->store, name, &id, error);

        return r != 0 ? r : store_image_history(engine->store, id, ret_list);
}

int engine_image_tag(Engine *engine, const char *name, const char *repository, const char *tag, Error *error)
{
        CLEANUP_REFERENCE StoreReference reference = { 0 };
        CLEANUP_FREE char *id = NULL, *normal = NULL;
        int r = store_reference_for_name(repository ? repository : "", tag ? tag : "", &reference, error);

        if (r != 0)
                return r;
        r = store_resolve(engine->store, name, &id, error);
        if (r != 0) /* whatever is wrong with the name of the one that is there to be named */
                return r == OUTCOME_BAD_REQUEST ? OUTCOME_NOT_FOUND : r;
        normal = store_reference_normal(&reference);
        r = normal ? store_tag(engine->store, id, normal, error) : -ENOMEM;
        CLEANUP_FREE char *familiar = r == 0 ? store_reference_familiar(&reference) : NULL;
        if (familiar)
                image_event_emit(engine, "tag", id, familiar);
        return r;
}

void engine_forget_images(Engine *engine)
{
        if (!store_has_hidden(engine->store))
                return;
        StoreUsers users = engine_image_users(engine);
        int r = store_forget_hidden(engine->store, &users);
        if (r < 0)
                log_warning_errno(r, "Cannot remove what no container uses of images that were removed before");
        engine_sweep(engine);
}

int engine_image_remove(Engine *engine, const char *name, bool force, bool no_prune, json_t **ret_list, Error *error)
{
        StoreUsers users = engine_image_removal(engine);
        int r = store_delete(engine->store, name, force, !no_prune, &users, ret_list, error);

        engine_sweep(engine);
        return r;
}

/* --- Loading ------------------------------------------------------------------------------------------------------ */

/* One load or import: shared by the worker (its copy after the fork) and the engine. */
typedef struct Load {
        Engine *engine;
        Stream stream;
        char *staging;
        int staging_fd;
        bool quiet, import;
        char *reference, *message, *platform;
        json_t *config;
} Load;

static void load_free(Load *load)
{
        if (load->staging)
                store_staging_discard(load->engine->store, load->staging);
        engine_sweep(load->engine);
        stream_clear(&load->stream);
        fd_close(load->staging_fd);
        free(load->staging);
        free(load->reference);
        free(load->message);
        free(load->platform);
        json_decref(load->config);
        free(load);
}

static int send_message(Load *load, json_t *message)
{
        CLEANUP_JSON json_t *owned = message;
        CLEANUP_FREE char *text = json_dumps(owned, JSON_COMPACT);
        CLEANUP_BUFFER Buffer line = { 0 };

        if (!text || buffer_printf(&line, "%s\r\n", text) < 0)
                return -ENOMEM;
        return stream_write(&load->stream, line.data, line.size);
}

static void send_failure(Load *load, const char *text)
{
        send_message(load, json_pack("{s{ss} ss}", "errorDetail", "message", text, "error", text));
}

static ssize_t read_archive(void *userdata, void *buffer, size_t size)
{
        Load *load = userdata;

        return stream_read(&load->stream, buffer, size);
}

static void show_progress(void *userdata, const char *layer, int64_t current, int64_t total)
{
        Load *load = userdata;

        if (!load->quiet)
                send_message(load, json_pack("{ss s{sI sI} ss}", "status", "Loading layer", "progressDetail", "current",
                                             (json_int_t) current, "total", (json_int_t) total, "id", layer));
}

static int run_load(void *userdata, int result_fd)
{
        Load *load = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *result = NULL;
        StoreInput input = { .fd = -EBADF,
                             .read = read_archive,
                             .staging_fd = load->staging_fd,
                             .platform = load->platform,
                             .progress = load->import ? NULL : show_progress,
                             .userdata = load };
        StoreImport import = { .reference = load->reference, .message = load->message, .config = load->config };
        int keep[] = { load->stream.fd, load->staging_fd, result_fd };

        int r = store_worker_confine(load->staging_fd, keep, ARRAY_SIZE(keep));
        if (r >= 0)
                r = load->import ? store_import(&input, &import, &result, &error)
                                 : store_load_archive(&input, &result, &error);
        if (r != 0)
                result = json_pack("{ss}", "Failure", error.message ? error.message : strerror(abs(r)));
        CLEANUP_FREE char *text = json_dumps(result, JSON_COMPACT);
        return text ? fd_write_all(result_fd, text, strlen(text)) : -ENOMEM;
}

static void report_images(Load *load, const json_t *images)
{
        json_t *image, *reference;
        size_t i, k;

        json_array_foreach((json_t *) images, i, image) {
                const json_t *references = json_object_get(image, "References");
                const char *id = json_get_string_or(image, "ID", "");
                image_event_emit(load->engine, load->import ? "import" : "load", id, id);
                if (load->import) {
                        send_message(load, json_pack("{ss}", "status", id));
                        continue;
                }
                json_array_foreach((json_t *) references, k, reference) {
                        CLEANUP_FREE char *line = str_printf("Loaded image: %s\n", json_string_value(reference));
                        send_message(load, json_pack("{ss}", "stream", line));
                }
                if (json_array_size(references) == 0) {
                        CLEANUP_FREE char *line = str_printf("Loaded image ID: %s\n", id);
                        send_message(load, json_pack("{ss}", "stream", line));
                }
        }
}

static void load_done(int status, const char *result, size_t size, void *userdata)
{
        Load *load = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *value = size > 0 ? json_loadb(result, size, 0, NULL) : NULL, *images = NULL;
        const char *failure = json_get_string(value, "Failure");

        if (failure)
                send_failure(load, failure);
        else if (status < 0 || !value)
                send_failure(load, "the worker that unpacked the image ended early");
        else {
                int r = store_commit(load->engine->store, load->staging, value, &images, &error);
                if (r != 0)
                        send_failure(load, error.message ? error.message : strerror(abs(r)));
                else
                        report_images(load, images);
        }
        stream_end(&load->stream);
        load_free(load);
}

static int load_start(Load *load)
{
        int keep[2];
        int r = store_staging_create(load->engine->store, &load->staging, &load->staging_fd);

        /* The head goes out here, so that worker and engine agree that it is sent. */
        if (r >= 0)
                r = stream_begin(&load->stream);
        if (r < 0) {
                load_free(load);
                return r;
        }
        keep[0] = load->stream.fd;
        keep[1] = load->staging_fd;
        WorkerJob job = { .run = run_load, .done = load_done, .userdata = load, .keep_fds = keep, .n_keep_fds = 2 };
        r = engine_worker_start(load->engine, &job);
        if (r < 0)
                load_free(load);
        return r;
}

static char *copy_or_null(const char *s)
{
        return str_empty(s) ? NULL : strdup(s);
}

int engine_image_load(Engine *engine, Stream *stream, bool quiet, const char *platform)
{
        Load *load = calloc(1, sizeof(*load));
        if (!load)
                return -ENOMEM;

        load->engine = engine;
        load->quiet = quiet;
        load->platform = copy_or_null(platform);
        load->staging_fd = -EBADF;
        stream_move(&load->stream, stream);
        return load_start(load);
}

static int import_config(const ImageImport *import, json_t **ret_config, Error *error)
{
        CLEANUP_JSON json_t *none = json_object(), *config = NULL;
        int r = fields_normalise("Config", none, &config, error);

        if (r == 0)
                r = change_apply(config, import->changes, error);
        if (r == 0 && json_object_size(json_object_get(config, "Labels")) == 0)
                json_object_del(config, "Labels");
        if (r == 0)
                *ret_config = TAKE_PTR(config);
        return r;
}

static int import_reference(const ImageImport *import, char **ret_name, Error *error)
{
        CLEANUP_REFERENCE StoreReference reference = { 0 };

        if (str_empty(import->repository))
                return 0;
        int r = store_reference_for_name(import->repository, import->tag ? import->tag : "", &reference, error);
        if (r != 0)
                return r;
        *ret_name = store_reference_normal(&reference);
        return *ret_name ? 0 : -ENOMEM;
}

int engine_import_prepare(const ImageImport *import, char **ret_reference, json_t **ret_config, Error *error)
{
        CLEANUP_FREE char *name = NULL;
        StorePlatform platform;
        int r = store_platform_parse(import->platform, &platform, error);

        if (r == 0 && !str_equal(platform.os, "linux"))
                r = error_set(error, OUTCOME_BAD_REQUEST, "operating system is not supported");
        if (r == 0)
                r = import_reference(import, &name, error);

        if (r == 0)
                r = import_config(import, ret_config, error);
        if (r == 0)
                *ret_reference = TAKE_PTR(name);
        return r;
}

int engine_image_import_check(const ImageImport *import, Error *error)
{
        CLEANUP_JSON json_t *config = NULL;
        CLEANUP_FREE char *name = NULL;

        return engine_import_prepare(import, &name, &config, error);
}

int engine_image_import(Engine *engine, Stream *stream, const ImageImport *import, Error *error)
{
        CLEANUP_JSON json_t *config = NULL;
        CLEANUP_FREE char *name = NULL;
        int r = engine_import_prepare(import, &name, &config, error);

        if (r != 0)
                return r;
        Load *load = calloc(1, sizeof(*load));
        if (!load)
                return -ENOMEM;
        load->engine = engine;
        load->import = true;
        load->staging_fd = -EBADF;
        load->reference = TAKE_PTR(name);
        load->message = copy_or_null(import->message);
        load->platform = copy_or_null(import->platform);
        load->config = TAKE_PTR(config);
        stream_move(&load->stream, stream);
        return load_start(load);
}
