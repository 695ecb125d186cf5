/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole monitor in a process of its own, with a real first process, real pipes or a real terminal, real requests, and
 * a journald played by the test, which may be slow, absent or restarted. */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <utmp.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/monitor.h"
#include "berth/string.h"
#include "monitor-loop.h"

#define ID "ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12"
#define PATIENCE_MS 20000

typedef struct Line {
        int priority;
        bool partial;
        char *data;
        size_t size;
} Line;

typedef struct Guard {
        bool terminal, open_stdin, stdin_once, no_log;
        const char *script;
        const char *payload;

        char directory[64];
        pid_t pid;
        int pidfd, journal, listen, request;
        Line *lines;
        size_t n_lines;
        char *record; /* exit.json */
} Guard;

static char *guard_path(const Guard *guard, const char *name)
{
        char *path = path_join(guard->directory, name);

        assert_non_null(path);
        return path;
}

static int journal_bind(const Guard *guard)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        CLEANUP_FREE char *path = guard_path(guard, "socket");
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_true(fd >= 0);
        (void) unlink(path);
        memcpy(address.sun_path, path, strlen(path) + 1);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        return fd;
}

/* The first process. Its descriptors are the container's ends. */
static _Noreturn void first_process(const Guard *guard, int input, int output, int errors)
{
        if (guard->terminal)
                (void) login_tty(input);
        else if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(errors, 2) < 0)
                _exit(99);
        execl("/bin/sh", "sh", "-c", guard->script, (char *) NULL);
        _exit(99);
}

static pid_t spawn(const Guard *guard, MonitorOptions *options)
{
        int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 }, null = open("/dev/null", O_RDWR | O_CLOEXEC);
        pid_t pid;

        if (guard->terminal) {
                if (openpty(&out[0], &in[0], NULL, NULL, NULL) < 0)
                        _exit(98);
        } else if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 || pipe2(in, O_CLOEXEC) < 0) {
                _exit(98);
        }
        pid = fork();
        if (pid == 0) {
                for (int fd = 3; guard->terminal && fd < 64; fd++)
                        if (fd != in[0])
                                close(fd);
                first_process(guard, guard->terminal || guard->open_stdin ? in[0] : null, out[1], err[1]);
        }
        close(null);
        close(in[0]);
        if (guard->terminal) {
                options->terminal = out[0];
                return pid;
        }
        close(out[1]);
        close(err[1]);
        options->output = out[0];
        options->errors = err[0];
        if (guard->open_stdin)
                options->input = in[1];
        else
                close(in[1]);
        return pid;
}

static Monitor monitor;

static _Noreturn void run_monitor(const Guard *guard)
{
        MonitorOptions options = { .id = ID,
                                   .name = "web",
                                   .image = "busybox:latest",
                                   .tag = "tag",
                                   .run = 7,
                                   .directory = guard->directory,
                                   .payload = guard->payload,
                                   .log_driver = guard->no_log ? "none" : "journald",
                                   .listen = guard->listen,
                                   .pidfd = -EBADF,
                                   .terminal = -EBADF,
                                   .input = -EBADF,
                                   .output = -EBADF,
                                   .errors = -EBADF,
                                   .stdin_once = guard->stdin_once };
        CLEANUP_FREE char *socket_path = guard_path(guard, "socket");
        struct sigaction ignore = { .sa_handler = SIG_IGN };

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) sigaction(SIGPIPE, &ignore, NULL);
        /* The test's own descriptors, such as the clients' ends, are none of the monitor's. */
        (void) close_range(3, (unsigned) guard->listen - 1, 0);
        (void) close_range((unsigned) guard->listen + 1, ~0u, 0);
        options.journal_socket = socket_path;
        options.pid = spawn(guard, &options);
        options.pidfd = pidfd_open((pid_t) options.pid, 0);
        /* A child of somebody else's, to be reaped. */
        if (fork() == 0)
                _exit(3);
        if (monitor_init(&monitor, &options) < 0 || monitor_run(&monitor) < 0)
                _exit(90);
        /* A dead one must not be left; a slow one may still live. */
        if (waitpid(-1, NULL, WNOHANG) > 0)
                _exit(91);
        if (monitor_exit_write(&monitor.exit, guard->directory, true) < 0)
                _exit(92);
        monitor_deinit(&monitor);
        _exit(0);
}

