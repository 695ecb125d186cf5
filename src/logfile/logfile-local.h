/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of the driver local. */
#pragma once

#include "berth/logfile.h"

/* No longer record is written: a piece of text, and what is around it. */
#define LOGFILE_LOCAL_MAX (4 * LOGFILE_PIECE)
#define LOGFILE_LOCAL_LENGTH 4
/* What stands around a record's text, at most. */
#define LOGFILE_LOCAL_FRAME 160

/* Writes a record at OUT, which has room for the text and the frame. Returns where it ends. */
char *logfile_local_put(char *out, const LogfileRecord *record);

/* A record without its lengths. RECORD is empty before. 0 or -EBADMSG. */
int logfile_local_decode(const char *data, size_t size, LogfileRecord *record);

/* The length that stands before and behind a record. False where it can be none. */
bool logfile_local_length(const char bytes[static LOGFILE_LOCAL_LENGTH], uint32_t *ret);

/* As logfile_find(). */
bool logfile_local_find(const char *data, size_t size, size_t *ret_start, size_t *ret_size, size_t *ret_next);
