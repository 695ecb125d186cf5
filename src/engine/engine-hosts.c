/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The three files of /etc that describe the network to a container, and the files its resolver reads: one with its
 * networks and servers (<exec root>/container/ID/resolver), one for each network with the names on it (<exec
 * root>/network/ID). The formats of the latter are described in include/berth/monitor.h. */
#include <arpa/inet.h>
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/monitor.h"
#include "engine-private.h"

#define RESOLV_CONF "/etc/resolv.conf"
/* What systemd-resolved talks to itself: its stub at 127.0.0.53 can't be reached from another namespace. */
#define RESOLVED_UPLINK_CONF "/run/systemd/resolve/resolv.conf"
#define HOSTS_SIZE_MAX (1u << 20)

static bool is_loopback_server(const char *address)
{
        return str_after_prefix(address, "127.") || str_equal(address, "::1");
}

static bool has_loopback_server(const char *text)
{
        return strstr(text, "nameserver 127.") || strstr(text, "nameserver ::1");
}

/* The host asks a server on its own loopback, such as systemd-resolved, which alone knows whom to ask for what. */
static bool host_server_is_local(void)
{
        CLEANUP_FREE char *text = NULL;

        return file_read_at(AT_FDCWD, RESOLV_CONF, 65536, &text, NULL) >= 0 && has_loopback_server(text);
}

static bool has_own_servers(const Container *container)
{
        return json_array_size(json_object_get(container_host_config(container), "Dns")) > 0 ||
               strv_length(container->engine->config->dns) > 0;
}

/* For the names of its networks; and to reach a server that can be reached from the host alone. */
bool container_needs_resolver(const Container *container)
{
        const Endpoint *endpoint;

        LIST_FOREACH(endpoint, &container->endpoints, link)
                if (network_has_links(endpoint->network) && network_has_names(endpoint->network))
                        return true;
        return container_has_links(container) && !has_own_servers(container) && host_server_is_local();
}

/* --- /etc/resolv.conf -----------------------------------------------------------------------------------------------
 */

typedef struct ResolvConf {
        Buffer servers, search, options; /* blank before each word */
} ResolvConf;

static void resolv_conf_clear(ResolvConf *conf)
{
        buffer_clear(&conf->servers);
        buffer_clear(&conf->search);
        buffer_clear(&conf->options);
}

static void add_words(Buffer *buffer, char *const *words)
{
        for (; words && *words; words++)
                buffer_printf(buffer, " %s", *words);
}

static void set_words(Buffer *buffer, char *rest)
{
        buffer_clear(buffer);
        for (char *word; (word = strsep(&rest, " \t"));)
                if (*word)
                        buffer_printf(buffer, " %s", word);
}

/* The host's file; ISOLATED: without the servers only the host can reach. */
static void read_host(ResolvConf *conf, bool isolated)
{
        CLEANUP_FREE char *text = NULL;

        if (file_read_at(AT_FDCWD, RESOLV_CONF, 65536, &text, NULL) < 0)
                return;
        if (isolated && has_loopback_server(text)) {
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
                        if (!isolated || !is_loopback_server(address))
                                buffer_printf(&conf->servers, " %s", address);
                } else if (str_after_prefix(line, "search ") || str_after_prefix(line, "domain "))
                        set_words(&conf->search, line + strlen("search "));
                else if (str_after_prefix(line, "options "))
                        set_words(&conf->options, line + strlen("options "));
        }
}

/* What the container, or else the configuration, says instead of the host's. */
static int override(const Container *container, const char *key, char *const *fallback, Buffer *words)
{
        CLEANUP_STRV char **given = json_to_strv(json_get_array(container_host_config(container), key));

        if (!given)
                return -ENOMEM;
        char *const *values = strv_length(given) > 0 ? given : fallback;
        if (strv_length(values) == 0)
                return 0;
        buffer_clear(words);
        add_words(words, values);
        return 0;
}

static int make_resolv_conf(const Container *container, bool resolver, Buffer *text)
{
        CLEANUP(resolv_conf_clear) ResolvConf conf = { 0 };
        const Config *config = container->engine->config;
        bool isolated = !str_equal(container_network_mode(container), "host");

        read_host(&conf, isolated);
        if (override(container, "Dns", config->dns, &conf.servers) < 0 ||
            override(container, "DnsSearch", config->dns_search, &conf.search) < 0 ||
            override(container, "DnsOptions", config->dns_options, &conf.options) < 0)
                return -ENOMEM;
        if (resolver && !(conf.options.data && strstr(conf.options.data, " ndots:")))
                buffer_append_string(&conf.options, " ndots:0");
        char *rest = resolver ? NULL : conf.servers.data;
        if (resolver)
                buffer_append_string(text, "nameserver " RESOLVER_ADDRESS "\n");
        for (char *word; (word = strsep(&rest, " "));)
                if (*word)
                        buffer_printf(text, "nameserver %s\n", word);
        /* "." stands for none at all. */
        if (conf.search.size > 0 && !str_equal(conf.search.data, " ."))
                buffer_printf(text, "search%s\n", conf.search.data);
        if (conf.options.size > 0)
                buffer_printf(text, "options%s\n", conf.options.data);
        return buffer_append_string(text, "");
}

