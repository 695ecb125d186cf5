/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POST /containers/create: what was asked for and what the image says become one record. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/mount.h"
#include "berth/runtime.h"
#include "berth/spec.h"
#include "engine-cdi.h"
#include "engine-join.h"
#include "engine-limits.h"
#include "engine-runtime.h"
#include "engine-spare.h"
#include "engine-types.h"
#include "engine-volume-private.h"

/* A creation under way; nothing of it is anybody else's until the record is written. */
typedef struct Creation {
        Engine *engine;
        json_t *warnings;
        json_t *config, *host_config;
        char *image_id;
        json_t *image_config; /* the image's "config" object; borrowed from image */
        json_t *image;
        json_t *points; /* what is mounted: see engine-volume-private.h */
        char *name;
        json_t *networks;         /* settings of the endpoints, by name */
        const json_t *networking; /* NetworkingConfig; borrowed */
        bool step;                /* of a build */
} Creation;

static void creation_clear(Creation *creation)
{
        json_decref(creation->warnings);
        json_decref(creation->config);
        json_decref(creation->host_config);
        json_decref(creation->image);
        json_decref(creation->points);
        json_decref(creation->networks);
        free(creation->image_id);
        free(creation->name);
}

static bool is_unset(const json_t *value)
{
        return !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0) ||
               (json_is_array(value) && json_array_size(value) == 0);
}

/* The image's variables first, then those of the request; a name given again replaces. */
static void merge_env(json_t *config, const json_t *image_config)
{
        json_t *ours = json_object_get(config, "Env"), *theirs = json_object_get(image_config, "Env"), *entry, *other;
        CLEANUP_JSON json_t *merged = json_array();
        size_t i, k;

        json_array_foreach(theirs, i, entry) {
                const char *text = json_string_value(entry);
                size_t length = text ? strcspn(text, "=") : 0;
                bool replaced = false;
                json_array_foreach(ours, k, other) {
                        const char *mine = json_string_value(other);
                        if (text && strcspn(mine, "=") == length && strncmp(mine, text, length) == 0)
                                replaced = true;
                }
                if (text && !replaced)
                        json_array_append(merged, entry);
        }
        CLEANUP_JSON json_t *all = json_is_array(ours) ? json_copy(ours) : json_array();
        json_array_extend(all, merged);
        json_object_set(config, "Env", all);
}

static void merge_maps(json_t *config, const json_t *image_config, const char *key)
{
        const json_t *theirs = json_get_object(image_config, key);
        json_t *ours = json_get_object(config, key);

        if (json_object_size(theirs) == 0)
                return;
        CLEANUP_JSON json_t *merged = json_deep_copy(theirs);
        if (ours)
                json_object_update(merged, ours);
        json_object_set(config, key, merged);
}

static void merge_value(json_t *config, const json_t *image_config, const char *key)
{
        json_t *theirs = json_object_get(image_config, key);

        if (is_unset(json_object_get(config, key)) && !is_unset(theirs))
                json_object_set(config, key, theirs);
}

static void merge_image_config(json_t *config, const json_t *image_config)
{
        merge_env(config, image_config);
        merge_maps(config, image_config, "Labels");
        merge_maps(config, image_config, "ExposedPorts");
        merge_maps(config, image_config, "Volumes");
        if (json_object_size(json_object_get(config, "Volumes")) == 0)
                json_object_set_new(config, "Volumes", json_null());
        merge_value(config, image_config, "User");
        merge_value(config, image_config, "WorkingDir");
        merge_value(config, image_config, "StopSignal");
        merge_value(config, image_config, "Shell");
        health_merge(config, image_config);

        /* An entrypoint of one's own also drops the image's command. [""] means none at all. */
        json_t *entrypoint = json_object_get(config, "Entrypoint");
        if (is_unset(entrypoint)) {
                merge_value(config, image_config, "Cmd");
                merge_value(config, image_config, "Entrypoint");
        } else if (json_array_size(entrypoint) == 1 && is_unset(json_array_get(entrypoint, 0)))
                json_object_set_new(config, "Entrypoint", json_null());
}

static int resolve_image(Creation *creation, Error *error)
{
        const char *name = json_get_string(creation->config, "Image");

        if (str_empty(name))
                return error_set(error, OUTCOME_BAD_REQUEST, "no image specified");
        int r = store_resolve(creation->engine->store, name, &creation->image_id, error);
        if (r != 0)
                return r;
        r = store_image_config(creation->engine->store, creation->image_id, &creation->image);
        if (r < 0)
                return r;
        creation->image_config = json_get_object(creation->image, "config");
        merge_image_config(creation->config, creation->image_config);
        return 0;
}

