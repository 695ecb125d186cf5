/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls to the daemon. Client owns one connection that plain calls share and that is opened when the first of them is
 * made; streams get connections of their own. There is no negotiation: a path without a version is
 * answered in the newest one the daemon knows. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/json.h"
#include "client.h"

#define SOCKET_PATH "/run/berth.sock"
#define SOCKET_PATH_OTHER "/run/docker.sock"
#define REPLY_MAX (256u * 1024 * 1024)

void client_complain(const char *format, ...)
{
        va_list arguments;

        fflush(stdout);
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fputc('\n', stderr);
}

int client_fail(const Error *error)
{
        client_complain("%s", error->message ?: "out of memory");
        return 1;
}

void *client_must(void *pointer)
{
        if (!pointer) {
                fputs("berth: out of memory\n", stderr);
                exit(CLIENT_EXIT_FAILURE);
        }
        return pointer;
}

void client_must_zero(int r)
{
        client_must(r < 0 ? NULL : &r);
}

int client_init(Client *client, const char *host, Error *error)
{
        const char *path;

        if (str_empty(host))
                host = getenv("BERTH_HOST");
        if (str_empty(host))
                host = getenv("DOCKER_HOST");
        if (str_empty(host))
                host = access(SOCKET_PATH, F_OK) < 0 && access(SOCKET_PATH_OTHER, F_OK) == 0
                               ? "unix://" SOCKET_PATH_OTHER
                               : "unix://" SOCKET_PATH;
        path = str_after_prefix(host, "unix://");
        if (!path && *host == '/')
                path = host;
        if (!path && strstr(host, "://"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "berth speaks to unix:// sockets only; cannot use the host \"%s\"", host);
        if (str_empty(path))
                return error_set(error, OUTCOME_BAD_REQUEST, "unable to parse docker host `%s`", host);
        client->host = client_must(str_printf("unix://%s", path));
        client->socket = client_must(strdup(path));
        return 0;
}

void client_clear(Client *client)
{
        http_client_free(client->http);
        free(client->host);
        free(client->socket);
        *client = (Client) {};
}

void client_reply_clear(ClientReply *reply)
{
        if (reply->json)
                json_decref(reply->json);
        buffer_clear(&reply->body);
        *reply = (ClientReply) {};
}

int client_transport_error(const Client *client, int r, Error *error)
{
        if (r == -EACCES || r == -EPERM)
                return error_set(error, OUTCOME_UNAVAILABLE,
                                 "permission denied while trying to connect to the Berth daemon socket at %s",
                                 client->host);
        if (r == -ENOENT || r == -ECONNREFUSED)
                return error_set(error, OUTCOME_UNAVAILABLE,
                                 "Cannot connect to the Berth daemon at %s. Is berth.socket running?", client->host);
        if (r == -ECONNRESET || r == -EPIPE)
                return error_set(error, OUTCOME_UNAVAILABLE,
                                 "error during connect: the daemon at %s closed the connection", client->host);
        if (r == -EBADMSG)
                return error_set(error, OUTCOME_UNAVAILABLE, "error during connect: what answers at %s is not HTTP",
                                 client->host);
        return error_set(error, OUTCOME_UNAVAILABLE, "error during connect: %s: %s", client->host, strerror(-r));
}

int client_connect(const Client *client, HttpClient **ret, Error *error)
{
        int r = http_client_open(client->socket, ret);

        return r < 0 ? client_transport_error(client, r, error) : 0;
}

static void request_set_text(HttpClientRequest *request, const char *text)
{
        if (!text)
                return;
        request->content_type = "application/json";
        request->body = text;
        request->body_size = strlen(text);
}

int client_send(HttpClient *http, const char *method, const char *target, const json_t *body, bool upgrade,
                Error *error)
{
        CLEANUP_FREE char *text = body ? client_must(json_dumps(body, JSON_COMPACT)) : NULL;
        HttpClientRequest request = { .method = method, .target = target, .upgrade = upgrade };
        int r;

        request_set_text(&request, text);
        r = http_client_send(http, &request);
        return r < 0 ? error_set(error, OUTCOME_UNAVAILABLE, "error during connect: %s", strerror(-r)) : 0;
}

static void describe_refusal(int status, const char *body, size_t size, Error *error)
{
        CLEANUP_JSON json_t *json = json_loadb(body ?: "", size, JSON_DISABLE_EOF_CHECK, NULL);
        const char *message = json_get_string(json, "message");

        if (message)
                error_set(error, OUTCOME_FAILED, "Error response from daemon: %s", message);
        else
                error_set(error, OUTCOME_FAILED, "Error response from daemon: %.*s (status %d)", (int) MIN(size, 4096),
                          body ?: "", status);
}

int client_refusal(HttpClient *http, Error *error)
{
        Buffer *body = http_client_body(http);

        if (http_client_read_all(http, REPLY_MAX) < 0)
                return error_set(error, OUTCOME_FAILED, "Error response from daemon: status %d",
                                 http_client_status(http));
        describe_refusal(http_client_status(http), body->data, body->size, error);
        return OUTCOME_FAILED;
}

/* One exchange on the shared connection. */
static int exchange(Client *client, const HttpClientRequest *request)
{
        int r;

        if (client->http && !http_client_reusable(client->http)) {
                http_client_free(client->http);
                client->http = NULL;
        }
        if (!client->http) {
                r = http_client_open(client->socket, &client->http);
                if (r < 0)
                        return r;
        }
        r = http_client_send(client->http, request);
        return r < 0 ? r : http_client_read_all(client->http, REPLY_MAX);
}

int client_request(Client *client, const HttpClientRequest *request, ClientReply *reply, Error *error)
{
        bool fresh = !client->http;
        int r = exchange(client, request);

        /* A connection that was idle may have been closed by a daemon that went to sleep: nothing was asked then. */
        if ((r == -ECONNRESET || r == -EPIPE) && !fresh && http_client_status(client->http) == 0)
                r = exchange(client, request);
        if (r < 0)
                return client_transport_error(client, r, error);
        client_reply_clear(reply);
        reply->status = http_client_status(client->http);
        reply->body = *http_client_body(client->http);
        *http_client_body(client->http) = (Buffer) {};
        if (reply->status >= 400) {
                describe_refusal(reply->status, reply->body.data, reply->body.size, error);
                return OUTCOME_FAILED;
        }
        if (reply->body.size > 0 && strncmp(http_client_content_type(client->http), "application/json", 16) == 0)
                reply->json = json_loadb(reply->body.data, reply->body.size, JSON_DISABLE_EOF_CHECK, NULL);
        return 0;
}

int client_call(Client *client, const char *method, const char *target, const json_t *body, ClientReply *reply,
                Error *error)
{
        CLEANUP_FREE char *text = body ? client_must(json_dumps(body, JSON_COMPACT)) : NULL;
        HttpClientRequest request = { .method = method, .target = target };

        request_set_text(&request, text);
        return client_request(client, &request, reply, error);
}

int client_open(const Client *client, const HttpClientRequest *request, HttpClient **ret, Error *error)
{
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        int r = client_connect(client, &http, error);

        if (r != 0)
                return r;
        r = http_client_send(http, request);
        if (r >= 0)
                r = http_client_read_head(http);
        if (r < 0)
                return client_transport_error(client, r, error);
        if (r >= 400)
                return client_refusal(http, error);
        *ret = TAKE_PTR(http);
        return 0;
}

int client_copy_body(const Client *client, HttpClient *http, int fd, Error *error)
{
        Buffer *body = http_client_body(http);

        for (;;) {
                int r = fd_write_all(fd, body->data ?: "", body->size);

                if (r < 0)
                        return error_set(error, OUTCOME_FAILED, "write: %s", strerror(-r));
                body->size = 0;
                if (http_client_complete(http))
                        return 0;
                r = http_client_step(http);
                if (r < 0)
                        return client_transport_error(client, r, error);
        }
}

/* --- targets --- */

void target_add(Buffer *target, const char *key, const char *value)
{
        if (!value)
                return;
        client_must_zero(buffer_printf(target, "%c%s=", strchr(target->data ?: "", '?') ? '&' : '?', key));
        client_must_zero(http_escape(target, value));
}

Buffer target_make(const char *collection, const char *name, const char *verb)
{
        Buffer target = {};

        client_must_zero(buffer_printf(&target, "/%s/", collection));
        client_must_zero(http_escape(&target, name));
        client_must_zero(buffer_printf(&target, "%s%s", *verb ? "/" : "", verb));
        return target;
}

json_t *client_filters(char *const *list)
{
        json_t *filters;

        if (!list || !*list)
                return NULL;
        filters = client_must(json_object());
        for (; *list; list++) {
                const char *equal = strchr(*list, '=');
                CLEANUP_FREE char *key = client_must(strndup(*list, equal - *list));
                json_t *values;

                /* Names are forgiving: blanks around them and capitals do not matter. */
                char *end = key + strlen(key);
                while (end > key && end[-1] == ' ')
                        *--end = 0;
                for (char *c = key; *c; c++)
                        if (*c >= 'A' && *c <= 'Z')
                                *c += 'a' - 'A';
                values = json_object_get(filters, key);
                if (!values) {
                        values = client_must(json_object());
                        client_must_zero(json_object_set_new(filters, key, values));
                }
                equal++;
                equal += strspn(equal, " ");
                client_must_zero(json_object_set_new(values, equal, json_true()));
        }
        return filters;
}

void target_add_filters(Buffer *target, const json_t *filters)
{
        CLEANUP_FREE char *text = filters ? client_must(json_dumps(filters, JSON_COMPACT)) : NULL;

        target_add(target, "filters", text);
}
