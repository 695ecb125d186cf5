/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pull, in its job process: documents first, then the layers that are missing, by a pool of downloaders. Nothing of
 * it is visible before the engine commits the result. An endpoint that fails (a mirror) is left for the next one; what
 * was staged by then stays. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "registry-download.h"
#include "registry-fetch.h"
#include "registry-pool.h"
#include "registry-progress.h"

typedef enum LayerState {
        LAYER_CLAIMED, /* until the engine says go */
        LAYER_READY,
        LAYER_RUNNING,
        LAYER_DONE,
} LayerState;

typedef struct Layer {
        char digest[STORE_DIGEST_SIZE], diff_id[STORE_DIGEST_SIZE];
        char staged[32];
        int64_t size;
        LayerState state;
        bool told; /* has a line at the client's */
} Layer;

typedef struct Pull {
        const RegistryPull *request;
        RegistrySession session;
        RegistryCompanion unpacker;
        StorePlatform platform;
        char *layer_root; /* owned */
        json_t *result;   /* owned */
        json_t *staged;   /* owned; diff IDs that were staged */
        unsigned n_blobs, n_layers;

        /* Of the image at hand. */
        Layer *layers; /* owned */
        size_t n;
        Buffer control; /* of the engine's lines */
        Error *error;
} Pull;

static void pull_clear(Pull *pull)
{
        registry_session_clear(&pull->session);
        registry_companion_clear(&pull->unpacker);
        free(pull->layer_root);
        free(pull->layers);
        json_decref(pull->result);
        json_decref(pull->staged);
        buffer_clear(&pull->control);
}

static int emit(Pull *pull, json_t *message)
{
        const RegistryJob *job = &pull->request->job;

        return message ? job->emit(job->userdata, message) : -ENOMEM;
}

/* --- The engine's word -------------------------------------------------------------------------------------------- */

static void let_go(Pull *pull, const json_t *diff_ids)
{
        json_t *item;
        size_t i;

        json_array_foreach((json_t *) diff_ids, i, item)
                for (size_t k = 0; k < pull->n; k++)
                        if (pull->layers[k].state == LAYER_CLAIMED &&
                            str_equal(pull->layers[k].diff_id, json_string_value(item)))
                                pull->layers[k].state = LAYER_READY;
}

static int on_control(void *userdata)
{
        Pull *pull = userdata;
        size_t size;
        ssize_t n = buffer_read(&pull->control, pull->request->job.control_fd, 65536);

        if (n <= 0)
                return n == -EAGAIN || n == -EINTR ? 0 : -ECANCELED;
        while (buffer_line(&pull->control, &size)) {
                CLEANUP_JSON json_t *line = json_loadb(pull->control.data, size, 0, NULL);

                let_go(pull, json_get_array(line, "Go"));
                buffer_consume(&pull->control, size + 1);
        }
        return 0;
}

static int claim(Pull *pull)
{
        int fd = pull->request->job.control_fd;
        CLEANUP_JSON json_t *wanted = json_array(), *line = json_pack("{sO}", "Claim", wanted);

        for (size_t i = 0; i < pull->n; i++) {
                if (fd < 0 && pull->layers[i].state == LAYER_CLAIMED)
                        pull->layers[i].state = LAYER_READY;
                if (pull->layers[i].state == LAYER_CLAIMED &&
                    json_array_append_new(wanted, json_string(pull->layers[i].diff_id)) < 0)
                        return -ENOMEM;
        }
        if (json_array_size(wanted) == 0)
                return 0;
        CLEANUP_FREE char *text = json_line(line);
        return text ? fd_write_all(fd, text, strlen(text)) : -ENOMEM;
}

/* --- The pool ----------------------------------------------------------------------------------------------------- */

static bool is_present(const Pull *pull, const char *diff_id)
{
        CLEANUP_CLOSE int fd = store_layer_open(pull->layer_root, diff_id);

        return fd >= 0;
}

