/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's stream of JSON messages about a long job, as lines and, on a terminal, moving bars. The empty value of
 * ClientProgress with its file set is ready for use. */
#pragma once

#include <stdio.h>

#include "berth/buffer.h"
#include "berth/http-client.h"
#include "berth/outcome.h"

typedef struct ClientProgress {
        FILE *file;
        bool quiet;
        char **ids; /* what has a line of its own on the terminal, from the top; owned */
        size_t n_ids;
} ClientProgress;
void client_progress_clear(ClientProgress *progress);

/* Takes whole messages from the front of BUFFER and shows them. Positive, with ERROR set, for one that tells a
 * failure. */
int client_progress_take(ClientProgress *progress, Buffer *buffer, Error *error);

/* Shows messages until the response on HTTP ends. */
int client_progress_run(ClientProgress *progress, HttpClient *http, Error *error);
