/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What one request says: target, query, headers. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "berth/string.h"
#include "http-server.h"

HttpRequest *http_request_new(HttpConnection *connection)
{
        HttpRequest *request = calloc(1, sizeof(*request));

        if (!request)
                return NULL;
        request->server = connection->server;
        request->connection = connection;
        request->uid = connection->uid;
        request->pid = connection->pid;
        return request;
}

static void free_pairs(HttpHeader *pairs, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                free(pairs[i].name);
                free(pairs[i].value);
        }
        free(pairs);
}

void http_request_free(HttpRequest *request)
{
        if (!request)
                return;
        if (request->destroy)
                request->destroy(request->data);
        free(request->method);
        free(request->path);
        free_pairs(request->headers, request->n_headers);
        free_pairs(request->query, request->n_query);
        buffer_clear(&request->target);
        buffer_clear(&request->body);
        buffer_clear(&request->response_headers);
        free(request);
}

bool http_percent_decode(char *s, bool plus)
{
        char *out = s;

        for (; *s; s++) {
                if (*s == '%') {
                        int high = hex_digit(s[1]), low = high < 0 ? -1 : hex_digit(s[2]);
                        if (low < 0 || (high == 0 && low == 0)) /* a zero byte would end the string early */
                                return false;
                        *out++ = (char) (high * 16 + low);
                        s += 2;
                } else
                        *out++ = plus && *s == '+' ? ' ' : *s;
        }
        *out = 0;
        return true;
}

static int append_pair(HttpHeader **pairs, size_t *n, const char *name, const char *value)
{
        HttpHeader *grown = reallocarray(*pairs, *n + 1, sizeof(HttpHeader));
        if (!grown)
                return -ENOMEM;
        *pairs = grown;
        grown[*n] = (HttpHeader) { .name = strdup(name), .value = strdup(value) };
        if (!grown[*n].name || !grown[*n].value) {
                free(grown[*n].name);
                free(grown[*n].value);
                return -ENOMEM;
        }
        (*n)++;
        return 0;
}

static int parse_query(HttpRequest *request, char *query)
{
        for (char *part; (part = strsep(&query, "&"));) {
                if (!*part)
                        continue;
                char *value = strchr(part, '=');
                if (value)
                        *value++ = 0;
                if (!http_percent_decode(part, true) || (value && !http_percent_decode(value, true)))
                        return -EBADMSG;
                int r = append_pair(&request->query, &request->n_query, part, value ? value : "");
                if (r < 0)
                        return r;
        }
        return 0;
}

int http_request_parse_target(HttpRequest *request)
{
        CLEANUP_FREE char *copy = strdup(request->target.data ? request->target.data : "");
        if (!copy)
                return -ENOMEM;

        char *start = copy;
        if (strncasecmp(start, "http://", 7) == 0) { /* absolute form: RFC 9112, 3.2.2 */
                start = strchr(start + 7, '/');
                if (!start)
                        return -EBADMSG;
        }
        char *query = strchr(start, '?');
        if (query)
                *query++ = 0;
        if (start[0] != '/' || !http_percent_decode(start, false))
                return -EBADMSG;
        request->path = strdup(start);
        if (!request->path)
                return -ENOMEM;
        return query ? parse_query(request, query) : 0;
}

static int extend(char **s, const char *data, size_t size)
{
        size_t old = strlen(*s);
        char *grown = realloc(*s, old + size + 1);

        if (!grown)
                return -ENOMEM;
        memcpy(grown + old, data, size);
        grown[old + size] = 0;
        *s = grown;
        return 0;
}

int http_request_add_header_bytes(HttpRequest *request, bool value, bool fresh, const char *data, size_t size)
{
        request->headers_size += size + 4;
        if (request->headers_size > HTTP_HEADERS_SIZE_MAX)
                return -E2BIG;
        if (fresh) {
                int r = append_pair(&request->headers, &request->n_headers, "", "");
                if (r < 0)
                        return r;
        }
        if (request->n_headers == 0)
                return -EBADMSG;
        HttpHeader *header = &request->headers[request->n_headers - 1];
        return extend(value ? &header->value : &header->name, data, size);
}

const char *http_request_method(const HttpRequest *request)
{
        return request->method;
}

const char *http_request_path(const HttpRequest *request)
{
        return request->path;
}

const char *http_request_target(const HttpRequest *request)
{
        return request->target.data;
}

const char *http_request_header(const HttpRequest *request, const char *name)
{
        for (size_t i = 0; i < request->n_headers; i++)
                if (strcasecmp(request->headers[i].name, name) == 0)
                        return request->headers[i].value;
        return NULL;
}

const char *http_request_query_nth(const HttpRequest *request, const char *name, size_t i)
{
        for (size_t k = 0; k < request->n_query; k++)
                if (str_equal(request->query[k].name, name) && i-- == 0)
                        return request->query[k].value;
        return NULL;
}

const char *http_request_query(const HttpRequest *request, const char *name)
{
        return http_request_query_nth(request, name, 0);
}

const Buffer *http_request_body(const HttpRequest *request)
{
        return &request->body;
}

bool http_request_wants_upgrade(const HttpRequest *request)
{
        return request->upgrade;
}

uid_t http_request_uid(const HttpRequest *request)
{
        return request->uid;
}

pid_t http_request_pid(const HttpRequest *request)
{
        return request->pid;
}

void http_request_set_data(HttpRequest *request, void *data, void (*destroy)(void *data))
{
        request->data = data;
        request->destroy = destroy;
}

void *http_request_data(const HttpRequest *request)
{
        return request->data;
}
