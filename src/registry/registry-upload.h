/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layers to a repository. */
#pragma once

#include "registry-reader.h"
#include "registry-session.h"

/* A layer as it will be in the repository; all borrowed. */
typedef struct RegistryLayerUpload {
        const char *diff_id;
        const json_t *wanted;  /* the descriptor that a known manifest has for it; NULL: none */
        const json_t *sources; /* what is known of it, see store_layer_sources() */
        int64_t tar_size;
} RegistryLayerUpload;

/* Makes this process an uploader: starts its reader, closes all descriptors but the pool's SOCKET, and gives its
 * privileges up. */
int registry_upload_start(RegistrySession *session, RegistryCompanion *reader, const char *layer_root, int socket);

/* Makes the repository have the layer; progress goes to the pool. RET is {"Descriptor":{"mediaType","size","digest"}}
 * or {"Outcome","Message"}. */
int registry_upload_layer(RegistrySession *session, RegistryCompanion *reader, const RegistryLayerUpload *layer,
                          json_t **ret);