static void guard_prepare(Guard *guard)
{
        CLEANUP_FREE char *path = NULL;

        strcpy(guard->directory, "/tmp/test-monitor-XXXXXX");
        assert_non_null(mkdtemp(guard->directory));
        path = guard_path(guard, MONITOR_SOCKET_NAME);
        guard->listen = socket_listen_unix(path, SOCK_SEQPACKET, 0600);
        assert_true(guard->listen >= 0);
        guard->request = socket_connect_unix(path, SOCK_SEQPACKET);
        assert_true(guard->request >= 0);
        guard->journal = journal_bind(guard);
}

static void guard_start(Guard *guard)
{
        guard->pid = fork();
        if (guard->pid == 0)
                run_monitor(guard);
        assert_true(guard->pid > 0);
        guard->pidfd = pidfd_open(guard->pid, 0);
        assert_true(guard->pidfd >= 0);
}

static void request_send(const Guard *guard, const char *text, int fd)
{
        assert_int_equal(socket_send_fds(guard->request, text, strlen(text), &fd, fd >= 0 ? 1 : 0), 0);
}

static void request_answer(const Guard *guard, const char *expected)
{
        char answer[64] = {};

        assert_true(recv(guard->request, answer, sizeof(answer) - 1, 0) > 0);
        assert_string_equal(answer, expected);
}

/* What a client's socket holds on its way; 0: as much as usual. */
static int client_buffer;

/* Attaches and returns the client's end. */
static int attach(const Guard *guard, const char *flags, const char *keys)
{
        CLEANUP_FREE char *text = str_printf("attach %s %s", flags, keys);
        int pair[2];

        assert_int_equal(socket_pair(SOCK_STREAM, pair), 0);
        if (client_buffer > 0)
                assert_int_equal(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &client_buffer, sizeof(client_buffer)), 0);
        request_send(guard, text, pair[1]);
        close(pair[1]);
        if (guard->pid > 0)
                request_answer(guard, "ok");
        return pair[0];
}

static const char *field(const char *data, size_t size, const char *name)
{
        return memmem(data, size, name, strlen(name));
}

static void parse_entry(Guard *guard, const char *data, size_t size)
{
        const char *message = field(data, size, "MESSAGE\n"), *p = field(data, size, "PRIORITY=");
        uint64_t length;
        Line *line;

        assert_non_null(message);
        assert_non_null(p);
        assert_non_null(field(data, size, "CONTAINER_ID=ab12cd34ef56\nCONTAINER_ID_FULL=" ID "\n"));
        assert_non_null(field(data, size, "CONTAINER_NAME=web\nCONTAINER_TAG=tag\nIMAGE_NAME=busybox:latest\n"));
        assert_non_null(field(data, size, "SYSLOG_IDENTIFIER=tag\n"));
        memcpy(&length, message + 8, 8);
        guard->lines = realloc(guard->lines, (guard->n_lines + 1) * sizeof(Line));
        line = &guard->lines[guard->n_lines++];
        line->priority = p[9] - '0';
        line->partial = field(data, size, "CONTAINER_PARTIAL_MESSAGE=true\n");
        line->size = length;
        line->data = malloc(length + 1);
        memcpy(line->data, message + 16, length);
        line->data[length] = '\0';
        assert_int_equal(message[16 + length], '\n');
}

