/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the order of what it costs: the repository has the layer already; another repository of the registry has it, and
 * it is mounted from there; it is written again, compressed and sent.
 *
 * What is sent goes out in one request of unknown length, whose end tells the digest. A server that wants lengths
 * (411, or a least size of chunks) gets chunks from memory. */
#include "registry-upload.h"

#include "berth/digest.h"
#include "berth/json.h"
#include "berth/string.h"
#include "registry-compress.h"
#include "registry-manifest.h"
#include "registry-pool.h"
#include "registry-progress.h"

#define ATTEMPTS 5
#define TELL_NS (INT64_C(100) * 1000000)
#define CHUNK_SIZE (8u * 1024 * 1024)
#define MOUNTS_MAX 4
#define CHECKS_MAX 8
#define DELAY_SECONDS_MAX 300

typedef struct Upload {
        RegistrySession *session;
        const RegistryLayerUpload *layer;
        RegistryShortId id;
        RegistryTarSource source;
        StoreHasher *hasher; /* owned */
        int64_t sent, total; /* bytes of the blob; of tar */
        int64_t told_ns;
        char *location; /* owned; of the upload at hand */
        bool by_chunks;
} Upload;

static void upload_clear(Upload *upload)
{
        registry_tar_source_clear(&upload->source);
        store_hasher_free(upload->hasher);
        free(upload->location);
}

bool registry_type_is_gzip(const char *media_type)
{
        return str_equal(media_type, REGISTRY_TYPE_DOCKER_LAYER) ||
               str_equal(media_type, "application/vnd.oci.image.layer.v1.tar+gzip");
}

bool registry_worth_retry(int result, const RegistryResponse *response, unsigned *ret_seconds)
{
        int64_t seconds;

        if (result == OUTCOME_UNAVAILABLE)
                return true;
        if (result != 0 || (response->status != 429 && response->status < 500))
                return false;
        if (response->retry_after && str_to_int64(response->retry_after, 0, DELAY_SECONDS_MAX, &seconds) >= 0)
                *ret_seconds = (unsigned) seconds;
        return true;
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

/* Repeats what the server was too busy for. The body has to be in memory. */
static int send_patiently(RegistrySession *session, const RegistryRequest *request, RegistryResponse *response,
                          Error *error)
{
        for (unsigned attempt = 1;; attempt++) {
                unsigned seconds = 1u << (attempt - 1);
                int r = registry_session_send(session, request, response, error);

                if (attempt == ATTEMPTS || !registry_worth_retry(r, response, &seconds))
                        return r;
                error_clear(error);
                sleep(seconds);
        }
}

static int refuse_push(const RegistryResponse *response, Error *error)
{
        return registry_refuse(response, NULL, error);
}

int registry_blob_exists(RegistrySession *session, const char *digest, bool *ret, Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_FREE char *path = registry_session_path(session, "blobs", digest);
        RegistryRequest request = { .method = "HEAD", .url = path };
        int r = path ? send_patiently(session, &request, &response, error) : -ENOMEM;

        if (r != 0)
                return r;
        if (response.status != 200 && response.status != 404)
                return refuse_push(&response, error);
        *ret = response.status == 200;
        return 0;
}

/* Relative to what was asked; the next request goes there. */
static int take_location(const RegistrySession *session, RegistryResponse *response, char **location)
{
        if (!response->location)
                return *location ? 0 : -EPROTO;
        free(*location);
        *location = *response->location == '/'
                            ? str_printf("%s%s", session->endpoints[session->current].url, response->location)
                            : strdup(response->location);
        return *location ? 0 : -ENOMEM;
}

/* Begins an upload, or mounts DIGEST from a repository: *ret_location stays NULL where that did it. */
static int begin_upload(RegistrySession *session, const char *digest, const char *from, char **ret_location,
                        Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_FREE char *query = from ? str_printf("?mount=%s&from=%s", digest, from) : strdup("");
        CLEANUP_FREE char *path = query ? registry_session_path(session, "blobs/uploads", query) : NULL;
        RegistryRequest request = { .method = "POST", .url = path, .body = "" };
        int r = path ? send_patiently(session, &request, &response, error) : -ENOMEM;

        if (r != 0)
                return r;
        if (response.status == 201 && from)
                return 0;
        if (response.status != 202)
                return refuse_push(&response, error);
        return take_location(session, &response, ret_location);
}

static int end_upload(RegistrySession *session, const char *location, const char *digest, const void *data, size_t size,
                      RegistryResponse *response, Error *error)
{
        char *const headers[] = { (char *) "Content-Type: application/octet-stream", NULL };
        CLEANUP_FREE char *url = str_printf("%s%cdigest=%s", location, strchr(location, '?') ? '&' : '?', digest);
        RegistryRequest request = { .method = "PUT", .url = url, .headers = headers, .body = data, .body_size = size };

        return url ? registry_session_send(session, &request, response, error) : -ENOMEM;
}

static void cancel_upload(RegistrySession *session, const char *location)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_ERROR Error ignored = { 0 };
        RegistryRequest request = { .method = "DELETE", .url = location };

        registry_session_send(session, &request, &response, &ignored);
}

