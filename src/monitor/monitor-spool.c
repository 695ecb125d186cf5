/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-spool.h. Offsets are of the file; `pending` lies behind `end`, in memory only. The window is what was
 * last read of the file, so that draining takes few system calls. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/log.h"
#include "monitor-entry.h"
#include "monitor-spool.h"

#define CHUNK (16u * 1024)
#define BLOCK UINT64_C(4096)
#define PUNCH_SIZE (UINT64_C(1024) * 1024)
#define START sizeof(SpoolHeader)

void monitor_spool_init(MonitorSpool *spool, const char *path, uint64_t limit)
{
        *spool = (MonitorSpool) { .path = path, .limit = limit, .fd = -EBADF };
}

static void forget_memory(MonitorSpool *spool)
{
        buffer_clear(&spool->pending);
        buffer_clear(&spool->window);
}

void monitor_spool_deinit(MonitorSpool *spool)
{
        forget_memory(spool);
        spool->fd = fd_close(spool->fd);
        spool->active = false;
}

static int write_header(MonitorSpool *spool)
{
        ssize_t n = pwrite(spool->fd, &spool->header, sizeof(spool->header), 0);

        return n == (ssize_t) sizeof(spool->header) ? 0 : n < 0 ? -errno : -ENOSPC;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* Bytes of the file, good until the next call. NULL where they cannot be read. */
static const char *load(MonitorSpool *spool, uint64_t offset, size_t size)
{
        Buffer *window = &spool->window;

        if (offset < spool->window_start || offset - spool->window_start > window->size ||
            size > window->size - (offset - spool->window_start)) {
                size_t wanted = MAX(size, CHUNK);
                ssize_t n;

                window->size = 0;
                if (buffer_reserve(window, wanted) < 0)
                        return NULL;
                n = pread(spool->fd, window->data, wanted, (off_t) offset);
                if (n < (ssize_t) size)
                        return NULL;
                /* What may lie behind the end is going to be written over. */
                window->size = (size_t) MIN((uint64_t) n, spool->end - offset);
                spool->window_start = offset;
        }
        return window->data + (offset - spool->window_start);
}

/* The header of the record at an offset, whose payload was found undamaged. */
static int check_record(MonitorSpool *spool, uint64_t offset, SpoolRecordHeader *ret_header)
{
        const char *data = offset <= spool->end && sizeof(SpoolRecordHeader) <= spool->end - offset
                                   ? load(spool, offset, sizeof(SpoolRecordHeader))
                                   : NULL;
        SpoolRecordHeader header;
        uint64_t at = offset + sizeof(header);
        uint32_t sum;

        if (!data)
                return -EBADMSG;
        memcpy(&header, data, sizeof(header));
        if (!spool_record_is_sane(&header) || at + header.size > spool->end)
                return -EBADMSG;
        sum = spool_checksum(SPOOL_CHECKSUM_INIT, data + sizeof(header.checksum),
                             sizeof(header) - sizeof(header.checksum));
        for (uint32_t left = header.size; left > 0;) {
                uint32_t n = MIN(left, CHUNK);

                data = load(spool, at, n);
                if (!data)
                        return -EBADMSG;
                sum = spool_checksum(sum, data, n);
                at += n;
                left -= n;
        }
        if (sum != header.checksum)
                return -EBADMSG;
        *ret_header = header;
        return 0;
}

static int read_entry(MonitorSpool *spool, uint64_t offset, uint32_t size)
{
        CLEANUP_CLOSE int fd = memfd_create("berth-log-line", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        if (fd < 0)
                return -errno;
        while (size > 0) {
                uint32_t n = MIN(size, CHUNK);
                const char *data = load(spool, offset, n);
                int r = data ? fd_write_all(fd, data, n) : -EIO;

                if (r < 0)
                        return r;
                offset += n;
                size -= n;
        }
        int r = monitor_entry_file_seal(fd);
        return r < 0 ? r : TAKE_FD(fd);
}

/* The disk takes no more, but all that is on it was read: what waits in memory is read from there. */
static void read_pending(MonitorSpool *spool)
{
        Buffer window = spool->window;

        spool->window = spool->pending;
        spool->window_start = spool->end;
        spool->end += spool->pending.size;
        window.size = 0;
        spool->pending = window;
}

int monitor_spool_read(MonitorSpool *spool, MonitorSpooled *ret_record)
{
        MonitorSpooled record = { .memfd = -EBADF };
        SpoolRecordHeader header;
        int r;

        if (spool->read >= spool->end && spool->pending.size > 0 && monitor_spool_flush(spool) < 0)
                read_pending(spool);
        if (spool->read >= spool->end)
                return 0;
        r = check_record(spool, spool->read, &header);
        if (r < 0)
                return r;
        record.kind = header.kind;
        record.size = header.size;
        record.priority = header.priority;
        record.partial = header.partial;
        record.end = spool->read + sizeof(header) + header.size;
        if (header.kind == SPOOL_ENTRY) {
                record.memfd = read_entry(spool, spool->read + sizeof(header), header.size);
                r = MIN(record.memfd, 0);
        } else {
                record.data = load(spool, spool->read + sizeof(header), header.size);
                r = record.data ? 0 : -EIO;
        }
        if (r < 0)
                return r;
        spool->last = spool->read;
        spool->read = record.end;
        /* Found through the header rather than in its place: between it and here all was sent. */
        if (header.kind == SPOOL_FIELDS)
                spool->read = MAX(spool->read, spool->header.sent);
        *ret_record = record;
        return 1;
}

void monitor_spool_unread(MonitorSpool *spool)
{
        spool->read = spool->last;
}

void monitor_spool_accept_fields(MonitorSpool *spool, const MonitorSpooled *record)
{
        spool->header.fields = spool->last;
        spool->punched = MAX(spool->punched, (record->end + BLOCK - 1) & ~(BLOCK - 1));
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

/* Nothing half is left behind the end. Where even that fails, the checksums tell. */
static int cut_off(const MonitorSpool *spool)
{
        if (ftruncate(spool->fd, (off_t) spool->end) < 0)
                log_debug("cannot cut %s: %s", spool->path, strerror(errno));
        return -ENOBUFS;
}

int monitor_spool_flush(MonitorSpool *spool)
{
        Buffer *pending = &spool->pending;
        size_t done = 0;

        while (done < pending->size) {
                ssize_t n = pwrite(spool->fd, pending->data + done, pending->size - done, (off_t) (spool->end + done));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return cut_off(spool);
                done += (size_t) n;
        }
        spool->end += done;
        pending->size = 0;
        return 0;
}

bool monitor_spool_has_room(const MonitorSpool *spool, uint64_t size)
{
        return spool->end + spool->pending.size - MIN(spool->header.sent, spool->end) + size <= spool->limit;
}

static int append_payload(MonitorSpool *spool, SpoolRecordHeader header, const char *payload)
{
        Buffer *pending = &spool->pending;

        if (pending->size >= CHUNK && monitor_spool_flush(spool) < 0)
                return -ENOBUFS;
        header.checksum = spool_checksum(SPOOL_CHECKSUM_INIT, (const char *) &header + sizeof(header.checksum),
                                         sizeof(header) - sizeof(header.checksum));
        header.checksum = spool_checksum(header.checksum, payload, header.size);
        if (buffer_reserve(pending, sizeof(header) + header.size) < 0)
                return -ENOBUFS;
        (void) buffer_append(pending, &header, sizeof(header));
        (void) buffer_append(pending, payload, header.size);
        return 0;
}

/* A memory file is copied straight into the file, by pieces, its header last. */
static int append_entry(MonitorSpool *spool, SpoolRecordHeader header, int memfd)
{
        CLEANUP_BUFFER Buffer piece = {};
        uint64_t start;
        uint32_t done = 0;
        int r = monitor_spool_flush(spool);

        if (r < 0 || buffer_reserve(&piece, CHUNK) < 0)
                return -ENOBUFS;
        start = spool->end + sizeof(header);
        header.checksum = spool_checksum(SPOOL_CHECKSUM_INIT, (const char *) &header + sizeof(header.checksum),
                                         sizeof(header) - sizeof(header.checksum));
        while (done < header.size) {
                ssize_t n = pread(memfd, piece.data, MIN(header.size - done, CHUNK), done);

                if (n <= 0 || pwrite(spool->fd, piece.data, (size_t) n, (off_t) (start + done)) != n)
                        break;
                header.checksum = spool_checksum(header.checksum, piece.data, (size_t) n);
                done += (uint32_t) n;
        }
        if (done < header.size ||
            pwrite(spool->fd, &header, sizeof(header), (off_t) spool->end) != (ssize_t) sizeof(header))
                return cut_off(spool);
        spool->end = start + header.size;
        return 0;
}

int monitor_spool_append(MonitorSpool *spool, const MonitorRecord *record, const char *message)
{
        SpoolRecordHeader header = {
                .kind = SPOOL_LINE, .size = record->size, .priority = record->priority, .partial = record->partial
        };
        struct stat st;

        if (record->memfd >= 0) {
                if (fstat(record->memfd, &st) < 0 || st.st_size > (off_t) SPOOL_ENTRY_MAX)
                        return -ENOBUFS;
                header.kind = SPOOL_ENTRY;
                header.size = (uint32_t) st.st_size;
        }
        /* The record that says how much is missing fits in any case. */
        if (!monitor_spool_has_room(spool, record->gap ? 0 : sizeof(header) + header.size))
                return -ENOBUFS;
        return record->memfd >= 0 ? append_entry(spool, header, record->memfd) : append_payload(spool, header, message);
}

int monitor_spool_append_fields(MonitorSpool *spool, const Buffer *fields)
{
        SpoolRecordHeader header = { .kind = SPOOL_FIELDS, .size = (uint32_t) fields->size };

        return append_payload(spool, header, fields->data);
}

/* --- The file ----------------------------------------------------------------------------------------------------- */

/* A new file, or one that was cut off before it held anything. */
static int make_empty(MonitorSpool *spool)
{
        spool->active = false;
        spool->header.magic = SPOOL_MAGIC;
        spool->header.sent = spool->header.fields = START;
        spool->read = spool->end = spool->punched = START;
        spool->window.size = 0;
        if (ftruncate(spool->fd, START) < 0)
                return -errno;
        return write_header(spool);
}

/* Finds the end of what an earlier owner left: at the first record that is damaged, which nothing was written behind.
 * Of the records from `sent` on, the first SKIP were sent. */
static int take_over(MonitorSpool *spool, uint64_t size, uint64_t skip)
{
        uint64_t offset = spool->header.sent;
        SpoolRecordHeader header;

        spool->end = size;
        while (offset < size && check_record(spool, offset, &header) >= 0) {
                uint64_t next = offset + sizeof(header) + header.size;

                if (skip > 0 && header.kind == SPOOL_FIELDS) {
                        spool->header.fields = offset;
                } else if (skip > 0) {
                        spool->header.sent = next;
                        skip--;
                }
                offset = next;
        }
        if (ftruncate(spool->fd, (off_t) offset) < 0)
                return -errno;
        spool->end = offset;
        spool->window.size = 0;
        spool->read = spool->header.fields;
        spool->punched = (spool->header.sent + BLOCK - 1) & ~(BLOCK - 1);
        if (spool->header.sent >= offset)
                return make_empty(spool);
        if (check_record(spool, spool->header.fields, &header) < 0 || header.kind != SPOOL_FIELDS) {
                log_error("%s is damaged: it does not say whose records it holds", spool->path);
                return make_empty(spool);
        }
        spool->active = true;
        return 0;
}

int monitor_spool_open(MonitorSpool *spool, uint64_t skip)
{
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        CLEANUP_CLOSE int fd = open(spool->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct stat st;
        int r;

        if (fd < 0)
                return -errno;
        if (fcntl(fd, F_SETLK, &lock) < 0)
                return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        spool->fd = fd;
        if (pread(fd, &spool->header, sizeof(spool->header), 0) == (ssize_t) sizeof(spool->header) &&
            spool->header.magic == SPOOL_MAGIC && spool->header.fields >= START && spool->header.sent >= START &&
            spool->header.sent < (uint64_t) st.st_size)
                r = take_over(spool, (uint64_t) st.st_size, skip);
        else
                r = make_empty(spool);
        if (r < 0) {
                spool->fd = -EBADF;
                spool->active = false;
                return r;
        }
        (void) TAKE_FD(fd);
        return 0;
}

int monitor_spool_begin(MonitorSpool *spool, int64_t before_us)
{
        int r = monitor_spool_mark(spool, before_us);

        if (r >= 0)
                spool->active = true;
        return r;
}

int monitor_spool_mark(MonitorSpool *spool, int64_t before_us)
{
        spool->header.before_us = before_us;
        spool->header.exact = 0;
        return write_header(spool);
}

void monitor_spool_sent(MonitorSpool *spool, uint64_t sent)
{
        uint64_t blocks = sent & ~(BLOCK - 1);

        spool->header.sent = sent;
        if (blocks < spool->punched + PUNCH_SIZE)
                return;
        (void) fallocate(spool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) spool->punched,
                         (off_t) (blocks - spool->punched));
        spool->punched = blocks;
}

void monitor_spool_reset(MonitorSpool *spool)
{
        spool->header.generation++;
        (void) make_empty(spool);
        forget_memory(spool);
}

int monitor_spool_leave(MonitorSpool *spool)
{
        int r = monitor_spool_flush(spool);

        if (r < 0)
                return r;
        spool->header.exact = 1;
        return write_header(spool);
}

void monitor_spool_remove(MonitorSpool *spool)
{
        if (spool->fd >= 0 && !spool->active)
                (void) unlink(spool->path);
}
