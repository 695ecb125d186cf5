/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks. */
#include "api-private.h"

static void answer_empty(int result, const Error *error, void *userdata)
{
        if (result != 0)
                api_fail(userdata, result, error);
        else
                http_respond_empty(userdata, 200);
}

/* The route's network, or NULL after the request was answered. */
static Network *find(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        Network *network = NULL;
        int r = engine_network_find(call->engine, call->name, &network, &error);

        if (r == 0)
                return network;
        api_fail(call->request, r, &error);
        return NULL;
}

static void list(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *filters = NULL;
        json_t *networks = NULL;

        if (api_query_filters(call, &filters) < 0)
                return;
        int r = engine_network_list(call->engine, filters, &networks, &error);
        api_answer(call->request, 200, r, networks, &error);
}

static void inspect(ApiCall *call)
{
        const char *scope = http_request_query(call->request, "scope");
        json_t *object = NULL;

        if (!str_empty(scope) && !str_equal(scope, "local")) {
                CLEANUP_ERROR Error error = { 0 };
                api_fail(call->request, error_set(&error, OUTCOME_NOT_FOUND, "network %s not found", call->name),
                         &error);
                return;
        }
        Network *network = find(call);
        if (!network)
                return;
        int r = network_inspect(network, api_query_bool(call, "verbose"), &object);
        api_answer(call->request, 200, r, object, NULL);
}

static void create(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        json_t *response = NULL;
        int r = engine_network_create(call->engine, call->body, &response, &error);

        api_answer(call->request, 201, r, response, &error);
}

static void remove_network(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        Network *network = find(call);

        if (!network)
                return;
        int r = network_remove(network, &error);
        if (r != 0)
                api_fail(call->request, r, &error);
        else
                http_respond_empty(call->request, 204);
}

static void connect_container(ApiCall *call)
{
        Network *network = find(call);

        if (network)
                network_connect(network, call->body, answer_empty, call->request);
}

static void disconnect_container(ApiCall *call)
{
        Network *network = find(call);

        if (network)
                network_disconnect(network, call->body, answer_empty, call->request);
}

static void prune(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *filters = NULL;
        json_t *object = NULL;

        if (api_query_filters(call, &filters) < 0)
                return;
        int r = engine_network_prune(call->engine, filters, &object, &error);
        api_answer(call->request, 200, r, object, &error);
}

/* From a monitor: somebody has removed rules or tables of the packet filter. */
static void firewall_changed(ApiCall *call)
{
        engine_firewall_changed(call->engine);
        http_respond_empty(call->request, 204);
}

const ApiRoute api_network_routes[] = {
        { "POST", "/_berth/firewall", firewall_changed, false, false },
        { "GET", "/networks", list, false, false },
        { "GET", "/networks/{id}", inspect, false, false },
        { "DELETE", "/networks/{id}", remove_network, false, false },
        { "POST", "/networks/create", create, false, true },
        { "POST", "/networks/prune", prune, false, false },
        { "POST", "/networks/{id}/connect", connect_container, false, true },
        { "POST", "/networks/{id}/disconnect", disconnect_container, false, true },
        { NULL, NULL, NULL, false, false },
};
