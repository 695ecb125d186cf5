/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One HTTP exchange at a time, with redirects followed, over a connection that is kept for the next. */
#pragma once

#include "registry-host.h"

#define REGISTRY_DOCUMENT_SIZE_MAX (8u * 1024 * 1024)

typedef struct RegistryClient RegistryClient;

/* The headers that matter. The empty value is {}. */
typedef struct RegistryResponse {
        int status;      /* 0: none came */
        char reason[64]; /* with the status in front: "404 Not Found" */
        char *type, *location, *digest, *challenge, *retry_after, *content_range, *link, *token; /* owned */
        char *range, *chunk_min;      /* owned; of an upload: what has arrived, the least size of a chunk */
        char *modified, *disposition; /* owned; Last-Modified, Content-Disposition */
        int64_t length;               /* negative: not said */
        Buffer body;                  /* unless it went to the request's write() */
} RegistryResponse;

void registry_response_clear(RegistryResponse *response);
#define CLEANUP_REGISTRY_RESPONSE CLEANUP(registry_response_clear)

typedef struct RegistryRequest {
        const char *method, *url;
        char *const *headers;      /* "Name: value"; may be NULL */
        const char *authorization; /* sent to the URL's own host only; may be NULL */
        const void *body;          /* NULL: none */
        size_t body_size;
        /* The body as a stream, instead: bytes read, 0 at the end, negative errno. */
        ssize_t (*read)(void *userdata, void *data, size_t size);
        int64_t read_size; /* of the stream; 0: not known before its end */
        /* Takes the body of a success (2xx); not 0 ends the exchange and is returned. */
        int (*write)(void *userdata, const RegistryResponse *response, const void *data, size_t size);
        void *userdata; /* of both */
        /* Asked a few times a second; not 0 ends the exchange and is returned. */
        int (*tick)(void *userdata);
        void *tick_userdata;
        unsigned timeout;  /* seconds for the whole exchange; 0: none */
        unsigned patience; /* seconds in which no byte moves; 0: two minutes */
} RegistryRequest;

/* CONFIG is borrowed. -ELIBACC with words where libcurl is missing. */
int registry_client_new(const RegistryConfig *config, RegistryClient **ret, Error *error);
void registry_client_free(RegistryClient *client);
DEFINE_CLEANUP(registry_client_cleanup, RegistryClient *, registry_client_free)
#define CLEANUP_REGISTRY_CLIENT CLEANUP(registry_client_cleanup)

/* From now on a process of its own speaks for this one, which has not spoken yet: see registry-speaker.h. */
int registry_client_delegate(RegistryClient *client);

/* In a fork: this process will speak for itself again. */
void registry_client_stand_alone(RegistryClient *client);

/* Reads what a host's requests will need from files, as long as the process may. */
int registry_client_prepare(RegistryClient *client, const char *name, Error *error);

/* The same for all hosts that something is kept for, as far as there is room: where a token or a redirection leads. */
void registry_client_prepare_others(RegistryClient *client);

/* Whether the host may be spoken to in plain HTTP and without a known certificate. */
bool registry_client_host_is_insecure(RegistryClient *client, const char *name);

/* 0 with whatever status came; OUTCOME_UNAVAILABLE where none came or the body broke off (RET then has what came). */
int registry_client_send(RegistryClient *client, const RegistryRequest *request, RegistryResponse *ret, Error *error);
