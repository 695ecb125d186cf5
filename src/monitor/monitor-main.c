/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth-monitor: the guardian of one container. Its contract is include/berth/monitor.h.
 *
 * It lives until the container has ended: when systemd stops the scope it stops the container (monitor-stop.h), and no
 * other signal ends it. Where journald was slower than the container, the spool is drained after that, and what the
 * scope's stop timeout leaves is the time there is for it at shutdown. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "berth/cleanup.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "berth/runtime.h"
#include "monitor-drain.h"
#include "monitor-loop.h"

static Monitor monitor;

/* Only interrupts the wait. */
static void on_child(int signal_number)
{
        (void) signal_number;
}

static void protect(void)
{
        static const int ignored[] = { SIGTERM, SIGINT,  SIGHUP,  SIGQUIT, SIGPIPE,
                                       SIGUSR2, SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU };
        struct sigaction action = { .sa_handler = SIG_IGN };
        sigset_t blocked;

        for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
                (void) sigaction(ignored[i], &action, NULL);
        action.sa_handler = on_child;
        (void) sigaction(SIGCHLD, &action, NULL);
        monitor_drain_prepare();
        monitor_stop_prepare();
        /* These are noticed in the loops' waits and nowhere else. */
        sigemptyset(&blocked);
        sigaddset(&blocked, SIGCHLD);
        sigaddset(&blocked, SCOPE_KILL_SIGNAL);
        sigaddset(&blocked, MONITOR_LEAVE_SIGNAL);
        (void) sigprocmask(SIG_SETMASK, &blocked, NULL);
        /* The container's root must not look into this process, whatever it may share with it. */
        (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        (void) prctl(PR_SET_NAME, "berth-monitor", 0, 0, 0);
}

static int compare(const void *a, const void *b)
{
        return *(const int *) a - *(const int *) b;
}

/* Closes what was inherited without being named on the command line. */
static void close_others(const MonitorOptions *options)
{
        int named[] = { STDERR_FILENO,        (int) options->listen, (int) options->pidfd,  (int) options->terminal,
                        (int) options->input, (int) options->output, (int) options->errors, (int) options->health };
        int next = STDERR_FILENO + 1;

        qsort(named, ARRAY_SIZE(named), sizeof(named[0]), compare);
        for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
                if (named[i] > next)
                        (void) close_range((unsigned) next, (unsigned) named[i] - 1, 0);
                next = MAX(next, named[i] + 1);
        }
        (void) close_range((unsigned) next, ~0u, 0);
}

/* Returns the connection, or -EBADF. */
static int notify(const MonitorOptions *options)
{
        int r = options->notify ? monitor_exit_notify(options->notify, options->id) : -EBADF;

        if (r < 0 && r != -EBADF)
                log_debug("cannot reach the engine: %s", strerror(-r));
        return MAX(r, -EBADF);
}

static int drain_only(const MonitorOptions *options)
{
        int r = monitor_drain_main(options);

        if (r < 0) {
                log_error_errno(-r, "cannot drain %s", options->spool);
                return EXIT_FAILURE;
        }
        fd_close(notify(options));
        return EXIT_SUCCESS;
}

/* Writes how the container ended, and tells the engine; then the rest of the log has the time it needs. */
static void finish(const MonitorOptions *options)
{
        CLEANUP_CLOSE int told = -EBADF;
        int r = monitor_exit_write(&monitor.exit, options->directory, options->volatile_exit == 0);

        if (r < 0)
                log_error_errno(-r, "cannot write the exit record");
        if (monitor_must_drain(&monitor)) {
                monitor_release(&monitor);
                told = notify(options);
                r = monitor_drain(&monitor.log.journal);
                if (r < 0)
                        log_error_errno(-r, "cannot drain %s", options->spool);
        } else if (monitor.log.enabled) {
                monitor_spool_remove(&monitor.log.journal.spool);
        }
        fd_close(notify(options));
}

static void leave(int signal_number)
{
        (void) signal_number;
        _exit(EXIT_SUCCESS);
}

/* When systemd stops the scope nobody is to be put there any more. */
static int hold_scope(int control)
{
        const struct sigaction action = { .sa_handler = leave };

        (void) sigaction(SCOPE_KILL_SIGNAL, &action, NULL);
        return runtime_spare_hold(control) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
        MonitorOptions options;
        int r;

        log_set_prefix(getenv("JOURNAL_STREAM") != NULL);
        r = monitor_options_parse(&options, argc, argv);
        if (r != 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        if (options.hold_scope >= 0)
                return hold_scope((int) options.hold_scope);
        /* What is large goes back to the kernel when it is freed. */
        (void) mallopt(M_MMAP_THRESHOLD, 32 * 1024);
        protect();
        close_others(&options);
        if (options.drain)
                return drain_only(&options);
        r = monitor_init(&monitor, &options);
        if (r >= 0)
                r = monitor_run(&monitor);
        if (r < 0) {
                log_error_errno(-r, "cannot guard the container any more");
                return EXIT_FAILURE;
        }
        finish(&options);
        monitor_deinit(&monitor);
        return EXIT_SUCCESS;
}
