/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layers into a staging directory, from a stream. */
#pragma once

#include "berth/store.h"
#include "store-pack.h"
#include "store-stream.h"

#define STORE_LAYER_RECORD "layer.json"

/* Unpacks a layer blob, compressed or not, as STAGED. NAME is what progress calls it, TOTAL its size if known. The
 * digest (STORE_DIGEST_SIZE bytes, or NULL) is that of the blob's bytes. On failure nothing is left of it, and the
 * stream may be anywhere. */
int store_stage_stream(StoreStream *stream, const StoreInput *input, const char *staged, const char *name,
                       int64_t total, char *ret_digest, json_t **ret_layer, Error *error);

/* The same for what PACK makes. */
int store_stage_pack(StorePack *pack, const StoreInput *input, const char *staged, json_t **ret_layer, Error *error);
