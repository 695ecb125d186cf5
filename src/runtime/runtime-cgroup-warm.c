/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* After a pause, the first move of a process between control groups waits for a grace period of RCU (the semaphore that
 * keeps forks away has readers that are free of cost as long as nobody writes, see rcu_sync_enter() in the kernel): 7
 * to 24 ms on an idle machine, where the next moves take 1 ms. systemd makes such a move for each scope. A move that
 * changes nothing, begun when a container is created, has most of that behind it when its start asks for the scope. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "berth/file.h"
#include "berth/string.h"
#include "runtime-private.h"

#define STACK_SIZE (128u * 1024)

static atomic_flag busy = ATOMIC_FLAG_INIT;

/* Has no lock when it waits in write(): a fork may happen then. */
static void *move_in_place(void *userdata)
{
        int fd = (int) (intptr_t) userdata;

        (void) !write(fd, "0", 1);
        fd_close(fd);
        atomic_flag_clear(&busy);
        return NULL;
}

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

static int start_thread(int fd)
{
        pthread_attr_t attributes;
        sigset_t all, before;
        pthread_t thread;
        int r;

        r = pthread_attr_init(&attributes);
        if (r != 0)
                return -r;
        pthread_attr_setstacksize(&attributes, STACK_SIZE);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&thread, &attributes, move_in_place, (void *) (intptr_t) fd);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
        return -r;
}

void runtime_cgroup_warm_up(void)
{
        int fd;

        if (atomic_flag_test_and_set(&busy))
                return;
        fd = open_own_processes();
        if (fd >= 0 && start_thread(fd) == 0)
                return;
        fd_close(fd);
        atomic_flag_clear(&busy);
}
