/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An overlay makes a directory in its work directory when it is mounted, and is read-only where it can't: also one
 * whose limit is used up has to be writable, if only to have something removed. */
#pragma once

#include <stdint.h>

typedef struct MountQuota {
        int fd; /* owned; or -EBADF: nothing was changed */
        uint32_t project;
        uint64_t blocks;
} MountQuota;

#define MOUNT_QUOTA_INIT { .fd = -EBADF }

/* Some more room for what counts as this directory's, where that is limited. */
void mount_quota_raise(const char *path, MountQuota *quota);

/* The limit as it was. */
void mount_quota_restore(MountQuota *quota);
