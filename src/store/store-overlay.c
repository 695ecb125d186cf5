/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What overlayfs makes of files and attributes in a layer. */
#include <sys/stat.h>
#include <sys/xattr.h>

#include "berth/store.h"

#define OPAQUE "trusted.overlay.opaque"

bool store_is_whiteout(const struct stat *st)
{
        return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

int store_set_opaque(int fd)
{
        return fsetxattr(fd, OPAQUE, "y", 1, 0) < 0 ? -errno : 0;
}

bool store_is_opaque(int fd)
{
        char value;

        return fgetxattr(fd, OPAQUE, &value, 1) == 1 && value == 'y';
}
