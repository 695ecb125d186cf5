/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a container's log: a worker of its own writes it to the client and lives as long as that takes, whatever
 * becomes of the daemon. */
#include <arpa/inet.h>
#include <ctype.h>

#include "berth/json.h"
#include "engine-logs.h"

#define PENDING_MAX (64u * 1024)

static int flush_pending(LogJob *job)
{
        int r = stream_write(&job->stream, job->pending.data, job->pending.size);

        job->pending.size = 0;
        return r;
}

static int write_text(LogJob *job, const JournalLine *line, bool continued, bool ended)
{
        char stamp[TIME_RFC3339_SIZE + 1] = "";

        if (job->timestamps && !continued) {
                time_format_rfc3339_fixed(line->time_ns, stamp);
                strcat(stamp, " ");
        }
        size_t details = job->details && !continued ? strlen(job->details) : 0;
        size_t size = strlen(stamp) + details + line->size + ended;
        if (job->multiplexed) {
                uint32_t header[2] = { 0, htonl((uint32_t) size) };
                *(uint8_t *) header = line->standard_error ? 2 : 1;
                buffer_append(&job->pending, header, sizeof(header));
        }
        buffer_append_string(&job->pending, stamp);
        if (details > 0)
                buffer_append_string(&job->pending, job->details);
        buffer_append(&job->pending, line->data, line->size);
        int r = buffer_append(&job->pending, "\n", ended);
        if (r >= 0 && (job->query.follow || job->pending.size >= PENDING_MAX))
                r = flush_pending(job);
        return r;
}

static int write_line(const JournalLine *line, void *userdata)
{
        return write_text(userdata, line, false, !line->unfinished);
}

static int write_record(const LogfileRecord *record, void *userdata)
{
        const JournalLine line = { .data = record->data,
                                   .size = record->size,
                                   .standard_error = record->standard_error,
                                   .time_ns = record->time_ns };

        return write_text(userdata, &line, record->continued, record->ended);
}

static int read_files(LogJob *job)
{
        const LogfileQuery query = { .path = job->path,
                                     .format = job->format,
                                     .since_ns = job->query.since_ns,
                                     .until_ns = job->query.until_ns,
                                     .tail = job->query.tail,
                                     .standard_output = job->query.standard_output,
                                     .standard_error = job->query.standard_error,
                                     .follow = job->query.follow,
                                     .ended_fd = job->query.ended_fd,
                                     .client_fd = job->query.client_fd,
                                     .ready = job->query.ready };

        return logfile_read(&query, write_record, job);
}

int log_job_write(LogJob *job)
{
        int r = job->path ? read_files(job) : journal_read_lines(&job->query, write_line, job);

        return r >= 0 && job->pending.size > 0 ? flush_pending(job) : r;
}

static int run_logs(void *userdata, int result_fd)
{
        LogJob *job = userdata;
        (void) result_fd;

        int r = stream_begin(&job->stream);
        if (r >= 0)
                r = log_job_write(job);
        return r < 0 ? r : stream_end(&job->stream);
}

/* As Go's url.QueryEscape. */
static int append_escaped(Buffer *out, const char *text)
{
        int r = 0;

        for (; *text && r >= 0; text++)
                if (isalnum((unsigned char) *text) || strchr("-_.~", *text))
                        r = buffer_append(out, text, 1);
                else
                        r = *text == ' ' ? buffer_append(out, "+", 1)
                                         : buffer_printf(out, "%%%02X", (unsigned char) *text);
        return r;
}

static int compare_keys(const void *a, const void *b)
{
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* "KEY=VALUE,KEY=VALUE ", by their names. */
static char *details_text(const Container *container)
{
        const json_t *log = json_object_get(container_host_config(container), "LogConfig");
        CLEANUP_JSON json_t *attributes = container_log_attributes(container);
        CLEANUP_FREE char *tag = container_log_tag(container);
        size_t n = 0, count = json_object_size(attributes) + 1;
        CLEANUP_FREE const char **keys = calloc(count, sizeof(*keys));
        CLEANUP_BUFFER Buffer text = { 0 };
        const char *key;
        json_t *value;
        int r = 0;

        if (!attributes || !tag || !keys)
                return NULL;
        if (*tag && str_equal(json_get_string(log, "Type"), "json-file") && json_set_string(attributes, "tag", tag) < 0)
                return NULL;
        json_object_foreach(attributes, key, value) {
                if (n < count)
                        keys[n++] = key;
        }
        qsort(keys, n, sizeof(*keys), compare_keys);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                r = buffer_append_string(&text, i > 0 ? "," : "");
                if (r >= 0)
                        r = append_escaped(&text, keys[i]);
                if (r >= 0)
                        r = buffer_append(&text, "=", 1);
                if (r >= 0)
                        r = append_escaped(&text, json_get_string_or(attributes, keys[i], ""));
        }
        return r < 0 || buffer_append(&text, " ", 1) < 0 ? NULL : buffer_take(&text);
}

int container_logs_check(Container *container, Error *error)
{
        const json_t *log = json_object_get(container_host_config(container), "LogConfig");

        if (str_equal(json_get_string(log, "Type"), "none"))
                return error_set(error, OUTCOME_NOT_IMPLEMENTED, "configured logging driver does not support reading");
        return 0;
}

void log_job_init(LogJob *job, Container *container, const ContainerLogs *logs, Stream *stream)
{
        const json_t *log = json_object_get(container_host_config(container), "LogConfig");

        *job = (LogJob) { .query = { .container_id = container->id,
                                     .since_ns = logs->since_ns,
                                     .until_ns = logs->until_ns,
                                     .tail = logs->tail,
                                     .standard_output = logs->standard_output,
                                     .standard_error = logs->standard_error,
                                     .follow = logs->follow && container_is_running(container),
                                     .ended_fd = container->monitor_fd,
                                     .client_fd = stream->fd },
                          .multiplexed = !logs->raw && !container_has_terminal(container),
                          .timestamps = logs->timestamps,
                          .format = str_equal(json_get_string(log, "Type"), "local") ? LOGFILE_LOCAL : LOGFILE_JSON,
                          .spool = engine_spool_path(container->engine, container->id),
                          .path = container_log_path(container),
                          .details = logs->details ? details_text(container) : NULL };
        stream_move(&job->stream, stream);
        job->query.spool_path = job->spool;
}

void log_job_clear(LogJob *job)
{
        stream_clear(&job->stream);
        buffer_clear(&job->pending);
        free(job->spool);
        free(job->path);
        free(job->details);
}

int container_logs(Container *container, const ContainerLogs *logs, Stream *stream)
{
        CLEANUP_LOG_JOB LogJob job = { .stream = STREAM_INIT };
        int keep[2] = { stream->fd, container->monitor_fd };
        WorkerJob worker = { .run = run_logs,
                             .userdata = &job,
                             .keep_fds = keep,
                             .n_keep_fds = container->monitor_fd >= 0 ? 2 : 1,
                             .detached = true };

        log_job_init(&job, container, logs, stream);
        return engine_worker_start(container->engine, &worker);
}
