/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Published ports: the host's ports that a container's bindings become at a start.
 *
 * A port of the host is held by a bound socket: so no process of the host can have it, and one that has it is found out
 * before anything starts. The sockets go to the container's monitor, which serves what the kernel does not translate
 * (IPv6 to a container without it, [::1]) and everything while the firewall's table is being restored. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

#define EPHEMERAL_FIRST 32768u
#define EPHEMERAL_LAST 60999u
#define LISTEN_BACKLOG 1024
/* Of one message to the monitor. */
#define MESSAGE_FDS 200u

/* --- Choosing and binding ----------------------------------------------------------------------------------------- */

static struct in6_addr mapped(struct in_addr address)
{
        return (struct in6_addr) { .s6_addr32 = { 0, 0, htonl(0xffff), address.s_addr } };
}

static bool is_any(const struct in6_addr *address)
{
        return IN6_IS_ADDR_UNSPECIFIED(address) || (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr32[3] == 0);
}

static bool overlaps(const PublishedPort *a, const PublishedPort *b)
{
        return a->six == b->six && a->port.protocol == b->port.protocol && a->port.outer == b->port.outer &&
               (is_any(&a->port.host) || is_any(&b->port.host) || IN6_ARE_ADDR_EQUAL(&a->port.host, &b->port.host));
}

/* Whether another container, or this one, publishes it. */
static bool is_allocated(const Engine *engine, const PublishedPort *wanted)
{
        const Container *container;

        LIST_FOREACH(container, &engine->containers, link)
                for (size_t i = 0; i < container->n_ports; i++)
                        if (overlaps(&container->ports[i], wanted))
                                return true;
        return false;
}

static socklen_t socket_address(const PublishedPort *port, struct sockaddr_storage *storage)
{
        struct sockaddr_in *four = (struct sockaddr_in *) storage;
        struct sockaddr_in6 *six = (struct sockaddr_in6 *) storage;

        memset(storage, 0, sizeof(*storage));
        if (port->six) {
                *six = (struct sockaddr_in6) { .sin6_family = AF_INET6,
                                               .sin6_port = htons(port->port.outer),
                                               .sin6_addr = port->port.host };
                return sizeof(*six);
        }
        *four = (struct sockaddr_in) { .sin_family = AF_INET,
                                       .sin_port = htons(port->port.outer),
                                       .sin_addr = { port->port.host.s6_addr32[3] } };
        return sizeof(*four);
}

/* -EADDRINUSE, -EADDRNOTAVAIL. Where the kernel lacks the protocol or IPv6, nobody could take the port either. DUAL: of
 * both families. */
static int hold_port(PublishedPort *port, bool dual)
{
        struct sockaddr_storage address;
        socklen_t size = socket_address(port, &address);
        int type = port->port.protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM, on = 1, off = 0;
        CLEANUP_CLOSE int fd = socket(port->six ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK,
                                      port->port.protocol == IPPROTO_SCTP ? IPPROTO_SCTP : 0);

        if (fd < 0)
                return errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT ? 0 : -errno;
        if (port->six)
                (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, dual ? &off : &on, sizeof(on));
        /* Connections of an earlier run that linger don't keep the port. */
        if (type == SOCK_STREAM)
                (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, (struct sockaddr *) &address, size) < 0)
                return -errno;
        if (type == SOCK_STREAM && listen(fd, LISTEN_BACKLOG) < 0)
                return -errno;
        port->fd = TAKE_FD(fd);
        return 0;
}

typedef struct Publication {
        Container *container;
        Endpoint *endpoint;
        Error *error;
        uint16_t inner;
        uint8_t protocol;
        struct in6_addr hosts[2];
        size_t n_hosts;
        PortRange range;
} Publication;

