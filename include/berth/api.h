/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Docker Engine API over HTTP: routes to the engine's operations and back. */
#pragma once

#include "berth/engine.h"
#include "berth/http.h"

typedef struct Api Api;

/* Serves ENGINE (borrowed). ACTIVITY as in HttpServerConfig. */
int api_new(sd_event *event, Engine *engine, void (*activity)(void *userdata), void *userdata, Api **ret_api);
void api_free(Api *api);
HttpServer *api_server(Api *api);

/* The documented routes that answer 501, as "METHOD /path" lines, for the test that prints them. */
void api_print_missing_routes(FILE *output);
