/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inflating gzip by ISA-L, which is much faster at it than zlib. */
#pragma once

#include "store-stream.h"

typedef struct StoreGzip StoreGzip;

int store_gzip_new(StoreGzip **ret);
void store_gzip_free(StoreGzip *gzip);

/* Lends the next block of what PARENT inflates to, until the next call. 0 at the end, -EBADMSG for broken data, or the
 * parent's error. */
ssize_t store_gzip_next(StoreGzip *gzip, StoreStream *parent, const uint8_t **ret);
