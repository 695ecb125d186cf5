/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layers from a registry to the staging directory. */
#pragma once

#include "registry-session.h"
#include "registry-unpack.h"

typedef struct RegistryBlob {
        const char *digest, *diff_id, *staged; /* borrowed */
        int64_t size;
} RegistryBlob;

/* Makes this process a downloader: starts its unpacker, closes all descriptors but the pool's SOCKET, and gives its
 * privileges up. */
int registry_download_start(RegistrySession *session, RegistryCompanion *unpacker, int socket, int staging_fd);

/* One layer, whole or not at all; progress goes to the pool. RET is {"Layer":...} or {"Outcome","Message"}. */
int registry_download_layer(RegistrySession *session, RegistryCompanion *unpacker, const RegistryBlob *blob,
                            json_t **ret);

/* Where a stream that broke off at OFFSET goes on, by the answer to a request for the rest: how many of its first bytes
 * are to be passed over. -EPROTO where the answer starts behind the offset or says what makes no sense. */
int registry_resume_skip(int status, const char *content_range, int64_t offset, int64_t size, int64_t *ret_skip);
