/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of log files: what is written is read back, and what anybody put there does no harm. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

/* What Docker Engine 26 wrote for "docker run --log-driver local busybox echo a": the fields, in their order. */
static void test_local_bytes(void **state)
{
        LogfileEncoder encoder = { .format = LOGFILE_LOCAL };
        const LogfileRecord record = { .time_ns = 300, .ended = true, .data = "a", .size = 1 };
        static const char expected[] = "\0\0\0\x0e\x0a\x06stdout\x10\xac\x02\x1a\x01"
                                       "a\0\0\0\x0e";
        CLEANUP_BUFFER Buffer out = {};
        (void) state;

        assert_int_equal(logfile_encode(&encoder, &record, &out), 0);
        assert_int_equal(out.size, sizeof(expected) - 1);
        assert_memory_equal(out.data, expected, out.size);
}

static void add_local(Buffer *out, const char *text, bool error_stream, unsigned ordinal, bool ended)
{
        LogfileEncoder encoder = { .format = LOGFILE_LOCAL };
        const LogfileRecord record = { .time_ns = 1700000000000000000,
                                       .standard_error = error_stream,
                                       .ended = ended,
                                       .data = text,
                                       .size = strlen(text),
                                       .line_id = "0123",
                                       .ordinal = ordinal };

        assert_int_equal(logfile_encode(&encoder, &record, out), 0);
}

/* Reads every record there is, in words. */
static void tell_local(const Buffer *in, Buffer *told)
{
        size_t at = 0, start, size, next;

        told->size = 0;
        for (; logfile_find(LOGFILE_LOCAL, in->data + at, in->size - at, &start, &size, &next); at += next) {
                LogfileRecord record;

                if (logfile_decode(LOGFILE_LOCAL, in->data + at + start, size, NULL, &record) < 0)
                        continue;
                assert_true(record.time_ns == 1700000000000000000);
                (void) buffer_printf(told, "%s%.*s%s", record.standard_error ? "!" : "", (int) record.size, record.data,
                                     record.ended ? ";" : "-");
        }
}

static void test_local_damage(void **state)
{
        CLEANUP_BUFFER Buffer bytes = {}, told = {};
        (void) state;

        add_local(&bytes, "one", false, 0, true);
        size_t second = bytes.size;
        add_local(&bytes, "two", true, 1, false);
        size_t third = bytes.size;
        add_local(&bytes, "three", true, 2, true);
        add_local(&bytes, "", false, 0, true);
        tell_local(&bytes, &told);
        assert_string_equal(told.data, "one;!two-!three;;");
        /* A record that a crash cut off does no harm to those behind it. */
        CLEANUP_BUFFER Buffer cut = {};
        assert_int_equal(buffer_append(&cut, bytes.data, third - 7), 0);
        assert_int_equal(buffer_append(&cut, bytes.data + third, bytes.size - third), 0);
        tell_local(&cut, &told);
        assert_string_equal(told.data, "one;!three;;");
        memset(bytes.data + second, 0, third - second);
        tell_local(&bytes, &told);
        assert_string_equal(told.data, "one;!three;;");
}

static void append_bytes(const char *directory, const char *name, const Buffer *bytes)
{
        CLEANUP_FREE char *path = path_join(directory, name);
        CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, bytes->data, bytes->size), 0);
}

