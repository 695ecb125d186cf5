/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The OCI configuration of a container: tables of defaults, and what HostConfig changes of them. Mounts, devices and
 * limits are in files of their own. What is written here was compared with the configurations dockerd writes. */
#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include "berth/buffer.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "engine-spec-private.h"

static const char *const all_capabilities[] = {
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
};

static const char *const default_capabilities[] = {
        "CHOWN",  "DAC_OVERRIDE", "FSETID",  "FOWNER",           "MKNOD",      "NET_RAW", "SETGID",
        "SETUID", "SETFCAP",      "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",    "AUDIT_WRITE",
};

static const char *const masked_paths[] = {
        "/proc/asound",      "/proc/acpi",          "/proc/interrupts", "/proc/kcore",
        "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
        "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap",
};

static const char *const readonly_paths[] = {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

#define PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* --- Capabilities ------------------------------------------------------------------------------------------------- */

void spec_all_capabilities(json_t *list)
{
        for (size_t i = 0; i < ARRAY_SIZE(all_capabilities); i++) {
                CLEANUP_FREE char *name = str_printf("CAP_%s", all_capabilities[i]);

                if (name)
                        json_array_append_new(list, json_string(name));
        }
}

static bool in_list(const json_t *list, const char *name)
{
        json_t *entry;
        size_t i;

        json_array_foreach((json_t *) list, i, entry) {
                const char *text = json_string_value(entry);
                const char *bare = text && strncasecmp(text, "CAP_", 4) == 0 ? text + 4 : text;
                if (bare && strcasecmp(bare, name) == 0)
                        return true;
        }
        return false;
}

static int check_capability_names(Spec *spec, const char *key)
{
        json_t *entry;
        size_t i, k;

        json_array_foreach(json_object_get(spec->host, key), i, entry) {
                const char *text = json_string_value(entry);
                const char *bare = strncasecmp(text, "CAP_", 4) == 0 ? text + 4 : text;
                for (k = 0; k < ARRAY_SIZE(all_capabilities) && strcasecmp(all_capabilities[k], bare) != 0; k++)
                        ;
                if (k < ARRAY_SIZE(all_capabilities) || strcasecmp(bare, "ALL") == 0)
                        continue;
                CLEANUP_FREE char *upper = str_upper(strdup(bare));
                return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid %s: unknown capability: \"CAP_%s\"", key,
                                 upper ? upper : bare);
        }
        return 0;
}

static bool is_default_capability(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(default_capabilities); i++)
                if (str_equal(default_capabilities[i], name))
                        return true;
        return false;
}

static int choose_capabilities(Spec *spec)
{
        const json_t *add = json_object_get(spec->host, "CapAdd"), *drop = json_object_get(spec->host, "CapDrop");
        int r = check_capability_names(spec, "CapAdd");

        if (r == 0)
                r = check_capability_names(spec, "CapDrop");
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(all_capabilities); i++) {
                const char *name = all_capabilities[i];
                bool on = is_default_capability(name) && !in_list(drop, "ALL");
                /* What is dropped by name stays dropped, whatever ALL adds. */
                on = (on || in_list(add, "ALL")) && !in_list(drop, name);
                on = on || in_list(add, name);
                if (!on && !spec->privileged)
                        continue;
                CLEANUP_FREE char *full = str_printf("CAP_%s", name);
                r = full ? strv_append(&spec->capabilities, full) : -ENOMEM;
        }
        return r;
}

/* --- Process ------------------------------------------------------------------------------------------------------ */

/* Puts NAME=VALUE in the place of an earlier NAME, or at the end; NAME alone takes the earlier one away. */
static int set_variable(json_t *list, const char *variable)
{
        size_t length = strcspn(variable, "=");
        json_t *entry;
        size_t i;

        json_array_foreach(list, i, entry) {
                const char *text = json_string_value(entry);

                if (strncmp(text, variable, length) != 0 || text[length] != '=')
                        continue;
                return variable[length] ? json_array_set_new(list, i, json_string(variable))
                                        : json_array_remove(list, i);
        }
        return variable[length] ? json_array_append_new(list, json_string(variable)) : 0;
}

