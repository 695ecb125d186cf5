/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file in which a monitor keeps the log records that journald has not taken yet: <data root>/spool/ID, made when
 * journald falls behind. One process writes and drains it, and holds a write lock on all of it (fcntl(2)) as long as it
 * lives; the lock names that process and ends with it, so anybody can see whether somebody drains.
 *
 * Numbers are in the host's order: the file does not leave the host. It begins with a SpoolHeader, replaced with single
 * writes; records follow, each a SpoolRecordHeader and its payload. What lies before `sent` is history and its blocks
 * are given back. A power cut may leave a damaged end, which the checksums tell. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SPOOL_DIRECTORY "spool"
#define SPOOL_MAGIC UINT64_C(0x316c6f6f70736762)

typedef struct SpoolHeader {
        uint64_t magic;
        uint64_t generation; /* counts how often the file was emptied */
        uint64_t sent;       /* all records before this offset were sent to journald; some behind it may have been */
        int64_t before_us;   /* those were sent after this moment of the real-time clock, and nothing else was */
        uint64_t fields;     /* the offset of the SPOOL_FIELDS that hold for the record at `sent` */
        uint64_t exact;      /* 1: none behind `sent` was sent, its owner has stopped in good order */
} SpoolHeader;

typedef enum SpoolKind {
        SPOOL_LINE = 1, /* the message */
        SPOOL_ENTRY,    /* a whole entry of the native protocol, too large for a datagram */
        SPOOL_FIELDS,   /* not a record: the fields that the entries of those behind it begin with */
} SpoolKind;

typedef struct SpoolRecordHeader {
        uint32_t checksum; /* spool_checksum() of the rest of this and the payload */
        uint32_t size;     /* of the payload */
        uint8_t kind;      /* SpoolKind */
        uint8_t priority;  /* syslog's number */
        uint8_t partial;   /* 0 or 1 */
        uint8_t zero;
} SpoolRecordHeader;

/* The largest payloads. */
#define SPOOL_LINE_MAX (64u * 1024)
#define SPOOL_ENTRY_MAX (1024u * 1024)

#define SPOOL_CHECKSUM_INIT UINT32_C(2166136261)
uint32_t spool_checksum(uint32_t sum, const void *data, size_t size);

/* Whether a record's header makes sense, whatever bytes it was read from. */
bool spool_record_is_sane(const SpoolRecordHeader *record);

typedef struct SpoolStatus {
        pid_t owner; /* 0: nobody */
        SpoolHeader header;
        uint64_t size; /* of the file; all is drained where `sent` has reached it */
} SpoolStatus;

/* -ENOENT where there is none. A file that was cut off before its header was whole is one that holds nothing. */
int spool_status(const char *path, SpoolStatus *ret_status);

static inline bool spool_is_drained(const SpoolStatus *status)
{
        return status->header.sent >= status->size;
}

/* Waits until all that the file holds now is with journald, whoever sends it, for as long as that gets on; or until
 * CLIENT_FD (negative: none) hangs up: -ECANCELED. -ETIME when nothing was sent for a minute. Blocks. */
int spool_wait(const char *path, int client_fd);
