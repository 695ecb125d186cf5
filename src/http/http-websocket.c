/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The opening of a WebSocket (RFC 6455, section 4.2). */
#include "berth/websocket.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "berth/file.h"
#include "berth/string.h"
#include "http-server.h"

#define VERSION "13"

/* True where the header's comma-separated values have the word, in any case. */
static bool header_has(const HttpRequest *request, const char *name, const char *word)
{
        const char *value = http_request_header(request, name);

        while (value && *value) {
                value += strspn(value, " \t,");
                size_t size = strcspn(value, " \t,");
                if (size == strlen(word) && strncasecmp(value, word, size) == 0)
                        return true;
                value += size;
        }
        return false;
}

const char *http_request_websocket_refusal(HttpRequest *request)
{
        const char *key = http_request_header(request, "Sec-WebSocket-Key");
        const char *protocol = http_request_header(request, "Sec-WebSocket-Protocol");
        char accept[WEBSOCKET_ACCEPT_SIZE];

        if (request->http_1_0 || !header_has(request, "Upgrade", "websocket") ||
            !header_has(request, "Connection", "upgrade"))
                return "not websocket protocol";
        if (!header_has(request, "Sec-WebSocket-Version", VERSION)) {
                (void) http_response_header(request, "Sec-WebSocket-Version", VERSION);
                return "missing or bad WebSocket Version";
        }
        if (!key || websocket_accept(key, accept) < 0)
                return "mismatch challenge/response";
        return protocol && strchr(protocol, ',') ? "missing or bad WebSocket-Protocol" : NULL;
}

int http_request_websocket(HttpRequest *request, int *ret_fd, Buffer *ret_received)
{
        const char *key = http_request_header(request, "Sec-WebSocket-Key");
        const char *protocol = http_request_header(request, "Sec-WebSocket-Protocol");
        HttpConnection *connection = request->connection;
        char accept[WEBSOCKET_ACCEPT_SIZE];
        int r = key ? websocket_accept(key, accept) : -EINVAL;

        if (r >= 0 && connection)
                r = buffer_printf(&connection->output,
                                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
                                  accept, protocol ? "Sec-WebSocket-Protocol: " : "", protocol ? protocol : "",
                                  protocol ? "\r\n" : "");
        int detached = http_request_detach(request, ret_fd, ret_received, NULL);
        if (r >= 0 || detached < 0)
                return MIN(r, detached);
        *ret_fd = fd_close(*ret_fd);
        buffer_clear(ret_received);
        return r;
}
