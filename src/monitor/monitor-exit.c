/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-exit.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/monitor.h"
#include "berth/string.h"
#include "monitor-exit.h"

#define NOTIFY_TRIES 40
#define NOTIFY_PAUSE_NS 50000000L

int monitor_exit_code(const siginfo_t *info)
{
        return info->si_code == CLD_EXITED ? info->si_status & 0xff : 128 + info->si_status;
}

bool monitor_exit_oom_killed(const char *cgroup)
{
        CLEANUP_FREE char *path = cgroup ? path_join(cgroup, "memory.events") : NULL, *data = NULL;
        const char *line;

        if (!path || file_read_at(AT_FDCWD, path, 4096, &data, NULL) < 0)
                return false;
        line = strstr(data, "oom_kill ");
        return line && strtoull(line + strlen("oom_kill "), NULL, 10) > 0;
}

int monitor_exit_write(const MonitorExit *exit, const char *directory, bool durable)
{
        CLEANUP_CLOSE int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char finished[TIME_RFC3339_SIZE], text[256];
        int length;

        if (fd < 0)
                return -errno;
        length = snprintf(text, sizeof(text),
                          "{\"Run\":%lld,\"ExitCode\":%d,\"OOMKilled\":%s,\"FinishedAt\":\"%s\",\"LinesLost\":%llu,"
                          "\"Stopped\":%s}\n",
                          (long long) exit->run, exit->code, exit->oom_killed ? "true" : "false",
                          time_format_rfc3339(exit->finished_ns, finished), (unsigned long long) exit->lines_lost,
                          exit->stopped ? "true" : "false");
        if (!durable)
                return file_replace_volatile_at(fd, MONITOR_EXIT_RECORD, text, (size_t) length, 0600);
        bool first = faccessat(fd, MONITOR_EXIT_RECORD, F_OK, 0) < 0;
        return (first ? file_create_at : file_replace_at)(fd, MONITOR_EXIT_RECORD, text, (size_t) length, 0600);
}

int monitor_exit_notify(const char *socket_path, const char *id)
{
        CLEANUP_FREE char *request = str_printf(MONITOR_NOTIFY_REQUEST, id);
        int r = -ENOMEM;

        if (!request)
                return r;
        /* The engine may have a full backlog, or be between two lives. */
        for (int i = 0; i < NOTIFY_TRIES; i++) {
                CLEANUP_CLOSE int fd = socket_connect_unix(socket_path, SOCK_STREAM | SOCK_NONBLOCK);

                if (fd >= 0)
                        return send(fd, request, strlen(request), MSG_NOSIGNAL) < 0 ? -errno : TAKE_FD(fd);
                r = fd;
                if (r != -EAGAIN && r != -ECONNREFUSED)
                        return r;
                nanosleep(&(struct timespec) { .tv_nsec = NOTIFY_PAUSE_NS }, NULL);
        }
        return r;
}
