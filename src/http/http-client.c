/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The client's half of HTTP/1.1 over a unix socket.
 *
 * One HttpClient owns one connected socket until http_client_take_stream() gives it away. Bytes read are kept in
 * `input` until the parser took them: the parser is paused at the end of a message, so what follows an upgrade stays in
 * `input` and belongs to the raw stream. Body bytes collect in `body`, for the caller to consume. */
#include <http_parser.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/http-client.h"
#include "berth/string.h"

#define READ_SIZE (64u * 1024)
#define PIECE_SIZE (256u * 1024)
#define HEADERS_MAX 64

typedef struct HttpHeader {
        char *name, *value; /* owned; the name in lower case */
} HttpHeader;

struct HttpClient {
        int fd; /* owned */
        http_parser parser;
        Buffer input;
        Buffer body;
        HttpHeader headers[HEADERS_MAX];
        size_t n_headers;
        Buffer name, value; /* the header being parsed */
        bool in_value;
        bool upgrade;     /* the request asked for it */
        bool outstanding; /* a request was sent whose response is not complete */
        bool head_complete, complete;
        bool keep_alive;
        bool upload_aborted;
        int failure; /* from inside a parser callback */
};

static int note_failure(HttpClient *client, int r)
{
        if (r < 0)
                client->failure = r;
        return r < 0 ? -1 : 0;
}

static int finish_header(HttpClient *client)
{
        HttpHeader *header;

        if (!client->in_value)
                return 0;
        client->in_value = false;
        if (client->n_headers == HEADERS_MAX) {
                client->name.size = client->value.size = 0;
                return 0;
        }
        header = &client->headers[client->n_headers];
        while (client->value.size > 0 && strchr(" \t", client->value.data[client->value.size - 1]))
                client->value.data[--client->value.size] = 0;
        header->name = buffer_take(&client->name);
        header->value = buffer_take(&client->value);
        client->n_headers++;
        if (!header->name || !header->value)
                return -ENOMEM;
        for (char *c = header->name; *c; c++)
                if (*c >= 'A' && *c <= 'Z')
                        *c += 'a' - 'A';
        return 0;
}

static int on_header_field(http_parser *parser, const char *data, size_t size)
{
        HttpClient *client = parser->data;
        int r = finish_header(client);

        return note_failure(client, r < 0 ? r : buffer_append(&client->name, data, size));
}

static int on_header_value(http_parser *parser, const char *data, size_t size)
{
        HttpClient *client = parser->data;

        client->in_value = true;
        return note_failure(client, buffer_append(&client->value, data, size));
}

static int on_headers_complete(http_parser *parser)
{
        HttpClient *client = parser->data;

        if (note_failure(client, finish_header(client)) < 0)
                return -1;
        client->head_complete = true;
        /* 2 tells the parser that a raw stream follows, whatever the length headers say. */
        return client->upgrade && (parser->status_code == 101 || parser->status_code == 200) ? 2 : 0;
}

static int on_body(http_parser *parser, const char *data, size_t size)
{
        HttpClient *client = parser->data;

        return note_failure(client, buffer_append(&client->body, data, size));
}

static int on_message_complete(http_parser *parser)
{
        HttpClient *client = parser->data;

        client->complete = true;
        client->keep_alive = !parser->upgrade && http_should_keep_alive(parser);
        http_parser_pause(parser, 1);
        return 0;
}

static const http_parser_settings parser_settings = {
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
};

static void forget_headers(HttpClient *client)
{
        for (size_t i = 0; i < client->n_headers; i++) {
                free(client->headers[i].name);
                free(client->headers[i].value);
        }
        client->n_headers = 0;
}

static void expect_response(HttpClient *client, bool upgrade)
{
        http_parser_init(&client->parser, HTTP_RESPONSE);
        client->parser.data = client;
        forget_headers(client);
        client->name.size = client->value.size = client->body.size = 0;
        client->in_value = client->head_complete = client->complete = client->keep_alive = false;
        client->upload_aborted = false;
        client->upgrade = upgrade;
        client->outstanding = true;
        client->failure = 0;
}

int http_client_open(const char *path, HttpClient **ret)
{
        CLEANUP_HTTP_CLIENT HttpClient *client = calloc(1, sizeof(HttpClient));

        if (!client)
                return -ENOMEM;
        client->fd = socket_connect_unix(path, SOCK_STREAM);
        if (client->fd < 0)
                return client->fd;
        client->keep_alive = true;
        *ret = TAKE_PTR(client);
        return 0;
}

void http_client_free(HttpClient *client)
{
        if (!client)
                return;
        fd_close(client->fd);
        forget_headers(client);
        buffer_clear(&client->input);
        buffer_clear(&client->body);
        buffer_clear(&client->name);
        buffer_clear(&client->value);
        free(client);
}

int http_client_fd(const HttpClient *client)
{
        return client->fd;
}

