/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Log records on the disk, for when journald is behind: a file (include/berth/spool.h) that this process appends to at
 * one end and drains at the other. It is made when it is first needed, emptied whenever all of it was sent, and locked
 * from then on. Nothing is synced: a power cut costs what journald itself would lose. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "berth/buffer.h"
#include "berth/spool.h"
#include "monitor-queue.h"

#define MONITOR_SPOOL_SIZE (256 * 1024 * 1024LL)

typedef struct MonitorSpool {
        const char *path; /* not owned; NULL: no spool */
        uint64_t limit;   /* bytes that wait */
        int fd;           /* owned, locked; -EBADF until it was needed */
        bool active;      /* it holds records that were not sent, and takes those that come */
        SpoolHeader header;
        uint64_t read;    /* the next record to be read */
        uint64_t last;    /* the one that was read last */
        uint64_t end;     /* behind the last record that was written */
        uint64_t punched; /* blocks before this were given back */
        Buffer pending;   /* records still to be written at `end` */
        Buffer window;    /* bytes of the file from `window_start` on */
        uint64_t window_start;
} MonitorSpool;

/* One record on its way out of the file. */
typedef struct MonitorSpooled {
        SpoolKind kind;
        const char *data; /* of a line or fields: the payload, good until the next call. NULL of an entry */
        uint32_t size;
        int memfd; /* of an entry: a sealed memory file, the caller's; -EBADF otherwise */
        uint8_t priority;
        bool partial;
        uint64_t end; /* the offset behind it */
} MonitorSpooled;

void monitor_spool_init(MonitorSpool *spool, const char *path, uint64_t limit);

/* Leaves the file, with whatever it holds, for the next. */
void monitor_spool_deinit(MonitorSpool *spool);

/* Makes or opens the file and locks it. What an earlier owner left becomes this one's, and makes it active; the records
 * between the sent ones and SKIP records further were sent by it too. -EBUSY while somebody else has it. */
int monitor_spool_open(MonitorSpool *spool, uint64_t skip);

/* Makes an opened, empty spool active. BEFORE_US is later than all that was sent. */
int monitor_spool_begin(MonitorSpool *spool, int64_t before_us);

/* Adds a record behind the others; a memory file stays the caller's. -ENOBUFS: no room, in the limit or on the disk.
 * What is added is in the file after the next flush at the latest. */
int monitor_spool_append(MonitorSpool *spool, const MonitorRecord *record, const char *message);
/* Whether so many bytes more are within the limit. */
bool monitor_spool_has_room(const MonitorSpool *spool, uint64_t size);
int monitor_spool_append_fields(MonitorSpool *spool, const Buffer *fields);
int monitor_spool_flush(MonitorSpool *spool);

/* The next record. 1, 0 where there is no more, or a negative errno. */
int monitor_spool_read(MonitorSpool *spool, MonitorSpooled *ret_record);

/* The record that was read last comes again. */
void monitor_spool_unread(MonitorSpool *spool);

/* The fields that were read last hold from now on: all before them was sent. */
void monitor_spool_accept_fields(MonitorSpool *spool, const MonitorSpooled *record);

/* Says in the file that records from `sent` on may go to journald from now on. */
int monitor_spool_mark(MonitorSpool *spool, int64_t before_us);

/* The records before this offset were sent. */
void monitor_spool_sent(MonitorSpool *spool, uint64_t sent);

/* All was sent: the file is emptied, and no longer active. */
void monitor_spool_reset(MonitorSpool *spool);

/* Nothing more will be sent from here: the file says exactly where the next owner goes on. */
int monitor_spool_leave(MonitorSpool *spool);

/* Removes the file if it holds nothing. */
void monitor_spool_remove(MonitorSpool *spool);
