/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One file of a log, plain or compressed, read from its beginning on; a plain one from anywhere. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "berth/logfile.h"

typedef struct LogfileSource {
        int fd; /* owned; or -EBADF */
        uint64_t inode;
        int64_t modified_ns;
        off_t offset;                   /* plain: of the next byte; compressed: behind what was read of the file */
        off_t limit;                    /* plain: nothing behind this is read */
        struct LogfileInflate *inflate; /* owned; NULL: a plain file */
} LogfileSource;

#define LOGFILE_SOURCE_INIT { .fd = -EBADF }

/* -ENOENT where it has gone, or is not the file that was listed any more. */
int logfile_source_open(int directory, const char *name, const LogfileName *file, LogfileSource *ret);
void logfile_source_close(LogfileSource *source);

/* Bytes, 0 at the end for now, or negative errno; -EBADMSG for compressed data that is none. */
ssize_t logfile_source_read(LogfileSource *source, void *data, size_t size);

/* Back to the beginning, or to a place in a plain file. */
void logfile_source_seek(LogfileSource *source, off_t offset);

/* Of a plain file: where a record begins, at least LEAST bytes before the limit; 0 where none is found. FROM is the
 * limit, or where a record begins. */
off_t logfile_source_boundary(const LogfileSource *source, LogfileFormat format, off_t from, off_t least);
