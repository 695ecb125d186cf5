/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages of the daemon and of the programs that run without a user, on standard error. Under systemd each line
 * carries its priority as a <N> prefix (sd-daemon(3)), so that the journal keeps it. Libraries log at debug only. */
#pragma once

#include <syslog.h>

/* Lines above this priority are dropped; LOG_INFO unless set. */
void log_set_max_level(int level);

/* Prefix lines with <N>; on when standard error is the journal ($JOURNAL_STREAM). */
void log_set_prefix(int enabled);

/* Writes one line. Never fails, never blocks on anything but standard error; errno is preserved. */
void log_message(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Like log_message() with ": <strerror>" added. Returns the error as a negative errno, to be returned by the caller. */
int log_message_errno(int level, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_debug(...) log_message(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_message(LOG_INFO, __VA_ARGS__)
#define log_notice(...) log_message(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_message(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_message(LOG_ERR, __VA_ARGS__)
#define log_warning_errno(error, ...) log_message_errno(LOG_WARNING, error, __VA_ARGS__)
#define log_error_errno(error, ...) log_message_errno(LOG_ERR, error, __VA_ARGS__)
