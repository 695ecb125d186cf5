/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-blob.h"

#include <time.h>

#include "berth/string.h"
#include "registry-location.h"
#include "registry-pool.h"
#include "registry-progress.h"

#define ATTEMPTS 5
#define DELAY_SECONDS_MAX 300
#define STEP_MS 100
/* A registry may copy all of a layer before it answers. */
#define END_PATIENCE_SECONDS 1800
#define CHUNK_MIN_MAX (INT64_C(1024) * 1024 * 1024)

void registry_upload_place_clear(RegistryUploadPlace *place)
{
        free(place->url);
        *place = (RegistryUploadPlace) { 0 };
}

/* --- Patience ----------------------------------------------------------------------------------------------------- */

bool registry_worth_retry(int result, const RegistryResponse *response, unsigned *ret_seconds)
{
        if (result == OUTCOME_UNAVAILABLE)
                return true;
        if (result != 0 || response->status == 501 ||
            (response->status != 408 && response->status != 429 && response->status < 500))
                return false;
        registry_retry_after(response->retry_after, time(NULL), DELAY_SECONDS_MAX, ret_seconds);
        return true;
}

int registry_wait(const RegistrySession *session, const char *id, unsigned seconds)
{
        const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };

        for (; seconds > 0; seconds--) {
                if (id)
                        registry_pool_tell(registry_message_printf(id, "Retrying in %u second%s", seconds,
                                                                   seconds == 1 ? "" : "s"));
                for (unsigned i = 0; i < 1000 / STEP_MS; i++) {
                        int r = session->tick ? session->tick(session->userdata) : 0;

                        if (r != 0)
                                return r;
                        nanosleep(&step, NULL);
                }
        }
        return 0;
}

