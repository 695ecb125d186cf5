/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks as they are listed and inspected, and how they go. */
#include <arpa/inet.h>
#include <strings.h>

#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

static json_t *endpoint_object(const Endpoint *endpoint)
{
        char four[INET_ADDRSTRLEN + 4] = "", six[INET6_ADDRSTRLEN + 5] = "", text[INET6_ADDRSTRLEN], mac[18];
        const NetworkEndpoint *side = &endpoint->side;
        const NetworkBridge *bridge = &endpoint->network->bridge;

        if (side->address.s_addr != 0)
                snprintf(four, sizeof(four), "%s/%d", inet_ntop(AF_INET, &side->address, text, sizeof(text)),
                         bridge->prefix);
        if (!IN6_IS_ADDR_UNSPECIFIED(&side->address6))
                snprintf(six, sizeof(six), "%s/%d", inet_ntop(AF_INET6, &side->address6, text, sizeof(text)),
                         bridge->prefix6);
        return json_pack("{ss ss ss ss ss}", "Name", endpoint->container->name, "EndpointID", endpoint->id,
                         "MacAddress", network_has_links(endpoint->network) ? mac_text(side->mac, mac) : "",
                         "IPv4Address", four, "IPv6Address", six);
}

static json_t *network_object(Network *network, bool containers)
{
        CLEANUP_JSON json_t *object = json_copy(network->record), *list = json_object();
        Endpoint *endpoint;

        json_object_del(object, "predefined");
        json_object_del(object, "userSubnet");
        LIST_FOREACH(endpoint, &network->endpoints, network_link)
                if (containers && !endpoint->moving)
                        json_object_set_new(list, endpoint->container->id, endpoint_object(endpoint));
        json_object_set(object, "Containers", list);
        return TAKE_PTR(object);
}

int network_inspect(Network *network, bool verbose, json_t **ret_object)
{
        json_t *object = network_object(network, true);

        if (!object)
                return -ENOMEM;
        if (verbose && !network->predefined)
                json_object_set_new(object, "Services", json_object());
        if (json_object_size(json_object_get(object, "Services")) == 0)
                json_object_del(object, "Services"); /* there is no swarm that could have any */
        *ret_object = object;
        return 0;
}

/* --- Listing ------------------------------------------------------------------------------------------------------ */

static bool match_driver(const char *value, const void *userdata)
{
        return str_equal(value, json_get_string(((const Network *) userdata)->record, "Driver"));
}

static bool match_id(const char *value, const void *userdata)
{
        return str_after_prefix(((const Network *) userdata)->id, value);
}

static bool match_name(const char *value, const void *userdata)
{
        return strstr(((const Network *) userdata)->name, value);
}

static bool match_scope(const char *value, const void *userdata)
{
        return str_equal(value, json_get_string(((const Network *) userdata)->record, "Scope"));
}

static bool match_type(const char *value, const void *userdata)
{
        return ((const Network *) userdata)->predefined == str_equal(value, "builtin");
}

static bool is_true(const char *value)
{
        return str_equal(value, "1") || strcasecmp(value, "true") == 0;
}

static bool match_dangling(const char *value, const void *userdata)
{
        Network *network = (Network *) userdata;

        return (!network->predefined && LIST_EMPTY(&network->endpoints)) == is_true(value);
}

typedef struct ValueCheck {
        Error *error;
        int result;
} ValueCheck;

static void check_type(const char *value, void *userdata)
{
        ValueCheck *check = userdata;

        if (!str_equal(value, "custom") && !str_equal(value, "builtin"))
                check->result = error_set(check->error, OUTCOME_FAILED, "invalid filter: 'type'='%s'", value);
}

static void check_dangling(const char *value, void *userdata)
{
        ValueCheck *check = userdata;

        if (!is_true(value) && !str_equal(value, "0") && strcasecmp(value, "false") != 0)
                check->result = error_set(check->error, OUTCOME_BAD_REQUEST,
                                          "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or "
                                          "\"false\" (or \"0\")");
}

static int check_filters(const json_t *filters, Error *error)
{
        static const char *const known[] = { "dangling", "driver", "id", "label", "name", "scope", "type", NULL };
        ValueCheck check = { error, 0 };
        int r = filters_check(filters, known, error);

        if (r != 0)
                return r;
        filters_each(filters, "type", check_type, &check);
        filters_each(filters, "dangling", check_dangling, &check);
        return check.result;
}

