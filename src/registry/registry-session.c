/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-session.h"

#include <ctype.h>
#include <string.h>

#include "berth/json.h"
#include "berth/string.h"
#include "registry-privilege.h"

#define PING_SECONDS 15
#define BUSY_ATTEMPTS 3
#define RETRY_SECONDS_MAX 300
#define EXPIRY_MARGIN_NS (INT64_C(10) * 1000000000)

/* --- Endpoints ---------------------------------------------------------------------------------------------------- */

static int add_endpoint(RegistrySession *session, const char *scheme, const char *url, bool mirror)
{
        CLEANUP_REGISTRY_URL RegistryUrl parts = { 0 };
        RegistryEndpoint *grown =
                reallocarray(session->endpoints, session->n_endpoints + 1, sizeof(*session->endpoints));
        if (!grown)
                return -ENOMEM;
        session->endpoints = grown;
        CLEANUP_FREE char *whole = str_printf("%s%s", scheme, url);
        if (!whole)
                return -ENOMEM;
        size_t size = strlen(whole);
        while (size > 0 && whole[size - 1] == '/')
                whole[--size] = 0;
        int r = registry_url_parse(whole, &parts);
        if (r < 0)
                return r;
        grown[session->n_endpoints++] =
                (RegistryEndpoint) { .url = TAKE_PTR(whole), .name = TAKE_PTR(parts.name), .mirror = mirror };
        return 0;
}

static int add_endpoints(RegistrySession *session, bool push)
{
        bool hub = str_equal(session->domain, REGISTRY_HUB);
        const char *host = hub ? REGISTRY_HUB_HOST : session->domain;
        int r = 0;

        for (char *const *mirror = session->config->mirrors; hub && !push && mirror && *mirror && r >= 0; mirror++)
                r = add_endpoint(session, strstr(*mirror, "://") ? "" : "https://", *mirror, true);
        if (r >= 0)
                r = add_endpoint(session, "https://", host, false);
        if (r >= 0 && !hub && registry_client_host_is_insecure(session->client, host))
                r = add_endpoint(session, "http://", host, false);
        return r;
}

/* Client keys are for root to read. A mirror's that are no good are found out when its turn comes. */
static int prepare_hosts(RegistrySession *session, Error *error)
{
        bool hub = str_equal(session->domain, REGISTRY_HUB);

        for (char *const *mirror = session->config->mirrors; hub && mirror && *mirror; mirror++) {
                CLEANUP_REGISTRY_URL RegistryUrl url = { 0 };
                CLEANUP_ERROR Error ignored = { 0 };
                CLEANUP_FREE char *whole = str_printf("%s%s", strstr(*mirror, "://") ? "" : "https://", *mirror);

                if (whole && registry_url_parse(whole, &url) >= 0)
                        registry_client_prepare(session->client, url.name, &ignored);
        }
        return registry_client_prepare(session->client, hub ? REGISTRY_HUB_HOST : session->domain, error);
}

/* From here on no stranger's bytes come to a process that could do harm. */
static int give_up_privileges(RegistrySession *session, RegistryConfinement confinement)
{
        registry_client_prepare_others(session->client);
        return confinement == REGISTRY_CONFINE_SELF ? registry_become_nobody()
                                                    : registry_client_delegate(session->client);
}

int registry_session_init(RegistrySession *session, const RegistryConfig *config, const RegistryAuth *auth,
                          const char *domain, const char *repository, const char *actions,
                          RegistryConfinement confinement, Error *error)
{
        int r;

        *session = (RegistrySession) { .config = config, .auth = auth, .domain = strdup(domain) };
        session->repository = repository ? strdup(repository) : NULL;
        if (!session->domain || (repository && !session->repository))
                return -ENOMEM;
        r = registry_client_new(config, &session->client, error);
        if (r == 0)
                r = prepare_hosts(session, error);
        if (r == 0)
                r = give_up_privileges(session, confinement);
        if (r == 0)
                r = add_endpoints(session, actions && strstr(actions, "push"));
        if (r == 0 && repository)
                r = registry_session_add_scope(session, repository, actions);
        return r;
}

