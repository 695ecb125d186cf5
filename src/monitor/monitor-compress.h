/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compressing the older files of a log, one at a time, by a program of its own, as the container must not wait for it.
 * It writes into a file beside the log; only this process renames and removes, so that what a crash leaves of it is
 * never taken for a part of the log. A file that was not compressed stays as it is, and is tried again after the next
 * rotation and at the container's next start. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct MonitorCompress {
        const char *program; /* not owned; NULL: files stay as they are */
        pid_t pid;           /* the running program; 0: none */
        unsigned number;     /* of the file it reads; 0: that is gone */
} MonitorCompress;

/* Begins with the newest older file of the log at PATH that is not compressed, where nothing is being compressed. */
void monitor_compress_begin(MonitorCompress *compress, const char *path);

/* Each file's number is one more now, and those from FILES on are gone. */
void monitor_compress_rotated(MonitorCompress *compress, unsigned files);

/* A child has ended and was reaped: if it was the program, what it made takes the file's place, and the next file's
 * turn comes. */
void monitor_compress_reaped(MonitorCompress *compress, const char *path, const siginfo_t *info);

/* Nothing is compressed any more. */
void monitor_compress_stop(MonitorCompress *compress);
