/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container as GET /containers/ID/json and GET /containers/json show it. */
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
        bool running = container_is_running(container);

        return json_pack("{ss sb sb sb sb sb si si ss so so}", "Status", container_status_name(container), "Running",
                         running, "Paused", 0, "Restarting", 0, "OOMKilled", container->oom_killed, "Dead", 0, "Pid",
                         running ? (int) container->pid : 0, "ExitCode", container->exit_code, "Error",
                         json_get_string_or(container->record, "Error", ""), "StartedAt",
                         time_or_zero(container->started_ns), "FinishedAt", time_or_zero(container->finished_ns));
}

static json_t *mount_of_bind(const char *bind)
{
        CLEANUP_FREE char *copy = strdup(bind);
        char *rest = copy;
        const char *source = strsep(&rest, ":"), *target = strsep(&rest, ":"), *mode = rest ? rest : "";

        if (!source || !target)
                return NULL;
        return json_pack("{ss ss ss ss sb ss}", "Type", "bind", "Source", source, "Destination", target, "Mode", mode,
                         "RW", !strstr(mode, "ro"), "Propagation", "rprivate");
}

static json_t *mount_of_object(const json_t *mount)
{
        return json_pack("{ss ss ss ss sb ss}", "Type", json_get_string_or(mount, "Type", ""), "Source",
                         json_get_string_or(mount, "Source", ""), "Destination",
                         json_get_string_or(mount, "Target", ""), "Mode", "", "RW", !json_get_bool(mount, "ReadOnly"),
                         "Propagation", str_equal(json_get_string(mount, "Type"), "bind") ? "rprivate" : "");
}

int container_mounts(const Container *container, json_t **ret_mounts)
{
        json_t *mounts = json_array(), *entry;
        size_t i;

        json_array_foreach(json_object_get(container_host_config(container), "Binds"), i, entry)
                json_array_append_new(mounts, mount_of_bind(json_string_value(entry)));
        json_array_foreach(json_object_get(container_host_config(container), "Mounts"), i, entry)
                json_array_append_new(mounts, mount_of_object(entry));
        *ret_mounts = mounts;
        return mounts ? 0 : -ENOMEM;
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

static int64_t image_size(const Container *container)
{
        CLEANUP_JSON json_t *image = NULL;

        if (store_image_inspect(container->engine->store, json_get_string(container->record, "Image"), &image) < 0)
                return 0;
        return json_get_int(image, "Size", 0);
}

int container_inspect(Container *container, bool size, json_t **ret_object)
{
        CLEANUP_FREE char *resolv = container_path(container, "resolv.conf"),
                          *hostname = container_path(container, "hostname"),
                          *hosts = container_path(container, "hosts"), *name = str_printf("/%s", container->name);
        json_t *mounts;
        int r = container_mounts(container, &mounts);

        if (r < 0)
                return r;
        json_t *object = json_pack(
                "{ss sO sO sO so sO ss* ss* ss* ss ss* si ss ss ss ss ss sn sO so so sO so}", "Id", container->id,
                "Created", json_object_get(container->record, "Created"), "Path",
                json_object_get(container->record, "Path"), "Args", json_object_get(container->record, "Args"), "State",
                state_object(container), "Image", json_object_get(container->record, "Image"), "ResolvConfPath", resolv,
                "HostnamePath", hostname, "HostsPath", hosts, "LogPath", "", "Name", name, "RestartCount", 0, "Driver",
                "overlay2", "Platform", "linux", "MountLabel", "", "ProcessLabel", "", "AppArmorProfile", "", "ExecIDs",
                "HostConfig", container_host_config(container), "GraphDriver", graph_driver(container), "Mounts",
                mounts, "Config", container_config(container), "NetworkSettings",
                container_network_settings(container));
        if (!object)
                return -ENOMEM;
        if (size) {
                int64_t own = container_upper_size(container);
                json_set_int(object, "SizeRw", own);
                json_set_int(object, "SizeRootFs", own + image_size(container));
        }
        *ret_object = object;
        return 0;
}

/* --- Lists -------------------------------------------------------------------------------------------------------- */

static char *status_text(const Container *container)
{
        int64_t now = time_now_ns();
        CLEANUP_FREE char *span = NULL;

        if (container->removing)
                return strdup("Removal In Progress");
        if (container_is_running(container)) {
                span = duration_words((now - container->started_ns) / 1000000000);
                return span ? str_printf("Up %s", span) : NULL;
        }
        if (container->status != CONTAINER_EXITED)
                return strdup("Created");
        span = duration_words((now - container->finished_ns) / 1000000000);
        return span ? str_printf("Exited (%d) %s ago", container->exit_code, span) : NULL;
}

static char *command_text(const Container *container)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        json_t *argument;
        size_t i;

        buffer_append_string(&text, json_get_string_or(container->record, "Path", ""));
        json_array_foreach(json_object_get(container->record, "Args"), i, argument) {
                const char *s = json_string_value(argument);
                bool quote = strpbrk(s, " \t\n") || !*s;
                buffer_printf(&text, quote ? " '%s'" : " %s", s);
        }
        return buffer_take(&text);
}

