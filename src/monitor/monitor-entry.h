/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One entry in journald's native protocol: fields of text, then MESSAGE in the binary-safe form. */
#pragma once

#include <stdint.h>
#include <sys/uio.h>

#include "berth/buffer.h"
#include "monitor-queue.h"

#define MONITOR_ENTRY_IOV 4

typedef struct MonitorEntryFields {
        const char *id, *name, *image, *tag;
        const char *more; /* whole fields, each with its newline; or NULL */
} MonitorEntryFields;

/* The fields that all entries of a container begin with. 0 or -ENOMEM. */
int monitor_entry_prefix(const MonitorEntryFields *fields, Buffer *ret_prefix);

/* An entry's parts, pointing into the arguments. EXTRA holds further fields, or is empty. Returns their number. */
size_t monitor_entry_iov(const Buffer *prefix, const MonitorQueue *queue, size_t offset, const char *extra,
                         struct iovec iov[static MONITOR_ENTRY_IOV]);

/* Makes a memory file with an entry up to its message, which the caller writes behind it, and completes it. The message
 * starts at *ret_message. */
int monitor_entry_file_begin(const Buffer *prefix, uint8_t priority, off_t *ret_message);
int monitor_entry_file_end(int fd, off_t message, uint64_t size, bool partial);

/* A copy of a complete memory file that begins with further fields. */
int monitor_entry_file_again(int fd, const char *extra);

/* An entry's memory file is whole: journald maps only sealed files without copying. */
int monitor_entry_file_seal(int fd);
