/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "berth/stream.h"

#include <string.h>

#include "berth/file.h"

static int flush_head(Stream *stream)
{
        if (stream->head.size == 0)
                return 0;
        int r = fd_write_all(stream->fd, stream->head.data, stream->head.size);
        buffer_clear(&stream->head);
        return r;
}

int stream_begin(Stream *stream)
{
        return flush_head(stream);
}

int stream_write(Stream *stream, const void *data, size_t size)
{
        char length[32];
        Buffer *head = &stream->head;

        if (size == 0)
                return 0;
        if (!stream->chunked) {
                int r = flush_head(stream);
                return r < 0 ? r : fd_write_all(stream->fd, data, size);
        }

        /* Head and chunk leave in one write; the buffer's memory is used again for the next chunk. */
        snprintf(length, sizeof(length), "%zx\r\n", size);
        int r = buffer_append_string(head, length);
        if (r >= 0)
                r = buffer_append(head, data, size);
        if (r >= 0)
                r = buffer_append(head, "\r\n", 2);
        if (r >= 0)
                r = fd_write_all(stream->fd, head->data, head->size);
        head->size = 0;
        return r;
}

int stream_end(Stream *stream)
{
        int r = flush_head(stream);

        if (r >= 0 && stream->chunked)
                r = fd_write_all(stream->fd, "0\r\n\r\n", 5);
        return r;
}

ssize_t stream_read(Stream *stream, void *data, size_t size)
{
        return stream->reader ? stream->read(stream->reader, data, size) : 0;
}

void stream_clear(Stream *stream)
{
        if (stream->reader)
                stream->free_reader(stream->reader);
        buffer_clear(&stream->head);
        fd_close(stream->fd);
        *stream = (Stream) STREAM_INIT;
}

void stream_move(Stream *to, Stream *from)
{
        *to = *from;
        *from = (Stream) STREAM_INIT;
}