static json_t *list_entry(const Container *container, bool size)
{
        CLEANUP_FREE char *name = str_printf("/%s", container->name), *command = command_text(container),
                          *status = status_text(container);
        CLEANUP_JSON json_t *network = container_network_settings(container), *mounts = NULL;

        if (!name || !command || !status || container_mounts(container, &mounts) < 0)
                return NULL;
        json_t *entry = json_pack("{ss s[s] sO? sO? ss sI s[] sO? ss ss s{ss} s{sO?} sO}", "Id", container->id, "Names",
                                  name, "Image", json_object_get(container_config(container), "Image"), "ImageID",
                                  json_object_get(container->record, "Image"), "Command", command, "Created",
                                  (json_int_t) (container->created_ns / 1000000000), "Ports", "Labels",
                                  json_object_get(container_config(container), "Labels"), "State",
                                  container_status_name(container), "Status", status, "HostConfig", "NetworkMode",
                                  container_network_mode(container), "NetworkSettings", "Networks",
                                  json_object_get(network, "Networks"), "Mounts", mounts);
        if (entry && size) {
                int64_t own = container_upper_size(container);
                if (own > 0)
                        json_set_int(entry, "SizeRw", own);
                json_set_int(entry, "SizeRootFs", own + image_size(container));
        }
        return entry;
}

static bool match_id(const char *value, const void *userdata)
{
        return str_after_prefix(((const Container *) userdata)->id, value) != NULL;
}

static bool match_name(const char *value, const void *userdata)
{
        const char *name = ((const Container *) userdata)->name;

        if (value[0] == '^') { /* anchored, the one expression that scripts use */
                CLEANUP_FREE char *exact = strdup(value[1] == '/' ? value + 2 : value + 1);
                if (exact && str_has_suffix(exact, "$")) {
                        exact[strlen(exact) - 1] = 0;
                        return str_equal(exact, name);
                }
                return exact && str_after_prefix(name, exact);
        }
        return strstr(name, value[0] == '/' ? value + 1 : value) != NULL;
}

static bool match_status(const char *value, const void *userdata)
{
        return str_equal(value, container_status_name(userdata));
}

static bool match_exited(const char *value, const void *userdata)
{
        const Container *container = userdata;
        int64_t code;

        return container->status == CONTAINER_EXITED && str_to_int64(value, INT_MIN, INT_MAX, &code) >= 0 &&
               code == container->exit_code;
}

static bool match_network(const char *value, const void *userdata)
{
        return str_equal(value, container_network_mode(userdata));
}

static bool match_ancestor(const char *value, const void *userdata)
{
        const Container *container = userdata;
        CLEANUP_FREE char *id = NULL;

        return store_resolve(container->engine->store, value, &id, NULL) == 0 &&
               str_equal(id, json_get_string(container->record, "Image"));
}

static bool wants_stopped(const ContainerListQuery *query)
{
        return query->all || query->limit > 0 || filters_has(query->filters, "status") ||
               filters_has(query->filters, "exited");
}

static bool is_wanted(const Container *container, const ContainerListQuery *query)
{
        static const struct {
                const char *key;
                bool (*match)(const char *value, const void *userdata);
        } rules[] = { { "id", match_id },         { "name", match_name },       { "status", match_status },
                      { "exited", match_exited }, { "network", match_network }, { "ancestor", match_ancestor } };

        if (!wants_stopped(query) && !container_is_running(container))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
                if (!filters_any(query->filters, rules[i].key, rules[i].match, container))
                        return false;
        return filters_labels(query->filters, json_object_get(container_config(container), "Labels"));
}

