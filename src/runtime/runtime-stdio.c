/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's standard streams: a terminal of its own devpts instance, or pipes. Both ends are made by the parent;
 * init takes the inner ones, the monitor inherits the outer ones. They belong to the container's user, who may open
 * /dev/stdout again by name. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "berth/string.h"
#include "runtime-private.h"

void runtime_stdio_clear(RuntimeStdio *stdio)
{
        for (size_t i = 0; i < 3; i++) {
                fd_close(stdio->inner[i]);
                fd_close(stdio->outer[i]);
        }
        *stdio = RUNTIME_STDIO_EMPTY;
}

/* Covers /dev/console with the terminal, where init systems and boot messages look for it. */
static int console_bind(int root_fd, int slave)
{
        CLEANUP_CLOSE int target = -EBADF, tree = -EBADF;

        target = mount_path_make(root_fd, "/dev/console", false, 0620);
        if (target < 0)
                return target;
        tree = open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        if (tree < 0)
                return -errno;
        if (move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
                return -errno;
        return 0;
}

static int terminal_open(const RuntimeStart *start, int root_fd, const RuntimeUser *user, bool console,
                         RuntimeStdio *stdio)
{
        struct winsize size = {
                .ws_row = (unsigned short) start->terminal_rows,
                .ws_col = (unsigned short) start->terminal_columns,
        };
        CLEANUP_CLOSE int master = -EBADF, slave = -EBADF;
        int unlock = 0, r;

        master = mount_path_open(root_fd, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
        if (master < 0)
                return master;
        if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
                return -errno;
        slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (slave < 0)
                return -errno;
        if (size.ws_row > 0 && size.ws_col > 0 && ioctl(master, TIOCSWINSZ, &size) < 0)
                return -errno;
        if (user->uid != 0 && fchown(slave, user->uid, (gid_t) -1) < 0)
                return -errno;
        r = console ? console_bind(root_fd, slave) : 0;
        if (r < 0)
                return r;
        stdio->terminal = true;
        stdio->outer[0] = TAKE_FD(master);
        stdio->inner[0] = TAKE_FD(slave);
        return 0;
}

static int pipes_open(const RuntimeStart *start, const RuntimeUser *user, RuntimeStdio *stdio)
{
        for (size_t i = start->open_stdin ? 0 : 1; i < 3; i++) {
                int fds[2];

                if (pipe2(fds, O_CLOEXEC) < 0)
                        return -errno;
                stdio->inner[i] = fds[i == 0 ? 0 : 1];
                stdio->outer[i] = fds[i == 0 ? 1 : 0];
                if (user->uid != 0 && fchown(stdio->inner[i], user->uid, (gid_t) -1) < 0)
                        return -errno;
        }
        return 0;
}

int runtime_stdio_open(const RuntimeStart *start, int root_fd, const RuntimeUser *user, bool console, RuntimeStdio *ret,
                       Error *ret_error)
{
        CLEANUP(runtime_stdio_clear) RuntimeStdio stdio = RUNTIME_STDIO_EMPTY;
        json_t *process = json_object_get(start->config, "process");
        int r;

        if (json_is_true(json_object_get(process, "terminal")))
                r = terminal_open(start, root_fd, user, console, &stdio);
        else
                r = pipes_open(start, user, &stdio);
        if (r < 0)
                return runtime_error(ret_error, -r, "open the standard streams");
        *ret = stdio;
        stdio = RUNTIME_STDIO_EMPTY;
        return 0;
}

int runtime_stdio_install(const RuntimeStdio *stdio, int root_fd)
{
        CLEANUP_CLOSE int null = -EBADF;

        if (stdio->terminal && ioctl(stdio->inner[0], TIOCSCTTY, 0) < 0)
                return -errno;
        for (int i = 0; i < 3; i++) {
                int fd = stdio->inner[stdio->terminal ? 0 : i];

                if (fd < 0) {
                        null = mount_path_open(root_fd, "/dev/null", O_RDONLY);
                        if (null < 0)
                                return null;
                        fd = null;
                }
                if (dup2(fd, i) < 0)
                        return -errno;
        }
        return 0;
}
