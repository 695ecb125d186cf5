/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A build as it goes on. On a terminal each step is one line, with the time it took, and the last lines of what runs
 * now stand below it until it is done; elsewhere everything is printed as it comes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "berth/buffer.h"
#include "berth/http-client.h"
#include "berth/outcome.h"

#define BUILD_TAIL_LINES 6

typedef enum BuildShowMode { BUILD_SHOW_PLAIN, BUILD_SHOW_LIVE, BUILD_SHOW_RAW, BUILD_SHOW_NOTHING } BuildShowMode;

typedef struct BuildShow {
        int exit_code; /* of the command that failed, if one did */
        BuildShowMode mode;
        char *image; /* the ID of the last result; owned */
        Buffer line; /* of the text, what has no end yet */
        Buffer log;  /* of the step that runs: shown whole when it fails */
        char *title; /* of the step that runs; owned, NULL between steps */
        bool cached;
        int64_t began_ns;
        char *tail[BUILD_TAIL_LINES]; /* owned */
        unsigned n_tail, drawn;       /* lines of it; lines on the screen that are to go */
} BuildShow;
void client_build_show_clear(BuildShow *show);

/* Takes whole messages from the front of BUFFER. Positive, with ERROR set, for one that tells of a failure. */
int client_build_show_take(BuildShow *show, Buffer *buffer, Error *error);

/* Until the response on HTTP ends. */
int client_build_show_run(BuildShow *show, HttpClient *http, Error *error);