static void compress(const char *directory, const char *name)
{
        CLEANUP_FREE char *path = path_join(directory, name), *target = str_printf("%s.gz", path);
        CLEANUP_CLOSE int in = open(path, O_RDONLY | O_CLOEXEC);
        CLEANUP_CLOSE int out = open(target, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        struct stat plain, compressed;

        assert_true(in >= 0 && out >= 0);
        assert_int_equal(logfile_compress(in, out), 0);
        assert_int_equal(fstat(in, &plain), 0);
        assert_int_equal(fstat(out, &compressed), 0);
        assert_true(compressed.st_size < plain.st_size);
        assert_int_equal(compressed.st_mtim.tv_sec, plain.st_mtim.tv_sec);
        assert_int_equal(unlink(path), 0);
}

/* Numbers from FIRST on, a record each. */
static void make_numbers(LogfileFormat format, int first, int n, int64_t time_ns, Buffer *ret)
{
        LogfileEncoder encoder = { .format = format };

        ret->size = 0;
        for (int i = first; i < first + n; i++) {
                char text[16];
                const LogfileRecord record = { .time_ns = time_ns + i,
                                               .ended = true,
                                               .data = text,
                                               .size = (size_t) snprintf(text, sizeof(text), "%d", i) };

                assert_int_equal(logfile_encode(&encoder, &record, ret), 0);
        }
}

static int check_numbers(const LogfileRecord *record, void *userdata)
{
        int *next = userdata;

        assert_int_equal(atoi(record->data), *next);
        ++*next;
        return 0;
}

#define NUMBERS 20000
#define TIME INT64_C(1700000000000000000)

static void check_tail(LogfileQuery *query, int64_t tail, int first, int last)
{
        int next = first;

        query->tail = tail;
        assert_int_equal(logfile_read(query, check_numbers, &next), 0);
        assert_int_equal(next, last);
}

static void try_tail(LogfileFormat format)
{
        char directory[] = "/tmp/test-logfile-XXXXXX";
        CLEANUP_BUFFER Buffer numbers = {}, rest = {};
        LogfileQuery query = { .format = format, .standard_output = true, .ended_fd = -1, .client_fd = -1 };

        assert_non_null(mkdtemp(directory));
        CLEANUP_FREE char *path = path_join(directory, "x.log");
        query.path = path;
        make_numbers(format, 0, NUMBERS, TIME, &numbers);
        append_bytes(directory, "x.log.2", &numbers);
        compress(directory, "x.log.2");
        make_numbers(format, NUMBERS, NUMBERS, TIME, &numbers);
        append_bytes(directory, "x.log.1", &numbers);
        make_numbers(format, 2 * NUMBERS, NUMBERS, TIME, &numbers);
        append_bytes(directory, "x.log", &numbers);
        static const int tails[] = { 0, 1, 10, 999, 5000, NUMBERS - 1, NUMBERS, NUMBERS + 1, 2 * NUMBERS + 7 };
        for (size_t i = 0; i < ARRAY_SIZE(tails); i++)
                check_tail(&query, tails[i], 3 * NUMBERS - tails[i], 3 * NUMBERS);
        check_tail(&query, INT64_MAX, 0, 3 * NUMBERS);
        check_tail(&query, -1, 0, 3 * NUMBERS);
        query.until_ns = TIME + 2 * NUMBERS - 1;
        check_tail(&query, 3, 2 * NUMBERS - 3, 2 * NUMBERS);
        query.until_ns = 0;
        query.since_ns = TIME + NUMBERS + 5;
        check_tail(&query, 3 * NUMBERS, NUMBERS + 5, 3 * NUMBERS);
        check_tail(&query, -1, NUMBERS + 5, 3 * NUMBERS);
        /* Half a record at the end. */
        query.since_ns = 0;
        assert_int_equal(buffer_append(&rest, numbers.data, 9), 0);
        append_bytes(directory, "x.log", &rest);
        check_tail(&query, 4, 3 * NUMBERS - 4, 3 * NUMBERS);
        assert_int_equal(path_remove_tree_at(AT_FDCWD, directory), 0);
}

static void test_tail(void **state)
{
        (void) state;
        try_tail(LOGFILE_JSON);
        try_tail(LOGFILE_LOCAL);
}

/* A file that was changed last before the time asked for is not read, which a lie in it shows; where its records are
 * younger than that change, it is. */
static void test_old_files(void **state)
{
        char directory[] = "/tmp/test-logfile-XXXXXX";
        const struct timespec old[2] = { { .tv_sec = TIME / 1000000000 - 100 }, { .tv_sec = TIME / 1000000000 - 100 } };
        CLEANUP_BUFFER Buffer numbers = {}, more = {};
        LogfileQuery query = { .tail = -1, .standard_output = true, .ended_fd = -1, .client_fd = -1, .since_ns = TIME };
        (void) state;

        assert_non_null(mkdtemp(directory));
        CLEANUP_FREE char *path = path_join(directory, "x.log"), *older = path_join(directory, "x.log.1");
        query.path = path;
        make_numbers(LOGFILE_JSON, 0, 1, TIME - 200, &numbers);
        make_numbers(LOGFILE_JSON, 1, 1, TIME, &more);
        assert_int_equal(buffer_append(&numbers, more.data, more.size), 0);
        append_bytes(directory, "x.log.1", &numbers);
        make_numbers(LOGFILE_JSON, 2, 1, TIME, &numbers);
        append_bytes(directory, "x.log", &numbers);
        check_tail(&query, -1, 1, 3);
        assert_int_equal(utimensat(AT_FDCWD, older, old, 0), 0);
        check_tail(&query, -1, 2, 3);
        make_numbers(LOGFILE_JSON, 1, 1, TIME, &numbers);
        assert_int_equal(unlink(older), 0);
        append_bytes(directory, "x.log.1", &numbers);
        assert_int_equal(utimensat(AT_FDCWD, older, old, 0), 0);
        check_tail(&query, -1, 1, 3);
        assert_int_equal(path_remove_tree_at(AT_FDCWD, directory), 0);
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
                cmocka_unit_test(test_json_text),      cmocka_unit_test(test_foreign_json),
                cmocka_unit_test(test_local_bytes),    cmocka_unit_test(test_local_damage),
                cmocka_unit_test(test_tail),           cmocka_unit_test(test_old_files),
                cmocka_unit_test(test_files_in_order),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
