/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Published ports in the volatile state, and as inspect and lists show them. */
#include <arpa/inet.h>

#include "berth/json.h"
#include "engine-private.h"

const char *port_host_text(const struct in6_addr *host, char *text)
{
        if (IN6_IS_ADDR_V4MAPPED(host))
                return inet_ntop(AF_INET, &host->s6_addr32[3], text, INET6_ADDRSTRLEN);
        return inet_ntop(AF_INET6, host, text, INET6_ADDRSTRLEN);
}

json_t *container_ports_state(const Container *container)
{
        json_t *list = json_array();

        for (size_t i = 0; i < container->n_ports; i++) {
                const NetworkPort *port = &container->ports[i].port;
                char host[INET6_ADDRSTRLEN], target[INET6_ADDRSTRLEN];

                json_array_append_new(list, json_pack("[iiissb]", port->protocol, port->outer, port->inner,
                                                      inet_ntop(AF_INET6, &port->host, host, sizeof(host)),
                                                      inet_ntop(AF_INET6, &port->target, target, sizeof(target)),
                                                      port->direct));
        }
        return list;
}

void container_read_ports(Container *container, const json_t *state)
{
        json_t *entry;
        size_t i;

        json_array_foreach((json_t *) state, i, entry) {
                PublishedPort port = { .fd = -EBADF };
                const char *host, *target;
                int protocol, outer, inner, direct;

                if (json_unpack(entry, "[iiissb]", &protocol, &outer, &inner, &host, &target, &direct) < 0 ||
                    inet_pton(AF_INET6, host, &port.port.host) != 1 ||
                    inet_pton(AF_INET6, target, &port.port.target) != 1)
                        continue;
                port.port.protocol = (uint8_t) protocol;
                port.port.outer = (uint16_t) outer;
                port.port.inner = (uint16_t) inner;
                port.port.direct = direct;
                port.six = !IN6_IS_ADDR_V4MAPPED(&port.port.host);
                container_keep_ports(container, &port, 1);
        }
}

static bool shows_ports(const Container *container)
{
        return container_is_running(container) && container_gateway(container);
}

json_t *container_ports_object(const Container *container)
{
        json_t *object = json_object(), *ignored;
        const char *exposed;
        char text[INET6_ADDRSTRLEN], key[32], outer[8];

        if (!shows_ports(container))
                return object;
        json_object_foreach(json_object_get(container_config(container), "ExposedPorts"), exposed, ignored)
                json_object_set_new(object, exposed, json_null());
        for (size_t i = 0; i < container->n_ports; i++) {
                const NetworkPort *port = &container->ports[i].port;

                snprintf(key, sizeof(key), "%u/%s", port->inner, port_protocol_name(port->protocol));
                snprintf(outer, sizeof(outer), "%u", port->outer);
                if (!json_is_array(json_object_get(object, key)))
                        json_object_set_new(object, key, json_array());
                json_array_append_new(
                        json_object_get(object, key),
                        json_pack("{ss ss}", "HostIp", port_host_text(&port->host, text), "HostPort", outer));
        }
        return object;
}

json_t *container_ports_list(const Container *container)
{
        CLEANUP_JSON json_t *object = container_ports_object(container);
        json_t *list = json_array(), *bindings, *binding;
        const char *key;
        size_t i;

        json_object_foreach(object, key, bindings) {
                uint16_t inner;
                uint8_t protocol;

                if (!port_parse(key, &inner, &protocol))
                        continue;
                if (json_array_size(bindings) == 0)
                        json_array_append_new(
                                list, json_pack("{si ss}", "PrivatePort", inner, "Type", port_protocol_name(protocol)));
                json_array_foreach(bindings, i, binding)
                        json_array_append_new(list, json_pack("{ss si si ss}", "IP", json_get_string(binding, "HostIp"),
                                                              "PrivatePort", inner, "PublicPort",
                                                              atoi(json_get_string_or(binding, "HostPort", "0")),
                                                              "Type", port_protocol_name(protocol)));
        }
        return list;
}