int registry_upload_blob(RegistrySession *session, const char *digest, const void *data, size_t size, Error *error)
{
        bool exists = false;
        int r = registry_blob_exists(session, digest, &exists, error);

        if (r != 0 || exists)
                return r;
        for (unsigned attempt = 1;; attempt++) {
                CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
                CLEANUP_FREE char *location = NULL;
                unsigned seconds = 1u << (attempt - 1);

                r = begin_upload(session, NULL, NULL, &location, error);
                if (r == 0)
                        r = end_upload(session, location, digest, data, size, &response, error);
                if (r == 0 && response.status == 201)
                        return 0;
                if (attempt == ATTEMPTS || !registry_worth_retry(r, &response, &seconds))
                        return r != 0 ? r : refuse_push(&response, error);
                error_clear(error);
                sleep(seconds);
        }
}

/* --- The bytes ---------------------------------------------------------------------------------------------------- */

static ssize_t read_source(void *userdata, void *data, size_t size)
{
        Upload *upload = userdata;
        int64_t now;
        ssize_t n;
        int r;

        do
                n = read(upload->source.fd, data, size);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        if (n == 0)
                return registry_tar_source_finish(&upload->source);
        r = store_hasher_update(upload->hasher, data, (size_t) n);
        if (r < 0)
                return r;
        upload->sent += n;
        now = time_now_ns();
        if (now >= upload->told_ns + TELL_NS) {
                upload->told_ns = now;
                registry_pool_tell(registry_message_progress(upload->id.text, "Pushing",
                                                             __atomic_load_n(upload->source.consumed, __ATOMIC_RELAXED),
                                                             upload->total));
        }
        return n;
}

static int take_patched(Upload *upload, RegistryResponse *response, Error *error)
{
        if (response->status != 202 && response->status != 201 && response->status != 204)
                return refuse_push(response, error);
        return take_location(upload->session, response, &upload->location);
}

static int send_stream(Upload *upload, RegistryResponse *response, Error *error)
{
        char *const headers[] = { (char *) "Content-Type: application/octet-stream", NULL };
        RegistryRequest request = {
                .method = "PATCH", .url = upload->location, .headers = headers, .read = read_source, .userdata = upload
        };
        int r = registry_session_send(upload->session, &request, response, error);

        return r != 0 ? r : take_patched(upload, response, error);
}

static int send_chunk(Upload *upload, int64_t offset, const Buffer *chunk, RegistryResponse *response, Error *error)
{
        CLEANUP_FREE char *range = str_printf("Content-Range: %lld-%lld", (long long) offset,
                                              (long long) (offset + (int64_t) chunk->size - 1));
        char *const headers[] = { (char *) "Content-Type: application/octet-stream", range, NULL };
        RegistryRequest request = { .method = "PATCH",
                                    .url = upload->location,
                                    .headers = headers,
                                    .body = chunk->data,
                                    .body_size = chunk->size };

        if (!range)
                return -ENOMEM;
        registry_response_clear(response);
        int r = registry_session_send(upload->session, &request, response, error);
        return r != 0 ? r : take_patched(upload, response, error);
}

static int send_chunks(Upload *upload, RegistryResponse *response, Error *error)
{
        CLEANUP_BUFFER Buffer chunk = { 0 };
        int64_t offset = 0;
        ssize_t n;

        if (buffer_reserve(&chunk, CHUNK_SIZE) < 0)
                return -ENOMEM;
        do {
                chunk.size = 0;
                do {
                        n = read_source(upload, chunk.data + chunk.size, CHUNK_SIZE - chunk.size);
                        if (n < 0)
                                return (int) n;
                        chunk.size += (size_t) n;
                } while (n > 0 && chunk.size < CHUNK_SIZE);
                if (chunk.size > 0) {
                        int r = send_chunk(upload, offset, &chunk, response, error);

                        if (r != 0)
                                return r;
                }
                offset += (int64_t) chunk.size;
        } while (n > 0);
        return 0;
}

/* One attempt from the beginning. RESPONSE is the last one's. */
static int send_layer(Upload *upload, bool gzip, char digest[static STORE_DIGEST_SIZE], RegistryResponse *response,
                      Error *error)
{
        const RegistryLayerUpload *layer = upload->layer;
        int r = 0;

        registry_tar_source_clear(&upload->source);
        store_hasher_free(TAKE_PTR(upload->hasher));
        upload->sent = 0;
        if (!upload->location)
                r = begin_upload(upload->session, NULL, NULL, &upload->location, error);
        if (r == 0)
                r = store_hasher_new(false, &upload->hasher);
        if (r == 0)
                r = registry_tar_source_open(&upload->source, layer->layer_root, layer->diff_id, gzip);
        if (r == 0)
                r = upload->by_chunks ? send_chunks(upload, response, error) : send_stream(upload, response, error);
        if (r != 0)
                return r;
        /* A stream that was refused early, or not read to its end, is no upload. */
        if (upload->source.pid > 0)
                return error_set(error, OUTCOME_UNAVAILABLE, "the registry did not take the whole layer");
        r = store_hasher_finish(upload->hasher, digest);
        registry_response_clear(response);
        if (r == 0)
                r = end_upload(upload->session, upload->location, digest, "", 0, response, error);
        if (r == 0 && response->status != 201)
                r = refuse_push(response, error);
        return r;
}

