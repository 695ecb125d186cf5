/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* AuthConfigs, as clients send them. */
#include <string.h>

#include "berth/buffer.h"
#include "berth/json.h"
#include "berth/registry.h"
#include "berth/string.h"
#include "registry-private.h"

#define HUB_SERVER "https://index.docker.io/v1/"
#define HEADER_SIZE_MAX (64u * 1024)

void registry_auth_clear(RegistryAuth *auth)
{
        free(auth->username);
        free(auth->password);
        free(auth->identity_token);
        free(auth->registry_token);
        free(auth->server);
        *auth = (RegistryAuth) { 0 };
}

const char *registry_auth_server(const char *domain)
{
        return str_equal(domain, REGISTRY_HUB) ? HUB_SERVER : domain;
}

static int digit_of(char c)
{
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *at;

        if (c == '-' || c == '_')
                c = c == '-' ? '+' : '/';
        at = c ? strchr(digits, c) : NULL;
        return at ? (int) (at - digits) : -1;
}

int registry_base64_decode(const char *text, Buffer *ret)
{
        CLEANUP_BUFFER Buffer out = { 0 };
        unsigned bits = 0, n_bits = 0;
        size_t n = 0;

        for (; *text && *text != '='; text++, n++) {
                int digit = digit_of(*text);

                if (digit < 0)
                        return -EINVAL;
                bits = bits << 6 | (unsigned) digit;
                n_bits += 6;
                if (n_bits >= 8) {
                        char byte = (char) (bits >> (n_bits -= 8));

                        if (buffer_append(&out, &byte, 1) < 0)
                                return -ENOMEM;
                        bits &= (1u << n_bits) - 1;
                }
        }
        if (n % 4 == 1 || strspn(text, "=") != strlen(text) || strlen(text) > 2)
                return -EINVAL;
        *ret = out;
        out = (Buffer) { 0 };
        return 0;
}

/* "USER:PASSWORD" in base64, which wins over the single members as it does in Docker's clients' files. */
static int split_auth(const char *text, RegistryAuth *auth)
{
        CLEANUP_BUFFER Buffer plain = { 0 };
        int r = registry_base64_decode(text, &plain);
        const char *colon = r < 0 || plain.size == 0 ? NULL : memchr(plain.data, ':', plain.size);

        if (r == -ENOMEM)
                return r;
        if (!colon)
                return -EINVAL;
        auth->username = strndup(plain.data, (size_t) (colon - plain.data));
        auth->password = strdup(colon + 1);
        return auth->username && auth->password ? 0 : -ENOMEM;
}

int registry_auth_parse(const json_t *object, RegistryAuth *ret, Error *error)
{
        CLEANUP_REGISTRY_AUTH RegistryAuth auth = { 0 };
        struct {
                const char *name;
                char **member;
        } members[] = { { "username", &auth.username },
                        { "password", &auth.password },
                        { "identitytoken", &auth.identity_token },
                        { "registrytoken", &auth.registry_token },
                        { "serveraddress", &auth.server } };

        if (!json_is_object(object))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid X-Registry-Auth header: not a JSON object");
        for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
                const char *value = json_get_string(object, members[i].name);

                if (!str_empty(value) && !(*members[i].member = strdup(value)))
                        return -ENOMEM;
        }
        const char *joined = json_get_string(object, "auth");
        if (!str_empty(joined) && !auth.username) {
                int r = split_auth(joined, &auth);

                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "invalid X-Registry-Auth header: invalid \"auth\" member");
        }
        *ret = auth;
        auth = (RegistryAuth) { 0 };
        return 0;
}

int registry_auth_decode(const char *header, RegistryAuth *ret, Error *error)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        CLEANUP_JSON json_t *object = NULL;
        json_error_t where;

        if (str_empty(header)) {
                *ret = (RegistryAuth) { 0 };
                return 0;
        }
        if (strlen(header) > HEADER_SIZE_MAX || registry_base64_decode(header, &text) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid X-Registry-Auth header: illegal base64 data");
        object = text.size > 0 ? json_loadb(text.data, text.size, JSON_DECODE_ANY, &where) : NULL;
        if (json_is_null(object) || text.size == 0) {
                *ret = (RegistryAuth) { 0 };
                return 0;
        }
        return registry_auth_parse(object, ret, error);
}
