/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connecting containers to networks and disconnecting them. For one that is stopped the record changes; for one that
 * runs a worker makes or removes the interface, and the change is committed when it is done. */
#include <fcntl.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "engine-private.h"

typedef struct Move {
        Engine *engine;
        char container[ID_LENGTH + 1], network[ID_LENGTH + 1];
        bool leaving, force;
        bool resolver; /* the container has had none */
        bool ports;    /* are published now, or led elsewhere */
        json_t *settings;
        NetworkEndpoint side; /* what is made or removed */
        NetworkBridge bridge;
        NetworkEndpoint gateway; /* whose routes hold from now on */
        NetworkBridge gateway_bridge;
        pid_t pid;
        uint64_t start_time;
        char *monitor;
        EngineDone done;
        void *userdata;
} Move;

static void move_free(Move *move)
{
        json_decref(move->settings);
        free(move->monitor);
        free(move);
}

/* --- In the worker ------------------------------------------------------------------------------------------------ */

static int open_resolver(const Move *move, int namespace_fd)
{
        static const char request[] = "resolver - -";
        CLEANUP_CLOSE int udp = -EBADF, tcp = -EBADF;
        int r = network_resolver_open(namespace_fd, &udp, &tcp);

        if (r < 0)
                return r;
        r = monitor_request_send_fds(move->monitor, request, strlen(request), (int[]) { udp, tcp }, 2);
        fd_close(r);
        return r < 0 ? r : 0;
}

static int run_move(void *userdata, int result_fd)
{
        Move *move = userdata;
        char path[64];
        (void) result_fd;

        snprintf(path, sizeof(path), "/proc/%d/ns/net", (int) move->pid);
        CLEANUP_CLOSE int namespace_fd = open(path, O_RDONLY | O_CLOEXEC);
        CLEANUP_CLOSE int process = process_open(move->pid, move->start_time);
        if (namespace_fd < 0 || process < 0)
                return -ESRCH;
        int r = 0;
        if (move->leaving) {
                network_endpoint_delete_inside(move->side.name, namespace_fd);
        } else {
                const NetworkFirewall content = { .bridges = &move->bridge, .n_bridges = 1 };
                network_firewall_add(&content);
                if (!network_bridge_exists(&move->bridge))
                        r = network_bridge_ensure(&move->bridge);
                if (r >= 0)
                        r = network_endpoint_create(&move->bridge, &move->side, namespace_fd);
                if (r >= 0 && move->resolver)
                        r = open_resolver(move, namespace_fd);
        }
        if (r >= 0 && *move->gateway.name)
                r = network_endpoint_route(&move->gateway_bridge, &move->gateway, namespace_fd);
        return r;
}

/* --- Before and after --------------------------------------------------------------------------------------------- */

static void commit(Container *container, Network *network)
{
        container_save_state(container);
        container_save(container, true);
        container_update_network_files(container);
        if (network_has_names(network))
                network_write_names(network);
}

/* Published ports follow the gateway. */
static void move_ports(Container *container, const Endpoint *before)
{
        CLEANUP_ERROR Error error = { 0 };

        if (container_gateway(container) == before)
                return;
        int r = container->n_ports > 0 ? container_retarget_ports(container) : container_publish(container, &error);
        if (r == 0)
                r = container_send_ports(container);
        if (r == 0)
                r = container_set_up_firewall(container);
        if (r != 0)
                log_warning("Ports of container %s are not published: %s", container->id,
                            error.message ? error.message : strerror(abs(r)));
        container_save_state(container);
}

static void finish(Move *move, int r, Error *error)
{
        move->done(r, error, move->userdata);
        move_free(move);
}

static void moved(int status, const char *result, size_t size, void *userdata)
{
        Move *move = userdata;
        CLEANUP_ERROR Error error = { 0 };
        Container *container = engine_container_by_id(move->engine, move->container);
        Network *network = network_by_id(move->engine, move->network);
        Endpoint *endpoint = container && network ? container_endpoint_on(container, network) : NULL;
        (void) result;
        (void) size;

        if (!endpoint) { /* it ended meanwhile */
                finish(move, 0, &error);
                return;
        }
        Endpoint *before = container_gateway(container);
        endpoint->moving = false;
        if (status < 0 && !move->leaving) {
                endpoint_free(endpoint);
                container_choose_gateways(container);
                finish(move,
                       error_set(&error, OUTCOME_FAILED, "failed to set up container networking: %s",
                                 strerror(-status)),
                       &error);
                return;
        }
        if (move->leaving) {
                bool carried = before == endpoint;
                endpoint_free(endpoint);
                json_object_del(container_networks(container), network->name);
                container_choose_gateways(container);
                if (carried)
                        move_ports(container, NULL);
        } else {
                json_object_set(container_networks(container), network->name, move->settings);
                container_choose_gateways(container);
                move_ports(container, before);
        }
        commit(container, network);
        network_event_emit(network, move->leaving ? "disconnect" : "connect", container);
        finish(move, 0, &error);
}

static int begin_move(Container *container, Network *network, Endpoint *endpoint, Move *move)
{
        WorkerJob job = { .run = run_move, .done = moved, .userdata = move };
        const Endpoint *gateway = container_gateway(container);

        memcpy(move->container, container->id, sizeof(move->container));
        memcpy(move->network, network->id, sizeof(move->network));
        move->engine = container->engine;
        move->side = endpoint->side;
        move->bridge = network->bridge;
        move->pid = container->pid;
        move->start_time = container->start_time;
        move->monitor = container_runtime_path(container, MONITOR_SOCKET_NAME);
        if (gateway) {
                move->gateway = gateway->side;
                move->gateway_bridge = gateway->network->bridge;
        }
        return move->monitor ? engine_worker_start(container->engine, &job) : -ENOMEM;
}

