/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What concerns the engine as a whole. */
#include "api-private.h"

static void ping(ApiCall *call)
{
        http_response_header(call->request, "Cache-Control", "no-cache, no-store, must-revalidate");
        http_response_header(call->request, "Pragma", "no-cache");
        http_response_header(call->request, "Builder-Version", "1");
        http_response_header(call->request, "Swarm", "inactive");
        http_respond(call->request, 200, "text/plain; charset=utf-8", "OK", 2);
}

static void version(ApiCall *call)
{
        CLEANUP_JSON json_t *object = engine_version(call->engine);

        http_respond_json(call->request, 200, object);
}

static void info(ApiCall *call)
{
        CLEANUP_JSON json_t *object = engine_info(call->engine);

        api_shape_info(object, call->minor);
        http_respond_json(call->request, 200, object);
}

/* A monitor's word that its container has ended, or that the last of its log is with the journal. It starts a daemon
 * where there is none, whose start-up pass sees what is to be seen. */
static void exited(ApiCall *call)
{
        engine_monitor_spoke(call->engine, call->name);
        http_respond_empty(call->request, 204);
}

static void health(ApiCall *call)
{
        engine_monitor_health(call->engine, call->name, http_request_query(call->request, "status"));
        http_respond_empty(call->request, 204);
}

static void autostarted(int result, const Error *error, void *userdata)
{
        if (result != 0)
                api_fail(userdata, result, error);
        else
                http_respond_empty(userdata, 204);
}

/* berth-autostart.service: the daemon is there now, and with it the containers. */
static void autostart(ApiCall *call)
{
        engine_autostart_wait(call->engine, autostarted, call->request);
}

const ApiRoute api_system_routes[] = {
        { "GET", "/_ping", ping, false, false },
        { "HEAD", "/_ping", ping, false, false },
        { "GET", "/version", version, false, false },
        { "GET", "/info", info, false, false },
        { "POST", "/_berth/autostart", autostart, false, false },
        { "POST", "/_berth/health/{id}", health, false, false },
        { "POST", "/_berth/exited/{id}", exited, false, false },
        { NULL, NULL, NULL, false, false },
};
