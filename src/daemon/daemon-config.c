/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* daemon.json and its drop-ins: one table of keys. Every refusal names the file and the key. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <syslog.h>

#include "berth/config.h"
#include "berth/engine.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"

typedef enum KeyKind {
        KEY_STRING,
        KEY_BOOLEAN,
        KEY_STRINGS,
        KEY_SECONDS,
        KEY_NUMBER,
        KEY_SIZE,
        KEY_BRIDGE_ADDRESS,
        KEY_LOG_LEVEL,
        KEY_COUNT,
        KEY_URL,
        KEY_URLS,
        KEY_PROXIES,
        KEY_IPC_MODE,
        KEY_CGROUP_NAMESPACE,
        KEY_ULIMITS,
        KEY_POOLS,
        KEY_ADDRESS,
        KEY_RUNTIMES,
        KEY_LOG_DRIVER,
        KEY_LOG_OPTIONS,
        KEY_NO_EFFECT, /* Docker's, and of no meaning here */
} KeyKind;

typedef struct Key {
        const char *name;
        KeyKind kind;
        size_t offset;
} Key;

static const Key keys[] = {
        { "data-root", KEY_STRING, offsetof(Config, data_root) },
        { "exec-root", KEY_STRING, offsetof(Config, exec_root) },
        { "cgroup-parent", KEY_STRING, offsetof(Config, cgroup_parent) },
        { "group", KEY_STRING, offsetof(Config, group) },
        { "hosts", KEY_STRINGS, offsetof(Config, hosts) },
        { "log-driver", KEY_LOG_DRIVER, offsetof(Config, log_driver) },
        { "log-opts", KEY_LOG_OPTIONS, 0 },
        { "debug", KEY_BOOLEAN, offsetof(Config, debug) },
        { "log-level", KEY_LOG_LEVEL, offsetof(Config, log_level) },
        { "bip", KEY_BRIDGE_ADDRESS, 0 },
        { "mtu", KEY_NUMBER, offsetof(Config, mtu) },
        { "dns", KEY_STRINGS, offsetof(Config, dns) },
        { "dns-search", KEY_STRINGS, offsetof(Config, dns_search) },
        { "dns-opts", KEY_STRINGS, offsetof(Config, dns_options) },
        { "labels", KEY_STRINGS, offsetof(Config, labels) },
        { "default-shm-size", KEY_SIZE, offsetof(Config, shm_size) },
        { "default-ipc-mode", KEY_IPC_MODE, offsetof(Config, ipc_mode) },
        { "default-cgroupns-mode", KEY_CGROUP_NAMESPACE, offsetof(Config, cgroup_namespace) },
        { "default-ulimits", KEY_ULIMITS, 0 },
        { "runtimes", KEY_RUNTIMES, 0 },
        { "default-runtime", KEY_STRING, offsetof(Config, runtime) },
        { "cdi-spec-dirs", KEY_STRINGS, offsetof(Config, cdi_directories) },
        { "log-spool-size", KEY_SIZE, offsetof(Config, log_spool_size) },
        { "idle-timeout", KEY_SECONDS, offsetof(Config, idle_timeout_us) },
        { "insecure-registries", KEY_STRINGS, offsetof(Config, insecure_registries) },
        { "registry-mirrors", KEY_URLS, offsetof(Config, registry_mirrors) },
        { "proxies", KEY_PROXIES, 0 },
        { "search-endpoint", KEY_URL, offsetof(Config, search_endpoint) },
        { "max-concurrent-downloads", KEY_NUMBER, offsetof(Config, downloads) },
        { "max-concurrent-uploads", KEY_NUMBER, offsetof(Config, uploads) },
        { "max-download-attempts", KEY_COUNT, offsetof(Config, download_attempts) },
        { "init", KEY_BOOLEAN, offsetof(Config, init) },
        { "init-path", KEY_STRING, offsetof(Config, init_path) },
        { "strict-ports", KEY_BOOLEAN, offsetof(Config, strict_ports) },
        { "register-machines", KEY_BOOLEAN, offsetof(Config, register_machines) },
        { "live-restore", KEY_NO_EFFECT, 0 },
        { "storage-driver", KEY_NO_EFFECT, 0 },
        { "iptables", KEY_NO_EFFECT, 0 },
        { "ip6tables", KEY_NO_EFFECT, 0 },
        { "userland-proxy", KEY_NO_EFFECT, 0 },
        { "exec-opts", KEY_NO_EFFECT, 0 },
        { "features", KEY_NO_EFFECT, 0 },
        { "experimental", KEY_BOOLEAN, offsetof(Config, experimental) },
        { "default-address-pools", KEY_POOLS, 0 },
        { "host-gateway-ip", KEY_ADDRESS, offsetof(Config, host_gateway) },
        { "shutdown-timeout", KEY_NO_EFFECT, 0 },
};

