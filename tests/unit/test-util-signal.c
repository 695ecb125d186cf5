/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "berth/signal.h"
#include "berth/string.h"

static void test_good(void **state)
{
        const struct {
                const char *name;
                int number;
        } rows[] = {
                { "9", SIGKILL },        { "+15", SIGTERM },
                { "KILL", SIGKILL },     { "SIGUSR1", SIGUSR1 },
                { "sigUsr2", SIGUSR2 },  { "CLD", SIGCHLD },
                { "SIGIO", SIGIO },      { "POLL", SIGPOLL },
                { "iot", SIGABRT },      { "RTMIN", SIGRTMIN },
                { "RTMIN+0", SIGRTMIN }, { "sigrtmin+3", SIGRTMIN + 3 },
                { "RTMAX", SIGRTMAX },   { "RTMAX-14", SIGRTMAX - 14 },
                { "31", SIGSYS },        { "64", SIGRTMAX },
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                int number = 0;
                assert_int_equal(signal_parse(rows[i].name, &number), 0);
                assert_int_equal(number, rows[i].number);
        }
}

static void test_bad(void **state)
{
        static const char *const rows[] = {
                "",         "0",        "-9",     "65",       "32",       "33",       "9x",      "SIG",
                "SIG9",     "0x9",      " USR1",  "USR1 ",    "NOSUCH",   "SIGSIGIO", "RTMIN-1", "RTMAX+1",
                "RTMAX-15", "RTMIN+99", "RTMIN+", "RTMIN+ 1", "RTMIN+-1", "RTMAX--1", "RTMINx",
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                int number = 77;
                assert_int_equal(signal_parse(rows[i], &number), -EINVAL);
                assert_int_equal(number, 77);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),
                cmocka_unit_test(test_bad),
        };

        return cmocka_run_group_tests_name("util-signal", tests, NULL, NULL);
}
