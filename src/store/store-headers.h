/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The record of what a layer's tar holds besides the content of its files, from which the tar is written again.
 *
 * A zstd stream: the magic line, then records, each one letter and little-endian numbers:
 *   R u32 size, bytes             bytes of the tar as they are
 *   F u64 offset, u64 size, u32 length, path   bytes OFFSET to OFFSET + SIZE of the file fs/PATH
 *   K u32 number, u32 length, path             what was fs/PATH (and below) in the F records so far is now kept/NUMBER:
 *                                              the tar named the path again for something else */
#pragma once

#include <stdint.h>

#include "berth/buffer.h"

#define STORE_HEADERS_NAME "headers.zst"
#define STORE_HEADERS_MAGIC "berth-headers 1\n"
#define STORE_HEADERS_RAW 'R'
#define STORE_HEADERS_FILE 'F'
#define STORE_HEADERS_KEPT 'K'

/* The longest run of one R record, and the longest path. */
#define STORE_HEADERS_RAW_MAX (128u * 1024)
#define STORE_HEADERS_PATH_MAX (64u * 1024)

typedef struct StoreHeaders {
        struct archive *archive; /* owned; the compressor */
        int fd;                  /* owned */
        Buffer raw;              /* bytes waiting to become an R record */
        int error;               /* of writing the file */
} StoreHeaders;

/* As long as nothing was created, what is recorded goes nowhere. */
#define STORE_HEADERS_EMPTY { .fd = -EBADF }

/* Makes DIRFD/headers.zst. */
int store_headers_create(StoreHeaders *headers, int dirfd);
int store_headers_raw(StoreHeaders *headers, const void *data, size_t size);
int store_headers_file(StoreHeaders *headers, const char *path, int64_t offset, int64_t size);
int store_headers_kept(StoreHeaders *headers, uint32_t number, const char *path);
int store_headers_finish(StoreHeaders *headers);
void store_headers_clear(StoreHeaders *headers);

#define CLEANUP_HEADERS CLEANUP(store_headers_clear)
