/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The OCI configuration of a container: tables of defaults, and what HostConfig changes of them. */
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "berth/buffer.h"
#include "berth/json.h"
#include "berth/spec.h"
#include "berth/string.h"

static const char *const all_capabilities[] = {
        "CHOWN",          "DAC_OVERRIDE",   "DAC_READ_SEARCH", "FOWNER",      "FSETID",        "KILL",        "SETGID",
        "SETUID",         "SETPCAP",        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
        "IPC_LOCK",       "IPC_OWNER",      "SYS_MODULE",      "SYS_RAWIO",   "SYS_CHROOT",    "SYS_PTRACE",  "SYS_PACCT",
        "SYS_ADMIN",      "SYS_BOOT",       "SYS_NICE",        "SYS_RESOURCE", "SYS_TIME",     "SYS_TTY_CONFIG", "MKNOD",
        "LEASE",          "AUDIT_WRITE",    "AUDIT_CONTROL",   "SETFCAP",     "MAC_OVERRIDE",  "MAC_ADMIN",   "SYSLOG",
        "WAKE_ALARM",     "BLOCK_SUSPEND",  "AUDIT_READ",      "PERFMON",     "BPF",           "CHECKPOINT_RESTORE",
};

static const char *const default_capabilities[] = {
        "CHOWN",  "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD",  "NET_RAW",    "SETGID",
        "SETUID", "SETFCAP",      "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
};

static const char *const masked_paths[] = {
        "/proc/asound",     "/proc/acpi",       "/proc/interrupts", "/proc/kcore",    "/proc/keys",
        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
        "/sys/firmware",    "/sys/devices/virtual/powercap",
};