int registry_send_patiently(RegistrySession *session, const RegistryRequest *request, RegistryResponse *ret,
                            Error *error)
{
        for (unsigned attempt = 1;; attempt++) {
                unsigned seconds = 1u << (attempt - 1);
                int r = registry_session_send(session, request, ret, error);

                if (attempt == ATTEMPTS || !registry_worth_retry(r, ret, &seconds))
                        return r;
                error_clear(error);
                r = registry_wait(session, NULL, seconds);
                if (r != 0)
                        return r;
        }
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

int registry_blob_exists(RegistrySession *session, const char *digest, bool *ret, Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_FREE char *path = registry_session_path(session, "blobs", digest);
        RegistryRequest request = { .method = "HEAD", .url = path };
        int r = path ? registry_send_patiently(session, &request, &response, error) : -ENOMEM;

        if (r != 0)
                return r;
        if (response.status == 401 || response.status == 403 || response.status == 429 || response.status >= 500)
                return registry_refuse(&response, NULL, error);
        *ret = response.status == 200;
        return 0;
}

static int take_place(const char *base, const RegistryResponse *response, RegistryUploadPlace *place, Error *error)
{
        char *url = NULL;
        int r = response->location ? registry_location_resolve(base, response->location, &url) : -EPROTO;

        if (r == -EPROTO)
                return error_set(error, OUTCOME_FAILED, "the registry does not say where an upload goes: \"%s\"",
                                 response->location ?: "");
        if (r < 0)
                return r;
        free(place->url);
        place->url = url;
        return 0;
}

int registry_blob_begin(RegistrySession *session, const char *digest, const char *from, RegistryUploadPlace *ret,
                        Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_REGISTRY_UPLOAD_PLACE RegistryUploadPlace place = { 0 };
        CLEANUP_FREE char *query = from ? str_printf("?mount=%s&from=%s", digest, from) : strdup("");
        CLEANUP_FREE char *path = query ? registry_session_path(session, "blobs/uploads", query) : NULL;
        CLEANUP_FREE char *base = path ? str_printf("%s%s", session->endpoints[session->current].url, path) : NULL;
        RegistryRequest request = { .method = "POST", .url = path, .body = "" };
        int r = base ? registry_send_patiently(session, &request, &response, error) : -ENOMEM;

        if (r != 0)
                return r;
        if (response.status != 202 && (response.status != 201 || !from))
                return registry_refuse(&response, NULL, error);
        if (response.status == 202)
                r = take_place(base, &response, &place, error);
        if (r != 0)
                return r;
        if (response.chunk_min && str_to_int64(response.chunk_min, 0, INT64_MAX, &place.chunk_min) < 0)
                place.chunk_min = 0;
        if (place.chunk_min > CHUNK_MIN_MAX)
                return error_set(error, OUTCOME_FAILED, "the registry wants chunks of %lld bytes at least",
                                 (long long) place.chunk_min);
        *ret = place;
        place = (RegistryUploadPlace) { 0 };
        return 0;
}

int registry_blob_move(RegistryUploadPlace *place, const RegistryResponse *response, Error *error)
{
        CLEANUP_FREE char *base = strdup(place->url);

        if (!response->location)
                return 0;
        return base ? take_place(base, response, place, error) : -ENOMEM;
}

int registry_blob_ask(RegistrySession *session, RegistryUploadPlace *place, int64_t *ret_received, Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        RegistryRequest request = { .method = "GET", .url = place->url };
        int64_t received = 0;
        int r = registry_send_patiently(session, &request, &response, error);

        if (r != 0)
                return r;
        if (response.status < 200 || response.status > 299 || registry_range_received(response.range, &received) < 0) {
                registry_upload_place_clear(place);
                return 0;
        }
        r = registry_blob_move(place, &response, error);
        if (r == 0)
                *ret_received = received;
        return r;
}

static int end_upload(RegistrySession *session, const RegistryUploadPlace *place, const char *digest, const void *data,
                      size_t size, RegistryResponse *response, Error *error)
{
        char *const headers[] = { (char *) "Content-Type: application/octet-stream", NULL };
        CLEANUP_FREE char *url = registry_location_with(place->url, "digest", digest);
        RegistryRequest request = { .method = "PUT",
                                    .url = url,
                                    .headers = headers,
                                    .body = data,
                                    .body_size = size,
                                    .patience = END_PATIENCE_SECONDS };

        return url ? registry_session_send(session, &request, response, error) : -ENOMEM;
}

int registry_blob_end(RegistrySession *session, const RegistryUploadPlace *place, const char *digest,
                      RegistryResponse *response, Error *error)
{
        return end_upload(session, place, digest, "", 0, response, error);
}

void registry_blob_cancel(RegistrySession *session, RegistryUploadPlace *place)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_ERROR Error ignored = { 0 };
        RegistryRequest request = { .method = "DELETE", .url = place->url };

        if (place->url)
                registry_session_send(session, &request, &response, &ignored);
        registry_upload_place_clear(place);
}

bool registry_blob_is_made(const RegistryResponse *response)
{
        return response->status == 201 || response->status == 204 || response->status == 200;
}

/* One attempt; RESPONSE is that of its end. */
static int put_once(RegistrySession *session, const char *digest, const void *data, size_t size,
                    RegistryResponse *response, Error *error)
{
        CLEANUP_REGISTRY_UPLOAD_PLACE RegistryUploadPlace place = { 0 };
        int r = registry_blob_begin(session, NULL, NULL, &place, error);

        return r != 0 ? r : end_upload(session, &place, digest, data, size, response, error);
}

int registry_blob_put(RegistrySession *session, const char *digest, const void *data, size_t size, Error *error)
{
        for (unsigned attempt = 1;; attempt++) {
                CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
                unsigned seconds = 1u << (attempt - 1);
                bool exists = false;
                /* It may be there though the answer to the attempt before was lost. */
                int r = registry_blob_exists(session, digest, &exists, error);

                if (r != 0 || exists)
                        return r;
                r = put_once(session, digest, data, size, &response, error);
                if (r == 0 && registry_blob_is_made(&response))
                        return 0;
                if (attempt == ATTEMPTS || !registry_worth_retry(r, &response, &seconds))
                        return r != 0 ? r : registry_refuse(&response, NULL, error);
                error_clear(error);
                r = registry_wait(session, NULL, seconds);
                if (r != 0)
                        return r;
        }
}
