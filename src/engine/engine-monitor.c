/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container's monitor is told on its command line. */
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/monitor.h"
#include "berth/string.h"
#include "engine-private.h"
#include "engine-scope.h"

typedef struct Arguments {
        char **argv; /* owned */
        int error;   /* the first */
} Arguments;

static void add(Arguments *arguments, const char *option, const char *value)
{
        int r = value ? strv_append(&arguments->argv, option) : -ENOMEM;

        if (r >= 0)
                r = strv_append(&arguments->argv, value);
        if (r < 0 && arguments->error == 0)
                arguments->error = r;
}

static void add_number(Arguments *arguments, const char *option, int64_t value)
{
        char text[24];

        snprintf(text, sizeof(text), "%lld", (long long) value);
        add(arguments, option, text);
}

/* VALUE may be NULL for want of memory, which is told then; it is freed. */
static void add_owned(Arguments *arguments, const char *option, char *value)
{
        add(arguments, option, value);
        free(value);
}

/* Beside the monitor's program. */
static char *compress_program(const Config *config)
{
        const char *slash = strrchr(config->monitor_path, '/');

        return str_printf("%.*sberth-compress", slash ? (int) (slash + 1 - config->monitor_path) : 0,
                          config->monitor_path);
}

static int make_parent(const char *path)
{
        CLEANUP_FREE char *parent = strndup(path, (size_t) (strrchr(path, '/') - path));

        return parent ? path_make_directories(parent, 0700) : -ENOMEM;
}

static int add_log(Arguments *arguments, const Container *container)
{
        const Config *config = container->engine->config;
        const json_t *log = json_object_get(container_host_config(container), "LogConfig");
        CLEANUP_FREE char *path = container_log_path(container);
        int64_t buffer = container_log_buffer(log);
        CLEANUP_ERROR Error error = { 0 };
        ContainerLogFiles files;

        if (container_log_files(log, &files, &error) != 0)
                return -EINVAL;
        int r = path ? make_parent(path) : 0;
        if (r < 0)
                return r;
        add_owned(arguments, "--tag", container_log_tag(container));
        add_owned(arguments, "--spool", engine_spool_path(container->engine, container->id));
        add_number(arguments, "--spool-size", buffer < 0 ? (int64_t) config->log_spool_size : buffer);
        add(arguments, "--log-driver", json_get_string_or(log, "Type", "journald"));
        add(arguments, "--log-path", path ? path : "");
        add_number(arguments, "--log-size", files.size);
        add_number(arguments, "--log-files", files.files);
        add_owned(arguments, "--log-compress", files.compress ? compress_program(config) : strdup(""));
        add(arguments, "--log-drop", buffer < 0 ? "0" : "1");
        add_owned(arguments, "--log-extra", container_log_extra(container));
        return 0;
}

int container_monitor_arguments(const Container *container, int listen_fd, char ***ret_argv)
{
        const Config *config = container->engine->config;
        const json_t *settings = container_config(container);
        int64_t stop_timeout = scope_stop_timeout(settings);
        Arguments arguments = { 0 };
        int r = strv_append(&arguments.argv, config->monitor_path);

        if (r >= 0)
                r = add_log(&arguments, container);
        add(&arguments, "--id", container->id);
        add(&arguments, "--name", container->name);
        add(&arguments, "--image", json_get_string_or(settings, "Image", ""));
        add_number(&arguments, "--run", container->run);
        add(&arguments, "--volatile-exit", container_is_transient(container) ? "1" : "0");
        add_owned(&arguments, "--directory", container_path(container, NULL));
        add(&arguments, "--notify", config->notify_socket);
        add_number(&arguments, "--listen", listen_fd);
        add_owned(&arguments, "--health-state", container_runtime_path(container, MONITOR_HEALTH_STATE));
        add_owned(&arguments, "--resolver",
                  container_has_links(container) ? container_runtime_path(container, MONITOR_RESOLVER_FILE)
                                                 : strdup(""));
        add(&arguments, "--stdin-once", json_get_bool(settings, "StdinOnce") ? "1" : "0");
        add_number(&arguments, "--stop-signal", scope_stop_signal(settings));
        if (stop_timeout >= 0) /* without end otherwise */
                add_number(&arguments, "--stop-timeout", stop_timeout);
        if (r >= 0)
                r = arguments.error;
        if (r < 0) {
                strv_free(arguments.argv);
                return r;
        }
        *ret_argv = arguments.argv;
        return 0;
}
