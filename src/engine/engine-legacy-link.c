/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Links on the default bridge, "name:alias" or "name" in HostConfig.Links, by which a container learns of others from
 * its /etc/hosts and from variables. The alias may be a path, as Docker shows it: "/own/alias" is a second name of that
 * container, which only the one with the link knows it by. On other networks there are names instead. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "berth/json.h"
#include "engine-private.h"

static int link_parse(const char *text, char **ret_name, char **ret_alias)
{
        size_t length = strcspn(text, ":");
        const char *alias = text[length] ? strrchr(text, ':') + 1 : text;
        const char *slash = strrchr(alias, '/');
        CLEANUP_FREE char *name = strndup(text, length), *copy = strdup(slash ? slash + 1 : alias);

        if (!name || !copy)
                return -ENOMEM;
        *ret_name = TAKE_PTR(name);
        *ret_alias = TAKE_PTR(copy);
        return 0;
}

bool legacy_link_read(const Container *container, const json_t *entry, LegacyLink *ret)
{
        const Network *bridge = network_by_name(container->engine, "bridge");
        CLEANUP_FREE char *name = NULL, *alias = NULL;

        if (!bridge || !container_endpoint_on(container, bridge) ||
            link_parse(json_string_value(entry), &name, &alias) < 0)
                return false;
        *ret = (LegacyLink) { 0 };
        if (engine_container_find(container->engine, name, &ret->target, NULL) != 0)
                return false;
        const Endpoint *endpoint = container_endpoint_on(ret->target, bridge);
        if (!endpoint)
                return false;
        inet_ntop(AF_INET, &endpoint->side.address, ret->address, sizeof(ret->address));
        ret->alias = TAKE_PTR(alias);
        return true;
}

void legacy_link_clear(LegacyLink *link)
{
        free(link->alias);
}

/* --- As names of containers ----------------------------------------------------------------------------------------
 */

static json_t *links_of(const Container *container)
{
        return str_equal(container_network_mode(container), "bridge")
                       ? json_object_get(container_host_config(container), "Links")
                       : NULL;
}

json_t *container_links(const Container *container)
{
        CLEANUP_JSON json_t *list = json_array();
        json_t *entry;
        size_t i;

        json_array_foreach(links_of(container), i, entry) {
                CLEANUP_FREE char *name = NULL, *alias = NULL;
                Container *target;

                if (link_parse(json_string_value(entry), &name, &alias) < 0)
                        return NULL;
                if (engine_container_find(container->engine, name, &target, NULL) == 0)
                        json_array_append_new(list, json_sprintf("/%s:/%s/%s", target->name, container->name, alias));
        }
        return json_array_size(list) > 0 ? TAKE_PTR(list) : json_null();
}

int engine_unlink(Engine *engine, const char *name, Error *error)
{
        const char *slash = strrchr(name, '/');
        CLEANUP_FREE char *parent = slash ? strndup(name, (size_t) (slash - name)) : NULL;
        Container *container;
        json_t *entry, *links;
        size_t i;

        if (!slash) {
                int r = engine_container_find(engine, name, &container, error);
                return r != 0 ? r
                              : error_set(error, OUTCOME_FAILED,
                                          "Conflict, cannot remove the default link name of the container");
        }
        if (!parent)
                return -ENOMEM;
        if (engine_container_find(engine, parent, &container, NULL) != 0)
                return error_set(error, OUTCOME_NOT_FOUND, "No such container: %s", name);
        links = links_of(container);
        json_array_foreach(links, i, entry) {
                CLEANUP_FREE char *target = NULL, *alias = NULL;
                int r = link_parse(json_string_value(entry), &target, &alias);

                if (r < 0)
                        return r;
                if (!str_equal(alias, slash + 1))
                        continue;
                json_array_remove(links, i);
                r = container_save(container, true);
                if (r >= 0 && container_is_running(container))
                        r = container_forget_host(container, alias);
                return r;
        }
        return error_set(error, OUTCOME_NOT_FOUND, "No such container: %s", name);
}

/* --- Variables ---------------------------------------------------------------------------------------------------- */

typedef struct ExposedPort {
        uint16_t number;
        uint8_t protocol;
} ExposedPort;

static int compare_ports(const void *a, const void *b)
{
        const ExposedPort *left = a, *right = b;

        if (left->number != right->number)
                return left->number < right->number ? -1 : 1;
        return (right->protocol == IPPROTO_TCP) - (left->protocol == IPPROTO_TCP);
}