static int start_downloader(void *userdata, int socket)
{
        Pull *pull = userdata;

        /* The client's descriptor stays behind. */
        pull->session.tick = NULL;
        return registry_download_start(&pull->session, &pull->unpacker, socket, pull->request->staging_fd);
}

static int download(void *userdata, unsigned task, json_t **ret)
{
        Pull *pull = userdata;
        const Layer *layer = &pull->layers[task];
        RegistryBlob blob = { layer->digest, layer->diff_id, layer->staged, layer->size };

        return registry_download_layer(&pull->session, &pull->unpacker, &blob, ret);
}

/* What another pull was at may be there by now. */
static int next_layer(void *userdata)
{
        Pull *pull = userdata;

        for (size_t i = 0; i < pull->n; i++) {
                Layer *layer = &pull->layers[i];

                if (layer->state != LAYER_READY)
                        continue;
                if (is_present(pull, layer->diff_id)) {
                        layer->state = LAYER_DONE;
                        emit(pull, registry_message(registry_short_id(layer->digest).text, "Pull complete"));
                        continue;
                }
                layer->state = LAYER_RUNNING;
                return (int) i;
        }
        return -1;
}

static bool all_done(void *userdata)
{
        const Pull *pull = userdata;

        for (size_t i = 0; i < pull->n; i++)
                if (pull->layers[i].state != LAYER_DONE)
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
        Pull *pull = userdata;
        Layer *layer = &pull->layers[task];
        json_t *staged = json_get_object(result, "Layer");

        if (!staged) {
                int r = (int) json_get_int(result, "Outcome", -EIO);
                const char *message = json_get_string(result, "Message");

                if (!result)
                        message = "the process that downloads layers ended early";
                return error_set(pull->error, r > 0 ? (Outcome) r : OUTCOME_FAILED, "%s", message ?: "failed");
        }
        layer->state = LAYER_DONE;
        if (json_array_append(json_get_array(pull->result, "Layers"), staged) < 0 ||
            json_set_bool(pull->staged, layer->diff_id, true) < 0)
                return -ENOMEM;
        return emit(pull, registry_message(registry_short_id(layer->digest).text, "Pull complete"));
}

static int fetch_layers(Pull *pull)
{
        const RegistryJob *job = &pull->request->job;
        RegistryPool pool = { .slots = job->config->downloads,
                              .client_fd = job->client_fd,
                              .control_fd = job->control_fd,
                              .userdata = pull,
                              .start = start_downloader,
                              .work = download,
                              .next = next_layer,
                              .complete = all_done,
                              .event = on_event,
                              .done = layer_done,
                              .control = on_control };
        int r = claim(pull);

        return r < 0 ? r : registry_pool_run(&pool);
}

/* --- One image ---------------------------------------------------------------------------------------------------- */

static int add_source(Pull *pull, const json_t *descriptor, const char *diff_id)
{
        CLEANUP_FREE char *repository = store_reference_normal_name(pull->request->reference);
        json_t *source =
                json_pack("{ss ss sI ss ss}", "DiffID", diff_id, "Digest", json_get_string(descriptor, "digest"),
                          "Size", (json_int_t) json_get_int(descriptor, "size", 0), "MediaType",
                          json_get_string_or(descriptor, "mediaType", ""), "Repository", repository ?: "");

        return source && json_array_append_new(json_get_array(pull->result, "Sources"), source) >= 0 ? 0 : -ENOMEM;
}

static bool named_before(const Pull *pull, const char *diff_id)
{
        for (size_t i = 0; i < pull->n; i++)
                if (str_equal(pull->layers[i].diff_id, diff_id))
                        return true;
        return false;
}

