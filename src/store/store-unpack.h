/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A layer's tar to a staged layer directory: fs/, headers.zst, and what is kept. */
#pragma once

#include "berth/outcome.h"
#include "store-pack.h"
#include "store-stream.h"

typedef struct StoreUnpacked {
        char diff_id[STORE_DIGEST_SIZE];
        int64_t size; /* of the files' content */
        int64_t tar_size;
        int64_t entries;
} StoreUnpacked;

/* Unpacks an uncompressed tar into LAYER_FD, an empty directory. TICK is called now and then with the bytes of tar read
 * so far. PACK, which may be NULL, is where the tar comes from, if it is made of files here: their content is shared
 * where that is possible. With PLAIN it is no layer: names of whiteouts mean nothing, and there is neither a digest nor
 * headers.zst. What the archive does wrong is
 * OUTCOME_BAD_REQUEST; the directory is then to be thrown away.
 */
int store_unpack(StoreStream *tar, StorePack *pack, int layer_fd, bool plain,
                 void (*tick)(void *userdata, int64_t bytes), void *userdata, StoreUnpacked *ret, Error *error);

/* The same, but that files get their size and no content: for comparing. */
int store_unpack_bare(StoreStream *tar, int layer_fd, StoreUnpacked *ret, Error *error);
