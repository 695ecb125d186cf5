/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-loop.h.
 *
 * Output flows one chunk at a time: read, given to every client, then to the log. Nothing is read while the log has not
 * taken all of the chunk, or a client not all of its queue: that is the back-pressure. After the first process has
 * ended, its streams are read to their ends, the log is stored, the clients have theirs, and the loop is over. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/log.h"
#include "berth/string.h"
#include "monitor-loop.h"

#define SEC 1000000000LL
#define MSEC 1000000LL
/* A stream that stays open and silent for so long after the end is held by somebody else. */
#define LINGER_NS (2 * SEC)
/* A client that takes nothing for so long after the end is given up. */
#define CLIENT_PATIENCE_NS (5 * SEC)
/* The container's end is told when its last lines are in the journal, or after so long are in the spool. */
#define STORE_PATIENCE_NS (100 * MSEC)
#define TERMINAL_PAUSE_NS (50 * MSEC)
#define TERMINAL_PAUSE_MAX_NS (1 * SEC)
#define POLL_MAX (1 + 2 + 1 + MONITOR_CLIENTS_MAX + MONITOR_CONNECTIONS_MAX + 1 + 2 + 3 + 1)

typedef struct PollSet {
        struct pollfd fds[POLL_MAX];
        size_t n;
        size_t process, output[2], input; /* places in fds, or SIZE_MAX */
        size_t journal, n_journal;
} PollSet;

static int init_net(Monitor *monitor, const MonitorOptions *options)
{
        int r = monitor_net_init(&monitor->net, options->notify);

        monitor->requests.net = &monitor->net;
        if (r < 0 || str_empty(options->resolver))
                return r;
        monitor->requests.resolver_file = options->resolver;
        r = monitor_watch_start(&monitor->net);
        if (r < 0)
                log_debug("cannot watch the packet filter: %s", strerror(-r));
        return 0;
}

static int join_log(void *userdata);

static void init_file(MonitorFile *file, const MonitorOptions *options)
{
        monitor_file_init(file, options->log_path,
                          str_equal(options->log_driver, "local") ? LOGFILE_LOCAL : LOGFILE_JSON,
                          (uint64_t) options->log_size, options->log_files,
                          str_empty(options->log_compress) ? NULL : options->log_compress);
        file->encoder.attributes = str_empty(options->log_extra) ? NULL : options->log_extra;
}

