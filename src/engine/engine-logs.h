/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container's log on its way to a client: made by the engine, written by a worker. */
#pragma once

#include "berth/journal.h"
#include "berth/logfile.h"
#include "engine-private.h"

typedef struct LogJob {
        Stream stream;
        JournalQuery query;
        char *spool; /* owned; the query's */
        char *path;  /* of a log in files, owned; NULL: it is in the journal */
        LogfileFormat format;
        bool multiplexed, timestamps;
        char *details; /* "key=value,... " before each line, or NULL */
        Buffer pending;
} LogJob;

/* Takes the stream over. */
void log_job_init(LogJob *job, Container *container, const ContainerLogs *logs, Stream *stream);
void log_job_clear(LogJob *job);

/* In the worker: the query's ready() is called with JOB. 0 when all is written, or negative errno. */
int log_job_write(LogJob *job);

#define CLEANUP_LOG_JOB CLEANUP(log_job_clear)