static const char *const readonly_paths[] = {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static const struct {
        const char *destination, *type, *source, *options;
} default_mounts[] = {
        { "/proc", "proc", "proc", "nosuid,noexec,nodev" },
        { "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k" },
        { "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5" },
        { "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro" },
        { "/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev" },
        { "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev" },
};

typedef struct Spec {
        const SpecInput *input;
        const json_t *config, *host;
        bool privileged;
        char **capabilities;
        json_t *mounts;
        Error *error;
} Spec;

static json_t *split_options(const char *options)
{
        CLEANUP_FREE char *copy = strdup(options);
        json_t *list = json_array();
        char *rest = copy;

        for (char *option; (option = strsep(&rest, ","));)
                if (*option)
                        json_array_append_new(list, json_string(option));
        return list;
}

static void add_mount(Spec *spec, const char *destination, const char *type, const char *source, const char *options)
{
        json_array_append_new(spec->mounts, json_pack("{ss ss ss so}", "destination", destination, "type", type, "source",
                                                      source, "options", split_options(options)));
}

/* --- Capabilities ------------------------------------------------------------------------------------------------- */

static bool in_list(const json_t *list, const char *name)
{
        json_t *entry;
        size_t i;

        json_array_foreach((json_t *) list, i, entry)
        {
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

        json_array_foreach(json_object_get(spec->host, key), i, entry)
        {
                const char *text = json_string_value(entry);
                const char *bare = strncasecmp(text, "CAP_", 4) == 0 ? text + 4 : text;
                for (k = 0; k < ARRAY_SIZE(all_capabilities) && strcasecmp(all_capabilities[k], bare) != 0; k++)
                        ;
                if (k == ARRAY_SIZE(all_capabilities) && strcasecmp(bare, "ALL") != 0)
                        return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid %s: unknown capability: \"CAP_%s\"", key, bare);
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
                on = on || in_list(add, "ALL") || in_list(add, name);
                if (in_list(drop, name) && !in_list(add, name))
                        on = false;
                if (!on && !spec->privileged)
                        continue;
                CLEANUP_FREE char *full = str_printf("CAP_%s", name);
                r = full ? strv_append(&spec->capabilities, full) : -ENOMEM;
        }
        return r;
}

/* --- Process ------------------------------------------------------------------------------------------------------ */

static bool has_variable(const json_t *list, const char *prefix)
{
        json_t *entry;
        size_t i;

        json_array_foreach((json_t *) list, i, entry)
                if (str_after_prefix(json_string_value(entry), prefix))
                        return true;
        return false;
}

static json_t *environment(const Spec *spec)
{
        const json_t *given = json_object_get(spec->config, "Env");
        json_t *list = json_array(), *entry;
        CLEANUP_FREE char *hostname = str_printf("HOSTNAME=%s", json_get_string_or(spec->config, "Hostname", ""));
        size_t i;

        if (!has_variable(given, "PATH="))
                json_array_append_new(list, json_string("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        if (!has_variable(given, "HOSTNAME="))
                json_array_append_new(list, json_string(hostname));
        if (json_get_bool(spec->config, "Tty") && !has_variable(given, "TERM="))
                json_array_append_new(list, json_string("TERM=xterm"));
        json_array_foreach((json_t *) given, i, entry)
                if (strchr(json_string_value(entry), '='))
                        json_array_append(list, entry);
        return list;
}

static json_t *rlimits(const Spec *spec)
{
        json_t *list = json_array(), *entry;
        size_t i;

        json_array_foreach(json_object_get(spec->host, "Ulimits"), i, entry)
        {
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

static json_t *process_object(const Spec *spec)
{
        const json_t *record = spec->input->record;
        const char *user = json_get_string_or(spec->config, "User", "");
        const char *cwd = json_get_string_or(spec->config, "WorkingDir", "");
        CLEANUP_JSON json_t *arguments = json_pack("[O]", json_object_get(record, "Path"));
        CLEANUP_JSON json_t *capabilities = json_from_strv(spec->capabilities);
        bool root = str_empty(user) || str_equal(user, "0") || str_equal(user, "root") || str_after_prefix(user, "0:") ||
                    str_after_prefix(user, "root:");
        CLEANUP_JSON json_t *none = json_array();
        const json_t *effective = root ? capabilities : none;

        json_array_extend(arguments, json_object_get(record, "Args"));
        return json_pack("{sb s{ss} sO so ss s{sO sO sO} so si}", "terminal", json_get_bool(spec->config, "Tty"), "user",
                         "username", user, "args", arguments, "env", environment(spec), "cwd", *cwd ? cwd : "/", "capabilities",
                         "bounding", capabilities, "effective", effective, "permitted", effective, "rlimits", rlimits(spec),
                         "oomScoreAdj", (int) json_get_int(spec->host, "OomScoreAdj", 0));
}

/* --- Mounts ------------------------------------------------------------------------------------------------------- */

static int add_bind(Spec *spec, const char *bind)
{
        CLEANUP_FREE char *copy = strdup(bind);
        CLEANUP_BUFFER Buffer options = { 0 };
        char *rest = copy;
        const char *source = strsep(&rest, ":"), *target = strsep(&rest, ":");
        const char *propagation = "rprivate";
        bool read_only = false;

        if (!target || target[0] != '/')
                return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid volume specification: '%s'", bind);
        if (source[0] != '/')
                return error_set(spec->error, OUTCOME_NOT_IMPLEMENTED,
                                 "named volumes are not supported by this version of berth: '%s'", bind);
        if (str_equal(target, "/"))
                return error_set(spec->error, OUTCOME_BAD_REQUEST,
                                 "invalid volume specification: '%s': invalid specification: destination can't be '/'", bind);
        for (char *mode; rest && (mode = strsep(&rest, ","));) {
                if (str_equal(mode, "ro"))
                        read_only = true;
                else if (str_equal(mode, "rprivate") || str_equal(mode, "private") || str_equal(mode, "rslave") ||
                         str_equal(mode, "slave") || str_equal(mode, "rshared") || str_equal(mode, "shared"))
                        propagation = mode;
                else if (!str_equal(mode, "rw") && !str_equal(mode, "z") && !str_equal(mode, "Z") && *mode)
                        return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid mode: %s", mode);
        }
        buffer_printf(&options, "rbind,%s,%s", propagation, read_only ? "ro" : "rw");
        add_mount(spec, target, "bind", source, options.data);
        return 0;
}

static int add_mount_object(Spec *spec, const json_t *mount)
{
        const char *type = json_get_string_or(mount, "Type", ""), *target = json_get_string_or(mount, "Target", "");
        const char *source = json_get_string_or(mount, "Source", "");
        bool read_only = json_get_bool(mount, "ReadOnly");
        struct stat st;

        if (target[0] != '/')
                return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid mount config for type \"%s\": field Target must not be empty", type);
        if (str_equal(type, "tmpfs")) {
                add_mount(spec, target, "tmpfs", "tmpfs", read_only ? "nosuid,nodev,noexec,ro" : "nosuid,nodev,noexec");
                return 0;
        }
        if (!str_equal(type, "bind"))
                return error_set(spec->error, OUTCOME_NOT_IMPLEMENTED, "mounts of type \"%s\" are not supported by this version of berth", type);
        if (source[0] != '/' || stat(source, &st) < 0)
                return error_set(spec->error, OUTCOME_BAD_REQUEST,
                                 "invalid mount config for type \"bind\": bind source path does not exist: %s", source);
        add_mount(spec, target, "bind", source, read_only ? "rbind,rprivate,ro" : "rbind,rprivate,rw");
        return 0;
}

static void add_default_mounts(Spec *spec)
{
        char shm[64];

        for (size_t i = 0; i < ARRAY_SIZE(default_mounts); i++) {
                const char *options = default_mounts[i].options;
                if (spec->privileged && str_equal(default_mounts[i].destination, "/sys"))
                        options = "nosuid,noexec,nodev,rw";
                if (spec->privileged && str_equal(default_mounts[i].type, "cgroup"))
                        options = "rw,nosuid,noexec,nodev";
                add_mount(spec, default_mounts[i].destination, default_mounts[i].type, default_mounts[i].source, options);
        }
        snprintf(shm, sizeof(shm), "nosuid,noexec,nodev,mode=1777,size=%lld",
                 (long long) json_get_int(spec->host, "ShmSize", 67108864));
        add_mount(spec, "/dev/shm", "tmpfs", "shm", shm);
}

static int add_mounts(Spec *spec)
{
        const struct {
                const char *destination, *source;
        } files[] = { { "/etc/resolv.conf", spec->input->resolv_conf_path },
                      { "/etc/hostname", spec->input->hostname_path },
                      { "/etc/hosts", spec->input->hosts_path } };
        json_t *entry;
        const char *target;
        size_t i;
        int r = 0;

        add_default_mounts(spec);
        for (i = 0; i < ARRAY_SIZE(files); i++)
                if (files[i].source)
                        add_mount(spec, files[i].destination, "bind", files[i].source, "rbind,rprivate");
        json_object_foreach(json_object_get(spec->host, "Tmpfs"), target, entry)
        {
                CLEANUP_FREE char *options = str_printf("nosuid,nodev,noexec,%s", json_string_value(entry));
                add_mount(spec, target, "tmpfs", "tmpfs", options ? options : "");
        }
        json_array_foreach(json_object_get(spec->host, "Binds"), i, entry)
        {
                if (r == 0)
                        r = add_bind(spec, json_string_value(entry));
        }
        json_array_foreach(json_object_get(spec->host, "Mounts"), i, entry)
        {
                if (r == 0)
                        r = add_mount_object(spec, entry);
        }
        return r;
}

/* --- The "linux" object ------------------------------------------------------------------------------------------- */

static json_t *device_rules(const Spec *spec)
{
        static const struct {
                const char *type;
                int major, minor; /* -1: any */
                const char *access;
        } rules[] = {
                { "c", -1, -1, "m" },   { "b", -1, -1, "m" },   { "c", 1, 3, "rwm" },   { "c", 1, 5, "rwm" },
                { "c", 1, 7, "rwm" },   { "c", 1, 8, "rwm" },   { "c", 1, 9, "rwm" },   { "c", 5, 0, "rwm" },
                { "c", 5, 1, "rwm" },   { "c", 5, 2, "rwm" },   { "c", 136, -1, "rwm" },
        };
        json_t *list = json_array();

        if (spec->privileged) {
                json_array_append_new(list, json_pack("{sb ss}", "allow", 1, "access", "rwm"));
                return list;
        }
        json_array_append_new(list, json_pack("{sb ss}", "allow", 0, "access", "rwm"));
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
                json_t *rule = json_pack("{sb ss ss}", "allow", 1, "type", rules[i].type, "access", rules[i].access);
                if (rules[i].major >= 0)
                        json_object_set_new(rule, "major", json_integer(rules[i].major));
                if (rules[i].minor >= 0)
                        json_object_set_new(rule, "minor", json_integer(rules[i].minor));
                json_array_append_new(list, rule);
        }
        return list;
}

static int add_devices(Spec *spec, json_t *devices, json_t *rules)
{
        json_t *entry;
        size_t i;

        json_array_foreach(json_object_get(spec->host, "Devices"), i, entry)
        {
                const char *source = json_get_string_or(entry, "PathOnHost", "");
                const char *target = json_get_string_or(entry, "PathInContainer", source);
                struct stat st;
                if (stat(source, &st) < 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)))
                        return error_set(spec->error, OUTCOME_FAILED,
                                         "error gathering device information while adding custom device \"%s\": not a device node",
                                         source);
                const char *type = S_ISCHR(st.st_mode) ? "c" : "b";
                json_array_append_new(devices, json_pack("{ss ss si si si si si}", "path", target, "type", type, "major",
                                                         (int) major(st.st_rdev), "minor", (int) minor(st.st_rdev), "fileMode",
                                                         (int) (st.st_mode & 07777), "uid", (int) st.st_uid, "gid",
                                                         (int) st.st_gid));
                json_array_append_new(rules, json_pack("{sb ss si si ss}", "allow", 1, "type", type, "major",
                                                       (int) major(st.st_rdev), "minor", (int) minor(st.st_rdev), "access",
                                                       json_get_string_or(entry, "CgroupPermissions", "rwm")));
        }
        return 0;
}

static json_t *resources(const Spec *spec, json_t *rules)
{
        const json_t *host = spec->host;
        int64_t memory = json_get_int(host, "Memory", 0), swap = json_get_int(host, "MemorySwap", 0);
        int64_t nano = json_get_int(host, "NanoCpus", 0), quota = json_get_int(host, "CpuQuota", 0);
        int64_t period = json_get_int(host, "CpuPeriod", 0), shares = json_get_int(host, "CpuShares", 0);
        int64_t pids = json_get_int(host, "PidsLimit", 0);
        json_t *object = json_pack("{sO}", "devices", rules), *group;

        group = json_object();
        if (memory > 0)
                json_set_int(group, "limit", memory);
        if (swap != 0 && memory > 0)
                json_set_int(group, "swap", swap);
        if (json_get_int(host, "MemoryReservation", 0) > 0)
                json_set_int(group, "reservation", json_get_int(host, "MemoryReservation", 0));
        json_object_set_new(object, "memory", group);
        group = json_object();
        if (nano > 0)
                quota = nano / 10000, period = 100000;
        if (quota > 0)
                json_set_int(group, "quota", quota);
        if (period > 0)
                json_set_int(group, "period", period);
        if (shares > 0)
                json_set_int(group, "shares", shares);
        if (!str_empty(json_get_string(host, "CpusetCpus")))
                json_set_string(group, "cpus", json_get_string(host, "CpusetCpus"));
        if (!str_empty(json_get_string(host, "CpusetMems")))
                json_set_string(group, "mems", json_get_string(host, "CpusetMems"));
        json_object_set_new(object, "cpu", group);
        if (pids > 0)
                json_object_set_new(object, "pids", json_pack("{sI}", "limit", (json_int_t) pids));
        return object;
}

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
                { "cgroup", NULL, str_equal(json_get_string(spec->host, "CgroupnsMode"), "host") || spec->privileged },
        };
        json_t *list = json_array();

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (!kinds[i].host && !str_equal(kinds[i].path, ""))
                        json_array_append_new(list, json_pack("{ss ss*}", "type", kinds[i].type, "path", kinds[i].path));
        return list;
}