/* --- /etc/hosts -----------------------------------------------------------------------------------------------------
 */

/* The first gateway of the family, as the host is reached by. */
static bool host_address(const Container *container, char *ret_text)
{
        const Endpoint *endpoint = container_gateway(container);
        const Network *bridge = network_by_name(container->engine, "bridge");
        const Config *config = container->engine->config;

        if (config->host_gateway) {
                snprintf(ret_text, INET6_ADDRSTRLEN, "%s", config->host_gateway);
                return true;
        }
        if (bridge && bridge->bridge.prefix > 0)
                return inet_ntop(AF_INET, &bridge->bridge.gateway, ret_text, INET6_ADDRSTRLEN);
        return endpoint && inet_ntop(AF_INET, &endpoint->network->bridge.gateway, ret_text, INET6_ADDRSTRLEN);
}

static void add_extra_hosts(const Container *container, Buffer *text)
{
        json_t *entry;
        size_t i;

        json_array_foreach(json_object_get(container_host_config(container), "ExtraHosts"), i, entry) {
                CLEANUP_FREE char *name = strdup(json_string_value(entry));
                char *colon = name ? strpbrk(name, ":=") : NULL, gateway[INET6_ADDRSTRLEN];

                if (!colon)
                        continue;
                *colon++ = 0;
                if (*colon == '[' && str_has_suffix(colon, "]")) {
                        colon++;
                        colon[strlen(colon) - 1] = 0;
                }
                if (!str_equal(colon, "host-gateway"))
                        buffer_printf(text, "%s\t%s\n", colon, name);
                else if (host_address(container, gateway))
                        buffer_printf(text, "%s\t%s\n", gateway, name);
        }
}

/* Of links on the default bridge. */
static void add_links(const Container *container, Buffer *text)
{
        json_t *entry;
        size_t i;

        json_array_foreach(json_object_get(container_host_config(container), "Links"), i, entry) {
                CLEANUP(legacy_link_clear) LegacyLink link = { 0 };

                if (!legacy_link_read(container, entry, &link))
                        continue;
                const char *hostname = json_get_string_or(container_config(link.target), "Hostname", "");
                buffer_printf(text, "%s\t%s", link.address, link.alias);
                if (!str_equal(hostname, link.alias))
                        buffer_printf(text, " %s", hostname);
                if (!str_equal(link.target->name, link.alias))
                        buffer_printf(text, " %s", link.target->name);
                buffer_append_string(text, "\n");
        }
}

static void add_own_address(const Container *container, const Endpoint *endpoint, Buffer *text)
{
        const char *hostname = json_get_string_or(container_config(container), "Hostname", "");
        const char *domain = json_get_string_or(container_config(container), "Domainname", "");
        char address[INET6_ADDRSTRLEN];
        const struct {
                bool there;
                int family;
                const void *bytes;
        } addresses[] = { { endpoint->side.address.s_addr != 0, AF_INET, &endpoint->side.address },
                          { !IN6_IS_ADDR_UNSPECIFIED(&endpoint->side.address6), AF_INET6, &endpoint->side.address6 } };

        for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
                if (!addresses[i].there)
                        continue;
                inet_ntop(addresses[i].family, addresses[i].bytes, address, sizeof(address));
                if (*domain)
                        buffer_printf(text, "%s\t%s.%s %s\n", address, hostname, domain, hostname);
                else
                        buffer_printf(text, "%s\t%s\n", address, hostname);
        }
}

static int make_hosts(const Container *container, Buffer *text)
{
        const Endpoint *endpoint;

        if (str_equal(container_network_mode(container), "host")) {
                CLEANUP_FREE char *hosts = NULL;
                if (file_read_at(AT_FDCWD, "/etc/hosts", HOSTS_SIZE_MAX, &hosts, NULL) >= 0)
                        buffer_append_string(text, hosts);
        } else
                buffer_append_string(text, "127.0.0.1\tlocalhost\n"
                                           "::1\tlocalhost ip6-localhost ip6-loopback\n"
                                           "fe00::\tip6-localnet\n"
                                           "ff00::\tip6-mcastprefix\n"
                                           "ff02::1\tip6-allnodes\n"
                                           "ff02::2\tip6-allrouters\n");
        add_extra_hosts(container, text);
        add_links(container, text);
        LIST_FOREACH(endpoint, &container->endpoints, link)
                add_own_address(container, endpoint, text);
        return buffer_append_string(text, "");
}

