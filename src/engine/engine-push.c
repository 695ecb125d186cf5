/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pushes: everything the worker needs of the metadata is read before it is forked. What it pushed is committed as a
 * pull is: the manifest is kept, and the image gets a name by its digest. */
#include "berth/json.h"
#include "engine-private.h"

typedef struct Push {
        Engine *engine;
        RegistryWork work;
        StoreReference reference;
        char *staging;
        int staging_fd;
        RegistryPushImage *images; /* owned, as all in them is */
        size_t n_images;
} Push;

static void image_free(RegistryPushImage *image)
{
        free((char *) image->tag);
        free((char *) image->id);
        free((char *) image->config);
        json_decref((json_t *) image->manifests);
        json_decref((json_t *) image->layers);
}

static void push_free(Push *push)
{
        if (push->staging)
                store_staging_discard(push->engine->store, push->staging);
        fd_close(push->staging_fd);
        free(push->staging);
        for (size_t i = 0; i < push->n_images; i++)
                image_free(&push->images[i]);
        free(push->images);
        registry_work_clear(&push->work);
        store_reference_clear(&push->reference);
        free(push);
}

/* --- The worker --------------------------------------------------------------------------------------------------- */

static int run_push(void *userdata, int result_fd)
{
        Push *push = userdata;
        CLEANUP_ERROR Error error = { 0 };
        json_t *result = NULL;
        RegistryPush request = { .job = registry_work_job(&push->work, result_fd),
                                 .reference = &push->reference,
                                 .images = push->images,
                                 .n_images = push->n_images,
                                 .root = push->engine->config->data_root,
                                 .staging_fd = push->staging_fd };
        int r = registry_push(&request, &result, &error);

        return registry_work_report(result_fd, r, result, &error);
}

static void on_line(const char *text, size_t size, void *userdata)
{
        Push *push = userdata;
        CLEANUP_JSON json_t *line = json_loadb(text, size, 0, NULL);

        registry_work_line(&push->work, line);
}

static void push_done(int status, const char *text, size_t size, void *userdata)
{
        Push *push = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *result = NULL, *images = NULL;
        int r = registry_work_result(status, text, size, &result, &error);

        if (r == 0)
                r = store_commit(push->engine->store, push->staging, result, &images, &error);
        if (r == 0) {
                registry_add_sources(push->engine, result);
                reference_event_emit(push->engine, "push", &push->reference);
                stream_end(&push->work.stream);
        } else
                registry_work_fail(&push->work, r, &error);
        Engine *engine = push->engine;
        push_free(push);
        engine_sweep(engine);
}

/* --- What is to be pushed ----------------------------------------------------------------------------------------- */

static int check_platform(Push *push, const char *platform, const char *id, const char *tag, Error *error)
{
        CLEANUP_FREE char *name = store_reference_familiar_name(&push->reference);
        CLEANUP_FREE char *tagged = name ? str_printf("%s:%s", name, tag) : NULL;

        return tagged ? store_image_check_platform(push->engine->store, id, tagged, platform, error) : -ENOMEM;
}

static int add_image(Push *push, const char *tag, const char *id, const char *platform, Error *error)
{
        Store *store = push->engine->store;
        CLEANUP_JSON json_t *config = NULL, *manifests = NULL;
        CLEANUP_FREE char *text = NULL;
        int r = store_image_config(store, id, &config);

        if (r >= 0)
                r = store_image_config_text(store, id, &text);
        if (r >= 0)
                r = store_image_manifests(store, id, &manifests);
        if (r >= 0)
                r = check_platform(push, platform, id, tag, error);
        if (r != 0)
                return r;
        RegistryPushImage *grown = reallocarray(push->images, push->n_images + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        push->images = grown;
        json_t *layers = store_config_layers(config);
        grown[push->n_images++] = (RegistryPushImage) { .tag = strdup(tag),
                                                        .id = strdup(id),
                                                        .config = TAKE_PTR(text),
                                                        .manifests = TAKE_PTR(manifests),
                                                        .layers = layers ? json_incref(layers) : json_array() };
        return grown[push->n_images - 1].tag && grown[push->n_images - 1].id ? 0 : -ENOMEM;
}

static int find_images(Push *push, const char *platform, Error *error)
{
        CLEANUP_FREE char *normal = store_reference_normal_name(&push->reference),
                          *familiar = store_reference_familiar_name(&push->reference);
        CLEANUP_JSON json_t *tags = NULL;
        const char *wanted = push->reference.tag, *tag;
        json_t *id;
        int r = normal && familiar ? store_repository_tags(push->engine->store, normal, &tags) : -ENOMEM;

        if (r < 0)
                return r;
        if (json_object_size(tags) == 0)
                return error_set(error, OUTCOME_FAILED, "An image does not exist locally with the tag: %s", familiar);
        if (push->reference.digest)
                return error_set(error, OUTCOME_FAILED, "cannot push a digest reference");
        if (!wanted) {
                json_object_foreach(tags, tag, id) {
                        r = add_image(push, tag, json_string_value(id), platform, error);
                        if (r != 0)
                                return r;
                }
                return 0;
        }
        id = json_object_get(tags, wanted);
        if (!id)
                return error_set(error, OUTCOME_FAILED, "tag does not exist: %s:%s", familiar, wanted);
        return add_image(push, wanted, json_string_value(id), platform, error);
}

/* --- The beginning ------------------------------------------------------------------------------------------------ */

/* With a tag to push, or without one for all. As Docker does it the name's own tag counts where there is no other, and
 * a digest that is not overruled by a tag is refused behind the first line. */
static int parse_reference(const ImagePush *request, StoreReference *ret, Error *error)
{
        int r = store_reference_parse(request->name, ret, error);

        if (r != 0 || str_empty(request->tag))
                return r;
        if (ret->digest)
                return error_set(error, OUTCOME_BAD_REQUEST, "cannot import digest reference");
        return store_reference_set_tag(ret, request->tag, error);
}

static int start_worker(Push *push)
{
        int keep[] = { push->work.stream.fd, push->staging_fd };
        WorkerJob job = { .run = run_push,
                          .done = push_done,
                          .line = on_line,
                          .userdata = push,
                          .keep_fds = keep,
                          .n_keep_fds = ARRAY_SIZE(keep) };

        return engine_worker_start(push->engine, &job);
}

/* As Docker does: the line first, so that what is missing here is told behind it. */
static int start_push(Push *push, const ImagePush *request, Error *error)
{
        CLEANUP_FREE char *normal = store_reference_normal_name(&push->reference);
        CLEANUP_FREE char *line = normal ? str_printf("The push refers to repository [%s]", normal) : NULL;
        int r = line ? registry_work_send(&push->work, json_pack("{ss}", "status", line)) : -ENOMEM;

        if (r == 0)
                r = find_images(push, request->platform, error);
        if (r == 0)
                r = store_staging_create(push->engine->store, &push->staging, &push->staging_fd);
        return r == 0 ? start_worker(push) : r;
}

void engine_image_push(Engine *engine, Stream *stream, const ImagePush *request)
{
        CLEANUP_ERROR Error error = { 0 };
        Push *push = calloc(1, sizeof(*push));

        if (!push) {
                request->refuse(stream, -ENOMEM, &error);
                return;
        }
        push->engine = engine;
        push->staging_fd = -EBADF;
        int r = registry_work_init(&push->work, engine, stream, request->auth, request->refuse);
        if (r == 0)
                r = parse_reference(request, &push->reference, &error);
        if (r == 0)
                r = start_push(push, request, &error);
        if (r != 0) {
                registry_work_fail(&push->work, r, &error);
                push_free(push);
        }
}
