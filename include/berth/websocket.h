/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frames of RFC 6455 as a server reads and writes them. Nothing here does any input or output. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "berth/buffer.h"

typedef enum WebsocketOpcode {
        WEBSOCKET_CONTINUATION = 0,
        WEBSOCKET_TEXT = 1,
        WEBSOCKET_BINARY = 2,
        WEBSOCKET_CLOSE = 8,
        WEBSOCKET_PING = 9,
        WEBSOCKET_PONG = 10,
} WebsocketOpcode;

/* Reasons in a close frame. */
#define WEBSOCKET_NORMAL 1000
#define WEBSOCKET_PROTOCOL_ERROR 1002

#define WEBSOCKET_CONTROL_MAX 125u
#define WEBSOCKET_HEAD_MAX 14u

/* Where a client's bytes have led to; begins as {}. It holds no more of them than a frame's head and a control frame,
 * however long a frame is. */
typedef struct WebsocketReader {
        uint8_t head[WEBSOCKET_HEAD_MAX];
        size_t n_head;     /* so much of it has come; 0 between frames */
        bool in_payload;   /* the head is whole, and not all behind it has come */
        uint64_t left;     /* bytes of the payload */
        unsigned n_masked; /* bytes of the mask that were used, modulo 4 */
        bool in_message;   /* the next data frame goes on with a message */
        uint8_t control[WEBSOCKET_CONTROL_MAX];
        size_t n_control;
        bool ended; /* nothing counts any more */
} WebsocketReader;

typedef enum WebsocketEvent {
        WEBSOCKET_GOES_ON,
        WEBSOCKET_CLOSED, /* the client's close frame has come; it may be answered with one */
        WEBSOCKET_BROKEN, /* it does not keep to the protocol: to be told with a close frame, and left */
} WebsocketEvent;

/* Takes what a client sent. The messages' bytes are appended to DATA, text or not, and answers to pings, as whole
 * frames, to REPLIES. Returns a WebsocketEvent, after the first but WEBSOCKET_GOES_ON always the same and with nothing
 * appended; or -ENOMEM. */
int websocket_feed(WebsocketReader *reader, const uint8_t *bytes, size_t size, Buffer *data, Buffer *replies);

/* A whole message in one frame, unmasked as a server's are. 0 or -ENOMEM. */
int websocket_append(Buffer *output, WebsocketOpcode opcode, const void *data, size_t size);
int websocket_append_close(Buffer *output, uint16_t reason);
