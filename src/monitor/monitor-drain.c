/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-drain.h. There is no patience here: as long as journald is away, the records wait. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "berth/cleanup.h"
#include "berth/monitor.h"
#include "monitor-drain.h"

#define SEC 1000000000LL
/* How long what is with journald's socket is watched before it is left to itself. */
#define LEAVE_NS (2 * SEC)

static volatile sig_atomic_t leave;

static void on_leave(int signal_number)
{
        (void) signal_number;
        leave = 1;
}

void monitor_drain_prepare(void)
{
        struct sigaction action = { .sa_handler = on_leave };

        (void) sigaction(MONITOR_LEAVE_SIGNAL, &action, NULL);
}

static bool sent_is_stored(const MonitorJournal *journal)
{
        return journal->queue.head == journal->queue.sent;
}

static int wait_for_journal(MonitorJournal *journal, int64_t due)
{
        struct pollfd fds[2];
        size_t n = monitor_journal_poll(journal, fds);
        int64_t now = monitor_clock(), left;
        struct timespec timeout;
        sigset_t none;

        due = MIN(due, monitor_journal_due(journal));
        left = MAX(due - now, 0);
        timeout = (struct timespec) { .tv_sec = left / SEC, .tv_nsec = left % SEC };
        sigemptyset(&none);
        if (ppoll(fds, n, due == INT64_MAX ? NULL : &timeout, &none) < 0) {
                if (errno != EINTR)
                        return -errno;
                n = 0;
        }
        monitor_journal_dispatch(journal, fds, n, monitor_clock());
        return 0;
}

int monitor_drain(MonitorJournal *journal)
{
        int64_t left_ns = INT64_MAX;
        int r = 0;

        /* Nothing is written any more. */
        if (journal->spool.pending.size == 0)
                buffer_clear(&journal->spool.pending);
        (void) malloc_trim(0);
        monitor_journal_send(journal, monitor_clock());
        while (r >= 0 && !monitor_journal_is_stored(journal)) {
                if (leave && left_ns == INT64_MAX) {
                        r = monitor_journal_leave(journal);
                        if (r < 0)
                                break;
                        left_ns = monitor_clock() + LEAVE_NS;
                }
                if (left_ns < INT64_MAX && (sent_is_stored(journal) || monitor_clock() >= left_ns))
                        return 0;
                /* Only the last ones are worth a look of their own. */
                if (!journal->spool.active || journal->leaving)
                        monitor_journal_hurry(journal, monitor_clock());
                r = wait_for_journal(journal, left_ns);
        }
        return r;
}

int monitor_drain_main(const MonitorOptions *options)
{
        MonitorJournal journal;
        Buffer nothing = {};
        int r = monitor_journal_init(&journal, options->journal_socket, &nothing);

        if (r < 0)
                return r;
        r = monitor_journal_use_spool(&journal, options->spool, (uint64_t) options->spool_size,
                                      (uint64_t) options->skip, false);
        if (r >= 0)
                r = monitor_drain(&journal);
        monitor_journal_deinit(&journal);
        return r;
}
