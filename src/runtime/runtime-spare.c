/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the process does that holds a scope ready for a container to come. */
#include <fcntl.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "runtime-private.h"

static int receive(int control, char *ret_byte)
{
        ssize_t n;

        do
                n = recv(control, ret_byte, 1, 0);
        while (n < 0 && errno == EINTR);
        return n == 1 ? 0 : -ECANCELED;
}

int runtime_spare_hold(int control)
{
        static const char ready = RUNTIME_GO;
        CLEANUP_CLOSE int scope = -EBADF;
        CLEANUP_FREE char *own = NULL;
        char byte;
        int r = receive(control, &byte);

        if (r >= 0)
                r = runtime_cgroup_path("/proc/self/cgroup", &own);
        if (r < 0)
                return r;
        scope = open(own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = scope < 0 ? -errno : runtime_cgroup_divide(scope);
        if (r < 0)
                return r;
        if (send(control, &ready, 1, MSG_NOSIGNAL) < 0)
                return -errno;
        (void) receive(control, &byte);
        return 0;
}
