/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sends log records to journald by its native protocol over the datagram socket, one entry a datagram: journald of
 * systemd 253 and later reads only the first entry of a datagram that holds several.
 *
 * Nothing here blocks. What could not be sent stays in the queue; when that is full, it goes to the spool file with all
 * that comes after it, and back from there into the queue as journald gets on (monitor-overflow.c). The caller stops
 * reading output when neither takes more. A sent record is kept until journald has surely stored it: journald takes one
 * datagram after the other, so a record is stored once the datagram behind it has left the socket's queue (SIOCOUTQ);
 * behind the last record goes an empty datagram, which journald ignores. When journald dies, its socket and the
 * datagrams queued there live on in PID 1: only the record it was working on may be lost. That one is sent again, and
 * all that are kept when the next journald dies before that one is stored, marked CONTAINER_LOG_RESENT=1, with
 * CONTAINER_LOG_PLACE, by which a reader tells whether the first copy arrived (src/journal/journal-resent.h):
 *     BEFORE.AFTER.INDEX.COUNT    the first copy is the INDEXth of COUNT records sent between these microseconds,
 * so that journald's own _SOURCE_REALTIME_TIMESTAMP, taken when a datagram is sent, lies between them for all of these.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "berth/buffer.h"
#include "monitor-queue.h"
#include "monitor-spool.h"

#define MONITOR_JOURNAL_SOCKET "/run/systemd/journal/socket"

/* With no record taken by journald for so long, it counts as gone: output is dropped rather than held up. */
#define MONITOR_JOURNAL_PATIENCE_NS (30 * 1000000000LL)

typedef struct MonitorJournal {
        const char *path;   /* journald's socket, not owned */
        char *control_path; /* owned; journald's varlink socket beside it, by which its process is known */
        Buffer prefix;      /* the fields that all entries of this run begin with */
        Buffer adopted;     /* those that the records of an earlier run, found in the spool, begin with */
        Buffer *current;    /* one of them: that of the records in the queue */
        MonitorQueue queue;
        MonitorSpool spool;   /* while it is active, what is in the queue and not sent is in the file too */
        size_t flight;        /* at least so much of the socket's queue is taken by the records sent and kept */
        size_t resend;        /* kept records that must be sent again */
        int socket;           /* connected, or -EBADF */
        int daemon;           /* pidfd of journald, or -EBADF */
        bool daemon_unknown;  /* it cannot be found */
        bool blocked;         /* the socket takes no more for now */
        bool barrier_sent;    /* nothing was sent since the last empty datagram */
        bool order_lost;      /* a record was sent again: the kept ones did not leave in their order */
        bool leaving;         /* the spool is left to somebody else */
        bool hurry;           /* find out quickly whether everything is stored */
        int64_t last_us;      /* the end of the last records' time, on the real-time clock */
        int64_t stalled_ns;   /* since when nothing gets through; 0: it does */
        int64_t retry_ns;     /* when to try again what failed; 0: nothing did */
        int64_t confirm_ns;   /* when to look whether what was sent is stored; 0: it is */
        int64_t confirm_step; /* from that look to the next */
} MonitorJournal;

/* PREFIX is taken over. */
int monitor_journal_init(MonitorJournal *journal, const char *path, Buffer *prefix);
void monitor_journal_deinit(MonitorJournal *journal);

/* Queues a record: in memory, else in the spool. A memory file is taken over on success. -ENOBUFS: there is no room. */
int monitor_journal_append(MonitorJournal *journal, MonitorRecord *record, const char *message, int64_t now);

/* Whether so many bytes more would be taken. */
bool monitor_journal_has_room(const MonitorJournal *journal, size_t size);

/* Puts all that was not sent, and what comes from now on, into the spool, safe from this process's end. */
int monitor_journal_spool(MonitorJournal *journal);

/* Uses the spool file at PATH from now on; what an earlier process left there goes out first. FIELDS says that records
 * of this process's own may follow. */
int monitor_journal_use_spool(MonitorJournal *journal, const char *path, uint64_t limit, uint64_t skip, bool fields);

/* Sends nothing more from the spool, and leaves it to the next. */
int monitor_journal_leave(MonitorJournal *journal);

/* Gets records from the spool into the queue, of which all was sent. Returns how many. */
size_t monitor_journal_refill(MonitorJournal *journal, int64_t now);

/* A moment of the real-time clock, in microseconds, later than anything sent before it. */
int64_t monitor_journal_time(const MonitorJournal *journal);

/* Sends what can be sent now. */
void monitor_journal_send(MonitorJournal *journal, int64_t now);

bool monitor_journal_is_gone(const MonitorJournal *journal, int64_t now);
bool monitor_journal_is_stored(const MonitorJournal *journal);

/* The queue is full: looks soon whether some of it can be forgotten. */
void monitor_journal_press(MonitorJournal *journal, int64_t now);

/* From now on finds out at once what is stored: nothing more will come. */
void monitor_journal_hurry(MonitorJournal *journal, int64_t now);

/* For the event loop: descriptors to wait for (two at most; returns their number), when something is due (INT64_MAX:
 * never), and what to do after the wait. All times are of the monotonic clock. */
size_t monitor_journal_poll(const MonitorJournal *journal, struct pollfd fds[static 2]);
int64_t monitor_journal_due(const MonitorJournal *journal);
void monitor_journal_dispatch(MonitorJournal *journal, const struct pollfd *fds, size_t n, int64_t now);

int64_t monitor_clock(void);