/* The layers of the image at hand, each once; what is there already is done. */
static int plan_layers(Pull *pull, const json_t *descriptors, const json_t *diff_ids)
{
        json_t *descriptor;
        size_t i;

        free(pull->layers);
        pull->n = 0;
        pull->layers = calloc(json_array_size(descriptors) + 1, sizeof(*pull->layers));
        if (!pull->layers)
                return -ENOMEM;
        json_array_foreach((json_t *) descriptors, i, descriptor) {
                const char *digest = json_get_string(descriptor, "digest"),
                           *diff_id = json_string_value(json_array_get(diff_ids, i));

                if (!store_digest_is_valid(diff_id))
                        return error_set(pull->error, OUTCOME_FAILED, "invalid diff ID in the image's configuration");
                int r = add_source(pull, descriptor, diff_id);
                if (r < 0)
                        return r;
                if (named_before(pull, diff_id))
                        continue;
                Layer *layer = &pull->layers[pull->n++];
                layer->size = json_get_int(descriptor, "size", 0);
                snprintf(layer->digest, sizeof(layer->digest), "%s", digest);
                snprintf(layer->diff_id, sizeof(layer->diff_id), "%s", diff_id);
                snprintf(layer->staged, sizeof(layer->staged), "layer-%u", pull->n_layers++);
                if (json_object_get(pull->staged, diff_id) || is_present(pull, diff_id))
                        layer->state = LAYER_DONE;
        }
        return 0;
}

static int announce_layers(Pull *pull)
{
        unsigned slots = MAX(pull->request->job.config->downloads, 1u), n = 0;
        int r = 0;

        for (size_t i = 0; i < pull->n && r >= 0; i++)
                r = emit(pull,
                         registry_message(registry_short_id(pull->layers[i].digest).text,
                                          pull->layers[i].state == LAYER_DONE ? "Already exists" : "Pulling fs layer"));
        for (size_t i = 0; i < pull->n && r >= 0; i++)
                if (pull->layers[i].state != LAYER_DONE && n++ >= slots)
                        r = emit(pull, registry_message(registry_short_id(pull->layers[i].digest).text, "Waiting"));
        return r;
}

static int check_config(Pull *pull, const json_t *config, size_t n_layers)
{
        const char *os = json_get_string_or(config, "os", "linux");

        if (!json_is_object(config))
                return error_set(pull->error, OUTCOME_FAILED, "the image's configuration is not JSON");
        if (!str_empty(os) && !str_equal(os, "linux"))
                return error_set(pull->error, OUTCOME_BAD_REQUEST,
                                 "image operating system \"%s\" cannot be used on this platform: operating system is "
                                 "not supported",
                                 os);
        if (json_array_size(store_config_layers(config)) != n_layers)
                return error_set(pull->error, OUTCOME_FAILED, "layers from manifest don't match image configuration");
        return 0;
}

/* The configuration of an image that the store has; false where it has not. */
static bool read_present(const Pull *pull, const char *digest, Buffer *ret)
{
        const char *hex = store_digest_hex(digest);
        CLEANUP_FREE char *record = str_printf("%s/image/record/%s.json", pull->request->root, hex),
                          *path = str_printf("%s/image/blobs/sha256/%s", pull->request->root, hex), *data = NULL;
        size_t size;

        return record && path && access(record, F_OK) == 0 &&
               file_read_at(AT_FDCWD, path, REGISTRY_DOCUMENT_SIZE_MAX, &data, &size) >= 0 &&
               buffer_append(ret, data, size) >= 0;
}

static int stage(Pull *pull, const Buffer *data, json_t **ret)
{
        char staged[32];

        snprintf(staged, sizeof(staged), "blob-%u", pull->n_blobs++);
        return store_stage_blob(pull->request->staging_fd, staged, data->data, data->size, ret);
}