/* Takes one datagram. False when there is none. */
static bool journal_take(Guard *guard)
{
        static char data[1024 * 1024];
        CLEANUP_CLOSE int fd = -EBADF;
        size_t n_fds = 1;
        ssize_t n = socket_recv_fds(guard->journal, data, sizeof(data), &fd, &n_fds);

        if (n == -EAGAIN)
                return false;
        assert_true(n >= 0);
        if (n_fds == 1) {
                assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
                n = pread(fd, data, sizeof(data), 0);
        } else {
                fd = -EBADF;
        }
        if (n > 0)
                parse_entry(guard, data, (size_t) n);
        return true;
}

/* Plays journald until the monitor has ended or, with WANT, so many lines have come. */
static void journal_play(Guard *guard, size_t want)
{
        while (want == 0 || guard->n_lines < want) {
                struct pollfd fds[] = { { .fd = guard->journal, .events = POLLIN },
                                        { .fd = guard->pidfd, .events = POLLIN } };

                assert_true(poll(fds, 2, PATIENCE_MS) > 0);
                if (!journal_take(guard) && fds[1].revents)
                        break;
        }
}

static void guard_end(Guard *guard)
{
        int status;
        CLEANUP_FREE char *path = guard_path(guard, MONITOR_EXIT_RECORD);

        journal_play(guard, 0);
        assert_int_equal(waitpid(guard->pid, &status, 0), guard->pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_true(file_read_at(AT_FDCWD, path, 4096, &guard->record, NULL) >= 0);
}

static void guard_free(Guard *guard)
{
        for (size_t i = 0; i < guard->n_lines; i++)
                free(guard->lines[i].data);
        free(guard->lines);
        free(guard->record);
        fd_close(guard->pidfd);
        fd_close(guard->journal);
        fd_close(guard->listen);
        fd_close(guard->request);
        (void) path_remove_tree_at(AT_FDCWD, guard->directory);
}

#define GUARD(...) __attribute__((cleanup(guard_free))) Guard guard = { __VA_ARGS__ }

/* All a client gets until its end. */
static size_t read_all(int fd, char *data, size_t size)
{
        size_t n = 0;
        ssize_t r;
        struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };

        (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        while ((r = recv(fd, data + n, size - n, 0)) > 0)
                n += (size_t) r;
        assert_int_equal(r, 0);
        data[MIN(n, size - 1)] = '\0';
        return n;
}

static void read_until(int fd, const char *wanted)
{
        char data[4096] = {};
        size_t n = 0;
        ssize_t r;

        while (!strstr(data, wanted)) {
                struct pollfd p = { .fd = fd, .events = POLLIN };

                assert_true(poll(&p, 1, PATIENCE_MS) == 1);
                r = recv(fd, data + n, sizeof(data) - 1 - n, 0);
                assert_true(r > 0);
                n += (size_t) r;
        }
}

static void assert_line(const Guard *guard, size_t i, int priority, const char *text)
{
        assert_true(i < guard->n_lines);
        assert_string_equal(guard->lines[i].data, text);
        assert_int_equal(guard->lines[i].priority, priority);
}

static void test_lines_and_status(void **state)
{
        GUARD(.script = "printf 'one\\n\\nthree'; exec >&-; printf 'bad\\n' >&2; exit 42");

        (void) state;
        guard_prepare(&guard);
        guard_start(&guard);
        guard_end(&guard);
        assert_int_equal(guard.n_lines, 4);
        /* The order between the two streams is the reader's; within one it is the writer's. */
        size_t output = 0;
        for (size_t i = 0; i < 4; i++) {
                static const char *const expected[] = { "one", "", "three" };

                if (guard.lines[i].priority == 3)
                        assert_string_equal(guard.lines[i].data, "bad");
                else
                        assert_string_equal(guard.lines[i].data, expected[output++]);
                assert_false(guard.lines[i].partial);
        }
        assert_int_equal(output, 3);
        assert_non_null(strstr(guard.record, "{\"Run\":7,\"ExitCode\":42,\"OOMKilled\":false,\"FinishedAt\":\"20"));
        assert_non_null(strstr(guard.record, "\"LinesLost\":0,\"Stopped\":false}"));
}

static void test_killed_and_out_of_memory(void **state)
{
        GUARD(.script = "kill -9 $$");
        CLEANUP_FREE char *events = NULL;
        CLEANUP_CLOSE int fd = -EBADF;

        (void) state;
        guard_prepare(&guard);
        guard.payload = guard.directory;
        events = guard_path(&guard, "memory.events");
        fd = open(events, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(fd_write_all(fd, "low 0\noom 1\noom_kill 1\n", 23), 0);
        guard_start(&guard);
        guard_end(&guard);
        assert_non_null(strstr(guard.record, "\"ExitCode\":137,\"OOMKilled\":true"));
}

static void test_attached_before_start(void **state)
{
        GUARD(.script = "echo out; sleep 0.05; echo err >&2");
        char data[256];
        int raw, framed;

        (void) state;
        guard_prepare(&guard);
        raw = attach(&guard, "oe", "-");
        framed = attach(&guard, "oem", "-");
        guard_start(&guard);
        request_answer(&guard, "ok");
        request_answer(&guard, "ok");
        guard_end(&guard);
        assert_int_equal(read_all(raw, data, sizeof(data)), 8);
        assert_string_equal(data, "out\nerr\n");
        assert_int_equal(read_all(framed, data, sizeof(data)), 24);
        assert_memory_equal(data, "\1\0\0\0\0\0\0\4out\n\2\0\0\0\0\0\0\4err\n", 24);
        close(raw);
        close(framed);
}

static void test_input_once(void **state)
{
        GUARD(.script = "cat; echo done", .open_stdin = true, .stdin_once = true);
        char data[256];
        int client;

        (void) state;
        guard_prepare(&guard);
        client = attach(&guard, "ioe", "1011");
        guard_start(&guard);
        request_answer(&guard, "ok");
        /* Without a terminal there is no detaching. */
        assert_int_equal(send(client, "a\x10\x11z\n", 5, 0), 5);
        assert_int_equal(shutdown(client, SHUT_WR), 0);
        guard_end(&guard);
        read_all(client, data, sizeof(data));
        assert_string_equal(data, "a\x10\x11z\ndone\n");
        close(client);
}

static void test_input_stays_open(void **state)
{
        GUARD(.script = "read x; echo got $x; read x; echo got $x", .open_stdin = true);
        int client;

        (void) state;
        guard_prepare(&guard);
        guard_start(&guard);
        client = attach(&guard, "i", "-");
        assert_int_equal(send(client, "one\n", 4, 0), 4);
        /* It sends and is gone at once: what it sent still arrives. */
        close(client);
        journal_play(&guard, 1);
        client = attach(&guard, "i", "-");
        assert_int_equal(send(client, "two\n", 4, 0), 4);
        guard_end(&guard);
        close(client);
        assert_line(&guard, 0, 6, "got one");
        assert_line(&guard, 1, 6, "got two");
}

static void test_input_back_pressure(void **state)
{
        GUARD(.script = "sleep 0.5; wc -c", .open_stdin = true, .stdin_once = true);
        static char block[65536];
        size_t sent = 0;
        int client;

        (void) state;
        guard_prepare(&guard);
        guard_start(&guard);
        client = attach(&guard, "i", "-");
        while (sent < 4 * 1024 * 1024) {
                ssize_t n = send(client, block, sizeof(block), 0);

                assert_true(n > 0);
                sent += (size_t) n;
        }
        shutdown(client, SHUT_WR);
        guard_end(&guard);
        close(client);
        assert_line(&guard, 0, 6, "4194304");
}

static void test_terminal_detach_and_resize(void **state)
{
        GUARD(.script = "stty -echo; echo ready; read x; stty size; echo \"<$x>\"; exit 5", .terminal = true);
        int client, second;
        char data[512];

        (void) state;
        guard_prepare(&guard);
        client = attach(&guard, "ioe", "1011");
        guard_start(&guard);
        request_answer(&guard, "ok");
        read_until(client, "ready\r\n");
        request_send(&guard, "resize 33 101", -1);
        request_answer(&guard, "ok");
        assert_int_equal(send(client,
                              "ab\x10"
                              "c\x10\x11ignored",
                              13, 0),
                         13);
        assert_int_equal(read_all(client, data, sizeof(data)), 0);
        close(client);
        second = attach(&guard, "ioe", "-");
        /* The end of a client's input means nothing to a terminal. */
        assert_int_equal(send(second, "d\n", 2, 0), 2);
        shutdown(second, SHUT_WR);
        guard_end(&guard);
        read_all(second, data, sizeof(data));
        close(second);
        assert_string_equal(data, "33 101\r\n<ab\x10"
                                  "cd>\r\n");
        assert_line(&guard, 0, 6, "ready\r");
        assert_line(&guard, 1, 6, "33 101\r");
        assert_non_null(strstr(guard.record, "\"ExitCode\":5,"));
}

static void test_requests_refused(void **state)
{
        static const struct {
                const char *request, *answer;
        } table[] = {
                { "resize 10 20", "error 25" },   { "resize 10", "error 22" },  { "resize -1 5", "error 22" },
                { "attach oe -", "error 9" },     { "dance oe -", "error 95" }, { "attach o - x", "error 22" },
                { "resize 70000 1", "error 22" },
        };
        GUARD(.script = "sleep 0.3");
        int file = open("/dev/null", O_RDONLY | O_CLOEXEC);

        (void) state;
        guard_prepare(&guard);
        guard_start(&guard);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                request_send(&guard, table[i].request, -1);
                request_answer(&guard, table[i].answer);
        }
        request_send(&guard, "attach oe -", file);
        request_answer(&guard, "error 88");
        close(file);
        guard_end(&guard);
}

static void test_slow_and_vanishing_clients(void **state)
{
        GUARD(.script = "dd if=/dev/zero bs=65536 count=64 2>/dev/null | tr '\\0' '\\n'", .no_log = true);
        static char data[5 * 1024 * 1024];
        int slow, gone;
        char byte;

        (void) state;
        guard_prepare(&guard);
        slow = attach(&guard, "o", "-");
        gone = attach(&guard, "o", "-");
        guard_start(&guard);
        request_answer(&guard, "ok");
        request_answer(&guard, "ok");
        assert_int_equal(recv(gone, &byte, 1, 0), 1);
        close(gone);
        /* The container is held up meanwhile, and nothing is lost. */
        nanosleep(&(struct timespec) { .tv_nsec = 500000000 }, NULL);
        assert_int_equal(read_all(slow, data, sizeof(data)), 64 * 65536);
        close(slow);
        guard_end(&guard);
        assert_int_equal(guard.n_lines, 0);
}

static void test_slow_after_the_end(void **state)
{
        GUARD(.script = "head -c 230000 /dev/zero | tr '\\0' x", .no_log = true);
        static char data[400000];
        int slow;

        (void) state;
        guard_prepare(&guard);
        client_buffer = 32 * 1024;
        slow = attach(&guard, "o", "-");
        client_buffer = 0;
        guard_start(&guard);
        request_answer(&guard, "ok");
        assert_int_equal(recv(slow, data, 120000, MSG_WAITALL), 120000);
        /* The program ends, its last output still in the pipe; longer than a silent stream would be waited for. */
        nanosleep(&(struct timespec) { .tv_sec = 3 }, NULL);
        assert_int_equal(read_all(slow, data, sizeof(data)), 230000 - 120000);
        close(slow);
        guard_end(&guard);
}

static void test_terminal_reopened(void **state)
{
        GUARD(.script = "t=$(tty); exec <&- >&- 2>&-; sleep 0.4; echo again >$t; sleep 0.1; exit 4", .terminal = true);
        int client;
        char data[64];

        (void) state;
        guard_prepare(&guard);
        client = attach(&guard, "o", "-");
        guard_start(&guard);
        request_answer(&guard, "ok");
        guard_end(&guard);
        read_all(client, data, sizeof(data));
        close(client);
        assert_string_equal(data, "again\r\n");
        assert_line(&guard, 0, 6, "again\r");
        assert_non_null(strstr(guard.record, "\"ExitCode\":4,"));
}

static void test_stuck_client_is_given_up(void **state)
{
        GUARD(.script = "dd if=/dev/zero bs=65536 count=4 2>/dev/null", .no_log = true);
        int stuck;
        time_t start = time(NULL);

        (void) state;
        guard_prepare(&guard);
        stuck = attach(&guard, "o", "-");
        guard_start(&guard);
        request_answer(&guard, "ok");
        nanosleep(&(struct timespec) { .tv_sec = 1 }, NULL);
        shutdown(stuck, SHUT_WR);
        guard_end(&guard);
        close(stuck);
        assert_true(time(NULL) - start < 15);
}

static void test_long_lines(void **state)
{
        GUARD(.script = "head -c 262144 /dev/zero | tr '\\0' x; echo; "  /* one record */
                        "head -c 393216 /dev/zero | tr '\\0' y; echo; "  /* exactly the limit */
                        "head -c 1000000 /dev/zero | tr '\\0' z; echo; " /* parts */
                        "head -c 32768 /dev/zero | tr '\\0' w; echo; "   /* the largest in a datagram */
                        "printf 'a\\0\\377b\\n'");
        static const size_t sizes[] = { 262144, 393216, 393216, 393216, 213568, 32768, 4 };
        static const bool partial[] = { false, false, true, true, false, false, false };

        (void) state;
        guard_prepare(&guard);
        guard_start(&guard);
        guard_end(&guard);
        assert_int_equal(guard.n_lines, ARRAY_SIZE(sizes));
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                assert_int_equal(guard.lines[i].size, sizes[i]);
                assert_int_equal(guard.lines[i].partial, partial[i]);
                assert_int_equal(guard.lines[i].priority, 6);
        }
        assert_memory_equal(guard.lines[6].data, "a\0\377b", 4);
        assert_int_equal(guard.lines[2].data[393215], 'z');
}

