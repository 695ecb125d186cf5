/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stopping a real process, by a clock of the test's; its group is a directory. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/monitor.h"
#include "berth/string.h"
#include "monitor-stop.h"

#define SEC 1000000000LL

typedef struct Fixture {
        char group[64];
        pid_t pid;
        int pidfd;
        MonitorStop stop;
} Fixture;

/* A process that ends by the signals that are not in IGNORED. */
static void setup(Fixture *f, int ignored, int signal_number, int64_t timeout)
{
        strcpy(f->group, "/tmp/test-monitor-stop-XXXXXX");
        assert_non_null(mkdtemp(f->group));
        for (size_t i = 0; i < 2; i++) {
                CLEANUP_FREE char *path = path_join(f->group, i == 0 ? "cgroup.freeze" : "cgroup.kill");
                CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

                assert_true(fd >= 0);
        }
        /* Ignored from its first moment on. */
        if (ignored > 0)
                (void) signal(ignored, SIG_IGN);
        f->pid = fork();
        if (f->pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;)
                        (void) pause();
        }
        if (ignored > 0)
                (void) signal(ignored, SIG_DFL);
        assert_true(f->pid > 0);
        f->pidfd = pidfd_open(f->pid, 0);
        assert_true(f->pidfd >= 0);
        const MonitorOptions options = { .stop_signal = signal_number, .stop_timeout = timeout, .payload = f->group };
        monitor_stop_init(&f->stop, &options);
}

static void teardown(Fixture *f)
{
        fd_close(f->pidfd);
        if (f->pid > 0) {
                (void) kill(f->pid, SIGKILL);
                (void) waitpid(f->pid, NULL, 0);
        }
        (void) path_remove_tree_at(AT_FDCWD, f->group);
}

#define FIXTURE(name) __attribute__((cleanup(teardown))) Fixture name = { .pidfd = -EBADF }

/* The signal it ends by. */
static int wait_for_end(Fixture *f)
{
        int status;

        assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
        assert_true(WIFSIGNALED(status));
        f->pid = 0;
        return WTERMSIG(status);
}

static void assert_group(const Fixture *f, const char *name, const char *wanted)
{
        CLEANUP_FREE char *path = path_join(f->group, name), *text = NULL;

        assert_true(file_read_at(AT_FDCWD, path, 16, &text, NULL) >= 0);
        assert_string_equal(text, wanted);
}

static void test_own_signal(void **state)
{
        FIXTURE(f);
        (void) state;

        setup(&f, SIGTERM, SIGUSR2, 10);
        assert_int_equal(monitor_stop_due(&f.stop), INT64_MAX);
        monitor_stop_dispatch(&f.stop, f.pidfd, 5 * SEC);
        assert_int_equal(monitor_stop_due(&f.stop), INT64_MAX);
        monitor_stop_begin(&f.stop, f.pidfd, 5 * SEC);
        assert_int_equal(monitor_stop_due(&f.stop), 15 * SEC);
        assert_group(&f, "cgroup.freeze", "0");
        assert_int_equal(wait_for_end(&f), SIGUSR2);
        /* Others of the group have no more time than the first process. */
        assert_group(&f, "cgroup.kill", "");
        monitor_stop_dispatch(&f.stop, -EBADF, 6 * SEC);
        assert_group(&f, "cgroup.kill", "1");
        assert_int_equal(monitor_stop_due(&f.stop), INT64_MAX);
}

static void test_whole_time(void **state)
{
        FIXTURE(f);
        (void) state;

        setup(&f, SIGTERM, SIGTERM, 60);
        monitor_stop_begin(&f.stop, f.pidfd, 5 * SEC);
        monitor_stop_begin(&f.stop, f.pidfd, 30 * SEC); /* asked again: no more time */
        monitor_stop_dispatch(&f.stop, f.pidfd, 65 * SEC - 1);
        assert_int_equal(waitpid(f.pid, NULL, WNOHANG), 0);
        monitor_stop_dispatch(&f.stop, f.pidfd, 65 * SEC);
        assert_int_equal(wait_for_end(&f), SIGKILL);
}

static void test_limits(void **state)
{
        FIXTURE(never);
        FIXTURE(at_once);
        FIXTURE(kill);
        (void) state;

        setup(&never, SIGTERM, SIGTERM, -1);
        monitor_stop_begin(&never.stop, never.pidfd, 5 * SEC);
        assert_int_equal(monitor_stop_due(&never.stop), INT64_MAX);
        monitor_stop_dispatch(&never.stop, never.pidfd, 1000000 * SEC);
        assert_int_equal(waitpid(never.pid, NULL, WNOHANG), 0);

        setup(&at_once, SIGTERM, SIGTERM, 0);
        monitor_stop_begin(&at_once.stop, at_once.pidfd, 5 * SEC);
        monitor_stop_dispatch(&at_once.stop, at_once.pidfd, 5 * SEC);
        assert_int_equal(wait_for_end(&at_once), SIGKILL);

        setup(&kill, 0, SIGKILL, 10);
        monitor_stop_begin(&kill.stop, kill.pidfd, 5 * SEC);
        assert_int_equal(wait_for_end(&kill), SIGKILL);
}

/* Somebody continues a monitor that was stopped; the test is not systemd. */
static void test_of_others(void **state)
{
        FIXTURE(f);
        (void) state;

        setup(&f, SIGTERM, SIGTERM, 0);
        monitor_stop_prepare();
        assert_int_equal(raise(SCOPE_KILL_SIGNAL), 0);
        assert_int_equal(kill(getpid(), SCOPE_KILL_SIGNAL), 0);
        monitor_stop_dispatch(&f.stop, f.pidfd, 5 * SEC);
        assert_int_equal(waitpid(f.pid, NULL, WNOHANG), 0);
        assert_int_equal(monitor_stop_due(&f.stop), INT64_MAX);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_own_signal),
                cmocka_unit_test(test_whole_time),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_of_others),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