static int refuse(const Publication *publication, const PublishedPort *port, int r)
{
        const char *name = publication->container->name, *id = publication->endpoint->id;
        char text[INET6_ADDRSTRLEN];
        const char *host = port_host_text(&port->port.host, text), *left = port->six ? "[" : "",
                   *right = port->six ? "]" : "";

        if (r == -EALREADY)
                return error_set(publication->error, OUTCOME_FAILED,
                                 "driver failed programming external connectivity on endpoint %s (%s): Bind for "
                                 "%s:%u failed: port is already allocated",
                                 name, id, host, port->port.outer);
        return error_set(publication->error, OUTCOME_FAILED,
                         "driver failed programming external connectivity on endpoint %s (%s): Error starting "
                         "userland proxy: listen %s%d %s%s%s:%u: bind: %s",
                         name, id, port_protocol_name(port->port.protocol), port->six ? 6 : 4, left, host, right,
                         port->port.outer,
                         r == -EADDRINUSE      ? "address already in use"
                         : r == -EADDRNOTAVAIL ? "cannot assign requested address"
                         : r == -EACCES        ? "permission denied"
                                               : strerror(-r));
}

static PublishedPort describe(const Publication *publication, size_t host, uint16_t outer)
{
        const NetworkEndpoint *side = &publication->endpoint->side;
        const NetworkBridge *bridge = &publication->endpoint->network->bridge;
        bool six = !IN6_IS_ADDR_V4MAPPED(&publication->hosts[host]);
        PublishedPort port = { .port = { .protocol = publication->protocol,
                                         .host = publication->hosts[host],
                                         .outer = outer,
                                         .inner = publication->inner },
                               .six = six,
                               .fd = -EBADF };

        if (six)
                port.port.target = side->address6;
        else if (side->address.s_addr != 0)
                port.port.target = mapped(side->address);
        port.port.direct = (six ? bridge->mode6 : bridge->mode4) == NETWORK_ROUTED;
        return port;
}

/* Takes OUTER for all of the binding's addresses, or for none. */
static int take_port(const Publication *publication, uint16_t outer, PublishedPort ret_ports[static 2])
{
        Engine *engine = publication->container->engine;
        int r = 0;

        for (size_t i = 0; i < publication->n_hosts; i++)
                ret_ports[i] = describe(publication, i, outer);
        /* All addresses of both families are one socket. */
        bool dual = publication->n_hosts == 2 && !ret_ports[0].port.direct && !ret_ports[1].port.direct;
        for (size_t i = 0; r >= 0 && i < publication->n_hosts; i++) {
                PublishedPort *port = &ret_ports[i];
                if (port->port.direct)
                        continue;
                r = is_allocated(engine, port) ? -EALREADY : 0;
                if (r >= 0 && dual && i == 0) {
                        r = hold_port(&ret_ports[1], true);
                        dual = r >= 0 && ret_ports[1].fd >= 0;
                        r = r == -EAFNOSUPPORT ? 0 : r;
                }
                if (r >= 0 && !dual)
                        r = hold_port(port, false);
                if (r < 0 && publication->range.first != 0 && publication->range.first == publication->range.last)
                        refuse(publication, port, r);
        }
        for (size_t i = 0; r < 0 && i < publication->n_hosts; i++)
                ret_ports[i].fd = fd_close(ret_ports[i].fd);
        return r;
}

