/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server over a socket pair: what a client writes, and byte for byte what it gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/http.h"
#include "berth/string.h"

static char path[64];
static sd_event *event;
static HttpServer *server;
static HttpRequest *held; /* a request that is answered later */
static Stream taken = STREAM_INIT;

static bool wants_stream(HttpRequest *request, void *userdata)
{
        (void) userdata;
        return str_equal(http_request_path(request), "/stream");
}

static void handle(HttpRequest *request, void *userdata)
{
        const char *target = http_request_path(request);
        (void) userdata;

        if (str_equal(target, "/hold"))
                held = request;
        else if (str_equal(target, "/stream"))
                http_request_stream(request, 200, "text/plain", &taken);
        else if (str_equal(target, "/hijack")) {
                Buffer received = { 0 };
                int fd;
                if (http_request_hijack(request, "application/x-raw", &fd, &received, NULL) >= 0) {
                        fd_write_all(fd, received.data, received.size);
                        fd_close(fd);
                }
                buffer_clear(&received);
        } else {
                CLEANUP_FREE char *text =
                        str_printf("%s %s q=%s body=%s", http_request_method(request), target,
                                   http_request_query(request, "q") ?: "-",
                                   http_request_body(request)->size > 0 ? http_request_body(request)->data : "-");
                http_respond(request, 200, "text/plain", text, strlen(text));
        }
}

static json_t *error_body(int status, const char *message)
{
        return json_pack("{si ss}", "status", status, "message", message);
}

static int setup(void **state)
{
        static const HttpServerConfig config = { .wants_stream = wants_stream,
                                                 .handle = handle,
                                                 .error_body = error_body };
        (void) state;

        snprintf(path, sizeof(path), "/tmp/berth-http-%d.sock", (int) getpid());
        int fd = socket_listen_unix(path, SOCK_STREAM | SOCK_NONBLOCK, 0600);
        return fd < 0 || sd_event_new(&event) < 0 || http_server_new(event, &config, &server) < 0 ||
                               http_server_add_listener(server, fd) < 0
                       ? -1
                       : 0;
}

static int teardown(void **state)
{
        (void) state;
        http_server_free(server);
        event = sd_event_unref(event);
        return unlink(path);
}

static void turn(void)
{
        for (int i = 0; i < 20; i++)
                assert_true(sd_event_run(event, 1000) >= 0);
}

static int client(const char *text, size_t size)
{
        int fd = socket_connect_unix(path, SOCK_STREAM | SOCK_NONBLOCK);

        assert_true(fd >= 0);
        turn();
        assert_int_equal(fd_write_all(fd, text, size), 0);
        turn();
        return fd;
}

/* What has arrived; *ret_end is true where the server closed. */
static char *answer(int fd, bool *ret_end)
{
        Buffer buffer = { 0 };
        ssize_t n;

        turn();
        while ((n = buffer_read(&buffer, fd, 65536)) > 0)
                turn();
        *ret_end = n == 0;
        return buffer_take(&buffer);
}

static char *exchange(const char *text, bool *ret_end)
{
        CLEANUP_CLOSE int fd = client(text, strlen(text));

        return answer(fd, ret_end);
}

static void test_simple(void **state)
{
        bool end;
        CLEANUP_FREE char *got = exchange("GET /a%20b?q=x%2By+z HTTP/1.1\r\nHost: h\r\n\r\n", &end);
        (void) state;

        assert_non_null(strstr(got, "HTTP/1.1 200 OK\r\n"));
        assert_non_null(strstr(got, "\r\n\r\nGET /a b q=x+y z body=-"));
        assert_false(end);
}

