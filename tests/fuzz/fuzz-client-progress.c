/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stream of a long job, in pieces of a size that the first byte tells, on a terminal whose size the next two tell:
 * no line is wider than the terminal, and the cursor never goes above the lines that were drawn. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client-progress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t tick(void)
{
        static int64_t now;

        return now += INT64_C(40000000);
}

/* Moves up may not be more than there were lines. */
static void check_moves(const char *text, size_t n)
{
        long lines = 0;

        for (size_t i = 0; i + 2 < n; i++) {
                if (text[i] == '\n')
                        lines++;
                if (text[i] == '\033' && text[i + 1] == '[') {
                        char *end;
                        long count = strtol(text + i + 2, &end, 10);

                        if (*end == 'A' && count > lines)
                                abort();
                }
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_FREE char *text = NULL;
        size_t text_size = 0, piece;
        CLEANUP_FCLOSE FILE *file = open_memstream(&text, &text_size);
        CLEANUP_ERROR Error error = {};
        CLEANUP_BUFFER Buffer buffer = {};
        ClientProgress progress = { .file = file };

        if (!file || size < 3)
                return 0;
        piece = data[0] + 1;
        progress.bars.rows = data[1] + 1;
        progress.bars.columns = data[2] + 1;
        progress.bars.clock = tick;
        for (size_t i = 3; i < size && !error.message; i += piece) {
                if (buffer_append(&buffer, data + i, size - i < piece ? size - i : piece) < 0)
                        abort();
                if ((client_progress_take(&progress, &buffer, &error) != 0) != (error.message != NULL))
                        abort();
        }
        client_progress_clear(&progress);
        fflush(file);
        /* Statuses may hold such sequences themselves. */
        if (!memmem(data, size, "\\u001b", 6) && !memmem(data, size, "\\u001B", 6))
                check_moves(text, text_size);
        return 0;
}
