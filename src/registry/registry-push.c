/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A push, in its job process: the layers by a pool of uploaders, then the configuration and the manifest. The manifest
 * is one that is kept for the image, byte for byte, if the repository ends up with the blobs that it names; else a new
 * one of what the repository has: OCI's where the image came so, or where a layer is compressed in a way that schema 2
 * has no name for. */
#include <string.h>

#include "berth/digest.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "registry-blob.h"
#include "registry-manifest.h"
#include "registry-media.h"
#include "registry-pool.h"
#include "registry-progress.h"
#include "registry-upload.h"

#define SCOPES_MAX 8

typedef enum LayerState {
        LAYER_READY,
        LAYER_RUNNING,
        LAYER_DONE,
} LayerState;

typedef struct Layer {
        char diff_id[STORE_DIGEST_SIZE];
        const json_t *wanted; /* borrowed; of the kept manifest */
        json_t *sources;      /* owned */
        json_t *descriptor;   /* owned; once it is done */
        int64_t tar_size;
        LayerState state;
} Layer;

typedef struct Push {
        const RegistryPush *request;
        RegistrySession session;
        char *layer_root;         /* owned */
        char *repository;         /* owned; the normal name */
        json_t *result;           /* owned */
        json_t *present;          /* owned; diff ID to descriptor, of what earlier tags pushed */
        RegistryCompanion reader; /* of an uploader */
        unsigned n_blobs;

        /* Of the image at hand. */
        const RegistryPushImage *image;
        json_t *manifest;          /* owned; parsed: the kept one that is tried */
        const char *manifest_text; /* borrowed */
        bool oci;                  /* it is OCI's */
        Layer *layers;             /* owned; each once, topmost first */
        size_t n;
        Error *error;
} Push;

static void image_clear(Push *push)
{
        for (size_t i = 0; i < push->n; i++) {
                json_decref(push->layers[i].sources);
                json_decref(push->layers[i].descriptor);
        }
        free(TAKE_PTR(push->layers));
        push->n = 0;
        json_decref(TAKE_PTR(push->manifest));
        push->manifest_text = NULL;
        push->oci = false;
}

static void push_clear(Push *push)
{
        image_clear(push);
        registry_session_clear(&push->session);
        registry_companion_clear(&push->reader);
        free(push->layer_root);
        free(push->repository);
        json_decref(push->result);
        json_decref(push->present);
}

static int emit(const Push *push, json_t *message)
{
        const RegistryJob *job = &push->request->job;

        return message ? job->emit(job->userdata, message) : -ENOMEM;
}

/* --- Planning ----------------------------------------------------------------------------------------------------- */

static bool source_names(const json_t *source, const char *repository, bool same_registry)
{
        size_t domain = strcspn(repository, "/") + 1, i;
        json_t *name;

        json_array_foreach(json_get_array(source, "Repositories"), i, name) {
                const char *text = json_string_value(name) ?: "";

                if (str_equal(text, repository) || (same_registry && strncmp(text, repository, domain) == 0))
                        return true;
        }
        return false;
}

/* How well the registry is known to have the manifest's blobs. */
static size_t rate_manifest(const Push *push, const json_t *manifest)
{
        json_t *descriptor;
        size_t i, score = 0;

        json_array_foreach(json_get_array(manifest, "layers"), i, descriptor) {
                CLEANUP_JSON json_t *sources = NULL;
                json_t *source;
                size_t k;

                if (store_layer_sources(push->layer_root,
                                        json_string_value(json_array_get(push->image->layers, i)) ?: "", &sources) < 0)
                        continue;
                json_array_foreach(sources, k, source)
                        if (str_equal(json_get_string(source, "Digest"), json_get_string(descriptor, "digest")))
                                score += source_names(source, push->repository, false)  ? 4
                                         : source_names(source, push->repository, true) ? 2
                                                                                        : 1;
        }
        return score;
}

