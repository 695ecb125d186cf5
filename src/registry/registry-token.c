/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tokens, as token servers of registries give them: by GET with a name and a password, or by OAuth2's POST with a
 * refresh token. */
#include <string.h>

#include "berth/base64.h"
#include "berth/json.h"
#include "berth/string.h"
#include "registry-session.h"

#define CLIENT_ID "berth"
#define TOKEN_SECONDS 30
#define LIFETIME_DEFAULT 60
#define LIFETIME_MAX (365 * 24 * 3600)

static int append_encoded(Buffer *to, const char *text)
{
        for (; *text; text++) {
                unsigned char c = (unsigned char) *text;
                bool plain =
                        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
                int r = plain ? buffer_append(to, text, 1) : buffer_printf(to, "%%%02X", c);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int append_parameter(Buffer *to, const char *name, const char *value)
{
        int r;

        if (str_empty(value))
                return 0;
        r = buffer_printf(to, "%s%s=", to->size > 0 && !strchr("?&", to->data[to->size - 1]) ? "&" : "", name);
        return r < 0 ? r : append_encoded(to, value);
}

static int basic_value(const RegistryAuth *auth, char **ret)
{
        CLEANUP_FREE char *pair = str_printf("%s:%s", auth->username, auth->password ?: "");
        CLEANUP_FREE char *encoded = pair ? base64_encode(pair, strlen(pair), false) : NULL;

        *ret = encoded ? str_printf("Basic %s", encoded) : NULL;
        return *ret ? 0 : -ENOMEM;
}

/* GET REALM?service=S&scope=A&scope=B */
static int get_token(RegistrySession *session, bool offline, RegistryResponse *response, Error *error)
{
        const RegistryAuth *auth = session->auth;
        CLEANUP_BUFFER Buffer url = { 0 };
        CLEANUP_FREE char *basic = NULL;
        const char *realm = session->challenge.realm;
        int r = buffer_printf(&url, "%s%s", realm, strchr(realm, '?') ? "&" : "?");

        if (r >= 0 && auth->username)
                r = append_parameter(&url, "account", auth->username);
        if (r >= 0)
                r = append_parameter(&url, "client_id", offline ? CLIENT_ID : NULL);
        if (r >= 0)
                r = append_parameter(&url, "offline_token", offline ? "true" : NULL);
        for (char **scope = session->scopes; scope && *scope && r >= 0; scope++)
                r = append_parameter(&url, "scope", *scope);
        if (r >= 0)
                r = append_parameter(&url, "service", session->challenge.service);
        if (r >= 0 && auth->username)
                r = basic_value(auth, &basic);
        if (r < 0)
                return r;
        RegistryRequest request = { .method = "GET",
                                    .url = url.data,
                                    .authorization = basic,
                                    .tick = session->tick,
                                    .tick_userdata = session->userdata,
                                    .timeout = TOKEN_SECONDS };
        return registry_client_send(session->client, &request, response, error);
}

static int post_token(RegistrySession *session, RegistryResponse *response, Error *error)
{
        char *const headers[] = { (char *) "Content-Type: application/x-www-form-urlencoded", NULL };
        CLEANUP_FREE char *scopes = strdup("");
        CLEANUP_BUFFER Buffer form = { 0 };
        int r = scopes ? 0 : -ENOMEM;

        for (char **scope = session->scopes; scope && *scope && r >= 0; scope++) {
                char *joined = str_printf("%s%s%s", scopes, *scopes ? " " : "", *scope);
                if (!joined)
                        return -ENOMEM;
                free(scopes);
                scopes = joined;
        }
        const char *parameters[][2] = { { "client_id", CLIENT_ID },
                                        { "grant_type", "refresh_token" },
                                        { "refresh_token", session->auth->identity_token },
                                        { "scope", scopes },
                                        { "service", session->challenge.service } };
        for (size_t i = 0; i < ARRAY_SIZE(parameters) && r >= 0; i++)
                r = append_parameter(&form, parameters[i][0], parameters[i][1]);
        if (r < 0)
                return r;
        RegistryRequest request = { .method = "POST",
                                    .url = session->challenge.realm,
                                    .headers = headers,
                                    .body = form.data,
                                    .body_size = form.size,
                                    .tick = session->tick,
                                    .tick_userdata = session->userdata,
                                    .timeout = TOKEN_SECONDS };
        return registry_client_send(session->client, &request, response, error);
}

void registry_token_clear(RegistryToken *token)
{
        free(token->token);
        free(token->identity);
        *token = (RegistryToken) { 0 };
}

int registry_token_parse(const void *data, size_t size, RegistryToken *ret)
{
        CLEANUP_JSON json_t *body = size > 0 ? json_loadb(data, size, 0, NULL) : NULL;
        CLEANUP_REGISTRY_TOKEN RegistryToken token = { 0 };
        const char *text = json_get_string(body, "token"), *identity = json_get_string(body, "refresh_token");
        int64_t seconds = json_get_int(body, "expires_in", 0);

        if (str_empty(text))
                text = json_get_string(body, "access_token");
        if (str_empty(text) || strpbrk(text, "\r\n"))
                return -EBADMSG;
        token.token = strdup(text);
        token.identity = str_empty(identity) ? NULL : strdup(identity);
        token.seconds = MIN(MAX(seconds, (int64_t) LIFETIME_DEFAULT), (int64_t) LIFETIME_MAX);
        if (!token.token || (!str_empty(identity) && !token.identity))
                return -ENOMEM;
        *ret = token;
        token = (RegistryToken) { 0 };
        return 0;
}

int registry_token_fetch(RegistrySession *session, bool offline, char **ret_identity, Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_REGISTRY_TOKEN RegistryToken token = { 0 };
        int r = session->auth->identity_token ? post_token(session, &response, error)
                                              : get_token(session, offline, &response, error);

        if (r != 0)
                return r;
        if (response.status == 401) {
                registry_refuse(&response, NULL, error);
                return OUTCOME_UNAUTHORIZED;
        }
        if (response.status < 200 || response.status > 299)
                return registry_refuse(&response, "failed to fetch oauth token", error);
        r = registry_token_parse(response.body.data, response.body.size, &token);
        if (r == -EBADMSG)
                return error_set(error, OUTCOME_FAILED, "authorization server did not include a token in the response");
        if (r < 0)
                return r;
        free(session->authorization);
        session->authorization = str_printf("Bearer %s", token.token);
        session->expires_ns = time_now_ns() + token.seconds * INT64_C(1000000000);
        if (ret_identity)
                *ret_identity = TAKE_PTR(token.identity);
        return session->authorization ? 0 : -ENOMEM;
}

int registry_session_authorize(RegistrySession *session, Error *error)
{
        const RegistryAuth *auth = session->auth;

        if (auth->registry_token) {
                free(session->authorization);
                session->authorization = str_printf("Bearer %s", auth->registry_token);
                return session->authorization ? 0 : -ENOMEM;
        }
        if (session->challenge.scheme == REGISTRY_BEARER)
                return registry_token_fetch(session, false, NULL, error);
        free(TAKE_PTR(session->authorization));
        session->expires_ns = 0;
        if (!auth->username)
                return error_set(error, OUTCOME_UNAUTHORIZED, "no basic auth credentials");
        return basic_value(auth, &session->authorization);
}
