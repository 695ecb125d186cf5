/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A stream whose parent is read by a thread, so that decompressing and unpacking go on at the same time. */
#pragma once

#include "store-stream.h"

typedef struct StoreAhead StoreAhead;

/* From now until store_ahead_free() the parent belongs to the thread. */
int store_ahead_new(StoreStream *parent, StoreAhead **ret);

/* Ends the thread, after the read it is in. */
void store_ahead_free(StoreAhead *ahead);

StoreStream *store_ahead_stream(StoreAhead *ahead);

DEFINE_CLEANUP(store_ahead_cleanup, StoreAhead *, store_ahead_free)
#define CLEANUP_AHEAD CLEANUP(store_ahead_cleanup)
