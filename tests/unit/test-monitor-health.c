/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the results of health checks mean, and the state as JSON whatever a check writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "berth/cleanup.h"
#include "monitor-health.h"

#define SEC INT64_C(1000000000)

static void test_retries(void **state)
{
        MonitorHealth health = { .timing = { .retries = 3 } };
        (void) state;

        for (int i = 1; i <= 2; i++) {
                monitor_health_judge(&health, 1, i * SEC);
                assert_int_equal(health.status, MONITOR_HEALTH_STARTING);
        }
        monitor_health_judge(&health, 1, 3 * SEC);
        assert_int_equal(health.status, MONITOR_HEALTH_UNHEALTHY);
        assert_int_equal(health.streak, 3);
        monitor_health_judge(&health, -1, 4 * SEC);
        assert_int_equal(health.streak, 4);
        monitor_health_judge(&health, 0, 5 * SEC);
        assert_int_equal(health.status, MONITOR_HEALTH_HEALTHY);
        assert_int_equal(health.streak, 0);
        monitor_health_judge(&health, 2, 6 * SEC);
        assert_int_equal(health.status, MONITOR_HEALTH_HEALTHY);
}

static void test_start_period(void **state)
{
        MonitorHealth health = { .started_ns = 100 * SEC, .timing = { .retries = 1, .start_period_ns = 10 * SEC } };
        (void) state;

        monitor_health_judge(&health, 1, 109 * SEC);
        assert_int_equal(health.status, MONITOR_HEALTH_STARTING);
        assert_int_equal(health.streak, 0);
        /* Once it was healthy, the period is over. */
        monitor_health_judge(&health, 0, 109 * SEC);
        monitor_health_judge(&health, 1, 109 * SEC);
        assert_int_equal(health.status, MONITOR_HEALTH_UNHEALTHY);

        health = (MonitorHealth) { .started_ns = 100 * SEC, .timing = { .retries = 1, .start_period_ns = 10 * SEC } };
        monitor_health_judge(&health, 1, 110 * SEC);
        assert_int_equal(health.status, MONITOR_HEALTH_UNHEALTHY);
}

static json_t *formatted(const char *output, size_t size)
{
        CLEANUP_BUFFER Buffer text = {};
        MonitorHealth health = { .status = MONITOR_HEALTH_HEALTHY, .streak = 2, .n_log = 2 };

        health.log[0].exit_code = -1;
        assert_int_equal(buffer_append(&health.log[1].output, output, size), 0);
        assert_int_equal(monitor_health_format(&health, &text), 0);
        buffer_clear(&health.log[1].output);
        json_t *value = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(value);
        return value;
}

static void test_format(void **state)
{
        static const struct {
                const char *bytes;
                size_t size;
                const char *shown;
        } cases[] = {
                { "plain\n\t\"\\\x01", 10, "plain\n\t\"\\\x01" },
                { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
                { "a\0b", 3,
                  "a\xef\xbf\xbd"
                  "b" },
                { "\xff\xc3", 2, "\xef\xbf\xbd\xef\xbf\xbd" },
                { "\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd" },
                { "\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
                { "\xf4\x90\x80\x80", 4, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
                { "\xe0\x80\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                CLEANUP_JSON json_t *value = formatted(cases[i].bytes, cases[i].size);
                const json_t *log = json_object_get(value, "Log");

                assert_string_equal(json_string_value(json_object_get(value, "Status")), "healthy");
                assert_int_equal(json_integer_value(json_object_get(value, "FailingStreak")), 2);
                assert_int_equal(json_array_size(log), 2);
                assert_int_equal(json_integer_value(json_object_get(json_array_get(log, 0), "ExitCode")), -1);
                assert_string_equal(json_string_value(json_object_get(json_array_get(log, 1), "Output")),
                                    cases[i].shown);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_retries),
                cmocka_unit_test(test_start_period),
                cmocka_unit_test(test_format),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
