/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An exchange that left the HTTP server: the body still to be read, the answer still to be written. It can be used by
 * this process or, across fork(2), by a worker; whoever writes first sends the answer's head. All calls block. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "berth/buffer.h"

typedef struct Stream {
        int fd;       /* owned */
        bool chunked; /* the answer is framed in chunks; else it ends with the connection */
        Buffer head;  /* the answer's status line and headers, until they are sent */
        void *reader; /* decodes the request's body; NULL where there is none. Owned. */
        ssize_t (*read)(void *reader, void *data, size_t size);
        void (*free_reader)(void *reader);
} Stream;

#define STREAM_INIT { .fd = -EBADF }

/* A piece of the answer, framed and sent. -EPIPE or -ECONNRESET where the client has gone. */
int stream_write(Stream *stream, const void *data, size_t size);

/* Sends the head now, with no data yet. */
int stream_begin(Stream *stream);

/* Ends the answer: the client knows it is whole. */
int stream_end(Stream *stream);

/* Up to SIZE bytes of the request's body; 0 at its end; -EBADMSG for bad framing, -ECONNRESET for an early end. */
ssize_t stream_read(Stream *stream, void *data, size_t size);

/* Closes and empties. */
void stream_clear(Stream *stream);

/* Moves FROM's content to TO, leaving it empty. */
void stream_move(Stream *to, Stream *from);

#define CLEANUP_STREAM CLEANUP(stream_clear)
