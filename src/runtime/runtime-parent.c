/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parent of a container's first process and that of a further one (exec) have in common: a clean process, the
 * report to the engine, the clone, and becoming the monitor. Descriptors belong to the plan; those the monitor needs
 * lose close-on-exec right before the exec. */
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

/* Options appended to the monitor's. */
#define MONITOR_OPTIONS_MAX 16

/* --- a clean process --- */

static int compare_int(const void *a, const void *b)
{
        int x = *(const int *) a, y = *(const int *) b;

        return (x > y) - (x < y);
}

/* Closes all but the standard descriptors, those START names and ONE_MORE. */
static int close_others(const RuntimeStart *start, int one_more)
{
        CLEANUP_FREE int *keep = calloc(start->n_keep_fds + start->n_open_fds + 4, sizeof(*keep));
        unsigned int next = 3;
        size_t n = 0;

        if (!keep)
                return -ENOMEM;
        for (size_t i = 0; i < start->n_keep_fds; i++)
                keep[n++] = start->keep_fds[i];
        for (size_t i = 0; i < start->n_open_fds; i++)
                keep[n++] = start->open_fds[i];
        keep[n++] = start->control;
        keep[n++] = start->network_namespace;
        keep[n++] = runtime_devices_kept();
        keep[n++] = one_more;
        qsort(keep, n, sizeof(*keep), compare_int);
        for (size_t i = 0; i < n; i++) {
                if (keep[i] < (int) next)
                        continue;
                if (keep[i] > (int) next && close_range(next, (unsigned int) keep[i] - 1, 0) < 0)
                        return -errno;
                next = (unsigned int) keep[i] + 1;
        }
        return close_range(next, ~0U, 0) < 0 ? -errno : 0;
}

static void reset_signals(void)
{
        struct sigaction action = { .sa_handler = SIG_DFL };
        sigset_t none;

        for (int i = 1; i < NSIG; i++)
                (void) sigaction(i, &action, NULL);
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

int runtime_parent_begin(const RuntimeStart *start, int one_more, Error *ret_error)
{
        int r;

        reset_signals();
        r = close_others(start, one_more);
        if (r >= 0 && access(start->monitor_argv[0], X_OK) < 0)
                r = runtime_error(ret_error, errno, "exec %s", start->monitor_argv[0]);
        return r;
}

/* --- the conversation with the engine --- */

void runtime_parent_report(int control, const RuntimeReport *header, const char *text)
{
        struct iovec parts[2] = {
                { (void *) header, sizeof(*header) },
                { (void *) text, strnlen(text, RUNTIME_REPORT_TEXT_MAX) },
        };
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts) };

        while (sendmsg(control, &message, MSG_NOSIGNAL) < 0)
                if (errno != EINTR && errno != EAGAIN)
                        return;
}

int runtime_report_receive(int control, RuntimeReport *ret_report, char ret_text[static RUNTIME_REPORT_TEXT_MAX + 1])
{
        struct iovec parts[2] = { { ret_report, sizeof(*ret_report) }, { ret_text, RUNTIME_REPORT_TEXT_MAX } };
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts) };
        ssize_t n = recvmsg(control, &message, MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
                return -EAGAIN;
        if (n < (ssize_t) sizeof(*ret_report))
                return -EIO;
        ret_text[(size_t) n - sizeof(*ret_report)] = 0;
        return 0;
}

/* What dockerd adds to some kinds of failure. */
static const struct {
        int error;
        const char *text;
} report_hints[] = {
        { EISDIR, ": permission denied" },
        { ENOTDIR,
          ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path "
          "exists and is the expected type" },
};

/* runc marks what fails before the program itself is looked at. */
static const char *report_stage(const char *message)
{
        return str_after_prefix(message, "exec: ") || str_after_prefix(message, "chdir to cwd")
                       ? ""
                       : "error during container init: ";
}

char *runtime_parent_failure(const char *prefix, int error, const Error *reason)
{
        CLEANUP_ERROR Error plain = {};
        const char *hint = "";

        if (!reason->message) {
                runtime_error(&plain, -error, "start");
                reason = &plain;
        }
        for (size_t i = 0; i < ARRAY_SIZE(report_hints); i++)
                if (report_hints[i].error == -error)
                        hint = report_hints[i].text;
        if (reason->outcome != OUTCOME_FAILED)
                return strdup(reason->message);
        return str_printf("%s%s%s: unknown%s", prefix, report_stage(reason->message), reason->message, hint);
}

/* --- the first process --- */

static pid_t clone_init(const RuntimePlan *plan, int *ret_pidfd)
{
        int pidfd = -EBADF;
        struct clone_args args = {
                .flags = (uint64_t) (unsigned int) (plan->namespaces.clone_flags & ~CLONE_NEWCGROUP) | CLONE_PIDFD |
                         CLONE_INTO_CGROUP,
                .pidfd = (uintptr_t) &pidfd,
                .exit_signal = SIGCHLD,
                .cgroup = (uint64_t) plan->cgroup.payload_fd,
        };
        int pid = runtime_clone(&args, runtime_init_main, plan);

        if (pid > 0)
                *ret_pidfd = pidfd;
        return pid;
}

