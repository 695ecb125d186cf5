/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-health.h. A check is a child of this process (src/runtime/runtime-probe.c), which owns its pidfd and the
 * reading end of its output. Nothing here blocks. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "berth/string.h"
#include "monitor-exit.h"
#include "monitor-health.h"

#define FROZEN_PAUSE_NS 1000000000LL

static bool is_starting(const MonitorHealth *health, int64_t now)
{
        return health->status == MONITOR_HEALTH_STARTING && now - health->started_ns < health->timing.start_period_ns;
}

static void schedule(MonitorHealth *health, int64_t now)
{
        health->due_ns =
                now + (is_starting(health, now) ? health->timing.start_interval_ns : health->timing.interval_ns);
}

int monitor_health_init(MonitorHealth *health, const MonitorOptions *options, int64_t now)
{
        *health = (MonitorHealth) { .options = options, .output = -EBADF, .telling = -EBADF, .started_ns = now };
        if (options->health < 0 || !options->health_state)
                return 0;
        int r = runtime_probe_map((int) options->health, &health->probe);
        if (r < 0)
                return r;
        health->timing = runtime_probe_health(health->probe);
        schedule(health, now);
        return 0;
}

static bool is_frozen(const MonitorHealth *health)
{
        CLEANUP_FREE char *path =
                health->options->payload ? path_join(health->options->payload, "cgroup.freeze") : NULL;
        CLEANUP_FREE char *text = NULL;

        return path && file_read_at(AT_FDCWD, path, 16, &text, NULL) >= 0 && text[0] == '1';
}

/* --- One check ---------------------------------------------------------------------------------------------------- */

static void read_output(MonitorHealth *health)
{
        char data[MONITOR_HEALTH_OUTPUT];
        Buffer *output = &health->result.output;
        ssize_t n = 1;

        while (health->output >= 0 && n > 0) {
                n = read(health->output, data, sizeof(data));
                size_t room = MONITOR_HEALTH_OUTPUT - output->size;
                if (n > 0 && (size_t) n > room)
                        health->truncated = true;
                if (n > 0)
                        (void) buffer_append(output, data, MIN((size_t) n, room));
                else if (n == 0 || (errno != EAGAIN && errno != EINTR))
                        health->output = fd_close(health->output);
        }
}

static int begin(MonitorHealth *health, int pidfd, int64_t now)
{
        int fds[2];

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        CLEANUP_CLOSE int reader = fds[0], writer = fds[1];
        /* The other end is a program's, which expects to be able to wait. */
        int r = fd_set_nonblock(writer, false);
        if (r >= 0)
                r = runtime_probe_start(health->probe, pidfd, (pid_t) health->options->pid, writer, &health->run);
        if (r < 0)
                return r;
        health->output = TAKE_FD(reader);
        health->running = true;
        health->timed_out = health->truncated = false;
        health->deadline_ns = now + health->timing.timeout_ns;
        health->result = (MonitorHealthResult) { .start_ns = time_now_ns() };
        return 0;
}

/* The first words are dockerd's. */
static void describe_timeout(MonitorHealth *health)
{
        CLEANUP_BUFFER Buffer said = health->result.output;
        int64_t ms = health->timing.timeout_ns / 1000000;

        health->result.output = (Buffer) {};
        if (ms % 1000 == 0 && ms < 60000)
                (void) buffer_printf(&health->result.output, "Health check exceeded timeout (%llds)",
                                     (long long) (ms / 1000));
        else if (ms < 1000)
                (void) buffer_printf(&health->result.output, "Health check exceeded timeout (%lldms)", (long long) ms);
        else
                (void) buffer_printf(&health->result.output, "Health check exceeded timeout (%lldm%gs)",
                                     (long long) (ms / 60000), (double) (ms % 60000) / 1000);
        if (said.size > 0) {
                (void) buffer_append_string(&health->result.output, ": ");
                (void) buffer_append(&health->result.output, said.data, said.size);
        }
}

/* Takes health->result over. */
static void keep_result(MonitorHealth *health)
{
        if (health->n_log == MONITOR_HEALTH_LOG) {
                buffer_clear(&health->log[0].output);
                memmove(health->log, health->log + 1, sizeof(health->log[0]) * (MONITOR_HEALTH_LOG - 1));
                health->n_log--;
        }
        health->log[health->n_log++] = health->result;
        health->result = (MonitorHealthResult) {};
}

static void write_state(const MonitorHealth *health)
{
        CLEANUP_BUFFER Buffer text = {};
        int r = monitor_health_format(health, &text);

        if (r >= 0)
                r = file_replace_volatile_at(AT_FDCWD, health->options->health_state, text.data, text.size, 0600);
        if (r < 0)
                log_debug("cannot write the health state: %s", strerror(-r));
}

