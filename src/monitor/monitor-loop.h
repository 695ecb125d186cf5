/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole monitor: one container's streams, its clients, its log, its first process, and one loop over all of
 * them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor-client.h"
#include "monitor-exit.h"
#include "monitor-health.h"
#include "monitor-input.h"
#include "monitor-log.h"
#include "monitor-net.h"
#include "monitor-options.h"
#include "monitor-request.h"
#include "monitor-stop.h"

/* One read's worth of output, no more than what a datagram can take as one line. */
#define MONITOR_CHUNK MONITOR_LINE_INLINE

typedef struct Monitor {
        const MonitorOptions *options;
        int output[2]; /* owned: the pipes, or the terminal as the first alone; -EBADF once ended */
        bool terminal;
        int pidfd; /* owned; -EBADF once reaped */
        MonitorInput input;
        MonitorClients clients;
        MonitorRequests requests;
        MonitorNet net;
        MonitorLog log;
        MonitorExit exit;
        MonitorHealth health;
        MonitorStop stop;

        int64_t ended_ns;    /* when the first process was reaped; 0: it lives */
        int64_t active_ns;   /* when output was last read, or could not be read */
        int64_t finished_ns; /* when all output was read; 0: not yet */
        int64_t pause_ns;    /* nobody has the terminal open: not read until then */
        int64_t pause_step;  /* how long the last such pause was */

        /* What was read last: the clients have it, the log still wants it from chunk_taken on. */
        size_t chunk_size, chunk_taken;
        bool chunk_error_stream;
        char chunk[MONITOR_CHUNK];
} Monitor;

int monitor_init(Monitor *monitor, const MonitorOptions *options);
void monitor_deinit(Monitor *monitor);

/* Runs until the container has ended and its output is with the clients, and with the journal or in the spool; then its
 * end is in monitor->exit. */
int monitor_run(Monitor *monitor);

/* True when the spool is still to be drained. */
bool monitor_must_drain(const Monitor *monitor);

/* Lets go of everything but the log. */
void monitor_release(Monitor *monitor);
