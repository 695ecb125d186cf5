/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A process that stands between a client and the plain stream which the monitor has of it: what the client sends goes
 * there, and what comes from there to the client, as it is or as frames of a WebSocket. */
#pragma once

#include <stdbool.h>

#include "berth/buffer.h"
#include "berth/engine.h"
#include "berth/websocket.h"

typedef struct Bridge {
        int client_fd; /* owned */
        int stream_fd; /* owned; both are non-blocking */
        bool plain;    /* no frames */
        WebsocketOpcode opcode;
        bool lasting; /* the client's end is that of its input alone: the program may end at that, and say more */
        Buffer to_client, to_stream;
        WebsocketReader reader;
        bool client_ended; /* no input comes any more */
        bool input_told;   /* and the stream knows */
        bool closing;      /* what ends it for the client is in TO_CLIENT, and nothing else follows */
} Bridge;

/* What the client has sent already. 0 or negative errno. */
int bridge_feed(Bridge *bridge, const Buffer *bytes);

/* Goes on until one of the sides has ended and the other knows. 0 or negative errno. Blocks: for a worker. */
int bridge_run(Bridge *bridge);

/* Makes the plain stream: *ret_stream_fd is the caller's end of it. ANSWER goes to the client first. Takes RECEIVED,
 * what the client has sent already. 0 or negative errno. */
int bridge_open(Bridge *bridge, const Buffer *answer, Buffer *received, int *ret_stream_fd);

/* Starts a worker that runs it and outlives this process. 0 or negative errno. */
int bridge_start(Engine *engine, Bridge *bridge);

void bridge_clear(Bridge *bridge);

#define CLEANUP_BRIDGE CLEANUP(bridge_clear)
