/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POST /networks/create: what was asked for, checked, becomes a record; and what a record means for the kernel. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/random.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

#define BRIDGE_OPTION "com.docker.network.bridge."
#define SUBNETS_MAX 1024u

/* --- Subnets ------------------------------------------------------------------------------------------------------ */

static size_t taken_subnets(Engine *engine, NetworkSubnet *taken)
{
        Network *network;
        size_t n = 0;

        LIST_FOREACH(network, &engine->networks, link)
                if (network->bridge.prefix > 0 && n < SUBNETS_MAX)
                        taken[n++] = (NetworkSubnet) { ntohl(network->bridge.gateway.s_addr != 0
                                                                     ? network->bridge.gateway.s_addr
                                                                     : htonl(network->range.address)),
                                                       network->bridge.prefix };
        return n;
}

int network_choose_pool(Engine *engine, NetworkSubnet *ret_subnet)
{
        CLEANUP_FREE NetworkSubnet *taken = calloc(SUBNETS_MAX, sizeof(*taken));

        if (!taken)
                return -ENOMEM;
        return network_choose_subnet(engine->config->pools, engine->config->n_pools, taken,
                                     taken_subnets(engine, taken), ret_subnet);
}

static bool overlaps_other(Engine *engine, NetworkSubnet subnet)
{
        CLEANUP_FREE NetworkSubnet *taken = calloc(SUBNETS_MAX, sizeof(*taken));
        size_t n = taken ? taken_subnets(engine, taken) : 0;

        for (size_t i = 0; i < n; i++)
                if (network_subnets_overlap(taken[i], subnet))
                        return true;
        return false;
}

static bool overlaps_other6(Engine *engine, const struct in6_addr *base, uint8_t prefix)
{
        Network *network;

        LIST_FOREACH(network, &engine->networks, link)
                if (network->bridge.prefix6 > 0 &&
                    subnet6_contains(&network->bridge.gateway6, MIN(prefix, network->bridge.prefix6), base))
                        return true;
        return false;
}

/* --- What a record means --------------------------------------------------------------------------------------------
 */

static int parse_flag(const Network *network, const char *option, bool fallback, bool *ret, Error *error)
{
        static const char *const words[][2] = {
                { "1", "0" }, { "t", "f" }, { "T", "F" }, { "TRUE", "FALSE" }, { "true", "false" }, { "True", "False" },
        };
        const char *text = network_option(network, option);

        *ret = fallback;
        if (!text)
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                for (size_t j = 0; j < 2; j++)
                        if (str_equal(text, words[i][j])) {
                                *ret = j == 0;
                                return 0;
                        }
        return error_set(error, OUTCOME_BAD_REQUEST,
                         "failed to parse %s value: %s (strconv.ParseBool: parsing \"%s\": invalid syntax)", option,
                         text, text);
}

static int parse_mode(const Network *network, const char *option, NetworkGatewayMode *ret_mode, Error *error)
{
        static const struct {
                const char *name;
                NetworkGatewayMode mode;
        } modes[] = { { "", NETWORK_NAT },
                      { "nat", NETWORK_NAT },
                      { "nat-unprotected", NETWORK_NAT_UNPROTECTED },
                      { "routed", NETWORK_ROUTED },
                      { "isolated", NETWORK_ISOLATED } };
        const char *text = network_option(network, option);

        for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
                if (str_equal(modes[i].name, text ? text : "")) {
                        *ret_mode = modes[i].mode;
                        if (modes[i].mode == NETWORK_ISOLATED && !network->bridge.internal)
                                break;
                        return 0;
                }
        return error_set(error, OUTCOME_BAD_REQUEST,
                         str_equal(text, "isolated")
                                 ? "gateway mode 'isolated' can only be used for an internal network"
                                 : "unknown gateway mode %s",
                         text);
}

