/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Links that containers leave. The kernel takes a pair of links with the network namespace of the one inside, but a
 * namespace lives as long as anything holds it (namespaces(7)): a descriptor, a bind mount, a process that entered it.
 * Meanwhile its address is another container's. So a moment after the end of a run a worker removes the link if it is
 * still there: the kernel's own way, taken by almost all, costs nothing here. */
#include <dirent.h>
#include <net/if.h>

#include "berth/file.h"
#include "berth/log.h"
#include "engine-private.h"

#define PATIENCE_US (UINT64_C(200) * 1000)

static bool is_gone(const char *name)
{
        return if_nametoindex(name) == 0;
}

static int remove_links(void *userdata, int result_fd)
{
        char **names = userdata;
        int result = 0;
        (void) result_fd;

        for (size_t i = 0; names[i]; i++) {
                int r = network_endpoint_delete(names[i]);
                if (r < 0)
                        result = r;
        }
        return result;
}

static void removed(int status, const char *result, size_t size, void *userdata)
{
        (void) result;
        (void) size;
        if (status < 0)
                log_warning_errno(status, "Cannot remove network interfaces that containers left");
        strv_free(userdata);
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
        Engine *engine = userdata;
        char **names = TAKE_PTR(engine->left_links);
        bool all_gone = true;
        (void) source;
        (void) usec;

        engine->link_look = sd_event_source_disable_unref(engine->link_look);
        for (size_t i = 0; names && names[i]; i++)
                all_gone = all_gone && is_gone(names[i]);
        const WorkerJob job = { .run = remove_links, .done = removed, .userdata = names };
        int r = all_gone ? 0 : engine_worker_start(engine, &job);
        if (all_gone || r < 0)
                removed(r, NULL, 0, names);
        engine_job_end(engine);
        return 0;
}

void engine_link_left(Engine *engine, const char *name)
{
        if (engine->closing || strv_append(&engine->left_links, name) < 0 || engine->link_look)
                return;
        int r = sd_event_add_time_relative(engine->event, &engine->link_look, CLOCK_MONOTONIC, PATIENCE_US, 0, on_look,
                                           engine);
        if (r < 0)
                log_warning_errno(r, "Cannot look after the network interfaces that containers left");
        else
                engine_job_begin(engine);
}

/* --- After a process that was cut off ------------------------------------------------------------------------------
 */

/* "vethXXXXXXX", as engine-endpoint.c names them. */
static bool is_endpoint_name(const char *name)
{
        return strlen(name) == 11 && strncmp(name, "veth", 4) == 0 && strspn(name + 4, "0123456789abcdef") == 7;
}

static const Network *network_of_link(const Engine *engine, const char *name)
{
        const Network *network;
        char path[64], target[256];

        snprintf(path, sizeof(path), "/sys/class/net/%s/master", name);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                return NULL;
        target[n] = 0;
        const char *slash = strrchr(target, '/');
        LIST_FOREACH(network, &engine->networks, link)
                if (network->bridge.kind == NETWORK_BRIDGE &&
                    str_equal(network->bridge.name, slash ? slash + 1 : target))
                        return network;
        return NULL;
}

static bool is_left(const Engine *engine, const char *name)
{
        const Network *network = is_endpoint_name(name) ? network_of_link(engine, name) : NULL;
        const Endpoint *endpoint;

        if (!network)
                return false;
        LIST_FOREACH(endpoint, &network->endpoints, network_link)
                if (str_equal(endpoint->side.host_name, name))
                        return false;
        return true;
}

void engine_links_sweep(Engine *engine)
{
        CLEANUP_CLOSEDIR DIR *links = engine->interrupted ? opendir("/sys/class/net") : NULL;
        const struct dirent *entry;

        while (links && (entry = readdir(links)))
                if (is_left(engine, entry->d_name))
                        engine_link_left(engine, entry->d_name);
}

void engine_links_free(Engine *engine)
{
        engine->link_look = sd_event_source_disable_unref(engine->link_look);
        strv_free(TAKE_PTR(engine->left_links));
}
