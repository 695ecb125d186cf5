/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the firewall's table has to hold, from what the engine knows; and its restoration after somebody flushed it. */
#include "berth/log.h"
#include "engine-private.h"

static char *lock_path(const Engine *engine)
{
        return str_printf("%s/firewall.lock", engine->config->exec_root);
}

static int append_ports(const Container *container, NetworkPort **ports, size_t *n)
{
        size_t some = 0;
        CLEANUP_FREE NetworkPort *own = container_firewall_ports(container, &some);

        if (some == 0)
                return 0;
        NetworkPort *grown = reallocarray(*ports, *n + some, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        memcpy(grown + *n, own, some * sizeof(*own));
        *ports = grown;
        *n += some;
        return 0;
}

/* The whole table: every bridge, and the ports of every container that runs or is being started. */
static int build(const Engine *engine, bool if_needed)
{
        CLEANUP_FREE NetworkBridge *bridges = NULL;
        CLEANUP_FREE NetworkPort *ports = NULL;
        CLEANUP_FREE char *lock = lock_path(engine);
        NetworkFirewall content = { .strict = engine->config->strict_ports };
        const Network *network;
        const Container *container;
        int r = 0;

        LIST_FOREACH(network, &engine->networks, link)
                content.n_bridges++;
        bridges = calloc(content.n_bridges + 1, sizeof(*bridges));
        if (!bridges || !lock)
                return -ENOMEM;
        content.n_bridges = 0;
        LIST_FOREACH(network, &engine->networks, link)
                if (network_has_links(network))
                        bridges[content.n_bridges++] = network->bridge;
        LIST_FOREACH(container, &engine->containers, link)
                if (r >= 0)
                        r = append_ports(container, &ports, &content.n_ports);
        content.bridges = bridges;
        content.ports = ports;
        return r < 0 ? r : network_firewall_build(&content, lock, if_needed);
}

int container_set_up_firewall(const Container *container)
{
        CLEANUP_FREE NetworkBridge *bridges = NULL;
        CLEANUP_FREE NetworkPort *ports = NULL;
        NetworkFirewall content = { 0 };
        const Endpoint *endpoint;
        size_t n = 0;
        int r = 0;

        LIST_FOREACH(endpoint, &container->endpoints, link)
                n++;
        content.bridges = bridges = calloc(n + 1, sizeof(*bridges));
        if (!bridges)
                return -ENOMEM;
        LIST_FOREACH(endpoint, &container->endpoints, link)
                if (endpoint->network->bridge.kind == NETWORK_BRIDGE && network_has_links(endpoint->network))
                        bridges[content.n_bridges++] = endpoint->network->bridge;
        if (content.n_bridges == 0)
                return 0;
        if (!network_firewall_is_whole(container->engine->config->strict_ports))
                r = build(container->engine, true);
        if (r < 0)
                return r;
        content.ports = ports = container_firewall_ports(container, &content.n_ports);
        for (size_t i = 0; r >= 0 && i < content.n_bridges; i++)
                r = network_forward_allow(bridges[i].name);
        if (r >= 0)
                r = network_firewall_add(&content);
        if (r >= 0)
                network_forget_connections(ports, content.n_ports);
        return r;
}

/* --- Restoring ---------------------------------------------------------------------------------------------------- */

static int restore(void *userdata, int result_fd)
{
        const Engine *engine = userdata;
        const Network *network;
        int r = build(engine, true);
        (void) result_fd;

        LIST_FOREACH(network, &engine->networks, link)
                if (network->bridge.kind == NETWORK_BRIDGE && network_has_links(network) &&
                    network_bridge_exists(&network->bridge)) {
                        (void) network_forward_allow(network->bridge.name);
                        (void) network_firewalld_add(network->bridge.name);
                }
        return r;
}

static void restored(int status, const char *result, size_t size, void *userdata)
{
        Engine *engine = userdata;
        (void) result;
        (void) size;

        engine->restoring = false;
        if (status < 0)
                log_error_errno(status, "Cannot restore the firewall's table");
        if (engine->restore_again)
                engine_firewall_changed(engine);
}

void engine_firewall_changed(Engine *engine)
{
        WorkerJob job = { .run = restore, .done = restored, .userdata = engine };

        bool whole = network_firewall_is_whole(engine->config->strict_ports);

        engine->restore_again = engine->restoring;
        if (engine->restoring || (whole && !network_firewalld_runs() && !network_forward_drops()))
                return;
        if (!whole)
                log_info("The firewall's table was removed by somebody else and is restored");
        engine->restoring = engine_worker_start(engine, &job) >= 0;
}
