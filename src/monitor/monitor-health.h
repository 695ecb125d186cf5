/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Health checks: one at a time, in the container, by dockerd's rules. The state goes into a file after each check; the
 * engine hears of changes only. A container that is paused is not checked. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/buffer.h"
#include "berth/runtime.h"
#include "monitor-options.h"

#define MONITOR_HEALTH_LOG 5
#define MONITOR_HEALTH_OUTPUT 4096

typedef enum MonitorHealthStatus {
        MONITOR_HEALTH_STARTING,
        MONITOR_HEALTH_HEALTHY,
        MONITOR_HEALTH_UNHEALTHY,
} MonitorHealthStatus;

typedef struct MonitorHealthResult {
        int64_t start_ns, end_ns; /* since the epoch */
        int exit_code;            /* -1: it could not be started, or took too long */
        Buffer output;            /* at most MONITOR_HEALTH_OUTPUT bytes, and a few more words */
} MonitorHealthResult;

typedef struct MonitorHealth {
        const MonitorOptions *options;
        RuntimeProbe *probe; /* NULL: no checks */
        RuntimeHealth timing;
        int64_t started_ns; /* monotonic, as all below */
        int64_t due_ns;     /* of the next check */

        /* The check that runs. */
        bool running, timed_out, truncated;
        RuntimeProbeRun run;
        int output; /* owned: what it writes; -EBADF once ended */
        int64_t deadline_ns;
        MonitorHealthResult result;

        MonitorHealthStatus status, told; /* told: what the engine knows */
        int telling;                      /* owned: the connection on which it is told; or -EBADF */
        uint32_t streak;                  /* of failures */
        MonitorHealthResult log[MONITOR_HEALTH_LOG];
        size_t n_log;
} MonitorHealth;

/* Takes --health over. */
int monitor_health_init(MonitorHealth *health, const MonitorOptions *options, int64_t now);

/* The container has ended: no more checks. */
void monitor_health_stop(MonitorHealth *health);

/* For the event loop: descriptors to wait for (three at most; returns their number), when something is due (INT64_MAX:
 * never), and what to do after the wait. PIDFD is the container's first process. */
size_t monitor_health_poll(const MonitorHealth *health, struct pollfd fds[static 3]);
int64_t monitor_health_due(const MonitorHealth *health);
void monitor_health_dispatch(MonitorHealth *health, int pidfd, int64_t now);

/* The result of a check is in. Apart for its test. */
void monitor_health_judge(MonitorHealth *health, int exit_code, int64_t start_ns);

/* The state as JSON. */
int monitor_health_format(const MonitorHealth *health, Buffer *ret_text);