static int parse_options(Network *network, Error *error)
{
        NetworkBridge *bridge = &network->bridge;
        const char *mtu = network_option(network, "com.docker.network.driver.mtu");
        const char *source = network_option(network, "com.docker.network.host_ipv4");
        int64_t number = 0;
        bool icc;
        int r = parse_flag(network, BRIDGE_OPTION "enable_icc", true, &icc, error);

        if (r == 0)
                r = parse_flag(network, BRIDGE_OPTION "enable_ip_masquerade", true, &bridge->masquerade, error);
        if (r == 0)
                r = parse_mode(network, BRIDGE_OPTION "gateway_mode_ipv4", &bridge->mode4, error);
        if (r == 0)
                r = parse_mode(network, BRIDGE_OPTION "gateway_mode_ipv6", &bridge->mode6, error);
        if (r != 0)
                return r;
        bridge->separate = !icc;
        if (mtu && str_to_int64(mtu, 0, 65535, &number) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "failed to parse com.docker.network.driver.mtu value: %s (strconv.Atoi: parsing "
                                 "\"%s\": invalid syntax)",
                                 mtu, mtu);
        bridge->mtu = number == 1500 ? 0 : (uint32_t) number;
        if (source && inet_pton(AF_INET, source, &bridge->source) != 1)
                return error_set(error, OUTCOME_BAD_REQUEST, "failed to parse com.docker.network.host_ipv4 value: %s",
                                 source);
        return 0;
}

/* A subnet's first address, unless another was named. */
static void fill_subnets(Network *network)
{
        NetworkBridge *bridge = &network->bridge;
        json_t *entry;
        size_t i;

        json_array_foreach(json_object_get(json_object_get(network->record, "IPAM"), "Config"), i, entry) {
                const char *text = json_get_string(entry, "Subnet"), *range = json_get_string(entry, "IPRange");
                const char *gateway = json_get_string(entry, "Gateway");
                NetworkSubnet subnet;
                struct in6_addr base;
                uint8_t prefix;

                if (subnet_parse(text, &subnet) && bridge->prefix == 0) {
                        bridge->prefix = subnet.prefix;
                        if (!gateway || inet_pton(AF_INET, gateway, &bridge->gateway) != 1)
                                bridge->gateway.s_addr = htonl(subnet.address + 1);
                        if (!range || !subnet_parse(range, &network->range))
                                network->range = subnet;
                } else if (subnet6_parse(text, &base, &prefix) && bridge->prefix6 == 0) {
                        bridge->prefix6 = prefix;
                        if (!gateway || inet_pton(AF_INET6, gateway, &bridge->gateway6) != 1) {
                                bridge->gateway6 = base;
                                bridge->gateway6.s6_addr[15] |= 1;
                        }
                }
        }
}

static void fill_parent(Network *network, const char *driver)
{
        NetworkBridge *bridge = &network->bridge;
        bool macvlan = str_equal(driver, "macvlan");
        const char *parent = network_option(network, "parent");
        const char *mode = network_option(network, macvlan ? "macvlan_mode" : "ipvlan_mode");

        bridge->kind = macvlan ? NETWORK_MACVLAN : NETWORK_IPVLAN;
        if (parent)
                strncpy(bridge->name, parent, IFNAMSIZ - 1);
        else
                snprintf(bridge->name, sizeof(bridge->name), "dm-%.12s", network->id);
        if (mode)
                strncpy(bridge->mode, mode, sizeof(bridge->mode) - 1);
        /* The gateway is a machine beyond the parent. One that nobody named may not be there. */
        bridge->internal = bridge->internal || !parent;
}

