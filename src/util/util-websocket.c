/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "berth/websocket.h"

#include <errno.h>
#include <string.h>

#define FINAL 0x80u
#define RESERVED 0x70u
#define OPCODE 0x0fu
#define CONTROL 0x08u
#define MASKED 0x80u
#define LENGTH 0x7fu
#define LENGTH_16 126u
#define LENGTH_64 127u
#define MASK_SIZE 4u

static bool is_control(const WebsocketReader *reader)
{
        return reader->head[0] & CONTROL;
}

/* How long the head is, as far as its first two bytes tell. */
static size_t head_size(const WebsocketReader *reader)
{
        unsigned length = reader->head[1] & LENGTH;

        return 2 + (length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0) + MASK_SIZE;
}

/* What the first two bytes must not be. */
static bool is_bad_start(const WebsocketReader *reader)
{
        unsigned opcode = reader->head[0] & OPCODE, length = reader->head[1] & LENGTH;

        if (reader->head[0] & RESERVED || !(reader->head[1] & MASKED))
                return true;
        switch (opcode) {
        case WEBSOCKET_CONTINUATION:
                return !reader->in_message;
        case WEBSOCKET_TEXT:
        case WEBSOCKET_BINARY:
                return reader->in_message;
        case WEBSOCKET_CLOSE:
                return !(reader->head[0] & FINAL) || length > WEBSOCKET_CONTROL_MAX || length == 1;
        case WEBSOCKET_PING:
        case WEBSOCKET_PONG:
                return !(reader->head[0] & FINAL) || length > WEBSOCKET_CONTROL_MAX;
        default:
                return true;
        }
}

/* The payload's length, which has to be written as short as can be. False where it is not. */
static bool read_length(WebsocketReader *reader)
{
        unsigned length = reader->head[1] & LENGTH;
        size_t size = length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0;

        reader->left = size == 0 ? length : 0;
        for (size_t i = 0; i < size; i++)
                reader->left = reader->left << 8 | reader->head[2 + i];
        if (length == LENGTH_16)
                return reader->left > WEBSOCKET_CONTROL_MAX;
        return length != LENGTH_64 || (reader->left > UINT16_MAX && reader->left <= INT64_MAX);
}

/* Takes bytes of the head. False where it can be none. */
static bool feed_head(WebsocketReader *reader, uint8_t byte)
{
        reader->head[reader->n_head++] = byte;
        if (reader->n_head == 2)
                return !is_bad_start(reader);
        if (reader->n_head < 2 || reader->n_head < head_size(reader))
                return true;
        if (!is_control(reader))
                reader->in_message = !(reader->head[0] & FINAL);
        reader->in_payload = true;
        reader->n_masked = 0;
        reader->n_control = 0;
        return read_length(reader);
}

static int feed_payload(WebsocketReader *reader, const uint8_t *bytes, size_t size, Buffer *data)
{
        const uint8_t *mask = reader->head + reader->n_head - MASK_SIZE;
        uint8_t *to;

        if (is_control(reader)) {
                to = reader->control + reader->n_control;
                reader->n_control += size;
        } else {
                int r = buffer_reserve(data, size);
                if (r < 0)
                        return r;
                to = (uint8_t *) data->data + data->size;
                data->size += size;
                to[size] = 0;
        }
        for (size_t i = 0; i < size; i++)
                to[i] = bytes[i] ^ mask[(reader->n_masked + i) % MASK_SIZE];
        reader->n_masked = (unsigned) ((reader->n_masked + size) % MASK_SIZE);
        reader->left -= size;
        return 0;
}

static int end_frame(WebsocketReader *reader, Buffer *replies)
{
        unsigned opcode = reader->head[0] & OPCODE;

        reader->in_payload = false;
        reader->n_head = 0;
        if (opcode == WEBSOCKET_PING)
                return websocket_append(replies, WEBSOCKET_PONG, reader->control, reader->n_control);
        return opcode == WEBSOCKET_CLOSE ? WEBSOCKET_CLOSED : WEBSOCKET_GOES_ON;
}

int websocket_feed(WebsocketReader *reader, const uint8_t *bytes, size_t size, Buffer *data, Buffer *replies)
{
        int r = WEBSOCKET_GOES_ON;

        if (reader->ended)
                return reader->n_head == 0 ? WEBSOCKET_CLOSED : WEBSOCKET_BROKEN;
        for (size_t at = 0; r == WEBSOCKET_GOES_ON && at < size;) {
                if (!reader->in_payload) {
                        r = feed_head(reader, bytes[at++]) ? WEBSOCKET_GOES_ON : WEBSOCKET_BROKEN;
                } else {
                        size_t n = reader->left < size - at ? (size_t) reader->left : size - at;
                        r = feed_payload(reader, bytes + at, n, data);
                        at += n;
                }
                if (r == WEBSOCKET_GOES_ON && reader->in_payload && reader->left == 0)
                        r = end_frame(reader, replies);
        }
        reader->ended = r > 0;
        return r;
}

int websocket_append(Buffer *output, WebsocketOpcode opcode, const void *data, size_t size)
{
        uint8_t head[10] = { (uint8_t) (FINAL | opcode) };
        size_t n = size <= WEBSOCKET_CONTROL_MAX ? 0 : size <= UINT16_MAX ? 2 : 8;

        head[1] = (uint8_t) (n == 0 ? size : n == 2 ? LENGTH_16 : LENGTH_64);
        for (size_t i = 0; i < n; i++)
                head[2 + i] = (uint8_t) ((uint64_t) size >> (8 * (n - 1 - i)));
        int r = buffer_reserve(output, 2 + n + size);
        if (r >= 0)
                r = buffer_append(output, head, 2 + n);
        return r < 0 ? r : buffer_append(output, data, size);
}

int websocket_append_close(Buffer *output, uint16_t reason)
{
        const uint8_t bytes[2] = { (uint8_t) (reason >> 8), (uint8_t) reason };

        return websocket_append(output, WEBSOCKET_CLOSE, bytes, sizeof(bytes));
}
