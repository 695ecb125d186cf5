/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Decoding a request body outside the server, from a descriptor that was detached in the middle of the stream. The
 * chunked framing is left to http_parser, which is started behind a request line and header of our own. */
#include <poll.h>
#include <string.h>

#include "http-server.h"

#define READ_SIZE (256u * 1024)

typedef struct HttpBodyReader {
        int fd; /* borrowed */
        HttpBody body;
        uint64_t left;     /* of a body with a length */
        Buffer received;   /* read from the socket and not yet decoded */
        const char *piece; /* decoded bytes inside RECEIVED, not yet given out */
        size_t piece_size;
        size_t consumed; /* bytes of RECEIVED that are done with once PIECE is given out */
        http_parser parser;
        bool done;
} HttpBodyReader;

static int on_piece(http_parser *parser, const char *data, size_t size)
{
        HttpBodyReader *reader = parser->data;

        reader->piece = data;
        reader->piece_size = size;
        http_parser_pause(parser, 1);
        return 0;
}

static int on_end(http_parser *parser)
{
        HttpBodyReader *reader = parser->data;

        reader->done = true;
        http_parser_pause(parser, 1);
        return 0;
}

static const http_parser_settings settings = { .on_body = on_piece, .on_message_complete = on_end };

static ssize_t body_reader_read(void *userdata, void *data, size_t size);
static void body_reader_free(void *userdata);

int http_body_reader_new(int fd, const HttpBody *body, Buffer *received, Stream *stream)
{
        static const char head[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        HttpBodyReader *reader = calloc(1, sizeof(*reader));
        if (!reader)
                return -ENOMEM;

        reader->fd = fd;
        reader->body = *body;
        reader->left = body->length;
        reader->received = *received;
        *received = (Buffer) { 0 };
        reader->done = !body->chunked && body->length == 0;
        if (body->chunked) {
                http_parser_init(&reader->parser, HTTP_REQUEST);
                reader->parser.data = reader;
                http_parser_execute(&reader->parser, &settings, head, sizeof(head) - 1);
        }
        stream->reader = reader;
        stream->read = body_reader_read;
        stream->free_reader = body_reader_free;
        return 0;
}

static void body_reader_free(void *userdata)
{
        HttpBodyReader *reader = userdata;

        buffer_clear(&reader->received);
        free(reader);
}

static ssize_t read_socket(int fd, void *data, size_t size)
{
        for (;;) {
                ssize_t n = read(fd, data, size);
                if (n > 0)
                        return n;
                if (n == 0)
                        return -ECONNRESET;
                if (errno == EAGAIN) {
                        struct pollfd wait = { .fd = fd, .events = POLLIN };
                        poll(&wait, 1, -1);
                } else if (errno != EINTR)
                        return -errno;
        }
}

static ssize_t read_plain(HttpBodyReader *reader, void *data, size_t size)
{
        ssize_t n;

        size = (size_t) MIN((uint64_t) size, reader->left);
        if (reader->received.size > 0) {
                n = (ssize_t) MIN(size, reader->received.size);
                memcpy(data, reader->received.data, (size_t) n);
                buffer_consume(&reader->received, (size_t) n);
        } else {
                n = read_socket(reader->fd, data, size);
                if (n < 0)
                        return n;
        }
        reader->left -= (uint64_t) n;
        reader->done = reader->left == 0;
        return n;
}

/* Makes PIECE the next run of body bytes, or DONE true. */
static int decode(HttpBodyReader *reader)
{
        while (reader->piece_size == 0 && !reader->done) {
                if (reader->consumed > 0) {
                        buffer_consume(&reader->received, reader->consumed);
                        reader->consumed = 0;
                }
                if (reader->received.size == 0) {
                        int r = buffer_reserve(&reader->received, READ_SIZE);
                        if (r < 0)
                                return r;
                        ssize_t n = read_socket(reader->fd, reader->received.data, READ_SIZE);
                        if (n < 0)
                                return (int) n;
                        reader->received.size = (size_t) n;
                }
                http_parser_pause(&reader->parser, 0);
                reader->consumed =
                        http_parser_execute(&reader->parser, &settings, reader->received.data, reader->received.size);
                enum http_errno error = HTTP_PARSER_ERRNO(&reader->parser);
                if (error != HPE_OK && error != HPE_PAUSED)
                        return -EBADMSG;
        }
        return 0;
}

static ssize_t body_reader_read(void *userdata, void *data, size_t size)
{
        HttpBodyReader *reader = userdata;

        if (size == 0)
                return 0;
        if (!reader->body.chunked)
                return reader->done ? 0 : read_plain(reader, data, size);

        int r = decode(reader);
        if (r < 0 || reader->piece_size == 0)
                return r;
        size = MIN(size, reader->piece_size);
        memcpy(data, reader->piece, size);
        reader->piece += size;
        reader->piece_size -= size;
        return (ssize_t) size;
}