int config_init(Config *config)
{
        *config = (Config) {
                .data_root = strdup(BERTH_DATA_ROOT),
                .exec_root = strdup(BERTH_EXEC_ROOT),
                .notify_socket = strdup(BERTH_SOCKET),
                .monitor_path = strdup(BERTH_LIBEXECDIR "/berth-monitor"),
                .init_path = strdup(BERTH_LIBEXECDIR "/berth-init"),
                .cgroup_parent = strdup(BERTH_SLICE),
                .group = strdup("berth"),
                .log_driver = strdup("journald"),
                .idle_timeout_us = 10 * 1000000,
                .log_level = LOG_INFO,
                .shm_size = 64 * 1024 * 1024,
                .log_spool_size = 256 * 1024 * 1024,
                .search_endpoint = strdup("https://index.docker.io/v1/"),
                .downloads = 3,
                .uploads = 5,
                .download_attempts = 5,
                .ipc_mode = strdup("private"),
                .cgroup_namespace = strdup("private"),
                .runtime = strdup("berth"),
        };
        static const char *const cdi[] = { "/etc/cdi", "/var/run/cdi" };
        for (size_t i = 0; i < ARRAY_SIZE(cdi); i++)
                if (strv_append(&config->cdi_directories, cdi[i]) < 0)
                        return -ENOMEM;
        return config->ipc_mode && config->cgroup_namespace && config->runtime && config->data_root &&
                               config->exec_root && config->notify_socket && config->monitor_path &&
                               config->init_path && config->cgroup_parent && config->group && config->log_driver &&
                               config->search_endpoint
                       ? 0
                       : -ENOMEM;
}

int config_log_level(const Config *config)
{
        return config->debug ? LOG_DEBUG : config->log_level;
}

void config_clear(Config *config)
{
        free(config->data_root);
        free(config->exec_root);
        free(config->notify_socket);
        free(config->monitor_path);
        free(config->init_path);
        free(config->cgroup_parent);
        free(config->group);
        free(config->log_driver);
        strv_free(config->hosts);
        strv_free(config->dns);
        strv_free(config->dns_search);
        strv_free(config->dns_options);
        strv_free(config->labels);
        strv_free(config->insecure_registries);
        strv_free(config->registry_mirrors);
        free(config->pools);
        free(config->host_gateway);
        free(config->http_proxy);
        free(config->https_proxy);
        free(config->no_proxy);
        free(config->search_endpoint);
        free(config->ipc_mode);
        free(config->cgroup_namespace);
        free(config->runtime);
        json_decref(config->ulimits);
        json_decref(config->runtimes);
        json_decref(config->log_options);
        strv_free(config->cdi_directories);
        *config = (Config) { 0 };
}

static const char *set_string(char **member, const json_t *value)
{
        if (!json_is_string(value) || json_string_length(value) == 0)
                return "must be a string that is not empty";
        char *copy = strdup(json_string_value(value));
        if (!copy)
                return "cannot be kept: out of memory";
        free(*member);
        *member = copy;
        return NULL;
}

static const char *set_strings(char ***member, const json_t *value)
{
        json_t *entry;
        size_t i;

        if (!json_is_array(value))
                return "must be an array of strings";
        json_array_foreach((json_t *) value, i, entry) {
                if (!json_is_string(entry))
                        return "must be an array of strings";
        }
        char **copy = json_to_strv(value);
        if (!copy)
                return "cannot be kept: out of memory";
        strv_free(*member);
        *member = copy;
        return NULL;
}

static const char *set_bridge(Config *config, const json_t *value)
{
        const char *text = json_string_value(value);
        const char *slash = text ? strchr(text, '/') : NULL;
        int64_t prefix;

        if (!slash || slash - text >= INET_ADDRSTRLEN || str_to_int64(slash + 1, 1, 30, &prefix) < 0)
                return "must be an IPv4 address with a prefix of 1 to 30, as in \"172.20.0.1/16\"";
        char address[INET_ADDRSTRLEN] = { 0 };
        memcpy(address, text, (size_t) (slash - text));
        if (inet_pton(AF_INET, address, &config->bridge_gateway) != 1)
                return "must be an IPv4 address with a prefix of 1 to 30, as in \"172.20.0.1/16\"";
        config->bridge_prefix = (uint8_t) prefix;
        return NULL;
}