/* The request waits in the engine's socket, which may have to be started for it; the connection stays until it is
 * answered. What cannot be told now is told after the next check. */
static void tell(MonitorHealth *health)
{
        const MonitorOptions *options = health->options;
        CLEANUP_FREE char *request = str_printf(MONITOR_HEALTH_REQUEST, options->id,
                                                health->status == MONITOR_HEALTH_HEALTHY ? "healthy" : "unhealthy");

        if (health->status == health->told || !options->notify || !request || health->telling >= 0)
                return;
        CLEANUP_CLOSE int fd = socket_connect_unix(options->notify, SOCK_STREAM | SOCK_NONBLOCK);
        if (fd < 0 || send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
                return;
        health->telling = TAKE_FD(fd);
        health->told = health->status;
}

static void conclude(MonitorHealth *health, int exit_code, int64_t start_ns, int64_t now)
{
        if (health->truncated)
                (void) buffer_append_string(&health->result.output, "...");
        if (health->timed_out)
                describe_timeout(health);
        health->result.exit_code = health->timed_out ? -1 : exit_code;
        health->result.end_ns = time_now_ns();
        monitor_health_judge(health, health->result.exit_code, start_ns);
        keep_result(health);
        write_state(health);
        tell(health);
        schedule(health, now);
}

static void let_go(MonitorHealth *health)
{
        health->run.pidfd = fd_close(health->run.pidfd);
        health->run.failed = fd_close(health->run.failed);
        health->output = fd_close(health->output);
        health->running = false;
}

static void look_for_end(MonitorHealth *health, int64_t now)
{
        int64_t start_ns = health->deadline_ns - health->timing.timeout_ns;
        siginfo_t info = {};
        char mark;

        read_output(health);
        if (waitid(P_PIDFD, (id_t) health->run.pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
                return;
        read_output(health);
        bool failed = read(health->run.failed, &mark, 1) == 1;
        let_go(health);
        conclude(health, failed ? -1 : monitor_exit_code(&info), start_ns, now);
}

/* --- The loop's side ---------------------------------------------------------------------------------------------- */

size_t monitor_health_poll(const MonitorHealth *health, struct pollfd fds[static 3])
{
        size_t n = 0;

        if (health->running)
                fds[n++] = (struct pollfd) { .fd = health->run.pidfd, .events = POLLIN };
        if (health->output >= 0)
                fds[n++] = (struct pollfd) { .fd = health->output, .events = POLLIN };
        if (health->telling >= 0)
                fds[n++] = (struct pollfd) { .fd = health->telling, .events = POLLIN };
        return n;
}

int64_t monitor_health_due(const MonitorHealth *health)
{
        if (!health->probe)
                return INT64_MAX;
        return !health->running ? health->due_ns : health->timed_out ? INT64_MAX : health->deadline_ns;
}

static void check_deadline(MonitorHealth *health, int64_t now)
{
        if (health->timed_out || now < health->deadline_ns)
                return;
        if (is_frozen(health)) {
                health->deadline_ns = now + FROZEN_PAUSE_NS;
                return;
        }
        health->timed_out = true;
        (void) syscall(SYS_pidfd_send_signal, health->run.pidfd, SIGKILL, NULL, 0);
}

static void hear_answer(MonitorHealth *health)
{
        char answer[512];
        ssize_t n = health->telling >= 0 ? recv(health->telling, answer, sizeof(answer), MSG_DONTWAIT) : -1;

        if (health->telling >= 0 && (n >= 0 || (errno != EAGAIN && errno != EINTR)))
                health->telling = fd_close(health->telling);
}

void monitor_health_dispatch(MonitorHealth *health, int pidfd, int64_t now)
{
        if (!health->probe || pidfd < 0)
                return;
        hear_answer(health);
        if (health->running) {
                look_for_end(health, now);
                if (health->running)
                        check_deadline(health, now);
                return;
        }
        if (now < health->due_ns)
                return;
        int r = is_frozen(health) ? -EAGAIN : begin(health, pidfd, now);
        if (r == -EAGAIN || r == -ESRCH)
                schedule(health, now);
        else if (r < 0) {
                health->result = (MonitorHealthResult) { .start_ns = time_now_ns() };
                (void) buffer_append_string(&health->result.output, strerror(-r));
                conclude(health, -1, now, now);
        }
}

void monitor_health_stop(MonitorHealth *health)
{
        if (!health->probe)
                return;
        health->probe = runtime_probe_free(health->probe);
        if (health->running) {
                (void) syscall(SYS_pidfd_send_signal, health->run.pidfd, SIGKILL, NULL, 0);
                let_go(health); /* reaped as any child that was left here */
        }
        health->telling = fd_close(health->telling);
        buffer_clear(&health->result.output);
        while (health->n_log > 0)
                buffer_clear(&health->log[--health->n_log].output);
}
