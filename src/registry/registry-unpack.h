/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other half of a download: a process without network, whose root is the staging directory, that unpacks what comes
 * through a pipe. */
#pragma once

#include <stdint.h>

#include "registry-private.h"

/* The empty value is all zero but for the socket, which is negative. */
typedef struct RegistryUnpacker {
        int socket;        /* owned */
        int64_t *consumed; /* shared with it: bytes of the layer at hand that were read; mapped, owned */
} RegistryUnpacker;

/* Starts it, as a child of this process that ends with it. STAGING_FD is borrowed. */
int registry_unpacker_start(RegistryUnpacker *unpacker, int staging_fd);
void registry_unpacker_clear(RegistryUnpacker *unpacker);

/* Begins a layer: *ret_fd takes its blob's bytes and is to be closed at their end. */
int registry_unpacker_begin(RegistryUnpacker *unpacker, const char *staged, const char *digest, const char *diff_id,
                            int *ret_fd);

/* Waits up to TIMEOUT_MS for the layer's end: 0 with the member for "Layers" of a result, -EAGAIN while it goes on, or
 * what went wrong. */
int registry_unpacker_finish(RegistryUnpacker *unpacker, int timeout_ms, json_t **ret_layer, Error *error);
