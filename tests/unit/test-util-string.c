/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "berth/string.h"

static void test_sizes(void **state)
{
        static const struct {
                const char *text;
                int64_t step, size;
        } good[] = {
                { "0", 1024, 0 },
                { "10", 1024, 10 },
                { "10b", 1024, 10 },
                { "2k", 1024, 2048 },
                { "2k", 1000, 2000 },
                { "1.5 MB", 1024, 1572864 },
                { "3G", 1024, 3LL << 30 },
                { "1tb", 1024, 1LL << 40 },
                { "4GiB", 1024, 4LL << 30 },
                { "7P", 1000, 7000000000000000 },
        };
        static const char *const bad[] = { "",     "-1",    "much", "1x",        "1kk", "1 k b",
                                           "1kbx", "1kb i", "1ib",  "99999999P", "k",   " 1" };
        int64_t size;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(str_to_size(good[i].text, good[i].step, &size), 0);
                assert_int_equal(size, good[i].size);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                size = 4711;
                assert_int_equal(str_to_size(bad[i], 1024, &size), -EINVAL);
                assert_int_equal(size, 4711);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_sizes) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
