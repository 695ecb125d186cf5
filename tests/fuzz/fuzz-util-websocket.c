/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames of a WebSocket's client: what they bring must not depend on how they are cut into reads, is never more than
 * was sent, and answers are whole frames. The first byte of the input is the size of the reads. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "berth/cleanup.h"
#include "berth/string.h"
#include "berth/websocket.h"

#define INPUT_MAX (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int feed(const uint8_t *data, size_t size, size_t step, Buffer *bytes, Buffer *replies)
{
        WebsocketReader reader = { 0 };
        int r = WEBSOCKET_GOES_ON;

        for (size_t i = 0; i < size; i += step) {
                int next = websocket_feed(&reader, data + i, MIN(step, size - i), bytes, replies);
                if (r != WEBSOCKET_GOES_ON && next != r)
                        abort();
                r = next;
        }
        return r;
}

static void check_replies(const Buffer *replies)
{
        const uint8_t *at = (const uint8_t *) replies->data;

        for (size_t left = replies->size, n; left > 0; left -= n, at += n) {
                if (left < 2 || at[0] != (0x80 | WEBSOCKET_PONG) || at[1] > WEBSOCKET_CONTROL_MAX)
                        abort();
                n = 2u + at[1];
                if (n > left)
                        abort();
        }
}

static bool equal(const Buffer *a, const Buffer *b)
{
        return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_BUFFER Buffer whole = { 0 }, pieces = { 0 }, replies = { 0 }, more_replies = { 0 };

        if (size < 2 || size > INPUT_MAX)
                return 0;
        int first = feed(data + 1, size - 1, size, &whole, &replies);
        int second = feed(data + 1, size - 1, (size_t) data[0] + 1, &pieces, &more_replies);
        if (first < 0 || first != second || !equal(&whole, &pieces) || !equal(&replies, &more_replies) ||
            whole.size + replies.size > size)
                abort();
        check_replies(&replies);
        return 0;
}