static void test_journal_slow_and_replaced(void **state)
{
        GUARD(.script = "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done");
        char expected[32];
        size_t next = 0;

        (void) state;
        guard_prepare(&guard);
        guard_start(&guard);
        journal_play(&guard, 5000);
        /* A new socket, as systemd-journald.socket makes when it is restarted: what was queued in the old one is
         * gone. */
        close(guard.journal);
        nanosleep(&(struct timespec) { .tv_nsec = 300000000 }, NULL);
        guard.journal = journal_bind(&guard);
        nanosleep(&(struct timespec) { .tv_nsec = 300000000 }, NULL);
        guard_end(&guard);
        /* Nothing is lost; what was in doubt may come twice. */
        for (size_t i = 0; i < guard.n_lines && next < 30000; i++) {
                (void) snprintf(expected, sizeof(expected), "line %zu", next);
                if (str_equal(guard.lines[i].data, expected))
                        next++;
        }
        assert_int_equal(next, 30000);
        assert_non_null(strstr(guard.record, "\"LinesLost\":0,\"Stopped\":false}"));
}

/* Says nothing for a while. */
static void expect_silence(int fd)
{
        struct pollfd p = { .fd = fd, .events = POLLIN };

        assert_int_equal(poll(&p, 1, 400), 0);
}

