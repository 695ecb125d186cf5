/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cuts the container's output into lines and hands them to the journal as records. A line that does not fit into a
 * datagram is written into a memory file while it grows, so that long lines take no memory of this process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/buffer.h"
#include "monitor-entry.h"
#include "monitor-file.h"
#include "monitor-journal.h"

/* The longest line that is sent in a datagram. */
#define MONITOR_LINE_INLINE (32u * 1024)

/* A line that has not ended yet. */
typedef struct MonitorLine {
        Buffer text;   /* its bytes, as long as there is no memory file */
        int memfd;     /* owned; or -EBADF */
        off_t message; /* where the message starts in the memory file */
        size_t size;   /* bytes so far */
        bool complete; /* the memory file is sealed */
        bool broken;   /* it could not be kept and will be counted as lost */
} MonitorLine;

typedef struct MonitorLog {
        bool enabled;
        bool terminal; /* all output is standard output */
        bool drops;    /* what finds no room is lost at once, and the container never waits */
        MonitorJournal journal;
        MonitorFile file;     /* with a path: takes everything, and the journal is not enabled */
        MonitorLine lines[2]; /* of standard output and standard error */
        uint64_t lost;        /* lines that did not reach the journal */
        uint64_t gap;         /* of these, the ones no record tells of yet */
} MonitorLog;

/* FIELDS NULL makes a log that takes everything and keeps nothing. */
int monitor_log_init(MonitorLog *log, const MonitorEntryFields *fields, const char *journal_path, bool terminal);
void monitor_log_deinit(MonitorLog *log);

/* Takes output and sends what it can. Returns how much was taken: less than SIZE when the journal is behind; the rest
 * is to be offered again after events on the journal. */
size_t monitor_log_feed(MonitorLog *log, bool error_stream, const char *data, size_t size, int64_t now);

/* The streams have ended: what is left without a newline becomes a line. False when the journal is behind: to be tried
 * again. */
bool monitor_log_finish(MonitorLog *log, int64_t now);

/* What a stream has written since its last record. The bytes are the caller's. 0 or negative errno. */
int monitor_log_unfinished(const MonitorLog *log, bool error_stream, Buffer *ret_text);

/* Puts what was not sent yet where whoever reads the log waits for it. */
int monitor_log_push(MonitorLog *log);

/* Gives up on what is neither stored nor in the spool, and counts it. */
void monitor_log_abandon(MonitorLog *log);