int container_keep_ports(Container *container, const PublishedPort *ports, size_t n)
{
        PublishedPort *grown = reallocarray(container->ports, container->n_ports + n, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        memcpy(grown + container->n_ports, ports, n * sizeof(*ports));
        container->ports = grown;
        container->n_ports += n;
        return 0;
}

static int choose_port(const Publication *publication)
{
        Engine *engine = publication->container->engine;
        bool any = publication->range.first == 0;
        uint32_t first = any ? EPHEMERAL_FIRST : publication->range.first;
        uint32_t last = any ? EPHEMERAL_LAST : publication->range.last, size = last - first + 1;
        PublishedPort ports[2];
        int r = -EADDRINUSE;

        if (any && publication->endpoint->network->bridge.mode4 == NETWORK_ROUTED)
                size = 1;
        for (uint32_t i = 0; i < size; i++) {
                uint32_t offset = any ? (engine->next_port + i) % size : i;
                r = take_port(publication, (uint16_t) (first + offset), ports);
                if (r >= 0) {
                        if (any)
                                engine->next_port = (offset + 1) % size;
                        return container_keep_ports(publication->container, ports, publication->n_hosts);
                }
                if (r != -EALREADY && r != -EADDRINUSE)
                        break;
        }
        if (publication->error && publication->error->message)
                return OUTCOME_FAILED;
        ports[0] = describe(publication, 0, (uint16_t) first);
        return r == -EADDRNOTAVAIL || r == -EACCES
                       ? refuse(publication, &ports[0], r)
                       : error_set(publication->error, OUTCOME_FAILED,
                                   "driver failed programming external connectivity on endpoint %s (%s): all ports are "
                                   "allocated",
                                   publication->container->name, publication->endpoint->id);
}

static void choose_hosts(Publication *publication, const char *address)
{
        const Network *network = publication->endpoint->network;
        const char *option = network_option(network, "com.docker.network.bridge.host_binding_ipv4");
        struct in_addr four;

        if (str_empty(address) && !str_empty(option) && !str_equal(option, "0.0.0.0"))
                address = option;
        publication->n_hosts = 0;
        if (str_empty(address)) {
                if (publication->endpoint->side.address.s_addr != 0)
                        publication->hosts[publication->n_hosts++] = mapped((struct in_addr) { 0 });
                publication->hosts[publication->n_hosts++] = in6addr_any;
        } else if (inet_pton(AF_INET, address, &four) == 1)
                publication->hosts[publication->n_hosts++] = mapped(four);
        else if (inet_pton(AF_INET6, address, &publication->hosts[0]) == 1)
                publication->n_hosts = 1;
}

static int publish_bindings(Publication *publication, const char *port, const json_t *bindings)
{
        json_t *binding;
        size_t i;
        int r = 0;

        if (!port_parse(port, &publication->inner, &publication->protocol))
                return 0;
        if (json_array_size(bindings) == 0 && publication->container->publish_all) {
                publication->range = (PortRange) { 0 };
                choose_hosts(publication, NULL);
                return choose_port(publication);
        }
        json_array_foreach((json_t *) bindings, i, binding) {
                port_range_parse(json_get_string(binding, "HostPort"), &publication->range);
                choose_hosts(publication, json_get_string(binding, "HostIp"));
                r = choose_port(publication);
                if (r != 0)
                        return r;
        }
        return 0;
}

int container_publish(Container *container, Error *error)
{
        const json_t *host = container_host_config(container);
        json_t *bindings = json_object_get(host, "PortBindings"), *value;
        Publication publication = { .container = container, .endpoint = container_gateway(container), .error = error };
        const char *port;
        int r = 0;

        if (!publication.endpoint || publication.endpoint->network->bridge.kind != NETWORK_BRIDGE)
                return 0;
        container->publish_all = json_get_bool(host, "PublishAllPorts");
        json_object_foreach(bindings, port, value) {
                r = publish_bindings(&publication, port, value);
                if (r != 0)
                        return r;
        }
        if (container->publish_all)
                json_object_foreach(json_object_get(container_config(container), "ExposedPorts"), port, value) {
                        if (json_object_get(bindings, port))
                                continue;
                        r = publish_bindings(&publication, port, NULL);
                        if (r != 0)
                                return r;
                }
        publication.endpoint->side.hairpin = container->n_ports > 0;
        return 0;
}

/* --- Firewall and monitor ----------------------------------------------------------------------------------------- */

NetworkPort *container_firewall_ports(const Container *container, size_t *ret_n)
{
        NetworkPort *ports = calloc(container->n_ports + 1, sizeof(*ports));
        size_t n = 0;

        for (size_t i = 0; ports && i < container->n_ports; i++)
                if (!IN6_IS_ADDR_UNSPECIFIED(&container->ports[i].port.target) &&
                    !IN6_IS_ADDR_LOOPBACK(&container->ports[i].port.host))
                        ports[n++] = container->ports[i].port;
        *ret_n = n;
        return ports;
}

void container_unpublish(Container *container)
{
        size_t n;
        CLEANUP_FREE NetworkPort *ports = container_firewall_ports(container, &n);

        if (ports && n > 0)
                network_firewall_remove(&(NetworkFirewall) { .ports = ports, .n_ports = n });
        for (size_t i = 0; i < container->n_ports; i++)
                fd_close(container->ports[i].fd);
        free(TAKE_PTR(container->ports));
        container->n_ports = 0;
}

static void own_addresses(const Container *container, char four[static INET6_ADDRSTRLEN],
                          char six[static INET6_ADDRSTRLEN])
{
        const Endpoint *endpoint = container_gateway(container);

        strcpy(four, "-");
        strcpy(six, "-");
        if (endpoint && endpoint->side.address.s_addr != 0)
                inet_ntop(AF_INET, &endpoint->side.address, four, INET6_ADDRSTRLEN);
        if (endpoint && !IN6_IS_ADDR_UNSPECIFIED(&endpoint->side.address6))
                inet_ntop(AF_INET6, &endpoint->side.address6, six, INET6_ADDRSTRLEN);
}

/* A line for each socket, see include/berth/monitor.h. */
static int append_port(const Container *container, const PublishedPort *port, Buffer *message)
{
        char four[INET6_ADDRSTRLEN], six[INET6_ADDRSTRLEN];

        own_addresses(container, four, six);
        return buffer_printf(message, "%s %s %s %u\n", port_protocol_name(port->port.protocol), four, six,
                             port->port.inner);
}

int container_send_ports(Container *container)
{
        CLEANUP_FREE char *path = container_runtime_path(container, "monitor.sock");
        size_t i = 0;

        if (!path)
                return -ENOMEM;
        while (i < container->n_ports) {
                CLEANUP_BUFFER Buffer message = { 0 };
                int fds[MESSAGE_FDS];
                size_t n = 0;
                int r = buffer_append_string(&message, "ports - -\n");

                for (; r >= 0 && i < container->n_ports && n < MESSAGE_FDS; i++) {
                        PublishedPort *port = &container->ports[i];
                        if (port->fd < 0)
                                continue;
                        r = append_port(container, port, &message);
                        fds[n++] = TAKE_FD(port->fd);
                }
                if (r >= 0 && n > 0)
                        r = monitor_request_send_fds(path, message.data, message.size, fds, n);
                for (size_t k = 0; k < n; k++)
                        fd_close(fds[k]);
                if (r < 0)
                        return r;
                fd_close(r);
        }
        return 0;
}

int container_retarget_ports(Container *container)
{
        CLEANUP_FREE char *path = container_runtime_path(container, "monitor.sock");
        const Endpoint *endpoint = container_gateway(container);
        char request[64 + 2 * INET6_ADDRSTRLEN], four[INET6_ADDRSTRLEN], six[INET6_ADDRSTRLEN];
        const NetworkEndpoint none = { 0 }, *side = endpoint ? &endpoint->side : &none;
        size_t n;
        CLEANUP_FREE NetworkPort *old = container_firewall_ports(container, &n);

        if (!path || !old)
                return -ENOMEM;
        network_firewall_remove(&(NetworkFirewall) { .ports = old, .n_ports = n });
        for (size_t i = 0; i < container->n_ports; i++) {
                PublishedPort *port = &container->ports[i];
                port->port.target = port->six                   ? side->address6
                                    : side->address.s_addr != 0 ? mapped(side->address)
                                                                : in6addr_any;
        }
        own_addresses(container, four, six);
        snprintf(request, sizeof(request), "target %s %s", four, six);
        int r = monitor_request_send(path, request, strlen(request), -EBADF);
        fd_close(r);
        return r < 0 ? r : 0;
}
