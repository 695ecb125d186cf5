/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes. */
#include "api-private.h"

#include "berth/json.h"

static void list(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *filters = NULL;
        json_t *object = NULL;

        if (api_query_filters(call, &filters) < 0)
                return;
        int r = engine_volume_list(call->engine, filters, &object, &error);
        api_answer(call->request, 200, r, object, &error);
}

static void create(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        json_t *object = NULL;
        int r = engine_volume_create(call->engine, call->body, &object, &error);

        api_answer(call->request, 201, r, object, &error);
}

static void inspect(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        json_t *object = NULL;
        int r = engine_volume_inspect(call->engine, call->name, &object, &error);

        api_answer(call->request, 200, r, object, &error);
}

/* Only volumes of a swarm can be changed. */
static void update(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = error_set(&error, OUTCOME_UNAVAILABLE,
                          "volume update only valid for cluster volumes, but swarm is unavailable");

        api_fail(call->request, r, &error);
}

static void remove_volume(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = engine_volume_remove(call->engine, call->name, api_query_bool(call, "force"), &error);

        if (r != 0)
                api_fail(call->request, r, &error);
        else
                http_respond_empty(call->request, 204);
}

/* Before 1.42 named volumes were pruned, too. */
static void prune(ApiCall *call)
{
        CLEANUP_JSON json_t *filters = NULL;

        if (api_query_filters(call, &filters) < 0)
                return;
        if (call->minor < 42)
                json_object_set_new(filters, "all", json_pack("[s]", "true"));
        engine_volume_prune(call->engine, filters, api_answer_later, call->request);
}

const ApiRoute api_volume_routes[] = {
        { "GET", "/volumes", list, false, false },
        { "POST", "/volumes/create", create, false, true },
        { "POST", "/volumes/prune", prune, false, false },
        { "GET", "/volumes/{name}", inspect, false, false },
        { "PUT", "/volumes/{name}", update, false, true },
        { "DELETE", "/volumes/{name}", remove_volume, false, false },
        { NULL, NULL, NULL, false, false },
};
