/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Blobs to a registry. */
#pragma once

#include "registry-session.h"

/* A layer as it will be in the target repository. */
typedef struct RegistryLayerUpload {
        const char *diff_id;  /* all borrowed */
        const json_t *wanted; /* the descriptor that a known manifest has for it; NULL: none */
        const json_t *sources;
        const char *layer_root;
} RegistryLayerUpload;

/* Makes the repository have the layer; progress goes to the pool. RET is {"Descriptor":{"mediaType","size","digest"}}
 * or
 * {"Outcome","Message"}. */
int registry_upload_layer(RegistrySession *session, const RegistryLayerUpload *layer, json_t **ret);

/* Makes the repository have a small blob. */
int registry_upload_blob(RegistrySession *session, const char *digest, const void *data, size_t size, Error *error);

/* Whether the repository has a blob. */
int registry_blob_exists(RegistrySession *session, const char *digest, bool *ret, Error *error);

/* Whether a layer of the media type is a tar compressed by gzip, which any manifest can name. */
bool registry_type_is_gzip(const char *media_type);

/* Whether an answer is worth another attempt, and after how many seconds (unchanged where the server does not say). */
bool registry_worth_retry(int result, const RegistryResponse *response, unsigned *ret_seconds);
