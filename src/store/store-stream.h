/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pulling bytes through a chain of sources without copying them: a source lends its next block, and the chain above
 * takes it in pieces. Each stream borrows its parent; nothing of the parent may be read while a stream above it is in
 * use. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "store-digest.h"

/* What a stream can be asked to show without taking it: enough to tell a tar header. */
#define STORE_STREAM_PEEK 512

typedef struct StoreStream StoreStream;
struct StoreStream {
        /* Lends the next block, until the next call: its size, 0 at the end, negative errno. */
        ssize_t (*next)(StoreStream *stream, const uint8_t **ret);
        const uint8_t *data; /* what is left of the block at hand */
        size_t left;
        uint8_t head[STORE_STREAM_PEEK]; /* bytes that were peeked at, in front of the block */
        size_t head_start, head_end;
};

/* Takes at most MAX bytes, lent until the next call. Their number, 0 at the end, negative errno. */
ssize_t store_stream_take(StoreStream *stream, size_t max, const uint8_t **ret);

/* Takes exactly SIZE bytes unless the stream ends. Their number or negative errno. */
ssize_t store_stream_read(StoreStream *stream, void *buffer, size_t size);

/* Shows up to SIZE (at most STORE_STREAM_PEEK) bytes; fewer only at the end. */
ssize_t store_stream_peek(StoreStream *stream, size_t size, const uint8_t **ret);

/* Takes all that is left. */
int store_stream_drain(StoreStream *stream);

/* A descriptor (borrowed) or, with READ, a callback. */
typedef struct StoreInputStream {
        StoreStream stream;
        int fd;
        ssize_t (*read)(void *userdata, void *buffer, size_t size);
        void *userdata;
        uint8_t *buffer; /* owned */
        uint64_t total;  /* bytes read so far */
} StoreInputStream;

int store_input_stream_init(StoreInputStream *input, int fd, ssize_t (*read)(void *, void *, size_t), void *userdata);
void store_input_stream_deinit(StoreInputStream *input);

/* Bytes of memory (borrowed). */
typedef struct StoreMemoryStream {
        StoreStream stream;
        const uint8_t *data;
        size_t size;
} StoreMemoryStream;

void store_memory_stream_init(StoreMemoryStream *memory, const void *data, size_t size);

/* The parent's bytes, digested as they pass. */
typedef struct StoreHashStream {
        StoreStream stream;
        StoreStream *parent;
        StoreHasher *hasher;
} StoreHashStream;

void store_hash_stream_init(StoreHashStream *hash, StoreStream *parent, StoreHasher *hasher);

typedef enum StoreCompression {
        STORE_PLAIN,
        STORE_GZIP,
        STORE_BZIP2,
        STORE_XZ,
        STORE_ZSTD,
} StoreCompression;

/* Told from the first bytes. */
StoreCompression store_compression_of(const uint8_t *data, size_t size);

/* The parent's bytes, decompressed. Broken data is -EBADMSG. */
typedef struct StoreInflateStream {
        StoreStream stream;
        StoreStream *parent;
        struct StoreGzip *gzip;  /* owned; for gzip, else */
        struct archive *archive; /* owned */
        int error;               /* of the parent */
} StoreInflateStream;

int store_inflate_stream_init(StoreInflateStream *inflate, StoreStream *parent, StoreCompression compression);
void store_inflate_stream_deinit(StoreInflateStream *inflate);

#define CLEANUP_INPUT_STREAM CLEANUP(store_input_stream_deinit)
#define CLEANUP_INFLATE_STREAM CLEANUP(store_inflate_stream_deinit)
