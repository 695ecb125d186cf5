/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line, see include/berth/monitor.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct MonitorOptions {
        const char *id, *name, *image, *tag; /* all strings point into argv */
        const char *directory, *notify, *payload, *log_driver, *journal_socket, *spool, *health_state, *resolver;
        const char *log_path, *log_extra, *log_compress;
        int64_t run, pid;
        int64_t hold_scope, listen, pidfd, terminal, input, output, errors, health; /* descriptors, or -EBADF */
        int64_t stdin_once;
        int64_t volatile_exit;             /* nobody asks for its end after a power cut */
        int64_t stop_signal, stop_timeout; /* 0: systemd stops nothing here; in seconds, negative: never given up */
        int64_t log_size, log_files, log_drop;
        int64_t spool_size, drain, skip;
} MonitorOptions;

/* 0, or -EINVAL after a message on standard error. 1 when --help or --version was answered. */
int monitor_options_parse(MonitorOptions *ret_options, int argc, char *const *argv);
