/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One line of a log file, of either format. Whatever is taken for a record lies within what was given, and a record
 * that is written reads back as the same text where that is valid UTF-8, which what was read before is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "berth/logfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(LogfileFormat format, const char *line, size_t size)
{
        CLEANUP_BUFFER Buffer text = {}, out = {}, again = {};
        LogfileEncoder encoder = { .format = format };
        LogfileRecord record, back, counted;

        if (logfile_decode(format, line, size, &text, &record) < 0)
                return;
        if (logfile_decode(format, line, size, NULL, &counted) < 0 || counted.ended != record.ended ||
            counted.time_ns != record.time_ns || record.size > size)
                abort();
        record.time_ns = 1;
        if (memchr(record.data, '\n', record.size) || logfile_encode(&encoder, &record, &out) < 0)
                return;
        if (logfile_decode(format, out.data, out.size - 1, &again, &back) < 0 || back.ended != record.ended ||
            back.standard_error != record.standard_error || back.time_ns != 1)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        decode(LOGFILE_JSON, (const char *) data, size);
        decode(LOGFILE_LOCAL, (const char *) data, size);
        return 0;
}
