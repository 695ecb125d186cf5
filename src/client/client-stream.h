/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The attached terminal or pipes: bytes between this process and the container, signals and window sizes to the daemon,
 * and the exit status from it. */
#pragma once

#include "client.h"

/* Splits Docker's framed stream onto standard output and error. The empty value is {}. */
typedef struct StreamFrames {
        uint8_t header[8];
        size_t n_header;
        size_t left; /* of the frame's payload */
} StreamFrames;

/* Writes what DATA holds to OUT and ERR. 0; negative errno of the write, -EBADMSG for what is no frame. */
int client_frames_write(StreamFrames *frames, const char *data, size_t size, int out, int err);

/* The answer to a wait that is under way. */
typedef struct ClientWait {
        const Client *client;
        const char *id;
        HttpClient *http; /* owned; NULL when the answer is in, or none can come now */
        bool retry;       /* to be asked again, after a pause */
        bool answered;
        bool gone; /* the container was removed before its status was read */
        int status;
        char *message; /* the daemon's, when the wait itself failed; owned */
        int attempts;
} ClientWait;

/* Asks; the answer's head has come when this returns. 0, or positive with ERROR set. */
int client_wait_begin(ClientWait *wait, const Client *client, const char *id, const char *condition, Error *error);

/* To be called when wait->http is readable, and after CLIENT_WAIT_PAUSE_MS while wait->retry is set. Never blocks. */
#define CLIENT_WAIT_PAUSE_MS 250
void client_wait_continue(ClientWait *wait);

/* Blocks for the answer. The exit status, or CLIENT_EXIT_FAILURE after a message. */
int client_wait_finish(ClientWait *wait);
void client_wait_clear(ClientWait *wait);
#define CLEANUP_WAIT CLEANUP(client_wait_clear)

typedef struct ClientStream {
        const Client *client;
        const char *id;
        bool exec;           /* the ID is an exec's, not a container's: it has a size, but takes no signals */
        int socket;          /* owned by the caller: the raw stream */
        const Buffer *early; /* what came with the head of the answer */
        bool terminal;       /* the container has one: no frames */
        bool input;          /* pass standard input on */
        bool proxy_signals;
        const char *detach_keys;
        ClientWait *wait; /* watched meanwhile; NULL: none */
        bool detached;    /* out: it ended because the user detached */
} ClientStream;

/* Blocks the signals the stream takes care of; before anything is started, so that none is lost. */
void client_stream_block_signals(void);
void client_stream_unblock_signals(void);

/* Pumps until the container's side ends. 0, or positive with ERROR set. */
int client_stream_run(ClientStream *stream, Error *error);
