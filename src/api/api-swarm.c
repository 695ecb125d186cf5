/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Swarm and plugins: the answers of an engine that is in no swarm and has no plugin. Joining a swarm and installing a
 * plugin are refused with their reason. */
#include "api-private.h"

static void refuse(ApiCall *call, Outcome outcome, const char *message)
{
        CLEANUP_ERROR Error error = { 0 };

        api_fail(call->request, error_set(&error, outcome, "%s", message), &error);
}

static void need_manager(ApiCall *call)
{
        refuse(call, OUTCOME_UNAVAILABLE,
               "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this "
               "node to swarm and try again.");
}

static void list(ApiCall *call)
{
        CLEANUP_JSON json_t *filters = NULL;

        if (api_query_filters(call, &filters) >= 0)
                need_manager(call);
}

static bool has_version(const ApiCall *call)
{
        const char *text = http_request_query(call->request, "version");
        int64_t version;

        return text && str_to_int64(text, 0, INT64_MAX, &version) >= 0;
}

/* What is changed is named with its version, whose lack is seen first. */
static void update(ApiCall *call, const char *what)
{
        const char *text = http_request_query(call->request, "version");

        if (has_version(call)) {
                need_manager(call);
                return;
        }
        CLEANUP_FREE char *message =
                str_printf("invalid %s version '%s': strconv.ParseUint: parsing \"%s\": invalid syntax", what,
                           text ? text : "", text ? text : "");
        refuse(call, OUTCOME_BAD_REQUEST, message ? message : "invalid version");
}

static void update_swarm(ApiCall *call)
{
        update(call, "swarm");
}

static void update_node(ApiCall *call)
{
        update(call, "node");
}

static void update_service(ApiCall *call)
{
        update(call, "service");
}

static void update_secret(ApiCall *call)
{
        if (has_version(call))
                need_manager(call);
        else
                refuse(call, OUTCOME_BAD_REQUEST, "invalid secret version");
}

static void update_config(ApiCall *call)
{
        if (has_version(call))
                need_manager(call);
        else
                refuse(call, OUTCOME_BAD_REQUEST, "invalid config version");
}

static void leave(ApiCall *call)
{
        refuse(call, OUTCOME_UNAVAILABLE, "This node is not part of a swarm");
}

static void enter(ApiCall *call)
{
        refuse(call, OUTCOME_NOT_IMPLEMENTED, "berth serves one host: it has no swarm to create or to join");
}

static void logs(ApiCall *call)
{
        if (api_query_bool(call, "stdout") || api_query_bool(call, "stderr"))
                need_manager(call);
        else
                refuse(call, OUTCOME_FAILED, "Bad parameters: you must choose at least one stream");
}

/* --- Plugins ------------------------------------------------------------------------------------------------------ */

static void list_plugins(ApiCall *call)
{
        CLEANUP_JSON json_t *filters = NULL;
        CLEANUP_FREE char *message = NULL;
        const char *key;
        json_t *value;

        if (api_query_filters(call, &filters) < 0)
                return;
        json_object_foreach(filters, key, value) {
                if (str_equal(key, "enabled") || str_equal(key, "capability"))
                        continue;
                message = str_printf("invalid filter '%s'", key);
                refuse(call, OUTCOME_BAD_REQUEST, message ? message : "invalid filter");
                return;
        }
        api_answer(call->request, 200, 0, json_array(), NULL);
}

static void no_plugin(ApiCall *call)
{
        CLEANUP_FREE char *message = str_printf("plugin \"%s\" not found", call->name);

        refuse(call, OUTCOME_NOT_FOUND, message ? message : "plugin not found");
}

static void enable_plugin(ApiCall *call)
{
        const char *timeout = http_request_query(call->request, "timeout");
        int64_t seconds;

        if (timeout && str_to_int64(timeout, INT64_MIN + 1, INT64_MAX, &seconds) >= 0) {
                no_plugin(call);
                return;
        }
        CLEANUP_FREE char *message = str_printf("strconv.Atoi: parsing \"%s\": invalid syntax", timeout ? timeout : "");
        refuse(call, OUTCOME_FAILED, message ? message : "invalid timeout");
}

static void privileges(ApiCall *call)
{
        api_answer(call->request, 200, 0, json_array(), NULL);
}

static void install_plugin(ApiCall *call)
{
        refuse(call, OUTCOME_NOT_IMPLEMENTED,
               "berth has no plugins: its volumes, networks and log drivers are built in");
}

/* The bodies say nothing that these answers depend on. */
const ApiRoute api_swarm_routes[] = {
        { "GET", "/swarm", need_manager, false, false },
        { "POST", "/swarm/init", enter, false, true },
        { "POST", "/swarm/join", enter, false, true },
        { "POST", "/swarm/leave", leave, false, false },
        { "POST", "/swarm/update", update_swarm, false, true },
        { "GET", "/swarm/unlockkey", need_manager, false, false },
        { "POST", "/swarm/unlock", need_manager, false, true },
        { "GET", "/nodes", list, false, false },
        { "GET", "/nodes/{id}", need_manager, false, false },
        { "DELETE", "/nodes/{id}", need_manager, false, false },
        { "POST", "/nodes/{id}/update", update_node, false, true },
        { "GET", "/services", list, false, false },
        { "POST", "/services/create", need_manager, false, true },
        { "GET", "/services/{id}", need_manager, false, false },
        { "DELETE", "/services/{id}", need_manager, false, false },
        { "POST", "/services/{id}/update", update_service, false, true },
        { "GET", "/services/{id}/logs", logs, false, false },
        { "GET", "/tasks", list, false, false },
        { "GET", "/tasks/{id}", need_manager, false, false },
        { "GET", "/tasks/{id}/logs", logs, false, false },
        { "GET", "/secrets", list, false, false },
        { "POST", "/secrets/create", need_manager, false, true },
        { "GET", "/secrets/{id}", need_manager, false, false },
        { "DELETE", "/secrets/{id}", need_manager, false, false },
        { "POST", "/secrets/{id}/update", update_secret, false, true },
        { "GET", "/configs", list, false, false },
        { "POST", "/configs/create", need_manager, false, true },
        { "GET", "/configs/{id}", need_manager, false, false },
        { "DELETE", "/configs/{id}", need_manager, false, false },
        { "POST", "/configs/{id}/update", update_config, false, true },
        { "GET", "/plugins", list_plugins, false, false },
        { "GET", "/plugins/privileges", privileges, false, false },
        { "POST", "/plugins/pull", install_plugin, false, false },
        { "GET", "/plugins/{name}/json", no_plugin, false, false },
        { "DELETE", "/plugins/{name}", no_plugin, false, false },
        { "POST", "/plugins/{name}/enable", enable_plugin, false, false },
        { "POST", "/plugins/{name}/disable", no_plugin, false, false },
        { "POST", "/plugins/{name}/upgrade", no_plugin, false, false },
        { "POST", "/plugins/create", install_plugin, false, false },
        { "POST", "/plugins/{name}/push", no_plugin, false, false },
        { "POST", "/plugins/{name}/set", no_plugin, false, false },
        { NULL, NULL, NULL, false, false },
};