int monitor_init(Monitor *monitor, const MonitorOptions *options)
{
        const MonitorEntryFields fields = { options->id, options->name, options->image, options->tag,
                                            options->log_extra };
        bool terminal = options->terminal >= 0;
        int r;

        monitor->options = options;
        monitor->terminal = terminal;
        monitor->output[0] = (int) (terminal ? options->terminal : options->output);
        monitor->output[1] = terminal ? -EBADF : (int) options->errors;
        monitor->pidfd = (int) options->pidfd;
        monitor->input.fd = (int) (terminal ? options->terminal : options->input);
        monitor->input.terminal = terminal;
        monitor->input.once = options->stdin_once != 0;
        monitor->requests.listen = (int) options->listen;
        monitor->requests.terminal = (int) options->terminal;
        monitor->requests.join = join_log;
        monitor->requests.userdata = monitor;
        monitor->exit.run = options->run;
        monitor_stop_init(&monitor->stop, options);
        r = monitor_log_init(&monitor->log, str_equal(options->log_driver, "journald") ? &fields : NULL,
                             options->journal_socket, terminal);
        if (r >= 0 && monitor->log.enabled && options->spool)
                r = monitor_journal_use_spool(&monitor->log.journal, options->spool, (uint64_t) options->spool_size, 0,
                                              true);
        monitor->log.drops = options->log_drop != 0;
        if (r >= 0 && !str_empty(options->log_path))
                init_file(&monitor->log.file, options);
        if (r >= 0)
                r = init_net(monitor, options);
        if (r < 0)
                return r;
        r = monitor_health_init(&monitor->health, options, monitor_clock());
        if (r < 0) /* the container runs all the same */
                log_warning_errno(-r, "the container's health is not checked");
        const int nonblock[] = { monitor->output[0], monitor->output[1], monitor->input.fd, monitor->requests.listen };
        for (size_t i = 0; i < ARRAY_SIZE(nonblock); i++) {
                r = nonblock[i] < 0 ? 0 : fd_set_nonblock(nonblock[i], true);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void close_output(Monitor *monitor, size_t i)
{
        monitor->output[i] = fd_close(monitor->output[i]);
        if (monitor->terminal) {
                monitor_input_close(&monitor->input);
                monitor->requests.terminal = -EBADF;
        }
}

bool monitor_must_drain(const Monitor *monitor)
{
        return monitor->log.enabled && monitor->log.journal.spool.active;
}

void monitor_release(Monitor *monitor)
{
        monitor_clients_clear(&monitor->clients);
        monitor_requests_close(&monitor->requests);
        monitor_net_deinit(&monitor->net);
        monitor_input_close(&monitor->input);
        close_output(monitor, 0);
        close_output(monitor, 1);
        monitor->pidfd = fd_close(monitor->pidfd);
}

void monitor_deinit(Monitor *monitor)
{
        monitor_release(monitor);
        monitor_health_stop(&monitor->health);
        monitor_log_deinit(&monitor->log);
}

static bool output_open(const Monitor *monitor)
{
        return monitor->output[0] >= 0 || monitor->output[1] >= 0;
}

static bool is_held(const Monitor *monitor, int64_t now)
{
        return now < monitor_requests_hold(&monitor->requests);
}

static bool may_read(const Monitor *monitor, int64_t now)
{
        return monitor->chunk_taken == monitor->chunk_size && !monitor_clients_are_behind(&monitor->clients) &&
               !is_held(monitor, now);
}

/* For a client that reads the log up to now: what comes behind that, which others have already. */
static int join_log(void *userdata)
{
        Monitor *monitor = userdata;
        int64_t now = monitor_clock();
        int r = monitor_log_push(&monitor->log);

        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(monitor->output); i++) {
                CLEANUP_BUFFER Buffer text = {};

                r = monitor_log_unfinished(&monitor->log, i == 1, &text);
                if (r >= 0)
                        monitor_clients_output_last(&monitor->clients, i == 1, text.data, text.size, now);
        }
        if (r >= 0)
                monitor_clients_output_last(&monitor->clients, monitor->chunk_error_stream,
                                            monitor->chunk + monitor->chunk_taken,
                                            monitor->chunk_size - monitor->chunk_taken, now);
        return r;
}

static void log_chunk(Monitor *monitor, int64_t now)
{
        monitor->chunk_taken +=
                monitor_log_feed(&monitor->log, monitor->chunk_error_stream, monitor->chunk + monitor->chunk_taken,
                                 monitor->chunk_size - monitor->chunk_taken, now);
}

/* The stream has nothing more: for good, or, a terminal of a living container, until somebody opens it again. */
static void output_ended(Monitor *monitor, size_t i, int64_t now)
{
        if (monitor->terminal && monitor->ended_ns == 0) {
                monitor->pause_step = MIN(MAX(2 * monitor->pause_step, TERMINAL_PAUSE_NS), TERMINAL_PAUSE_MAX_NS);
                monitor->pause_ns = now + monitor->pause_step;
        } else {
                close_output(monitor, i);
        }
}

static void read_output(Monitor *monitor, size_t i, int64_t now)
{
        ssize_t n = read(monitor->output[i], monitor->chunk, sizeof(monitor->chunk));

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                output_ended(monitor, i, now);
                return;
        }
        monitor->active_ns = now;
        monitor->pause_step = 0;
        monitor->chunk_size = (size_t) n;
        monitor->chunk_taken = 0;
        monitor->chunk_error_stream = i == 1;
        monitor_clients_output(&monitor->clients, i == 1, monitor->chunk, (size_t) n, now);
        log_chunk(monitor, now);
}

static void process_ended(Monitor *monitor, const siginfo_t *info, int64_t now)
{
        monitor->exit.code = info ? monitor_exit_code(info) : 255;
        monitor->exit.finished_ns = time_now_ns();
        monitor->exit.oom_killed = monitor_exit_oom_killed(monitor->options->payload);
        monitor->pidfd = fd_close(monitor->pidfd);
        monitor_health_stop(&monitor->health);
        monitor_net_deinit(&monitor->net); /* its ports are free for the next run */
        monitor->ended_ns = monitor->active_ns = now;
        monitor->pause_ns = 0;
        if (!monitor->terminal)
                monitor_input_close(&monitor->input);
}