/* A client that reads the log itself misses nothing between that and its first output, and gets nothing twice. */
static void test_joined(void **state)
{
        GUARD(.script = "printf 'one\ntw'; read x; printf 'o\nthree\n'; read x; echo four", .open_stdin = true);
        char data[256];
        int first, joined;

        (void) state;
        guard_prepare(&guard);
        guard_start(&guard);
        first = attach(&guard, "i", "-");
        journal_play(&guard, 1);
        nanosleep(&(struct timespec) { .tv_nsec = 200000000 }, NULL);
        joined = attach(&guard, "oh", "-");
        read_until(joined, "tw");
        assert_int_equal(write(first, "\n", 1), 1);
        expect_silence(joined);
        while (journal_take(&guard))
                ;
        assert_int_equal(guard.n_lines, 1);
        guard.request = fd_close(guard.request);
        read_until(joined, "o\nthree\n");
        assert_int_equal(write(first, "\n", 1), 1);
        guard_end(&guard);
        assert_int_equal(read_all(joined, data, sizeof(data)), 5);
        assert_string_equal(data, "four\n");
        assert_line(&guard, 0, 6, "one");
        assert_line(&guard, 1, 6, "two");
        assert_line(&guard, 3, 6, "four");
        close(first);
        close(joined);
}

