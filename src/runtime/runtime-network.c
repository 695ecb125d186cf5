/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loopback interface, which every new network namespace has and none has up. */
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "runtime-private.h"

int runtime_network_loopback(void)
{
        CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

        if (fd < 0)
                return -errno;
        return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}
