/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archives of `cp` to files and back. */
#pragma once

#include "client-tar.h"

typedef struct ClientUnpack {
        const char *directory;           /* where to */
        const char *old_base, *new_base; /* the first part of every path, and what it is to be; NULL: as it is */
        bool owners;                     /* give files the owners of the archive */
} ClientUnpack;

/* Extracts. Nothing outside the directory is touched, whatever the archive says: no path leads through a symbolic link.
 * 0, or positive with ERROR set. */
int client_unpack(const ClientUnpack *unpack, TarReader *reader, Error *error);

/* Writes the file or tree at PATH as an archive to FD; its root is called BASE there. COUNT (may be NULL) grows with
 * what is written. 0, or positive with ERROR set. */
int client_pack(const char *path, const char *base, int fd, volatile int64_t *count, Error *error);
