/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Times and durations in the API's forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "berth/string.h"

#define SECOND INT64_C(1000000000)

static void test_format(void **state)
{
        char text[TIME_RFC3339_SIZE];
        (void) state;

        assert_string_equal(time_format_rfc3339(0, text), "1970-01-01T00:00:00Z");
        assert_string_equal(time_format_rfc3339(120000000, text), "1970-01-01T00:00:00.12Z");
        assert_string_equal(time_format_rfc3339_fixed(120000000, text), "1970-01-01T00:00:00.120000000Z");
        assert_string_equal(time_format_rfc3339(-1, text), "1969-12-31T23:59:59.999999999Z");
}

static void test_rfc3339(void **state)
{
        static const struct {
                const char *text;
                int64_t ns;
        } good[] = {
                { "1970-01-01T00:00:01Z", SECOND },
                { "1970-01-01T01:00:01+01:00", SECOND },
                { "1970-01-01T00:00:00.5Z", SECOND / 2 },
                { "2026-11-24T10:00:00.123456789123Z", INT64_C(1795514400123456789) },
        };
        static const char *const bad[] = { "",
                                           "1970-01-01",
                                           "1970-01-01T00:00:01",
                                           "1970-01-01T00:00:01+1:00",
                                           "1970-01-01T00:00:01+25:00",
                                           "yesterday",
                                           "1970-01-01T00:00:01Zx" };
        int64_t ns;
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(time_parse_rfc3339(good[i].text, &ns), 0);
                assert_int_equal(ns, good[i].ns);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(time_parse_rfc3339(bad[i], &ns), -EINVAL);
}

static void test_duration(void **state)
{
        static const struct {
                const char *text;
                int64_t ns;
        } good[] = { { "0", 0 },
                     { "1s", SECOND },
                     { "1h2m3s", 3723 * SECOND },
                     { "1.5s", SECOND * 3 / 2 },
                     { "-2m", -120 * SECOND },
                     { "300ms", 300000000 },
                     { "10us", 10000 },
                     { "7ns", 7 } };
        static const char *const bad[] = { "", "1", "s", "1x", "1.2.3s", "-", "1s2", "99999999999999999h" };
        int64_t ns;
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(duration_parse(good[i].text, &ns), 0);
                assert_int_equal(ns, good[i].ns);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(duration_parse(bad[i], &ns), -EINVAL);
}

static void test_query(void **state)
{
        int64_t ns;
        (void) state;

        assert_int_equal(time_parse_query("12", 0, &ns), 0);
        assert_int_equal(ns, 12 * SECOND);
        assert_int_equal(time_parse_query("12.000000005", 0, &ns), 0);
        assert_int_equal(ns, 12 * SECOND + 5);
        assert_int_equal(time_parse_query("10m", 3600 * SECOND, &ns), 0);
        assert_int_equal(ns, 3000 * SECOND);
        assert_int_equal(time_parse_query("1970-01-02T00:00:00Z", 0, &ns), 0);
        assert_int_equal(ns, 86400 * SECOND);
        assert_int_equal(time_parse_query("soon", 0, &ns), -EINVAL);
        assert_int_equal(time_parse_query("", 0, &ns), -EINVAL);
        assert_int_equal(time_parse_query("99999999999999999999", 0, &ns), -EINVAL);
        assert_int_equal(time_parse_query("-1", 0, &ns), -EINVAL);
        assert_int_equal(time_parse_query(" 1", 0, &ns), -EINVAL);
}

static void test_seconds(void **state)
{
        int64_t ns, end;
        (void) state;

        assert_int_equal(time_parse_seconds("12.5", &ns), 0);
        assert_int_equal(ns, 12 * SECOND + SECOND / 2);
        assert_int_equal(time_parse_seconds("+3", &ns), 0);
        assert_int_equal(ns, 3 * SECOND);
        assert_int_equal(time_parse_seconds("-3", &ns), 0);
        assert_int_equal(ns, -3 * SECOND);
        assert_int_equal(time_parse_seconds("9223372036854775807", &end), 0);
        assert_int_equal(time_parse_seconds("9000000000", &ns), 0);
        assert_true(ns < end);
        assert_int_equal(time_parse_seconds("9223372036854775808", &ns), -ERANGE);
        assert_int_equal(time_parse_seconds("9223372036854775808x", &ns), -EINVAL);
        for (size_t i = 0; i < 5; i++)
                assert_int_equal(time_parse_seconds((const char *[]) { "", "x", " 1", "1 ", "1e3" }[i], &ns), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_format), cmocka_unit_test(test_rfc3339), cmocka_unit_test(test_duration),
                cmocka_unit_test(test_query),  cmocka_unit_test(test_seconds),
        };

        return cmocka_run_group_tests_name("util-time", tests, NULL, NULL);
}
