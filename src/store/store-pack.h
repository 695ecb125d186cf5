/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory tree as a stream of tar: of pax, with everything a file has but its access and change times. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "store-stream.h"

typedef struct StorePack StorePack;

typedef struct StorePackOptions {
        int root_fd; /* the tree's root, borrowed; it is no entry itself */
        /* The tree is an overlay's upper directory: whiteouts and opaque directories get entries of their own, and what
         * the engine put there for its own mounts gets none. */
        bool upper;
        bool bare; /* the upper directory was no container's, and whatever is in it is wanted */
        /* Where files without names are made, borrowed; negative: content is read from the tree itself. Where the file
         * system shares blocks between files, content comes from such a copy, and store_pack_clone() can share it on.
         */
        int clone_fd;
        /* If set, only this name of the root is packed, with what is below it, and is called AS ("" for the root of
         * what the archive is for). Both borrowed. */
        const char *only, *as;
} StorePackOptions;

int store_pack_new(const StorePackOptions *options, StorePack **ret);
void store_pack_free(StorePack *pack);
DEFINE_CLEANUP(cleanup_store_pack_ptr, StorePack *, store_pack_free)
#define CLEANUP_PACK CLEANUP(cleanup_store_pack_ptr)

/* The working directory of the process changes as the stream is read. */
StoreStream *store_pack_stream(StorePack *pack);

/* Whether files can share their blocks with copies. Where they cannot, the stream needs no other function of this
 * header but the last, and may be read by another thread; the working directory is that one's then. */
bool store_pack_clones(StorePack *pack);

/* Between a file's headers and its content: shares the content with FD, an empty file. True where that was done. */
bool store_pack_clone(StorePack *pack, int fd);
