/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections: accepting, parsing with http_parser, dispatching, writing.
 *
 * A connection owns its descriptor. It owns its request while that is being parsed; from dispatch on the handler owns
 * the request and the connection only points to it. While a request is being answered nothing is read from the socket,
 * only the client's hang-up is watched. */
#include "http-server.h"

#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/string.h"

#define READ_SIZE (64u * 1024)
#define REQUEST_TIMEOUT_US (UINT64_C(60) * 1000 * 1000)

static void connection_process(HttpConnection *connection);

static void watch(HttpConnection *connection)
{
        uint32_t events = EPOLLRDHUP;

        if (!connection->dispatched && !connection->close_after_output)
                events |= EPOLLIN;
        if (connection->output.size > 0)
                events |= EPOLLOUT;
        sd_event_source_set_io_events(connection->io, events);
}

static void arm_timeout(HttpConnection *connection, bool on)
{
        if (!on) {
                sd_event_source_set_enabled(connection->timeout, SD_EVENT_OFF);
                return;
        }
        sd_event_source_set_time_relative(connection->timeout, REQUEST_TIMEOUT_US);
        sd_event_source_set_enabled(connection->timeout, SD_EVENT_ONESHOT);
}

static void forget_request(HttpConnection *connection)
{
        if (!connection->request)
                return;
        if (connection->dispatched)
                connection->request->connection = NULL;
        else
                http_request_free(connection->request);
        connection->request = NULL;
}

static void connection_free_keep_fd(HttpConnection *connection)
{
        HttpServer *server = connection->server;

        forget_request(connection);
        sd_event_source_disable_unref(connection->io);
        sd_event_source_disable_unref(connection->timeout);
        buffer_clear(&connection->input);
        buffer_clear(&connection->output);
        LIST_REMOVE(connection, link);
        server->n_connections--;
        free(connection);
        if (server->config.activity)
                server->config.activity(server->config.userdata);
}

void http_connection_free(HttpConnection *connection)
{
        int fd = connection->fd;

        connection_free_keep_fd(connection);
        fd_close(fd);
}

int http_connection_release(HttpConnection *connection, Buffer *ret_received)
{
        int fd = connection->fd;

        /* What is still to be written (100 Continue, the answer's headers) fits the socket of a client that reads. */
        if (connection->output.size > 0)
                fd_write_all(fd, connection->output.data, connection->output.size);
        if (ret_received) {
                *ret_received = connection->input;
                connection->input = (Buffer) { 0 };
        }
        connection_free_keep_fd(connection);
        return fd;
}

void http_connection_send(HttpConnection *connection)
{
        while (connection->output.size > 0) {
                ssize_t n = send(connection->fd, connection->output.data, connection->output.size, MSG_NOSIGNAL);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        break;
                if (n < 0) {
                        /* The hang-up event ends the connection. */
                        buffer_clear(&connection->output);
                        connection->close_after_output = true;
                        break;
                }
                buffer_consume(&connection->output, (size_t) n);
        }
        watch(connection);
}

/* Answers an error of the protocol and closes. Frees the connection where all is written: callers do nothing after
 * it. */
static void fail(HttpConnection *connection, int status, const char *message)
{
        HttpServer *server = connection->server;
        CLEANUP_JSON json_t *body = server->config.error_body(status, message);
        CLEANUP_FREE char *text = json_dumps(body, JSON_COMPACT);

        forget_request(connection);
        buffer_printf(&connection->output,
                      "HTTP/1.1 %d %s\r\n%sContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: "
                      "close\r\n\r\n%s",
                      status, http_status_phrase(status), server->config.headers ? server->config.headers : "",
                      text ? strlen(text) : 0, text ? text : "");
        connection->close_after_output = true;
        connection->dispatched = false;
        arm_timeout(connection, true);
        http_connection_send(connection);
        if (connection->output.size == 0)
                http_connection_free(connection);
}

/* --- http_parser's callbacks: non-zero stops it ------------------------------------------------------------------- */