/* What init says of its failure; 0 when it said nothing, which is an exec. */
static int read_failure(int fd, Error *ret_error)
{
        CLEANUP_BUFFER Buffer buffer = {};
        int error, outcome;
        ssize_t n;

        do
                n = buffer_read(&buffer, fd, 8192);
        while (n > 0 || n == -EINTR);
        if (buffer.size == 0)
                return 0;
        if (buffer.size < sizeof(error) + sizeof(outcome))
                return -EIO;
        memcpy(&error, buffer.data, sizeof(error));
        memcpy(&outcome, buffer.data + sizeof(error), sizeof(outcome));
        if (buffer.size > sizeof(error) + sizeof(outcome))
                error_set(ret_error, (Outcome) outcome, "%s", buffer.data + sizeof(error) + sizeof(outcome));
        return error < 0 ? error : -EIO;
}

/* With a joined pid namespace the parent's children belong there, but for this one moment only. */
static int enter_pid_namespace(int fd)
{
        return fd >= 0 && setns(fd, CLONE_NEWPID) < 0 ? -errno : 0;
}

int runtime_parent_spawn(RuntimePlan *plan, pid_t *ret_pid, int *ret_pidfd, Error *ret_error)
{
        CLEANUP_CLOSE int own_pid_namespace = -EBADF, pidfd = -EBADF;
        int joined = plan->namespaces.fds[RUNTIME_NS_PID], fds[2], r;
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return runtime_error(ret_error, errno, "pipe");
        plan->error_reader = fds[0];
        plan->error_fd = fds[1];
        if (joined >= 0)
                own_pid_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
        r = enter_pid_namespace(joined);
        if (r < 0)
                return runtime_error(ret_error, -r, "join pid namespace");
        pid = clone_init(plan, &pidfd);
        if (pid < 0)
                return runtime_error(ret_error, -pid, "clone");
        plan->error_fd = fd_close(plan->error_fd);
        r = enter_pid_namespace(own_pid_namespace);
        if (r >= 0)
                r = read_failure(plan->error_reader, ret_error);
        if (r < 0) {
                (void) syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
                (void) waitpid(pid, NULL, 0);
                return r;
        }
        *ret_pid = pid;
        *ret_pidfd = TAKE_FD(pidfd);
        return 0;
}

/* --- becoming the monitor --- */

typedef struct MonitorArguments {
        char **argv;
        size_t n;
        char numbers[8][16];
        size_t n_numbers;
} MonitorArguments;

static void add_text(MonitorArguments *arguments, const char *option, const char *value)
{
        arguments->argv[arguments->n++] = (char *) option;
        arguments->argv[arguments->n++] = (char *) value;
}

static void add_number(MonitorArguments *arguments, const char *option, int value)
{
        char *text = arguments->numbers[arguments->n_numbers++];

        snprintf(text, sizeof(arguments->numbers[0]), "%d", value);
        add_text(arguments, option, text);
}

/* A descriptor that the monitor takes over. */
static void add_fd(MonitorArguments *arguments, const char *option, int fd)
{
        if (fd < 0)
                return;
        (void) fd_set_cloexec(fd, false);
        add_number(arguments, option, fd);
}

int runtime_parent_become_monitor(RuntimePlan *plan, pid_t pid, int pidfd)
{
        static const char *const pipe_options[] = { "--stdin", "--stdout", "--stderr" };
        const RuntimeStart *start = plan->start;
        size_t n = strv_length(start->monitor_argv);
        MonitorArguments arguments = { .argv = calloc(n + MONITOR_OPTIONS_MAX, sizeof(char *)), .n = n };

        if (!arguments.argv)
                return -ENOMEM;
        memcpy(arguments.argv, start->monitor_argv, n * sizeof(char *));
        add_number(&arguments, "--pid", pid);
        add_fd(&arguments, "--pidfd", pidfd);
        add_text(&arguments, "--payload", plan->cgroup.payload_path);
        if (start->health)
                add_fd(&arguments, "--health", runtime_health_write(plan));
        if (plan->stdio.terminal)
                add_fd(&arguments, "--terminal", plan->stdio.outer[0]);
        else
                for (size_t i = 0; i < ARRAY_SIZE(pipe_options); i++)
                        add_fd(&arguments, pipe_options[i], plan->stdio.outer[i]);
        for (size_t i = 0; i < start->n_keep_fds; i++)
                (void) fd_set_cloexec(start->keep_fds[i], false);
        (void) fd_set_cloexec(start->control, true);
        execv(arguments.argv[0], arguments.argv);
        return -errno;
}
