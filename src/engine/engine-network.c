/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The default bridge, its addresses, and the three files of /etc that describe the network to a container. */
#include <arpa/inet.h>
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define BRIDGE_NAME "berth0"
#define RESOLV_CONF "/etc/resolv.conf"
/* What systemd-resolved talks to itself: its stub at 127.0.0.53 can't be reached from another namespace. */
#define RESOLVED_UPLINK_CONF "/run/systemd/resolve/resolv.conf"

static int choose_bridge(Engine *engine)
{
        NetworkBridge *bridge = &engine->bridge;
        struct in_addr subnet;

        strcpy(bridge->name, BRIDGE_NAME);
        bridge->mtu = engine->config->mtu;
        if (engine->config->bridge_gateway.s_addr != 0) {
                bridge->gateway = engine->config->bridge_gateway;
                bridge->prefix = engine->config->bridge_prefix;
                return 0;
        }

        /* The choice is kept for as long as the bridge may be there, so that a later daemon makes the same one. */
        CLEANUP_FREE char *path = path_join(engine->config->exec_root, "bridge.json");
        CLEANUP_JSON json_t *kept = NULL;
        if (!path)
                return -ENOMEM;
        if (json_read_at(AT_FDCWD, path, &kept) >= 0) {
                bridge->gateway.s_addr = (in_addr_t) json_get_int(kept, "Gateway", 0);
                bridge->prefix = (uint8_t) json_get_int(kept, "Prefix", 0);
                if (bridge->prefix > 0)
                        return 0;
        }
        int r = network_choose_subnet(&subnet, &bridge->prefix);
        if (r < 0)
                return r;
        bridge->gateway.s_addr = htonl(ntohl(subnet.s_addr) + 1);
        kept = json_pack("{sI si}", "Gateway", (json_int_t) bridge->gateway.s_addr, "Prefix", bridge->prefix);
        return kept ? json_write_volatile_at(AT_FDCWD, path, kept, 0600) : -ENOMEM;
}

int engine_bridge_prepare(Engine *engine, Error *error)
{
        int r = engine->bridge.prefix == 0 ? choose_bridge(engine) : 0;

        if (r >= 0 && (!engine->bridge_ready || !network_bridge_exists(&engine->bridge)))
                r = network_bridge_ensure(&engine->bridge);
        if (r < 0)
                return error_set(error, OUTCOME_FAILED, "cannot set up the bridge %s: %s", BRIDGE_NAME, strerror(-r));
        engine->bridge_ready = true;
        return 0;
}

static bool address_taken(const Engine *engine, in_addr_t address)
{
        const Container *container;

        LIST_FOREACH(container, &engine->containers, link)
                if (container->address.s_addr == address)
                        return true;
        return false;
}

int engine_address_allocate(Engine *engine, struct in_addr *ret_address, Error *error)
{
        uint32_t size = UINT32_C(1) << (32 - engine->bridge.prefix);
        uint32_t first = ntohl(engine->bridge.gateway.s_addr) & ~(size - 1);

        for (uint32_t i = 1; i < size - 1; i++) {
                in_addr_t address = htonl(first + i);
                if (address == engine->bridge.gateway.s_addr || address_taken(engine, address))
                        continue;
                ret_address->s_addr = address;
                return 0;
        }
        return error_set(error, OUTCOME_FAILED, "no available IPv4 addresses on this network's address pools: bridge");
}

void container_endpoint(const Container *container, NetworkEndpoint *ret_endpoint)
{
        *ret_endpoint = (NetworkEndpoint) { .name = "eth0", .address = container->address };
        snprintf(ret_endpoint->host_name, sizeof(ret_endpoint->host_name), "veth%.7s", container->id);
        network_mac_of_address(container->address, ret_endpoint->mac);
}

/* --- /etc/resolv.conf, /etc/hosts, /etc/hostname ------------------------------------------------------------------ */

