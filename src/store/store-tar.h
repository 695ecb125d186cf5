/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A reader of tar archives (v7, ustar, pax, GNU, star, all sparse forms) that shows every byte that is no file content,
 * so that it can be recorded. */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "berth/buffer.h"
#include "berth/outcome.h"
#include "store-stream.h"

#define STORE_TAR_BLOCK 512

typedef struct StoreTarXattr {
        char *name;
        uint8_t *value;
        size_t size;
} StoreTarXattr;

/* Where a run of stored bytes belongs in a sparse file. */
typedef struct StoreTarExtent {
        int64_t offset, size;
} StoreTarExtent;

/* The empty value is {}. Strings hold the archive's bytes, which need not be UTF-8. */
typedef struct StoreTarEntry {
        char type;         /* '0' regular to '6' FIFO; 'g' and unknown ones as they are */
        char *path, *link; /* owned */
        mode_t mode;       /* permission bits */
        uid_t uid;
        gid_t gid;
        int64_t size; /* of the file, holes included */
        struct timespec mtime;
        unsigned major, minor;
        StoreTarXattr *xattrs; /* owned */
        size_t n_xattrs;
        bool sparse;
        StoreTarExtent *extents; /* owned; ascending, without overlap, within the size */
        size_t n_extents;
} StoreTarEntry;

void store_tar_entry_clear(StoreTarEntry *entry);
#define CLEANUP_TAR_ENTRY CLEANUP(store_tar_entry_clear)

typedef struct StoreTar {
        StoreStream *stream;                                       /* borrowed */
        int (*raw)(void *userdata, const void *data, size_t size); /* is shown what is no content; may be NULL */
        void *userdata;
        int64_t left;   /* stored bytes of the entry that were not taken */
        size_t padding; /* after them */
        bool ended;
        const char *problem; /* why the last call was -EBADMSG */
} StoreTar;

/* True where 512 bytes are a tar header (or the end of an empty archive). */
bool store_tar_is_header(const uint8_t block[static STORE_TAR_BLOCK]);

/* 1 with an entry, 0 at the end of the archive, negative errno; -EBADMSG for what is no tar. Content that was not taken
 * is passed to RAW. */
int store_tar_next(StoreTar *tar, StoreTarEntry *ret);

/* Takes at most MAX bytes of the entry's stored content. 0 at its end. */
ssize_t store_tar_data(StoreTar *tar, size_t max, const uint8_t **ret);

/* After the end: passes what follows the archive's end to RAW. */
int store_tar_finish(StoreTar *tar);
