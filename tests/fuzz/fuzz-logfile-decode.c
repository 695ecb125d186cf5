/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of a log file, of either format. Whatever is taken for a record lies within what was given, and a record
 * that is written reads back as the same text where that is valid UTF-8, which what was read before is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "berth/logfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One record of what was written, as the reader gets it. */
static void check_written(LogfileFormat format, const Buffer *out, const LogfileRecord *record)
{
        CLEANUP_BUFFER Buffer text = {};
        LogfileRecord back;
        size_t start, size, next;

        if (!logfile_find(format, out->data, out->size, &start, &size, &next) || next != out->size ||
            logfile_decode(format, out->data + start, size, &text, &back) < 0 || back.ended != record->ended ||
            back.standard_error != record->standard_error || back.time_ns != record->time_ns)
                abort();
}

static void decode(LogfileFormat format, const char *data, size_t size)
{
        CLEANUP_BUFFER Buffer text = {}, out = {};
        LogfileEncoder encoder = { .format = format };
        LogfileRecord record, counted;

        if (logfile_decode(format, data, size, &text, &record) < 0)
                return;
        if (logfile_decode(format, data, size, NULL, &counted) < 0 || counted.ended != record.ended ||
            counted.time_ns != record.time_ns || record.size > size)
                abort();
        record.time_ns = 1;
        record.ordinal = !record.ended;
        if (record.size > LOGFILE_PIECE || (format == LOGFILE_JSON && memchr(record.data, '\n', record.size)) ||
            logfile_encode(&encoder, &record, &out) < 0)
                return;
        check_written(format, &out, &record);
}

/* As from a file: every record lies within it, and each step goes on. */
static void find(LogfileFormat format, const char *data, size_t size)
{
        size_t at = 0, start, length, next;

        while (logfile_find(format, data + at, size - at, &start, &length, &next)) {
                if (next == 0 || next > size - at || start + length > next)
                        abort();
                decode(format, data + at + start, length);
                at += next;
        }
        if (next > size - at)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const LogfileFormat formats[] = { LOGFILE_JSON, LOGFILE_LOCAL };

        for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
                decode(formats[i], (const char *) data, size);
                find(formats[i], (const char *) data, size);
        }
        return 0;
}