static int on_message_begin(http_parser *parser)
{
        HttpConnection *connection = parser->data;

        connection->request = http_request_new(connection);
        connection->header_is_value = true;
        return connection->request ? 0 : 1;
}

static int on_url(http_parser *parser, const char *data, size_t size)
{
        HttpConnection *connection = parser->data;
        HttpRequest *request = connection->request;

        if (request->target.size + size > HTTP_TARGET_SIZE_MAX)
                return 1;
        return buffer_append(&request->target, data, size) < 0;
}

static int on_header_field(http_parser *parser, const char *data, size_t size)
{
        HttpConnection *connection = parser->data;
        bool fresh = connection->header_is_value;

        connection->header_is_value = false;
        return http_request_add_header_bytes(connection->request, false, fresh, data, size) < 0;
}

static int on_header_value(http_parser *parser, const char *data, size_t size)
{
        HttpConnection *connection = parser->data;

        connection->header_is_value = true;
        return http_request_add_header_bytes(connection->request, true, false, data, size) < 0;
}

static int on_headers_complete(http_parser *parser)
{
        HttpConnection *connection = parser->data;
        HttpRequest *request = connection->request;

        request->method = strdup(http_method_str(parser->method));
        if (!request->method)
                return -1;
        request->upgrade = parser->upgrade;
        request->keep_alive = http_should_keep_alive(parser);
        request->http_1_0 = parser->http_major == 1 && parser->http_minor == 0;
        request->framing.chunked = parser->flags & F_CHUNKED;
        if (!request->framing.chunked && parser->content_length != UINT64_MAX)
                request->framing.length = parser->content_length;
        connection->headers_done = true;
        http_parser_pause(parser, 1);
        return 0;
}

static int on_body(http_parser *parser, const char *data, size_t size)
{
        HttpConnection *connection = parser->data;

        if (connection->request->body.size + size > HTTP_BODY_SIZE_MAX)
                return 1;
        return buffer_append(&connection->request->body, data, size) < 0;
}

static int on_message_complete(http_parser *parser)
{
        HttpConnection *connection = parser->data;

        connection->message_done = true;
        http_parser_pause(parser, 1);
        return 0;
}

/* --- One exchange after the other -------------------------------------------------------------------------------- */

static void dispatch(HttpConnection *connection)
{
        HttpServer *server = connection->server;
        HttpRequest *request = connection->request;

        connection->dispatched = true;
        server->n_requests++;
        arm_timeout(connection, false);
        watch(connection);
        server->config.handle(request, server->config.userdata);
}

/* What RFC 9112 asks of a request's version and Host, and a name of a header that is none. 0 where all is well. */
static int protocol_error(const HttpConnection *connection, const char **ret_message)
{
        const HttpRequest *request = connection->request;
        const char *expect = http_request_header(request, "Expect");
        size_t hosts = 0;

        for (size_t i = 0; i < request->n_headers; i++) {
                hosts += strcasecmp(request->headers[i].name, "Host") == 0;
                *ret_message = "malformed header";
                if (strpbrk(request->headers[i].name, " \t"))
                        return 400;
        }
        *ret_message = "unsupported protocol version";
        if (connection->parser.http_major != 1)
                return connection->parser.http_major == 0 ? 400 : 505;
        *ret_message = hosts == 0 ? "missing required Host header" : "too many Host headers";
        if (hosts > 1 || (hosts == 0 && !request->http_1_0))
                return 400;
        *ret_message = "unknown expectation";
        return expect && strcasecmp(expect, "100-continue") != 0 ? 417 : 0;
}

