/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registries of images: the OCI distribution protocol and Docker's own (registry v2), token authentication, and the
 * Hub's search. Every function here that talks to the network blocks, and forks: it belongs into a worker. Messages for
 * the user have Docker's shapes and words. */
#pragma once

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "berth/outcome.h"
#include "berth/store.h"

/* What the daemon was told. Everything is borrowed; NULL where nothing was said. */
typedef struct RegistryConfig {
        char *const *insecure;  /* HOST[:PORT] or CIDR: plain HTTP and unknown certificates are accepted */
        char *const *mirrors;   /* URLs, asked before docker.io */
        const char *http_proxy; /* these three win over the environment's */
        const char *https_proxy;
        const char *no_proxy;
        const char *search_endpoint; /* of docker.io, as in "https://index.docker.io/v1/" */
        unsigned downloads, uploads; /* at the same time, each in a process of its own */
        unsigned attempts;           /* at one download, without progress in between */
} RegistryConfig;

/* Who the user is to a registry. The empty value is {}: nobody. All owned. */
typedef struct RegistryAuth {
        char *username, *password;
        char *identity_token; /* an OAuth refresh token */
        char *registry_token; /* a bearer token, used as it is */
        char *server;         /* whom it is for */
} RegistryAuth;

void registry_auth_clear(RegistryAuth *auth);
#define CLEANUP_REGISTRY_AUTH CLEANUP(registry_auth_clear)

/* The X-Registry-Auth header: base64 (of either alphabet) of a JSON object. NULL and "" are nobody. */
int registry_auth_decode(const char *header, RegistryAuth *ret, Error *error);

/* The same object, parsed. */
int registry_auth_parse(const json_t *object, RegistryAuth *ret, Error *error);

/* The server that AuthConfigs and X-Registry-Config name for a reference's domain. */
const char *registry_auth_server(const char *domain);

/* What a job has in common with its caller. */
typedef struct RegistryJob {
        const RegistryConfig *config;
        const RegistryAuth *auth;
        /* Takes one progress message for the client (a new reference); -ECANCELED where it has gone. */
        int (*emit)(void *userdata, json_t *message);
        void *userdata;
        int client_fd;  /* whose hang-up cancels the job (-ECANCELED); negative: nobody's. Borrowed. */
        int control_fd; /* the engine, see below; negative: none. Borrowed. */
} RegistryJob;

typedef struct RegistryPull {
        RegistryJob job;
        const StoreReference *reference; /* with neither tag nor digest: all tags */
        const char *platform;            /* NULL: this machine's */
        const char *root;                /* of the store */
        int staging_fd;                  /* borrowed */
} RegistryPull;

/* Pulls into the staging directory. Before a layer is fetched the control descriptor is sent
 * {"Claim":["<diff ID>",...]}, one line, and a layer is not touched before a line {"Go":["<diff ID>",...]} names it: by
 * then it is in the store, or nobody else is at it. The result is for store_commit(), with more members:
 *   "Pulled": [{"Reference": "<normal>", "Digest": "sha256:...", "ID": "<image ID>"}]
 *   "Mismatch": what is wrong about the image's platform, if anything
 *   "Sources": [{"DiffID","Digest","Size","MediaType","Repository"}]   for store_source_add() */
int registry_pull(const RegistryPull *pull, json_t **ret_result, Error *error);

/* One image under one tag. Everything is borrowed. */
typedef struct RegistryPushImage {
        const char *tag;
        const char *id;          /* digest of the configuration */
        const char *config;      /* its bytes */
        const json_t *manifests; /* ["<text>", ...]: the manifests that are kept for it */
        const json_t *layers;    /* diff IDs, lowest first */
} RegistryPushImage;

typedef struct RegistryPush {
        RegistryJob job;
        const StoreReference *reference; /* the repository */
        const RegistryPushImage *images;
        size_t n_images;
        const char *root; /* of the store */
        int staging_fd;   /* borrowed */
} RegistryPush;

/* Pushes. The result is for store_commit(), which keeps the manifests and names by digest, with "Sources" as above. */
int registry_push(const RegistryPush *push, json_t **ret_result, Error *error);

/* POST /auth: {"Status","IdentityToken"}. */
int registry_login(const RegistryConfig *config, const RegistryAuth *auth, json_t **ret, Error *error);

/* GET /distribution/NAME/json: {"Descriptor","Platforms"}. */
int registry_inspect(const RegistryConfig *config, const RegistryAuth *auth, const StoreReference *reference,
                     json_t **ret, Error *error);

/* A process of its own, without privileges, gets an URL. The empty value is REGISTRY_GET_NONE. */
typedef struct RegistryGet {
        int data_fd;                  /* owned; its bytes */
        int status_fd;                /* owned */
        int64_t length;               /* 0: not said */
        char *modified, *disposition; /* the headers Last-Modified and Content-Disposition; owned, NULL: not there */
} RegistryGet;

#define REGISTRY_GET_NONE ((RegistryGet) { .data_fd = -EBADF, .status_fd = -EBADF })

/* Waits until the server has begun to answer. A refusal has Docker's words and status. */
int registry_get_start(const RegistryConfig *config, const char *url, RegistryGet *ret, Error *error);

/* After the data's end: whether it is the true one. */
int registry_get_finish(RegistryGet *get, Error *error);
void registry_get_clear(RegistryGet *get);

/* A Git repository. Everything is borrowed; nothing of it may be taken for an option (see build_git_parse()). */
typedef struct RegistryGit {
        const char *remote, *ref;
        const char *directory; /* absolute; empty, and afterwards the checkout with its .git, owned by nobody */
} RegistryGit;

/* Fetches one commit of it and its submodules with the host's git, and checks that out. For a process of its own: it is
 * nobody afterwards, in a mount namespace with that directory as /tmp and as the current one. OUTCOME_FAILED with git's
 * words, or where there is no git. */
int registry_git(const RegistryConfig *config, const RegistryGit *git, Error *error);

/* GET /images/search: checks, asks and filters. */
int registry_search_check(const char *term, const json_t *filters, Error *error);
int registry_search(const RegistryConfig *config, const RegistryAuth *auth, const char *term, int64_t limit,
                    const json_t *filters, json_t **ret_list, Error *error);
