/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layers put together into one. All are in overlayfs' own format: whiteouts are devices 0:0, a directory that hides
 * what is below it is opaque. Files of the result are links to those of the layers, so they are not to be written to.
 * What the result hides is hidden only where the layers below have it. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "berth/file.h"
#include "berth/store.h"
#include "build-private.h"

#define DEPTH_MAX 2000
#define XATTRS_MAX 65536
#define OVERLAY_PREFIX "trusted.overlay."

static int open_directory(int parent, const char *name)
{
        return parent < 0 ? -EBADF : openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool has(int parent, const char *name)
{
        struct stat st;

        return parent >= 0 && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int copy_attributes(int from, int to)
{
        char names[XATTRS_MAX], value[XATTRS_MAX];
        struct stat st;

        if (fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
                return -errno;
        ssize_t n = flistxattr(from, names, sizeof(names));
        for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
                ssize_t size = str_after_prefix(name, OVERLAY_PREFIX) ? -1 : fgetxattr(from, name, value, XATTRS_MAX);
                if (size >= 0 && fsetxattr(to, name, value, (size_t) size, 0) < 0)
                        return -errno;
        }
        struct timespec times[2] = { st.st_atim, st.st_mtim };
        return futimens(to, times) < 0 ? -errno : 0;
}

/* Makes the result's directory of that name, where it is none yet; whether it hides what is below. */
static int enter(int to, const char *name, bool hides, bool *ret_hides)
{
        struct stat st;
        bool there = fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) == 0;

        *ret_hides = hides || (there && !S_ISDIR(st.st_mode));
        if (there && (hides || !S_ISDIR(st.st_mode))) {
                int r = path_remove_tree_at(to, name);
                if (r < 0)
                        return r;
                there = false;
        }
        if (!there && mkdirat(to, name, 0700) < 0)
                return -errno;
        int fd = open_directory(to, name);
        return fd < 0 ? -errno : fd;
}

static int merge(int to, int from, int base, unsigned depth);

static int merge_directory(int to, int from, int base, const char *name, unsigned depth)
{
        CLEANUP_CLOSE int from_fd = open_directory(from, name), base_fd = open_directory(base, name);
        bool hides = false;

        if (from_fd < 0)
                return -errno;
        CLEANUP_CLOSE int to_fd = enter(to, name, store_is_opaque(from_fd), &hides);
        if (to_fd < 0)
                return to_fd;
        if (hides && base_fd >= 0) {
                int r = store_set_opaque(to_fd);
                if (r < 0)
                        return r;
        }
        int r = merge(to_fd, from_fd, store_is_opaque(to_fd) ? -EBADF : base_fd, depth + 1);
        return r < 0 ? r : copy_attributes(from_fd, to_fd);
}

static int merge_other(int to, int from, int base, const char *name, bool whiteout)
{
        int r = path_remove_tree_at(to, name);

        if (r < 0 || (whiteout && !has(base, name)))
                return r;
        return linkat(from, name, to, name, 0) < 0 ? -errno : 0;
}

static int merge(int to, int from, int base, unsigned depth)
{
        CLEANUP_STRV char **names = NULL;
        int r = depth > DEPTH_MAX ? -ELOOP : build_read_names(from, &names);

        for (size_t i = 0; r == 0 && names[i]; i++) {
                struct stat st;

                if (fstatat(from, names[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return -errno;
                r = S_ISDIR(st.st_mode) ? merge_directory(to, from, base, names[i], depth)
                                        : merge_other(to, from, base, names[i], store_is_whiteout(&st));
        }
        return r;
}

int build_merge(int to_fd, int layer_fd, int base_fd)
{
        int r = merge(to_fd, layer_fd, base_fd, 0);

        return r < 0 ? r : copy_attributes(layer_fd, to_fd);
}
