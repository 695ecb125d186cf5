/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's log in a file (include/berth/logfile.h). What was taken is with the kernel when monitor_file_feed()
 * returns, so that only this process's own end, in the midst of a line, or the machine's can lose any of it. A disk
 * that takes no more never holds the container up: lines are dropped, counted, and told of. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/buffer.h"
#include "berth/logfile.h"
#include "berth/string.h"
#include "monitor-compress.h"

typedef struct MonitorFileLine {
        Buffer text; /* what has no end yet */
        int64_t time_ns;
        unsigned ordinal;       /* of its last piece that is written; 0: none is */
        char id[ID_LENGTH + 1]; /* of a line in pieces */
} MonitorFileLine;

typedef struct MonitorFile {
        const char *path;     /* not owned; NULL: there is no such log */
        int fd;               /* owned; or -EBADF */
        uint64_t size, limit; /* of the file; 0: none */
        int64_t files;        /* how many there may be */
        LogfileEncoder encoder;
        MonitorCompress compress;
        Buffer out; /* records that are not written yet */
        MonitorFileLine lines[2];
        uint64_t lost, gap; /* records; of these, those that no record tells of */
        int64_t told_ns;    /* when the engine's log was told of it last */
        bool telling;
} MonitorFile;

/* What cannot be opened now is tried again with the next output. COMPRESS is the program for older files, or NULL. */
void monitor_file_init(MonitorFile *file, const char *path, LogfileFormat format, uint64_t limit, int64_t files,
                       const char *compress);
void monitor_file_deinit(MonitorFile *file);

/* Takes all of it. */
void monitor_file_feed(MonitorFile *file, bool error_stream, const char *data, size_t size);

/* The streams have ended. */
void monitor_file_finish(MonitorFile *file);
