/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the files of the server: connections and the request each of them carries. */
#pragma once

#include <http_parser.h>
#include <sys/queue.h>

#include "berth/http.h"

typedef struct HttpConnection HttpConnection;

typedef struct HttpHeader {
        char *name; /* as sent */
        char *value;
} HttpHeader;

struct HttpRequest {
        HttpServer *server;
        HttpConnection *connection; /* NULL once the client has gone or the connection is detached */
        char *method;
        Buffer target;
        char *path;
        HttpHeader *headers;
        size_t n_headers;
        size_t headers_size;
        HttpHeader *query; /* decoded names and values */
        size_t n_query;
        Buffer body;
        HttpBody framing;
        Buffer response_headers;
        bool upgrade;
        bool streamed; /* the body was left in the socket */
        bool keep_alive;
        bool http_1_0;
        uid_t uid;
        pid_t pid;
        void *data;
        void (*destroy)(void *data);
};

struct HttpConnection {
        LIST_ENTRY(HttpConnection) link;
        HttpServer *server;
        int fd;                   /* owned */
        sd_event_source *io;      /* owned */
        sd_event_source *timeout; /* owned; runs while a request is incomplete */
        http_parser parser;
        Buffer input;         /* read, and not yet parsed */
        Buffer output;        /* to be written */
        HttpRequest *request; /* being parsed or answered; owned by the handler from dispatch on */
        bool header_is_value; /* the last header callback was a value: the next field starts a new header */
        bool headers_done, message_done, dispatched;
        bool close_after_output;
        uid_t uid;
        pid_t pid;
};

struct HttpServer {
        sd_event *event;
        HttpServerConfig config;
        LIST_HEAD(, HttpConnection) connections;
        size_t n_connections;
        size_t n_requests; /* dispatched and not yet answered */
        sd_event_source **listeners;
        size_t n_listeners;
        http_parser_settings settings;
};

/* http-request.c */
HttpRequest *http_request_new(HttpConnection *connection);
void http_request_free(HttpRequest *request);
int http_request_parse_target(HttpRequest *request);
int http_request_add_header_bytes(HttpRequest *request, bool value, bool fresh, const char *data, size_t size);

/* http-server.c */
void http_connection_free(HttpConnection *connection);
void http_connection_send(HttpConnection *connection);
/* The answer is in the output: go on with the next request, or close. */
void http_connection_answered(HttpConnection *connection, bool keep_alive);
/* Gives up the descriptor and frees the connection. */
int http_connection_release(HttpConnection *connection, Buffer *ret_received);

/* http-websocket.c */
/* "Sec-WebSocket-Accept" with its terminating zero. */
#define HTTP_WEBSOCKET_ACCEPT_SIZE 29
/* KEY is the request's Sec-WebSocket-Key: 16 bytes in Base64. 0, -EINVAL where it is not, or -ENOMEM. */
int http_websocket_accept(const char *key, char ret_accept[static HTTP_WEBSOCKET_ACCEPT_SIZE]);

/* http-body.c: reads the body that follows RECEIVED (emptied) on FD (borrowed), through STREAM's read functions. */
int http_body_reader_new(int fd, const HttpBody *body, Buffer *received, Stream *stream);
