/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Log records between the container's output and journald: a run of memory that holds, in order,
 *
 *     records that were sent but may not be in the journal yet | records that were not sent
 *     ^ head                                                     ^ sent                     ^ tail
 *
 * A record's message is stored as the journal's protocol wants it (length, bytes, newline), so that sending copies
 * nothing. The memory grows only while journald is behind, up to MONITOR_QUEUE_MAX, and is given back when it is idle.
 * A record owns its memory file. Records move in memory: a pointer to one is good until the next append. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MONITOR_QUEUE_MAX (128u * 1024)
#define MONITOR_QUEUE_FILES_MAX 4u

typedef struct MonitorRecord {
        int64_t before_us, after_us; /* when it was sent, by the real-time clock */
        uint64_t spool_end;          /* where it ends in the spool file; 0: it is not there */
        uint32_t size;               /* of the message, without its length and newline */
        int32_t memfd;               /* the complete entry, where it does not fit into a datagram; -EBADF otherwise */
        uint16_t index, count;       /* its place among the records sent by the same system call */
        uint8_t priority;            /* syslog's number */
        bool partial;
        bool resend;
        bool gap; /* it tells of records that are lost */
} MonitorRecord;

typedef struct MonitorQueue {
        char *data; /* owned */
        size_t head, sent, tail, capacity;
        size_t n_files; /* records that have a memory file */
} MonitorQueue;

void monitor_queue_clear(MonitorQueue *queue);

/* Adds a record behind the others. -ENOBUFS when the queue is full, -ENOMEM; on failure its memory file stays the
 * caller's. */
int monitor_queue_append(MonitorQueue *queue, const MonitorRecord *record, const char *message);

/* The record at an offset, and the offset behind it. */
static inline MonitorRecord *monitor_queue_at(const MonitorQueue *queue, size_t offset)
{
        return (MonitorRecord *) (queue->data + offset);
}
size_t monitor_queue_next(const MonitorQueue *queue, size_t offset);

/* The message in the protocol's form: 8 bytes of length, the message, a newline. */
const char *monitor_queue_message(const MonitorQueue *queue, size_t offset, size_t *ret_size);

/* Forgets the oldest record, which has been sent. */
void monitor_queue_drop_head(MonitorQueue *queue);

/* Forgets what was not sent, and gives back the memory that it took. */
void monitor_queue_cut(MonitorQueue *queue);
