/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tar archives for `cp`: a reader for what the daemon sends (ustar, pax and GNU), and a writer (ustar with pax
 * records).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "berth/buffer.h"
#include "berth/outcome.h"

#define TAR_BLOCK 512

typedef struct TarEntry {
        char type; /* as in the header: '0' file, '1' hard link, '2' link, '3' '4' device, '5' directory, '6' fifo */
        char *path, *link; /* owned; link "" where there is none */
        mode_t mode;       /* permissions only */
        uint32_t uid, gid;
        int64_t size; /* bytes of content that follow */
        int64_t mtime_ns;
        unsigned major, minor;
} TarEntry;
void tar_entry_clear(TarEntry *entry);
#define CLEANUP_TAR_ENTRY CLEANUP(tar_entry_clear)

/* Where bytes come from: exactly SIZE of them or fewer at the end of the stream. Negative errno. */
typedef ssize_t (*TarRead)(void *userdata, void *data, size_t size);

typedef struct TarReader {
        TarRead read;
        void *userdata;
        int64_t left; /* of the entry's content and padding */
        int64_t padding;
} TarReader;

/* The next entry: 1, 0 at the end of the archive, -EBADMSG for what is no archive, or what the source failed with. What
 * was not read of the entry before is skipped. */
int tar_reader_next(TarReader *reader, TarEntry *ret);

/* Content of the current entry; 0 at its end, -EBADMSG where the archive ends before it. */
ssize_t tar_reader_read(TarReader *reader, void *data, size_t size);

/* Appends the header of ENTRY, with a pax header in front of it where a plain one does not do. */
int tar_header_append(Buffer *out, const TarEntry *entry);
