/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-stop.h. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "berth/string.h"
#include "monitor-stop.h"

#define SEC 1000000000LL
#define MANAGER_PID 1

static volatile sig_atomic_t asked;

/* Whoever else continues a stopped monitor does not mean the container. */
static void on_signal(int signal_number, siginfo_t *info, void *context)
{
        (void) signal_number;
        (void) context;
        if (info->si_code == SI_USER && info->si_pid == MANAGER_PID)
                asked = 1;
}

void monitor_stop_prepare(void)
{
        struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

        (void) sigaction(SCOPE_KILL_SIGNAL, &action, NULL);
}

void monitor_stop_init(MonitorStop *stop, const MonitorOptions *options)
{
        *stop = (MonitorStop) { .signal = (int) options->stop_signal,
                                .timeout_ns = options->stop_timeout < 0 ? -1 : options->stop_timeout * SEC,
                                .payload = options->payload };
}

static int write_group(const MonitorStop *stop, const char *name, const char *text)
{
        CLEANUP_FREE char *path = stop->payload ? path_join(stop->payload, name) : NULL;

        return path ? file_write_kernel(path, text) : -ENOENT;
}

static void send_signal(int pidfd, int signal_number)
{
        if (pidfd >= 0 && pidfd_send_signal(pidfd, signal_number, NULL, 0) < 0 && errno != ESRCH)
                log_warning_errno(errno, "cannot stop the container");
}

void monitor_stop_begin(MonitorStop *stop, int pidfd, int64_t now)
{
        if (stop->kill_ns != 0)
                return;
        stop->kill_ns = stop->timeout_ns < 0 ? INT64_MAX : now + stop->timeout_ns;
        send_signal(pidfd, stop->signal);
        /* One that is paused takes its signal then. */
        (void) write_group(stop, "cgroup.freeze", "0");
}

void monitor_stop_dispatch(MonitorStop *stop, int pidfd, int64_t now)
{
        if (asked && stop->signal > 0)
                monitor_stop_begin(stop, pidfd, now);
        if (stop->kill_ns == 0 || stop->swept)
                return;
        if (pidfd < 0) {
                /* Without a pid namespace of its own, others outlive the first process. */
                stop->swept = true;
                stop->kill_ns = INT64_MAX;
                (void) write_group(stop, "cgroup.kill", "1");
        } else if (now >= stop->kill_ns) {
                stop->kill_ns = INT64_MAX;
                send_signal(pidfd, SIGKILL);
        }
}

int64_t monitor_stop_due(const MonitorStop *stop)
{
        return stop->kill_ns == 0 ? INT64_MAX : stop->kill_ns;
}
