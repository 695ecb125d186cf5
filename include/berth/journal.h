/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading container logs back from the journal (sd-journal(3)), and the unit-wise lifting of journald's rate limit. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "berth/buffer.h"

typedef struct JournalQuery {
        const char *container_id; /* full */
        int64_t since_ns;         /* inclusive; 0: from the beginning */
        int64_t until_ns;         /* inclusive; 0: no end */
        int64_t tail;             /* the last N lines; negative: all */
        bool standard_output;
        bool standard_error;
        bool follow;
        int ended_fd;  /* with follow: readable (POLLIN) once the container's monitor has ended, such as its pidfd;
                        * negative: already ended */
        int client_fd; /* watched for hang-up while waiting; negative: not watched */
        /* Without follow: called with LINE's USERDATA as soon as it is settled what will be read, which is all that was
         * there before; negative ends it. NULL: nobody asks. */
        int (*ready)(void *userdata);
        const char *spool_path; /* where records wait that are to be seen too; NULL: none do */
} JournalQuery;

typedef struct JournalLine {
        const char *data; /* without the newline; lines that came in parts are joined */
        size_t size;
        bool standard_error;
        bool unfinished; /* the rest of the line is not there */
        int64_t time_ns;
} JournalLine;

/* Calls LINE for each line in order, oldest first, until there is no more, or, following, until the container has ended
 * and all is read or the client hung up. Everything that was sent to journald, or was in
 * the spool, before the call is seen. LINE returns
 * non-zero to stop, which is returned. 0 or negative errno otherwise. Blocks: for use in a worker process. */
int journal_read_lines(const JournalQuery *query, int (*line)(const JournalLine *line, void *userdata), void *userdata);

/* The number of records of a container that were sent to journald at this moment or later, once each. Blocks until
 * journald has stored what was sent before the call. */
int journal_count_since(const char *container_id, int64_t since_us, uint64_t *ret_count);

/* --- Events of the engine ----------------------------------------------------------------------------------------- */

/* The MESSAGE_ID of their entries (systemd.journal-fields(7)), which the message catalog explains. */
#define JOURNAL_EVENT_MESSAGE_ID "6e1f4b0c52d94f5f8a9d1c7be3a0d4c2"

/* Who asked for it; pid 0: nobody did. */
typedef struct JournalCaller {
        uid_t uid;
        pid_t pid;
        char command[32]; /* its name, as the kernel knows it */
} JournalCaller;

typedef struct JournalEvent {
        const char *type, *action, *id; /* all of these are copied into fields of the entry */
        const char *json;               /* the event as the API shows it: one line, the field BERTH_EVENT */
        JournalCaller caller;
} JournalEvent;

/* An entry of journald's native protocol. 0 or -ENOMEM. */
int journal_event_format(const JournalEvent *event, Buffer *ret_entry);

/* Sends an entry over a datagram socket that is connected to journald's; a large one in a sealed memory file. Never
 * blocks: -EAGAIN where journald does not get on. */
int journal_send(int fd, const Buffer *entry);

/* A non-blocking socket for journal_send(). */
int journal_connect(void);

typedef struct JournalEventQuery {
        int64_t since_ns; /* no entry that arrived before this; 0: the last 256 of the range */
        int64_t until_ns; /* the end, roughly: EVENT looks at an event's own time; 0: none */
        bool follow;      /* until the client hangs up, or until_ns has come */
        int wake_fd;      /* with follow: a datagram socket; whatever comes there says that there is something new */
        int client_fd;    /* watched for hang-up while waiting; negative: not watched */
} JournalEventQuery;

/* Calls EVENT with each entry's BERTH_EVENT, oldest first. What was sent before the call, or before a datagram came, is
 * seen. EVENT returns non-zero to stop, which is returned. 0 or negative errno otherwise. Blocks: for a worker. */
int journal_read_events(const JournalEventQuery *query, int (*event)(const char *json, size_t size, void *userdata),
                        void *userdata);

/* Makes journald keep every line of UNIT ("berth-ID.scope"): systemd's own per-unit links in /run/systemd/units with
 * the value 0 (systemd-journald.service(8), LogRateLimitIntervalSec= in systemd.exec(5)). To be made before the unit
 * starts and removed when it is gone. */
int journal_lift_rate_limit(const char *unit);
void journal_restore_rate_limit(const char *unit);