int network_fill_bridge(Network *network, Error *error)
{
        NetworkBridge *bridge = &network->bridge;
        const char *driver = json_get_string_or(network->record, "Driver", "");
        const char *name = network_option(network, BRIDGE_OPTION "name");

        *bridge = (NetworkBridge) { .internal = json_get_bool(network->record, "Internal") };
        if (!network_has_links(network))
                return 0;
        int r = parse_options(network, error);
        if (r != 0)
                return r;
        fill_subnets(network);
        if (!str_equal(driver, "bridge"))
                fill_parent(network, driver);
        else if (!str_empty(name))
                strncpy(bridge->name, name, IFNAMSIZ - 1);
        else
                snprintf(bridge->name, sizeof(bridge->name), "br-%.12s", network->id);
        return 0;
}

/* --- Checking a request ---------------------------------------------------------------------------------------------
 */

#define INVALID "invalid network config:\n"

static int check_subnet(const json_t *entry, Error *error)
{
        const char *text = json_get_string_or(entry, "Subnet", ""), *range = json_get_string(entry, "IPRange");
        const char *gateway = json_get_string(entry, "Gateway"), *name;
        NetworkSubnet subnet, inner;
        struct in6_addr base, inner6;
        struct in_addr address;
        uint8_t prefix, prefix6 = 0;
        json_t *value;

        if (subnet_parse(text, &subnet)) {
                uint32_t masked = subnet.prefix == 0 ? 0 : subnet.address & UINT32_MAX << (32 - subnet.prefix);
                char right[INET_ADDRSTRLEN];
                if (masked != subnet.address) {
                        address.s_addr = htonl(masked);
                        return error_set(error, OUTCOME_BAD_REQUEST, INVALID "invalid subnet %s: it should be %s/%d",
                                         text, inet_ntop(AF_INET, &address, right, sizeof(right)), subnet.prefix);
                }
                if (!str_empty(range) && (!subnet_parse(range, &inner) || inner.prefix < subnet.prefix ||
                                          !network_subnets_overlap(subnet, inner)))
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         INVALID "invalid ip-range %s: parent subnet %s doesn't contain ip-range",
                                         range, text);
                if (!str_empty(gateway) &&
                    (inet_pton(AF_INET, gateway, &address) != 1 || !subnet_contains(subnet, address.s_addr)))
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         INVALID "invalid gateway %s: parent subnet %s doesn't contain this address",
                                         gateway, text);
                json_object_foreach(json_object_get(entry, "AuxiliaryAddresses"), name, value) {
                        if (inet_pton(AF_INET, json_string_value(value), &address) != 1 ||
                            !subnet_contains(subnet, address.s_addr))
                                return error_set(error, OUTCOME_BAD_REQUEST,
                                                 INVALID
                                                 "invalid auxiliary address %s: parent subnet %s doesn't contain this "
                                                 "address",
                                                 json_string_value(value), text);
                }
                return 0;
        }
        if (!subnet6_parse(text, &base, &prefix))
                return error_set(error, OUTCOME_BAD_REQUEST, INVALID "invalid subnet %s: invalid CIDR block notation",
                                 text);
        if (!str_empty(range) &&
            (!subnet6_parse(range, &inner6, &prefix6) || !subnet6_contains(&base, prefix, &inner6)))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 INVALID "invalid ip-range %s: parent subnet %s doesn't contain ip-range", range, text);
        if (!str_empty(gateway) &&
            (inet_pton(AF_INET6, gateway, &inner6) != 1 || !subnet6_contains(&base, prefix, &inner6)))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 INVALID "invalid gateway %s: parent subnet %s doesn't contain this address", gateway,
                                 text);
        return 0;
}

static json_t *string_or_null(json_t *value)
{
        return value && json_string_length(value) > 0 ? json_incref(value) : NULL;
}