static int newest_first(const void *a, const void *b)
{
        const Container *x = *(Container *const *) a, *y = *(Container *const *) b;

        return (x->created_ns < y->created_ns) - (x->created_ns > y->created_ns);
}

typedef struct Bounds {
        Engine *engine;
        int64_t after_ns, before_ns;
        Error *error;
        int result;
} Bounds;

static void read_bound(const char *value, Bounds *bounds, int64_t *ret_ns)
{
        Container *container;
        int r = engine_container_find(bounds->engine, value, &container, bounds->error);

        if (r == 0)
                *ret_ns = container->created_ns;
        else
                bounds->result = r;
}

static void read_since(const char *value, void *userdata)
{
        Bounds *bounds = userdata;

        read_bound(value, bounds, &bounds->after_ns);
}

static void read_before(const char *value, void *userdata)
{
        Bounds *bounds = userdata;

        read_bound(value, bounds, &bounds->before_ns);
}

typedef struct ValueCheck {
        const char *key;
        const char *allowed; /* words between blanks; NULL: an integer */
        Error *error;
        int result;
} ValueCheck;

static void check_value(const char *value, void *userdata)
{
        ValueCheck *check = userdata;
        CLEANUP_FREE char *word = str_printf(" %s ", value);
        int64_t number;
        bool good = check->allowed ? word && strstr(check->allowed, word)
                                   : str_to_int64(value, INT_MIN, INT_MAX, &number) >= 0;

        if (good)
                return;
        if (!check->allowed)
                check->result = error_set(check->error, OUTCOME_BAD_REQUEST,
                                          "invalid filter '%s=%s': strconv.Atoi: parsing \"%s\": invalid syntax",
                                          check->key, value, value);
        else if (str_equal(check->key, "health"))
                check->result =
                        error_set(check->error, OUTCOME_BAD_REQUEST, "unrecognized filter value for health: %s", value);
        else
                check->result =
                        error_set(check->error, OUTCOME_BAD_REQUEST, "invalid filter '%s=%s'", check->key, value);
}

static int check_filter_values(const json_t *filters, Error *error)
{
        static const struct {
                const char *key, *allowed;
        } rules[] = { { "status", " created restarting running removing paused exited dead " },
                      { "health", " none starting healthy unhealthy " },
                      { "exited", NULL } };

        for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
                ValueCheck check = { rules[i].key, rules[i].allowed, error, 0 };
                filters_each(filters, rules[i].key, check_value, &check);
                if (check.result != 0)
                        return check.result;
        }
        return 0;
}

int engine_container_list(Engine *engine, const ContainerListQuery *query, json_t **ret_list, Error *error)
{
        static const char *const known[] = { "ancestor",  "before",  "expose", "exited", "health",  "id",
                                             "isolation", "is-task", "label",  "name",   "network", "publish",
                                             "since",     "status",  "volume", NULL };
        Bounds bounds = { engine, INT64_MIN, INT64_MAX, error, 0 };
        Container *container;
        size_t n = 0, taken = 0;
        int r = filters_check(query->filters, known, error);

        if (r == 0)
                r = check_filter_values(query->filters, error);
        if (r != 0)
                return r;
        filters_each(query->filters, "since", read_since, &bounds);
        filters_each(query->filters, "before", read_before, &bounds);
        if (bounds.result != 0)
                return bounds.result;
        if (wants_stopped(query))
                engine_ensure_all(engine);
        LIST_FOREACH(container, &engine->containers, link)
                n++;
        CLEANUP_FREE Container **sorted = calloc(n + 1, sizeof(Container *));
        CLEANUP_JSON json_t *list = json_array();
        if (!sorted || !list)
                return -ENOMEM;
        n = 0;
        LIST_FOREACH(container, &engine->containers, link)
                if (container->record && container->created_ns > bounds.after_ns &&
                    container->created_ns < bounds.before_ns)
                        sorted[n++] = container;
        qsort(sorted, n, sizeof(*sorted), newest_first);
        for (size_t i = 0; i < n && (query->limit <= 0 || (int64_t) taken < query->limit); i++) {
                if (!is_wanted(sorted[i], query))
                        continue;
                if (json_array_append_new(list, list_entry(sorted[i], query->size)) < 0)
                        return -ENOMEM;
                taken++;
        }
        *ret_list = TAKE_PTR(list);
        return 0;
}
