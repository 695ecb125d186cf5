/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Links on the default bridge, "name:alias" or "name" in HostConfig.Links, by which a container learns of others from
 * its /etc/hosts and from variables. A link is a second name of its target, "own name/alias", for whoever asks the
 * engine for a container. On other networks there are names instead.
 *
 * The record has "ID:NAME:ALIAS", so that a link outlives a renaming of its target; NAME is what the target was called
 * when the link was made, and whoever is called so now is the target once that container is gone. A link without an ID,
 * "NAME:ALIAS" or as Docker shows it "/NAME:/OWN/ALIAS", is one of an earlier version's record. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "berth/json.h"
#include "engine-private.h"

typedef struct Link {
        char *id; /* owned: the others are parts of it */
        const char *name, *alias;
} Link;

static void link_clear(Link *link)
{
        free(link->id);
}

static const char *after_last_slash(const char *text)
{
        const char *slash = strrchr(text, '/');

        return slash ? slash + 1 : text;
}

static int link_read(const json_t *entry, Link *ret)
{
        char *rest = strdup(json_string_value(entry));

        if (!rest)
                return -ENOMEM;
        *ret = (Link) { .id = strsep(&rest, ":") };
        ret->name = rest ? strsep(&rest, ":") : ret->id;
        ret->alias = rest;
        if (!ret->alias) {
                ret->alias = after_last_slash(ret->name);
                ret->name = ret->id + (ret->id[0] == '/');
        }
        return 0;
}

static Container *link_target(Engine *engine, const Link *link)
{
        Container *target;

        if (engine_container_find(engine, link->id, &target, NULL) == 0)
                return target;
        return engine_container_find(engine, link->name, &target, NULL) == 0 && str_equal(target->name, link->name)
                       ? target
                       : NULL;
}

static const char *target_name(Engine *engine, const Link *link)
{
        const Container *target = link_target(engine, link);

        return target ? target->name : link->name;
}

bool legacy_link_read(const Container *container, const json_t *entry, LegacyLink *ret)
{
        const Network *bridge = network_by_name(container->engine, "bridge");
        CLEANUP(link_clear) Link link = { 0 };

        if (!bridge || !container_endpoint_on(container, bridge) || link_read(entry, &link) < 0)
                return false;
        *ret = (LegacyLink) { .target = link_target(container->engine, &link) };
        const Endpoint *endpoint = ret->target ? container_endpoint_on(ret->target, bridge) : NULL;
        if (!endpoint)
                return false;
        inet_ntop(AF_INET, &endpoint->side.address, ret->address, sizeof(ret->address));
        ret->alias = strdup(link.alias);
        return ret->alias;
}

void legacy_link_clear(LegacyLink *link)
{
        free(link->alias);
}

/* --- Making them -------------------------------------------------------------------------------------------------- */

/* "NAME:ALIAS", "NAME", or "/NAME:/OWN/ALIAS" as Docker shows it. The alias may be empty: then there is no link. */
static int read_wanted(const char *wanted, char **ret_name, char **ret_alias, Error *error)
{
        size_t length = strcspn(wanted, ":");
        const char *alias = wanted[length] ? wanted + length + 1 : wanted;

        if (str_empty(wanted))
                return error_set(error, OUTCOME_FAILED, "empty string specified for links");
        if (strchr(wanted + length + (wanted[length] != 0), ':'))
                return error_set(error, OUTCOME_FAILED, "bad format for links: %s", wanted);
        CLEANUP_FREE char *name = strndup(wanted, length);
        *ret_alias = strdup(wanted[0] == '/' ? after_last_slash(alias) : alias + strspn(alias, "/"));
        *ret_name = TAKE_PTR(name);
        return *ret_name && *ret_alias ? 0 : -ENOMEM;
}

/* The first link of an alias counts. */
static bool has_alias(const json_t *links, const char *alias)
{
        json_t *entry;
        size_t i;

        json_array_foreach((json_t *) links, i, entry)
                if (str_equal(strrchr(json_string_value(entry), ':') + 1, alias))
                        return true;
        return false;
}

static int add_wanted(Engine *engine, const char *wanted, json_t *links, Error *error)
{
        CLEANUP_FREE char *name = NULL, *alias = NULL;
        Container *target;
        int r = read_wanted(wanted, &name, &alias, error);

        if (r != 0)
                return r;
        r = engine_container_find(engine, name, &target, error);
        if (r > 0) {
                CLEANUP_FREE char *prefix = str_printf("could not get container for %s", name);

                /* Clients take a 404 of a creation for a missing image. */
                error->outcome = OUTCOME_BAD_REQUEST;
                return prefix ? error_prefix(error, prefix) : -ENOMEM;
        }
        if (r < 0 || !*alias || has_alias(links, alias))
                return r;
        json_array_append_new(links, json_sprintf("%s:%s:%s", target->id, target->name, alias));
        return 0;
}

static bool has_links(const char *mode)
{
        return str_equal(mode, "bridge") || str_equal(mode, "none");
}

