/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The HTTP client against a scripted peer, whose answers come whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/http-client.h"
#include "berth/string.h"

static char directory[] = "/tmp/berth-test-http-XXXXXX";
static char *path;

/* Reads one request's head, then writes ANSWER in pieces, ANSWERS times. */
static pid_t serve(const char *answer, size_t size, size_t piece, int times)
{
        CLEANUP_CLOSE int listener = socket_listen_unix(path, SOCK_STREAM, 0600);
        pid_t pid;

        assert_true(listener >= 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                int connection = accept(listener, NULL, NULL);
                char request[4096];

                for (; times > 0; times--) {
                        size_t got = 0;

                        while (got < 4 || memcmp(request + got - 4, "\r\n\r\n", 4) != 0)
                                if (read(connection, request + got++, 1) != 1)
                                        _exit(1);
                        for (size_t i = 0; i < size; i += piece)
                                if (send(connection, answer + i, MIN(piece, size - i), MSG_NOSIGNAL) < 0)
                                        _exit(2);
                }
                _exit(0);
        }
        return pid;
}

static void reap(pid_t pid)
{
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        unlink(path);
}

typedef struct Row {
        const char *answer;
        int result; /* of reading all */
        int status;
        const char *body;
        bool reusable;
} Row;

static const Row rows[] = {
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0, 200, "hello", true },
        { "HTTP/1.1 204 No Content\r\n\r\n", 0, 204, "", true },
        { "HTTP/1.1 304 Not Modified\r\n\r\n", 0, 304, "", true },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n", 0, 200,
          "abcde", true },
        { "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", 0, 200, "until the end", false },
        { "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 0, 200, "x", false },
        { "HTTP/1.1 100 Continue\r\n", -ECONNRESET, 0, NULL, false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", -ECONNRESET, 200, NULL, false },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", -EBADMSG, 200, NULL, false },
        { "nonsense\r\n\r\n", -EBADMSG, 0, NULL, false },
        { "", -ECONNRESET, 0, NULL, false },
};

static void exchange(const Row *row, size_t piece)
{
        size_t size = strlen(row->answer);
        pid_t pid = serve(row->answer, size, piece, 1);
        CLEANUP_HTTP_CLIENT HttpClient *client = NULL;
        HttpClientRequest request = { .method = "GET", .target = "/" };

        assert_int_equal(http_client_open(path, &client), 0);
        assert_int_equal(http_client_send(client, &request), 0);
        assert_int_equal(http_client_read_all(client, 1 << 20), row->result);
        assert_int_equal(http_client_status(client), row->status);
        if (row->body)
                assert_string_equal(http_client_body(client)->data ?: "", row->body);
        assert_int_equal(http_client_reusable(client), row->reusable);
        reap(pid);
}

static void test_answers(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                exchange(&rows[i], 1);
                exchange(&rows[i], 7);
                exchange(&rows[i], 1000);
        }
}

static void test_kept_connection(void **state)
{
        static const char answer[] =
                "HTTP/1.1 200 OK\r\nX-Name:  Value \r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nok";
        pid_t pid = serve(answer, sizeof(answer) - 1, 1000, 3);
        CLEANUP_HTTP_CLIENT HttpClient *client = NULL;
        HttpClientRequest request = { .method = "GET", .target = "/" };

        (void) state;
        assert_int_equal(http_client_open(path, &client), 0);
        for (int i = 0; i < 3; i++) {
                assert_int_equal(http_client_send(client, &request), 0);
                assert_int_equal(http_client_send(client, &request), -ENOTCONN);
                assert_int_equal(http_client_read_all(client, 100), 0);
                assert_string_equal(http_client_body(client)->data, "ok");
                assert_string_equal(http_client_header(client, "x-name"), "Value");
                assert_string_equal(http_client_content_type(client), "a/b");
                assert_null(http_client_header(client, "none"));
        }
        reap(pid);
}

static void test_large_body_is_refused(void **state)
{
        static const char answer[] =
                "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n01234567890123456789012345678901234567890123456789";
        pid_t pid = serve(answer, sizeof(answer) - 1, 1000, 1);
        CLEANUP_HTTP_CLIENT HttpClient *client = NULL;
        HttpClientRequest request = { .method = "GET", .target = "/" };

        (void) state;
        assert_int_equal(http_client_open(path, &client), 0);
        assert_int_equal(http_client_send(client, &request), 0);
        assert_int_equal(http_client_read_all(client, 40), -EFBIG);
        reap(pid);
}

