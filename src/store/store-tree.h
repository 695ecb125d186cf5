/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The directory tree that a layer is unpacked into. Paths are those of a hostile archive: nothing outside the tree is
 * ever reached. Symbolic links in a path's parents lead where they would lead in a root file system made of this tree.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "store-headers.h"

/* Something the layer's tar names again for something else is moved here, since the tar's bytes must be found again. */
#define STORE_TREE_KEPT "kept"
#define STORE_TREE_FS "fs"
#define STORE_TREE_KEPT_MAX 10000

typedef struct StoreTree {
        int layer_fd; /* owned; holds fs/ and kept/ */
        int root_fd;  /* owned; fs/ */
        int kept_fd;  /* owned; negative until something is kept */
        uint32_t n_kept;
        StoreHeaders *headers; /* borrowed; is told of what is kept */

        /* The parent found last: as the archive named it, and where it really is. */
        char *parent_path, *parent_real; /* owned */
        int parent_fd;                   /* owned */
        bool parent_setgid;
} StoreTree;

#define STORE_TREE_EMPTY { .layer_fd = -EBADF, .root_fd = -EBADF, .kept_fd = -EBADF, .parent_fd = -EBADF }

/* Makes fs/ in LAYER_FD (which is duplicated). */
int store_tree_create(StoreTree *tree, int layer_fd, StoreHeaders *headers);
void store_tree_clear(StoreTree *tree);
#define CLEANUP_TREE CLEANUP(store_tree_clear)

/* Writes PATH's clean form ("a/b", "" for the root itself) without ., .. and doubled slashes. -EXDEV where a relative
 * path climbs above the root. */
int store_tree_clean_path(const char *path, char **ret);

/* Makes the parent of a clean path the tree's parent (parent_fd, parent_real), with CREATE making what is missing.
 * *ret_name is the last component, within PATH. */
int store_tree_enter_parent(StoreTree *tree, const char *path, bool create, const char **ret_name);

/* Gets NAME out of the way in the tree's parent. Content that the headers refer to is kept. */
int store_tree_displace(StoreTree *tree, const char *name, const struct stat *st);

/* Where NAME in the tree's parent really is, owned by the caller; NULL when out of memory. */
char *store_tree_real_path(const StoreTree *tree, const char *name);

/* Opens a directory by the real path it was made at; never through a link. */
int store_tree_open_directory(const StoreTree *tree, const char *real_path);