int legacy_links_make(Engine *engine, json_t *host_config, Error *error)
{
        const json_t *wanted = json_object_get(host_config, "Links");
        CLEANUP_JSON json_t *links = json_array();
        json_t *entry;
        int r = links ? 0 : -ENOMEM;
        size_t i;

        if (json_array_size(wanted) == 0 || !has_links(json_get_string(host_config, "NetworkMode")))
                return 0;
        json_array_foreach((json_t *) wanted, i, entry) {
                r = r == 0 ? add_wanted(engine, json_string_value(entry), links, error) : r;
        }
        return r != 0 ? r : json_object_set(host_config, "Links", links);
}

/* --- As names of containers ----------------------------------------------------------------------------------------
 */

static json_t *links_of(const Container *container)
{
        return has_links(container_network_mode(container)) ? json_object_get(container_host_config(container), "Links")
                                                            : NULL;
}

json_t *container_links(const Container *container)
{
        CLEANUP_JSON json_t *list = json_array();
        json_t *entry;
        size_t i;

        json_array_foreach(links_of(container), i, entry) {
                CLEANUP(link_clear) Link link = { 0 };

                if (link_read(entry, &link) < 0)
                        return NULL;
                json_array_append_new(list, json_sprintf("/%s:/%s/%s", target_name(container->engine, &link),
                                                         container->name, link.alias));
        }
        return json_array_size(list) > 0 ? TAKE_PTR(list) : json_null();
}

json_t *legacy_link_names(Engine *engine, bool of_stopped)
{
        json_t *names = json_object(), *entry;
        const Container *container;
        size_t i;

        LIST_FOREACH(container, &engine->containers, link) {
                if (!container->record || (!of_stopped && !container_is_running(container)))
                        continue;
                json_array_foreach(links_of(container), i, entry) {
                        CLEANUP(link_clear) Link link = { 0 };
                        const Container *target = link_read(entry, &link) < 0 ? NULL : link_target(engine, &link);

                        if (!target)
                                continue;
                        if (!json_object_get(names, target->id))
                                json_object_set_new(names, target->id, json_array());
                        json_array_append_new(json_object_get(names, target->id),
                                              json_sprintf("/%s/%s", container->name, link.alias));
                }
        }
        return names;
}

/* Of the container's links the one with the alias. */
static const json_t *find_alias(const Container *container, const char *alias, size_t *ret_at)
{
        json_t *entry;
        size_t i;

        json_array_foreach(links_of(container), i, entry) {
                CLEANUP(link_clear) Link link = { 0 };

                if (link_read(entry, &link) < 0 || !str_equal(link.alias, alias))
                        continue;
                *ret_at = i;
                return entry;
        }
        return NULL;
}

Container *legacy_link_find(Engine *engine, const char *name)
{
        const char *slash = strchr(name, '/');
        CLEANUP_FREE char *own = slash ? strndup(name, (size_t) (slash - name)) : NULL;
        CLEANUP(link_clear) Link link = { 0 };
        Container *container;
        size_t at;

        if (str_empty(own) || engine_container_find(engine, own, &container, NULL) != 0 ||
            !str_equal(container->name, own))
                return NULL;
        const json_t *entry = find_alias(container, slash + 1, &at);
        return entry && link_read(entry, &link) >= 0 ? link_target(engine, &link) : NULL;
}

int engine_unlink(Engine *engine, const char *name, Error *error)
{
        const char *slash = strrchr(name, '/');
        CLEANUP_FREE char *parent = slash ? strndup(name, (size_t) (slash - name)) : NULL;
        Container *container;
        size_t at;

        if (!slash) {
                int r = engine_container_find(engine, name, &container, error);
                return r != 0 ? r
                              : error_set(error, OUTCOME_FAILED,
                                          "Conflict, cannot remove the default link name of the container");
        }
        if (!parent)
                return -ENOMEM;
        if (engine_container_find(engine, parent, &container, NULL) != 0 || !find_alias(container, slash + 1, &at))
                return error_set(error, OUTCOME_NOT_FOUND, "No such container: %s", name);
        json_array_remove(links_of(container), at);
        int r = container_save(container, true);
        return r >= 0 && container_is_running(container) ? container_forget_host(container, slash + 1) : r;
}

/* --- Before a start ----------------------------------------------------------------------------------------------- */

int container_check_links(const Container *container, Error *error)
{
        json_t *entry;
        size_t i;

        if (!json_object_get(container_networks(container), "bridge"))
                return 0;
        json_array_foreach(links_of(container), i, entry) {
                CLEANUP(link_clear) Link link = { 0 };

                if (link_read(entry, &link) < 0)
                        return -ENOMEM;
                const Container *target = link_target(container->engine, &link);
                if (!target || !container_is_up(target))
                        return error_set(error, OUTCOME_FAILED, "Cannot link to a non running container: /%s AS /%s/%s",
                                         target ? target->name : link.name, container->name, link.alias);
                if (!json_object_get(container_networks(target), "bridge"))
                        return error_set(error, OUTCOME_FAILED,
                                         "Cannot link to /%s, as it does not belong to the default network",
                                         target->name);
        }
        return 0;
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
