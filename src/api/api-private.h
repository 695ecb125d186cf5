/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the route files share. A handler answers its request exactly once, now or later. */
#pragma once

#include "berth/api.h"
#include "berth/json.h"
#include "berth/string.h"

typedef struct ApiCall {
        Api *api;
        Engine *engine;
        HttpRequest *request;
        char *name;   /* what stands for {id} or {name} in the route; NULL without */
        json_t *body; /* parsed, where the route takes JSON */
        int minor;    /* of the API version asked for: 1.MINOR; the newest where none was */
} ApiCall;

typedef struct ApiRoute {
        const char *method;
        const char *path;              /* "{name}" takes one or more segments */
        void (*handle)(ApiCall *call); /* NULL: documented, and not there yet */
        bool stream;                   /* the body is left to the handler */
        bool json;                     /* the body is JSON */
} ApiRoute;

extern const ApiRoute api_system_routes[], api_image_routes[], api_container_routes[], api_store_routes[],
        api_registry_routes[], api_network_routes[], api_exec_routes[], api_event_routes[], api_swarm_routes[],
        api_volume_routes[], api_build_routes[], api_archive_routes[], api_missing_routes[];

#define API_RAW_STREAM "application/vnd.docker.raw-stream"
#define API_MULTIPLEXED_STREAM "application/vnd.docker.multiplexed-stream"

/* Answers with Docker's {"message": ...} and the status of the outcome (or 500). */
void api_fail(HttpRequest *request, int result, const Error *error);
/* The same for a stream that nothing was sent on yet, which it ends. */
void api_refuse_stream(Stream *stream, int result, const Error *error);

/* api-registry.c: POST /images/create?fromImage= */
void api_image_pull(ApiCall *call);

/* Answers with JSON or the failure. Takes the object over. */
void api_answer(HttpRequest *request, int status, int result, json_t *object, const Error *error);
/* The same with 200 as an EngineJsonDone, whose USERDATA is the request. */
void api_answer_later(int result, json_t *object, const Error *error, void *userdata);

/* The route's container, or NULL after the request was answered. */
Container *api_find_container(ApiCall *call);

bool api_query_bool(const ApiCall *call, const char *name);
/* api-websocket.c: GET /containers/ID/attach/ws */
void api_attach_websocket(ApiCall *call);

/* {"os":..., "architecture":..., "variant":...} as "os/architecture/variant", owned by the caller. OUTCOME_BAD_REQUEST.
 */
int api_platform_parse(const char *text, char **ret, Error *error);
/* The same of the parameter "platform", which version 1.FIRST of the API brought: *RET is left alone without it. */
int api_query_platform(ApiCall *call, int first, char **ret, Error *error);
/* The integer, FALLBACK where absent, or -EINVAL after the request was answered with 400. */
int api_query_int(const ApiCall *call, const char *name, int64_t fallback, int64_t *ret);
/* The parameters h and w of a terminal, or -EINVAL after the request was answered. */
int api_query_size(const ApiCall *call, int64_t *ret_rows, int64_t *ret_columns);
/* Turn an answer of the newest version into that of version 1.MINOR. */
void api_shape_image(json_t *image, int minor);
void api_shape_images(json_t *images, int minor);
void api_shape_container(json_t *container, int minor);
void api_shape_info(json_t *info, int minor);
/* Puts what version 1.MINOR has as a default into the body of a creation. */
void api_shape_create(json_t *body, int minor);

/* The "filters" parameter, an empty object where absent; -EINVAL after the request was answered. */
int api_query_filters(const ApiCall *call, json_t **ret_filters);
