/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-options.h. One table says everything: the option, the field, and for numbers the greatest value. */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>

#include "berth/log.h"
#include "berth/string.h"
#include "monitor-journal.h"
#include "monitor-options.h"

#define SIGNAL_MAX 64

#define STRING(name, field) { name, offsetof(MonitorOptions, field), 0 }
#define NUMBER(name, field, max) { name, offsetof(MonitorOptions, field), max }

static const struct {
        const char *name;
        size_t offset;
        int64_t max; /* 0: a string */
} table[] = {
        STRING("--id", id),
        STRING("--name", name),
        STRING("--image", image),
        STRING("--tag", tag),
        STRING("--directory", directory),
        STRING("--notify", notify),
        STRING("--payload", payload),
        STRING("--log-driver", log_driver),
        STRING("--log-path", log_path),
        STRING("--log-extra", log_extra),
        STRING("--log-compress", log_compress),
        NUMBER("--log-drop", log_drop, 1),
        NUMBER("--log-size", log_size, INT64_MAX),
        NUMBER("--log-files", log_files, INT_MAX),
        STRING("--journal-socket", journal_socket),
        STRING("--spool", spool),
        STRING("--resolver", resolver),
        NUMBER("--spool-size", spool_size, INT64_MAX),
        NUMBER("--drain", drain, 1),
        NUMBER("--hold-scope", hold_scope, INT_MAX),
        NUMBER("--skip", skip, INT64_MAX),
        NUMBER("--run", run, INT64_MAX),
        NUMBER("--volatile-exit", volatile_exit, 1),
        NUMBER("--pid", pid, INT_MAX),
        NUMBER("--listen", listen, INT_MAX),
        NUMBER("--pidfd", pidfd, INT_MAX),
        NUMBER("--terminal", terminal, INT_MAX),
        NUMBER("--stdin", input, INT_MAX),
        NUMBER("--stdout", output, INT_MAX),
        NUMBER("--stderr", errors, INT_MAX),
        NUMBER("--health", health, INT_MAX),
        STRING("--health-state", health_state),
        NUMBER("--stdin-once", stdin_once, 1),
        NUMBER("--stop-signal", stop_signal, SIGNAL_MAX),
        NUMBER("--stop-timeout", stop_timeout, INT_MAX),
};

static int set_option(MonitorOptions *options, const char *name, const char *value)
{
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                void *field = (char *) options + table[i].offset;

                if (!str_equal(name, table[i].name))
                        continue;
                if (!value) {
                        log_error("%s needs an argument", name);
                        return -EINVAL;
                }
                if (table[i].max == 0) {
                        *(const char **) field = value;
                        return 0;
                }
                if (str_to_int64(value, 0, table[i].max, field) < 0) {
                        log_error("%s: not a valid number: %s", name, value);
                        return -EINVAL;
                }
                return 0;
        }
        log_error("unknown option: %s", name);
        return -EINVAL;
}

static int check(const MonitorOptions *options)
{
        const char *missing = NULL;

        if (options->hold_scope >= 0)
                return 0;
        if (str_empty(options->id))
                missing = "--id";
        else if (options->drain)
                missing = options->spool ? NULL : "--spool";
        else if (!options->directory)
                missing = "--directory";
        else if (options->pid <= 0)
                missing = "--pid";
        else if (options->pidfd < 0)
                missing = "--pidfd";
        else if (options->terminal < 0 && (options->output < 0 || options->errors < 0))
                missing = "--terminal, or --stdout and --stderr";
        if (missing) {
                log_error("%s is needed", missing);
                return -EINVAL;
        }
        bool files = str_equal(options->log_driver, "json-file") || str_equal(options->log_driver, "local");

        if (files ? str_empty(options->log_path)
                  : !str_equal(options->log_driver, "journald") && !str_equal(options->log_driver, "none")) {
                log_error("unknown log driver: %s", options->log_driver);
                return -EINVAL;
        }
        return 0;
}

int monitor_options_parse(MonitorOptions *ret_options, int argc, char *const *argv)
{
        MonitorOptions options = { .id = "",
                                   .name = "",
                                   .image = "",
                                   .tag = "",
                                   .log_driver = "journald",
                                   .journal_socket = MONITOR_JOURNAL_SOCKET,
                                   .spool_size = MONITOR_SPOOL_SIZE,
                                   .log_files = 1,
                                   .stop_timeout = -1,
                                   .hold_scope = -EBADF,
                                   .listen = -EBADF,
                                   .pidfd = -EBADF,
                                   .terminal = -EBADF,
                                   .input = -EBADF,
                                   .output = -EBADF,
                                   .errors = -EBADF,
                                   .health = -EBADF };
        int r;

        for (int i = 1; i < argc; i += 2) {
                if (str_equal(argv[i], "--help")) {
                        puts("Usage: berth-monitor OPTION ARGUMENT...\n\n"
                             "The guardian of one container, started by berthd(8). Its options:");
                        for (size_t k = 0; k < ARRAY_SIZE(table); k++)
                                printf("  %s %s\n", table[k].name, table[k].max == 0 ? "STRING" : "NUMBER");
                        puts("\nSee berth-monitor(8).");
                        return 1;
                }
                if (str_equal(argv[i], "--version")) {
                        puts("berth-monitor " BERTH_VERSION);
                        return 1;
                }
                r = set_option(&options, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
                if (r < 0)
                        return r;
        }
        r = check(&options);
        if (r >= 0)
                *ret_options = options;
        return r;
}