static bool is_wanted(const Network *network, const json_t *filters)
{
        static const struct {
                const char *key;
                bool (*match)(const char *value, const void *userdata);
        } rules[] = { { "driver", match_driver }, { "id", match_id },     { "name", match_name },
                      { "scope", match_scope },   { "type", match_type }, { "dangling", match_dangling } };

        for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
                if (!filters_any(filters, rules[i].key, rules[i].match, network))
                        return false;
        return filters_labels(filters, json_object_get(network->record, "Labels"));
}

int engine_network_list(Engine *engine, const json_t *filters, json_t **ret_list, Error *error)
{
        CLEANUP_JSON json_t *list = json_array();
        Network *network;
        int r = check_filters(filters, error);

        if (r != 0)
                return r;
        LIST_FOREACH(network, &engine->networks, link)
                if (is_wanted(network, filters) && json_array_append_new(list, network_object(network, false)) < 0)
                        return -ENOMEM;
        *ret_list = TAKE_PTR(list);
        return 0;
}

/* --- Removing ----------------------------------------------------------------------------------------------------- */

/* The record goes last: what a crash leaves of a removal is a network that is made again when it is used. */
static int remove_network(Network *network)
{
        CLEANUP_FREE char *path = network_path(network), *names = network_names_path(network->engine, network->id);
        NetworkFirewall content = { .bridges = &network->bridge, .n_bridges = 1 };
        bool own = network->bridge.kind == NETWORK_BRIDGE || str_after_prefix(network->bridge.name, "dm-");

        if (!path || !names)
                return -ENOMEM;
        if (*network->bridge.name && own) {
                int r = network_bridge_delete(network->bridge.name);
                if (r < 0)
                        return r;
                network_firewall_remove(&content);
                network_forward_forget(network->bridge.name);
        }
        unlink(names);
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;
        network_event_emit(network, "destroy", NULL);
        network_free(network);
        return 0;
}

static bool is_config_of_other(const Network *network)
{
        const Network *other;

        LIST_FOREACH(other, &network->engine->networks, link)
                if (str_equal(json_get_string(json_object_get(other->record, "ConfigFrom"), "Network"), network->name))
                        return true;
        return false;
}

int network_remove(Network *network, Error *error)
{
        if (network->predefined)
                return error_set(error, OUTCOME_FORBIDDEN, "%s is a pre-defined network and cannot be removed",
                                 network->name);
        if (is_config_of_other(network))
                return error_set(error, OUTCOME_FORBIDDEN, "configuration network \"%s\" is in use", network->name);
        if (!LIST_EMPTY(&network->endpoints))
                return error_set(error, OUTCOME_FORBIDDEN,
                                 "error while removing network: network %s id %s has active endpoints", network->name,
                                 network->id);
        return remove_network(network);
}

static bool is_before(const char *value, const void *userdata)
{
        int64_t ns;

        return time_parse_query(value, time_now_ns(), &ns) >= 0 && ((const Network *) userdata)->created_ns < ns;
}

/* A container that is stopped does not keep its networks, as with Docker. */
int engine_network_prune(Engine *engine, const json_t *filters, json_t **ret_object, Error *error)
{
        static const char *const known[] = { "label", "label!", "until", NULL };
        CLEANUP_JSON json_t *deleted = json_array();
        Network *network = LIST_FIRST(&engine->networks);
        int r = filters_check(filters, known, error);

        if (r == 0)
                r = filters_check_moment(filters, "until", error);
        if (r != 0)
                return r;
        while (network) {
                Network *next = LIST_NEXT(network, link);
                CLEANUP_FREE char *name = strdup(network->name);
                if (!network->predefined && LIST_EMPTY(&network->endpoints) && !is_config_of_other(network) &&
                    filters_any(filters, "until", is_before, network) &&
                    filters_labels(filters, json_object_get(network->record, "Labels"))) {
                        r = remove_network(network);
                        if (r < 0)
                                log_warning_errno(r, "Cannot remove network %s", name);
                        else
                                json_array_append_new(deleted, json_string(name));
                }
                network = next;
        }
        engine_event_pruned(engine, "network", 0);
        *ret_object = json_pack("{sO?}", "NetworksDeleted", json_array_size(deleted) > 0 ? deleted : NULL);
        return *ret_object ? 0 : -ENOMEM;
}
