/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Container logs in files: their two formats, their names, and reading them back. berth-monitor writes them.
 *
 * A log is a file NAME, which grows, and what it was before: NAME.1, the newest of these, NAME.2 and so on, each plain
 * or, with ".gz" behind, compressed. Where both are there (the compressing was interrupted) the plain one counts.
 * Both formats are Docker Engine's own, byte for byte:
 *     json-file  {"log":"TEXT\n","stream":"stdout","attrs":{...},"time":"RFC 3339"} in a line; without the \n for a
 *                piece of a line that goes on in the stream's next record
 *     local      a record's length, its protocol buffer (src/logfile/logfile-local.c), and the length again, lengths
 *                being four bytes, the highest first
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
/* Beside the log: the file that is going to take its place, and that of a compressed one. */
#define LOGFILE_NEXT ".next"
#define LOGFILE_NEXT_COMPRESSED ".gz.next"

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
        const char *line_id;    /* of pieces written: ID_LENGTH characters, the same for all of a line; or NULL */
        unsigned ordinal;       /* of pieces written: from 1; 0: the whole line */
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

/* Opens the directory that the log at PATH is in; the descriptor is the caller's. *RET_NAME is a part of PATH. */
int logfile_open_directory(const char *path, const char **ret_name);

/* The files there are, oldest first. The array is the caller's. 0 or negative errno. */
int logfile_list(int directory, const char *name, LogfileName **ret_names, size_t *ret_n);

/* NAME.NUMBER or NAME.NUMBER.gz, or NAME; the caller's. NULL when out of memory. */
char *logfile_path(const char *name, unsigned number, bool compressed);

/* --- Compressing -------------------------------------------------------------------------------------------------- */

/* Writes all that IN has to OUT, in gzip's format, and gives OUT the time of IN's last change; what is there is on the
 * disk when this returns. 0 or negative errno. Blocks: for a process of its own. */
int logfile_compress(int in, int out);

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* The first record that DATA has: where it starts, its size without what stands around it, and where the next may
 * begin. False where none is whole yet: then nothing before *ret_next is of any use. */
bool logfile_find(LogfileFormat format, const char *data, size_t size, size_t *ret_start, size_t *ret_size,
                  size_t *ret_next);

/* One record as logfile_find() found it. Text that needs it is unescaped into TEXT, which may be NULL: then the
 * record's data is not what it stands for. 0, or -EBADMSG where it is no record. */
int logfile_decode(LogfileFormat format, const char *data, size_t size, Buffer *text, LogfileRecord *ret_record);

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
        /* Without follow: called with RECORD's USERDATA as soon as it is settled what will be read, which is all that
         * was there before; negative ends it. NULL: nobody asks. */
        int (*ready)(void *userdata);
} LogfileQuery;

/* Calls RECORD for each record in order, oldest first, until there is no more, or, following, until the log has ended
 * and all is read or the client hung up. RECORD returns non-zero to stop, which is returned. 0 or negative errno
 * otherwise. Blocks: for a worker process. */
int logfile_read(const LogfileQuery *query, int (*record)(const LogfileRecord *record, void *userdata), void *userdata);