static bool is_loopback_server(const char *address)
{
        return str_after_prefix(address, "127.") || str_equal(address, "::1");
}

static bool has_loopback_server(const char *text)
{
        return strstr(text, "nameserver 127.") || strstr(text, "nameserver ::1");
}

/* The host's file without the servers only the host can reach. */
static int copy_host_resolvers(Buffer *output, bool isolated, bool take_servers, bool take_search, bool take_options)
{
        CLEANUP_FREE char *text = NULL;

        if (file_read_at(AT_FDCWD, RESOLV_CONF, 65536, &text, NULL) < 0)
                text = strdup("");
        if (isolated && text && has_loopback_server(text)) {
                char *uplink = NULL;
                if (file_read_at(AT_FDCWD, RESOLVED_UPLINK_CONF, 65536, &uplink, NULL) >= 0) {
                        free(text);
                        text = uplink;
                }
        }
        char *rest = text;
        for (char *line; (line = strsep(&rest, "\n"));) {
                char address[128];
                if (sscanf(line, " nameserver %127s", address) == 1) {
                        if (take_servers && !(isolated && is_loopback_server(address)))
                                buffer_printf(output, "%s\n", line);
                } else if (str_after_prefix(line, "search") || str_after_prefix(line, "domain")) {
                        if (take_search)
                                buffer_printf(output, "%s\n", line);
                } else if (str_after_prefix(line, "options") && take_options)
                        buffer_printf(output, "%s\n", line);
        }
        return 0;
}

static void append_list(Buffer *output, const char *word, const json_t *list, char *const *fallback, bool one_line)
{
        CLEANUP_STRV char **given = json_to_strv(list);
        char *const *values = strv_length(given) > 0 ? given : fallback;

        if (strv_length(values) == 0)
                return;
        if (one_line)
                buffer_append_string(output, word);
        for (; *values; values++)
                buffer_printf(output, one_line ? "%s %s" : "%s %s\n", one_line ? "" : word, *values);
        if (one_line)
                buffer_append_string(output, "\n");
}

static int write_resolv_conf(const Container *container, int directory)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        const json_t *host = container_host_config(container);
        const Config *config = container->engine->config;
        const json_t *dns = json_get_array(host, "Dns"), *search = json_get_array(host, "DnsSearch"),
                     *options = json_get_array(host, "DnsOptions");
        bool isolated = !str_equal(container_network_mode(container), "host");

        append_list(&text, "nameserver", dns, config->dns, false);
        append_list(&text, "search", search, config->dns_search, true);
        append_list(&text, "options", options, config->dns_options, true);
        copy_host_resolvers(&text, isolated, json_array_size(dns) == 0 && strv_length(config->dns) == 0,
                            json_array_size(search) == 0 && strv_length(config->dns_search) == 0,
                            json_array_size(options) == 0 && strv_length(config->dns_options) == 0);
        return file_replace_volatile_at(directory, "resolv.conf", text.data ? text.data : "", text.size, 0644);
}

static int write_hosts(const Container *container, int directory)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        const char *hostname = json_get_string_or(container_config(container), "Hostname", "");
        const char *domain = json_get_string_or(container_config(container), "Domainname", "");
        char address[INET_ADDRSTRLEN];
        json_t *entry;
        size_t i;

        if (str_equal(container_network_mode(container), "host")) {
                CLEANUP_FREE char *hosts = NULL;
                if (file_read_at(AT_FDCWD, "/etc/hosts", 1 << 20, &hosts, NULL) >= 0)
                        buffer_append_string(&text, hosts);
        } else
                buffer_append_string(&text, "127.0.0.1\tlocalhost\n"
                                            "::1\tlocalhost ip6-localhost ip6-loopback\n"
                                            "fe00::\tip6-localnet\n"
                                            "ff00::\tip6-mcastprefix\n"
                                            "ff02::1\tip6-allnodes\n"
                                            "ff02::2\tip6-allrouters\n");
        json_array_foreach(json_object_get(container_host_config(container), "ExtraHosts"), i, entry) {
                CLEANUP_FREE char *name = strdup(json_string_value(entry));
                char *colon = name ? strpbrk(name, ":=") : NULL;
                if (!colon)
                        continue;
                *colon = 0;
                inet_ntop(AF_INET, &container->engine->bridge.gateway, address, sizeof(address));
                buffer_printf(&text, "%s\t%s\n", str_equal(colon + 1, "host-gateway") ? address : colon + 1, name);
        }
        if (container->address.s_addr != 0) {
                inet_ntop(AF_INET, &container->address, address, sizeof(address));
                if (*domain)
                        buffer_printf(&text, "%s\t%s.%s %s\n", address, hostname, domain, hostname);
                else
                        buffer_printf(&text, "%s\t%s\n", address, hostname);
        }
        return file_replace_volatile_at(directory, "hosts", text.data ? text.data : "", text.size, 0644);
}