static void reap_process(Monitor *monitor, int64_t now)
{
        siginfo_t info = {};

        if (monitor->ended_ns > 0)
                return;
        if (waitid(P_PIDFD, (id_t) monitor->pidfd, &info, WEXITED | WNOHANG) < 0) {
                log_warning_errno(errno, "waiting for the container's first process");
                process_ended(monitor, NULL, now);
        } else if (info.si_pid > 0) {
                process_ended(monitor, &info, now);
        }
}

/* Children that were left to this process by whoever was here before it became the monitor. */
static void reap_others(Monitor *monitor)
{
        for (;;) {
                siginfo_t info = {};

                if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
                        return;
                /* The first process is taken by its pidfd. Any other behind it has its turn then. */
                if (monitor->ended_ns == 0 && info.si_pid == (pid_t) monitor->options->pid)
                        return;
                if (monitor->health.running && info.si_pid == monitor->health.run.pid)
                        return;
                if (waitid(P_PID, (id_t) info.si_pid, &info, WEXITED | WNOHANG) >= 0 && monitor->log.file.path)
                        monitor_compress_reaped(&monitor->log.file.compress, monitor->log.file.path, &info);
        }
}

static size_t add(PollSet *set, int fd, short events)
{
        set->fds[set->n] = (struct pollfd) { .fd = fd, .events = events };
        return set->n++;
}

static void fill(PollSet *set, Monitor *monitor, int64_t now)
{
        bool readable = may_read(monitor, now) && now >= monitor->pause_ns;

        set->n = 0;
        set->process = set->output[0] = set->output[1] = set->input = SIZE_MAX;
        if (monitor->pidfd >= 0)
                set->process = add(set, monitor->pidfd, POLLIN);
        for (size_t i = 0; i < ARRAY_SIZE(monitor->output); i++)
                if (monitor->output[i] >= 0 && readable)
                        set->output[i] = add(set, monitor->output[i], POLLIN);
        if (monitor->input.fd >= 0 && (monitor->input.pending.size > 0 || !monitor->input.terminal))
                set->input = add(set, monitor->input.fd, monitor->input.pending.size > 0 ? POLLOUT : 0);
        for (size_t i = 0; i < monitor->clients.n; i++) {
                MonitorClient *client = monitor->clients.list[i];
                short events = monitor_client_events(client, &monitor->input);

                client->poll_index = events == 0 ? SIZE_MAX : add(set, client->fd, events);
        }
        set->n += monitor_requests_poll(&monitor->requests, set->fds + set->n);
        if (monitor->net.epoll >= 0)
                (void) add(set, monitor->net.epoll, POLLIN);
        set->journal = set->n;
        set->n_journal = monitor->log.enabled ? monitor_journal_poll(&monitor->log.journal, set->fds + set->n) : 0;
        set->n += set->n_journal;
        set->n += monitor_health_poll(&monitor->health, set->fds + set->n);
}

static int64_t next_due(const Monitor *monitor, int64_t now)
{
        int64_t due = monitor->log.enabled ? monitor_journal_due(&monitor->log.journal) : INT64_MAX;

        due = MIN(due, monitor_health_due(&monitor->health));
        due = MIN(due, monitor_net_due(&monitor->net));
        due = MIN(due, monitor_stop_due(&monitor->stop));
        if (monitor->pause_ns > now)
                due = MIN(due, monitor->pause_ns);
        if (is_held(monitor, now))
                due = MIN(due, MIN(monitor_requests_hold(&monitor->requests), now + SEC));
        if (monitor->ended_ns > 0 && output_open(monitor) && may_read(monitor, now))
                due = MIN(due, monitor->active_ns + LINGER_NS);
        if (monitor->ended_ns > 0 && monitor_clients_are_behind(&monitor->clients))
                due = MIN(due, now + SEC);
        if (monitor->finished_ns > 0)
                due = MIN(due, monitor->finished_ns + (now < monitor->finished_ns + STORE_PATIENCE_NS
                                                               ? STORE_PATIENCE_NS
                                                               : MONITOR_JOURNAL_PATIENCE_NS));
        return due;
}