static json_t *strings(const char *const *values, size_t n)
{
        json_t *list = json_array();

        for (size_t i = 0; i < n; i++)
                json_array_append_new(list, json_string(values[i]));
        return list;
}

static json_t *sysctls(const Spec *spec)
{
        json_t *object = json_object(), *given = json_get_object(spec->host, "Sysctls");

        if (!str_equal(spec->input->network_namespace_path, "")) {
                json_set_string(object, "net.ipv4.ip_unprivileged_port_start", "0");
                json_set_string(object, "net.ipv4.ping_group_range", "0 2147483647");
        }
        if (given)
                json_object_update(object, given);
        return object;
}

static int apply_security_options(Spec *spec, json_t *config)
{
        json_t *linux_object = json_object_get(config, "linux"), *process = json_object_get(config, "process"), *entry;
        CLEANUP_JSON json_t *seccomp = NULL;
        bool confined = !spec->privileged;
        size_t i;

        json_array_foreach(json_object_get(spec->host, "SecurityOpt"), i, entry)
        {
                const char *option = json_string_value(entry), *profile = str_after_prefix(option, "seccomp=");
                if (str_equal(option, "no-new-privileges") || str_equal(option, "no-new-privileges=true") ||
                    str_equal(option, "no-new-privileges:true"))
                        json_set_bool(process, "noNewPrivileges", true);
                else if (str_equal(profile, "unconfined"))
                        confined = false;
                else if (str_equal(option, "systempaths=unconfined")) {
                        json_object_del(linux_object, "maskedPaths");
                        json_object_del(linux_object, "readonlyPaths");
                } else if (profile && !str_equal(profile, "builtin"))
                        return error_set(spec->error, OUTCOME_NOT_IMPLEMENTED,
                                         "seccomp profiles of one's own are not supported by this version of berth");
                else if (!profile && !str_after_prefix(option, "label") && !str_after_prefix(option, "apparmor") &&
                         !str_after_prefix(option, "no-new-privileges"))
                        return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid --security-opt 2: \"%s\"", option);
        }
        if (!confined)
                return 0;
        int r = spec_default_seccomp(spec->capabilities, &seccomp);
        return r < 0 ? r : json_object_set(linux_object, "seccomp", seccomp);
}