/* Of a line that does not fit into memory, too; and whoever asked and goes astray holds nothing up for good. */
static void test_joined_and_held(void **state)
{
        GUARD(.script = "head -c 100000 /dev/zero | tr '\\0' x; sleep 0.5; echo end");
        static char data[200000];
        time_t start = time(NULL);
        int client;

        (void) state;
        guard_prepare(&guard);
        guard_start(&guard);
        nanosleep(&(struct timespec) { .tv_nsec = 300000000 }, NULL);
        client = attach(&guard, "oeh", "-");
        guard_end(&guard);
        assert_int_equal(read_all(client, data, sizeof(data)), 100004);
        assert_string_equal(data + 99998, "xxend\n");
        assert_in_range(time(NULL) - start, 9, 15);
        assert_int_equal(guard.n_lines, 1);
        close(client);
}

static void test_held_open_elsewhere(void **state)
{
        GUARD(.script = "sleep 30 & echo started; exit 3");
        time_t start = time(NULL);

        (void) state;
        guard_prepare(&guard);
        guard_start(&guard);
        guard_end(&guard);
        assert_line(&guard, 0, 6, "started");
        assert_in_range(time(NULL) - start, 1, 10);
        assert_non_null(strstr(guard.record, "\"ExitCode\":3,"));
}