static void wait_for_retry(const Upload *upload, unsigned seconds)
{
        for (; seconds > 0; seconds--) {
                registry_pool_tell(registry_message_printf(upload->id.text, "Retrying in %u second%s", seconds,
                                                           seconds == 1 ? "" : "s"));
                sleep(1);
        }
}

static int send_with_retries(Upload *upload, bool gzip, char digest[static STORE_DIGEST_SIZE], Error *error)
{
        for (unsigned attempt = 1;; attempt++) {
                CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
                unsigned seconds = 1u << (attempt - 1);
                int r = send_layer(upload, gzip, digest, &response, error);

                if (r == 0)
                        return 0;
                bool lengths = response.status == 411 && !upload->by_chunks;
                upload->by_chunks = upload->by_chunks || lengths;
                if (attempt == ATTEMPTS ||
                    (!lengths && !registry_worth_retry(r == OUTCOME_FAILED ? 0 : r, &response, &seconds)))
                        return r;
                error_clear(error);
                free(TAKE_PTR(upload->location));
                if (!lengths)
                        wait_for_retry(upload, seconds);
        }
}

/* --- A layer ------------------------------------------------------------------------------------------------------ */

static json_t *descriptor_new(const char *digest, int64_t size, const char *type)
{
        return json_pack("{ss sI ss}", "mediaType", type, "size", (json_int_t) size, "digest", digest);
}

/* "docker.io/library/busybox" to "library/busybox" where it is of the same registry. */
static const char *path_in_registry(const RegistrySession *session, const char *repository)
{
        const char *rest = repository ? str_after_prefix(repository, session->domain) : NULL;

        return rest && *rest == '/' ? rest + 1 : NULL;
}

static int try_mounts(Upload *upload, const json_t *source, bool *ret_mounted, Error *error)
{
        const char *digest = json_get_string(source, "Digest");
        json_t *name;
        size_t i, tried = 0;

        json_array_foreach(json_get_array(source, "Repositories"), i, name) {
                const char *path = path_in_registry(upload->session, json_string_value(name));

                if (!path || str_equal(path, upload->session->repository) || tried++ >= MOUNTS_MAX)
                        continue;
                if (upload->location)
                        cancel_upload(upload->session, upload->location);
                free(TAKE_PTR(upload->location));
                int r = begin_upload(upload->session, digest, path, &upload->location, error);
                if (r < 0)
                        return r;
                if (r == 0 && !upload->location) {
                        registry_pool_tell(registry_message_printf(upload->id.text, "Mounted from %s", path));
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
                registry_pool_tell(registry_message(upload->id.text, "Layer already exists"));
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

static int64_t tar_size(const RegistryLayerUpload *layer)
{
        CLEANUP_CLOSE int fd = store_layer_open(layer->layer_root, layer->diff_id);
        CLEANUP_JSON json_t *record = NULL;

        return fd >= 0 && json_read_at(fd, "layer.json", &record) >= 0 ? json_get_int(record, "TarSize", 0) : 0;
}

static int upload_layer(Upload *upload, json_t **ret, Error *error)
{
        char digest[STORE_DIGEST_SIZE] = "";
        int r = try_sources(upload, ret, error);

        if (r != 0 || *ret)
                return r;
        const json_t *wanted = upload->layer->wanted;
        /* What was not compressed can be had as it was. */
        bool plain = str_equal(json_get_string(wanted, "digest"), upload->layer->diff_id);
        upload->total = tar_size(upload->layer);
        r = send_with_retries(upload, !plain, digest, error);
        if (r != 0)
                return r;
        registry_pool_tell(registry_message(upload->id.text, "Pushed"));
        bool same = str_equal(json_get_string(wanted, "digest"), digest);
        *ret = descriptor_new(digest, upload->sent,
                              same ? json_get_string_or(wanted, "mediaType", REGISTRY_TYPE_DOCKER_LAYER)
                                   : REGISTRY_TYPE_DOCKER_LAYER);
        return *ret ? 0 : -ENOMEM;
}

int registry_upload_layer(RegistrySession *session, const RegistryLayerUpload *layer, json_t **ret)
{
        CLEANUP(upload_clear)
        Upload upload = {
                .session = session, .layer = layer, .source.fd = -EBADF, .id = registry_short_id(layer->diff_id)
        };
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *descriptor = NULL;
        int r = upload_layer(&upload, &descriptor, &error);

        *ret = r == 0 ? json_pack("{sO}", "Descriptor", descriptor)
                      : json_pack("{si ss}", "Outcome", r, "Message", error.message ?: strerror(abs(r)));
        return *ret ? 0 : -ENOMEM;
}
