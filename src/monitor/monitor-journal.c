/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-journal.h. The queue's head..sent part are the kept records, in the order in which they were sent. */
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/log.h"
#include "berth/string.h"
#include "monitor-entry.h"
#include "monitor-journal.h"

#define BATCH 64u
#define BATCHES_MAX 2u
#define SEND_BUFFER (64 * 1024)
/* A datagram takes at least its own size and so much of the socket's queue (struct sk_buff and skb_shared_info). */
#define DATAGRAM_OVERHEAD 512u
#define MSEC 1000000LL
#define RETRY_NS (50 * MSEC)
#define CONFIRM_NS (1000 * MSEC)
#define CONFIRM_AGAIN_NS (20 * MSEC)
#define HURRY_FIRST_NS (MSEC / 20)
#define HURRY_MAX_NS (10 * MSEC)

int64_t monitor_clock(void)
{
        return time_monotonic_ns();
}

int monitor_journal_init(MonitorJournal *journal, const char *path, Buffer *prefix)
{
        const char *slash = strrchr(path, '/');

        *journal = (MonitorJournal) { .path = path, .socket = -EBADF, .daemon = -EBADF, .spool.fd = -EBADF };
        journal->current = &journal->prefix;
        journal->control_path = str_printf("%.*s/io.systemd.journal", slash ? (int) (slash - path) : 0, path);
        if (!journal->control_path)
                return -ENOMEM;
        journal->prefix = *prefix;
        *prefix = (Buffer) {};
        return 0;
}

void monitor_journal_deinit(MonitorJournal *journal)
{
        free(journal->control_path);
        buffer_clear(&journal->prefix);
        buffer_clear(&journal->adopted);
        monitor_spool_deinit(&journal->spool);
        monitor_queue_clear(&journal->queue);
        fd_close(journal->socket);
        fd_close(journal->daemon);
        *journal = (MonitorJournal) { .socket = -EBADF, .daemon = -EBADF, .spool.fd = -EBADF };
}

static size_t least_cost(const MonitorJournal *journal, const MonitorRecord *record)
{
        return DATAGRAM_OVERHEAD + (record->memfd >= 0 ? 0 : journal->current->size + record->size);
}

static void forget_head(MonitorJournal *journal)
{
        const MonitorRecord *record = monitor_queue_at(&journal->queue, journal->queue.head);

        journal->flight -= least_cost(journal, record);
        if (record->resend)
                journal->resend--;
        monitor_queue_drop_head(&journal->queue);
}

/* The bytes in the socket's queue. Journald's end may have been closed, which empties the queue too: the number tells
 * something only if a later send succeeds. */
static int queue_size(const MonitorJournal *journal)
{
        int queued;

        return ioctl(journal->socket, SIOCOUTQ, &queued) < 0 ? INT_MAX : queued;
}

/* Forgets the records that are surely stored, when so much was in the socket's queue after the last of them was sent.
 */
static void confirm(MonitorJournal *journal, int queued)
{
        MonitorQueue *queue = &journal->queue;

        if (queue->head == queue->sent || journal->resend > 0)
                return;
        if (queued == 0 && journal->barrier_sent) {
                while (queue->head < queue->sent)
                        forget_head(journal);
                journal->order_lost = false;
                return;
        }
        if (journal->order_lost)
                return;
        /* The head is stored when those behind it cannot all be in the queue any more. */
        while (monitor_queue_next(queue, queue->head) < queue->sent &&
               journal->flight - least_cost(journal, monitor_queue_at(queue, queue->head)) > (size_t) queued)
                forget_head(journal);
}

/* Journald has a new socket: what waited in the old one went with it. */
static void resend_all(MonitorJournal *journal)
{
        MonitorQueue *queue = &journal->queue;

        for (size_t at = queue->head; at < queue->sent; at = monitor_queue_next(queue, at)) {
                if (!monitor_queue_at(queue, at)->resend)
                        journal->resend++;
                monitor_queue_at(queue, at)->resend = true;
        }
}

static void send_failed(MonitorJournal *journal, int error, int64_t now)
{
        if (journal->stalled_ns == 0)
                journal->stalled_ns = now;
        switch (error) {
        case EAGAIN:
                journal->blocked = true;
                return;
        case ENOBUFS:
        case ENOMEM:
        case ETOOMANYREFS:
                break;
        default:
                log_debug("journald's socket: %s", strerror(error));
                journal->socket = fd_close(journal->socket);
                resend_all(journal);
        }
        journal->retry_ns = now + RETRY_NS;
}