static void test_bodies(void **state)
{
        bool end;
        CLEANUP_FREE char *plain = exchange("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", &end);
        CLEANUP_FREE char *chunked = exchange(
                "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
                &end);
        CLEANUP_FREE char *expected =
                exchange("POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", &end);
        (void) state;

        assert_non_null(strstr(plain, "body=hello"));
        assert_non_null(strstr(chunked, "body=hello"));
        assert_true(str_after_prefix(expected, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK") != NULL);
}

static void test_pipeline(void **state)
{
        bool end;
        CLEANUP_FREE char *got = exchange("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 "
                                          "HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                                          &end);
        const char *first = strstr(got, "GET /1"), *second = strstr(got, "GET /2"), *third = strstr(got, "GET /3");
        (void) state;

        assert_true(first && second && third && first < second && second < third);
        assert_true(end);
}

static void test_old_protocol(void **state)
{
        bool end;
        CLEANUP_FREE char *got = exchange("GET /old HTTP/1.0\r\n\r\n", &end);
        (void) state;

        assert_non_null(str_after_prefix(got, "HTTP/1.0 200 OK\r\n"));
        assert_true(end);
}

static void test_refusals(void **state)
{
        static const struct {
                const char *request;
                const char *status;
        } rows[] = {
                { "nonsense\r\n\r\n", "400" },
                { "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", "400" },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400" },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400" },
                { "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "400" },
                { "GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", "400" },
                { "GET /?q=%4 HTTP/1.1\r\nHost: h\r\n\r\n", "400" },
                { "GET / HTTP/1.1\r\n\r\n", "400" },
                { "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400" },
                { "GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505" },
                { "GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", "417" },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", "413" },
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                bool end;
                CLEANUP_FREE char *got = exchange(rows[i].request, &end);
                CLEANUP_FREE char *wanted = str_printf("HTTP/1.1 %s ", rows[i].status);
                assert_non_null(str_after_prefix(got, wanted));
                assert_non_null(strstr(got, "\"message\""));
                assert_true(end);
        }
}

static void test_too_many_headers(void **state)
{
        CLEANUP_BUFFER Buffer request = { 0 };
        bool end;
        (void) state;

        buffer_append_string(&request, "GET / HTTP/1.1\r\nHost: h\r\n");
        for (int i = 0; i < 3000; i++)
                buffer_printf(&request, "X-Header-%d: %040d\r\n", i, i);
        CLEANUP_CLOSE int fd = socket_connect_unix(path, SOCK_STREAM | SOCK_NONBLOCK);
        turn();
        /* The server stops reading: what does not fit is not its concern. */
        assert_true(send(fd, request.data, request.size, MSG_NOSIGNAL) > 0);
        CLEANUP_FREE char *got = answer(fd, &end);
        assert_non_null(str_after_prefix(got, "HTTP/1.1 431 "));
}

static void test_answer_after_hangup(void **state)
{
        int fd = client("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n", 31);
        (void) state;

        assert_non_null(held);
        fd_close(fd);
        turn();
        assert_true(http_server_busy(server));
        http_respond_empty(held, 204);
        held = NULL;
        assert_false(http_server_busy(server));
}

static void test_stream(void **state)
{
        static const char head[] = "POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        char text[16] = "";
        bool end;
        CLEANUP_CLOSE int fd = client(head, sizeof(head) - 1);
        (void) state;

        assert_true(taken.fd >= 0);
        assert_int_equal(stream_read(&taken, text, sizeof(text)), 3);
        assert_string_equal(text, "abc");
        assert_int_equal(fd_write_all(fd, "2\r\nde\r\n0\r\n\r\n", 12), 0);
        assert_int_equal(stream_read(&taken, text, sizeof(text)), 2);
        assert_int_equal(stream_read(&taken, text, sizeof(text)), 0);
        assert_int_equal(stream_write(&taken, "out", 3), 0);
        assert_int_equal(stream_end(&taken), 0);
        stream_clear(&taken);
        CLEANUP_FREE char *got = answer(fd, &end);
        assert_non_null(str_after_prefix(got, "HTTP/1.1 200 OK\r\n"));
        assert_non_null(strstr(got, "\r\n\r\n3\r\nout\r\n0\r\n\r\n"));
        assert_true(end);
}

static void test_hijack(void **state)
{
        bool end;
        CLEANUP_FREE char *upgraded =
                exchange("POST /hijack HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly", &end);
        CLEANUP_FREE char *plain = exchange("POST /hijack HTTP/1.1\r\nHost: h\r\n\r\n", &end);
        (void) state;

        assert_non_null(str_after_prefix(upgraded, "HTTP/1.1 101 UPGRADED\r\n"));
        assert_non_null(strstr(upgraded, "Upgrade: tcp\r\n"));
        assert_true(str_has_suffix(upgraded, "\r\n\r\nearly"));
        assert_non_null(str_after_prefix(plain, "HTTP/1.1 200 OK\r\n"));
        assert_null(strstr(plain, "Content-Length"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_simple),
                cmocka_unit_test(test_bodies),
                cmocka_unit_test(test_pipeline),
                cmocka_unit_test(test_old_protocol),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_too_many_headers),
                cmocka_unit_test(test_answer_after_hangup),
                cmocka_unit_test(test_stream),
                cmocka_unit_test(test_hijack),
        };

        return cmocka_run_group_tests_name("http-server", tests, setup, teardown);
}
