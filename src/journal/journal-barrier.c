/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An empty datagram on journald's native socket is a barrier: journald is one thread, takes datagrams in their order,
 * and stores one before it takes the next, so when ours has left the queue (SIOCOUTQ) all before it are stored. It
 * ignores the empty datagram itself. That costs journald next to nothing, where its varlink method Synchronize writes
 * the journal to the disk and waits for a moment in which nobody logs. */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/string.h"
#include "journal-barrier.h"

#define NATIVE_SOCKET "/run/systemd/journal/socket"
#define FIRST_PAUSE_NS 20000L
#define LAST_PAUSE_NS 2000000L
#define PATIENCE_MS 10000

static int64_t now_ms(void)
{
        return time_monotonic_ns() / 1000000;
}

int journal_barrier(void)
{
        CLEANUP_CLOSE int fd = socket_connect_unix(NATIVE_SOCKET, SOCK_DGRAM | SOCK_NONBLOCK);
        int64_t deadline = now_ms() + PATIENCE_MS;
        long pause = FIRST_PAUSE_NS;
        int queued;

        if (fd < 0)
                return fd;
        while (send(fd, "", 0, MSG_NOSIGNAL) < 0) {
                struct pollfd writable = { .fd = fd, .events = POLLOUT };
                int64_t left = deadline - now_ms();

                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
                if (left <= 0)
                        return -ETIME;
                (void) poll(&writable, 1, (int) left);
        }
        for (;;) {
                if (ioctl(fd, SIOCOUTQ, &queued) < 0)
                        return -errno;
                if (queued == 0)
                        return 0;
                if (now_ms() > deadline)
                        return -ETIME;
                (void) nanosleep(&(struct timespec) { .tv_nsec = pause }, NULL);
                pause = MIN(2 * pause, LAST_PAUSE_NS);
        }
}
