/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-log.h. */
#include <errno.h>
#include <string.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/monitor.h"
#include "monitor-log.h"

#define PRIORITY_GAP 4
#define RESUME_ROOM (16u * 1024)

int monitor_log_init(MonitorLog *log, const MonitorEntryFields *fields, const char *journal_path, bool terminal)
{
        CLEANUP_BUFFER Buffer prefix = {};
        int r;

        *log = (MonitorLog) { .terminal = terminal };
        log->journal.socket = log->journal.daemon = log->journal.spool.fd = -EBADF;
        log->file.fd = -EBADF;
        log->lines[0].memfd = log->lines[1].memfd = -EBADF;
        if (!fields)
                return 0;
        r = monitor_entry_prefix(fields, &prefix);
        if (r >= 0)
                r = monitor_journal_init(&log->journal, journal_path, &prefix);
        log->enabled = r >= 0;
        return r;
}

static void line_reset(MonitorLine *line)
{
        line->memfd = fd_close(line->memfd);
        line->text.size = 0;
        line->size = 0;
        line->broken = line->complete = false;
}

void monitor_log_deinit(MonitorLog *log)
{
        for (size_t i = 0; i < ARRAY_SIZE(log->lines); i++) {
                line_reset(&log->lines[i]);
                buffer_clear(&log->lines[i].text);
        }
        if (log->enabled)
                monitor_journal_deinit(&log->journal);
        monitor_file_deinit(&log->file);
}

static uint8_t priority_of(const MonitorLog *log, bool error_stream)
{
        return error_stream && !log->terminal ? 3 : 6;
}

/* A record of what was lost, in the place where it would have been. */
static int append_gap(MonitorLog *log, int64_t now)
{
        MonitorRecord gap = { .memfd = -EBADF, .priority = PRIORITY_GAP, .gap = true };
        char text[128];
        int r;

        if (log->gap == 0)
                return 0;
        gap.size = (uint32_t) snprintf(
                text, sizeof(text), "berth-monitor: the journal was out of reach, %llu lines of output are lost here",
                (unsigned long long) log->gap);
        r = monitor_journal_append(&log->journal, &gap, text, now);
        if (r >= 0)
                log->gap = 0;
        return r;
}

static void count_lost(MonitorLog *log)
{
        log->lost++;
        log->gap++;
}

/* Queues one record behind that of a gap. -ENOBUFS: not now. */
static int try_append(MonitorLog *log, MonitorRecord *record, const char *text, int64_t now)
{
        int r;

        /* Once something was dropped, there has to be room for some more before the next is taken: else every second
         * record told of a gap. */
        if (log->drops && log->gap > 0 && !monitor_journal_has_room(&log->journal, record->size + RESUME_ROOM))
                return -ENOBUFS;
        r = append_gap(log, now);
        return r < 0 ? r : monitor_journal_append(&log->journal, record, text, now);
}

/* Queues one record. A memory file is the queue's or closed afterwards. -ENOBUFS: not now, nothing has happened. */
static int append(MonitorLog *log, MonitorRecord *record, const char *text, int64_t now)
{
        int r = try_append(log, record, text, now);

        if (r == -ENOBUFS && log->drops) {
                monitor_journal_send(&log->journal, now);
                r = try_append(log, record, text, now);
        }
        if (r == -ENOBUFS && !log->drops && !monitor_journal_is_gone(&log->journal, now))
                return r;
        if (r < 0) {
                fd_close(record->memfd);
                count_lost(log);
        }
        return 0;
}

/* Makes a record of the unfinished line. -ENOBUFS: not now, the line stays. */
static int line_emit(MonitorLog *log, bool error_stream, bool partial, int64_t now)
{
        MonitorLine *line = &log->lines[error_stream];
        MonitorRecord record = { .memfd = line->memfd,
                                 .size = (uint32_t) line->size,
                                 .priority = priority_of(log, error_stream),
                                 .partial = partial };
        int r;

        if (line->memfd >= 0 && !line->broken && !line->complete) {
                line->broken = monitor_entry_file_end(line->memfd, line->message, line->size, partial) < 0;
                line->complete = true;
        }
        if (line->broken) {
                count_lost(log);
        } else {
                r = append(log, &record, line->text.data, now);
                if (r < 0)
                        return r;
                line->memfd = -EBADF;
        }
        line_reset(line);
        return 0;
}

static int line_to_file(MonitorLog *log, MonitorLine *line, bool error_stream)
{
        int r = monitor_entry_file_begin(&log->journal.prefix, priority_of(log, error_stream), &line->message);

        if (r < 0)
                return r;
        line->memfd = r;
        r = fd_write_all(line->memfd, line->text.data, line->text.size);
        buffer_clear(&line->text);
        return r;
}

