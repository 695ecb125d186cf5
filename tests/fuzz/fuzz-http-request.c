/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a client sends, to the real server with a handler that answers in each of the ways there are, by the path. The
 * server must come to an end with every connection whose client has said all, and what it answers begins as an answer.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "berth/cleanup.h"
#include "berth/http.h"
#include "berth/string.h"

#define INPUT_MAX (128 * 1024)
#define TURNS_MAX 10000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool wants_stream(HttpRequest *request, void *userdata)
{
        (void) userdata;
        return str_after_prefix(http_request_path(request), "/stream") != NULL;
}

static void answer_stream(HttpRequest *request)
{
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        char piece[512];
        ssize_t n = -1;

        if (http_request_stream(request, 200, "text/plain", &stream) < 0)
                return;
        while (stream.read && (n = stream_read(&stream, piece, sizeof(piece))) > 0)
                ;
        if (stream_write(&stream, n < 0 ? "bad" : "good", 4) >= 0)
                stream_end(&stream);
}

static void answer_hijack(HttpRequest *request)
{
        CLEANUP_BUFFER Buffer received = {};
        CLEANUP_CLOSE int fd = -EBADF;

        http_request_hijack(request, "application/vnd.docker.raw-stream", &fd, &received, NULL);
}

static void answer_json(HttpRequest *request)
{
        const Buffer *body = http_request_body(request);
        const char *value;
        json_t *list = json_array();

        for (size_t i = 0; (value = http_request_query_nth(request, "q", i)); i++)
                json_array_append_new(list, json_stringn_nocheck(value, strlen(value)));
        json_array_append_new(list, json_integer((json_int_t) (body ? body->size : 0)));
        json_array_append_new(list, json_boolean(http_request_wants_upgrade(request)));
        value = http_request_header(request, "content-type");
        http_response_header(request, "X-Seen", value && strlen(value) < 100 ? "yes" : "no");
        http_respond_json(request, 200, list);
        json_decref(list);
}

static void handle(HttpRequest *request, void *userdata)
{
        const char *path = http_request_path(request);
        (void) userdata;

        if (!http_request_method(request)[0] || path[0] == '\0' || !http_request_target(request))
                abort();
        if (str_after_prefix(path, "/stream"))
                answer_stream(request);
        else if (str_after_prefix(path, "/hijack"))
                answer_hijack(request);
        else if (str_after_prefix(path, "/empty"))
                http_respond_empty(request, 204);
        else if (str_after_prefix(path, "/text"))
                http_respond(request, 404, "text/plain", "nothing", 7);
        else
                answer_json(request);
}

static json_t *error_body(int status, const char *message)
{
        if (status < 400 || !message)
                abort();
        return json_pack("{ss}", "message", message);
}

static void on_activity(void *userdata)
{
        (void) userdata;
}

static sd_event *event;
static HttpServer *server;
static struct sockaddr_un address;
static socklen_t address_size = sizeof(address);

static void set_up(void)
{
        static const HttpServerConfig config = { .wants_stream = wants_stream,
                                                 .handle = handle,
                                                 .activity = on_activity,
                                                 .error_body = error_body,
                                                 .headers = "Server: fuzz\r\n" };
        const struct sockaddr_un any = { .sun_family = AF_UNIX }; /* the kernel chooses a name */
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || bind(fd, (const struct sockaddr *) &any, sizeof(sa_family_t)) < 0 || listen(fd, 1) < 0 ||
            getsockname(fd, (struct sockaddr *) &address, &address_size) < 0)
                abort();
        if (sd_event_new(&event) < 0 || http_server_new(event, &config, &server) < 0 ||
            http_server_add_listener(server, fd) < 0)
                abort();
}

/* Takes what the server has answered; the first bytes are kept in HEAD. */
static void drain(int fd, char head[static 5], size_t *n_head)
{
        char piece[4096];
        ssize_t n;

        while ((n = read(fd, piece, sizeof(piece))) > 0)
                for (ssize_t i = 0; i < n && *n_head < 5; i++)
                        head[(*n_head)++] = piece[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        char head[5];
        size_t n_head = 0;
        int turns = 0;

        if (size > INPUT_MAX)
                return 0;
        if (!server)
                set_up();
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, address_size) < 0)
                abort();
        do {
                ssize_t n = size > 0 ? send(fd, data, size, MSG_NOSIGNAL) : 0;
                if (n > 0) {
                        data += n;
                        size -= (size_t) n;
                } else if (n < 0 && errno != EAGAIN)
                        size = 0; /* the server has had enough */
                if (size == 0)
                        shutdown(fd, SHUT_WR);
                if (sd_event_run(event, 0) < 0 || ++turns > TURNS_MAX)
                        abort();
                drain(fd, head, &n_head);
        } while (http_server_busy(server) || turns < 3);
        if (n_head > 0 && memcmp(head, "HTTP/", MIN(n_head, 5)) != 0)
                abort();
        return 0;
}