static int build(Spec *spec, json_t **ret_config)
{
        CLEANUP_JSON json_t *rules = device_rules(spec), *devices = json_array(), *config = NULL;
        bool masks = !spec->privileged;
        const json_t *groups = json_object_get(spec->host, "GroupAdd");
        CLEANUP_STRV char **extra = json_to_strv(groups);
        CLEANUP_BUFFER Buffer group_text = { 0 };
        int r = add_devices(spec, devices, rules);

        if (r != 0)
                return r;
        for (char **group = extra; group && *group; group++)
                buffer_printf(&group_text, "%s%s", group == extra ? "" : ",", *group);
        config = json_pack("{ss so s{ss sb} ss ss sO s{ss*} s{so so so so sO so}}", "ociVersion", "1.2.0", "process",
                           process_object(spec), "root", "path", spec->input->rootfs, "readonly",
                           json_get_bool(spec->host, "ReadonlyRootfs"), "hostname",
                           json_get_string_or(spec->config, "Hostname", ""), "domainname",
                           json_get_string_or(spec->config, "Domainname", ""), "mounts", spec->mounts, "annotations",
                           "berth.group-add", group_text.data, "linux", "namespaces", namespaces(spec), "resources",
                           resources(spec, rules), "maskedPaths", strings(masked_paths, masks ? ARRAY_SIZE(masked_paths) : 0),
                           "readonlyPaths", strings(readonly_paths, masks ? ARRAY_SIZE(readonly_paths) : 0), "devices", devices,
                           "sysctl", sysctls(spec));
        if (!config)
                return -ENOMEM;
        if (str_equal(json_get_string(spec->host, "UTSMode"), "host")) {
                json_object_del(config, "hostname");
                json_object_del(config, "domainname");
        }
        r = apply_security_options(spec, config);
        if (r == 0)
                *ret_config = TAKE_PTR(config);
        return r;
}

