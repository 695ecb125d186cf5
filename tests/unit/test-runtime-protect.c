/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The protection of the daemon's program file: this program protects itself and then looks at what a container's first
 * process could do with it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "berth/runtime.h"
#include "berth/string.h"

static void test_not_writable(void **state)
{
        (void) state;
        /* Were it writable, the answer would be ETXTBSY as long as the program runs. */
        assert_int_equal(open("/proc/self/exe", O_WRONLY | O_TRUNC | O_CLOEXEC), -1);
        assert_int_equal(errno, EROFS);
}

/* Another program that has the file open does not find it busy, but still read-only. */
static void test_not_writable_from_outside(void **state)
{
        static const char script[] =
                "exec 2>&-; if (true 3>>/proc/self/fd/9); then exit 1; fi; test -r /proc/self/fd/9";
        int fd = open("/proc/self/exe", O_PATH), status;
        pid_t pid = fork();

        (void) state;
        if (pid == 0) {
                dup2(fd, 9);
                execl("/bin/sh", "sh", "-c", script, NULL);
                _exit(99);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        close(fd);
}

static void test_same_program(void **state)
{
        char name[32];

        (void) state;
        assert_int_equal(prctl(PR_GET_NAME, name), 0);
        assert_string_equal(name, "test-runtime-pr"); /* as long as the kernel keeps it */
        assert_int_equal(access("/proc/self/exe", X_OK), 0);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_not_writable),
                cmocka_unit_test(test_not_writable_from_outside),
                cmocka_unit_test(test_same_program),
        };
        int r;

        (void) argc;
        if (geteuid() != 0) {
                printf("skipped: needs root\n");
                return 0;
        }
        r = runtime_protect_program(argv);
        if (r < 0) {
                fprintf(stderr, "protect: %s\n", strerror(-r));
                return 1;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