/* Headers are complete. Returns false where the request went elsewhere (an error, or a stream that was dispatched). */
static bool headers_complete(HttpConnection *connection)
{
        HttpServer *server = connection->server;
        HttpRequest *request = connection->request;
        const char *message;
        int status = protocol_error(connection, &message);

        if (status != 0) {
                fail(connection, status, message);
                return false;
        }
        int r = http_request_parse_target(request);
        if (r < 0) {
                fail(connection, 400, "malformed request target");
                return false;
        }
        bool stream = server->config.wants_stream(request, server->config.userdata);
        if (!stream && request->framing.length > HTTP_BODY_SIZE_MAX) {
                fail(connection, 413, "request body too large");
                return false;
        }
        const char *expect = http_request_header(request, "Expect");
        if (expect && strcasecmp(expect, "100-continue") == 0 &&
            (request->framing.chunked || request->framing.length > 0)) {
                buffer_append_string(&connection->output, "HTTP/1.1 100 Continue\r\n\r\n");
                http_connection_send(connection);
        }
        if (stream) {
                /* The parser stopped before the last line feed of the headers; what follows is the stream's. */
                buffer_consume(&connection->input, 1);
                request->keep_alive = false;
                request->streamed = true;
                dispatch(connection);
                return false;
        }
        return true;
}

static int error_status(const HttpConnection *connection)
{
        enum http_errno error = HTTP_PARSER_ERRNO(&connection->parser);

        if (error == HPE_HEADER_OVERFLOW || error == HPE_CB_header_field || error == HPE_CB_header_value)
                return 431;
        if (error == HPE_CB_url)
                return 414;
        if (error == HPE_INVALID_TRANSFER_ENCODING)
                return 501;
        if (error == HPE_CB_body)
                return 413;
        return 400;
}

/* The limits that this server sets end in a callback, of which the parser has no more to say than that it failed. */
static const char *error_text(int status, enum http_errno error)
{
        switch (status) {
        case 413:
                return "request body too large";
        case 414:
                return "request target too long";
        case 431:
                return "request header fields too large";
        default:
                return http_errno_description(error);
        }
}

/* Parses what there is. May free the connection: callers do nothing afterwards. */
static void connection_process(HttpConnection *connection)
{
        while (!connection->dispatched && !connection->close_after_output && connection->input.size > 0) {
                http_parser *parser = &connection->parser;
                http_parser_pause(parser, 0);
                size_t n = http_parser_execute(parser, &connection->server->settings, connection->input.data,
                                               connection->input.size);
                enum http_errno error = HTTP_PARSER_ERRNO(parser);

                if (error != HPE_OK && error != HPE_PAUSED) {
                        int status = error_status(connection);
                        fail(connection, status, error_text(status, error));
                        return;
                }
                buffer_consume(&connection->input, n);
                /* Paused on the last line feed of the headers: the parser has to see that byte again. */
                if (connection->headers_done && error == HPE_PAUSED && !connection->message_done) {
                        connection->headers_done = false;
                        if (!headers_complete(connection))
                                return;
                        continue;
                }
                if (connection->message_done) {
                        connection->message_done = false;
                        dispatch(connection);
                        return;
                }
        }
        watch(connection);
}

void http_connection_answered(HttpConnection *connection, bool keep_alive)
{
        connection->request = NULL;
        connection->dispatched = false;
        if (!keep_alive)
                connection->close_after_output = true;
        http_connection_send(connection);
        if (connection->close_after_output && connection->output.size == 0) {
                http_connection_free(connection);
                return;
        }
        if (connection->close_after_output)
                return;
        http_parser_init(&connection->parser, HTTP_REQUEST);
        connection->parser.data = connection;
        /* A pipelined request may already be here. Served from the loop, so that a long row of them cannot nest. */
        if (connection->input.size > 0)
                sd_event_source_set_io_events(connection->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void) source;
        (void) usec;
        http_connection_free(userdata);
        return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        HttpConnection *connection = userdata;
        (void) source;

        if (revents & (EPOLLHUP | EPOLLERR)) {
                http_connection_free(connection);
                return 0;
        }
        if (connection->output.size > 0) {
                http_connection_send(connection);
                if (connection->output.size > 0 && !(revents & EPOLLIN))
                        return 0;
        }
        if (connection->close_after_output) {
                if (connection->output.size == 0)
                        http_connection_free(connection);
                return 0;
        }
        if (connection->dispatched) {
                /* Half-closed with a request under way: it still gets its answer, but then it is over. */
                if (revents & EPOLLRDHUP) {
                        connection->request->keep_alive = false;
                        sd_event_source_set_io_events(connection->io, connection->output.size > 0 ? EPOLLOUT : 0);
                }
                return 0;
        }
        if (revents & (EPOLLIN | EPOLLRDHUP)) {
                ssize_t n = buffer_read(&connection->input, fd, READ_SIZE);
                if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR)) {
                        if (connection->input.size == 0) {
                                http_connection_free(connection);
                                return 0;
                        }
                        if (connection->request || n < 0) { /* in the middle of a request */
                                http_connection_free(connection);
                                return 0;
                        }
                }
                if (!connection->request)
                        arm_timeout(connection, true);
        }
        connection_process(connection);
        return 0;
}

