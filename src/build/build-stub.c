/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a mount point leaves in the upper directory of an overlay: it was made for the mount, and nothing could be put
 * into it. Overlayfs marks what it copied from below, so that what is not marked was made here. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "berth/build.h"

#define ORIGIN "trusted.overlay.origin"

static bool is_made_here(int fd)
{
        return fgetxattr(fd, ORIGIN, NULL, 0) < 0 && errno == ENODATA;
}

static void remove_stub(int parent, const char *path)
{
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        const char *rest = path + n + strspn(path + n, "/");
        CLEANUP_FREE char *name = strndup(path, n);
        CLEANUP_CLOSE int fd =
                name && n > 0 ? openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
        struct stat st;

        if (fd < 0 || str_equal(name, "..") || fstat(fd, &st) < 0)
                return;
        if (*rest && S_ISDIR(st.st_mode))
                remove_stub(fd, rest);
        if (!is_made_here(fd))
                return;
        /* A directory with something in it stays. */
        if (S_ISDIR(st.st_mode))
                (void) unlinkat(parent, name, AT_REMOVEDIR);
        else if (!*rest && S_ISREG(st.st_mode) && st.st_size == 0)
                (void) unlinkat(parent, name, 0);
}

void build_remove_stubs(int upper_fd, const json_t *targets)
{
        json_t *target;
        size_t i;

        json_array_foreach((json_t *) targets, i, target)
                remove_stub(upper_fd, json_string_value(target) ?: "");
}