static int wait_for(int fd, short events)
{
        struct pollfd item = { .fd = fd, .events = events };

        while (poll(&item, 1, -1) < 0)
                if (errno != EINTR)
                        return -errno;
        return item.revents;
}

/* Sends all of it without SIGPIPE. */
static int send_all(int fd, const char *data, size_t size)
{
        while (size > 0) {
                ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN) {
                        int r = wait_for(fd, POLLOUT);

                        if (r < 0)
                                return r;
                        continue;
                }
                if (n < 0)
                        return -errno;
                data += n;
                size -= n;
        }
        return 0;
}

int http_client_send(HttpClient *client, const HttpClientRequest *request)
{
        CLEANUP_BUFFER Buffer head = {};
        int r;

        if (client->fd < 0 || !http_client_reusable(client))
                return -ENOTCONN;
        r = buffer_printf(&head, "%s %s HTTP/1.1\r\nHost: berth\r\nUser-Agent: Berth-Client/%s\r\n", request->method,
                          request->target, BERTH_VERSION);
        if (r >= 0 && request->content_type)
                r = buffer_printf(&head, "Content-Type: %s\r\n", request->content_type);
        if (r >= 0 && request->headers)
                r = buffer_append_string(&head, request->headers);
        if (r >= 0 && request->upgrade)
                r = buffer_append_string(&head, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
        if (r >= 0 && request->chunked)
                r = buffer_append_string(&head, "Transfer-Encoding: chunked\r\n");
        else if (r >= 0 && (request->body || strcmp(request->method, "GET") != 0))
                r = buffer_printf(&head, "Content-Length: %zu\r\n", request->body ? request->body_size : 0);
        if (r >= 0)
                r = buffer_append_string(&head, "\r\n");
        if (r >= 0 && request->body)
                r = buffer_append(&head, request->body, request->body_size);
        if (r < 0)
                return r;
        expect_response(client, request->upgrade);
        r = send_all(client->fd, head.data, head.size);
        /* A server that closed an idle connection is found out when its end of stream is read. */
        return r == -EPIPE ? 0 : r;
}

static int parse_input(HttpClient *client)
{
        size_t used;
        enum http_errno e;

        used = http_parser_execute(&client->parser, &parser_settings, client->input.data, client->input.size);
        e = HTTP_PARSER_ERRNO(&client->parser);
        if (client->failure < 0)
                return client->failure;
        if (e != HPE_OK && e != HPE_PAUSED)
                return -EBADMSG;
        buffer_consume(&client->input, used);
        if (client->complete)
                client->outstanding = false;
        return client->complete;
}

int http_client_step(HttpClient *client)
{
        ssize_t n;

        if (client->complete)
                return 1;
        if (client->input.size > 0)
                return parse_input(client);
        n = buffer_read(&client->input, client->fd, READ_SIZE);
        if (n < 0)
                return n;
        if (n == 0) {
                /* The end of the stream completes a body without a length; anywhere else it is a broken connection. */
                client->keep_alive = false;
                if (client->head_complete)
                        http_parser_execute(&client->parser, &parser_settings, NULL, 0);
                client->outstanding = false;
                if (client->complete)
                        client->keep_alive = false;
                return client->complete ? 1 : -ECONNRESET;
        }
        return parse_input(client);
}

/* A step that waits where the descriptor does not block. */
static int step_blocking(HttpClient *client)
{
        int r = http_client_step(client);

        if (r == -EAGAIN) {
                r = wait_for(client->fd, POLLIN);
                return r < 0 ? r : 0;
        }
        return r;
}

int http_client_read_head(HttpClient *client)
{
        while (!client->head_complete) {
                int r = step_blocking(client);

                if (r < 0)
                        return r;
        }
        return client->parser.status_code;
}

int http_client_read_all(HttpClient *client, size_t max)
{
        while (!client->complete) {
                int r = step_blocking(client);

                if (r < 0)
                        return r;
                if (client->body.size > max)
                        return -EFBIG;
        }
        return 0;
}

/* Takes what the server already answers in the middle of an upload. 1 when sending on makes no sense. */
static int upload_listen(HttpClient *client, int (*progress)(HttpClient *, void *), void *userdata)
{
        int r = http_client_step(client);

        if (r == -EAGAIN)
                return 0;
        if (r < 0)
                return r;
        if (r > 0 || (client->head_complete && client->parser.status_code >= 400)) {
                client->upload_aborted = true;
                return 1;
        }
        return progress ? progress(client, userdata) : 0;
}

typedef struct Upload {
        HttpClient *client;
        int (*progress)(HttpClient *client, void *userdata);
        void *userdata;
} Upload;

/* Waits until the socket takes more. 0, 1 when sending on makes no sense, negative errno. */
static int upload_wait(const Upload *upload)
{
        int events = wait_for(upload->client->fd, POLLIN | POLLOUT);

        if (events < 0)
                return events;
        return events & POLLIN ? upload_listen(upload->client, upload->progress, upload->userdata) : 0;
}

static int upload_bytes(const Upload *upload, const char *data, size_t size, int flags)
{
        while (size > 0) {
                ssize_t n = send(upload->client->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT | flags);
                int r;

                if (n >= 0) {
                        data += n;
                        size -= n;
                        continue;
                }
                if (errno == EINTR)
                        continue;
                if (errno == EPIPE || errno == ECONNRESET)
                        return 1;
                if (errno != EAGAIN)
                        return -errno;
                r = upload_wait(upload);
                if (r != 0)
                        return r;
        }
        return 0;
}

static int upload_chunk_head(const Upload *upload, size_t size)
{
        char head[32];

        return upload_bytes(upload, head, snprintf(head, sizeof(head), "%zx\r\n", size), MSG_MORE);
}

/* Whole pieces of a regular file go from the page cache to the socket. */
static int upload_file(const Upload *upload, int fd, off_t left)
{
        while (left > 0) {
                size_t piece = MIN(left, (off_t) PIECE_SIZE * 4);
                int r = upload_chunk_head(upload, piece);

                left -= piece;
                while (r == 0 && piece > 0) {
                        ssize_t n = sendfile(upload->client->fd, fd, NULL, piece);

                        if (n > 0)
                                piece -= n;
                        else if (n == 0)
                                return -EIO; /* the file became shorter under our hands */
                        else if (errno == EPIPE || errno == ECONNRESET)
                                r = 1;
                        else if (errno == EAGAIN)
                                r = upload_wait(upload);
                        else if (errno != EINTR)
                                r = -errno;
                }
                if (r == 0)
                        r = upload_bytes(upload, "\r\n", 2, MSG_MORE);
                if (r != 0)
                        return r;
        }
        return 0;
}

static int upload_stream(const Upload *upload, int fd)
{
        CLEANUP_FREE char *piece = malloc(PIECE_SIZE + 2);

        if (!piece)
                return -ENOMEM;
        for (;;) {
                ssize_t n = read(fd, piece, PIECE_SIZE);
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                memcpy(piece + n, "\r\n", 2);
                r = upload_chunk_head(upload, n);
                if (r == 0)
                        r = upload_bytes(upload, piece, n + 2, 0);
                if (r != 0)
                        return r;
        }
}

int http_client_upload(HttpClient *client, int fd, int (*progress)(HttpClient *client, void *userdata), void *userdata)
{
        Upload upload = { client, progress, userdata };
        struct stat st;
        off_t position;
        int r;

        /* sendfile(2) has no flag for SIGPIPE, which is therefore held back for the time of the upload. */
        sighandler_t saved = signal(SIGPIPE, SIG_IGN);

        r = fd_set_nonblock(client->fd, true);
        if (r >= 0) {
                position = lseek(fd, 0, SEEK_CUR);
                if (position >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
                        r = upload_file(&upload, fd, st.st_size - position);
                else
                        r = upload_stream(&upload, fd);
        }
        if (r == 0)
                r = upload_bytes(&upload, "0\r\n\r\n", 5, 0);
        fd_set_nonblock(client->fd, false);
        signal(SIGPIPE, saved);
        if (r > 0)
                client->upload_aborted = true;
        return r < 0 ? r : 0;
}

int http_client_status(const HttpClient *client)
{
        return client->head_complete ? client->parser.status_code : 0;
}

bool http_client_complete(const HttpClient *client)
{
        return client->complete;
}

const char *http_client_header(const HttpClient *client, const char *name)
{
        for (size_t i = 0; i < client->n_headers; i++)
                if (str_equal(client->headers[i].name, name))
                        return client->headers[i].value;
        return NULL;
}

const char *http_client_content_type(const HttpClient *client)
{
        return http_client_header(client, "content-type") ?: "";
}

Buffer *http_client_body(HttpClient *client)
{
        return &client->body;
}

bool http_client_reusable(const HttpClient *client)
{
        return client->fd >= 0 && client->keep_alive && !client->outstanding && !client->upload_aborted;
}

int http_client_take_stream(HttpClient *client, Buffer *early, int *ret_fd)
{
        int r;

        if (!client->head_complete || !client->parser.upgrade)
                return -EPROTO;
        r = buffer_append(early, client->input.data, client->input.size);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(client->fd);
        return 0;
}

int http_escape(Buffer *target, const char *s)
{
        static const char digits[] = "0123456789ABCDEF";
        int r = 0;

        for (; *s && r >= 0; s++) {
                unsigned char c = *s;

                if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-_.~/:", c))
                        r = buffer_append(target, s, 1);
                else
                        r = buffer_append(target, (char[]) { '%', digits[c >> 4], digits[c & 15] }, 3);
        }
        return r;
}