static json_t *environment(const Spec *spec)
{
        CLEANUP_FREE char *hostname = str_printf("HOSTNAME=%s", json_get_string_or(spec->config, "Hostname", ""));
        CLEANUP_JSON json_t *list = json_pack("[ss*]", PATH_DEFAULT, hostname);
        json_t *entry, *edits;
        size_t i, j;

        if (!list || (json_get_bool(spec->config, "Tty") && set_variable(list, "TERM=xterm") < 0))
                return NULL;
        json_array_foreach((json_t *) spec->input->link_environment, i, entry)
                if (set_variable(list, json_string_value(entry)) < 0)
                        return NULL;
        json_array_foreach(json_object_get(spec->config, "Env"), i, entry)
                if (json_is_string(entry) && set_variable(list, json_string_value(entry)) < 0)
                        return NULL;
        if (spec->systemd && spec_systemd_environment(spec, list) < 0)
                return NULL;
        json_array_foreach((json_t *) spec->input->edits, i, edits)
                json_array_foreach(json_get_array(edits, "env"), j, entry)
                        if (json_is_string(entry) && set_variable(list, json_string_value(entry)) < 0)
                                return NULL;
        return TAKE_PTR(list);
}

static json_t *rlimits(const Spec *spec)
{
        json_t *list = json_array(), *entry;
        size_t i;

        json_array_foreach(json_object_get(spec->host, "Ulimits"), i, entry) {
                CLEANUP_FREE char *type = str_printf("RLIMIT_%s", json_get_string_or(entry, "Name", ""));
                for (char *p = type; p && *p; p++)
                        if (*p >= 'a' && *p <= 'z')
                                *p -= 'a' - 'A';
                json_array_append_new(list, json_pack("{ss* sI sI}", "type", type, "soft",
                                                      (json_int_t) json_get_int(entry, "Soft", 0), "hard",
                                                      (json_int_t) json_get_int(entry, "Hard", 0)));
        }
        return list;
}

static json_t *arguments(const Spec *spec)
{
        json_t *list = spec->input->init_path ? json_pack("[ss]", "/sbin/docker-init", "--") : json_array();

        if (list && (json_array_append(list, json_object_get(spec->input->record, "Path")) < 0 ||
                     json_array_extend(list, json_object_get(spec->input->record, "Args")) < 0)) {
                json_decref(list);
                return NULL;
        }
        return list;
}

/* The sets are full for every user: the kernel empties them at the exec of one who is not root, and what a file's own
 * capabilities may give is the bounding set. */
static json_t *process_object(const Spec *spec)
{
        const char *cwd = json_get_string_or(spec->config, "WorkingDir", "");
        CLEANUP_JSON json_t *capabilities = json_from_strv(spec->capabilities);

        return json_pack("{sb s{ss} so so ss s{sO sO sO} so si}", "terminal", json_get_bool(spec->config, "Tty"),
                         "user", "username", json_get_string_or(spec->config, "User", ""), "args", arguments(spec),
                         "env", environment(spec), "cwd", *cwd ? cwd : "/", "capabilities", "bounding", capabilities,
                         "effective", capabilities, "permitted", capabilities, "rlimits", rlimits(spec), "oomScoreAdj",
                         (int) json_get_int(spec->host, "OomScoreAdj", 0));
}

/* --- The "linux" object ------------------------------------------------------------------------------------------- */

static json_t *namespaces(const Spec *spec)
{
        const struct {
                const char *type, *path;
                bool host;
        } kinds[] = {
                { "mount", NULL, false },
                { "network", spec->input->network_namespace_path, false },
                { "uts", NULL, str_equal(json_get_string(spec->host, "UTSMode"), "host") },
                { "pid", spec->input->pid_namespace_path, str_equal(json_get_string(spec->host, "PidMode"), "host") },
                { "ipc", spec->input->ipc_namespace_path, str_equal(json_get_string(spec->host, "IpcMode"), "host") },
                { "cgroup", NULL, str_equal(json_get_string(spec->host, "CgroupnsMode"), "host") },
        };
        json_t *list = json_array();

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (!kinds[i].host && !str_equal(kinds[i].path, ""))
                        json_array_append_new(list,
                                              json_pack("{ss ss*}", "type", kinds[i].type, "path", kinds[i].path));
        return list;
}