static int wait_for_events(PollSet *set, int64_t due, int64_t now, const sigset_t *mask)
{
        struct timespec timeout;
        int64_t left = MAX(due - now, 0);

        timeout.tv_sec = left / SEC;
        timeout.tv_nsec = left % SEC;
        if (ppoll(set->fds, set->n, due == INT64_MAX ? NULL : &timeout, mask) >= 0)
                return 0;
        if (errno != EINTR)
                return -errno;
        for (size_t i = 0; i < set->n; i++)
                set->fds[i].revents = 0;
        return 0;
}

static bool came(const PollSet *set, size_t place)
{
        return place != SIZE_MAX && set->fds[place].revents != 0;
}

static void dispatch(Monitor *monitor, PollSet *set, int64_t now)
{
        size_t fair = now & 1;

        if (monitor->log.enabled)
                monitor_journal_dispatch(&monitor->log.journal, set->fds + set->journal, set->n_journal, now);
        if (monitor->chunk_taken < monitor->chunk_size && !is_held(monitor, now))
                log_chunk(monitor, now);
        if (came(set, set->input)) {
                if (monitor->input.pending.size > 0)
                        monitor_input_write(&monitor->input);
                else if (set->fds[set->input].revents & POLLERR)
                        monitor_input_close(&monitor->input);
        }
        monitor_clients_dispatch(&monitor->clients, set->fds, &monitor->input, now);
        monitor_net_dispatch(&monitor->net, now);
        monitor_requests_serve(&monitor->requests, &monitor->clients, &monitor->input);
        for (size_t k = 0; k < ARRAY_SIZE(monitor->output); k++) {
                size_t i = k ^ fair;

                if (came(set, set->output[i]) && monitor->output[i] >= 0 && may_read(monitor, now))
                        read_output(monitor, i, now);
        }
        if (came(set, set->process))
                reap_process(monitor, now);
        monitor_stop_dispatch(&monitor->stop, monitor->pidfd, now);
        monitor_health_dispatch(&monitor->health, monitor->pidfd, now);
        reap_others(monitor);
}

/* True when the journal has all lines, or the spool has those it has not. */
static bool log_is_safe(Monitor *monitor, int64_t now)
{
        MonitorJournal *journal = &monitor->log.journal;

        if (monitor->log.file.path)
                (void) monitor_log_finish(&monitor->log, now);
        if (!monitor->log.enabled || now - monitor->finished_ns >= MONITOR_JOURNAL_PATIENCE_NS)
                return true;
        if (!monitor_log_finish(&monitor->log, now))
                return false;
        if (!journal->spool.active)
                monitor_journal_hurry(journal, now);
        if (monitor_journal_is_stored(journal))
                return true;
        return (journal->spool.active || now - monitor->finished_ns >= STORE_PATIENCE_NS) &&
               monitor_journal_spool(journal) >= 0;
}

/* After the end: what is left to do. True when nothing is. */
static bool finish(Monitor *monitor, int64_t now)
{
        if (monitor->ended_ns == 0)
                return false;
        /* Silence counts only while it would have been heard. */
        if (!may_read(monitor, now))
                monitor->active_ns = now;
        if (output_open(monitor) && now - monitor->active_ns >= LINGER_NS)
                for (size_t i = 0; i < ARRAY_SIZE(monitor->output); i++)
                        close_output(monitor, i);
        monitor_clients_drop_stuck(&monitor->clients, now - CLIENT_PATIENCE_NS);
        if (output_open(monitor) || monitor->chunk_taken < monitor->chunk_size || is_held(monitor, now))
                return false;
        if (monitor->finished_ns == 0)
                monitor->finished_ns = now;
        return log_is_safe(monitor, now) && !monitor_clients_are_behind(&monitor->clients);
}

int monitor_run(Monitor *monitor)
{
        PollSet set;
        sigset_t mask;
        int64_t now;
        int r;

        sigemptyset(&mask);
        monitor_requests_serve(&monitor->requests, &monitor->clients, &monitor->input);
        while (now = monitor_clock(), !finish(monitor, now)) {
                fill(&set, monitor, now);
                r = wait_for_events(&set, next_due(monitor, now), now, &mask);
                if (r < 0)
                        return r;
                dispatch(monitor, &set, monitor_clock());
        }
        monitor_log_abandon(&monitor->log);
        monitor->exit.lines_lost = monitor->log.lost;
        monitor->exit.stopped = monitor_stop_has_begun(&monitor->stop);
        return 0;
}
