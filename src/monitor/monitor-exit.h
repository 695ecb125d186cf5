/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the container ended, told to the disk and to the engine. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct MonitorExit {
        int64_t run;
        int code; /* 0-255 */
        bool oom_killed;
        int64_t finished_ns; /* since the epoch */
        uint64_t lines_lost;
        bool stopped; /* by systemd, with the scope */
} MonitorExit;

/* What waitid(2) said as a shell's status: 128 and the signal's number where a signal ended it. */
int monitor_exit_code(const siginfo_t *info);

/* True if the kernel killed a process in this cgroup or below it for lack of memory. */
bool monitor_exit_oom_killed(const char *cgroup);

/* Writes exit.json into the container's directory. */
int monitor_exit_write(const MonitorExit *exit, const char *directory, bool durable);

/* Tells the engine, starting it if need be. Returns the connection, on which its answer comes: whoever goes on keeps it
 * open meanwhile, as a request whose client has hung up may not be served. */
int monitor_exit_notify(const char *socket_path, const char *id);
