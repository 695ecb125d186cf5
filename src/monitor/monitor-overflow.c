/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way of a journal's records through its spool file. While the spool is active, everything that was not sent is in
 * the file; the queue holds copies of the next few, and the sent ones that journald may still lose. So this process may
 * be killed at any moment: who comes next finds all that journald did not get, and by the journal's own times how much
 * of what lies behind the header's `sent` it did. */
#include <errno.h>
#include <string.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/log.h"
#include "monitor-journal.h"

#define REFILL_MAX 64u
#define PRIORITY_DAMAGE 4
#define DAMAGE "berth-monitor: the log records waiting on the disk are damaged, lines of output are lost here"

/* The spool's records that were not sent are in its file, so the queue's are added behind those. */
static int move_unsent(MonitorJournal *journal)
{
        MonitorQueue *queue = &journal->queue;
        int r = monitor_spool_append_fields(&journal->spool, &journal->prefix);

        for (size_t at = queue->sent; r >= 0 && at < queue->tail; at = monitor_queue_next(queue, at)) {
                const MonitorRecord *record = monitor_queue_at(queue, at);
                size_t size;
                const char *message = record->memfd < 0 ? monitor_queue_message(queue, at, &size) : NULL;

                r = monitor_spool_append(&journal->spool, record, message ? message + sizeof(uint64_t) : NULL);
        }
        return r < 0 ? r : monitor_spool_flush(&journal->spool);
}

int monitor_journal_spool(MonitorJournal *journal)
{
        MonitorSpool *spool = &journal->spool;
        int r = 0;

        if (spool->active)
                return monitor_spool_flush(spool);
        if (!spool->path || spool->limit < MONITOR_QUEUE_MAX)
                return -ENOBUFS;
        if (spool->fd < 0)
                r = monitor_spool_open(spool, 0);
        if (r >= 0)
                r = monitor_spool_begin(spool, monitor_journal_time(journal));
        if (r >= 0) {
                r = move_unsent(journal);
                if (r < 0)
                        monitor_spool_reset(spool);
        }
        if (r < 0) {
                log_debug("cannot spool: %s", strerror(-r));
                return r;
        }
        monitor_queue_cut(&journal->queue);
        return 0;
}

bool monitor_journal_has_room(const MonitorJournal *journal, size_t size)
{
        const MonitorSpool *spool = &journal->spool;

        if (spool->active)
                return monitor_spool_has_room(spool, size);
        return (spool->path && spool->limit >= MONITOR_QUEUE_MAX) ||
               journal->queue.tail - journal->queue.head + size <= MONITOR_QUEUE_MAX;
}

int monitor_journal_append(MonitorJournal *journal, MonitorRecord *record, const char *message, int64_t now)
{
        int r;

        if (!journal->spool.active) {
                r = monitor_queue_append(&journal->queue, record, message);
                if (r != -ENOBUFS || !journal->spool.path)
                        return r;
                monitor_journal_send(journal, now);
                r = monitor_queue_append(&journal->queue, record, message);
                if (r != -ENOBUFS || monitor_journal_spool(journal) < 0)
                        return r;
        }
        r = monitor_spool_append(&journal->spool, record, message);
        if (r >= 0)
                record->memfd = fd_close(record->memfd);
        return r;
}

int monitor_journal_use_spool(MonitorJournal *journal, const char *path, uint64_t limit, uint64_t skip, bool fields)
{
        MonitorSpool *spool = &journal->spool;
        int r;

        monitor_spool_init(spool, path, limit);
        if (access(path, F_OK) < 0)
                return 0;
        r = monitor_spool_open(spool, skip);
        if (r < 0 || !spool->active)
                return r;
        r = monitor_spool_mark(spool, monitor_journal_time(journal));
        if (r >= 0 && fields)
                r = monitor_spool_append_fields(spool, &journal->prefix);
        return r;
}

int monitor_journal_leave(MonitorJournal *journal)
{
        journal->leaving = true;
        if (!journal->spool.active)
                return 0;
        monitor_queue_cut(&journal->queue);
        return monitor_spool_leave(&journal->spool);
}

/* False where records with other fields are still in the queue. */
static bool use_fields(MonitorJournal *journal, const MonitorSpooled *record)
{
        if (journal->queue.head < journal->queue.tail)
                return false;
        monitor_spool_accept_fields(&journal->spool, record);
        journal->current = &journal->prefix;
        if (record->size == journal->prefix.size && memcmp(record->data, journal->prefix.data, record->size) == 0)
                return true;
        journal->current = &journal->adopted;
        journal->adopted.size = 0;
        (void) buffer_append(&journal->adopted, record->data, record->size);
        return true;
}

/* False when the queue is full. */
static bool queue_record(MonitorJournal *journal, const MonitorSpooled *spooled)
{
        MonitorRecord record = { .memfd = spooled->memfd,
                                 .size = spooled->memfd < 0 ? spooled->size : 0,
                                 .priority = spooled->priority,
                                 .partial = spooled->partial,
                                 .spool_end = spooled->end };

        if (monitor_queue_append(&journal->queue, &record, spooled->data) >= 0)
                return true;
        fd_close(spooled->memfd);
        return false;
}

/* What cannot be read is lost, and so is all behind it. */
static void give_up_spool(MonitorJournal *journal, int error)
{
        MonitorRecord gap = { .memfd = -EBADF, .priority = PRIORITY_DAMAGE, .size = sizeof(DAMAGE) - 1 };

        log_error_errno(-error, "the log records on the disk are lost");
        monitor_spool_reset(&journal->spool);
        (void) monitor_queue_append(&journal->queue, &gap, DAMAGE);
}

size_t monitor_journal_refill(MonitorJournal *journal, int64_t now)
{
        MonitorSpool *spool = &journal->spool;
        MonitorSpooled record;
        size_t n = 0;
        int r = 0;

        if (!spool->active || journal->leaving)
                return 0;
        while (n < REFILL_MAX && (r = monitor_spool_read(spool, &record)) > 0) {
                if (record.kind == SPOOL_FIELDS ? use_fields(journal, &record) : queue_record(journal, &record)) {
                        n += record.kind != SPOOL_FIELDS;
                        continue;
                }
                monitor_spool_unread(spool);
                monitor_journal_press(journal, now);
                return n;
        }
        if (n > 0)
                return n;
        if (r < 0)
                give_up_spool(journal, r);
        else
                monitor_spool_reset(spool);
        return r < 0;
}