/* The entries of IPAM.Config in our form; entries that say nothing are left out. */
static int take_subnets(const json_t *ipam, json_t **ret_list, Error *error)
{
        CLEANUP_JSON json_t *list = json_array();
        json_t *entry, *given = fields_member(ipam, "Config");
        size_t i;

        json_array_foreach(given, i, entry) {
                json_t *extra = fields_member(entry, "AuxiliaryAddresses");
                json_t *normal =
                        json_pack("{so* so* so* sO*}", "Subnet", string_or_null(fields_member(entry, "Subnet")),
                                  "IPRange", string_or_null(fields_member(entry, "IPRange")), "Gateway",
                                  string_or_null(fields_member(entry, "Gateway")), "AuxiliaryAddresses",
                                  json_object_size(extra) > 0 ? extra : NULL);
                if (!normal || json_array_append_new(list, normal) < 0)
                        return -ENOMEM;
                int r = json_object_size(normal) > 0 ? check_subnet(normal, error) : 0;
                if (r != 0)
                        return r;
        }
        *ret_list = TAKE_PTR(list);
        return 0;
}

/* fdxx:xxxx:xxxx::/64, at random, as RFC 4193 wants it. */
static char *random_subnet6(void)
{
        struct in6_addr address = { 0 };
        char text[INET6_ADDRSTRLEN];

        if (getrandom(address.s6_addr, 6, 0) != 6)
                return NULL;
        address.s6_addr[0] = 0xfd;
        return str_printf("%s/64", inet_ntop(AF_INET6, &address, text, sizeof(text)));
}

/* Subnets for the families that none was named for. */
static int add_subnets(Engine *engine, json_t *list, bool four, bool six, Error *error)
{
        bool has_four = false, has_six = false;
        json_t *entry;
        NetworkSubnet subnet;
        size_t i;

        for (i = json_array_size(list); i-- > 0;)
                if (json_object_size(json_array_get(list, i)) == 0)
                        json_array_remove(list, i);
        json_array_foreach(list, i, entry) {
                const char *text = json_get_string(entry, "Subnet");
                struct in6_addr base;
                uint8_t prefix;

                if (subnet_parse(text, &subnet)) {
                        has_four = true;
                        if (overlaps_other(engine, subnet))
                                return error_set(error, OUTCOME_FORBIDDEN,
                                                 "Pool overlaps with other one on this address space");
                } else if (subnet6_parse(text, &base, &prefix)) {
                        has_six = true;
                        if (overlaps_other6(engine, &base, prefix))
                                return error_set(error, OUTCOME_FORBIDDEN,
                                                 "Pool overlaps with other one on this address space");
                }
        }
        if (six && !has_six) {
                CLEANUP_FREE char *text = random_subnet6();
                json_array_append_new(list, json_pack("{ss*}", "Subnet", text));
        }
        if (four && !has_four) {
                char base[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];
                int r = network_choose_pool(engine, &subnet);
                if (r == -ENOSPC)
                        return error_set(error, OUTCOME_NOT_FOUND,
                                         "all predefined address pools have been fully subnetted");
                if (r < 0)
                        return r;
                inet_ntop(AF_INET, &(struct in_addr) { htonl(subnet.address) }, base, sizeof(base));
                inet_ntop(AF_INET, &(struct in_addr) { htonl(subnet.address + 1) }, gateway, sizeof(gateway));
                CLEANUP_FREE char *text = str_printf("%s/%d", base, subnet.prefix);
                json_array_append_new(list, json_pack("{ss* ss}", "Subnet", text, "Gateway", gateway));
        }
        return 0;
}

static int check_driver(const char *driver, Error *error)
{
        if (str_equal(driver, "bridge") || str_equal(driver, "macvlan") || str_equal(driver, "ipvlan"))
                return 0;
        if (str_equal(driver, "host") || str_equal(driver, "null"))
                return error_set(error, OUTCOME_FORBIDDEN, "only one instance of \"%s\" network is allowed", driver);
        if (str_equal(driver, "overlay"))
                return error_set(error, OUTCOME_FORBIDDEN,
                                 "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" "
                                 "to connect this node to swarm and try again.");
        return error_set(error, OUTCOME_NOT_FOUND, "plugin \"%s\" not found", driver);
}

static bool is_predefined_name(const char *name)
{
        return str_equal(name, "bridge") || str_equal(name, "host") || str_equal(name, "none") ||
               str_equal(name, "default");
}

