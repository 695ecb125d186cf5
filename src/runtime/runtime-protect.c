/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keeps the daemon's own program file from being written through /proc/PID/exe. Between clone and exec a container's
 * first process still has the daemon's program as its executable. Three things stand between it and a container:
 *   - other processes of the container cannot look at it: it is not dumpable, and it holds more capabilities;
 *   - a program path that leads through a magic link of /proc is refused;
 *   - a script whose interpreter is /proc/self/exe does execute the daemon's file inside the container, and whoever
 *     controls its loader there may open that file again. So the daemon runs from a detached, read-only clone of its
 *     mount, of which the container can neither be rid nor make anything writable: opening for writing fails (EROFS).
 */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "berth/string.h"
#include "runtime-private.h"

int runtime_protect_program(char *const *argv)
{
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
        CLEANUP_CLOSE int program = -EBADF, tree = -EBADF;
        struct statvfs fs;
        const char *name;

        name = argv[0] && strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0] ? argv[0] : "";
        program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
        if (program < 0 || fstatvfs(program, &fs) < 0)
                return -errno;
        if (fs.f_flag & ST_RDONLY) {
                /* An execution by descriptor is named after its number. */
                prctl(PR_SET_NAME, name);
                return 0;
        }
        tree = open_tree(program, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return -errno;
        syscall(SYS_execveat, tree, "", argv, environ, AT_EMPTY_PATH);
        return -errno;
}
