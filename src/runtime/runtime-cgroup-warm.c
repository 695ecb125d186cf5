/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* After a pause, the first move of a process between control groups waits for a grace period of RCU (the semaphore that
 * keeps forks away has readers that are free of cost as long as nobody writes, see rcu_sync_enter() in the kernel): 7
 * to 24 ms on an idle machine, where the next moves take 1 ms. systemd makes such a move for each scope. A move that
 * changes nothing, begun when a container is created, has most of that behind it when its start asks for the scope. It
 * is made by a child, and not by a thread, as the engine forks. */
#include <fcntl.h>
#include <sys/syscall.h>

#include "berth/file.h"
#include "berth/string.h"
#include "runtime-private.h"

/* What was made ready so long ago still is. */
#define WARM_NS (20 * INT64_C(1000000))

static int open_own_processes(void)
{
        CLEANUP_FREE char *group = NULL, *path = NULL;
        int r = runtime_cgroup_path("/proc/self/cgroup", &group), fd;

        if (r < 0)
                return r;
        path = path_join(group, "cgroup.procs");
        if (!path)
                return -ENOMEM;
        fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Keeps nobody's connection open meanwhile. */
static _Noreturn void move_in_place(int fd)
{
        if (fd > 0)
                (void) syscall(SYS_close_range, 0, fd - 1, 0);
        (void) syscall(SYS_close_range, fd + 1, ~0U, 0);
        (void) !write(fd, "0", 1);
        _exit(0);
}

int runtime_cgroup_warm_up(void)
{
        static int64_t last_ns;
        CLEANUP_CLOSE int fd = -EBADF;
        int64_t now = time_now_ns();
        pid_t pid;
        int pidfd;

        if (now >= last_ns && now - last_ns < WARM_NS)
                return -EALREADY;
        last_ns = now;
        fd = open_own_processes();
        if (fd < 0)
                return fd;
        pid = fork();
        if (pid == 0)
                move_in_place(fd);
        if (pid < 0)
                return -errno;
        pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        return pidfd < 0 ? -errno : pidfd;
}
