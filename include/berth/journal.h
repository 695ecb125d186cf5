/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading container logs back from the journal (sd-journal(3)), and the unit-wise lifting of journald's rate limit. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
        const char *spool_path; /* where records wait that are to be seen too; NULL: none do */
} JournalQuery;

typedef struct JournalLine {
        const char *data; /* without the newline; lines that came in parts are joined */
        size_t size;
        bool standard_error;
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

/* Makes journald keep every line of UNIT ("berth-ID.scope"): systemd's own per-unit links in /run/systemd/units with
 * the value 0 (systemd-journald.service(8), LogRateLimitIntervalSec= in systemd.exec(5)). To be made before the unit
 * starts and removed when it is gone. */
int journal_lift_rate_limit(const char *unit);
void journal_restore_rate_limit(const char *unit);