static void choose_manifest(Push *push)
{
        size_t best = 0, i;
        json_t *text;

        json_array_foreach((json_t *) push->image->manifests, i, text) {
                CLEANUP_ERROR Error ignored = { 0 };
                CLEANUP_REGISTRY_MANIFEST RegistryManifest manifest = { 0 };
                const char *data = json_string_value(text);

                if (registry_manifest_parse(data, strlen(data), NULL, "", &manifest, &ignored) != 0 ||
                    manifest.kind != REGISTRY_MANIFEST_IMAGE ||
                    json_array_size(json_get_array(manifest.json, "layers")) != json_array_size(push->image->layers))
                        continue;
                size_t score = rate_manifest(push, manifest.json) + 1;
                if (score <= best)
                        continue;
                best = score;
                json_decref(push->manifest);
                push->manifest = TAKE_PTR(manifest.json);
                push->manifest_text = data;
                push->oci = str_equal(manifest.type, REGISTRY_TYPE_OCI_MANIFEST);
        }
}

static Layer *find_layer(const Push *push, const char *diff_id)
{
        for (size_t i = 0; i < push->n; i++)
                if (str_equal(push->layers[i].diff_id, diff_id))
                        return &push->layers[i];
        return NULL;
}

/* What an earlier tag's layer became will do for this one too, unless the kept manifest knows it as another blob. */
static json_t *present_descriptor(const Push *push, const Layer *layer)
{
        json_t *descriptor = json_object_get(push->present, layer->diff_id);
        const char *wanted = json_get_string(layer->wanted, "digest");

        return wanted && !str_equal(wanted, json_get_string(descriptor, "digest")) ? NULL : descriptor;
}

static int64_t tar_size(const Push *push, const char *diff_id)
{
        int64_t size = 0;

        return store_layer_tar_size(push->layer_root, diff_id, &size) < 0 ? 0 : size;
}

