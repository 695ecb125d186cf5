/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other half of an upload: a process without network, whose root is the store's layers, that writes a layer's tar
 * again and compresses it into a pipe. */
#pragma once

#include <stdbool.h>

#include "registry-companion.h"
#include "registry-private.h"

/* Starts it; what its companion counts as consumed are bytes of the tar. */
int registry_reader_start(RegistryCompanion *reader, const char *layer_root);

/* Begins a layer: *ret_fd gives its bytes, compressed by gzip or as they are, the same each time. */
int registry_reader_begin(RegistryCompanion *reader, const char *diff_id, bool gzip, int *ret_fd);

/* Waits for the layer's end, after the descriptor gave its last byte or was closed: 0 where the bytes were the layer's,
 * all of them. OUTCOME_FAILED where its files changed. */
int registry_reader_finish(RegistryCompanion *reader, Error *error);