int container_write_network_files(Container *container)
{
        CLEANUP_FREE char *path = container_path(container, NULL);
        if (!path)
                return -ENOMEM;
        CLEANUP_CLOSE int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0)
                return -errno;
        CLEANUP_FREE char *hostname =
                str_printf("%s\n", json_get_string_or(container_config(container), "Hostname", ""));
        if (!hostname)
                return -ENOMEM;

        int r = file_replace_volatile_at(directory, "hostname", hostname, strlen(hostname), 0644);
        if (r >= 0)
                r = write_hosts(container, directory);
        return r < 0 ? r : write_resolv_conf(container, directory);
}

/* --- What inspect shows ------------------------------------------------------------------------------------------- */

static json_t *endpoint_settings(const Container *container)
{
        char address[INET_ADDRSTRLEN] = "", gateway[INET_ADDRSTRLEN] = "", mac[18] = "";
        const NetworkBridge *bridge = &container->engine->bridge;
        bool on = container->address.s_addr != 0;

        if (on) {
                uint8_t bytes[6];
                inet_ntop(AF_INET, &container->address, address, sizeof(address));
                inet_ntop(AF_INET, &bridge->gateway, gateway, sizeof(gateway));
                network_mac_of_address(container->address, bytes);
                snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3],
                         bytes[4], bytes[5]);
        }
        return json_pack("{sn sn sn ss sn ss ss ss ss si ss ss si sn}", "IPAMConfig", "Links", "Aliases", "MacAddress",
                         mac, "DriverOpts", "NetworkID", "", "EndpointID", "", "Gateway", gateway, "IPAddress", address,
                         "IPPrefixLen", on ? bridge->prefix : 0, "IPv6Gateway", "", "GlobalIPv6Address", "",
                         "GlobalIPv6PrefixLen", 0, "DNSNames");
}

json_t *container_network_settings(const Container *container)
{
        const char *mode = container_network_mode(container);
        CLEANUP_JSON json_t *endpoint = endpoint_settings(container);
        CLEANUP_JSON json_t *networks = json_object();

        if (!str_after_prefix(mode, "container:"))
                json_object_set(networks, mode, endpoint);
        return json_pack("{ss ss s{} ss sn sn ss ss ss si ss ss si ss sO sb ss si}", "Bridge", "", "SandboxID", "",
                         "Ports", "SandboxKey", "", "SecondaryIPAddresses", "SecondaryIPv6Addresses", "EndpointID", "",
                         "Gateway", json_get_string(endpoint, "Gateway"), "GlobalIPv6Address", "",
                         "GlobalIPv6PrefixLen", 0, "IPAddress", json_get_string(endpoint, "IPAddress"), "MacAddress",
                         json_get_string(endpoint, "MacAddress"), "IPPrefixLen",
                         (int) json_get_int(endpoint, "IPPrefixLen", 0), "IPv6Gateway", "", "Networks", networks,
                         "HairpinMode", 0, "LinkLocalIPv6Address", "", "LinkLocalIPv6PrefixLen", 0);
}