static int add_image(Pull *pull, const StoreReference *reference, const Buffer *config, const RegistryDocument *index,
                     const RegistryDocument *manifest)
{
        const RegistryDocument *outer = index->data.size > 0 ? index : manifest;
        CLEANUP_FREE char *normal = store_reference_normal(reference), *name = store_reference_normal_name(reference);
        CLEANUP_FREE char *by_digest = name ? str_printf("%s@%s", name, outer->manifest.digest) : NULL;
        CLEANUP_JSON json_t *config_blob = NULL, *manifest_blob = NULL, *index_blob = NULL;
        int r = normal && by_digest ? stage(pull, config, &config_blob) : -ENOMEM;

        if (r >= 0)
                r = stage(pull, &manifest->data, &manifest_blob);
        if (r >= 0 && index->data.size > 0)
                r = stage(pull, &index->data, &index_blob);
        if (r < 0)
                return r;
        json_t *image = json_pack("{sO s[OO*] s[ss*]}", "Config", config_blob, "Blobs", manifest_blob, index_blob,
                                  "References", by_digest, reference->digest ? NULL : normal);
        json_t *pulled = json_pack("{ss ss ss}", "Reference", reference->digest ? by_digest : normal, "Digest",
                                   outer->manifest.digest, "ID", json_get_string(config_blob, "Digest"));
        if (!image || !pulled || json_array_append_new(json_get_array(pull->result, "Images"), image) < 0 ||
            json_array_append_new(json_get_array(pull->result, "Pulled"), pulled) < 0)
                return -ENOMEM;
        return emit(pull, registry_message_printf(NULL, "Digest: %s", outer->manifest.digest));
}

/* An image of one platform alone is pulled whatever was asked for; the user is told in the end. */
static int compare_platform(Pull *pull, const StoreReference *reference, const json_t *config)
{
        CLEANUP_FREE char *name = store_reference_familiar(reference), *text = NULL;
        const StorePlatform *wanted = &pull->platform;
        const char *variant = json_get_string_or(config, "variant", "");

        if (!pull->request->platform || store_platform_match(wanted, config) > 0)
                return 0;
        text = str_printf("image with reference %s was found but does not match the specified platform: wanted "
                          "%s/%s%s%s, actual: %s/%s%s%s",
                          name ?: "", wanted->os, wanted->architecture, *wanted->variant ? "/" : "", wanted->variant,
                          json_get_string_or(config, "os", ""), json_get_string_or(config, "architecture", ""),
                          *variant ? "/" : "", variant);
        return text ? json_set_string(pull->result, "Mismatch", text) : -ENOMEM;
}

static int pull_manifest(Pull *pull, const StoreReference *reference, const RegistryDocument *index,
                         const RegistryDocument *document)
{
        const json_t *manifest = document->manifest.json, *blob = json_get_object(manifest, "config"),
                     *layers = json_get_array(manifest, "layers");
        const char *digest = json_get_string(blob, "digest");
        CLEANUP_BUFFER Buffer config = { 0 };
        CLEANUP_JSON json_t *parsed = NULL;
        bool present = read_present(pull, digest, &config);
        int r = present ? 0
                        : registry_fetch_blob(&pull->session, digest, json_get_int(blob, "size", 0), &config,
                                              pull->error);

        if (r != 0)
                return r;
        parsed = json_loadb(config.data ?: "", config.size, 0, NULL);
        r = check_config(pull, parsed, json_array_size(layers));
        if (r == 0)
                r = plan_layers(pull, layers, store_config_layers(parsed));
        if (r == 0 && !(present && all_done(pull))) {
                r = announce_layers(pull);
                if (r >= 0)
                        r = fetch_layers(pull);
        }
        if (r == 0)
                r = add_image(pull, reference, &config, index, document);
        return r != 0 ? r : compare_platform(pull, reference, parsed);
}

static int announce(Pull *pull, const StoreReference *reference, const char *what)
{
        CLEANUP_FREE char *text = str_printf("Pulling from %s", reference->path);

        return text ? emit(pull, json_pack("{ss ss}", "status", text, "id", what)) : -ENOMEM;
}