void registry_session_clear(RegistrySession *session)
{
        registry_client_free(session->client);
        for (size_t i = 0; i < session->n_endpoints; i++) {
                free(session->endpoints[i].url);
                free(session->endpoints[i].name);
        }
        free(session->endpoints);
        free(session->domain);
        free(session->repository);
        strv_free(session->scopes);
        registry_challenge_clear(&session->challenge);
        free(session->authorization);
        *session = (RegistrySession) { 0 };
}

int registry_session_add_scope(RegistrySession *session, const char *repository, const char *actions)
{
        CLEANUP_FREE char *scope = str_printf("repository:%s:%s", repository, actions);

        if (!scope)
                return -ENOMEM;
        return strv_contains(session->scopes, scope) ? 0 : strv_append(&session->scopes, scope);
}

bool registry_session_next(RegistrySession *session)
{
        if (session->current + 1 >= session->n_endpoints)
                return false;
        session->current++;
        registry_challenge_clear(&session->challenge);
        free(TAKE_PTR(session->authorization));
        session->expires_ns = 0;
        return true;
}

char *registry_session_path(const RegistrySession *session, const char *kind, const char *what)
{
        return str_printf("/v2/%s/%s/%s", session->repository, kind, what);
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

static int send_once(RegistrySession *session, const RegistryRequest *request, RegistryResponse *ret, Error *error)
{
        const char *base = session->endpoints[session->current].url;
        bool absolute = *request->url != '/';
        CLEANUP_FREE char *url = absolute ? strdup(request->url) : str_printf("%s%s", base, request->url);
        CLEANUP_REGISTRY_URL RegistryUrl parts = { 0 };
        RegistryRequest sent = *request;

        if (!url)
                return -ENOMEM;
        registry_url_parse(url, &parts);
        sent.url = url;
        sent.tick = session->tick;
        sent.tick_userdata = session->userdata;
        /* An upload's location may be on another host, which has to trust the location itself. */
        if (!absolute || str_equal(parts.name, session->endpoints[session->current].name))
                sent.authorization = session->authorization;
        return registry_client_send(session->client, &sent, ret, error);
}

static int refresh(RegistrySession *session, Error *error)
{
        if (session->expires_ns == 0 || time_now_ns() + EXPIRY_MARGIN_NS < session->expires_ns)
                return 0;
        return registry_session_authorize(session, error);
}

int registry_session_send(RegistrySession *session, const RegistryRequest *request, RegistryResponse *ret, Error *error)
{
        int r = refresh(session, error);

        if (r == 0)
                r = send_once(session, request, ret, error);
        if (r != 0 || ret->status != 401 || request->read)
                return r;
        CLEANUP_REGISTRY_CHALLENGE RegistryChallenge challenge = { 0 };
        r = registry_challenge_parse(ret->challenge, &challenge);
        if (r < 0 || challenge.scheme == REGISTRY_NO_SCHEME)
                return r;
        registry_challenge_clear(&session->challenge);
        session->challenge = challenge;
        challenge = (RegistryChallenge) { 0 };
        if (!str_empty(session->challenge.scope) && !strv_contains(session->scopes, session->challenge.scope) &&
            strv_append(&session->scopes, session->challenge.scope) < 0)
                return -ENOMEM;
        r = registry_session_authorize(session, error);
        return r != 0 ? r : send_once(session, request, ret, error);
}

/* Seconds to wait for a busy server; negative where it is not busy. */
static int64_t busy_seconds(const RegistryResponse *response, unsigned attempt)
{
        int64_t seconds;

        if (response->retry_after && str_to_int64(response->retry_after, 0, RETRY_SECONDS_MAX, &seconds) >= 0 &&
            (response->status == 429 || response->status == 503))
                return seconds;
        return response->status == 502 || response->status == 503 || response->status == 504 ? 1 << attempt : -1;
}

int registry_session_send_patiently(RegistrySession *session, const RegistryRequest *request, RegistryResponse *ret,
                                    Error *error)
{
        for (unsigned attempt = 0;; attempt++) {
                int r = registry_session_send(session, request, ret, error);
                int64_t seconds = r == 0 ? busy_seconds(ret, attempt) : -1;

                if (seconds < 0 || attempt == BUSY_ATTEMPTS || session->endpoints[session->current].mirror)
                        return r;
                for (; seconds > 0; seconds--) {
                        sleep(1);
                        r = session->tick ? session->tick(session->userdata) : 0;
                        if (r != 0)
                                return r;
                }
        }
}

static int ping(RegistrySession *session, Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        RegistryRequest request = { .method = "GET", .url = "/v2/", .timeout = PING_SECONDS };
        int r;

        free(TAKE_PTR(session->authorization));
        r = send_once(session, &request, &response, error);
        if (r != 0)
                return r;
        if (response.status == 401)
                r = registry_challenge_parse(response.challenge, &session->challenge);
        /* A basic challenge without credentials is left for the request that needs them to stumble upon. */
        if (r == 0 && session->challenge.scheme != REGISTRY_NO_SCHEME && session->repository &&
            (session->challenge.scheme == REGISTRY_BEARER || session->auth->username || session->auth->registry_token))
                r = registry_session_authorize(session, error);
        /* Likewise what the issuer of tokens refuses: that is where Docker's users meet it. */
        if (r == OUTCOME_UNAUTHORIZED) {
                error_clear(error);
                return 0;
        }
        return r;
}

int registry_session_connect(RegistrySession *session, Error *error)
{
        for (;;) {
                int r = ping(session, error);

                if (r == 0 || r < 0 || !registry_session_next(session))
                        return r;
                error_clear(error);
        }
}

/* --- Refusals ----------------------------------------------------------------------------------------------------- */

static char *code_words(const char *code)
{
        char *words = strdup(code);

        for (char *p = words; p && *p; p++)
                *p = *p == '_' ? ' ' : (char) tolower((unsigned char) *p);
        return words;
}

static const char *default_message(int status)
{
        switch (status) {
        case 401:
                return "authentication required";
        case 403:
                return "requested access to the resource is denied";
        case 404:
                return "not found";
        case 429:
                return "too many requests";
        default:
                return NULL;
        }
}

static const char *default_code(int status)
{
        switch (status) {
        case 401:
                return "UNAUTHORIZED";
        case 403:
                return "DENIED";
        case 429:
                return "TOOMANYREQUESTS";
        default:
                return NULL;
        }
}

int registry_refusal(const RegistryResponse *response, char **ret_code, char **ret_text)
{
        CLEANUP_JSON json_t *body =
                response->body.size > 0 ? json_loadb(response->body.data, response->body.size, 0, NULL) : NULL;
        json_t *first = json_array_get(json_get_array(body, "errors"), 0);
        const char *code = json_get_string(first, "code") ?: default_code(response->status);
        const char *message = json_get_string(first, "message");

        /* A token that does not reach so far is a refusal of access, whatever the body says. */
        if (response->status >= 400 && response->status < 500 && response->challenge &&
            strstr(response->challenge, "error=\"insufficient_scope\"")) {
                code = default_code(403);
                message = default_message(403);
        }
        if (str_empty(message))
                message = json_get_string(body, "details");
        if (str_empty(message))
                message = default_message(response->status);
        CLEANUP_FREE char *words = code_words(code ?: "");
        CLEANUP_FREE char *text = NULL;
        if (!words)
                return -ENOMEM;
        if (code)
                text = message ? str_printf("%s: %s", words, message) : strdup(words);
        else if (response->status >= 500)
                text = str_printf("received unexpected HTTP status: %s", response->reason);
        else
                text = str_printf("unknown: %.*s", (int) MIN(response->body.size, (size_t) 200),
                                  response->body.data ?: "");
        if (!text)
                return -ENOMEM;
        *ret_code = TAKE_PTR(words);
        *ret_text = TAKE_PTR(text);
        return 0;
}

int registry_refuse(const RegistryResponse *response, const char *prefix, Error *error)
{
        CLEANUP_FREE char *code = NULL, *text = NULL;
        int r = registry_refusal(response, &code, &text);

        if (r < 0)
                return r;
        return error_set(error, OUTCOME_FAILED, "%s%s%s", prefix ?: "", prefix ? ": " : "", text);
}
