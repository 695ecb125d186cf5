/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing to disk while the unpacking goes on, so that the last sync finds little to do. */
#pragma once

#include <stdint.h>

#include "berth/cleanup.h"

typedef struct StoreFlusher StoreFlusher;

/* FD is on the file system to be written; borrowed. */
int store_flusher_new(int fd, StoreFlusher **ret);
void store_flusher_free(StoreFlusher *flusher);

/* So many bytes were written since the flusher was made. */
void store_flusher_note(StoreFlusher *flusher, int64_t bytes);

DEFINE_CLEANUP(store_flusher_cleanup, StoreFlusher *, store_flusher_free)
#define CLEANUP_FLUSHER CLEANUP(store_flusher_cleanup)
