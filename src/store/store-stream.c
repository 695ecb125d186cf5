/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sources of bytes that archives are read from. Blocks are lent along the chain, never copied, but for the few
 * bytes that were peeked at across the edge of a block. */
#include "store-stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

#include "store-gzip.h"

#define INPUT_BLOCK_SIZE (512u * 1024)

static int stream_fill(StoreStream *stream)
{
        ssize_t n;

        if (stream->left > 0)
                return 1;
        n = stream->next(stream, &stream->data);
        if (n <= 0)
                return n;
        stream->left = n;
        return 1;
}

ssize_t store_stream_take(StoreStream *stream, size_t max, const uint8_t **ret)
{
        size_t n;
        int r;

        if (stream->head_start < stream->head_end) {
                n = MIN(max, stream->head_end - stream->head_start);
                *ret = stream->head + stream->head_start;
                stream->head_start += n;
                return n;
        }
        *ret = NULL;
        r = stream_fill(stream);
        if (r <= 0)
                return r;
        n = MIN(max, stream->left);
        *ret = stream->data;
        stream->data += n;
        stream->left -= n;
        return n;
}

ssize_t store_stream_read(StoreStream *stream, void *buffer, size_t size)
{
        size_t done = 0;

        while (done < size) {
                const uint8_t *data;
                ssize_t n = store_stream_take(stream, size - done, &data);

                if (n < 0)
                        return n;
                if (n == 0 || !data)
                        break;
                memcpy((uint8_t *) buffer + done, data, n);
                done += n;
        }
        return done;
}

ssize_t store_stream_peek(StoreStream *stream, size_t size, const uint8_t **ret)
{
        size_t held = stream->head_end - stream->head_start;

        if (held == 0 && stream->left >= size) {
                *ret = stream->data;
                return size;
        }
        memmove(stream->head, stream->head + stream->head_start, held);
        stream->head_start = 0;
        stream->head_end = held;
        while (stream->head_end < size) {
                size_t n;
                int r = stream_fill(stream);

                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                n = MIN(size - stream->head_end, stream->left);
                memcpy(stream->head + stream->head_end, stream->data, n);
                stream->head_end += n;
                stream->data += n;
                stream->left -= n;
        }
        *ret = stream->head;
        return MIN(size, stream->head_end);
}

int store_stream_drain(StoreStream *stream)
{
        for (;;) {
                const uint8_t *data;
                ssize_t n = store_stream_take(stream, SIZE_MAX, &data);

                if (n <= 0)
                        return n;
        }
}

