/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP/1.1 over a unix socket, from the client's side: one object is one connection, one request at a time on it.
 * Calls block unless they say otherwise; HTTP_CLIENT_STEP lets a poll(2) loop drive a response piece by piece. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "berth/buffer.h"
#include "berth/cleanup.h"

typedef struct HttpClient HttpClient;

typedef struct HttpClientRequest {
        const char *method;
        const char *target;       /* path and query, already escaped */
        const char *content_type; /* NULL without a body */
        const void *body;         /* sent with its length; NULL for none */
        size_t body_size;
        const char *headers; /* more header lines, each with its line end; NULL for none */
        bool chunked;        /* the body follows by http_client_upload() */
        bool upgrade;        /* ask for a raw stream ("Upgrade: tcp"); see http_client_take_stream() */
} HttpClientRequest;

/* Connects to the socket PATH. Negative errno of connect(2) where that fails. */
int http_client_open(const char *path, HttpClient **ret);
void http_client_free(HttpClient *client);
DEFINE_CLEANUP(cleanup_http_client_ptr, HttpClient *, http_client_free)
#define CLEANUP_HTTP_CLIENT CLEANUP(cleanup_http_client_ptr)

/* The descriptor, borrowed, for poll(2). */
int http_client_fd(const HttpClient *client);

/* Writes the request. The response to the one before must have been read to its end. */
int http_client_send(HttpClient *client, const HttpClientRequest *request);

/* Sends everything FD holds as the chunked body. While the server already answers, PROGRESS (may be NULL) is called
 * after each piece of response that came in. Stops early, successfully, when the server answered with an error. */
int http_client_upload(HttpClient *client, int fd, int (*progress)(HttpClient *client, void *userdata), void *userdata);

/* Reads once and parses what came: 1 when the response is complete, 0 when there is more to come, -EAGAIN where the
 * descriptor does not block and nothing came, -ECONNRESET where the connection ended too early, -EBADMSG for nonsense.
 */
int http_client_step(HttpClient *client);

/* Steps until the head of the response is there, and returns its status. */
int http_client_read_head(HttpClient *client);

/* The status once the head is there, else 0; whether the response is complete. */
int http_client_status(const HttpClient *client);
bool http_client_complete(const HttpClient *client);

/* The content type of the response, "" where it has none; borrowed until the next request. */
const char *http_client_content_type(const HttpClient *client);

/* The value of a response header by its lower-case name, NULL where absent; borrowed until the next request. */
const char *http_client_header(const HttpClient *client, const char *name);

/* The part of the body that came and was not consumed yet; the caller may consume it at any time. */
Buffer *http_client_body(HttpClient *client);

/* Steps until the response is complete. -EFBIG when the body is larger than MAX bytes. */
int http_client_read_all(HttpClient *client, size_t max);

/* True if another request can be sent on this connection. */
bool http_client_reusable(const HttpClient *client);

/* After the head of an upgraded response: gives the socket to the caller, with the bytes of the stream that were read
 * along with the head appended to EARLY. The object can only be freed afterwards. */
int http_client_take_stream(HttpClient *client, Buffer *early, int *ret_fd);

/* Appends S to a target, escaped so that it stands for itself in a path or a query value. */
int http_escape(Buffer *target, const char *s);
