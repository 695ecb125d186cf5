/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes, durations, quoting, tables, JSON layout, lists of ports, image references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "berth/string.h"
#include "client-indent.h"
#include "client-list.h"
#include "client-reference.h"
#include "client-text.h"

static void check(char *text, const char *expected)
{
        assert_non_null(text);
        assert_string_equal(text, expected);
        free(text);
}

static void test_sizes(void **state)
{
        (void) state;
        check(text_size(0, 3), "0B");
        check(text_size(999, 3), "999B");
        check(text_size(1000, 3), "1kB");
        check(text_size(7891234, 3), "7.89MB");
        check(text_size(187654321, 4), "187.7MB");
        check(text_size(1234567890123.0, 3), "1.23TB");
        check(text_size(999999, 3), "1e+03kB");
        check(text_size_binary(8589934592.0), "8GiB");
        check(text_size_binary(1023), "1023B");
}

static void test_durations(void **state)
{
        static const struct {
                int64_t seconds;
                const char *text;
        } rows[] = {
                { -5, "Less than a second" }, { 0, "Less than a second" }, { 1, "1 second" },
                { 59, "59 seconds" },         { 60, "About a minute" },    { 119, "About a minute" },
                { 120, "2 minutes" },         { 3599, "59 minutes" },      { 3600, "About an hour" },
                { 5399, "About an hour" },    { 5400, "2 hours" },         { 47 * 3600, "47 hours" },
                { 48 * 3600, "2 days" },      { 13 * 86400, "13 days" },   { 14 * 86400, "2 weeks" },
                { 59 * 86400, "8 weeks" },    { 60 * 86400, "2 months" },  { 729 * 86400, "24 months" },
                { 730 * 86400, "2 years" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                check(duration_words(rows[i].seconds), rows[i].text);
}

static void test_parse_sizes(void **state)
{
        static const struct {
                const char *text;
                int64_t bytes; /* -2: refused */
        } rows[] = {
                { "0", 0 },           { "512", 512 },        { "64m", 64 << 20 }, { "64M", 64 << 20 },
                { "64mb", 64 << 20 }, { "64MiB", 64 << 20 }, { "1.5g", 3 << 29 }, { "2 kb", 2048 },
                { "5b", 5 },          { "-1", -1 },          { "", -2 },          { "x", -2 },
                { "1x", -2 },         { "-2", -2 },          { "1kk", -2 },       { "0x10", -2 },
                { "1e3", -2 },        { "9999999999p", -2 }, { "1..2", -2 },      { "nan", -2 },
        };
        int64_t value;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                int r = text_parse_size(rows[i].text, &value);

                if (rows[i].bytes == -2) {
                        assert_int_equal(r, -EINVAL);
                } else {
                        assert_int_equal(r, 0);
                        assert_true(value == rows[i].bytes);
                }
        }
        assert_int_equal(text_parse_nano("1.5", &value), 0);
        assert_true(value == 1500000000);
        assert_int_equal(text_parse_nano("0.1", &value), 0);
        assert_true(value == 100000000);
        assert_int_equal(text_parse_nano("1,5", &value), -EINVAL);
        assert_int_equal(text_parse_nano("-1", &value), -EINVAL);
}

static void test_ellipsis(void **state)
{
        (void) state;
        check(text_ellipsis("short", 20), "short");
        check(text_ellipsis("12345678901234567890", 20), "12345678901234567890");
        check(text_ellipsis("123456789012345678901", 20), "1234567890123456789…");
        check(text_ellipsis("ééééé", 3), "éé…");
}

static void test_quoting(void **state)
{
        CLEANUP_BUFFER Buffer out = {};

        (void) state;
        assert_int_equal(text_append_quoted(&out, "a\"b\\c\n\t\x01é"), 0);
        assert_string_equal(out.data, "\"a\\\"b\\\\c\\n\\t\\x01é\"");
}

static void test_tables(void **state)
{
        CLEANUP_BUFFER Buffer out = {};

        (void) state;
        assert_int_equal(text_align("A\tBB\tC\nlonger than ten\té\tlast\n\t\t\nno cells\nx\ty\n", 10, 3, &out), 0);
        assert_string_equal(out.data, "A                 BB        C\n"
                                      "longer than ten   é         last\n"
                                      "                            \n"
                                      "no cells\n"
                                      "x         y\n");
}

static void test_indent(void **state)
{
        static const char text[] = "{\"b\":[1,{\"x\":\"a,b:\\\"{\"}],\"a\":{},\"c\":[ ],\"d\":\"\\u003c\"}\n";
        CLEANUP_BUFFER Buffer out = {}, line = {};

        (void) state;
        assert_int_equal(client_indent(text, sizeof(text) - 1, 0, &out), 0);
        assert_string_equal(out.data,
                            "{\n    \"b\": [\n        1,\n        {\n            \"x\": \"a,b:\\\"{\"\n        }\n"
                            "    ],\n    \"a\": {},\n    \"c\": [],\n    \"d\": \"\\u003c\"\n}");
        assert_int_equal(client_indent(out.data, out.size, -1, &line), 0);
        assert_string_equal(line.data, "{\"b\":[1,{\"x\":\"a,b:\\\"{\"}],\"a\":{},\"c\":[],\"d\":\"\\u003c\"}");
        /* Nonsense is laid out somehow, without reading past its end. */
        for (size_t i = 0; i < sizeof(text); i++) {
                CLEANUP_FREE char *part = malloc(i + 1);
                CLEANUP_BUFFER Buffer any = {};

                memcpy(part, text, i);
                assert_int_equal(client_indent(part, i, 0, &any), 0);
        }
}

static void test_ports(void **state)
{
        static const struct {
                const char *json, *text;
        } rows[] = {
                { "[]", "" },
                { "[{\"PrivatePort\":80,\"Type\":\"tcp\"}]", "80/tcp" },
                { "[{\"PrivatePort\":82,\"Type\":\"tcp\"},{\"PrivatePort\":81,\"Type\":\"tcp\"},"
                  "{\"PrivatePort\":84,\"Type\":\"tcp\"}]",
                  "81-82/tcp, 84/tcp" },
                { "[{\"IP\":\"::\",\"PrivatePort\":80,\"PublicPort\":8080,\"Type\":\"tcp\"},"
                  "{\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":8080,\"Type\":\"tcp\"}]",
                  "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp" },
                { "[{\"IP\":\"127.0.0.1\",\"PrivatePort\":5,\"PublicPort\":5,\"Type\":\"udp\"},"
                  "{\"IP\":\"127.0.0.1\",\"PrivatePort\":6,\"PublicPort\":6,\"Type\":\"udp\"}]",
                  "127.0.0.1:5-6->5-6/udp" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                CLEANUP_JSON json_t *json = json_loads(rows[i].json, 0, NULL);

                check(client_list_ports(json), rows[i].text);
        }
}

static void test_references(void **state)
{
        static const struct {
                const char *reference, *familiar, *name, *tag; /* familiar NULL: refused */
        } rows[] = {
                { "busybox", "busybox:latest", "docker.io/library/busybox", "latest" },
                { "busybox:1.36", "busybox:1.36", "docker.io/library/busybox", "1.36" },
                { "a/b", "a/b:latest", "docker.io/a/b", "latest" },
                { "docker.io/library/x:1", "x:1", "docker.io/library/x", "1" },
                { "localhost/x", "localhost/x:latest", "localhost/x", "latest" },
                { "reg.io:5000/a/b", "reg.io:5000/a/b:latest", "reg.io:5000/a/b", "latest" },
                { "reg.io:5000/a/b:c_D.e-f", "reg.io:5000/a/b:c_D.e-f", "reg.io:5000/a/b", "c_D.e-f" },
                { "a@sha256:0123", "a@sha256:0123", "docker.io/library/a", "sha256:0123" },
                { "a__b/c---d.e", "a__b/c---d.e:latest", "docker.io/a__b/c---d.e", "latest" },
                { "", NULL, NULL, NULL },
                { "Foo", NULL, NULL, NULL },
                { "a//b", NULL, NULL, NULL },
                { "/a", NULL, NULL, NULL },
                { "a:", NULL, NULL, NULL },
                { "a:-x", NULL, NULL, NULL },
                { "a b", NULL, NULL, NULL },
                { "a..b", NULL, NULL, NULL },
                { "a___b", NULL, NULL, NULL },
                { "-a", NULL, NULL, NULL },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                CLEANUP_FREE char *name = NULL, *tag = NULL;
                CLEANUP_ERROR Error error = {};
                int r = client_reference_check(rows[i].reference, &error);

                if (!rows[i].familiar) {
                        if (r == 0)
                                fail_msg("'%s' was taken for a reference", rows[i].reference);
                        continue;
                }
                assert_int_equal(r, 0);
                check(client_reference_familiar(rows[i].reference), rows[i].familiar);
                client_reference_split(rows[i].reference, &name, &tag);
                assert_string_equal(name, rows[i].name);
                assert_string_equal(tag, rows[i].tag);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sizes),    cmocka_unit_test(test_durations), cmocka_unit_test(test_parse_sizes),
                cmocka_unit_test(test_ellipsis), cmocka_unit_test(test_quoting),   cmocka_unit_test(test_tables),
                cmocka_unit_test(test_indent),   cmocka_unit_test(test_ports),     cmocka_unit_test(test_references),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