static json_t *strings(const char *const *values, size_t n)
{
        json_t *list = json_array();

        for (size_t i = 0; i < n; i++)
                json_array_append_new(list, json_string(values[i]));
        return list;
}

/* Where the host tells of a processor's temperature, programs on it can be told apart. */
static void mask_thermal(json_t *list)
{
        for (long i = 0; i < sysconf(_SC_NPROCESSORS_CONF); i++) {
                char path[80];

                snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%ld/thermal_throttle", i);
                if (access(path, F_OK) < 0)
                        return;
                json_array_append_new(list, json_string(path));
        }
}

/* What the container's user named, an empty list included, or the defaults. */
static json_t *paths(const Spec *spec, const char *key, const char *const *defaults, size_t n)
{
        json_t *given = json_object_get(spec->host, key), *list;

        if (spec->privileged)
                return json_array();
        if (json_is_array(given))
                return json_copy(given);
        list = strings(defaults, n);
        if (defaults == masked_paths)
                mask_thermal(list);
        return list;
}

int spec_default_paths(json_t **ret_masked, json_t **ret_read_only)
{
        CLEANUP_JSON json_t *masked = strings(masked_paths, ARRAY_SIZE(masked_paths));
        CLEANUP_JSON json_t *read_only = strings(readonly_paths, ARRAY_SIZE(readonly_paths));

        if (!masked || !read_only)
                return -ENOMEM;
        mask_thermal(masked);
        *ret_masked = TAKE_PTR(masked);
        *ret_read_only = TAKE_PTR(read_only);
        return 0;
}

static json_t *sysctls(const Spec *spec)
{
        json_t *object = json_object(), *given = json_get_object(spec->host, "Sysctls");

        if (!spec->input->network_namespace_path) {
                json_set_string(object, "net.ipv4.ip_unprivileged_port_start", "0");
                json_set_string(object, "net.ipv4.ping_group_range", "0 2147483647");
        }
        if (given)
                json_object_update(object, given);
        return object;
}

/* --- Security options --------------------------------------------------------------------------------------------- */

typedef struct Security {
        bool no_new_privileges, unconfined_paths;
        const char *seccomp;  /* NULL: the default profile, else "unconfined" or a profile's text */
        const char *apparmor; /* NULL: none */
} Security;

static int invalid_option(Spec *spec, int kind, const char *option)
{
        return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid --security-opt %d: \"%s\"", kind, option);
}