static bool connect_journal(MonitorJournal *journal, int64_t now)
{
        int size = SEND_BUFFER, fd;

        if (journal->socket >= 0)
                return true;
        fd = socket_connect_unix(journal->path, SOCK_DGRAM | SOCK_NONBLOCK);
        if (fd < 0) {
                send_failed(journal, -fd, now);
                return false;
        }
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        journal->socket = fd;
        journal->blocked = journal->barrier_sent = false;
        return true;
}

/* Journald makes its control socket itself, so the socket's peer is the process that reads our records. */
static void find_daemon(MonitorJournal *journal, int64_t now)
{
        CLEANUP_CLOSE int fd = -EBADF;
        struct ucred peer;
        socklen_t size = sizeof(peer);

        if (journal->daemon >= 0 || journal->daemon_unknown || journal->retry_ns > 0)
                return;
        fd = socket_connect_unix(journal->control_path, SOCK_STREAM | SOCK_NONBLOCK);
        if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) >= 0) {
                if (peer.pid <= 1)
                        journal->daemon_unknown = true;
                else
                        journal->daemon = pidfd_open(peer.pid, 0);
        }
        /* With nothing kept there is nothing to watch over; the next record asks again. */
        if (journal->daemon < 0 && !journal->daemon_unknown && journal->queue.head < journal->queue.tail)
                journal->retry_ns = now + RETRY_NS;
}

static void sent(MonitorJournal *journal, int64_t now)
{
        journal->stalled_ns = 0;
        journal->barrier_sent = false;
        if (journal->confirm_ns == 0) {
                journal->confirm_step = journal->hurry ? HURRY_FIRST_NS : CONFIRM_NS;
                journal->confirm_ns = now + journal->confirm_step;
        }
        find_daemon(journal, now);
}

/* A message with nothing but a descriptor: journald reads the entry from the file. */
static int send_file(int socket, int fd)
{
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr message = { .msg_control = &control, .msg_controllen = sizeof(control) };
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
        return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 1;
}

static int send_entry(const MonitorJournal *journal, int socket, size_t offset, const char *extra)
{
        const MonitorRecord *record = monitor_queue_at(&journal->queue, offset);
        struct iovec iov[MONITOR_ENTRY_IOV];
        struct msghdr message = { .msg_iov = iov };

        if (record->memfd >= 0 && *extra) {
                CLEANUP_CLOSE int again = monitor_entry_file_again(record->memfd, extra);

                return again < 0 ? again : send_file(socket, again);
        }
        if (record->memfd >= 0)
                return send_file(socket, record->memfd);
        message.msg_iovlen = monitor_entry_iov(journal->current, &journal->queue, offset, extra, iov);
        return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 1;
}

/* Sends again what may be lost. */
static int send_again(MonitorJournal *journal, int64_t now)
{
        MonitorQueue *queue = &journal->queue;
        char extra[160];
        int r;

        for (size_t at = queue->head; journal->resend > 0 && at < queue->sent; at = monitor_queue_next(queue, at)) {
                MonitorRecord *record = monitor_queue_at(queue, at);

                if (!record->resend)
                        continue;
                (void) snprintf(extra, sizeof(extra), "CONTAINER_LOG_RESENT=1\nCONTAINER_LOG_PLACE=%lld.%lld.%u.%u\n",
                                (long long) record->before_us, (long long) record->after_us, record->index,
                                record->count);
                r = send_entry(journal, journal->socket, at, extra);
                if (r < 0)
                        return r;
                record->resend = false;
                journal->resend--;
                journal->order_lost = true;
                journal->confirm_ns = now + MSEC;
        }
        return 0;
}

/* The time before something is sent: later than anything sent before, so that every record's own time tells which of
 * them it was sent with. A clock that was set back is not waited for. */
int64_t monitor_journal_time(const MonitorJournal *journal)
{
        int64_t us = time_now_ns() / 1000;

        for (int i = 0; us <= journal->last_us && i < 100; i++)
                us = time_now_ns() / 1000;
        return us;
}

