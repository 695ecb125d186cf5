/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Children that nobody waits for any more: they are reaped as soon as they have ended. One that an earlier daemon
 * started is process 1's. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "engine-private.h"

/* True when there is nothing to wait for. */
static bool reap(int pidfd)
{
        siginfo_t info = { 0 };

        return waitid(P_PIDFD, (id_t) pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid != 0;
}

static int on_end(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        (void) revents;
        (void) userdata;
        (void) reap(fd);
        /* The loop's reference is the last: the source goes with it, and its descriptor. */
        sd_event_source_set_floating(source, false);
        return 0;
}

void engine_reap(Engine *engine, int pidfd)
{
        sd_event_source *source;

        if (pidfd < 0)
                return;
        if (reap(pidfd) || sd_event_add_io(engine->event, &source, pidfd, EPOLLIN, on_end, NULL) < 0) {
                fd_close(pidfd);
                return;
        }
        sd_event_source_set_io_fd_own(source, true);
        sd_event_source_set_floating(source, true);
        sd_event_source_unref(source);
}
