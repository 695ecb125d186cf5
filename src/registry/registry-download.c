/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The downloading process has the network and little else: it runs as nobody, and all it does with a layer's bytes is
 * to digest them and to push them into a pipe. A connection that breaks is resumed where the bytes ended, at the next
 * endpoint if this one gives no more. */
#include "registry-download.h"

#include <unistd.h>

#include "berth/digest.h"
#include "berth/file.h"
#include "berth/string.h"
#include "registry-pool.h"
#include "registry-privilege.h"
#include "registry-progress.h"

#define TELL_NS (INT64_C(100) * 1000000)
#define DELAY_SECONDS_MAX 16
#define HELD_SIZE (128u * 1024)

typedef struct Download {
        RegistrySession *session;
        RegistryCompanion *unpacker;
        const RegistryBlob *blob;
        RegistryShortId id;
        StoreHasher *hasher; /* owned */
        int fd;              /* owned; to the unpacker */
        Buffer held;         /* what was not given to it yet */
        int64_t offset;      /* bytes that have passed */
        int64_t skip;        /* bytes of the answer at hand that have passed before */
        bool started;        /* the answer at hand was looked at */
        bool unpack_failed;
        int64_t told_ns;
} Download;

static void download_clear(Download *download)
{
        store_hasher_free(download->hasher);
        buffer_clear(&download->held);
        fd_close(download->fd);
}

int registry_download_start(RegistrySession *session, RegistryCompanion *unpacker, int socket, int staging_fd)
{
        pid_t parent = getppid();
        int r = registry_unpacker_start(unpacker, staging_fd);

        registry_client_stand_alone(session->client);
        if (r == 0)
                r = registry_close_others(socket, unpacker->socket);
        if (r == 0)
                r = registry_become_nobody();
        return r == 0 && getppid() != parent ? -ESRCH : r;
}

/* --- Bytes -------------------------------------------------------------------------------------------------------- */

int registry_resume_skip(int status, const char *content_range, int64_t offset, int64_t size, int64_t *ret_skip)
{
        long long first;
        int used = 0;

        if (status == 200) {
                *ret_skip = offset;
                return 0;
        }
        if (status != 206 || !content_range || sscanf(content_range, "bytes %lld-%n", &first, &used) != 1 ||
            used == 0 || first < 0 || first > offset || (size > 0 && first >= size))
                return -EPROTO;
        *ret_skip = offset - first;
        return 0;
}

static int tell_download(Download *download)
{
        int64_t now = time_now_ns();

        if (now < download->told_ns + TELL_NS)
                return 0;
        download->told_ns = now;
        return registry_pool_tell(
                registry_message_progress(download->id.text, "Downloading", download->offset, download->blob->size));
}

/* Libcurl passes small pieces, and each of them would wake the unpacker. */
static int pass_on(Download *download, size_t least)
{
        if (download->held.size < least)
                return 0;
        int r = fd_write_all(download->fd, download->held.data, download->held.size);
        download->held.size = 0;
        if (r < 0)
                download->unpack_failed = true;
        return r;
}

static int on_data(void *userdata, const RegistryResponse *response, const void *data, size_t size)
{
        Download *download = userdata;
        const char *bytes = data;
        int r;

        if (!download->started) {
                download->started = true;
                r = registry_resume_skip(response->status, response->content_range, download->offset,
                                         download->blob->size, &download->skip);
                if (r < 0)
                        return r;
        }
        size_t passed = (size_t) MIN((int64_t) size, download->skip);
        download->skip -= (int64_t) passed;
        bytes += passed;
        size -= passed;
        if (size == 0)
                return 0;
        if ((int64_t) size > download->blob->size - download->offset)
                return -EFBIG;
        r = store_hasher_update(download->hasher, bytes, size);
        if (r < 0)
                return r;
        r = buffer_append(&download->held, bytes, size);
        if (r >= 0)
                r = pass_on(download, HELD_SIZE);
        if (r < 0)
                return r;
        download->offset += (int64_t) size;
        return tell_download(download);
}