static ExposedPort *exposed_ports(const Container *container, size_t *ret_n)
{
        json_t *exposed = json_object_get(container_config(container), "ExposedPorts"), *ignored;
        ExposedPort *ports = calloc(json_object_size(exposed) + 1, sizeof(*ports));
        const char *port;

        *ret_n = 0;
        if (!ports)
                return NULL;
        json_object_foreach(exposed, port, ignored)
                *ret_n += port_parse(port, &ports[*ret_n].number, &ports[*ret_n].protocol);
        qsort(ports, *ret_n, sizeof(*ports), compare_ports);
        return ports;
}

/* The variables' common beginning: upper case, and "_" for "-". */
static char *prefix_of(const char *alias)
{
        char *prefix = str_upper(strdup(alias));

        for (char *p = prefix; p && *p; p++)
                if (*p == '-')
                        *p = '_';
        return prefix;
}

__attribute__((format(printf, 2, 3))) static void add_variable(json_t *list, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        json_array_append_new(list, json_vsprintf(format, arguments));
        va_end(arguments);
}

static void add_port(json_t *list, const char *prefix, const char *address, ExposedPort port)
{
        const char *protocol = port_protocol_name(port.protocol);
        CLEANUP_FREE char *upper = prefix_of(protocol);
        CLEANUP_FREE char *name = upper ? str_printf("%s_PORT_%u_%s", prefix, port.number, upper) : NULL;

        if (!name)
                return;
        add_variable(list, "%s=%s://%s:%u", name, protocol, address, port.number);
        add_variable(list, "%s_ADDR=%s", name, address);
        add_variable(list, "%s_PORT=%u", name, port.number);
        add_variable(list, "%s_PROTO=%s", name, protocol);
}

/* Three ports and more in a row are also named by the first and the last. */
static void add_range(json_t *list, const char *prefix, const char *address, ExposedPort first, ExposedPort last)
{
        const char *from = port_protocol_name(first.protocol), *to = port_protocol_name(last.protocol);
        CLEANUP_FREE char *upper_from = prefix_of(from), *upper_to = prefix_of(to);

        if (!upper_from || !upper_to)
                return;
        add_variable(list, "%s_PORT_%u_%s_START=%s://%s:%u", prefix, first.number, upper_from, from, address,
                     first.number);
        add_variable(list, "%s_PORT_%u_%s_ADDR=%s", prefix, first.number, upper_from, address);
        add_variable(list, "%s_PORT_%u_%s_PROTO=%s", prefix, first.number, upper_from, from);
        add_variable(list, "%s_PORT_%u_%s_PORT_START=%u", prefix, first.number, upper_from, first.number);
        add_variable(list, "%s_PORT_%u_%s_END=%s://%s:%u", prefix, first.number, upper_to, to, address, last.number);
        add_variable(list, "%s_PORT_%u_%s_PORT_END=%u", prefix, first.number, upper_to, last.number);
}

static void add_ranges(json_t *list, const char *prefix, const char *address, const ExposedPort *ports, size_t n)
{
        for (size_t i = 0, end; i < n; i = end) {
                for (end = i + 1; end < n && ports[end].number <= ports[i].number + (end - i); end++)
                        ;
                if (end - i > 2)
                        add_range(list, prefix, address, ports[i], ports[end - 1]);
                else
                        end = i + 1;
        }
}

static void add_link(const Container *container, const LegacyLink *link, json_t *list)
{
        CLEANUP_FREE char *prefix = prefix_of(link->alias);
        size_t n = 0, i;
        CLEANUP_FREE ExposedPort *ports = exposed_ports(link->target, &n);
        json_t *entry;

        if (!prefix || !ports)
                return;
        if (n > 0)
                add_variable(list, "%s_PORT=%s://%s:%u", prefix, port_protocol_name(ports[0].protocol), link->address,
                             ports[0].number);
        add_ranges(list, prefix, link->address, ports, n);
        for (i = 0; i < n; i++)
                add_port(list, prefix, link->address, ports[i]);
        add_variable(list, "%s_NAME=/%s/%s", prefix, container->name, link->alias);
        json_array_foreach(json_object_get(container_config(link->target), "Env"), i, entry) {
                const char *variable = json_string_value(entry);

                if (variable && strchr(variable, '=') && !str_after_prefix(variable, "PATH=") &&
                    !str_after_prefix(variable, "HOME="))
                        add_variable(list, "%s_ENV_%s", prefix, variable);
        }
}

json_t *container_link_environment(const Container *container)
{
        json_t *list = json_array(), *entry;
        size_t i;

        json_array_foreach(json_object_get(container_host_config(container), "Links"), i, entry) {
                CLEANUP(legacy_link_clear) LegacyLink link = { 0 };

                if (list && legacy_link_read(container, entry, &link) && container_is_running(link.target))
                        add_link(container, &link, list);
        }
        return list;
}