static int check_config(Creation *creation, Error *error)
{
        json_t *config = creation->config;
        const char *working = json_get_string(config, "WorkingDir");
        const char *signal = json_get_string(config, "StopSignal");
        json_t *entrypoint = json_object_get(config, "Entrypoint"), *command = json_object_get(config, "Cmd"), *entry;
        int number;
        size_t i;

        if (!str_empty(working) && working[0] != '/')
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "the working directory '%s' is invalid, it needs to be an absolute path", working);
        if (!str_empty(signal) && signal_parse(signal, &number) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid signal: %s", signal);
        int r = health_check(config, error);
        if (r != 0)
                return r;
        json_array_foreach(json_object_get(config, "Env"), i, entry) {
                const char *text = json_string_value(entry);
                if (str_empty(text) || text[0] == '=')
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid environment variable: %s", text);
        }
        if (json_array_size(entrypoint) == 0 && json_array_size(command) == 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "no command specified");
        const char *program = json_string_value(json_array_size(entrypoint) > 0 ? json_array_get(entrypoint, 0)
                                                                                : json_array_get(command, 0));
        if (str_empty(program) && json_array_size(entrypoint) + json_array_size(command) < 2)
                return error_set(error, OUTCOME_BAD_REQUEST, "no command specified");
        return 0;
}

/* The mode's canonical form goes into the record: "default" and "" are the bridge, and another container is named by
 * its ID. Whether the network is there is asked at the start: clients take a 404 of a creation for a missing image. */
static int check_network_mode(Creation *creation, Error *error)
{
        const char *mode = json_get_string(creation->host_config, "NetworkMode");
        const char *other = mode ? str_after_prefix(mode, "container:") : NULL;
        Container *target;

        if (str_empty(mode) || str_equal(mode, "default"))
                return json_set_string(creation->host_config, "NetworkMode",
                                       json_get_bool(creation->config, "NetworkDisabled") ? "none" : "bridge");
        if (!other)
                return 0;
        if (!str_empty(json_get_string(creation->config, "Hostname")))
                return error_set(error, OUTCOME_BAD_REQUEST, "conflicting options: hostname and the network mode");
        if (engine_container_find(creation->engine, other, &target, NULL) != 0)
                return 0;
        CLEANUP_FREE char *resolved = str_printf("container:%s", target->id);
        return resolved ? json_set_string(creation->host_config, "NetworkMode", resolved) : -ENOMEM;
}

/* The settings of the endpoints: those of NetworkingConfig, and of the network that NetworkMode names. */
static int check_networks(Creation *creation, Error *error)
{
        const char *mode = json_get_string(creation->host_config, "NetworkMode"), *key;
        const char *mac = json_get_string(creation->config, "MacAddress");
        json_t *given = fields_member(creation->networking, "EndpointsConfig"), *entry;
        CLEANUP_JSON json_t *requested = json_is_object(given) ? json_copy(given) : json_object();

        creation->networks = json_object();
        if (!requested || !creation->networks)
                return -ENOMEM;
        if (str_after_prefix(mode, "container:"))
                return json_object_size(requested) == 0
                               ? 0
                               : error_set(error, OUTCOME_BAD_REQUEST,
                                           "conflicting options: cannot connect to other networks: container shares "
                                           "network namespace with another container");
        if (!json_object_get(requested, mode))
                json_object_set_new(requested, mode, json_null());
        json_object_foreach(requested, key, entry) {
                CLEANUP_JSON json_t *settings = NULL;
                const char *wanted = str_equal(key, "default") ? "bridge" : key;
                Network *network = NULL;

                (void) engine_network_find(creation->engine, wanted, &network, NULL);
                int r = endpoint_settings_normalise(entry, network, wanted, &settings, error);
                if (r == 0)
                        r = unhonoured_endpoint_warn(entry, wanted, creation->warnings);
                if (r != 0)
                        return r;
                json_set_string(settings, "NetworkID", ""); /* the start decides, by the name */
                if (!str_empty(mac) && str_equal(key, mode) && str_empty(json_get_string(settings, "MacAddress")))
                        json_set_string(settings, "MacAddress", mac);
                if (!json_object_get(creation->networks, network ? network->name : wanted) || !json_is_null(entry))
                        json_object_set(creation->networks, network ? network->name : wanted, settings);
        }
        return 0;
}