static void line_add(MonitorLog *log, bool error_stream, const char *data, size_t size)
{
        MonitorLine *line = &log->lines[error_stream];
        int r = 0;

        line->size += size;
        if (line->broken || size == 0)
                return;
        if (line->memfd < 0 && line->size > MONITOR_LINE_INLINE)
                r = line_to_file(log, line, error_stream);
        if (r >= 0)
                r = line->memfd >= 0 ? fd_write_all(line->memfd, data, size) : buffer_append(&line->text, data, size);
        line->broken = r < 0;
}

/* Takes output up to the end of a line, or all of it. Returns how much, or -ENOBUFS. */
static ssize_t take_line(MonitorLog *log, bool error_stream, const char *data, size_t size, int64_t now)
{
        MonitorLine *line = &log->lines[error_stream];
        const char *newline = memchr(data, '\n', size);
        size_t length = newline ? (size_t) (newline - data) : size, room = MONITOR_LINE_MAX - line->size;
        MonitorRecord record = { .memfd = -EBADF,
                                 .size = (uint32_t) length,
                                 .priority = priority_of(log, error_stream) };
        int r;

        if (length > room) {
                line_add(log, error_stream, data, room);
                r = line_emit(log, error_stream, true, now);
                /* What was added is taken either way. */
                return r < 0 && room == 0 ? r : (ssize_t) room;
        }
        if (newline && line->size == 0 && length <= MONITOR_LINE_INLINE) {
                r = append(log, &record, data, now);
                return r < 0 ? r : (ssize_t) length + 1;
        }
        line_add(log, error_stream, data, length);
        if (!newline)
                return (ssize_t) length;
        r = line_emit(log, error_stream, false, now);
        if (r < 0)
                return length == 0 ? r : (ssize_t) length;
        return (ssize_t) length + 1;
}

size_t monitor_log_feed(MonitorLog *log, bool error_stream, const char *data, size_t size, int64_t now)
{
        size_t taken = 0;
        ssize_t n;

        if (log->file.path) {
                monitor_file_feed(&log->file, error_stream && !log->terminal, data, size);
                log->lost = log->file.lost;
        }
        if (!log->enabled)
                return size;
        while (taken < size) {
                n = take_line(log, error_stream, data + taken, size - taken, now);
                if (n == -ENOBUFS) {
                        monitor_journal_send(&log->journal, now);
                        n = take_line(log, error_stream, data + taken, size - taken, now);
                }
                if (n < 0) {
                        monitor_journal_press(&log->journal, now);
                        break;
                }
                taken += (size_t) n;
        }
        /* What this process took is not lost with it; a full disk is noticed by the next record. */
        if (log->journal.spool.active)
                (void) monitor_spool_flush(&log->journal.spool);
        monitor_journal_send(&log->journal, now);
        return taken;
}

int monitor_log_unfinished(const MonitorLog *log, bool error_stream, Buffer *ret_text)
{
        const MonitorLine *line = &log->lines[error_stream];
        const Buffer *text = log->file.path ? &log->file.lines[error_stream].text : &line->text;
        CLEANUP_BUFFER Buffer copy = {};
        ssize_t n = 0;
        int r;

        if (line->memfd < 0) {
                r = buffer_append(&copy, text->data, text->size);
        } else {
                r = buffer_reserve(&copy, line->size);
                while (r >= 0 && copy.size < line->size) {
                        n = pread(line->memfd, copy.data + copy.size, line->size - copy.size,
                                  line->message + (off_t) copy.size);
                        r = n > 0 ? 0 : -EIO;
                        copy.size += (size_t) MAX(n, 0);
                }
        }
        if (r < 0)
                return r;
        *ret_text = copy;
        copy = (Buffer) {};
        return 0;
}

int monitor_log_push(MonitorLog *log)
{
        const MonitorQueue *queue = &log->journal.queue;

        return log->enabled && queue->sent < queue->tail ? monitor_journal_spool(&log->journal) : 0;
}

bool monitor_log_finish(MonitorLog *log, int64_t now)
{
        bool finished = true;

        if (log->file.path) {
                monitor_file_finish(&log->file);
                log->lost = log->file.lost;
        }
        if (!log->enabled)
                return true;
        for (size_t i = 0; i < ARRAY_SIZE(log->lines); i++)
                if (log->lines[i].size > 0 && line_emit(log, i == 1, false, now) < 0)
                        finished = false;
        if (append_gap(log, now) < 0)
                finished = false;
        monitor_journal_send(&log->journal, now);
        return finished;
}

void monitor_log_abandon(MonitorLog *log)
{
        MonitorQueue *queue = &log->journal.queue;

        if (!log->enabled || log->journal.spool.active)
                return;
        for (size_t at = queue->sent; at < queue->tail; at = monitor_queue_next(queue, at)) {
                const MonitorRecord *record = monitor_queue_at(queue, at);

                if (record->priority != PRIORITY_GAP && !record->partial)
                        log->lost++;
        }
        for (size_t i = 0; i < ARRAY_SIZE(log->lines); i++)
                if (log->lines[i].size > 0)
                        log->lost++;
}