/* "true" and "false" in the forms Go's strconv.ParseBool() takes. */
static int parse_bool(const char *text, bool *ret)
{
        static const char *const words[][2] = {
                { "1", "0" }, { "t", "f" }, { "T", "F" }, { "TRUE", "FALSE" }, { "true", "false" }, { "True", "False" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                for (size_t j = 0; j < 2; j++)
                        if (str_equal(text, words[i][j])) {
                                *ret = j == 0;
                                return 0;
                        }
        return -EINVAL;
}

static int parse_security_option(Spec *spec, const char *option, Security *security)
{
        size_t length = strcspn(option, "=");
        CLEANUP_FREE char *key = NULL;
        const char *value;

        if (str_equal(option, "no-new-privileges")) {
                security->no_new_privileges = true;
                return 0;
        }
        if (str_equal(option, "disable"))
                return 0;
        /* A colon instead of "=" is the older form. */
        if (!option[length])
                length = strcspn(option, ":");
        if (!option[length])
                return invalid_option(spec, 1, option);
        key = strndup(option, length);
        value = option + length + 1;
        if (!key)
                return -ENOMEM;
        if (str_equal(key, "seccomp"))
                security->seccomp = str_equal(value, "builtin") ? NULL : value;
        else if (str_equal(key, "apparmor"))
                security->apparmor = value;
        else if (str_equal(key, "systempaths") && str_equal(value, "unconfined"))
                security->unconfined_paths = true;
        else if (str_equal(key, "no-new-privileges"))
                return parse_bool(value, &security->no_new_privileges) < 0 ? invalid_option(spec, 2, option) : 0;
        else if (str_equal(key, "writable-cgroups"))
                return parse_bool(value, &spec->writable_cgroups) < 0 ? invalid_option(spec, 2, option) : 0;
        else if (!str_equal(key, "label"))
                return invalid_option(spec, 2, option);
        return 0;
}

static int parse_security_options(Spec *spec, Security *security)
{
        json_t *entry;
        size_t i;
        int r = 0;

        json_array_foreach(json_object_get(spec->host, "SecurityOpt"), i, entry) {
                if (r == 0)
                        r = parse_security_option(spec, json_is_string(entry) ? json_string_value(entry) : "",
                                                  security);
        }
        return r;
}

static bool host_has_apparmor(void)
{
        CLEANUP_FREE char *enabled = NULL;

        return file_read_at(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 16, &enabled, NULL) >= 0 &&
               enabled[0] == 'Y';
}

static int apply_security(Spec *spec, const Security *security, json_t *config)
{
        json_t *linux_object = json_object_get(config, "linux"), *process = json_object_get(config, "process");
        json_t *seccomp = NULL;
        int r;

        if (security->no_new_privileges)
                json_set_bool(process, "noNewPrivileges", true);
        if (security->unconfined_paths) {
                json_object_del(linux_object, "maskedPaths");
                json_object_del(linux_object, "readonlyPaths");
        }
        if (security->apparmor && !str_equal(security->apparmor, "unconfined") && host_has_apparmor())
                json_set_string(process, "apparmorProfile", security->apparmor);
        if (spec->privileged || str_equal(security->seccomp, "unconfined"))
                return 0;
        r = security->seccomp ? spec_custom_seccomp(security->seccomp, spec->capabilities, &seccomp, spec->error)
                              : spec_default_seccomp(spec->capabilities, &seccomp);
        return r != 0 ? r : json_object_set_new(linux_object, "seccomp", seccomp);
}

/* --- All together ------------------------------------------------------------------------------------------------- */

static int check_mode(Spec *spec, const char *key, const char *name, const char *allowed, const char *joined_path)
{
        const char *mode = json_get_string(spec->host, key);
        CLEANUP_FREE char *word = str_printf(" %s ", mode ? mode : "");

        if (!word)
                return -ENOMEM;
        if (str_empty(mode) || strstr(allowed, word))
                return 0;
        if (!str_after_prefix(mode, "container:") || !strstr(allowed, " container: "))
                return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid %s mode: %s", name, mode);
        if (joined_path || spec->input->check_only)
                return 0;
        return error_set(spec->error, OUTCOME_NOT_IMPLEMENTED, "%s mode \"%s\" is not supported", name, mode);
}

static int check_values(Spec *spec)
{
        int64_t score = json_get_int(spec->host, "OomScoreAdj", 0);
        const char *cwd = json_get_string_or(spec->config, "WorkingDir", "");
        int r = check_mode(spec, "IpcMode", "IPC",
                           " none private shareable host container: ", spec->input->ipc_namespace_path);

        if (r == 0)
                r = check_mode(spec, "PidMode", "PID", " host container: ", spec->input->pid_namespace_path);
        if (r == 0)
                r = check_mode(spec, "UTSMode", "UTS", " host ", NULL);
        if (r == 0)
                r = check_mode(spec, "CgroupnsMode", "cgroup namespace", " private host ", NULL);
        if (r == 0)
                r = check_mode(spec, "UsernsMode", "user namespace", " host ", NULL);
        if (r != 0)
                return r;
        if (score < -1000 || score > 1000)
                return error_set(spec->error, OUTCOME_BAD_REQUEST,
                                 "Invalid value %lld, range for oom score adj is [-1000, 1000]", (long long) score);
        if (*cwd && *cwd != '/')
                return error_set(spec->error, OUTCOME_BAD_REQUEST,
                                 "the working directory '%s' is invalid, it needs to be an absolute path", cwd);
        return 0;
}

static int group_names(const Spec *spec, Buffer *names)
{
        json_t *entry;
        size_t i;
        int r = buffer_append_string(names, "");

        json_array_foreach(json_object_get(spec->host, "GroupAdd"), i, entry) {
                if (r >= 0)
                        r = buffer_printf(names, "%s%s", names->size > 0 ? "," : "",
                                          json_is_string(entry) ? json_string_value(entry) : "");
        }
        return r;
}

/* For other runtimes. Names of ours stay ours. */
static int add_annotations(const Spec *spec, json_t *config)
{
        json_t *annotations = json_get_object(config, "annotations"), *value;
        const char *name;

        json_object_foreach(json_get_object(spec->host, "Annotations"), name, value)
                if (!str_after_prefix(name, "berth.") && json_object_set(annotations, name, value) < 0)
                        return -ENOMEM;
        return 0;
}

static int build(Spec *spec, json_t **ret_config)
{
        CLEANUP_JSON json_t *config = NULL, *limits = NULL;
        CLEANUP_BUFFER Buffer groups = { 0 };
        bool host_names = str_equal(json_get_string(spec->host, "UTSMode"), "host");
        int r = spec_resources(spec, &limits);

        if (r == 0)
                r = group_names(spec, &groups);
        if (r != 0)
                return r;
        config = json_pack("{ss so s{ss sb} ss* ss* sO s{ss} s{so sO so so sO so ss*}}", "ociVersion", "1.2.0",
                           "process", process_object(spec), "root", "path", spec->input->rootfs, "readonly",
                           json_get_bool(spec->host, "ReadonlyRootfs"), "hostname",
                           host_names ? NULL : json_get_string_or(spec->config, "Hostname", ""), "domainname",
                           host_names ? NULL : json_get_string_or(spec->config, "Domainname", ""), "mounts",
                           spec->mounts, "annotations", "berth.group-add", groups.data ? groups.data : "", "linux",
                           "namespaces", namespaces(spec), "resources", limits, "maskedPaths",
                           paths(spec, "MaskedPaths", masked_paths, ARRAY_SIZE(masked_paths)), "readonlyPaths",
                           paths(spec, "ReadonlyPaths", readonly_paths, ARRAY_SIZE(readonly_paths)), "devices",
                           spec->devices, "sysctl", sysctls(spec), "rootfsPropagation", spec->propagation);
        if (!config || add_annotations(spec, config) < 0)
                return -ENOMEM;
        *ret_config = TAKE_PTR(config);
        return 0;
}

static int generate(Spec *spec, json_t **ret_config)
{
        CLEANUP_JSON json_t *config = NULL;
        Security security = {};
        int r = check_values(spec);

        if (r == 0)
                r = choose_capabilities(spec);
        if (r == 0)
                r = parse_security_options(spec, &security);
        if (r == 0)
                r = spec_add_mounts(spec);
        if (r == 0)
                r = spec_add_devices(spec);
        if (r == 0)
                r = build(spec, &config);
        if (r == 0)
                r = apply_security(spec, &security, config);
        if (r == 0)
                *ret_config = TAKE_PTR(config);
        return r;
}

int spec_generate(const SpecInput *input, json_t **ret_config, Error *ret_error)
{
        Spec spec = {
                .input = input,
                .config = json_object_get(input->record, "Config"),
                .host = json_object_get(input->record, "HostConfig"),
                .mounts = json_array(),
                .devices = json_array(),
                .rules = json_array(),
                .error = ret_error,
        };
        int r = -ENOMEM;

        spec.privileged = json_get_bool(spec.host, "Privileged");
        spec.systemd = spec_runs_systemd(spec.config, json_get_string(input->record, "Path"));
        spec.writable_cgroups = spec.systemd && !str_equal(json_get_string(spec.host, "CgroupnsMode"), "host");
        if (spec.mounts && spec.devices && spec.rules)
                r = generate(&spec, ret_config);
        json_decref(spec.mounts);
        json_decref(spec.devices);
        json_decref(spec.rules);
        strv_free(spec.capabilities);
        return r;
}
