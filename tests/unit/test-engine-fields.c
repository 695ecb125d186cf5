/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The field tables, filters, and signal names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>

#include "berth/json.h"
#include "engine-private.h"

static int normalise(const char *object, const char *text, json_t **ret, Error *error)
{
        CLEANUP_JSON json_t *given = json_loads(text, 0, NULL);

        assert_non_null(given);
        return fields_normalise(object, given, ret, error);
}

static void test_defaults(void **state)
{
        CLEANUP_JSON json_t *config = NULL, *host = NULL;
        (void) state;

        assert_int_equal(normalise("Config", "{\"NoSuchField\":1}", &config, NULL), 0);
        assert_null(json_object_get(config, "NoSuchField"));
        assert_string_equal(json_get_string(config, "Hostname"), "");
        assert_true(json_is_null(json_object_get(config, "Cmd")));
        assert_null(json_object_get(config, "Healthcheck"));
        assert_int_equal(normalise("HostConfig", "{}", &host, NULL), 0);
        assert_int_equal(json_get_int(host, "Memory", -1), 0);
}

static void test_types(void **state)
{
        static const char *const bad[] = { "{\"Hostname\":1}",     "{\"Tty\":\"yes\"}",      "{\"Env\":[1]}",
                                           "{\"Cmd\":{}}",         "{\"Labels\":{\"a\":1}}", "{\"StopTimeout\":\"1\"}",
                                           "{\"ExposedPorts\":[]}" };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                CLEANUP_JSON json_t *normal = NULL;
                CLEANUP_ERROR Error error = { 0 };
                assert_int_equal(normalise("Config", bad[i], &normal, &error), OUTCOME_BAD_REQUEST);
                assert_non_null(strstr(error.message, "cannot unmarshal"));
                assert_null(normal);
        }
}

static void test_forms(void **state)
{
        CLEANUP_JSON json_t *normal = NULL;
        (void) state;

        assert_int_equal(normalise("Config", "{\"cmd\":\"one\",\"TTY\":true}", &normal, NULL), 0);
        assert_int_equal(json_array_size(json_object_get(normal, "Cmd")), 1);
        assert_true(json_get_bool(normal, "Tty"));
}

static void test_label_filters(void **state)
{
        static const struct {
                const char *filters;
                bool match;
        } rows[] = {
                { "{}", true },
                { "{\"label\":[\"a\"]}", true },
                { "{\"label\":[\"a=1\"]}", true },
                { "{\"label\":{\"a=1\":true,\"b\":true}}", true },
                { "{\"label\":[\"a=2\"]}", false },
                { "{\"label\":[\"a=1\",\"c\"]}", false },
                { "{\"label\":{\"c\":false}}", true },
        };
        CLEANUP_JSON json_t *labels = json_pack("{ss ss}", "a", "1", "b", "");
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                CLEANUP_JSON json_t *filters = json_loads(rows[i].filters, 0, NULL);
                assert_int_equal(filters_labels(filters, labels), rows[i].match);
        }
}

static void test_signals(void **state)
{
        static const struct {
                const char *name;
                int number;
        } good[] = { { "TERM", SIGTERM }, { "SIGTERM", SIGTERM }, { "sigkill", SIGKILL }, { "9", 9 },
                     { "15", 15 },        { "USR1", SIGUSR1 },    { "RTMIN+3", 0 },       { "WINCH", SIGWINCH } };
        static const char *const bad[] = { "", "NOPE", "0", "-1", "999", "RTMIN+99", "SIG" };
        int number;
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(signal_parse(good[i].name, &number), 0);
                assert_int_equal(number, good[i].number > 0 ? good[i].number : SIGRTMIN + 3);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(signal_parse(bad[i], &number), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),      cmocka_unit_test(test_types),   cmocka_unit_test(test_forms),
                cmocka_unit_test(test_label_filters), cmocka_unit_test(test_signals),
        };

        return cmocka_run_group_tests_name("engine-fields", tests, NULL, NULL);
}
