/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done to a container's tree as a whole: its mount namespace, masks, read-only parts, and becoming the root. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "berth/mount.h"

int mount_namespace_enter(int more)
{
        if (unshare(CLONE_NEWNS | more) < 0)
                return -errno;
        /* Private rather than slave: nothing the host mounts or unmounts later concerns a tree that is about to lose
         * all of the host's mounts anyway. */
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return -errno;
        return 0;
}

/* Covers the file or directory TARGET with the tree. */
static int cover(int tree, int target)
{
        if (move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
                return -errno;
        return 0;
}

int mount_path_protect(int root_fd, const char *path)
{
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
        CLEANUP_CLOSE int target = -EBADF, tree = -EBADF;

        target = mount_path_open(root_fd, path, O_PATH);
        if (target == -ENOENT || target == -ENOTDIR)
                return 0;
        if (target < 0)
                return target;
        tree = open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
        if (tree < 0)
                return -errno;
        if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return -errno;
        return cover(tree, target);
}

int mount_path_mask(int root_fd, const char *path)
{
        CLEANUP_CLOSE int target = -EBADF, null = -EBADF, tree = -EBADF;
        struct stat st;

        target = mount_path_open(root_fd, path, O_PATH);
        if (target == -ENOENT || target == -ENOTDIR)
                return 0;
        if (target < 0)
                return target;
        if (fstat(target, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode)) {
                if (fchdir(target) < 0)
                        return -errno;
                return mount("tmpfs", ".", "tmpfs", MS_RDONLY, NULL) < 0 ? -errno : 0;
        }
        null = mount_path_open(root_fd, "/dev/null", O_PATH);
        if (null < 0)
                return null;
        /* Where /dev is the image's or a volume, this name may be anything, and covering with it would show it. */
        if (fstat(null, &st) < 0)
                return -errno;
        if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
                return -ENODEV;
        tree = open_tree(null, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        if (tree < 0)
                return -errno;
        return cover(tree, target);
}

int mount_root_pivot(int root_fd, unsigned long propagation, bool read_only)
{
        struct mount_attr attr = {
                .attr_set = read_only ? MOUNT_ATTR_RDONLY : 0,
                .propagation = propagation,
        };

        if (fchdir(root_fd) < 0)
                return -errno;
        /* The old root lands on top of the new one at the same place, and "." reaches it there. */
        if (syscall(SYS_pivot_root, ".", ".") < 0)
                return -errno;
        if (umount2(".", MNT_DETACH) < 0)
                return -errno;
        if (chdir("/") < 0)
                return -errno;
        if ((attr.attr_set || attr.propagation) && mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof(attr)) < 0)
                return -errno;
        return 0;
}
