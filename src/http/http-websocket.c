/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The opening of a WebSocket (RFC 6455, section 4.2). */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#include "berth/base64.h"
#include "berth/file.h"
#include "berth/string.h"
#include "http-server.h"

#define VERSION "13"
#define KEY_SIZE 16u
#define KEY_LENGTH 24u /* in Base64 */

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

int http_websocket_accept(const char *key, char ret_accept[static HTTP_WEBSOCKET_ACCEPT_SIZE])
{
        static const char suffix[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        CLEANUP_FREE char *decoded = NULL;
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned digest_size;
        char text[KEY_LENGTH + sizeof(suffix)];
        size_t size;
        int r = strlen(key) == KEY_LENGTH ? base64_decode(key, &decoded, &size) : -EINVAL;

        if (r < 0)
                return r;
        if (size != KEY_SIZE)
                return -EINVAL;
        snprintf(text, sizeof(text), "%s%s", key, suffix);
        if (EVP_Digest(text, strlen(text), digest, &digest_size, EVP_sha1(), NULL) != 1)
                return -EIO;
        CLEANUP_FREE char *encoded = base64_encode(digest, digest_size, false);
        if (!encoded)
                return -ENOMEM;
        memcpy(ret_accept, encoded, HTTP_WEBSOCKET_ACCEPT_SIZE);
        return 0;
}

const char *http_request_websocket_refusal(HttpRequest *request)
{
        const char *key = http_request_header(request, "Sec-WebSocket-Key");
        const char *protocol = http_request_header(request, "Sec-WebSocket-Protocol");
        char accept[HTTP_WEBSOCKET_ACCEPT_SIZE];

        if (request->http_1_0 || !header_has(request, "Upgrade", "websocket") ||
            !header_has(request, "Connection", "upgrade"))
                return "not websocket protocol";
        if (!header_has(request, "Sec-WebSocket-Version", VERSION)) {
                (void) http_response_header(request, "Sec-WebSocket-Version", VERSION);
                return "missing or bad WebSocket Version";
        }
        if (!key || http_websocket_accept(key, accept) < 0)
                return "mismatch challenge/response";
        return protocol && strchr(protocol, ',') ? "missing or bad WebSocket-Protocol" : NULL;
}

int http_request_websocket(HttpRequest *request, int *ret_fd, Buffer *ret_received, Buffer *ret_answer)
{
        const char *key = http_request_header(request, "Sec-WebSocket-Key");
        const char *protocol = http_request_header(request, "Sec-WebSocket-Protocol");
        char accept[HTTP_WEBSOCKET_ACCEPT_SIZE];
        int r = key ? http_websocket_accept(key, accept) : -EINVAL;

        if (r >= 0)
                r = buffer_printf(ret_answer,
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