static const char *set_size(uint64_t *member, const json_t *value)
{
        static const char units[] = "bkmgt";
        const char *text = json_string_value(value);
        char *end = NULL;
        double number = json_is_integer(value) ? (double) json_integer_value(value) : text ? strtod(text, &end) : -1;
        const char *unit = end && *end ? strchr(units, *end | 0x20) : units;

        for (; unit && unit > units; unit--)
                number *= 1024;
        if (!unit || (end && *end && end[1]) || !(number >= 1 && number <= 1e15))
                return "must be a size, as in 67108864 or \"64m\"";
        *member = (uint64_t) number;
        return NULL;
}

/* An http or https URL without a query or a user. */
static bool is_url(const json_t *value)
{
        const char *text = json_string_value(value);
        const char *host = text ? str_after_prefix(text, "https://") : NULL;

        if (text && !host)
                host = str_after_prefix(text, "http://");
        return host && *host && *host != '/' && !strpbrk(host, "?#@ ");
}

static const char *set_urls(char ***member, const json_t *value)
{
        json_t *entry;
        size_t i;

        json_array_foreach((json_t *) value, i, entry) {
                if (!is_url(entry))
                        return "must be an array of http and https URLs without query, fragment and user";
        }
        return set_strings(member, value);
}

/* "" is a value here: no proxy, whatever the environment says. */
static const char *set_proxies(Config *config, const json_t *value)
{
        const struct {
                const char *name;
                char **member;
        } members[] = { { "http-proxy", &config->http_proxy },
                        { "https-proxy", &config->https_proxy },
                        { "no-proxy", &config->no_proxy } };
        const char *name;
        json_t *item;

        if (!json_is_object(value))
                return "must be an object";
        json_object_foreach((json_t *) value, name, item) {
                size_t i = 0;
                while (i < ARRAY_SIZE(members) && !str_equal(members[i].name, name))
                        i++;
                if (i == ARRAY_SIZE(members) || !json_is_string(item))
                        return "may have the members \"http-proxy\", \"https-proxy\" and \"no-proxy\", all strings";
                char *copy = strdup(json_string_value(item));
                if (!copy)
                        return "cannot be kept: out of memory";
                free(*members[i].member);
                *members[i].member = copy;
        }
        return NULL;
}

static const char *set_log_level(int *member, const json_t *value)
{
        static const struct {
                const char *name;
                int level;
        } levels[] = { { "debug", LOG_DEBUG },
                       { "info", LOG_INFO },
                       { "warn", LOG_WARNING },
                       { "error", LOG_ERR },
                       { "fatal", LOG_CRIT } };

        for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
                if (json_is_string(value) && str_equal(levels[i].name, json_string_value(value))) {
                        *member = levels[i].level;
                        return NULL;
                }
        return "must be one of debug, info, warn, error, fatal";
}

static const char *set_choice(char **member, const json_t *value, const char *first, const char *second,
                              const char *problem)
{
        const char *text = json_string_value(value);

        return str_equal(text, first) || str_equal(text, second) ? set_string(member, value) : problem;
}

/* {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 64000}}, the name being said twice. */
static const char *set_ulimits(json_t **member, const json_t *value)
{
        CLEANUP_JSON json_t *limits = json_object();
        const char *name;
        json_t *limit;

        if (!json_is_object(value) || !limits)
                return "must be an object of limits";
        json_object_foreach((json_t *) value, name, limit) {
                if (!str_equal(json_get_string_or(limit, "Name", name), name) ||
                    !json_is_integer(json_object_get(limit, "Hard")) ||
                    !json_is_integer(json_object_get(limit, "Soft")) ||
                    (json_get_int(limit, "Hard", 0) != -1 &&
                     json_get_int(limit, "Soft", 0) > json_get_int(limit, "Hard", 0)))
                        return "must have, for each limit, \"Name\", \"Hard\" and a \"Soft\" that is not above it";
                json_object_set_new(limits, name,
                                    json_pack("{ss sI sI}", "Name", name, "Hard",
                                              (json_int_t) json_get_int(limit, "Hard", 0), "Soft",
                                              (json_int_t) json_get_int(limit, "Soft", 0)));
        }
        json_decref(*member);
        *member = TAKE_PTR(limits);
        return NULL;
}

static bool is_address(const json_t *value)
{
        struct in6_addr address;
        const char *text = json_string_value(value);

        return text && (inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1);
}

