/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A blob whose digest is known goes out in one PUT. The digest of others is known at their end, so they go out in one
 * PATCH of unknown length. Chunks from memory are for registries that want lengths or a least size, and for connections
 * that break: what has arrived by then need not be sent again, and a pass over the layer skips it, as the same bytes
 * come each time. */
#include "registry-transfer.h"

#include <string.h>

#include "berth/string.h"
#include "registry-location.h"
#include "registry-pool.h"

#define ATTEMPTS 5
#define DELAY_SHIFT_MAX 4u
#define TELL_NS (INT64_C(100) * 1000000)
#define CHUNK_SIZE (8u * 1024 * 1024)

static char *const plain_headers[] = { (char *) "Content-Type: application/octet-stream", NULL };

/* --- A pass over the layer ---------------------------------------------------------------------------------------- */

static void end_pass(RegistryTransfer *transfer)
{
        CLEANUP_ERROR Error ignored = { 0 };
        bool running = transfer->fd >= 0;

        transfer->fd = fd_close(transfer->fd);
        /* It notices that nobody reads, and is ready for the next order. */
        if (running && !transfer->complete)
                registry_reader_finish(transfer->reader, &ignored);
        store_hasher_free(TAKE_PTR(transfer->hasher));
        transfer->complete = false;
        transfer->offset = 0;
}

void registry_transfer_clear(RegistryTransfer *transfer)
{
        end_pass(transfer);
        registry_upload_place_clear(&transfer->place);
        error_clear(&transfer->failure);
}

static void tell(RegistryTransfer *transfer)
{
        int64_t now = time_now_ns();

        if (now < transfer->told_ns + TELL_NS)
                return;
        transfer->told_ns = now;
        registry_pool_tell(registry_message_progress(transfer->id.text, "Pushing",
                                                     __atomic_load_n(transfer->reader->consumed, __ATOMIC_RELAXED),
                                                     transfer->tar_size));
}

/* The end is one only if the reader says that all was well. */
static ssize_t read_pass(void *userdata, void *data, size_t size)
{
        RegistryTransfer *transfer = userdata;
        ssize_t n;

        if (transfer->complete)
                return 0;
        do
                n = read(transfer->fd, data, size);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        if (n == 0) {
                transfer->complete = true;
                return registry_reader_finish(transfer->reader, &transfer->failure) == 0 ? 0 : -EBADMSG;
        }
        int r = store_hasher_update(transfer->hasher, data, (size_t) n);
        if (r < 0)
                return r;
        transfer->offset += n;
        tell(transfer);
        return n;
}

/* Fills the block, as far as there are bytes. */
static ssize_t read_block(RegistryTransfer *transfer, void *block, size_t size)
{
        size_t done = 0;

        while (done < size) {
                ssize_t n = read_pass(transfer, (char *) block + done, size - done);

                if (n < 0)
                        return n;
                if (n == 0)
                        break;
                done += (size_t) n;
        }
        return (ssize_t) done;
}

