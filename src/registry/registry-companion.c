/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See registry-companion.h. */
#include "registry-companion.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "berth/cleanup.h"
#include "berth/file.h"

#define PIPE_SIZE (1024 * 1024)

int registry_companion_start(RegistryCompanion *companion,
                             void (*main)(int socket, int directory_fd, int64_t *consumed), int directory_fd)
{
        int fds[2];
        pid_t parent = getpid(), pid;
        int r = socket_pair(SOCK_SEQPACKET, fds);

        if (r < 0)
                return r;
        CLEANUP_CLOSE int ours = fds[0], theirs = fds[1];
        int64_t *consumed = mmap(NULL, sizeof(*consumed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (consumed == MAP_FAILED)
                return -errno;
        pid = fork();
        if (pid < 0) {
                r = -errno;
                munmap(consumed, sizeof(*consumed));
                return r;
        }
        if (pid == 0) {
                fd_close(ours);
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                        _exit(1);
                main(theirs, directory_fd, consumed);
                _exit(0);
        }
        *companion = (RegistryCompanion) { .socket = TAKE_FD(ours), .consumed = consumed };
        return 0;
}

void registry_companion_clear(RegistryCompanion *companion)
{
        fd_close(companion->socket);
        if (companion->consumed)
                munmap(companion->consumed, sizeof(*companion->consumed));
        *companion = (RegistryCompanion) { .socket = -EBADF };
}

int registry_companion_order(RegistryCompanion *companion, const void *order, size_t size, RegistryPipe direction,
                             int *ret_fd)
{
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        CLEANUP_CLOSE int theirs = fds[direction == REGISTRY_PIPE_TO_IT ? 0 : 1];
        CLEANUP_CLOSE int ours = fds[direction == REGISTRY_PIPE_TO_IT ? 1 : 0];
        /* The kernel may refuse this much to an unprivileged process: what it has will do. */
        (void) fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
        int r = socket_send_fds(companion->socket, order, size, &theirs, 1);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(ours);
        return 0;
}