/* --- Writing
 * ---------------------------------------------------------------------------------------------------------- */

int container_write_network_files(Container *container)
{
        CLEANUP_FREE char *path = container_path(container, NULL);
        CLEANUP_BUFFER Buffer hosts = { 0 }, resolv = { 0 };
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
                r = make_hosts(container, &hosts);
        if (r >= 0)
                r = file_replace_volatile_at(directory, "hosts", hosts.data, hosts.size, 0644);
        if (r >= 0)
                r = make_resolv_conf(container, container_needs_resolver(container), &resolv);
        if (r >= 0)
                r = file_replace_volatile_at(directory, "resolv.conf", resolv.data, resolv.size, 0644);
        if (r < 0 || !container_needs_resolver(container))
                return r;
        return container_write_resolver(container);
}

/* In place: the container has the file mounted. */
static int overwrite(const Container *container, const char *name, const char *text, size_t size)
{
        CLEANUP_FREE char *path = container_path(container, name);
        CLEANUP_CLOSE int fd = path ? open(path, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC) : -EBADF;

        if (!path)
                return -ENOMEM;
        return fd < 0 ? -errno : fd_write_all(fd, text, size);
}

static bool has_address(const Container *container, const char *text)
{
        const Endpoint *endpoint;
        struct in_addr four;
        struct in6_addr six;
        bool is_four = inet_pton(AF_INET, text, &four) == 1, is_six = inet_pton(AF_INET6, text, &six) == 1;

        LIST_FOREACH(endpoint, &container->endpoints, link)
                if ((is_four && endpoint->side.address.s_addr == four.s_addr) ||
                    (is_six && IN6_ARE_ADDR_EQUAL(&endpoint->side.address6, &six)))
                        return true;
        return false;
}

/* A line of the container's own name, by an address it no longer has. */
static bool is_stale(const Container *container, const char *line)
{
        const char *hostname = json_get_string_or(container_config(container), "Hostname", "");
        char address[INET6_ADDRSTRLEN], name[NAME_MAX];

        return sscanf(line, "%45s %254s", address, name) == 2 && strncmp(name, hostname, strlen(hostname)) == 0 &&
               !has_address(container, address) && !is_loopback_server(address);
}

static int update_hosts(const Container *container)
{
        CLEANUP_FREE char *path = container_path(container, "hosts");
        CLEANUP_FREE char *old = NULL;
        CLEANUP_BUFFER Buffer text = { 0 };
        const Endpoint *endpoint;

        if (!path || file_read_at(AT_FDCWD, path, HOSTS_SIZE_MAX, &old, NULL) < 0)
                return -ENOENT;
        char *rest = old;
        for (char *line; (line = strsep(&rest, "\n"));)
                if (*line && !is_stale(container, line))
                        buffer_printf(&text, "%s\n", line);
        LIST_FOREACH(endpoint, &container->endpoints, link) {
                CLEANUP_BUFFER Buffer own = { 0 };
                add_own_address(container, endpoint, &own);
                if (own.size > 0 && !(text.data && strstr(text.data, own.data)))
                        buffer_append(&text, own.data, own.size);
        }
        return overwrite(container, "hosts", text.data ? text.data : "", text.size);
}

int container_forget_host(const Container *container, const char *name)
{
        CLEANUP_FREE char *path = container_path(container, "hosts"), *old = NULL;
        CLEANUP_BUFFER Buffer text = { 0 };
        size_t length = strlen(name);

        if (!path || file_read_at(AT_FDCWD, path, HOSTS_SIZE_MAX, &old, NULL) < 0)
                return -ENOENT;
        char *rest = old;
        for (char *line; (line = strsep(&rest, "\n"));) {
                const char *first = line + strcspn(line, " \t");

                first += strspn(first, " \t");
                if (*line && (strncmp(first, name, length) != 0 || (first[length] && !strchr(" \t", first[length]))))
                        buffer_printf(&text, "%s\n", line);
        }
        return overwrite(container, "hosts", text.data ? text.data : "", text.size);
}

