/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding a record's beginning near the end of a file, so that its last records can be read alone. */
#include <string.h>

#include "logfile-local.h"
#include "logfile-source.h"

#define BLOCK (16u * 1024)

/* Behind the first newline from AT on. */
static off_t find_line(const LogfileSource *source, off_t at)
{
        char data[BLOCK];

        while (at < source->limit) {
                ssize_t n = pread(source->fd, data, MIN((off_t) BLOCK, source->limit - at), at);
                const char *newline = n > 0 ? memchr(data, '\n', (size_t) n) : NULL;

                if (newline)
                        return at + (newline - data) + 1;
                if (n <= 0)
                        break;
                at += n;
        }
        return 0;
}

/* The beginning of the record that ends at END, or -1. */
static off_t step_back(const LogfileSource *source, off_t end)
{
        char before[LOGFILE_LOCAL_LENGTH], behind[LOGFILE_LOCAL_LENGTH];
        uint32_t length;
        off_t start;

        if (pread(source->fd, behind, sizeof(behind), end - LOGFILE_LOCAL_LENGTH) != sizeof(behind) ||
            !logfile_local_length(behind, &length))
                return -1;
        start = end - (off_t) length - 2 * LOGFILE_LOCAL_LENGTH;
        if (start < 0 || pread(source->fd, before, sizeof(before), start) != sizeof(before) ||
            memcmp(before, behind, sizeof(before)) != 0)
                return -1;
        return start;
}

off_t logfile_source_boundary(const LogfileSource *source, LogfileFormat format, off_t from, off_t least)
{
        off_t wanted = source->limit - least;

        if (wanted <= 0)
                return 0;
        if (format == LOGFILE_JSON)
                return find_line(source, wanted - 1);
        while (from > wanted)
                from = step_back(source, from);
        return from < 0 ? 0 : from;
}
