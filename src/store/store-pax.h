/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What extension records (pax `x`, GNU `L` and `K`) say of the entry that follows them. */
#pragma once

#include "store-tar.h"

typedef struct StorePax {
        char *path, *link; /* owned; NULL where not said */
        int64_t size, uid, gid;
        bool has_size, has_uid, has_gid, has_mtime;
        struct timespec mtime;
        StoreTarXattr *xattrs; /* owned */
        size_t n_xattrs;
        bool sparse_in_data; /* form 1.0 */
        Buffer sparse_map;   /* forms 0.0 and 0.1: "offset,size,offset,size" */
        int64_t sparse_size; /* of the file; negative where it is not sparse */
        char *sparse_path;   /* owned; its real name */
} StorePax;

#define STORE_PAX_EMPTY { .sparse_size = -1 }

void store_pax_clear(StorePax *pax);
#define CLEANUP_PAX CLEANUP(store_pax_clear)

int store_pax_parse(StorePax *pax, const char *data, size_t size);
int store_pax_set_gnu(StorePax *pax, char type, const char *data, size_t size);

/* Overrides what the header said; xattrs move to the entry. */
int store_pax_apply(StorePax *pax, StoreTarEntry *entry);