/* Sends up to BATCH records that wait with one call. Returns their number or a negative errno. */
static int send_some(const MonitorJournal *journal)
{
        struct mmsghdr messages[BATCH];
        struct iovec iov[BATCH][MONITOR_ENTRY_IOV];
        const MonitorQueue *queue = &journal->queue;
        size_t n = 0;
        int r;

        for (size_t at = queue->sent; at < queue->tail && n < BATCH; at = monitor_queue_next(queue, at)) {
                if (monitor_queue_at(queue, at)->memfd >= 0)
                        break;
                messages[n].msg_hdr = (struct msghdr) { .msg_iov = iov[n] };
                messages[n].msg_hdr.msg_iovlen = monitor_entry_iov(journal->current, queue, at, "", iov[n]);
                n++;
        }
        if (n == 0)
                return send_entry(journal, journal->socket, queue->sent, "");
        r = sendmmsg(journal->socket, messages, (unsigned) n, MSG_DONTWAIT | MSG_NOSIGNAL);
        return r < 0 ? -errno : r;
}

static int send_batch(MonitorJournal *journal)
{
        MonitorQueue *queue = &journal->queue;
        int64_t before = monitor_journal_time(journal);
        int queued, r;

        if (monitor_queue_at(queue, queue->sent)->spool_end > 0)
                (void) monitor_spool_mark(&journal->spool, before);
        queued = queue_size(journal);
        r = send_some(journal);
        if (r <= 0)
                return r;
        journal->last_us = time_now_ns() / 1000;
        confirm(journal, queued);
        for (int i = 0; i < r; i++) {
                MonitorRecord *record = monitor_queue_at(queue, queue->sent);

                record->before_us = before;
                record->after_us = journal->last_us;
                record->index = (uint16_t) i;
                record->count = (uint16_t) r;
                journal->flight += least_cost(journal, record);
                if (record->spool_end > 0)
                        monitor_spool_sent(&journal->spool, record->spool_end);
                queue->sent = monitor_queue_next(queue, queue->sent);
        }
        return r;
}

void monitor_journal_send(MonitorJournal *journal, int64_t now)
{
        const MonitorQueue *queue = &journal->queue;
        unsigned batches = 0;
        int r = 0;

        if (journal->blocked || !connect_journal(journal, now))
                return;
        if (journal->resend > 0) {
                r = send_again(journal, now);
                if (r >= 0)
                        sent(journal, now);
        }
        /* What comes now would leave after the record that was sent again; the order is known again when that is
         * stored. */
        while (r >= 0 && !journal->order_lost &&
               (queue->sent < queue->tail || monitor_journal_refill(journal, now) > 0)) {
                r = send_batch(journal);
                if (r > 0)
                        sent(journal, now);
                /* Journald makes room as fast as this fills it: without an end here, nothing else had its turn. */
                if (r >= 0 && journal->spool.active && ++batches == BATCHES_MAX) {
                        journal->blocked = true;
                        return;
                }
        }
        if (r < 0)
                send_failed(journal, -r, now);
}

/* How much of a socket's queue the record's datagram takes with this kernel; OFFSET SIZE_MAX stands for the empty one.
 */
static int datagram_cost(const MonitorJournal *journal, size_t offset)
{
        CLEANUP_CLOSE int a = -EBADF, b = -EBADF;
        int pair[2], cost;

        if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                return -errno;
        a = pair[0];
        b = pair[1];
        if (offset == SIZE_MAX ? send(a, "", 0, MSG_NOSIGNAL) < 0 : send_entry(journal, a, offset, "") < 0)
                return -EIO;
        return ioctl(a, SIOCOUTQ, &cost) < 0 ? -errno : cost;
}

/* Nothing takes datagrams now, so the socket's queue says which were taken; the newest of these is the doubtful one. */
static void daemon_died(MonitorJournal *journal, int64_t now)
{
        MonitorQueue *queue = &journal->queue;
        size_t doubtful = SIZE_MAX, offset = queue->head;
        int total = 0, queued = 0, cost;

        journal->daemon = fd_close(journal->daemon);
        if (queue->head < queue->tail)
                journal->retry_ns = now + RETRY_NS;
        if (journal->socket < 0 || queue->head == queue->sent || ioctl(journal->socket, SIOCOUTQ, &queued) < 0)
                return;
        /* It died again before the last one's doubtful record was known to be stored: now any may be lost. */
        if (journal->order_lost || journal->resend > 0) {
                resend_all(journal);
                monitor_journal_send(journal, now);
                return;
        }
        if (queued > 0 && journal->barrier_sent)
                queued -= datagram_cost(journal, SIZE_MAX);
        for (; offset < queue->sent; offset = monitor_queue_next(queue, offset))
                total += MAX(datagram_cost(journal, offset), 0);
        for (offset = queue->head; offset < queue->sent && total > queued; offset = monitor_queue_next(queue, offset)) {
                cost = datagram_cost(journal, offset);
                total -= MAX(cost, 0);
                doubtful = offset;
        }
        if (doubtful == SIZE_MAX)
                return;
        monitor_queue_at(queue, doubtful)->resend = true;
        journal->resend++;
        monitor_journal_send(journal, now);
}