/* [{"base": "10.10.0.0/16", "size": 24}, ...]. IPv6 networks take no subnet from here. */
static const char *set_pools(Config *config, const json_t *value)
{
        static const char problem[] =
                "must be an array of objects with the members \"base\", an IPv4 subnet, and \"size\", "
                "a length of prefix from that of the subnet to 30";
        CLEANUP_FREE NetworkPool *pools = calloc(json_array_size(value) + 1, sizeof(*pools));
        json_t *entry;
        size_t i;

        if (!pools)
                return "cannot be kept: out of memory";
        if (!json_is_array(value))
                return problem;
        json_array_foreach((json_t *) value, i, entry) {
                const char *base = json_get_string_or(entry, "base", "");
                CLEANUP_FREE char *address = strndup(base, strcspn(base, "/"));
                int64_t prefix, size = json_get_int(entry, "size", -1);
                struct in_addr parsed;

                if (!address || !strchr(base, '/') || inet_pton(AF_INET, address, &parsed) != 1 ||
                    str_to_int64(strchr(base, '/') + 1, 1, 30, &prefix) < 0 || size < prefix || size > 30)
                        return problem;
                pools[i] = (NetworkPool) { { ntohl(parsed.s_addr) & UINT32_MAX << (32 - prefix), (uint8_t) prefix },
                                           (uint8_t) size };
        }
        free(config->pools);
        config->pools = TAKE_PTR(pools);
        config->n_pools = json_array_size(value);
        return NULL;
}

/* {"crun": {"path": "/usr/bin/crun", "runtimeArgs": ["--debug"]}} */
static const char *set_runtimes(json_t **member, const json_t *value)
{
        const char *name, *key;
        json_t *runtime, *item;

        if (!json_is_object(value))
                return "must be an object of runtimes";
        json_object_foreach((json_t *) value, name, runtime) {
                CLEANUP_STRV char **arguments = json_to_strv(json_get_array(runtime, "runtimeArgs"));
                const char *path = json_get_string_or(runtime, "path", "");

                if (str_equal(name, "berth"))
                        return "must not have one of the name \"berth\"";
                if (*path != '/')
                        return "must have, for each runtime, an absolute \"path\" of a program";
                json_object_foreach(runtime, key, item) {
                        if (!str_equal(key, "path") && !str_equal(key, "runtimeArgs"))
                                return "may have \"path\" and \"runtimeArgs\" only";
                }
                if (json_object_get(runtime, "runtimeArgs") &&
                    strv_length(arguments) != json_array_size(json_get_array(runtime, "runtimeArgs")))
                        return "must have an array of strings as \"runtimeArgs\"";
        }
        json_decref(*member);
        *member = json_deep_copy(value);
        return NULL;
}

static const char *set_log_driver(char **member, const json_t *value)
{
        CLEANUP_FREE char *message = NULL;
        const char *text = json_string_value(value);

        return text && engine_log_config_check(text, NULL, &message)
                       ? set_string(member, value)
                       : "must be one of journald, json-file, local, none";
}

/* {"max-size": "10m"} */
static const char *set_log_options(json_t **member, const json_t *value)
{
        const char *name;
        json_t *option;

        if (!json_is_object(value))
                return "must be an object of options";
        json_object_foreach((json_t *) value, name, option) {
                if (!json_is_string(option))
                        return "must have strings as the values of its options";
        }
        json_decref(*member);
        *member = json_deep_copy(value);
        return NULL;
}