/* One request for what is missing. 0: all is there; OUTCOME_UNAVAILABLE: worth another attempt. */
static int fetch_rest(Download *download, unsigned *ret_delay, Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_FREE char *path = registry_session_path(download->session, "blobs", download->blob->digest);
        CLEANUP_FREE char *range = str_printf("Range: bytes=%lld-", (long long) download->offset);
        char *const headers[] = { range, NULL };
        RegistryRequest request = { .method = "GET",
                                    .url = path,
                                    .headers = download->offset > 0 ? headers : NULL,
                                    .write = on_data,
                                    .userdata = download };

        if (!path || !range)
                return -ENOMEM;
        download->started = false;
        int r = registry_session_send(download->session, &request, &response, error);
        if (r == -EPROTO)
                return error_set(error, OUTCOME_UNAVAILABLE, "the registry resumed a layer somewhere else");
        if (r == -EFBIG)
                return error_set(error, OUTCOME_FAILED, "filesystem layer verification failed for digest %s",
                                 download->blob->digest);
        if (r != 0)
                return r;
        if (response.retry_after) {
                int64_t seconds;

                if (str_to_int64(response.retry_after, 0, 300, &seconds) >= 0)
                        *ret_delay = (unsigned) seconds;
        }
        if (response.status == 416 && download->offset == download->blob->size)
                return 0;
        if (response.status == 404)
                return error_set(error, OUTCOME_NOT_FOUND, "unknown blob");
        if (response.status < 200 || response.status > 299) {
                r = registry_refuse(&response, NULL, error);
                return r > 0 && (response.status >= 500 || response.status == 429) ? OUTCOME_UNAVAILABLE : r;
        }
        if (download->offset < download->blob->size)
                return error_set(error, OUTCOME_UNAVAILABLE, "unexpected EOF");
        return 0;
}

static void wait_for_retry(Download *download, unsigned seconds)
{
        for (; seconds > 0; seconds--) {
                registry_pool_tell(registry_message_printf(download->id.text, "Retrying in %u second%s", seconds,
                                                           seconds == 1 ? "" : "s"));
                sleep(1);
        }
}

/* The endpoint's patience ends after so many attempts in a row that brought nothing; then the next one's turn comes. */
static int fetch_all(Download *download, Error *error)
{
        RegistrySession *session = download->session;
        unsigned failures = 0;

        for (;;) {
                int64_t before = download->offset;
                unsigned delay = 0;

                error_clear(error);
                int r = fetch_rest(download, &delay, error);
                if (r <= 0 || download->unpack_failed)
                        return r;
                failures = download->offset > before ? 0 : failures + 1;
                if (r == OUTCOME_UNAVAILABLE && failures < MAX(session->config->attempts, 1u)) {
                        if (failures > 0)
                                wait_for_retry(download,
                                               delay ?: MIN(1u << (failures - 1), (unsigned) DELAY_SECONDS_MAX));
                        continue;
                }
                CLEANUP_ERROR Error connect = { 0 };
                if (!registry_session_next(session) || registry_session_connect(session, &connect) != 0)
                        return r;
                failures = 0;
        }
}

/* --- A layer ------------------------------------------------------------------------------------------------------ */

static int wait_for_unpacker(Download *download, json_t **ret_layer, Error *error)
{
        int r;

        while ((r = registry_unpacker_finish(download->unpacker, 100, ret_layer, error)) == -EAGAIN)
                registry_pool_tell(registry_message_progress(
                        download->id.text, "Extracting",
                        __atomic_load_n(download->unpacker->consumed, __ATOMIC_RELAXED), download->blob->size));
        return r;
}

static int run(Download *download, json_t **ret_layer, Error *error)
{
        CLEANUP_ERROR Error unpacking = { 0 };
        CLEANUP_JSON json_t *layer = NULL;
        char found[STORE_DIGEST_SIZE] = "";
        int r = fetch_all(download, error), unpacked;

        if (r == 0)
                r = pass_on(download, 1);
        if (r == 0) {
                registry_pool_tell(registry_message(download->id.text, "Verifying Checksum"));
                r = store_hasher_finish(download->hasher, found);
        }
        if (r == 0 && !str_equal(found, download->blob->digest))
                r = error_set(error, OUTCOME_FAILED, "filesystem layer verification failed for digest %s",
                              download->blob->digest);
        if (r == 0)
                registry_pool_tell(registry_message(download->id.text, "Download complete"));
        /* The unpacker comes to its end in any case, and removes what is not whole. */
        download->fd = fd_close(download->fd);
        unpacked = wait_for_unpacker(download, &layer, &unpacking);
        if (r != 0 && !download->unpack_failed)
                return r;
        if (unpacked != 0) {
                error_clear(error);
                *error = unpacking;
                unpacking = (Error) { 0 };
                return unpacked;
        }
        if (r == 0)
                *ret_layer = TAKE_PTR(layer);
        return r;
}

int registry_download_layer(RegistrySession *session, RegistryCompanion *unpacker, const RegistryBlob *blob,
                            json_t **ret)
{
        CLEANUP(download_clear)
        Download download = { .session = session,
                              .unpacker = unpacker,
                              .blob = blob,
                              .id = registry_short_id(blob->digest),
                              .fd = -EBADF };
        CLEANUP_ERROR Error error = { 0 };
        json_t *layer = NULL;
        int r = store_hasher_new(false, &download.hasher);

        if (r >= 0)
                r = registry_unpacker_begin(unpacker, blob->staged, blob->diff_id, &download.fd);
        if (r >= 0)
                r = run(&download, &layer, &error);
        *ret = r == 0 ? json_pack("{so}", "Layer", layer)
                      : json_pack("{si ss}", "Outcome", r, "Message", error.message ?: strerror(abs(r)));
        return *ret ? 0 : -ENOMEM;
}