static int check_modes(Spec *spec)
{
        static const struct {
                const char *key, *allowed;
        } modes[] = {
                { "IpcMode", " private host none shareable " }, { "PidMode", " host " }, { "UTSMode", " host " },
                { "CgroupnsMode", " private host " },           { "UsernsMode", " host " },
        };

        for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
                const char *mode = json_get_string(spec->host, modes[i].key);
                if (str_empty(mode))
                        continue;
                CLEANUP_FREE char *word = str_printf(" %s ", mode);
                if (!word || !strstr(modes[i].allowed, word))
                        return error_set(spec->error, str_after_prefix(mode, "container:") ? OUTCOME_NOT_IMPLEMENTED : OUTCOME_BAD_REQUEST,
                                         "%s \"%s\" is not supported by this version of berth", modes[i].key, mode);
        }
        return 0;
}

int spec_generate(const SpecInput *input, json_t **ret_config, Error *ret_error)
{
        Spec spec = { .input = input,
                      .config = json_object_get(input->record, "Config"),
                      .host = json_object_get(input->record, "HostConfig"),
                      .mounts = json_array(),
                      .error = ret_error };
        spec.privileged = json_get_bool(spec.host, "Privileged");

        int r = check_modes(&spec);
        if (r == 0)
                r = choose_capabilities(&spec);
        if (r == 0)
                r = add_mounts(&spec);
        if (r == 0)
                r = build(&spec, ret_config);
        json_decref(spec.mounts);
        strv_free(spec.capabilities);
        return r;
}