/* NULL, or what is wrong with the value. */
static const char *apply(Config *config, const Key *key, const json_t *value)
{
        char *member = (char *) config + key->offset;

        switch (key->kind) {
        case KEY_STRING:
                return set_string((char **) member, value);
        case KEY_LOG_DRIVER:
                return set_log_driver((char **) member, value);
        case KEY_STRINGS:
                return set_strings((char ***) member, value);
        case KEY_BOOLEAN:
                if (!json_is_boolean(value))
                        return "must be true or false";
                *(bool *) member = json_is_true(value);
                return NULL;
        case KEY_LOG_LEVEL:
                return set_log_level((int *) member, value);
        case KEY_SECONDS:
                if (!json_is_number(value) || json_number_value(value) < -1 || json_number_value(value) > 1e9)
                        return "must be a number of seconds, or -1 for never";
                *(uint64_t *) member =
                        json_number_value(value) < 0 ? UINT64_MAX : (uint64_t) (json_number_value(value) * 1e6);
                return NULL;
        case KEY_NUMBER:
                if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > 65535)
                        return "must be a number from 0 to 65535";
                *(uint32_t *) member = (uint32_t) json_integer_value(value);
                return NULL;
        case KEY_SIZE:
                return set_size((uint64_t *) member, value);
        case KEY_BRIDGE_ADDRESS:
                return set_bridge(config, value);
        case KEY_COUNT:
                if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > 64)
                        return "must be a number from 1 to 64";
                *(uint32_t *) member = (uint32_t) json_integer_value(value);
                return NULL;
        case KEY_URL:
                return is_url(value) ? set_string((char **) member, value)
                                     : "must be an http or https URL without query, fragment and user";
        case KEY_URLS:
                return set_urls((char ***) member, value);
        case KEY_PROXIES:
                return set_proxies(config, value);
        case KEY_IPC_MODE:
                return set_choice((char **) member, value, "private", "shareable",
                                  "must be \"private\" or \"shareable\"");
        case KEY_CGROUP_NAMESPACE:
                return set_choice((char **) member, value, "private", "host", "must be \"private\" or \"host\"");
        case KEY_RUNTIMES:
                return set_runtimes(&config->runtimes, value);
        case KEY_LOG_OPTIONS:
                return set_log_options(&config->log_options, value);
        case KEY_ULIMITS:
                return set_ulimits(&config->ulimits, value);
        case KEY_POOLS:
                return set_pools(config, value);
        case KEY_ADDRESS:
                return is_address(value) ? set_string((char **) member, value) : "must be an IPv4 or IPv6 address";
        default:
                return NULL;
        }
}

static int read_object(Config *config, const char *file, const json_t *object, char ***ret_warnings, char **ret_message)
{
        const char *name, *problem;
        json_t *value;

        json_object_foreach((json_t *) object, name, value) {
                const Key *key = keys;
                while (key < keys + ARRAY_SIZE(keys) && !str_equal(key->name, name))
                        key++;
                if (key == keys + ARRAY_SIZE(keys)) {
                        *ret_message = str_printf("%s: unknown key \"%s\"", file, name);
                        return -EINVAL;
                }
                problem = apply(config, key, value);
                if (problem) {
                        *ret_message = str_printf("%s: key \"%s\" %s", file, name, problem);
                        return -EINVAL;
                }
                if (key->kind == KEY_NO_EFFECT) {
                        CLEANUP_FREE char *warning = str_printf("%s: key \"%s\" has no effect", file, name);
                        if (warning)
                                strv_append(ret_warnings, warning);
                }
        }
        return 0;
}

static int read_one(Config *config, const char *file, char ***ret_warnings, char **ret_message)
{
        CLEANUP_FREE char *text = NULL;
        CLEANUP_JSON json_t *object = NULL;
        json_error_t position;
        int r = file_read_at(AT_FDCWD, file, JSON_SIZE_MAX, &text, NULL);

        if (r == -ENOENT)
                return 0;
        if (r < 0) {
                *ret_message = str_printf("%s: %s", file, strerror(-r));
                return r;
        }
        object = json_loads(text, JSON_REJECT_DUPLICATES, &position);
        if (!json_is_object(object)) {
                *ret_message = str_printf("%s:%d: %s", file, object ? 1 : position.line,
                                          object ? "not a JSON object" : position.text);
                return -EINVAL;
        }
        return read_object(config, file, object, ret_warnings, ret_message);
}

static int is_drop_in(const struct dirent *entry)
{
        return entry->d_name[0] != '.' && str_has_suffix(entry->d_name, ".json");
}

/* What only all files together can tell: whether the driver has these options. */
static int check_together(const Config *config, const char *file, char **ret_message)
{
        CLEANUP_FREE char *problem = NULL;

        if (!config->log_options || engine_log_config_check(config->log_driver, config->log_options, &problem))
                return 0;
        *ret_message = str_printf("%s: key \"log-opts\" does not fit the log driver %s: %s", file, config->log_driver,
                                  problem);
        return -EINVAL;
}

int config_read(Config *config, const char *file, char ***ret_warnings, char **ret_message)
{
        CLEANUP_FREE char *directory = str_printf("%s.d", file);
        struct dirent **entries = NULL;
        int r = read_one(config, file, ret_warnings, ret_message);

        if (r < 0 || !directory)
                return r < 0 ? r : -ENOMEM;
        int n = scandir(directory, &entries, is_drop_in, alphasort);
        for (int i = 0; i < n; i++) {
                CLEANUP_FREE char *path = path_join(directory, entries[i]->d_name);
                if (r >= 0)
                        r = path ? read_one(config, path, ret_warnings, ret_message) : -ENOMEM;
                free(entries[i]);
        }
        free(entries);
        return r < 0 ? r : check_together(config, file, ret_message);
}
