/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tar headers from entries: ustar, with a pax record in front where ustar has no room. */
#pragma once

#include "berth/buffer.h"
#include "store-tar.h"

/* Appends an entry's headers. A regular file's size is the number of bytes that will follow; sparse ones have no form
 * of their own. A directory's path ends in a slash. -E2BIG where the attributes are more than a reader takes. */
int store_pack_header(Buffer *buffer, const StoreTarEntry *entry);

/* The number of bytes after SIZE to a whole block. */
size_t store_pack_padding(int64_t size);
