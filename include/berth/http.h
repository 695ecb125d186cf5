/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An HTTP/1.1 server on sd-event (RFC 9110, RFC 9112).
 *
 * A connection carries one exchange at a time; pipelined requests wait their turn in the socket. The handler runs once
 * a request's headers (and, unless it asked for the stream, its body) are there, and answers now or later, exactly
 * once: the request stays valid until then, also when its client has gone. A connection can be detached: its descriptor
 * then belongs to the caller, who speaks for it from that byte on, in this process or another. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "berth/buffer.h"
#include "berth/stream.h"

typedef struct HttpServer HttpServer;
typedef struct HttpRequest HttpRequest;

/* Limits on what one client can make the server hold. */
#define HTTP_HEADERS_SIZE_MAX (64u * 1024)
#define HTTP_TARGET_SIZE_MAX (32u * 1024)
#define HTTP_BODY_SIZE_MAX (16u * 1024 * 1024)
#define HTTP_CONNECTIONS_MAX 4096

/* How a request's body is framed; what a detached stream's new owner has to decode. */
typedef struct HttpBody {
        bool chunked;    /* Transfer-Encoding: chunked; else LENGTH bytes */
        uint64_t length; /* bytes that belong to the body, all of it */
} HttpBody;

typedef struct HttpServerConfig {
        /* True where the handler takes the body as a stream by http_request_detach(). Called with headers only. */
        bool (*wants_stream)(HttpRequest *request, void *userdata);
        /* Handles a request; has to answer it once, then or later. */
        void (*handle)(HttpRequest *request, void *userdata);
        /* The number of connections and unanswered requests has changed; see http_server_busy(). */
        void (*activity)(void *userdata);
        /* The body of an error the server itself reports (a malformed request): fills a JSON object. */
        json_t *(*error_body)(int status, const char *message);
        const char *headers; /* sent with every answer: complete lines, each ending in CRLF */
        void *userdata;
} HttpServerConfig;

/* CONFIG is copied; its strings are borrowed. */
int http_server_new(sd_event *event, const HttpServerConfig *config, HttpServer **ret_server);
void http_server_free(HttpServer *server);

/* Adds a listening stream socket, which the server owns from now on, also on failure. */
int http_server_add_listener(HttpServer *server, int fd);

/* True while a client is connected or a request is unanswered. */
bool http_server_busy(const HttpServer *server);

/* Everything about a request is borrowed from it. */
const char *http_request_method(const HttpRequest *request);
const char *http_request_path(const HttpRequest *request);                     /* percent-decoded, without query */
const char *http_request_target(const HttpRequest *request);                   /* as sent */
const char *http_request_header(const HttpRequest *request, const char *name); /* NULL where absent */
/* A query parameter's first value, percent-decoded; NULL where absent, "" where it has none. */
const char *http_request_query(const HttpRequest *request, const char *name);
/* The i-th value of a parameter that may repeat; NULL past the last. */
const char *http_request_query_nth(const HttpRequest *request, const char *name, size_t i);
const Buffer *http_request_body(const HttpRequest *request);
bool http_request_wants_upgrade(const HttpRequest *request);
/* Who connected (SO_PEERCRED): (uid_t) -1 where unknown. */
uid_t http_request_uid(const HttpRequest *request);
pid_t http_request_pid(const HttpRequest *request);

/* Room for the API layer to keep what it parsed of the request; DESTROY runs when the request is freed. */
void http_request_set_data(HttpRequest *request, void *data, void (*destroy)(void *data));
void *http_request_data(const HttpRequest *request);

/* Adds a header line to the answer to come. */
int http_response_header(HttpRequest *request, const char *name, const char *value);

/* Answers and frees the request. The body is copied. A HEAD request gets the headers alone. */
void http_respond(HttpRequest *request, int status, const char *content_type, const void *body, size_t size);
void http_respond_json(HttpRequest *request, int status, const json_t *body);
void http_respond_empty(HttpRequest *request, int status);

/* Takes the connection away from the server and frees the request. The descriptor blocks no call (O_NONBLOCK).
 * ret_received gets the bytes already read behind the headers: the beginning of the body or stream. */
int http_request_detach(HttpRequest *request, int *ret_fd, Buffer *ret_received, HttpBody *ret_body);

/* Turns the connection into a raw stream: "101 UPGRADED" where the client asked for an upgrade, else 200 without a
 * length; then detaches as above. Where ret_answer is not NULL it gets the answer, which the caller is to send. */
int http_request_hijack(HttpRequest *request, const char *content_type, int *ret_fd, Buffer *ret_received,
                        Buffer *ret_answer);

/* Why a request can not become a WebSocket, as Docker words it, or NULL where it can. */
const char *http_request_websocket_refusal(HttpRequest *request);
/* Detaches as above a request without a refusal. The caller is to send the answer, "101 Switching Protocols"; what
 * follows are frames (include/berth/websocket.h). Frees the request in any case. */
int http_request_websocket(HttpRequest *request, int *ret_fd, Buffer *ret_received, Buffer *ret_answer);

/* Takes the exchange over as a stream: the request's body, where it was asked for as a stream, and an answer of
 * unknown length that closes the connection at its end. Nothing is sent yet. Frees the request. */
int http_request_stream(HttpRequest *request, int status, const char *content_type, Stream *ret_stream);

/* Answers a stream that nothing was sent on yet with another status than it was made for, and ends it. */
int http_stream_respond_json(Stream *stream, int status, const json_t *body);

/* The reason phrase of a status. */
const char *http_status_phrase(int status);

/* Decodes percent-encoding in place ('+' is a blank where PLUS). False where it is malformed. */
bool http_percent_decode(char *s, bool plus);
