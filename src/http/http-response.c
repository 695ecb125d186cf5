/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answers: whole ones, and the several ways of giving the connection away. */
#include <string.h>

#include "berth/file.h"
#include "berth/string.h"
#include "http-server.h"

const char *http_status_phrase(int status)
{
        static const struct {
                int status;
                const char *phrase;
        } phrases[] = {
                { 100, "Continue" },
                { 101, "UPGRADED" },
                { 200, "OK" },
                { 201, "Created" },
                { 204, "No Content" },
                { 304, "Not Modified" },
                { 400, "Bad Request" },
                { 401, "Unauthorized" },
                { 403, "Forbidden" },
                { 404, "Not Found" },
                { 405, "Method Not Allowed" },
                { 406, "Not Acceptable" },
                { 409, "Conflict" },
                { 413, "Content Too Large" },
                { 414, "URI Too Long" },
                { 417, "Expectation Failed" },
                { 505, "HTTP Version Not Supported" },
                { 431, "Request Header Fields Too Large" },
                { 500, "Internal Server Error" },
                { 501, "Not Implemented" },
                { 503, "Service Unavailable" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(phrases); i++)
                if (phrases[i].status == status)
                        return phrases[i].phrase;
        return "Unknown";
}

int http_response_header(HttpRequest *request, const char *name, const char *value)
{
        if (strpbrk(value, "\r\n"))
                return -EINVAL;
        return buffer_printf(&request->response_headers, "%s: %s\r\n", name, value);
}

static void append_date(Buffer *output)
{
        static time_t last;
        static char text[64];
        time_t now = time(NULL);

        if (now != last) {
                struct tm tm;
                strftime(text, sizeof(text), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&now, &tm));
                last = now;
        }
        buffer_append_string(output, text);
}

static void append_head(HttpRequest *request, Buffer *output, int status, const char *content_type)
{
        const char *common = request->server->config.headers;

        buffer_printf(output, "HTTP/1.%d %d %s\r\n", request->http_1_0 ? 0 : 1, status, http_status_phrase(status));
        if (common)
                buffer_append_string(output, common);
        append_date(output);
        if (content_type)
                buffer_printf(output, "Content-Type: %s\r\n", content_type);
        if (request->response_headers.size > 0)
                buffer_append(output, request->response_headers.data, request->response_headers.size);
}

/* The request is answered: it is freed, and no longer counts. */
static HttpConnection *finish(HttpRequest *request)
{
        HttpServer *server = request->server;
        HttpConnection *connection = request->connection;

        if (connection)
                connection->request = NULL;
        http_request_free(request);
        server->n_requests--;
        return connection;
}

void http_respond(HttpRequest *request, int status, const char *content_type, const void *body, size_t size)
{
        HttpServer *server = request->server;
        HttpConnection *connection = request->connection;

        if (!connection) {
                finish(request);
                if (server->config.activity)
                        server->config.activity(server->config.userdata);
                return;
        }

        Buffer *output = &connection->output;
        bool keep_alive = request->keep_alive;
        append_head(request, output, status, content_type);
        if (status != 204 && status != 304)
                buffer_printf(output, "Content-Length: %zu\r\n", size);
        if (!keep_alive)
                buffer_append_string(output, "Connection: close\r\n");
        else if (request->http_1_0)
                buffer_append_string(output, "Connection: keep-alive\r\n");
        buffer_append_string(output, "\r\n");
        if (size > 0 && !str_equal(request->method, "HEAD"))
                buffer_append(output, body, size);
        finish(request);
        http_connection_answered(connection, keep_alive);
}

void http_respond_json(HttpRequest *request, int status, const json_t *body)
{
        CLEANUP_FREE char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
        CLEANUP_BUFFER Buffer line = { 0 };

        /* Docker ends its JSON bodies with a line feed. */
        if (!text || buffer_printf(&line, "%s\n", text) < 0) {
                static const char failure[] = "{\"message\":\"out of memory\"}\n";
                http_respond(request, 500, "application/json", failure, sizeof(failure) - 1);
                return;
        }
        http_respond(request, status, "application/json", line.data, line.size);
}

void http_respond_empty(HttpRequest *request, int status)
{
        http_respond(request, status, NULL, NULL, 0);
}

int http_request_detach(HttpRequest *request, int *ret_fd, Buffer *ret_received, HttpBody *ret_body)
{
        HttpBody framing = request->framing;
        HttpConnection *connection = finish(request);

        if (!connection)
                return -ECONNRESET;
        connection->dispatched = false;
        *ret_fd = http_connection_release(connection, ret_received);
        if (ret_body)
                *ret_body = framing;
        return 0;
}

int http_request_hijack(HttpRequest *request, const char *content_type, int *ret_fd, Buffer *ret_received,
                        Buffer *ret_answer)
{
        HttpConnection *connection = request->connection;

        if (connection) {
                Buffer *output = ret_answer ? ret_answer : &connection->output;

                append_head(request, output, request->upgrade ? 101 : 200, content_type);
                if (request->upgrade) {
                        const char *protocol = http_request_header(request, "Upgrade");
                        buffer_printf(output, "Connection: Upgrade\r\nUpgrade: %s\r\n", protocol ? protocol : "tcp");
                }
                buffer_append_string(output, "\r\n");
        }
        return http_request_detach(request, ret_fd, ret_received, NULL);
}

int http_request_stream(HttpRequest *request, int status, const char *content_type, Stream *ret_stream)
{
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        CLEANUP_BUFFER Buffer received = { 0 };
        HttpBody body;
        bool wanted_stream = request->streamed;

        stream.chunked = !request->http_1_0;
        append_head(request, &stream.head, status, content_type);
        buffer_printf(&stream.head, "%sConnection: close\r\n\r\n",
                      stream.chunked ? "Transfer-Encoding: chunked\r\n" : "");
        int r = http_request_detach(request, &stream.fd, &received, &body);
        if (r >= 0 && wanted_stream)
                r = http_body_reader_new(stream.fd, &body, &received, &stream);
        if (r < 0)
                return r;
        stream_move(ret_stream, &stream);
        return 0;
}

/* The lines of the head from REST on, with the type of what is sent instead. */
static int append_headers(Buffer *head, const char *rest)
{
        static const char name[] = "\r\nContent-Type: ";
        const char *type = strstr(rest, name);
        const char *after = type ? strstr(type + strlen(name), "\r\n") : NULL;

        if (!after)
                return buffer_append_string(head, rest);
        int r = buffer_append(head, rest, (size_t) (type - rest));
        if (r >= 0)
                r = buffer_printf(head, "%sapplication/json", name);
        return r < 0 ? r : buffer_append_string(head, after);
}

int http_stream_respond_json(Stream *stream, int status, const json_t *body)
{
        CLEANUP_FREE char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
        CLEANUP_BUFFER Buffer head = { 0 }, line = { 0 };
        const char *rest = stream->head.size > 0 ? strstr(stream->head.data, "\r\n") : NULL;

        if (!text || !rest)
                return text ? -EINVAL : -ENOMEM;
        if (buffer_printf(&head, "HTTP/1.%d %d %s", stream->chunked ? 1 : 0, status, http_status_phrase(status)) < 0 ||
            append_headers(&head, rest) < 0 || buffer_printf(&line, "%s\n", text) < 0)
                return -ENOMEM;
        buffer_clear(&stream->head);
        stream->head = head;
        head = (Buffer) { 0 };
        int r = stream_write(stream, line.data, line.size);
        return r < 0 ? r : stream_end(stream);
}