static void test_no_journal_at_all(void **state)
{
        GUARD(.script = "echo unheard");

        (void) state;
        guard_prepare(&guard);
        /* Gone for good. The queue holds the line, and the end waits for a journal, but not for ever; the test brings
         * one back. */
        close(guard.journal);
        guard_start(&guard);
        nanosleep(&(struct timespec) { .tv_nsec = 400000000 }, NULL);
        guard.journal = journal_bind(&guard);
        guard_end(&guard);
        assert_line(&guard, 0, 6, "unheard");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lines_and_status),
                cmocka_unit_test(test_killed_and_out_of_memory),
                cmocka_unit_test(test_attached_before_start),
                cmocka_unit_test(test_input_once),
                cmocka_unit_test(test_input_stays_open),
                cmocka_unit_test(test_input_back_pressure),
                cmocka_unit_test(test_terminal_detach_and_resize),
                cmocka_unit_test(test_requests_refused),
                cmocka_unit_test(test_slow_and_vanishing_clients),
                cmocka_unit_test(test_slow_after_the_end),
                cmocka_unit_test(test_terminal_reopened),
                cmocka_unit_test(test_stuck_client_is_given_up),
                cmocka_unit_test(test_long_lines),
                cmocka_unit_test(test_journal_slow_and_replaced),
                cmocka_unit_test(test_joined),
                cmocka_unit_test(test_joined_and_held),
                cmocka_unit_test(test_held_open_elsewhere),
                cmocka_unit_test(test_no_journal_at_all),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