static int check_name(Engine *engine, const char *name, Error *error)
{
        if (is_predefined_name(name))
                return error_set(error, OUTCOME_FORBIDDEN, "operation is not permitted on predefined %s network ",
                                 name);
        if (strspn(name, " ") == strlen(name))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid name: %s", name);
        if (network_by_name(engine, name))
                return error_set(error, OUTCOME_CONFLICT, "network with name %s already exists", name);
        return 0;
}

/* Members of the request that have to be of one type. */
static int check_types(const json_t *body, Error *error)
{
        static const struct {
                const char *name, *type;
                json_type wanted;
        } members[] = { { "Name", "string", JSON_STRING },
                        { "Driver", "string", JSON_STRING },
                        { "Scope", "string", JSON_STRING },
                        { "Internal", "bool", JSON_TRUE },
                        { "Attachable", "bool", JSON_TRUE },
                        { "Ingress", "bool", JSON_TRUE },
                        { "ConfigOnly", "bool", JSON_TRUE },
                        { "EnableIPv4", "bool", JSON_TRUE },
                        { "EnableIPv6", "bool", JSON_TRUE },
                        { "IPAM", "network.IPAM", JSON_OBJECT },
                        { "Options", "map[string]string", JSON_OBJECT },
                        { "Labels", "map[string]string", JSON_OBJECT } };

        if (!json_is_object(body))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid JSON: got EOF while reading request body");
        for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
                json_t *value = fields_member(body, members[i].name);
                if (!value || json_is_null(value) || json_typeof(value) == members[i].wanted ||
                    (members[i].wanted == JSON_TRUE && json_is_false(value)))
                        continue;
                CLEANUP_FREE char *field = str_printf("NetworkCreateRequest.%s", members[i].name);
                return fields_refuse(value, field, members[i].type, error);
        }
        return 0;
}

static json_t *object_or_empty(json_t *value)
{
        return json_is_object(value) ? json_incref(value) : json_object();
}

static bool member_bool(const json_t *body, const char *name, bool fallback)
{
        json_t *value = fields_member(body, name);

        return json_is_boolean(value) ? json_is_true(value) : fallback;
}