/* Time to find out whether the last records are stored: they are when the empty datagram behind them has left the
 * queue. A further one shows that the queue did not just vanish. */
static void look(MonitorJournal *journal, int64_t now)
{
        MonitorQueue *queue = &journal->queue;

        if (journal->socket >= 0 && (queue->sent == queue->tail || journal->order_lost) && journal->resend == 0) {
                int queued = queue_size(journal);

                if (queued == 0 || !journal->barrier_sent) {
                        if (send(journal->socket, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
                                send_failed(journal, errno, now);
                        } else {
                                confirm(journal, queued);
                                journal->barrier_sent = true;
                        }
                }
        }
        if (queue->head == queue->sent) {
                journal->confirm_ns = 0;
                return;
        }
        if (journal->hurry)
                journal->confirm_step = MIN(MAX(2 * journal->confirm_step, HURRY_FIRST_NS), HURRY_MAX_NS);
        else if (journal->order_lost)
                journal->confirm_step = CONFIRM_AGAIN_NS;
        else
                journal->confirm_step =
                        journal->barrier_sent && journal->confirm_step == CONFIRM_NS ? CONFIRM_AGAIN_NS : CONFIRM_NS;
        journal->confirm_ns = now + journal->confirm_step;
}

void monitor_journal_press(MonitorJournal *journal, int64_t now)
{
        if (journal->confirm_ns > 0 && journal->queue.sent == journal->queue.tail)
                journal->confirm_ns = MIN(journal->confirm_ns, now + MSEC);
}

bool monitor_journal_is_gone(const MonitorJournal *journal, int64_t now)
{
        return journal->stalled_ns > 0 && now - journal->stalled_ns >= MONITOR_JOURNAL_PATIENCE_NS;
}

bool monitor_journal_is_stored(const MonitorJournal *journal)
{
        return journal->queue.head == journal->queue.tail && !journal->spool.active;
}

void monitor_journal_hurry(MonitorJournal *journal, int64_t now)
{
        if (journal->hurry)
                return;
        journal->hurry = true;
        if (journal->confirm_ns == 0)
                return;
        journal->confirm_step = HURRY_FIRST_NS;
        look(journal, now);
}

size_t monitor_journal_poll(const MonitorJournal *journal, struct pollfd fds[static 2])
{
        size_t n = 0;

        if (journal->socket >= 0 && journal->blocked)
                fds[n++] = (struct pollfd) { .fd = journal->socket, .events = POLLOUT };
        if (journal->daemon >= 0)
                fds[n++] = (struct pollfd) { .fd = journal->daemon, .events = POLLIN };
        return n;
}

int64_t monitor_journal_due(const MonitorJournal *journal)
{
        int64_t due = INT64_MAX;

        if (journal->retry_ns > 0)
                due = MIN(due, journal->retry_ns);
        if (journal->confirm_ns > 0)
                due = MIN(due, journal->confirm_ns);
        if (journal->stalled_ns > 0 && !monitor_journal_is_gone(journal, monitor_clock()))
                due = MIN(due, journal->stalled_ns + MONITOR_JOURNAL_PATIENCE_NS);
        return due;
}

void monitor_journal_dispatch(MonitorJournal *journal, const struct pollfd *fds, size_t n, int64_t now)
{
        for (size_t i = 0; i < n; i++) {
                if (fds[i].revents == 0)
                        continue;
                if (fds[i].fd == journal->daemon) {
                        daemon_died(journal, now);
                } else if (fds[i].fd == journal->socket) {
                        journal->blocked = false;
                        monitor_journal_send(journal, now);
                }
        }
        if (journal->retry_ns > 0 && now >= journal->retry_ns) {
                journal->retry_ns = 0;
                find_daemon(journal, now);
                monitor_journal_send(journal, now);
        }
        if (journal->confirm_ns > 0 && now >= journal->confirm_ns) {
                look(journal, now);
                /* There may be room for more of it now, or the order is known again. */
                if (journal->spool.active || (journal->queue.sent < journal->queue.tail && !journal->order_lost))
                        monitor_journal_send(journal, now);
        }
}