static int begin_pass(RegistryTransfer *transfer)
{
        static char skipped[65536];

        end_pass(transfer);
        int r = store_hasher_new(false, &transfer->hasher);
        if (r >= 0)
                r = registry_reader_begin(transfer->reader, transfer->diff_id, transfer->gzip, &transfer->fd);
        while (r >= 0 && transfer->offset < transfer->received) {
                ssize_t n = read_block(transfer, skipped,
                                       (size_t) MIN(transfer->received - transfer->offset, (int64_t) sizeof(skipped)));

                if (n <= 0)
                        return n < 0 ? (int) n : -EBADMSG;
        }
        return r < 0 ? r : 0;
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

/* Whether the answer to a PATCH admits to all of it. */
static int check_patched(RegistryTransfer *transfer, const RegistryResponse *response, Error *error)
{
        int64_t received;

        if (response->status < 200 || response->status > 299)
                return registry_refuse(response, NULL, error);
        if (response->range && registry_range_received(response->range, &received) >= 0 &&
            received + 1 < transfer->offset)
                return error_set(error, OUTCOME_UNAVAILABLE, "the registry took %lld of %lld bytes",
                                 (long long) received, (long long) transfer->offset);
        transfer->received = transfer->offset;
        return registry_blob_move(&transfer->place, response, error);
}

static int send_stream(RegistryTransfer *transfer, RegistryResponse *response, Error *error)
{
        RegistryRequest request = { .method = "PATCH",
                                    .url = transfer->place.url,
                                    .headers = plain_headers,
                                    .read = read_pass,
                                    .userdata = transfer };
        int r = registry_session_send(transfer->session, &request, response, error);

        return r != 0 ? r : check_patched(transfer, response, error);
}

static int send_chunk(RegistryTransfer *transfer, const Buffer *chunk, RegistryResponse *response, Error *error)
{
        CLEANUP_FREE char *range = str_printf("Content-Range: %lld-%lld", (long long) transfer->received,
                                              (long long) (transfer->offset - 1));
        char *const headers[] = { plain_headers[0], range, NULL };
        RegistryRequest request = { .method = "PATCH",
                                    .url = transfer->place.url,
                                    .headers = headers,
                                    .body = chunk->data,
                                    .body_size = chunk->size };

        if (!range)
                return -ENOMEM;
        registry_response_clear(response);
        int r = registry_session_send(transfer->session, &request, response, error);
        return r != 0 ? r : check_patched(transfer, response, error);
}

static int send_chunks(RegistryTransfer *transfer, RegistryResponse *response, Error *error)
{
        CLEANUP_BUFFER Buffer chunk = { 0 };

        if (buffer_reserve(&chunk, transfer->chunk) < 0)
                return -ENOMEM;
        for (;;) {
                ssize_t n = read_block(transfer, chunk.data, transfer->chunk);

                if (n <= 0)
                        return (int) n;
                chunk.size = (size_t) n;
                int r = send_chunk(transfer, &chunk, response, error);
                if (r != 0)
                        return r;
        }
}

static int send_whole(RegistryTransfer *transfer, RegistryResponse *response, Error *error)
{
        CLEANUP_FREE char *url = registry_location_with(transfer->place.url, "digest", transfer->digest);
        RegistryRequest request = { .method = "PUT",
                                    .url = url,
                                    .headers = plain_headers,
                                    .read = read_pass,
                                    .read_size = transfer->size,
                                    .userdata = transfer };

        return url ? registry_session_send(transfer->session, &request, response, error) : -ENOMEM;
}

/* Where the whole went out by its length nobody asked for the stream's end. */
static int check_end(RegistryTransfer *transfer, Error *error)
{
        char end[1], digest[STORE_DIGEST_SIZE] = "";
        ssize_t n = transfer->complete ? 0 : read_pass(transfer, end, sizeof(end));

        if (n < 0)
                return (int) n;
        if (n > 0)
                return error_set(error, OUTCOME_UNAVAILABLE, "the registry did not take the whole layer");
        int r = store_hasher_finish(transfer->hasher, digest);
        if (r < 0)
                return r;
        if (*transfer->digest && !str_equal(transfer->digest, digest))
                return error_set(error, OUTCOME_FAILED, "a layer is not the same when it is read again");
        snprintf(transfer->digest, sizeof(transfer->digest), "%s", digest);
        transfer->size = transfer->offset;
        return 0;
}

/* One pass. RESPONSE is that of the request that decided it, with status 0 where none came. */
static int attempt(RegistryTransfer *transfer, RegistryResponse *response, Error *error)
{
        bool whole = *transfer->digest && transfer->size > 0 && !transfer->chunk && !transfer->not_whole &&
                     transfer->received == 0;
        int r = begin_pass(transfer);

        if (r == 0 && whole)
                r = send_whole(transfer, response, error);
        else if (r == 0)
                r = transfer->chunk ? send_chunks(transfer, response, error) : send_stream(transfer, response, error);
        if (r == 0 && whole && !registry_blob_is_made(response))
                return registry_refuse(response, NULL, error);
        if (r == 0)
                r = check_end(transfer, error);
        if (r != 0 || whole)
                return r;
        registry_response_clear(response);
        r = registry_blob_end(transfer->session, &transfer->place, transfer->digest, response, error);
        if (r == 0 && !registry_blob_is_made(response))
                r = registry_refuse(response, NULL, error);
        return r;
}

/* --- What goes wrong ---------------------------------------------------------------------------------------------- */

/* Whether another attempt makes sense, after so many seconds, and in what way. */
static bool learn(RegistryTransfer *transfer, int result, const RegistryResponse *response, unsigned *seconds)
{
        size_t chunk = transfer->chunk;
        int status = response->status;

        if (status >= 200 && status <= 299)
                return result == OUTCOME_UNAVAILABLE;
        if (status == 0) {
                transfer->chunk = MAX(chunk, (size_t) CHUNK_SIZE);
                return result == OUTCOME_UNAVAILABLE;
        }
        switch (status) {
        case 401: /* a token's time was up */
                *seconds = 0;
                return true;
        case 404: /* the upload is not known any more */
                registry_upload_place_clear(&transfer->place);
                return true;
        case 411:
        case 413:
                transfer->chunk = MAX(chunk, (size_t) CHUNK_SIZE);
                *seconds = 0;
                return chunk == 0;
        case 416: /* it has something else than was thought */
                transfer->chunk = MAX(chunk, (size_t) CHUNK_SIZE);
                *seconds = 0;
                return true;
        default:
                if (registry_worth_retry(0, response, seconds))
                        return true;
        }
        if (transfer->not_whole || !*transfer->digest || chunk || transfer->received > 0)
                return false;
        transfer->not_whole = true;
        *seconds = 0;
        return true;
}

/* What the registry has by now; *ret_there where that is all. */
static int take_stock(RegistryTransfer *transfer, bool *ret_there, Error *error)
{
        int64_t received = 0;
        int r = 0;

        if (*transfer->digest)
                r = registry_blob_exists(transfer->session, transfer->digest, ret_there, error);
        if (r != 0 || *ret_there)
                return r;
        if (transfer->place.url)
                r = registry_blob_ask(transfer->session, &transfer->place, &received, error);
        /* More than was ever sent is not ours. */
        if (r == 0 && received > transfer->offset)
                registry_blob_cancel(transfer->session, &transfer->place);
        transfer->received = r == 0 && transfer->place.url ? received : 0;
        if (transfer->received > 0)
                transfer->chunk = MAX(transfer->chunk, (size_t) CHUNK_SIZE);
        return r;
}

static int begin(RegistryTransfer *transfer, Error *error)
{
        if (!transfer->place.url) {
                int r = registry_blob_begin(transfer->session, NULL, NULL, &transfer->place, error);

                transfer->received = 0;
                if (r != 0)
                        return r;
        }
        if (transfer->place.chunk_min > 0)
                transfer->chunk = MAX((size_t) transfer->place.chunk_min, (size_t) CHUNK_SIZE);
        return 0;
}

static int fail(RegistryTransfer *transfer, int result, Error *error)
{
        if (transfer->failure.message) {
                error_clear(error);
                *error = transfer->failure;
                transfer->failure = (Error) { 0 };
                result = OUTCOME_FAILED;
        }
        registry_blob_cancel(transfer->session, &transfer->place);
        return result;
}

int registry_transfer_run(RegistryTransfer *transfer, Error *error)
{
        for (unsigned failures = 0;;) {
                CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
                int64_t before = transfer->received;
                unsigned seconds = 1u << MIN(failures, DELAY_SHIFT_MAX);
                bool there = false;
                int r = begin(transfer, error);

                if (r != 0)
                        return r;
                r = attempt(transfer, &response, error);
                if (r == 0)
                        return 0;
                if (r < 0 || transfer->failure.message || ++failures >= ATTEMPTS ||
                    !learn(transfer, r, &response, &seconds))
                        return fail(transfer, r, error);
                error_clear(error);
                r = registry_wait(transfer->session, transfer->id.text, seconds);
                if (r == 0)
                        r = take_stock(transfer, &there, error);
                /* A stream cannot be repeated after a refusal: it gets a token that nothing else was sent with. */
                if (r == 0 && !there && response.status == 401)
                        r = registry_session_authorize(transfer->session, error);
                if (r != 0 || there)
                        return r;
                if (transfer->received > before)
                        failures = 0;
        }
}
