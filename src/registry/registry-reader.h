/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other half of an upload: a process without network, whose root is the store's layers, that writes a layer's tar
 * again and compresses it into a pipe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "registry-private.h"

/* The empty value is all zero but for the socket, which is negative. */
typedef struct RegistryReader {
        int socket;        /* owned */
        int64_t *consumed; /* shared with it: bytes of the tar at hand so far; mapped, owned */
} RegistryReader;

/* Starts it, as a child of this process that ends with it. */
int registry_reader_start(RegistryReader *reader, const char *layer_root);
void registry_reader_clear(RegistryReader *reader);

/* Begins a layer: *ret_fd gives its bytes, compressed by gzip or as they are, the same each time. */
int registry_reader_begin(RegistryReader *reader, const char *diff_id, bool gzip, int *ret_fd);

/* Waits for the layer's end, after the descriptor gave its last byte or was closed: 0 where the bytes were the layer's,
 * all of them. OUTCOME_FAILED where its files changed. */
int registry_reader_finish(RegistryReader *reader, Error *error);
