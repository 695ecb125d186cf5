/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owner, mode, attributes and time of an archive's entry, given to the file that was made for it. */
#pragma once

#include "store-tar.h"
#include "store-tree.h"

/* What is left to be done to directories when all is unpacked. The empty value is {}. */
typedef struct StoreApplyLast {
        struct StoreApplyLastItem *items; /* owned */
        size_t count, allocated;
} StoreApplyLast;

void store_apply_last_clear(StoreApplyLast *last);

/* SETGID says that the file may have inherited its directory's group. */
int store_apply_to_file(int fd, const StoreTarEntry *entry, bool setgid);

/* Its time waits for store_apply_last(). REAL is the directory's path in the tree. */
int store_apply_to_directory(StoreApplyLast *last, int fd, const char *real, const StoreTarEntry *entry);

/* Of what cannot be opened: links, devices, FIFOs. */
int store_apply_to_name(int dirfd, const char *name, const StoreTarEntry *entry);

int store_apply_last(const StoreApplyLast *last, const StoreTree *tree);
