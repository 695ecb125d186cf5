/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The detach sequence: held back, passed on when it breaks, found across any division into reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "monitor-detach.h"

/* Feeds INPUT byte by byte or at once. Returns what was passed on; *ret says whether the sequence was found. */
static void check(const char *hex, const char *input, const char *expected, int detached)
{
        for (size_t step = 1; step <= strlen(input); step++) {
                CLEANUP_BUFFER Buffer output = {};
                MonitorDetach detach = {};
                int r = 0;

                assert_int_equal(monitor_detach_parse(&detach, hex), 0);
                for (size_t i = 0; r == 0 && i < strlen(input); i += step)
                        r = monitor_detach_feed(&detach, (const uint8_t *) input + i, MIN(step, strlen(input) - i),
                                                &output);
                assert_int_equal(r, detached);
                if (!r)
                        assert_int_equal(monitor_detach_end(&detach, &output), 0);
                assert_int_equal(output.size, strlen(expected));
                assert_memory_equal(output.data ? output.data : "", expected, output.size);
        }
}

static void test_sequences(void **state)
{
        (void) state;
        check("1011", "ls\n", "ls\n", 0);
        check("1011", "ls\n\x10\x11xx", "ls\n", 1);
        check("1011",
              "\x10"
              "a\x10\x11",
              "\x10"
              "a",
              1);
        check("1011", "\x10\x10\x11", "\x10", 1);
        check("1011", "a\x10", "a\x10", 0);
        check("-", "\x10\x11", "\x10\x11", 0);
        /* a,a,b after a,a,a: the last two are still a beginning. */
        check("616162", "aaab", "a", 1);
        check("616162", "aaxaab", "aax", 1);
        check("6162616263", "abababc", "ab", 1);
        check("71", "abcq", "abc", 1);
}

static void test_held_back(void **state)
{
        CLEANUP_BUFFER Buffer output = {};
        MonitorDetach detach = {};

        (void) state;
        assert_int_equal(monitor_detach_parse(&detach, "1011"), 0);
        assert_int_equal(monitor_detach_feed(&detach, (const uint8_t *) "\x10", 1, &output), 0);
        assert_int_equal(output.size, 0);
        assert_int_equal(monitor_detach_feed(&detach, (const uint8_t *) "z", 1, &output), 0);
        assert_int_equal(output.size, 2);
}

static void test_parse(void **state)
{
        static const char *const bad[] = { "",
                                           "1",
                                           "zz",
                                           "101",
                                           "10 1",
                                           ("0000000000000000000000000000000000000000000000000000000000000000"
                                            "00") };
        MonitorDetach detach = {};

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(monitor_detach_parse(&detach, bad[i]), -EINVAL);
        assert_int_equal(monitor_detach_parse(&detach, "Aa0B"), 0);
        assert_int_equal(detach.n_keys, 2);
        assert_int_equal(detach.keys[0], 0xaa);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sequences),
                cmocka_unit_test(test_held_back),
                cmocka_unit_test(test_parse),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
