/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks as records: reading them at the start, writing them, finding them, and the three that are always there. */
#include <arpa/inet.h>
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

bool network_has_links(const Network *network)
{
        const char *driver = json_get_string(network->record, "Driver");

        return !str_equal(driver, "host") && !str_equal(driver, "null");
}

bool network_has_names(const Network *network)
{
        return !network->predefined;
}

const char *network_option(const Network *network, const char *name)
{
        return json_get_string(json_object_get(network->record, "Options"), name);
}

char *network_path(const Network *network)
{
        return str_printf("%s/%s.json", network->engine->network_root, network->id);
}

char *network_names_path(const Engine *engine, const char *id)
{
        return str_printf("%s/network/%s", engine->config->exec_root, id);
}

bool subnet_parse(const char *text, NetworkSubnet *ret_subnet)
{
        CLEANUP_FREE char *address = text ? strndup(text, strcspn(text, "/")) : NULL;
        const char *slash = text ? strchr(text, '/') : NULL;
        struct in_addr parsed;
        int64_t prefix;

        if (!address || !slash || inet_pton(AF_INET, address, &parsed) != 1 ||
            str_to_int64(slash + 1, 0, 32, &prefix) < 0)
                return false;
        *ret_subnet = (NetworkSubnet) { ntohl(parsed.s_addr), (uint8_t) prefix };
        return true;
}

bool subnet6_parse(const char *text, struct in6_addr *ret_address, uint8_t *ret_prefix)
{
        CLEANUP_FREE char *address = text ? strndup(text, strcspn(text, "/")) : NULL;
        const char *slash = text ? strchr(text, '/') : NULL;
        int64_t prefix;

        if (!address || !slash || inet_pton(AF_INET6, address, ret_address) != 1 ||
            str_to_int64(slash + 1, 0, 128, &prefix) < 0)
                return false;
        *ret_prefix = (uint8_t) prefix;
        return true;
}

bool subnet_contains(NetworkSubnet subnet, in_addr_t address)
{
        return network_subnets_overlap(subnet, (NetworkSubnet) { ntohl(address), 32 });
}

bool subnet6_contains(const struct in6_addr *base, uint8_t prefix, const struct in6_addr *address)
{
        for (unsigned bit = 0; bit < prefix; bit++)
                if ((base->s6_addr[bit / 8] ^ address->s6_addr[bit / 8]) & 0x80 >> bit % 8)
                        return false;
        return true;
}

/* --- Finding ------------------------------------------------------------------------------------------------------ */

Network *network_by_id(Engine *engine, const char *id)
{
        Network *network;

        LIST_FOREACH(network, &engine->networks, link)
                if (str_equal(network->id, id))
                        return network;
        return NULL;
}

Network *network_by_name(Engine *engine, const char *name)
{
        Network *network;

        LIST_FOREACH(network, &engine->networks, link)
                if (str_equal(network->name, name))
                        return network;
        return NULL;
}

int engine_network_find(Engine *engine, const char *reference, Network **ret_network, Error *error)
{
        Network *network, *found = network_by_id(engine, reference);

        if (!found)
                found = network_by_name(engine, reference);
        if (!found && !str_empty(reference))
                LIST_FOREACH(network, &engine->networks, link) {
                        if (strncmp(network->id, reference, strlen(reference)) != 0)
                                continue;
                        if (found)
                                return error_set(error, OUTCOME_BAD_REQUEST,
                                                 "network %s is ambiguous (2 matches found based on ID prefix)",
                                                 reference);
                        found = network;
                }
        if (!found)
                return error_set(error, OUTCOME_NOT_FOUND, "network %s not found", reference);
        *ret_network = found;
        return 0;
}

bool network_is_used(Network *network)
{
        Container *container;

        if (!LIST_EMPTY(&network->endpoints))
                return true;
        LIST_FOREACH(container, &network->engine->containers, link)
                if (container->record && container_is_running(container) &&
                    json_object_get(container_networks(container), network->name))
                        return true;
        return false;
}

void network_event_emit(Network *network, const char *action, const Container *container)
{
        engine_event_emit(network->engine, "network", action, network->id,
                          json_pack("{ss ss ss*}", "name", network->name, "type",
                                    json_get_string_or(network->record, "Driver", ""), "container",
                                    container ? container->id : NULL));
}

/* --- Reading and writing --------------------------------------------------------------------------------------------
 */

