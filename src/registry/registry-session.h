/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests about one repository, to the endpoint that answers, with the credentials it wants. */
#pragma once

#include "registry-challenge.h"
#include "registry-http.h"

typedef struct RegistryEndpoint {
        char *url;  /* owned; without a slash at its end */
        char *name; /* owned; HOST[:PORT] */
        bool mirror;
} RegistryEndpoint;

typedef struct RegistrySession {
        const RegistryConfig *config; /* borrowed */
        const RegistryAuth *auth;     /* borrowed */
        RegistryClient *client;       /* owned */
        RegistryEndpoint *endpoints;  /* owned, in the order in which they are tried */
        size_t n_endpoints, current;
        char *domain, *repository; /* owned */
        char **scopes;             /* owned; what bearer tokens are asked for */
        RegistryChallenge challenge;
        char *authorization; /* owned; the header's value, NULL: none (yet) */
        int64_t expires_ns;  /* of a bearer token; 0: not said */
        int (*tick)(void *userdata);
        void *userdata;
} RegistrySession;

/* Who is to have no privileges. */
typedef enum RegistryConfinement {
        REGISTRY_CONFINE_SELF,    /* this process, which needs none from here on */
        REGISTRY_CONFINE_SPEAKER, /* one that speaks for this one */
} RegistryConfinement;

/* ACTIONS: "pull", "push,pull". With PUSH no mirror is asked. REPOSITORY may be NULL, for what concerns the registry.
 */
int registry_session_init(RegistrySession *session, const RegistryConfig *config, const RegistryAuth *auth,
                          const char *domain, const char *repository, const char *actions,
                          RegistryConfinement confinement, Error *error);
void registry_session_clear(RegistrySession *session);
#define CLEANUP_REGISTRY_SESSION CLEANUP(registry_session_clear)

/* Asks for the right to read another repository too (for mounts), with the next token. */
int registry_session_add_scope(RegistrySession *session, const char *repository, const char *actions);

/* Finds the first endpoint from the current one on that speaks the protocol. The last one's failure otherwise. */
int registry_session_connect(RegistrySession *session, Error *error);

/* Passes to the next endpoint, not connected yet. False where there is none. */
bool registry_session_next(RegistrySession *session);

/* Sends a request whose url is a path below the endpoint ("/v2/...") or absolute. A 401 is answered with credentials
 * once; statuses are the caller's to judge. */
int registry_session_send(RegistrySession *session, const RegistryRequest *request, RegistryResponse *ret,
                          Error *error);

/* The same, repeated a few times after what a busy server says (429 with Retry-After, 502, 503, 504), but for mirrors,
 * which the next endpoint stands in for. The body, if any, is in memory. */
int registry_session_send_patiently(RegistrySession *session, const RegistryRequest *request, RegistryResponse *ret,
                                    Error *error);

/* "/v2/REPOSITORY/KIND/WHAT", owned by the caller; NULL when out of memory. */
char *registry_session_path(const RegistrySession *session, const char *kind, const char *what);

/* What a refusal says: *ret_code is the registry's code in small letters ("manifest unknown"), *ret_text the whole in
 * Docker's words ("manifest unknown: ..."). Both owned by the caller. */
int registry_refusal(const RegistryResponse *response, char **ret_code, char **ret_text);

/* The refusal as an error: OUTCOME, and "PREFIX: text" where there is a prefix. */
int registry_refuse(const RegistryResponse *response, const char *prefix, Error *error);

/* registry-token.c: what a token server answered. The empty value is {}. */
typedef struct RegistryToken {
        char *token;     /* owned */
        char *identity;  /* owned; a refresh token, NULL: none */
        int64_t seconds; /* that it is good for; a minute at least, as servers that say nothing mean */
} RegistryToken;

void registry_token_clear(RegistryToken *token);
#define CLEANUP_REGISTRY_TOKEN CLEANUP(registry_token_clear)

/* -EBADMSG where there is no token in it. */
int registry_token_parse(const void *data, size_t size, RegistryToken *ret);

/* registry-token.c: a token for the session's scopes, by its challenge. OFFLINE: an identity token is wanted too. */
int registry_token_fetch(RegistrySession *session, bool offline, char **ret_identity, Error *error);
/* registry-token.c: what the challenge takes, as the session's authorization. */
int registry_session_authorize(RegistrySession *session, Error *error);
