/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of log files: what is written is read back, and what anybody put there does no harm. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "berth/file.h"
#include "berth/logfile.h"
#include "berth/string.h"

static void test_json_text(void **state)
{
        LogfileEncoder encoder = { .format = LOGFILE_JSON };
        const LogfileRecord record = {
                .time_ns = 1500000000, .ended = true, .data = "a\t<\"\\\xff\xc3\xa4", .size = 8
        };
        CLEANUP_BUFFER Buffer out = {}, text = {};
        LogfileRecord back;
        (void) state;

        assert_int_equal(logfile_encode(&encoder, &record, &out), 0);
        assert_string_equal(out.data, "{\"log\":\"a\\u0009\\u003c\\\"\\\\\\ufffd\xc3\xa4\\n\",\"stream\":\"stdout\","
                                      "\"time\":\"1970-01-01T00:00:01.5Z\"}\n");
        assert_int_equal(logfile_decode(LOGFILE_JSON, out.data, out.size - 1, &text, &back), 0);
        assert_true(back.ended && !back.standard_error && back.time_ns == record.time_ns);
        assert_int_equal(back.size, 10);
        assert_memory_equal(back.data, "a\t<\"\\\xef\xbf\xbd\xc3\xa4", 10);
}

static void test_foreign_json(void **state)
{
        static const char *const bad[] = { "",
                                           "{",
                                           "[]",
                                           "{\"log\":1}",
                                           "{\"log\"}",
                                           "{\"log\":\"",
                                           "{\"a\":[}",
                                           "{\"log\":\"x\"} y",
                                           "{\"log\":\"\\u12\"}",
                                           "{\"time\":\"x\"}" };
        CLEANUP_BUFFER Buffer text = {};
        LogfileRecord record;
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(logfile_decode(LOGFILE_JSON, bad[i], strlen(bad[i]), &text, &record), -EBADMSG);
        const char odd[] = " { \"x\" : [1,{\"y\":null}] , \"stream\":\"stderr\", \"log\":\"\\ud83d\\ude00\\\\n\" } ";
        assert_int_equal(logfile_decode(LOGFILE_JSON, odd, strlen(odd), &text, &record), 0);
        assert_true(record.standard_error && !record.ended);
        assert_string_equal(record.data, "\xf0\x9f\x98\x80\\n");
}

static int collect(const LogfileRecord *record, void *userdata)
{
        Buffer *out = userdata;

        return buffer_append(out, record->data, record->size) < 0 ||
               buffer_append(out, record->ended ? "\n" : "", record->ended);
}

static void write_text(const char *directory, const char *name, const char *text)
{
        CLEANUP_FREE char *path = path_join(directory, name);

        CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static void test_files_in_order(void **state)
{
        char directory[] = "/tmp/test-logfile-XXXXXX";
        CLEANUP_BUFFER Buffer out = {};
        LogfileQuery query = { .tail = -1, .standard_output = true, .ended_fd = -1, .client_fd = -1 };
        (void) state;

        assert_non_null(mkdtemp(directory));
        CLEANUP_FREE char *path = path_join(directory, "x.log");
        query.path = path;
        write_text(directory, "x.log.2", "{\"log\":\"1\\n\"}\nrubbish\n{\"log\":\"2\\n\"}\n");
        write_text(directory, "x.log.1", "{\"log\":\"3\"}\n");
        write_text(directory, "x.log", "{\"log\":\"4\\n\"}\n{\"log\":\"5\\n\"}\n{\"log\":\"6");
        write_text(directory, "x.log.next", "{\"log\":\"7\\n\"}\n");
        assert_int_equal(logfile_read(&query, collect, &out), 0);
        assert_string_equal(out.data, "1\n2\n34\n5\n");
        out.size = 0;
        query.tail = 2;
        assert_int_equal(logfile_read(&query, collect, &out), 0);
        assert_string_equal(out.data, "34\n5\n");
        assert_int_equal(path_remove_tree_at(AT_FDCWD, directory), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_json_text),
                cmocka_unit_test(test_foreign_json),
                cmocka_unit_test(test_files_in_order),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
