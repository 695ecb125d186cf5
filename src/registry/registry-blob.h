/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The requests that uploads are made of. */
#pragma once

#include "registry-session.h"

/* An upload that the registry waits for. The empty value is {}. */
typedef struct RegistryUploadPlace {
        char *url;         /* owned; absolute, NULL: none */
        int64_t chunk_min; /* the least size of all chunks but the last; 0: no wish */
} RegistryUploadPlace;

void registry_upload_place_clear(RegistryUploadPlace *place);
#define CLEANUP_REGISTRY_UPLOAD_PLACE CLEANUP(registry_upload_place_clear)

/* Whether an answer is worth another attempt, and after how many seconds (unchanged where the server does not say). */
bool registry_worth_retry(int result, const RegistryResponse *response, unsigned *ret_seconds);

/* Waits, with the session's tick; tells the client if there is an ID. */
int registry_wait(const RegistrySession *session, const char *id, unsigned seconds);

/* Repeats what the server was too busy for, a few times. The body has to be in memory. */
int registry_send_patiently(RegistrySession *session, const RegistryRequest *request, RegistryResponse *ret,
                            Error *error);

/* Whether the repository has a blob. */
int registry_blob_exists(RegistrySession *session, const char *digest, bool *ret, Error *error);

/* Begins an upload, or mounts DIGEST from another repository: the place stays empty where that did it. */
int registry_blob_begin(RegistrySession *session, const char *digest, const char *from, RegistryUploadPlace *ret,
                        Error *error);

/* Where the upload goes on after an answer. */
int registry_blob_move(RegistryUploadPlace *place, const RegistryResponse *response, Error *error);

/* How much of it has arrived; the place is emptied where the registry does not know it any more. */
int registry_blob_ask(RegistrySession *session, RegistryUploadPlace *place, int64_t *ret_received, Error *error);

/* Ends an upload whose bytes are there. */
int registry_blob_end(RegistrySession *session, const RegistryUploadPlace *place, const char *digest,
                      RegistryResponse *response, Error *error);

/* Gives an upload up, as far as the registry lets it; the place is empty then. */
void registry_blob_cancel(RegistrySession *session, RegistryUploadPlace *place);

/* Whether the answer to a PUT says that the blob is there. */
bool registry_blob_is_made(const RegistryResponse *response);

/* Makes the repository have a blob that is in memory. */
int registry_blob_put(RegistrySession *session, const char *digest, const void *data, size_t size, Error *error);