static int pull_one(Pull *pull, const StoreReference *reference)
{
        CLEANUP_REGISTRY_DOCUMENT RegistryDocument index = { 0 }, manifest = { 0 };
        const char *what = reference->digest ?: reference->tag;
        const json_t *chosen;
        int r = registry_fetch_manifest(&pull->session, what, reference, &manifest, pull->error);

        if (r == 0)
                r = announce(pull, reference, what);
        for (unsigned depth = 0; r == 0 && manifest.manifest.kind == REGISTRY_MANIFEST_INDEX; depth++) {
                r = depth > 2 ? -ELOOP
                              : registry_manifest_choose(&manifest.manifest, &pull->platform, &chosen, pull->error);
                if (r != 0)
                        return r;
                RegistryDocument inner = { 0 };
                r = registry_fetch_manifest(&pull->session, json_get_string(chosen, "digest"), reference, &inner,
                                            pull->error);
                if (r != 0)
                        return r;
                /* The outermost is what the user's reference means. */
                if (depth == 0)
                        index = manifest;
                else
                        registry_document_clear(&manifest);
                manifest = inner;
        }
        if (r == 0)
                r = registry_manifest_check_config(&manifest.manifest, pull->error);
        return r != 0 ? r : pull_manifest(pull, reference, &index, &manifest);
}

/* --- All of it ---------------------------------------------------------------------------------------------------- */

static int pull_all(Pull *pull)
{
        const StoreReference *reference = pull->request->reference;
        CLEANUP_STRV char **tags = NULL;
        int r;

        if (reference->tag || reference->digest)
                return pull_one(pull, reference);
        r = registry_fetch_tags(&pull->session, reference, &tags, pull->error);
        for (char **tag = tags; r == 0 && *tag; tag++) {
                StoreReference tagged = *reference;

                tagged.tag = *tag;
                r = pull_one(pull, &tagged);
        }
        return r;
}

static int check_client(void *userdata)
{
        const Pull *pull = userdata;

        return registry_client_gone(pull->request->job.client_fd) ? -ECANCELED : 0;
}

/* What the endpoint that is left said is not what the next one has to say. Layers that were staged are kept: they have
 * been checked. */
static void forget_endpoint(Pull *pull)
{
        static const char *const members[] = { "Images", "Pulled", "Sources" };

        for (size_t i = 0; i < ARRAY_SIZE(members); i++)
                json_array_clear(json_get_array(pull->result, members[i]));
        json_object_del(pull->result, "Mismatch");
}

static int pull_from_endpoints(Pull *pull)
{
        for (;;) {
                int r = registry_session_connect(&pull->session, pull->error);

                if (r == 0)
                        r = pull_all(pull);
                bool mirror = pull->session.endpoints[pull->session.current].mirror;
                if (r <= 0 || !mirror || !registry_session_next(&pull->session))
                        return r;
                error_clear(pull->error);
                forget_endpoint(pull);
        }
}

int registry_pull(const RegistryPull *request, json_t **ret_result, Error *error)
{
        CLEANUP(pull_clear) Pull pull = { .request = request, .unpacker.socket = -EBADF, .error = error };
        const StoreReference *reference = request->reference;
        int r = store_platform_parse(request->platform, &pull.platform, error);

        pull.layer_root = path_join(request->root, "layer");
        pull.result = json_pack("{s[] s[] s[] s[]}", "Layers", "Images", "Pulled", "Sources");
        pull.staged = json_object();
        if (!pull.layer_root || !pull.result || !pull.staged)
                return -ENOMEM;
        if (r == 0)
                r = registry_session_init(&pull.session, request->job.config, request->job.auth, reference->domain,
                                          reference->path, "pull", REGISTRY_CONFINE_SPEAKER, error);
        pull.session.tick = check_client;
        pull.session.userdata = &pull;
        if (r == 0)
                r = pull_from_endpoints(&pull);
        if (r == 0)
                r = store_stage_sync(request->staging_fd);
        if (r == 0)
                *ret_result = TAKE_PTR(pull.result);
        return r;
}
