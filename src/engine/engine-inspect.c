/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container as GET /containers/ID/json shows it. */
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define ZERO_TIME "0001-01-01T00:00:00Z"

static json_t *time_or_zero(int64_t ns)
{
        char text[TIME_RFC3339_SIZE];

        return json_string(ns > 0 ? time_format_rfc3339(ns, text) : ZERO_TIME);
}

static json_t *state_object(const Container *container)
{
        bool running = container_is_running(container), up = container_is_up(container);

        json_t *state = json_pack(
                "{ss sb sb sb sb sb si si ss so so}", "Status", container_status_name(container), "Running", up,
                "Paused", container_is_paused(container), "Restarting", container->restarting, "OOMKilled",
                container->oom_killed, "Dead", 0, "Pid", running ? (int) container->pid : 0, "ExitCode",
                container->exit_code, "Error", json_get_string_or(container->record, "Error", ""), "StartedAt",
                time_or_zero(container->started_ns), "FinishedAt", time_or_zero(container->finished_ns));
        json_t *health = container_health(container);
        if (state && health)
                json_object_set_new(state, "Health", health);
        return state;
}

/* The directories of the image's layers, topmost first, with colons between them; NULL without an image. */
static char *lower_directories(const Container *container)
{
        CLEANUP_STRV char **layers = NULL;
        CLEANUP_BUFFER Buffer text = { 0 };
        Store *store = container->engine->store;
        const char *image = json_get_string(container->record, "Image");

        if (!image || store_image_layers(store, image, &layers) < 0)
                return NULL;
        for (size_t i = 0; layers[i]; i++)
                buffer_printf(&text, "%s%s/%s", i > 0 ? ":" : "", store_layer_root(store), layers[i]);
        return buffer_take(&text);
}

static json_t *graph_driver(const Container *container)
{
        CLEANUP_FREE char *lower = lower_directories(container);
        CLEANUP_FREE char *upper = container_path(container, "upper"), *work = container_path(container, "work"),
                          *merged = container_runtime_path(container, "rootfs");

        return json_pack("{ss s{ss* ss* ss* ss*}}", "Name", "overlay2", "Data", "LowerDir", lower, "MergedDir", merged,
                         "UpperDir", upper, "WorkDir", work);
}

int64_t container_upper_size(const Container *container)
{
        CLEANUP_FREE char *upper = container_path(container, "upper");

        return upper ? path_tree_size_at(AT_FDCWD, upper) : 0;
}

int64_t container_image_size(const Container *container)
{
        CLEANUP_JSON json_t *image = NULL;

        if (store_image_inspect(container->engine->store, json_get_string(container->record, "Image"), &image) < 0)
                return 0;
        return json_get_int(image, "Size", 0);
}

/* The files of the driver local are nobody's business: clients read them with the engine. */
static char *public_log_path(const Container *container)
{
        const json_t *log = json_object_get(container_host_config(container), "LogConfig");

        return str_equal(json_get_string(log, "Type"), "json-file") ? container_log_path(container) : NULL;
}

int container_inspect(Container *container, bool size, json_t **ret_object)
{
        CLEANUP_FREE char *resolv = container_path(container, "resolv.conf"),
                          *hostname = container_path(container, "hostname"),
                          *hosts = container_path(container, "hosts"), *log_path = public_log_path(container),
                          *name = str_printf("/%s", container->name);
        json_t *mounts;
        int r = container_mounts(container, &mounts);

        if (r < 0)
                return r;
        CLEANUP_JSON json_t *host = json_copy((json_t *) container_host_config(container));
        if (!host || json_object_set_new(host, "Links", container_links(container)) < 0)
                return -ENOMEM;
        json_t *object = json_pack(
                "{ss sO sO sO so sO ss* ss* ss* ss ss* si ss ss ss ss ss so sO so so sO so}", "Id", container->id,
                "Created", json_object_get(container->record, "Created"), "Path",
                json_object_get(container->record, "Path"), "Args", json_object_get(container->record, "Args"), "State",
                state_object(container), "Image", json_object_get(container->record, "Image"), "ResolvConfPath", resolv,
                "HostnamePath", hostname, "HostsPath", hosts, "LogPath", log_path && container->run > 0 ? log_path : "",
                "Name", name, "RestartCount", (int) container->restart_count, "Driver", "overlay2", "Platform", "linux",
                "MountLabel", "", "ProcessLabel", "", "AppArmorProfile", "", "ExecIDs", container_exec_ids(container),
                "HostConfig", host, "GraphDriver", graph_driver(container), "Mounts", mounts, "Config",
                container_config(container), "NetworkSettings", container_network_settings(container));
        if (!object)
                return -ENOMEM;
        if (size) {
                int64_t own = container_upper_size(container);
                json_set_int(object, "SizeRw", own);
                json_set_int(object, "SizeRootFs", own + container_image_size(container));
        }
        *ret_object = object;
        return 0;
}