static int update_resolv_conf(const Container *container, bool resolver)
{
        CLEANUP_FREE char *path = container_path(container, "resolv.conf");
        CLEANUP_FREE char *old = NULL;
        CLEANUP_BUFFER Buffer before = { 0 }, after = { 0 };
        int r = make_resolv_conf(container, !resolver, &before);

        if (r >= 0)
                r = make_resolv_conf(container, resolver, &after);
        if (r < 0 || !path)
                return r < 0 ? r : -ENOMEM;
        /* Edited, or right already. */
        if (file_read_at(AT_FDCWD, path, HOSTS_SIZE_MAX, &old, NULL) < 0 || !str_equal(old, before.data))
                return 0;
        return overwrite(container, "resolv.conf", after.data, after.size);
}

int container_update_network_files(Container *container)
{
        int r = update_hosts(container);

        if (r < 0 || !container_needs_resolver(container))
                return r;
        r = container_write_resolver(container);
        return r < 0 ? r : update_resolv_conf(container, true);
}

/* --- What the resolver reads
 * ------------------------------------------------------------------------------------------ */

static void add_aliases(const json_t *links, Buffer *text)
{
        json_t *entry;
        size_t i;

        json_array_foreach((json_t *) links, i, entry) {
                CLEANUP_FREE char *name = strdup(json_string_value(entry));
                char *colon = name ? strrchr(name, ':') : NULL;

                if (!colon || !colon[1])
                        continue;
                *colon = 0;
                const char *slash = strrchr(colon + 1, '/');
                const char *target = name[0] == '/' ? name + 1 : name;
                buffer_printf(text, "alias %s %s\n", slash ? slash + 1 : colon + 1, target);
        }
}

static void add_legacy_aliases(const Container *container, Buffer *text)
{
        CLEANUP_JSON json_t *links = container_links(container);

        add_aliases(json_is_array(links) ? links : json_object_get(container_host_config(container), "Links"), text);
}

int container_write_resolver(Container *container)
{
        CLEANUP_FREE char *path = container_runtime_path(container, MONITOR_RESOLVER_FILE);
        CLEANUP_STRV char **dns = json_to_strv(json_get_array(container_host_config(container), "Dns"));
        CLEANUP_BUFFER Buffer text = { 0 };
        bool outside = false;
        const Endpoint *endpoint;

        if (!path || !dns)
                return -ENOMEM;
        LIST_FOREACH(endpoint, &container->endpoints, link) {
                outside = outside || !endpoint->network->bridge.internal;
                if (!network_has_names(endpoint->network))
                        continue;
                CLEANUP_FREE char *names = network_names_path(container->engine, endpoint->network->id);
                buffer_printf(&text, "network %s\n", names ? names : "");
                add_aliases(json_object_get(json_object_get(container_networks(container), endpoint->network->name),
                                            "Links"),
                            &text);
        }
        add_legacy_aliases(container, &text);
        char *const *servers = strv_length(dns) > 0 ? dns : container->engine->config->dns;
        for (; outside && servers && *servers; servers++)
                buffer_printf(&text, "server %s\n", *servers);
        if (!outside)
                buffer_append_string(&text, "closed\n");
        buffer_append_string(&text, "");
        return file_replace_volatile_at(AT_FDCWD, path, text.data, text.size, 0600);
}

static void add_names(const Endpoint *endpoint, Buffer *text)
{
        const Container *container = endpoint->container;
        char four[INET_ADDRSTRLEN] = "-", six[INET6_ADDRSTRLEN] = "-";
        const json_t *settings = json_object_get(container_networks(container), endpoint->network->name);
        CLEANUP_JSON json_t *names = container_dns_names(container, endpoint->network, settings);
        json_t *name;
        size_t i;

        if (endpoint->side.address.s_addr != 0)
                inet_ntop(AF_INET, &endpoint->side.address, four, sizeof(four));
        if (!IN6_IS_ADDR_UNSPECIFIED(&endpoint->side.address6))
                inet_ntop(AF_INET6, &endpoint->side.address6, six, sizeof(six));
        buffer_printf(text, "%s %s", four, six);
        json_array_foreach(names, i, name)
                if (!strpbrk(json_string_value(name), " \t\n"))
                        buffer_printf(text, " %s", json_string_value(name));
        buffer_append_string(text, "\n");
}

int network_write_names(Network *network)
{
        CLEANUP_FREE char *path = network_names_path(network->engine, network->id);
        CLEANUP_BUFFER Buffer text = { 0 };
        const Endpoint *endpoint;

        if (!path)
                return -ENOMEM;
        buffer_printf(&text, "name %s\n", network->name);
        LIST_FOREACH(endpoint, &network->endpoints, network_link)
                if (!endpoint->moving)
                        add_names(endpoint, &text);
        return file_replace_volatile_at(AT_FDCWD, path, text.data, text.size, 0600);
}
