/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-file.h. The file only ever grows by whole records: what a failed write left of one is cut off again. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "berth/cleanup.h"
#include "berth/log.h"
#include "monitor-file.h"

#define OUT_MAX (32u * 1024)
#define TELL_EVERY_NS INT64_C(30000000000)

static int open_file(MonitorFile *file)
{
        CLEANUP_CLOSE int fd = open(file->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
        struct stat st;
        char last;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        file->size = (uint64_t) st.st_size;
        /* A crash left half a record; one of the other format does no harm to those behind it. */
        if (file->encoder.format == LOGFILE_JSON && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 &&
            last != '\n' && write(fd, "\n", 1) == 1)
                file->size++;
        file->fd = TAKE_FD(fd);
        return 0;
}

/* How many whole records there are, and where the last of them ends. */
static uint64_t count_records(const MonitorFile *file, const char *data, size_t size, size_t *ret_end)
{
        size_t at = 0, start, length, next;
        uint64_t n = 0;

        for (; logfile_find(file->encoder.format, data + at, size - at, &start, &length, &next); n++)
                at += next;
        if (ret_end)
                *ret_end = at;
        return n;
}

static void tell_lost(MonitorFile *file, int error, uint64_t n)
{
        int64_t now = time_now_ns();

        file->lost += n;
        file->gap += n;
        if (!file->telling && now - file->told_ns >= TELL_EVERY_NS) {
                log_warning_errno(error, "%s takes no more, the container's output is dropped until it does",
                                  file->path);
                file->told_ns = now;
                file->telling = true;
        }
}

/* 0, or a negative errno and what was not written is lost. */
static int flush(MonitorFile *file)
{
        Buffer *out = &file->out;
        size_t done = 0;
        int r = file->fd < 0 ? open_file(file) : 0;

        while (r >= 0 && done < out->size) {
                ssize_t n = write(file->fd, out->data + done, out->size - done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        r = -errno;
                else
                        done += (size_t) n;
        }
        if (r < 0) {
                size_t whole;
                uint64_t n =
                        count_records(file, out->data, out->size, NULL) - count_records(file, out->data, done, &whole);
                struct stat st;

                if (done > whole && fstat(file->fd, &st) >= 0 &&
                    ftruncate(file->fd, st.st_size - (off_t) (done - whole)) < 0)
                        log_debug("cannot cut %s: %s", file->path, strerror(errno));
                tell_lost(file, r, n);
                done = whole;
        }
        file->size += done;
        out->size = 0;
        return r;
}

/* --- Rotation ----------------------------------------------------------------------------------------------------- */

static int rename_number(const char *path, unsigned from, unsigned to, bool compressed)
{
        CLEANUP_FREE char *source = logfile_path(path, from, compressed);
        CLEANUP_FREE char *target = logfile_path(path, to, compressed);

        if (!source || !target)
                return -ENOMEM;
        return rename(source, target) < 0 && errno != ENOENT ? -errno : 0;
}

static void remove_number(const char *path, unsigned number)
{
        for (int compressed = 0; compressed < 2; compressed++) {
                CLEANUP_FREE char *name = logfile_path(path, number, compressed);

                if (name)
                        (void) unlink(name);
        }
}

/* The next file is made first: without it the old one goes on. */
static int rotate(MonitorFile *file)
{
        CLEANUP_FREE char *next = str_printf("%s" LOGFILE_NEXT, file->path);
        CLEANUP_CLOSE int fd =
                next ? open(next, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640) : -EBADF;
        int r = 0;

        if (fd < 0)
                return next ? -errno : -ENOMEM;
        if (file->files > 1)
                remove_number(file->path, (unsigned) file->files - 1);
        for (unsigned i = (unsigned) file->files - 1; r >= 0 && i > 1; i--) {
                r = rename_number(file->path, i - 1, i, false);
                if (r >= 0)
                        r = rename_number(file->path, i - 1, i, true);
        }
        if (r >= 0 && file->files > 1)
                r = rename_number(file->path, 0, 1, false);
        if (r >= 0 && rename(next, file->path) < 0)
                r = -errno;
        if (r < 0)
                return r;
        fd_close(file->fd);
        file->fd = TAKE_FD(fd);
        file->size = 0;
        monitor_compress_rotated(&file->compress, (unsigned) file->files);
        monitor_compress_begin(&file->compress, file->path);
        return 0;
}

static void make_room(MonitorFile *file)
{
        struct stat st;
        int r;

        if (file->limit == 0 || file->size + file->out.size < file->limit)
                return;
        if (flush(file) < 0)
                return;
        /* A user may have emptied it. */
        if (fstat(file->fd, &st) >= 0)
                file->size = (uint64_t) st.st_size;
        if (file->size < file->limit)
                return;
        r = rotate(file);
        if (r < 0) {
                log_debug("cannot rotate %s: %s", file->path, strerror(-r));
                file->size = 0; /* it is tried again one limit later */
        }
}

/* --- Records ------------------------------------------------------------------------------------------------------ */

static void put_record(MonitorFile *file, const LogfileRecord *record)
{
        make_room(file);
        if (logfile_encode(&file->encoder, record, &file->out) < 0)
                tell_lost(file, ENOMEM, 1);
        if (file->out.size >= OUT_MAX)
                (void) flush(file);
}

/* A record of what was lost, in the place where it would have been. */
static void put_gap(MonitorFile *file)
{
        char text[128];
        uint64_t gap = file->gap;
        LogfileRecord record = { .time_ns = time_now_ns(), .standard_error = true, .ended = true, .data = text };

        if (gap == 0)
                return;
        record.size = (size_t) snprintf(
                text, sizeof(text), "berth-monitor: the log took no more, %" PRIu64 " lines of output are lost here",
                gap);
        file->gap = 0;
        put_record(file, &record);
        if (flush(file) < 0) {
                file->gap = gap;
                return;
        }
        if (file->telling)
                log_warning("%s takes lines again, %" PRIu64 " were lost", file->path, gap);
        file->telling = false;
}

static void put(MonitorFile *file, bool error_stream, const char *data, size_t size, bool ended)
{
        MonitorFileLine *line = &file->lines[error_stream];
        LogfileRecord record = { .time_ns = line->time_ns ? line->time_ns : time_now_ns(),
                                 .standard_error = error_stream,
                                 .ended = ended,
                                 .data = data,
                                 .size = size };

        if (line->ordinal == 0 && !ended && id_generate(line->id) < 0)
                line->id[0] = '\0';
        if (line->ordinal > 0 || !ended) {
                record.line_id = line->id;
                record.ordinal = ++line->ordinal;
        }
        put_record(file, &record);
        line->time_ns = ended ? 0 : record.time_ns;
        if (ended)
                line->ordinal = 0;
}

/* Takes output up to the end of a line or of a piece, or all of it. */
static size_t take(MonitorFile *file, bool error_stream, const char *data, size_t size)
{
        Buffer *text = &file->lines[error_stream].text;
        const char *newline = memchr(data, '\n', MIN(size, LOGFILE_PIECE - text->size));
        size_t length = newline ? (size_t) (newline - data) : MIN(size, LOGFILE_PIECE - text->size);

        if (newline && text->size == 0) {
                put(file, error_stream, data, length, true);
                return length + 1;
        }
        if (buffer_append(text, data, length) < 0) {
                text->size = 0;
                tell_lost(file, ENOMEM, 1);
        }
        if (newline) {
                put(file, error_stream, text->data, text->size, true);
                text->size = 0;
                return length + 1;
        }
        if (text->size == LOGFILE_PIECE) {
                size_t piece = logfile_piece(text->data, text->size);

                put(file, error_stream, text->data, piece, false);
                buffer_consume(text, piece);
        }
        return length;
}

void monitor_file_feed(MonitorFile *file, bool error_stream, const char *data, size_t size)
{
        put_gap(file);
        for (size_t taken = 0; taken < size;)
                taken += take(file, error_stream, data + taken, size - taken);
        (void) flush(file);
}

void monitor_file_finish(MonitorFile *file)
{
        for (size_t i = 0; i < ARRAY_SIZE(file->lines); i++) {
                Buffer *text = &file->lines[i].text;

                if (text->size > 0)
                        put(file, i == 1, text->data, text->size, false);
                text->size = 0;
        }
        (void) flush(file);
        put_gap(file);
}

/* Of a turn, or a compression, that was cut off: neither is a part of the log before it has its name. */
static void remove_leftovers(const char *path)
{
        static const char *const suffixes[] = { LOGFILE_NEXT, LOGFILE_NEXT_COMPRESSED };

        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                CLEANUP_FREE char *next = str_printf("%s%s", path, suffixes[i]);

                if (next)
                        (void) unlink(next);
        }
}

void monitor_file_init(MonitorFile *file, const char *path, LogfileFormat format, uint64_t limit, int64_t files,
                       const char *compress)
{
        int r;

        *file = (MonitorFile) {
                .path = path, .fd = -EBADF, .limit = limit, .files = files, .encoder = { .format = format }
        };
        remove_leftovers(path);
        file->compress.program = compress;
        monitor_compress_begin(&file->compress, path);
        r = open_file(file);
        if (r < 0)
                log_warning_errno(r, "cannot open %s", path);
}

void monitor_file_deinit(MonitorFile *file)
{
        for (size_t i = 0; i < ARRAY_SIZE(file->lines); i++)
                buffer_clear(&file->lines[i].text);
        buffer_clear(&file->out);
        monitor_compress_stop(&file->compress);
        file->fd = fd_close(file->fd);
}