/* What is published is exposed. */
static void expose_bound(json_t *config, const json_t *ports)
{
        CLEANUP_JSON json_t *exposed = json_object_size(json_object_get(config, "ExposedPorts")) > 0
                                               ? json_deep_copy(json_object_get(config, "ExposedPorts"))
                                               : json_object();
        const char *port;
        json_t *ignored;

        json_object_foreach((json_t *) ports, port, ignored) {
                CLEANUP_FREE char *full = str_printf("%s%s", port, strchr(port, '/') ? "" : "/tcp");
                if (full)
                        json_object_set_new(exposed, full, json_object());
        }
        json_object_set(config, "ExposedPorts", exposed);
}

static int check_ports(Creation *creation, Error *error)
{
        json_t *ports = json_object_get(creation->host_config, "PortBindings");
        int r = port_bindings_check(ports, error);

        if (r != 0 || json_object_size(ports) == 0)
                return r;
        if (str_after_prefix(json_get_string(creation->host_config, "NetworkMode"), "container:"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "conflicting options: port publishing and the container type network mode");
        expose_bound(creation->config, ports);
        if (str_equal(json_get_string(creation->host_config, "NetworkMode"), "host"))
                json_array_append_new(creation->warnings,
                                      json_string("Published ports are discarded when using host network mode"));
        return 0;
}

static int check_links(Creation *creation, Error *error)
{
        const char *mode = json_get_string(creation->host_config, "NetworkMode");

        if (json_array_size(json_object_get(creation->host_config, "Links")) == 0)
                return 0;
        if (str_equal(mode, "host"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "conflicting options: host type networking can't be used with links. This would "
                                 "result in undefined behavior");
        if (str_after_prefix(mode, "container:"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "conflicting options: container type network can't be used with links. This would "
                                 "result in undefined behavior");
        return legacy_links_make(creation->engine, creation->host_config, error);
}

static int check_volumes(Creation *creation, Error *error)
{
        return mount_points_read(creation->engine, creation->config, creation->host_config, &creation->points, error);
}

static int check_names(Creation *creation, Error *error)
{
        const char *runtime = json_get_string_or(creation->host_config, "Runtime", "");
        const char *isolation = json_get_string_or(creation->host_config, "Isolation", "");

        json_t *entry;
        size_t i;

        if (str_equal(json_get_string(creation->host_config, "UTSMode"), "host") &&
            !str_empty(json_get_string(creation->config, "Hostname")))
                return error_set(error, OUTCOME_BAD_REQUEST, "conflicting options: hostname and the UTS mode");
        json_array_foreach(json_object_get(creation->host_config, "ExtraHosts"), i, entry) {
                const char *address = strpbrk(json_string_value(entry), ":=");
                if (!address || address == json_string_value(entry) || !address[1])
                        return error_set(error, OUTCOME_BAD_REQUEST, "bad format for add-host: \"%s\"",
                                         json_string_value(entry));
        }
        CLEANUP_STRV char **program = NULL;
        int r = runtime_program(creation->engine->config, runtime, &program, error);
        if (r != 0)
                return r;
        if (*isolation && !str_equal(isolation, "default"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "Invalid isolation: \"%s\" - linux only supports 'default'", isolation);
        return 0;
}

static int check_log_config(Creation *creation, Error *error)
{
        json_t *log = json_object_get(creation->host_config, "LogConfig");
        const char *type = json_get_string(log, "Type");

        if (str_empty(type))
                type = creation->engine->config->log_driver;
        CLEANUP_JSON json_t *normal = json_pack("{ss}", "Type", type);
        json_t *options = json_get_object(log, "Config");
        json_object_set_new(normal, "Config", options ? json_incref(options) : json_object());
        json_object_set(creation->host_config, "LogConfig", normal);
        if (str_equal(type, creation->engine->config->log_driver) && creation->engine->config->log_options &&
            json_object_update_missing(json_object_get(normal, "Config"), creation->engine->config->log_options) < 0)
                return -ENOMEM;
        return container_log_check(normal, creation->warnings, error);
}

static int check_restart_policy(Creation *creation, Error *error)
{
        json_t *policy = json_object_get(creation->host_config, "RestartPolicy");
        const char *name = json_get_string_or(policy, "Name", "");
        bool wanted = *name && !str_equal(name, "no");

        if (wanted && json_get_bool(creation->host_config, "AutoRemove"))
                return error_set(error, OUTCOME_BAD_REQUEST, "can't create 'AutoRemove' container with restart policy");
        int r = restart_policy_check(policy, error);
        if (r != 0)
                return r;
        json_object_set_new(creation->host_config, "RestartPolicy",
                            json_pack("{ss sI}", "Name", *name ? name : "no", "MaximumRetryCount",
                                      (json_int_t) json_get_int(policy, "MaximumRetryCount", 0)));
        return 0;
}

static int check_resources(Creation *creation, Error *error)
{
        if (json_get_int(creation->host_config, "ShmSize", 0) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "SHM size can not be less than 0");
        int r = cdi_normalise(json_object_get(creation->host_config, "DeviceRequests"));
        return r < 0 ? r : limits_check(creation->host_config, false, creation->warnings, error);
}

static int check_joins(Creation *creation, Error *error)
{
        return joins_check(creation->engine, creation->host_config, error);
}

/* What the container may write, or 0. The options were looked at when it was created. */
static uint64_t storage_size(const json_t *host)
{
        const char *text = json_get_string(json_object_get(host, "StorageOpt"), "size");
        int64_t size = 0;

        return text && str_to_size(text, 1024, &size) >= 0 ? (uint64_t) size : 0;
}

static int check_storage(Creation *creation, Error *error)
{
        const json_t *options = json_object_get(creation->host_config, "StorageOpt");
        const char *key;
        const char *size = json_get_string(options, "size");
        int64_t number;
        json_t *value;

        if (size && !mount_quota_supported(creation->engine->container_root))
                return error_set(error, OUTCOME_FAILED,
                                 "--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
        json_object_foreach((json_t *) options, key, value) {
                if (!str_equal(key, "size"))
                        return error_set(error, OUTCOME_FAILED, "Unknown option %s", key);
        }
        if (size && str_to_size(size, 1024, &number) < 0)
                return error_set(error, OUTCOME_FAILED, "invalid size: '%s'", size);
        return 0;
}

static int check_scope(Creation *creation, Error *error)
{
        const char *slice = json_get_string_or(creation->host_config, "CgroupParent", "");

        if (*slice && !str_has_suffix(slice, ".slice"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"");
        if (json_object_get(json_object_get(creation->host_config, "Annotations"), ""))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid Annotations: the empty string is not permitted as an annotation key");
        return 0;
}

/* The lists that hold where the user named none, shown as dockerd shows them. */
static int fill_paths(json_t *host)
{
        CLEANUP_JSON json_t *masked = NULL, *read_only = NULL;

        if (json_get_bool(host, "Privileged"))
                return 0;
        int r = spec_default_paths(&masked, &read_only);
        if (r < 0)
                return r;
        if (!json_is_array(json_object_get(host, "MaskedPaths")))
                json_object_set(host, "MaskedPaths", masked);
        if (!json_is_array(json_object_get(host, "ReadonlyPaths")))
                json_object_set(host, "ReadonlyPaths", read_only);
        return 0;
}

/* Values by which clients say that there is no limit. */
static void drop_unlimited(json_t *host)
{
        if (json_get_int(host, "PidsLimit", 0) <= 0)
                json_object_set_new(host, "PidsLimit", json_null());
        if (json_get_int(host, "MemorySwappiness", 0) == -1)
                json_object_set_new(host, "MemorySwappiness", json_null());
}

/* systemd stops by a signal of its own. */
static void fill_stop_signal(Creation *creation)
{
        const json_t *entrypoint = json_object_get(creation->config, "Entrypoint");
        const json_t *argv = json_array_size(entrypoint) > 0 ? entrypoint : json_object_get(creation->config, "Cmd");

        if (str_empty(json_get_string(creation->config, "StopSignal")) &&
            spec_runs_systemd(creation->config, json_string_value(json_array_get(argv, 0))))
                json_set_string(creation->config, "StopSignal", "SIGRTMIN+3");
}

/* Those of the daemon's that the container has no own of. */
static void add_default_ulimits(json_t *host, const json_t *defaults)
{
        CLEANUP_JSON json_t *list = json_array();
        json_t *own = json_object_get(host, "Ulimits"), *limit, *entry;
        const char *name;
        size_t i;

        if (json_object_size(defaults) == 0 || !list)
                return;
        json_array_extend(list, own);
        json_object_foreach((json_t *) defaults, name, limit) {
                bool found = false;

                json_array_foreach(own, i, entry)
                        found = found || str_equal(json_get_string(entry, "Name"), name);
                if (!found)
                        json_array_append(list, limit);
        }
        json_object_set(host, "Ulimits", list);
}

static void fill_defaults(Creation *creation, const char *id)
{
        json_t *host = creation->host_config;
        const Config *config = creation->engine->config;
        const struct {
                const char *key, *value;
        } strings[] = { { "CgroupnsMode", config->cgroup_namespace },
                        { "IpcMode", config->ipc_mode },
                        { "Runtime", config->runtime } };

        fill_stop_signal(creation);
        for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
                if (str_empty(json_get_string(host, strings[i].key)))
                        json_set_string(host, strings[i].key, strings[i].value);
        if (json_get_int(host, "ShmSize", 0) == 0)
                json_set_int(host, "ShmSize", (int64_t) config->shm_size);
        add_default_ulimits(host, config->ulimits);
        drop_unlimited(host);
        if (json_array_size(json_object_get(host, "ConsoleSize")) != 2)
                json_object_set_new(host, "ConsoleSize", json_pack("[ii]", 0, 0));

        const char *mode = json_get_string(host, "NetworkMode");
        if (!str_empty(json_get_string(creation->config, "Hostname")) || str_after_prefix(mode, "container:"))
                return;
        char name[HOST_NAME_MAX + 1] = { 0 };
        if (str_equal(mode, "host") || str_equal(json_get_string(host, "UTSMode"), "host"))
                gethostname(name, HOST_NAME_MAX);
        else
                memcpy(name, id, ID_SHORT_LENGTH);
        json_set_string(creation->config, "Hostname", name);
}

static int build_record(Creation *creation, const char *id, json_t **ret_record)
{
        json_t *entrypoint = json_object_get(creation->config, "Entrypoint"), *value;
        CLEANUP_JSON json_t *argv = json_is_array(entrypoint) ? json_copy(entrypoint) : json_array();
        char created[TIME_RFC3339_SIZE];
        int64_t now = time_now_ns();

        size_t i;
        json_array_foreach(json_object_get(creation->config, "Cmd"), i, value)
                json_array_append(argv, value);
        CLEANUP_JSON json_t *path = json_incref(json_array_get(argv, 0));
        json_array_remove(argv, 0);
        json_t *record =
                json_pack("{ss ss ss sI sO sO ss sO sO sO sO}", "ID", id, "Name", creation->name, "Created",
                          time_format_rfc3339(now, created), "CreatedNs", (json_int_t) now, "Path", path, "Args", argv,
                          "Image", creation->image_id, "Config", creation->config, "HostConfig", creation->host_config,
                          "MountPoints", creation->points, "Networks", creation->networks);
        if (!record)
                return -ENOMEM;
        if (creation->step)
                json_set_bool(record, "Step", true);
        *ret_record = record;
        return 0;
}

/* Programs look for this file to tell whether they are in a container. */
static int make_environment_mark(const Container *container)
{
        CLEANUP_FREE char *path = container_path(container, "upper/.dockerenv");
        if (!path)
                return -ENOMEM;
        CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
        return fd < 0 ? -errno : 0;
}

static int limit_storage(const Container *container)
{
        CLEANUP_FREE char *upper = container_path(container, "upper"), *work = container_path(container, "work");
        uint64_t size = storage_size(container_host_config(container));

        if (size == 0)
                return 0;
        int r = upper && work ? mount_quota_set(upper, size) : -ENOMEM;
        return r < 0 ? r : mount_quota_join(work, upper);
}

static int make_container_directories(const Container *container)
{
        static const struct {
                const char *name;
                mode_t mode;
        } directories[] = { { NULL, 0710 }, { "upper", 0755 }, { "work", 0700 } };

        for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
                CLEANUP_FREE char *path = container_path(container, directories[i].name);
                if (!path)
                        return -ENOMEM;
                if (mkdir(path, directories[i].mode) < 0)
                        return -errno;
        }
        int r = limit_storage(container);
        return r < 0 ? r : make_environment_mark(container);
}

static int make_container(Creation *creation, Container **ret_container, Error *error)
{
        const char *spare = engine_spare_offer(creation->engine, creation->config, creation->host_config);
        char id[ID_LENGTH + 1];
        int r = spare ? 0 : id_generate(id);

        if (r < 0)
                return r;
        if (spare) {
                strcpy(id, spare);
                engine_spare_take(creation->engine, id); /* also where this fails: an ID is not given twice */
        }
        fill_defaults(creation, id);
        r = fill_paths(creation->host_config);
        if (r < 0)
                return r;
        Container *container = container_new(creation->engine, id);
        if (!container)
                return -ENOMEM;
        container->name = TAKE_PTR(creation->name);
        creation->name = strdup(container->name);
        r = creation->name ? mount_points_make(creation->engine, creation->points, error) : -ENOMEM;
        if (r == 0)
                r = build_record(creation, id, &container->record);
        if (r == 0)
                r = make_container_directories(container);
        if (r == 0)
                r = container_claim_name(container, container->name);
        if (r == 0)
                r = container_save_new(container);
        if (r != 0) {
                CLEANUP_CLOSE int root = open(creation->engine->container_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                path_remove_tree_at(root, id);
                container_free(container);
                mount_points_remove_anonymous(creation->engine, creation->points);
                return r;
        }
        container->created_ns = json_get_int(container->record, "CreatedNs", 0);
        *ret_container = container;
        return 0;
}

/* The specification is generated once to see that it can be: a value it refuses is refused here and not at the
 * start. */
static int check_spec(Creation *creation, Error *error)
{
        CLEANUP_JSON json_t *record = NULL, *spec = NULL;
        CLEANUP_FREE char *name = creation->name;
        char id[ID_LENGTH + 1] = "0";

        creation->name = strdup("check");
        int r = creation->name ? build_record(creation, id, &record) : -ENOMEM;
        free(creation->name);
        creation->name = TAKE_PTR(name);
        if (r < 0)
                return r;
        SpecInput input = { .id = id, .record = record, .rootfs = "/", .check_only = true };
        return spec_generate(&input, &spec, error);
}

static int check_bodies(Creation *creation, const json_t *body, Error *error)
{
        json_t *host = fields_member(body, "HostConfig");

        if (!body)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid JSON: got EOF while reading request body");
        if (!json_is_object(body) && !json_is_null(body))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid JSON: json: cannot unmarshal %s into Go value of type "
                                 "runconfig.ContainerConfigWrapper",
                                 json_type_name(body));
        if (!json_is_object(body))
                return error_set(error, OUTCOME_BAD_REQUEST, "config cannot be empty in order to create a container");
        int r = types_check("container.ContainerConfigWrapper", body, error);
        if (r == 0)
                r = fields_normalise("Config", body, &creation->config, error);
        if (r == 0)
                r = fields_normalise("HostConfig", host, &creation->host_config, error);
        return r;
}

static int create(Engine *engine, const char *name, const json_t *body, bool step, json_t **ret_response, Error *error)
{
        static int (*const checks[])(Creation *, Error *) = {
                resolve_image,   check_config,  check_network_mode, check_networks,   check_ports,
                check_links,     check_volumes, check_names,        check_log_config, check_restart_policy,
                check_resources, check_joins,   check_storage,      check_scope,      check_spec,
        };
        CLEANUP(creation_clear)
        Creation creation = { .engine = engine, .warnings = json_array(), .step = step };
        Container *container;

        /* Most containers are started right after. */
        if (!engine_spare_is_ready(engine))
                engine_reap(engine, runtime_cgroup_warm_up());
        int r = check_bodies(&creation, body, error);
        creation.networking = fields_member(body, "NetworkingConfig");
        if (r == 0)
                r = container_choose_name(engine, name, &creation.name, error);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
                r = checks[i](&creation, error);
        if (r == 0)
                r = unhonoured_container_warn(fields_member(body, "HostConfig"), creation.warnings);
        if (r != 0)
                return r;
        r = make_container(&creation, &container, error);
        if (r != 0)
                return r;
        container_autostart_update(container, true);
        container_event_emit(container, "create", NULL);
        *ret_response = json_pack("{ss sO}", "Id", container->id, "Warnings", creation.warnings);
        return *ret_response ? 0 : -ENOMEM;
}

int engine_container_create(Engine *engine, const char *name, const json_t *body, json_t **ret_response, Error *error)
{
        return create(engine, name, body, false, ret_response, error);
}

int engine_step_create(Engine *engine, const char *name, const json_t *body, json_t **ret_response, Error *error)
{
        return create(engine, name, body, true, ret_response, error);
}