/* --- Connecting --------------------------------------------------------------------------------------------------- */

static int find_container(Engine *engine, const char *reference, Container **ret_container, Error *error)
{
        if (str_empty(reference))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid name or ID supplied: \"%s\"",
                                 reference ? reference : "");
        return engine_container_find(engine, reference, ret_container, error);
}

static int check_connect(Container *container, Network *network, Error *error)
{
        const char *mode = container_network_mode(container), *driver = json_get_string(network->record, "Driver");

        if (str_equal(driver, "host"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "container cannot be disconnected from host network or connected to host network");
        if (str_after_prefix(mode, "container:") || str_equal(mode, "host"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "container sharing network namespace with another container or host cannot be "
                                 "connected to any other network");
        if (str_equal(driver, "null") || str_equal(mode, "none"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "container cannot be connected to multiple networks with one of the networks in "
                                 "private (none) mode");
        if (container->removing)
                return error_set(error, OUTCOME_CONFLICT, "container %s is marked for removal", container->id);
        if (container_is_running(container) && container_endpoint_on(container, network))
                return error_set(error, OUTCOME_FORBIDDEN, "endpoint with name %s already exists in network %s",
                                 container->name, network->name);
        return 0;
}

static int connect_running(Container *container, Network *network, Move *move, Error *error)
{
        Endpoint *endpoint;
        bool before = container_needs_resolver(container);
        int r = endpoint_new(container, network, move->settings, &endpoint, error);

        if (r != 0)
                return r;
        /* The new one may become the gateway; until it is there, the old one is. */
        json_object_set(container_networks(container), network->name, move->settings);
        container_choose_gateways(container);
        json_object_del(container_networks(container), network->name);
        endpoint->side.hairpin =
                container_gateway(container) == endpoint &&
                json_object_size(json_object_get(container_host_config(container), "PortBindings")) > 0;
        move->resolver = !before && container_needs_resolver(container);
        endpoint->moving = true;
        r = begin_move(container, network, endpoint, move);
        if (r < 0)
                endpoint_free(endpoint);
        container_choose_gateways(container);
        return r;
}

static int connect_container(Engine *engine, Network *network, const json_t *body, Move *move, Error *error)
{
        Container *container;
        const char *reference = json_string_value(fields_member(body, "Container"));
        int r = find_container(engine, reference, &container, error);

        if (r == 0)
                r = check_connect(container, network, error);
        if (r == 0)
                r = endpoint_settings_normalise(fields_member(body, "EndpointConfig"), network, network->name,
                                                &move->settings, error);
        if (r == 0)
                r = unhonoured_endpoint_refuse(fields_member(body, "EndpointConfig"), error);
        if (r != 0)
                return r;
        if (container_is_running(container))
                return connect_running(container, network, move, error);
        json_t *networks = container_networks(container);
        if (!networks) {
                networks = json_object();
                json_object_set_new(container->record, "Networks", networks);
        }
        json_object_set(networks, network->name, move->settings);
        r = container_save(container, true);
        if (r == 0)
                finish(move, 0, &(Error) { 0 });
        return r;
}

void network_connect(Network *network, const json_t *body, EngineDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        Move *move = calloc(1, sizeof(*move));
        int r = -ENOMEM;

        if (move) {
                *move = (Move) { .done = done, .userdata = userdata };
                r = connect_container(network->engine, network, body, move, &error);
        }
        if (r == 0)
                return;
        done(r, &error, userdata);
        if (move)
                move_free(move);
}

/* --- Disconnecting ------------------------------------------------------------------------------------------------ */

static int disconnect_container(Network *network, const json_t *body, Move *move, Error *error)
{
        Engine *engine = network->engine;
        Container *container;
        const char *reference = json_string_value(fields_member(body, "Container"));
        int r = find_container(engine, reference, &container, error);

        if (r != 0)
                return r;
        move->leaving = true;
        if (str_equal(json_get_string(network->record, "Driver"), "host"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "container cannot be disconnected from host network or connected to host network");
        if (!json_object_get(container_networks(container), network->name))
                return error_set(error, OUTCOME_FAILED, "container %s is not connected to network %s", container->id,
                                 network->name);
        Endpoint *endpoint = container_endpoint_on(container, network);
        if (container_is_running(container) && endpoint && network_has_links(network)) {
                endpoint->moving = true;
                bool route = endpoint->side.route, route6 = endpoint->side.route6;
                struct in_addr address = endpoint->side.address;
                struct in6_addr address6 = endpoint->side.address6;
                /* Who is the gateway without it. */
                endpoint->side.address.s_addr = 0;
                endpoint->side.address6 = in6addr_any;
                container_choose_gateways(container);
                endpoint->side.address = address;
                endpoint->side.address6 = address6;
                r = begin_move(container, network, endpoint, move);
                if (route || route6)
                        container_choose_gateways(container);
                if (r < 0)
                        endpoint->moving = false;
                return r;
        }
        json_object_del(container_networks(container), network->name);
        if (endpoint)
                endpoint_free(endpoint);
        r = container_save(container, true);
        if (r == 0)
                finish(move, 0, &(Error) { 0 });
        return r;
}

void network_disconnect(Network *network, const json_t *body, EngineDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        Move *move = calloc(1, sizeof(*move));
        int r = -ENOMEM;

        if (move) {
                *move = (Move) { .done = done, .userdata = userdata };
                r = disconnect_container(network, body, move, &error);
        }
        if (r == 0)
                return;
        done(r, &error, userdata);
        if (move)
                move_free(move);
}