static void test_upgrade(void **state)
{
        static const char *const answers[] = {
                "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly bytes",
                "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nearly bytes",
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(answers) * 2; i++) {
                const char *answer = answers[i / 2];
                pid_t pid = serve(answer, strlen(answer), i % 2 ? 1 : 1000, 1);
                CLEANUP_HTTP_CLIENT HttpClient *client = NULL;
                HttpClientRequest request = { .method = "POST", .target = "/", .upgrade = true };
                CLEANUP_BUFFER Buffer early = {};
                CLEANUP_CLOSE int fd = -EBADF;
                ssize_t n;

                assert_int_equal(http_client_open(path, &client), 0);
                assert_int_equal(http_client_send(client, &request), 0);
                assert_true(http_client_read_head(client) == (i / 2 ? 200 : 101));
                assert_int_equal(http_client_take_stream(client, &early, &fd), 0);
                assert_int_equal(http_client_fd(client), -EBADF);
                while ((n = buffer_read(&early, fd, 100)) > 0)
                        continue;
                assert_string_equal(early.data, "early bytes");
                reap(pid);
        }
}

/* The peer of an upload sends back how many bytes it got. */
static pid_t serve_upload(void)
{
        CLEANUP_CLOSE int listener = socket_listen_unix(path, SOCK_STREAM, 0600);
        pid_t pid = fork();

        assert_true(listener >= 0 && pid >= 0);
        if (pid == 0) {
                int connection = accept(listener, NULL, NULL);
                FILE *in = fdopen(dup(connection), "r");
                unsigned long sum = 0, size;
                char line[4096];

                while (fgets(line, sizeof(line), in) && strcmp(line, "\r\n") != 0)
                        continue;
                while (fgets(line, sizeof(line), in) && (size = strtoul(line, NULL, 16)) > 0) {
                        for (sum += size; size > 0; size--)
                                if (fgetc(in) == EOF)
                                        _exit(1);
                        if (!fgets(line, sizeof(line), in))
                                _exit(1);
                }
                size = snprintf(line, sizeof(line), "%lu", sum);
                dprintf(connection, "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\n\r\n%s", size, line);
                _exit(0);
        }
        return pid;
}

static void test_upload(void **state)
{
        static const off_t sizes[] = { 0, 1, 5 << 20 };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                pid_t pid = serve_upload();
                CLEANUP_HTTP_CLIENT HttpClient *client = NULL;
                HttpClientRequest request = { .method = "POST", .target = "/", .chunked = true };
                CLEANUP_CLOSE int file = memfd_create("upload", MFD_CLOEXEC);
                CLEANUP_FREE char *expected = str_printf("%lld", (long long) sizes[i]);

                assert_int_equal(ftruncate(file, sizes[i]), 0);
                assert_int_equal(http_client_open(path, &client), 0);
                assert_int_equal(http_client_send(client, &request), 0);
                assert_int_equal(http_client_upload(client, file, NULL, NULL), 0);
                assert_int_equal(http_client_read_all(client, 100), 0);
                assert_string_equal(http_client_body(client)->data, expected);
                reap(pid);
        }
}

static void test_escape(void **state)
{
        CLEANUP_BUFFER Buffer target = {};

        (void) state;
        assert_int_equal(http_escape(&target, "a b/c?d=e&f%\xc3\xa9~"), 0);
        assert_string_equal(target.data, "a%20b/c%3Fd%3De%26f%25%C3%A9~");
}

static int set_up(void **state)
{
        (void) state;
        if (!mkdtemp(directory))
                return -1;
        path = path_join(directory, "socket");
        return path ? 0 : -1;
}

static int tear_down(void **state)
{
        (void) state;
        free(path);
        return rmdir(directory);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_answers), cmocka_unit_test(test_kept_connection),
                cmocka_unit_test(test_upgrade), cmocka_unit_test(test_large_body_is_refused),
                cmocka_unit_test(test_upload),  cmocka_unit_test(test_escape),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
