/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the order of what it costs: the repository has the layer already; another repository of the registry has it, and
 * it is mounted from there; it is written again, compressed and sent.
 *
 * The uploading process has the network and little else: it runs as nobody, and a layer's bytes come to it through a
 * pipe from a process that has no network. */
#include "registry-upload.h"

#include <string.h>
#include <unistd.h>

#include "berth/json.h"
#include "berth/string.h"
#include "registry-manifest.h"
#include "registry-media.h"
#include "registry-pool.h"
#include "registry-privilege.h"
#include "registry-transfer.h"

#define MOUNTS_MAX 4
#define CHECKS_MAX 8

typedef struct Upload {
        RegistrySession *session;
        const RegistryLayerUpload *layer;
        RegistryTransfer transfer;
} Upload;

int registry_upload_start(RegistrySession *session, RegistryCompanion *reader, const char *layer_root, int socket)
{
        pid_t parent = getppid();
        int r = registry_reader_start(reader, layer_root);

        registry_client_stand_alone(session->client);
        if (r == 0)
                r = registry_close_others(socket, reader->socket);
        if (r == 0)
                r = registry_become_nobody();
        return r == 0 && getppid() != parent ? -ESRCH : r;
}

static json_t *descriptor_new(const char *digest, int64_t size, const char *type)
{
        return json_pack("{ss sI ss}", "mediaType", type, "size", (json_int_t) size, "digest", digest);
}

/* --- Without sending it ------------------------------------------------------------------------------------------- */

/* "docker.io/library/busybox" to "library/busybox" where it is of the same registry. */
static const char *path_in_registry(const RegistrySession *session, const char *repository)
{
        const char *rest = repository ? str_after_prefix(repository, session->domain) : NULL;

        return rest && *rest == '/' ? rest + 1 : NULL;
}

/* A registry that does not mount waits for an upload instead: the last such place is kept for it. */
static int try_mounts(Upload *upload, const json_t *source, bool *ret_mounted, Error *error)
{
        RegistryUploadPlace *place = &upload->transfer.place;
        const char *digest = json_get_string(source, "Digest");
        json_t *name;
        size_t i, tried = 0;

        json_array_foreach(json_get_array(source, "Repositories"), i, name) {
                const char *path = path_in_registry(upload->session, json_string_value(name));

                if (!path || str_equal(path, upload->session->repository) || tried++ >= MOUNTS_MAX)
                        continue;
                registry_blob_cancel(upload->session, place);
                int r = registry_blob_begin(upload->session, digest, path, place, error);
                if (r < 0)
                        return r;
                if (r == 0 && !place->url) {
                        registry_pool_tell(registry_message_printf(upload->transfer.id.text, "Mounted from %s", path));
                        *ret_mounted = true;
                        return 0;
                }
                /* A mount that is refused is no reason to give up. */
                error_clear(error);
        }
        return 0;
}

/* Whether the blob of one source is, or can be made to be, in the repository without sending it. */
static int try_source(Upload *upload, const json_t *source, json_t **ret, Error *error)
{
        const char *digest = json_get_string(source, "Digest");
        bool there = false;
        int r = registry_blob_exists(upload->session, digest, &there, error);

        if (r == 0 && there)
                registry_pool_tell(registry_message(upload->transfer.id.text, "Layer already exists"));
        else if (r == 0)
                r = try_mounts(upload, source, &there, error);
        if (r == 0 && there) {
                const char *type = json_get_string_or(source, "MediaType", REGISTRY_TYPE_DOCKER_LAYER);

                *ret = descriptor_new(digest, json_get_int(source, "Size", 0), type);
                r = *ret ? 0 : -ENOMEM;
        }
        return r;
}

static const json_t *find_source(const json_t *sources, const char *digest)
{
        json_t *source;
        size_t i;

        json_array_foreach((json_t *) sources, i, source)
                if (str_equal(json_get_string(source, "Digest"), digest))
                        return source;
        return NULL;
}

static int try_sources(Upload *upload, json_t **ret, Error *error)
{
        const json_t *sources = upload->layer->sources, *wanted = upload->layer->wanted;
        const char *wanted_digest = json_get_string(wanted, "digest");
        const json_t *first = find_source(sources, wanted_digest);
        CLEANUP_JSON json_t *made = NULL;
        json_t *source;
        size_t i, checked = 0;
        int r = 0;

        /* Of a manifest that is kept, though nothing is noted of its layer. */
        if (wanted && !first)
                first = made =
                        json_pack("{ss sI ss s[]}", "Digest", wanted_digest, "Size",
                                  (json_int_t) json_get_int(wanted, "size", 0), "MediaType",
                                  json_get_string_or(wanted, "mediaType", REGISTRY_TYPE_DOCKER_LAYER), "Repositories");
        if (first)
                r = try_source(upload, first, ret, error);
        json_array_foreach((json_t *) sources, i, source) {
                if (r != 0 || *ret || checked >= CHECKS_MAX)
                        break;
                if (source == first || !registry_type_is_gzip(json_get_string(source, "MediaType")))
                        continue;
                checked++;
                r = try_source(upload, source, ret, error);
        }
        return r;
}

/* --- A layer ------------------------------------------------------------------------------------------------------ */

/* What was not compressed can be had as it was, and its digest is known. */
static int send_layer(Upload *upload, json_t **ret, Error *error)
{
        RegistryTransfer *transfer = &upload->transfer;
        const char *wanted = json_get_string(upload->layer->wanted, "digest"), *type = REGISTRY_TYPE_DOCKER_LAYER;

        transfer->gzip = !str_equal(wanted, upload->layer->diff_id);
        if (!transfer->gzip) {
                snprintf(transfer->digest, sizeof(transfer->digest), "%s", wanted);
                transfer->size = transfer->tar_size;
        }
        int r = registry_transfer_run(transfer, error);
        if (r != 0)
                return r;
        registry_pool_tell(registry_message(transfer->id.text, "Pushed"));
        if (str_equal(wanted, transfer->digest))
                type = json_get_string_or(upload->layer->wanted, "mediaType", type);
        *ret = descriptor_new(transfer->digest, transfer->size, type);
        return *ret ? 0 : -ENOMEM;
}

static void upload_clear(Upload *upload)
{
        registry_transfer_clear(&upload->transfer);
}

int registry_upload_layer(RegistrySession *session, RegistryCompanion *reader, const RegistryLayerUpload *layer,
                          json_t **ret)
{
        CLEANUP(upload_clear)
        Upload upload = { .session = session,
                          .layer = layer,
                          .transfer = { .session = session,
                                        .reader = reader,
                                        .diff_id = layer->diff_id,
                                        .id = registry_short_id(layer->diff_id),
                                        .tar_size = layer->tar_size,
                                        .fd = -EBADF } };
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *descriptor = NULL;
        int r = try_sources(&upload, &descriptor, &error);

        if (r == 0 && !descriptor)
                r = send_layer(&upload, &descriptor, &error);
        *ret = r == 0 ? json_pack("{sO}", "Descriptor", descriptor)
                      : json_pack("{si ss}", "Outcome", r, "Message", error.message ?: strerror(abs(r)));
        return *ret ? 0 : -ENOMEM;
}
