/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's stream of JSON messages about a long job. On a terminal what goes on at the same time has a line each,
 * redrawn in place, see client-bars.h; elsewhere only what is final is printed. The empty value of ClientProgress with
 * its file set is ready for use. */
#pragma once

#include <stdio.h>

#include "berth/buffer.h"
#include "berth/http-client.h"
#include "berth/outcome.h"
#include "client-bars.h"

typedef struct ClientProgress {
        FILE *file;
        bool quiet;
        ClientBars bars;
} ClientProgress;
void client_progress_clear(ClientProgress *progress);
#define CLEANUP_PROGRESS CLEANUP(client_progress_clear)

/* Takes whole messages from the front of BUFFER and shows them. Positive, with ERROR set, for one that tells a
 * failure. */
int client_progress_take(ClientProgress *progress, Buffer *buffer, Error *error);

/* Shows messages until the response on HTTP ends. */
int client_progress_run(ClientProgress *progress, HttpClient *http, Error *error);
