/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Container logs in files: their two formats, their names, and reading them back. berth-monitor writes them.
 *
 * A log is a file NAME, which grows, and what it was before: NAME.1, the newest of these, NAME.2 and so on, each plain
 * or, with ".gz" behind, compressed. Where both are there (the compressing was interrupted) the plain one counts. Every
 * record is one line of the file, so a damaged one spoils no other:
 *     json-file  {"log":"TEXT\n","stream":"stdout","attrs":{...},"time":"RFC 3339"}, as Docker Engine writes it;
 *                without the \n for a piece of a line that goes on in the stream's next record
 *     local      16 hexadecimal digits (nanoseconds since the epoch), a letter (o: output, e: errors; O and E for a
 *                piece), the text as it is, a newline
 * Users may edit, cut or empty these files: what cannot be read is passed over. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "berth/buffer.h"

/* A longer line of output becomes several records. */
#define LOGFILE_PIECE (16u * 1024)
/* A longer record is no record. */
#define LOGFILE_RECORD_MAX (4u * 1024 * 1024)
/* Beside the log: what is going to replace one of its files. */
#define LOGFILE_NEXT ".next"

typedef enum LogfileFormat {
        LOGFILE_JSON,
        LOGFILE_LOCAL,
} LogfileFormat;

typedef struct LogfileRecord {
        int64_t time_ns; /* since the epoch */
        bool standard_error;
        bool ended;     /* a newline followed it */
        bool continued; /* of records read: it does not begin a line */
        const char *data;
        size_t size;            /* without the newline */
        const char *attributes; /* of records read: the text of a JSON object, or NULL */
        size_t attributes_size;
} LogfileRecord;

/* --- Writing ------------------------------------------------------------------------------------------------------ */

typedef struct LogfileEncoder {
        LogfileFormat format;
        const char *attributes; /* the text of a JSON object for each record, not owned; or NULL */
        int64_t second;         /* what `stamp` was made for */
        char stamp[32];
} LogfileEncoder;

/* Appends one record. 0 or -ENOMEM, nothing appended. */
int logfile_encode(LogfileEncoder *encoder, const LogfileRecord *record, Buffer *out);

/* How many of the first LIMIT bytes of a line make a piece that cuts no character in two. */
size_t logfile_piece(const char *data, size_t limit);

/* --- Names -------------------------------------------------------------------------------------------------------- */

typedef struct LogfileName {
        unsigned number; /* 0: the file that grows */
        bool compressed;
        uint64_t inode;
        int64_t modified_ns;
} LogfileName;

/* The files there are, oldest first. The array is the caller's. 0 or negative errno. */
int logfile_list(int directory, const char *name, LogfileName **ret_names, size_t *ret_n);

/* NAME.NUMBER or NAME.NUMBER.gz, or NAME; the caller's. NULL when out of memory. */
char *logfile_path(const char *name, unsigned number, bool compressed);

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* One line of a file, without its newline. Text that needs it is unescaped into TEXT, which may be NULL: then the
 * record's data is not what it stands for. 0, or -EBADMSG where it is no record. */
int logfile_decode(LogfileFormat format, const char *line, size_t size, Buffer *text, LogfileRecord *ret_record);

typedef struct LogfileQuery {
        const char *path; /* of the file that grows */
        LogfileFormat format;
        int64_t since_ns; /* inclusive; 0: from the beginning */
        int64_t until_ns; /* inclusive; 0: no end */
        int64_t tail;     /* the last N lines; negative: all */
        bool standard_output;
        bool standard_error;
        bool follow;
        int ended_fd;  /* with follow: readable (POLLIN) once nobody writes any more; negative: already so */
        int client_fd; /* watched for hang-up while waiting; negative: not watched */
} LogfileQuery;

/* Calls RECORD for each record in order, oldest first, until there is no more, or, following, until the log has ended
 * and all is read or the client hung up. RECORD returns non-zero to stop, which is returned. 0 or negative errno
 * otherwise. Blocks: for a worker process. */
int logfile_read(const LogfileQuery *query, int (*record)(const LogfileRecord *record, void *userdata), void *userdata);