static int check_config_from(Engine *engine, const json_t *body, Network **ret_source, Error *error)
{
        const char *name = json_get_string(fields_member(body, "ConfigFrom"), "Network");
        Network *source;

        *ret_source = NULL;
        if (str_empty(name))
                return 0;
        source = network_by_name(engine, name);
        if (!source || !json_get_bool(source->record, "ConfigOnly"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "configuration network \"%s\" does not exist or is not configuration-only", name);
        *ret_source = source;
        return 0;
}

static int make_record(Engine *engine, const json_t *body, json_t **ret_record, Error *error)
{
        CLEANUP_JSON json_t *subnets = NULL;
        json_t *given = fields_member(body, "IPAM");
        const char *driver = json_string_value(fields_member(body, "Driver"));
        bool four = member_bool(body, "EnableIPv4", true), six = member_bool(body, "EnableIPv6", false);
        bool config_only = member_bool(body, "ConfigOnly", false);
        char id[ID_LENGTH + 1], created[TIME_RFC3339_SIZE];
        Network *source = NULL;
        int r = id_generate(id);

        if (r == 0)
                r = check_config_from(engine, body, &source, error);
        json_t *origin = source ? source->record : NULL;
        if (source) {
                given = json_object_get(origin, "IPAM");
                six = json_get_bool(origin, "EnableIPv6");
        }
        if (r == 0)
                r = take_subnets(given, &subnets, error);
        bool named = json_array_size(subnets) > 0 && json_object_size(json_array_get(subnets, 0)) > 0;
        if (r == 0 && !config_only)
                r = add_subnets(engine, subnets, four, six, error);
        if (r != 0)
                return r;
        json_t *options = json_is_object(fields_member(given, "Options")) ? fields_member(given, "Options") : NULL;
        json_t *record = json_pack(
                "{ss ss ss ss ss sb sb s{ss sO? sO} sb sb sb s{ss} sb so so sb}", "Name",
                json_string_value(fields_member(body, "Name")), "Id", id, "Created",
                time_format_rfc3339(time_now_ns(), created), "Scope", "local", "Driver", driver, "EnableIPv4", four,
                "EnableIPv6", six, "IPAM", "Driver", json_get_string_or(given, "Driver", "default"), "Options", options,
                "Config", subnets, "Internal",
                source ? json_get_bool(origin, "Internal") : member_bool(body, "Internal", false), "Attachable",
                member_bool(body, "Attachable", false), "Ingress", member_bool(body, "Ingress", false), "ConfigFrom",
                "Network", source ? source->name : "", "ConfigOnly", config_only, "Options",
                object_or_empty(source ? json_object_get(origin, "Options") : fields_member(body, "Options")), "Labels",
                object_or_empty(source ? json_object_get(origin, "Labels") : fields_member(body, "Labels")),
                "userSubnet", named);
        if (!record)
                return -ENOMEM;
        *ret_record = record;
        return 0;
}

static int check_bridge_name(const Network *network, Error *error)
{
        const Network *other;

        LIST_FOREACH(other, &network->engine->networks, link)
                if (other != network && network->bridge.kind == NETWORK_BRIDGE && *network->bridge.name &&
                    other->bridge.kind == NETWORK_BRIDGE && str_equal(other->bridge.name, network->bridge.name))
                        return error_set(error, OUTCOME_FORBIDDEN,
                                         "cannot create network %s (%s): conflicts with network %s (%s): networks have "
                                         "same bridge name",
                                         network->id, network->bridge.name, other->id, other->bridge.name);
        return 0;
}

static int add_network(Engine *engine, json_t *record, Network **ret_network, Error *error)
{
        Network *network;
        int r = network_new(engine, json_incref(record), &network);

        if (r == -EBADMSG) { /* the options make no sense: once more, for the message */
                Network probe = { .engine = engine, .record = record };
                r = network_fill_bridge(&probe, error);
                return r != 0 ? r : -EBADMSG;
        }
        if (r < 0)
                return r;
        r = check_bridge_name(network, error);
        if (r == 0)
                r = network_save(network);
        if (r != 0) {
                network_free(network);
                return r;
        }
        *ret_network = network;
        return 0;
}

int engine_network_create(Engine *engine, const json_t *body, json_t **ret_response, Error *error)
{
        CLEANUP_JSON json_t *request = NULL, *record = NULL;
        CLEANUP_FREE char *warning = NULL;
        Network *network;
        int r = check_types(body, error);

        if (r != 0)
                return r;
        request = json_copy((json_t *) body);
        const char *driver = json_string_value(fields_member(body, "Driver"));
        if (str_empty(driver)) {
                json_object_del(request, "Driver");
                json_object_set_new(request, "Driver", json_string("bridge"));
                driver = "bridge";
        }
        const char *name = json_string_value(fields_member(body, "Name"));
        r = check_name(engine, name ? name : "", error);
        if (r == 0)
                r = check_driver(driver, error);
        if (r == 0 && member_bool(body, "Ingress", false))
                r = error_set(error, OUTCOME_FORBIDDEN, "cannot create an ingress network on a node without a swarm");
        if (r == 0)
                r = make_record(engine, request, &record, error);
        if (r == 0)
                r = unhonoured_network_warning(record, &warning);
        if (r == 0)
                r = add_network(engine, record, &network, error);
        if (r != 0)
                return r;
        network_event_emit(network, "create", NULL);
        *ret_response = json_pack("{ss ss}", "Id", network->id, "Warning", warning);
        return *ret_response ? 0 : -ENOMEM;
}