static void read_peer(HttpConnection *connection)
{
        struct ucred peer;
        socklen_t size = sizeof(peer);

        connection->uid = (uid_t) -1;
        if (getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0) {
                connection->uid = peer.uid;
                connection->pid = peer.pid;
        }
}

/* Takes FD over. */
static int add_connection(HttpServer *server, int fd)
{
        CLEANUP_CLOSE int owned = fd;
        if (server->n_connections >= HTTP_CONNECTIONS_MAX)
                return -EMFILE;
        HttpConnection *connection = calloc(1, sizeof(*connection));
        if (!connection)
                return -ENOMEM;

        connection->server = server;
        connection->fd = fd;
        int r = sd_event_add_io(server->event, &connection->io, fd, EPOLLIN | EPOLLRDHUP, on_io, connection);
        if (r >= 0)
                r = sd_event_add_time_relative(server->event, &connection->timeout, CLOCK_MONOTONIC, REQUEST_TIMEOUT_US,
                                               0, on_timeout, connection);
        if (r < 0) {
                sd_event_source_disable_unref(connection->io);
                free(connection);
                return r;
        }
        arm_timeout(connection, false);
        read_peer(connection);
        http_parser_init(&connection->parser, HTTP_REQUEST);
        connection->parser.data = connection;
        LIST_INSERT_HEAD(&server->connections, connection, link);
        server->n_connections++;
        TAKE_FD(owned);
        if (server->config.activity)
                server->config.activity(server->config.userdata);
        return 0;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        (void) source;
        (void) revents;
        int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (connection >= 0)
                add_connection(userdata, connection);
        return 0;
}

int http_server_add_listener(HttpServer *server, int fd)
{
        sd_event_source *source = NULL;
        CLEANUP_CLOSE int owned = fd;
        sd_event_source **grown = reallocarray(server->listeners, server->n_listeners + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;

        server->listeners = grown;
        int r = fd_set_nonblock(fd, true);
        if (r >= 0)
                r = sd_event_add_io(server->event, &source, fd, EPOLLIN, on_accept, server);
        if (r < 0)
                return r;
        sd_event_source_set_io_fd_own(source, true);
        TAKE_FD(owned);
        server->listeners[server->n_listeners++] = source;
        return 0;
}

int http_server_new(sd_event *event, const HttpServerConfig *config, HttpServer **ret_server)
{
        HttpServer *server = calloc(1, sizeof(*server));
        if (!server)
                return -ENOMEM;

        server->event = sd_event_ref(event);
        server->config = *config;
        LIST_INIT(&server->connections);
        server->settings = (http_parser_settings) { .on_message_begin = on_message_begin,
                                                    .on_url = on_url,
                                                    .on_header_field = on_header_field,
                                                    .on_header_value = on_header_value,
                                                    .on_headers_complete = on_headers_complete,
                                                    .on_body = on_body,
                                                    .on_message_complete = on_message_complete };
        *ret_server = server;
        return 0;
}

void http_server_free(HttpServer *server)
{
        if (!server)
                return;
        server->config.activity = NULL;
        while (!LIST_EMPTY(&server->connections))
                http_connection_free(LIST_FIRST(&server->connections));
        for (size_t i = 0; i < server->n_listeners; i++)
                sd_event_source_disable_unref(server->listeners[i]);
        free(server->listeners);
        sd_event_unref(server->event);
        free(server);
}

bool http_server_busy(const HttpServer *server)
{
        return server->n_connections > 0 || server->n_requests > 0;
}
