/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request's body behind its headers, with a length or in chunks. What is decoded must not depend on how much of it
 * was read together with the headers, nor on the size of the reads. The first two bytes of the input are parameters. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http-server.h"

#define INPUT_MAX (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Outcome {
        ssize_t end; /* of the last read */
        Buffer bytes;
} Outcome;

static void decode(const uint8_t *data, size_t size, const HttpBody *body, size_t n_received, size_t step,
                   Outcome *outcome)
{
        static uint8_t piece[INPUT_MAX];
        CLEANUP_BUFFER Buffer received = {};
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                abort();
        stream.fd = pair[0];
        if (buffer_append(&received, data, n_received) < 0 ||
            write(pair[1], data + n_received, size - n_received) != (ssize_t) (size - n_received) ||
            http_body_reader_new(pair[0], body, &received, &stream) < 0)
                abort();
        close(pair[1]);
        while ((outcome->end = stream_read(&stream, piece, step)) > 0) {
                if ((size_t) outcome->end > step || buffer_append(&outcome->bytes, piece, (size_t) outcome->end) < 0)
                        abort();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Outcome whole = {}, pieces = {};
        HttpBody body;

        if (size < 2 || size > INPUT_MAX)
                return 0;
        body = (HttpBody) { .chunked = data[0] & 1, .length = data[0] & 1 ? 0 : data[1] };
        size_t step = (size_t) data[0] / 2 + 1, split = MIN(data[1], size - 2);
        data += 2;
        size -= 2;
        decode(data, size, &body, 0, INPUT_MAX, &whole);
        decode(data, size, &body, split, step, &pieces);
        if (whole.end != pieces.end || whole.bytes.size != pieces.bytes.size || whole.bytes.size > size ||
            (whole.bytes.size > 0 && memcmp(whole.bytes.data, pieces.bytes.data, whole.bytes.size) != 0))
                abort();
        if (!body.chunked && whole.bytes.size != MIN((uint64_t) size, body.length))
                abort();
        buffer_clear(&whole.bytes);
        buffer_clear(&pieces.bytes);
        return 0;
}