static ssize_t input_read(StoreInputStream *input, void *buffer, size_t size)
{
        ssize_t n;

        if (input->read)
                return input->read(input->userdata, buffer, size);
        do
                n = read(input->fd, buffer, size);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

/* Whole blocks, however small the pieces that come: what is above sees long runs. */
static ssize_t input_next(StoreStream *stream, const uint8_t **ret)
{
        StoreInputStream *input = (StoreInputStream *) stream;
        size_t filled = 0;

        while (filled < INPUT_BLOCK_SIZE) {
                ssize_t n = input_read(input, input->buffer + filled, INPUT_BLOCK_SIZE - filled);

                if (n < 0)
                        return n;
                if (n == 0)
                        break;
                filled += (size_t) n;
        }
        input->total += filled;
        *ret = input->buffer;
        return (ssize_t) filled;
}

int store_input_stream_init(StoreInputStream *input, int fd, ssize_t (*read)(void *, void *, size_t), void *userdata)
{
        *input = (StoreInputStream) { .stream.next = input_next, .fd = fd, .read = read, .userdata = userdata };
        input->buffer = malloc(INPUT_BLOCK_SIZE);
        return input->buffer ? 0 : -ENOMEM;
}

void store_input_stream_deinit(StoreInputStream *input)
{
        free(TAKE_PTR(input->buffer));
}

static ssize_t memory_next(StoreStream *stream, const uint8_t **ret)
{
        StoreMemoryStream *memory = (StoreMemoryStream *) stream;
        size_t n = memory->size;

        *ret = memory->data;
        memory->size = 0;
        return n;
}

void store_memory_stream_init(StoreMemoryStream *memory, const void *data, size_t size)
{
        *memory = (StoreMemoryStream) { .stream.next = memory_next, .data = data, .size = size };
}

static ssize_t hash_next(StoreStream *stream, const uint8_t **ret)
{
        StoreHashStream *hash = (StoreHashStream *) stream;
        ssize_t n;
        int r;

        n = store_stream_take(hash->parent, SIZE_MAX, ret);
        if (n > 0) {
                r = store_hasher_update(hash->hasher, *ret, n);
                if (r < 0)
                        return r;
        }
        return n;
}

void store_hash_stream_init(StoreHashStream *hash, StoreStream *parent, StoreHasher *hasher)
{
        *hash = (StoreHashStream) { .stream.next = hash_next, .parent = parent, .hasher = hasher };
}

/* gzip, by far the most frequent, is not libarchive's part. */
static const struct {
        StoreCompression compression;
        size_t size;
        const char *magic;
        int (*enable)(struct archive *archive);
} compressions[] = {
        { STORE_GZIP, 2, "\x1f\x8b", NULL },
        { STORE_BZIP2, 3, "BZh", archive_read_support_filter_bzip2 },
        { STORE_XZ, 6,
          "\xfd"
          "7zXZ\0",
          archive_read_support_filter_xz },
        { STORE_ZSTD, 4, "\x28\xb5\x2f\xfd", archive_read_support_filter_zstd },
};

StoreCompression store_compression_of(const uint8_t *data, size_t size)
{
        for (size_t i = 0; i < ARRAY_SIZE(compressions); i++)
                if (size >= compressions[i].size && memcmp(data, compressions[i].magic, compressions[i].size) == 0)
                        return compressions[i].compression;
        return STORE_PLAIN;
}

static la_ssize_t inflate_read(struct archive *archive, void *userdata, const void **ret)
{
        StoreInflateStream *inflate = userdata;
        const uint8_t *data = NULL;
        ssize_t n;

        (void) archive;
        n = store_stream_take(inflate->parent, SIZE_MAX, &data);
        if (n < 0) {
                inflate->error = n;
                archive_set_error(archive, -n, "input");
                return ARCHIVE_FATAL;
        }
        *ret = data;
        return n;
}

static ssize_t inflate_next(StoreStream *stream, const uint8_t **ret)
{
        StoreInflateStream *inflate = (StoreInflateStream *) stream;

        for (;;) {
                const void *data;
                size_t size;
                la_int64_t offset;
                int r = archive_read_data_block(inflate->archive, &data, &size, &offset);

                if (r == ARCHIVE_EOF)
                        return 0;
                if (r != ARCHIVE_OK)
                        return inflate->error < 0 ? inflate->error : -EBADMSG;
                if (size == 0)
                        continue;
                *ret = data;
                return size;
        }
}

static ssize_t gunzip_next(StoreStream *stream, const uint8_t **ret)
{
        StoreInflateStream *inflate = (StoreInflateStream *) stream;

        return store_gzip_next(inflate->gzip, inflate->parent, ret);
}

int store_inflate_stream_init(StoreInflateStream *inflate, StoreStream *parent, StoreCompression compression)
{
        struct archive_entry *entry;
        int r = ARCHIVE_FATAL;

        if (compression == STORE_GZIP) {
                *inflate = (StoreInflateStream) { .stream.next = gunzip_next, .parent = parent };
                return store_gzip_new(&inflate->gzip);
        }
        *inflate = (StoreInflateStream) { .stream.next = inflate_next, .parent = parent };
        inflate->archive = archive_read_new();
        if (!inflate->archive)
                return -ENOMEM;
        for (size_t i = 0; i < ARRAY_SIZE(compressions); i++)
                if (compressions[i].compression == compression && compressions[i].enable)
                        r = compressions[i].enable(inflate->archive);
        /* ARCHIVE_WARN would mean that an external program decompresses: a worker runs none. */
        if (r != ARCHIVE_OK)
                return -EOPNOTSUPP;
        if (archive_read_support_format_raw(inflate->archive) != ARCHIVE_OK ||
            archive_read_support_format_empty(inflate->archive) != ARCHIVE_OK)
                return -EIO;
        r = archive_read_open(inflate->archive, inflate, NULL, inflate_read, NULL);
        if (r == ARCHIVE_OK)
                r = archive_read_next_header(inflate->archive, &entry);
        if (r == ARCHIVE_OK || r == ARCHIVE_EOF)
                return 0;
        return inflate->error < 0 ? inflate->error : -EBADMSG;
}

void store_inflate_stream_deinit(StoreInflateStream *inflate)
{
        store_gzip_free(TAKE_PTR(inflate->gzip));
        if (inflate->archive)
                archive_read_free(TAKE_PTR(inflate->archive));
}