int network_save(Network *network)
{
        CLEANUP_FREE char *name = str_printf("%s.json", network->id);
        CLEANUP_CLOSE int root = open(network->engine->network_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (!name)
                return -ENOMEM;
        return root < 0 ? -errno : json_write_at(root, name, network->record, 0600);
}

void network_free(Network *network)
{
        while (!LIST_EMPTY(&network->endpoints))
                endpoint_free(LIST_FIRST(&network->endpoints));
        LIST_REMOVE(network, link);
        json_decref(network->record);
        free(network->name);
        free(network);
}

void engine_networks_free(Engine *engine)
{
        while (!LIST_EMPTY(&engine->networks))
                network_free(LIST_FIRST(&engine->networks));
}

int network_new(Engine *engine, json_t *record, Network **ret_network)
{
        CLEANUP_JSON json_t *owned = record;
        const char *id = json_get_string(record, "Id"), *name = json_get_string(record, "Name");
        Network *network;

        if (!id || strlen(id) != ID_LENGTH || str_empty(name))
                return -EBADMSG;
        network = calloc(1, sizeof(*network));
        if (!network)
                return -ENOMEM;
        LIST_INIT(&network->endpoints);
        LIST_INSERT_HEAD(&engine->networks, network, link);
        network->engine = engine;
        strcpy(network->id, id);
        network->name = strdup(name);
        network->record = TAKE_PTR(owned);
        network->predefined = json_get_bool(record, "predefined");
        time_parse_rfc3339(json_get_string_or(record, "Created", ""), &network->created_ns);
        int r = network->name ? network_fill_bridge(network, NULL) : -ENOMEM;
        if (r != 0) {
                network_free(network);
                return r < 0 ? r : -EBADMSG;
        }
        *ret_network = network;
        return 0;
}

static int load_one(Engine *engine, int directory, const char *name)
{
        json_t *record = NULL;
        Network *network;
        int r = json_read_at(directory, name, &record);

        if (r >= 0)
                r = network_new(engine, record, &network);
        if (r < 0)
                log_error_errno(r, "The record of network %s cannot be read; the network is left out", name);
        return r == -ENOMEM ? r : 0;
}

/* --- The predefined
 * --------------------------------------------------------------------------------------------------- */

/* What the configuration says may have changed since the record was made. */
static int describe_default_bridge(Engine *engine, json_t *record)
{
        const Config *config = engine->config;
        CLEANUP_JSON json_t *old = json_incref(json_object_get(record, "IPAM"));
        NetworkSubnet subnet;
        char text[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN], mtu[16];
        struct in_addr address;

        if (config->bridge_gateway.s_addr != 0) {
                subnet = (NetworkSubnet) { ntohl(config->bridge_gateway.s_addr), config->bridge_prefix };
                address = config->bridge_gateway;
        } else if (subnet_parse(json_get_string(json_array_get(json_object_get(old, "Config"), 0), "Subnet"),
                                &subnet)) {
                address.s_addr = htonl(subnet.address + 1);
        } else {
                int r = network_choose_pool(engine, &subnet);
                if (r < 0)
                        return r;
                address.s_addr = htonl(subnet.address + 1);
        }
        inet_ntop(AF_INET, &address, gateway, sizeof(gateway));
        address.s_addr = htonl(subnet.address & UINT32_MAX << (32 - subnet.prefix));
        inet_ntop(AF_INET, &address, text, sizeof(text));
        CLEANUP_FREE char *cidr = str_printf("%s/%d", text, subnet.prefix);
        snprintf(mtu, sizeof(mtu), "%u", config->mtu > 0 ? config->mtu : 1500);
        json_object_set_new(record, "IPAM",
                            json_pack("{ss sn s[{ss* ss}]}", "Driver", "default", "Options", "Config", "Subnet", cidr,
                                      "Gateway", gateway));
        json_object_set_new(record, "Options",
                            json_pack("{ss ss ss ss ss ss}", "com.docker.network.bridge.default_bridge", "true",
                                      "com.docker.network.bridge.enable_icc", "true",
                                      "com.docker.network.bridge.enable_ip_masquerade", "true",
                                      "com.docker.network.bridge.host_binding_ipv4", "0.0.0.0",
                                      "com.docker.network.bridge.name", DEFAULT_BRIDGE, "com.docker.network.driver.mtu",
                                      mtu));
        return 0;
}

static int add_predefined(Engine *engine, const char *name, const char *driver)
{
        char id[ID_LENGTH + 1], created[TIME_RFC3339_SIZE];
        bool bridge = str_equal(driver, "bridge");
        Network *network;
        int r = id_generate(id);

        if (r < 0)
                return r;
        json_t *record =
                json_pack("{ss ss ss ss ss sb sb s{ss sn sn} sb sb sb s{ss} sb s{} s{} sb}", "Name", name, "Id", id,
                          "Created", time_format_rfc3339(time_now_ns(), created), "Scope", "local", "Driver", driver,
                          "EnableIPv4", bridge, "EnableIPv6", false, "IPAM", "Driver", "default", "Options", "Config",
                          "Internal", false, "Attachable", false, "Ingress", false, "ConfigFrom", "Network", "",
                          "ConfigOnly", false, "Options", "Labels", "predefined", true);
        r = !record ? -ENOMEM : bridge ? describe_default_bridge(engine, record) : 0;
        if (r < 0)
                json_decref(record);
        else
                r = network_new(engine, record, &network);
        return r < 0 ? r : network_save(network);
}

static int refresh_default_bridge(Network *network)
{
        CLEANUP_JSON json_t *before = json_deep_copy(network->record);
        int r = describe_default_bridge(network->engine, network->record);

        if (r < 0 || json_equal(before, network->record))
                return r;
        r = network_fill_bridge(network, NULL);
        return r != 0 ? -EINVAL : network_save(network);
}

static int ensure_predefined(Engine *engine)
{
        static const char *const names[][2] = { { "none", "null" }, { "host", "host" }, { "bridge", "bridge" } };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(names); i++) {
                Network *network = network_by_name(engine, names[i][0]);
                if (!network)
                        r = add_predefined(engine, names[i][0], names[i][1]);
                else if (str_equal(names[i][1], "bridge"))
                        r = refresh_default_bridge(network);
        }
        return r;
}

int engine_load_networks(Engine *engine)
{
        CLEANUP_CLOSEDIR DIR *directory = opendir(engine->network_root);
        struct dirent *entry;

        if (!directory)
                return -errno;
        while ((entry = readdir(directory))) {
                if (entry->d_name[0] == '.' || !str_has_suffix(entry->d_name, ".json"))
                        continue;
                int r = load_one(engine, dirfd(directory), entry->d_name);
                if (r < 0)
                        return r;
        }
        return ensure_predefined(engine);
}
