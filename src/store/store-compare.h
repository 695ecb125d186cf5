/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Telling whether a layer's files are all that its tar says, and nothing else. */
#pragma once

#include "store-unpack.h"

typedef struct StoreCompare {
        int layer_fd;   /* borrowed, as all is */
        int scratch_fd; /* an empty directory, of the same file system as the layer where that can be; it is filled */
        /* Gets each difference: the path in the layer's directory ("fs/etc/passwd"), and what is wrong with it. */
        void (*tell)(void *userdata, const char *path, const char *what);
        void *userdata;
} StoreCompare;

/* Writes the layer's tar again and unpacks it without content, which the digest in RET speaks for, and compares.
 * -EBADMSG where the tar cannot be written any more. */
int store_compare(const StoreCompare *compare, StoreUnpacked *ret);
