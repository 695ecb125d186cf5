/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* systemd stops the container's scope, as it does at shutdown: that is one signal for every process in it. It is one
 * that only the monitor takes for what it is (SCOPE_KILL_SIGNAL of include/berth/monitor.h); the container's first
 * process gets its own stop signal from here, its time, and then SIGKILL, and how it ended is known in any case. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "monitor-options.h"

typedef struct MonitorStop {
        int signal;          /* 0: there is nothing to stop */
        int64_t timeout_ns;  /* negative: it is waited for without end */
        const char *payload; /* the container's group, not owned; or NULL */
        int64_t kill_ns;     /* when the time is up; 0: no stop has begun; INT64_MAX: never, or it has been */
        bool swept;          /* what was left of the group is killed */
} MonitorStop;

/* Takes the signal, which must be blocked but in the loop's waits. */
void monitor_stop_prepare(void);

void monitor_stop_init(MonitorStop *stop, const MonitorOptions *options);

/* The container's first process is behind PIDFD. */
void monitor_stop_begin(MonitorStop *stop, int pidfd, int64_t now);

static inline bool monitor_stop_has_begun(const MonitorStop *stop)
{
        return stop->kill_ns != 0;
}

/* After each wait: begins a stop that was asked for, and ends one whose time is up. PIDFD is negative once the first
 * process has ended. */
void monitor_stop_dispatch(MonitorStop *stop, int pidfd, int64_t now);
int64_t monitor_stop_due(const MonitorStop *stop);