static int plan_layers(Push *push)
{
        const json_t *descriptors = json_get_array(push->manifest, "layers");
        size_t count = json_array_size(push->image->layers);

        push->layers = calloc(count + 1, sizeof(*push->layers));
        if (!push->layers)
                return -ENOMEM;
        for (size_t i = count; i-- > 0;) {
                const char *diff_id = json_string_value(json_array_get(push->image->layers, i));

                if (!store_digest_is_valid(diff_id))
                        return -EBADMSG;
                if (find_layer(push, diff_id))
                        continue;
                Layer *layer = &push->layers[push->n++];
                snprintf(layer->diff_id, sizeof(layer->diff_id), "%s", diff_id);
                layer->wanted = json_array_get(descriptors, i);
                layer->descriptor = json_incref(present_descriptor(push, layer));
                layer->tar_size = tar_size(push, diff_id);
                if (layer->descriptor)
                        layer->state = LAYER_DONE;
                int r = store_layer_sources(push->layer_root, diff_id, &layer->sources);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int announce_layers(const Push *push)
{
        unsigned slots = MAX(push->request->job.config->uploads, 1u);
        int r = 0;

        for (size_t i = 0; i < push->n && r >= 0; i++)
                r = emit(push, registry_message(registry_short_id(push->layers[i].diff_id).text, "Preparing"));
        for (size_t i = 0, busy = 0; i < push->n && r >= 0; i++)
                if (push->layers[i].state != LAYER_DONE && busy++ >= slots)
                        r = emit(push, registry_message(registry_short_id(push->layers[i].diff_id).text, "Waiting"));
        for (size_t i = 0; i < push->n && r >= 0; i++)
                if (push->layers[i].state == LAYER_DONE)
                        r = emit(push, registry_message(registry_short_id(push->layers[i].diff_id).text,
                                                        "Layer already exists"));
        return r;
}

/* --- The pool ----------------------------------------------------------------------------------------------------- */

static int start_uploader(void *userdata, int socket)
{
        Push *push = userdata;

        /* The client's connection is not for here. */
        push->session.tick = NULL;
        return registry_upload_start(&push->session, &push->reader, push->layer_root, socket);
}

static int upload(void *userdata, unsigned task, json_t **ret)
{
        Push *push = userdata;
        const Layer *layer = &push->layers[task];
        RegistryLayerUpload request = { layer->diff_id, layer->wanted, layer->sources, layer->tar_size };

        return registry_upload_layer(&push->session, &push->reader, &request, ret);
}

static int next_layer(void *userdata)
{
        Push *push = userdata;

        for (size_t i = 0; i < push->n; i++)
                if (push->layers[i].state == LAYER_READY) {
                        push->layers[i].state = LAYER_RUNNING;
                        return (int) i;
                }
        return -1;
}

static bool all_done(void *userdata)
{
        const Push *push = userdata;

        for (size_t i = 0; i < push->n; i++)
                if (push->layers[i].state != LAYER_DONE)
                        return false;
        return true;
}

static int on_event(void *userdata, unsigned task, json_t *event)
{
        (void) task;
        return emit(userdata, json_incref(event));
}

static int layer_done(void *userdata, unsigned task, json_t *result)
{
        Push *push = userdata;
        Layer *layer = &push->layers[task];
        json_t *descriptor = json_get_object(result, "Descriptor");

        if (!descriptor) {
                int r = (int) json_get_int(result, "Outcome", -EIO);

                return error_set(push->error, r > 0 ? (Outcome) r : OUTCOME_FAILED, "%s",
                                 result ? json_get_string_or(result, "Message", "")
                                        : "the process that uploads layers ended early");
        }
        layer->state = LAYER_DONE;
        layer->descriptor = json_incref(descriptor);
        json_t *source =
                json_pack("{ss ss sI ss ss}", "DiffID", layer->diff_id, "Digest", json_get_string(descriptor, "digest"),
                          "Size", (json_int_t) json_get_int(descriptor, "size", 0), "MediaType",
                          json_get_string(descriptor, "mediaType"), "Repository", push->repository);
        if (json_object_set(push->present, layer->diff_id, descriptor) < 0 || !source ||
            json_array_append_new(json_get_array(push->result, "Sources"), source) < 0)
                return -ENOMEM;
        return 0;
}

static int ignore_control(void *userdata)
{
        (void) userdata;
        return 0;
}

static int send_layers(Push *push)
{
        const RegistryJob *job = &push->request->job;
        RegistryPool pool = { .slots = job->config->uploads,
                              .client_fd = job->client_fd,
                              .control_fd = -1,
                              .userdata = push,
                              .start = start_uploader,
                              .work = upload,
                              .next = next_layer,
                              .complete = all_done,
                              .event = on_event,
                              .done = layer_done,
                              .control = ignore_control };
        return registry_pool_run(&pool);
}

/* --- The manifest ------------------------------------------------------------------------------------------------- */

static bool manifest_holds(const Push *push)
{
        json_t *descriptor;
        size_t i;

        if (!push->manifest)
                return false;
        json_array_foreach(json_get_array(push->manifest, "layers"), i, descriptor) {
                const Layer *layer = find_layer(push, json_string_value(json_array_get(push->image->layers, i)));

                if (!layer ||
                    !str_equal(json_get_string(layer->descriptor, "digest"), json_get_string(descriptor, "digest")))
                        return false;
        }
        return true;
}

/* Whether a manifest of schema 2 can name all layers. */
static bool all_gzip(const Push *push)
{
        for (size_t i = 0; i < push->n; i++)
                if (!registry_type_is_gzip(json_get_string(push->layers[i].descriptor, "mediaType")))
                        return false;
        return true;
}

static int build_manifest(const Push *push, bool oci, char **ret)
{
        CLEANUP_JSON json_t *layers = json_array();
        json_t *diff_id;
        size_t i;

        json_array_foreach((json_t *) push->image->layers, i, diff_id) {
                const json_t *descriptor = find_layer(push, json_string_value(diff_id))->descriptor;
                CLEANUP_JSON json_t *copy = json_deep_copy(descriptor);
                const char *type = registry_layer_type(json_get_string_or(descriptor, "mediaType", ""), oci);

                if (!copy || json_set_string(copy, "mediaType", type) < 0 || json_array_append(layers, copy) < 0)
                        return -ENOMEM;
        }
        *ret = registry_manifest_build(push->image->id, strlen(push->image->config), layers, oci);
        return *ret ? 0 : -ENOMEM;
}

static int put_manifest(Push *push, const RegistryManifest *manifest, const char *text, int *ret_status)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_FREE char *path = registry_session_path(&push->session, "manifests", push->image->tag);
        CLEANUP_FREE char *header = str_printf("Content-Type: %s", manifest->type);
        char *const headers[] = { header, NULL };
        RegistryRequest request = {
                .method = "PUT", .url = path, .headers = headers, .body = text, .body_size = strlen(text)
        };
        int r = path && header ? registry_send_patiently(&push->session, &request, &response, push->error) : -ENOMEM;

        if (r != 0)
                return r;
        *ret_status = response.status;
        if (response.status < 200 || response.status > 299)
                return registry_refuse(&response, NULL, push->error);
        if (response.digest && !str_equal(response.digest, manifest->digest))
                return error_set(push->error, OUTCOME_FAILED, "the registry took manifest %s for %s", manifest->digest,
                                 response.digest);
        return 0;
}

static int stage(Push *push, const char *text, json_t **ret)
{
        char staged[32];

        snprintf(staged, sizeof(staged), "blob-%u", push->n_blobs++);
        int r = store_stage_blob(push->request->staging_fd, staged, text, strlen(text), ret);
        return r < 0 ? r : store_stage_sync_blob(push->request->staging_fd, staged);
}

/* What the engine is to keep: the manifest, and the name by its digest. */
static int add_result(Push *push, const char *text, const char *digest)
{
        CLEANUP_JSON json_t *config = NULL, *manifest = NULL;
        CLEANUP_FREE char *name = str_printf("%s@%s", push->repository, digest);
        int r = name ? stage(push, push->image->config, &config) : -ENOMEM;

        if (r >= 0)
                r = stage(push, text, &manifest);
        if (r < 0)
                return r;
        json_t *image = json_pack("{sO s[O] s[s]}", "Config", config, "Blobs", manifest, "References", name);
        return image && json_array_append_new(json_get_array(push->result, "Images"), image) >= 0 ? 0 : -ENOMEM;
}

static int emit_pushed(const Push *push, const char *digest, size_t size)
{
        const char *tag = push->image->tag;
        int r = emit(push, registry_message_printf(NULL, "%s: digest: %s size: %zu", tag, digest, size));

        return r != 0 ? r
                      : emit(push, json_pack("{s{} s{ss ss sI}}", "progressDetail", "aux", "Tag", tag, "Digest", digest,
                                             "Size", (json_int_t) size));
}

static int push_text(Push *push, const char *text, int *ret_status)
{
        CLEANUP_REGISTRY_MANIFEST RegistryManifest parsed = { 0 };
        int r = registry_manifest_parse(text, strlen(text), NULL, push->image->tag, &parsed, push->error);

        if (r == 0)
                r = put_manifest(push, &parsed, text, ret_status);
        if (r == 0)
                r = add_result(push, text, parsed.digest);
        return r != 0 ? r : emit_pushed(push, parsed.digest, strlen(text));
}

static int push_manifest(Push *push)
{
        CLEANUP_FREE char *built = NULL;
        const RegistryPushImage *image = push->image;
        bool gzip = all_gzip(push), oci = push->oci || !gzip;
        const char *text = push->manifest_text;
        int status = 0;
        int r = registry_blob_put(&push->session, image->id, image->config, strlen(image->config), push->error);

        if (r == 0 && !manifest_holds(push)) {
                r = build_manifest(push, oci, &built);
                text = built;
        }
        if (r == 0)
                r = push_text(push, text, &status);
        /* A registry of before OCI may still take what Docker's images look like. */
        if (r > 0 && oci && gzip && (status == 400 || status == 415)) {
                error_clear(push->error);
                free(TAKE_PTR(built));
                r = build_manifest(push, false, &built);
                if (r == 0)
                        r = push_text(push, built, &status);
        }
        return r;
}

/* --- All of it ---------------------------------------------------------------------------------------------------- */

static int push_image(Push *push, const RegistryPushImage *image)
{
        image_clear(push);
        push->image = image;
        choose_manifest(push);
        int r = plan_layers(push);
        if (r == 0)
                r = announce_layers(push);
        if (r == 0 && !all_done(push))
                r = send_layers(push);
        return r != 0 ? r : push_manifest(push);
}

/* The right to read where layers may be mounted from. */
static int add_scopes(Push *push)
{
        size_t domain = strlen(push->request->reference->domain);

        for (size_t n = 0; n < push->request->n_images; n++) {
                json_t *diff_id;
                size_t i;

                json_array_foreach((json_t *) push->request->images[n].layers, i, diff_id) {
                        CLEANUP_JSON json_t *sources = NULL;
                        json_t *source, *name;
                        size_t k, m;

                        if (store_layer_sources(push->layer_root, json_string_value(diff_id), &sources) < 0)
                                continue;
                        json_array_foreach(sources, k, source)
                                json_array_foreach(json_get_array(source, "Repositories"), m, name) {
                                        const char *text = json_string_value(name) ?: "";

                                        if (strncmp(text, push->repository, domain + 1) == 0 &&
                                            !str_equal(text, push->repository) &&
                                            strv_length(push->session.scopes) < SCOPES_MAX &&
                                            registry_session_add_scope(&push->session, text + domain + 1, "pull") < 0)
                                                return -ENOMEM;
                                }
                }
        }
        return 0;
}

/* Who may push need not be allowed to read elsewhere: then nothing is mounted. */
static int connect_registry(Push *push)
{
        char **scopes = push->session.scopes;
        int r = registry_session_connect(&push->session, push->error);

        if (r <= 0 || r == OUTCOME_UNAVAILABLE || strv_length(scopes) < 2)
                return r;
        for (size_t i = 1; scopes[i]; i++)
                free(TAKE_PTR(scopes[i]));
        push->session.current = 0;
        error_clear(push->error);
        return registry_session_connect(&push->session, push->error);
}

static int check_client(void *userdata)
{
        const Push *push = userdata;

        return registry_client_gone(push->request->job.client_fd) ? -ECANCELED : 0;
}

int registry_push(const RegistryPush *request, json_t **ret_result, Error *error)
{
        const StoreReference *reference = request->reference;
        CLEANUP(push_clear)
        Push push = { .request = request,
                      .error = error,
                      .layer_root = path_join(request->root, "layer"),
                      .repository = store_reference_normal_name(reference),
                      .reader.socket = -EBADF,
                      .result = json_pack("{s[] s[] s[]}", "Layers", "Images", "Sources"),
                      .present = json_object() };
        int r;

        if (!push.layer_root || !push.repository || !push.result || !push.present)
                return -ENOMEM;
        r = registry_session_init(&push.session, request->job.config, request->job.auth, reference->domain,
                                  reference->path, "push,pull", REGISTRY_CONFINE_SPEAKER, error);
        push.session.tick = check_client;
        push.session.userdata = &push;
        if (r == 0)
                r = add_scopes(&push);
        if (r == 0)
                r = connect_registry(&push);
        for (size_t i = 0; i < request->n_images && r == 0; i++)
                r = push_image(&push, &request->images[i]);
        if (r == 0)
                *ret_result = TAKE_PTR(push.result);
        return r;
}
