/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A configuration's mounts: the container's own file systems in a fixed order, then everything the user asked for and
 * the network's files, parents before children. What the user mounts replaces a default of the same destination. */
#include <sys/stat.h>

#include "berth/buffer.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "engine-spec-private.h"

static const struct {
        const char *destination, *type, *source, *options;
} default_mounts[] = {
        { "/proc", "proc", "proc", "nosuid,noexec,nodev" },
        { "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k" },
        { "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5" },
        { "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev" },
        { "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev" },
        { "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev" },
};

/* The modes of "source:destination:mode", and which of them exclude each other. */
static const struct {
        const char *name;
        char kind; /* a mode of each kind once */
} bind_modes[] = {
        { "rw", 'w' },       { "ro", 'w' },         { "z", 'l' },       { "Z", 'l' },         { "private", 'p' },
        { "rprivate", 'p' }, { "shared", 'p' },     { "rshared", 'p' }, { "slave", 'p' },     { "rslave", 'p' },
        { "nocopy", 'c' },   { "consistent", 'm' }, { "cached", 'm' },  { "delegated", 'm' },
};

/* What a tmpfs may be given: flags with their opposite, and data with a value. */
static const char *const tmpfs_flags[] = {
        "suid", "dev", "exec", "atime", "diratime", "relatime", "strictatime", "mand",
};
static const char *const tmpfs_data[] = { "size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol" };
static const char *const tmpfs_words[] = {
        "ro",       "rw",     "sync",    "async", "dirsync", "defaults",   "private",
        "rprivate", "shared", "rshared", "slave", "rslave",  "unbindable", "runbindable",
};

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

static int add_mount(json_t *list, const char *destination, const char *type, const char *source, const char *options)
{
        json_t *mount = json_pack("{ss ss ss so}", "destination", destination, "type", type, "source", source,
                                  "options", split_options(options));

        return mount && json_array_append_new(list, mount) >= 0 ? 0 : -ENOMEM;
}

char *spec_clean_path(const char *path)
{
        CLEANUP_FREE char *copy = strdup(path);
        char *clean = malloc(strlen(path) + 2), *rest = copy;
        size_t length = 0;

        if (!copy || !clean || path[0] != '/') {
                free(clean);
                return NULL;
        }
        for (char *name; (name = strsep(&rest, "/"));) {
                if (!*name || str_equal(name, "."))
                        continue;
                if (str_equal(name, "..")) {
                        while (length > 0 && clean[--length] != '/')
                                ;
                        continue;
                }
                clean[length++] = '/';
                length = (size_t) (stpcpy(clean + length, name) - clean);
        }
        if (length == 0)
                clean[length++] = '/';
        clean[length] = '\0';
        return clean;
}

static const json_t *find_destination(const json_t *list, const char *key, const char *destination)
{
        json_t *entry;
        size_t i;

        json_array_foreach((json_t *) list, i, entry)
                if (str_equal(json_get_string(entry, key), destination))
                        return entry;
        return NULL;
}

/* Adds what a user asked for, once for a destination. */
static int add_user_mount(Spec *spec, json_t *list, const char *destination, const char *type, const char *source,
                          const char *options)
{
        CLEANUP_FREE char *clean = spec_clean_path(destination);

        if (!clean)
                return -ENOMEM;
        if (find_destination(list, "destination", clean))
                return error_set(spec->error, OUTCOME_BAD_REQUEST, "Duplicate mount point: %s", clean);
        return add_mount(list, clean, type, source, options);
}

/* --- tmpfs ------------------------------------------------------------------------------------------------------- */

static bool in_table(const char *const *table, size_t n, const char *word, size_t length)
{
        for (size_t i = 0; i < n; i++)
                if (strlen(table[i]) == length && strncmp(table[i], word, length) == 0)
                        return true;
        return false;
}

/* What decides whether a later option overrides an earlier one; empty for an option that a tmpfs cannot have. */
static void tmpfs_group(const char *option, char group[static 32])
{
        const char *equals = strchr(option, '=');
        const char *bare = str_after_prefix(option, "no");
        size_t length = equals ? (size_t) (equals - option) : strlen(option);

        group[0] = '\0';
        if (equals ? in_table(tmpfs_data, ARRAY_SIZE(tmpfs_data), option, length)
                   : in_table(tmpfs_flags, ARRAY_SIZE(tmpfs_flags), option, length))
                snprintf(group, 32, "%.*s", (int) length, option);
        else if (!equals && bare && in_table(tmpfs_flags, ARRAY_SIZE(tmpfs_flags), bare, strlen(bare)))
                snprintf(group, 32, "%s", bare);
        else if (!equals && in_table(tmpfs_words, ARRAY_SIZE(tmpfs_words), option, length))
                snprintf(group, 32, "%s", str_equal(option, "ro") || str_equal(option, "rw") ? "write" : option);
}

/* OPTIONS with only the last of options that exclude each other. */
static int tmpfs_merge(Spec *spec, const char *options, char **ret)
{
        CLEANUP_JSON json_t *list = split_options(options);
        CLEANUP_BUFFER Buffer merged = { 0 };
        char group[32], other[32];
        int r = 0;

        for (size_t i = 0; r >= 0 && i < json_array_size(list); i++) {
                const char *option = json_string_value(json_array_get(list, i));
                bool overridden = false;

                tmpfs_group(option, group);
                if (!group[0])
                        return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid tmpfs option \"%s\"", option);
                for (size_t j = i + 1; !overridden && j < json_array_size(list); j++) {
                        tmpfs_group(json_string_value(json_array_get(list, j)), other);
                        overridden = str_equal(group, other);
                }
                if (!overridden)
                        r = buffer_printf(&merged, "%s%s", merged.size > 0 ? "," : "", option);
        }
        if (r >= 0)
                *ret = buffer_take(&merged);
        return r < 0 || !*ret ? -ENOMEM : 0;
}

static int add_tmpfs(Spec *spec, json_t *list, const char *destination, const char *more)
{
        CLEANUP_FREE char *options = str_printf("noexec,nosuid,nodev,rprivate,%s", more), *merged = NULL;
        int r;

        if (!options)
                return -ENOMEM;
        if (destination[0] != '/')
                return error_set(spec->error, OUTCOME_BAD_REQUEST,
                                 "invalid mount path: '%s' mount path must be absolute", destination);
        r = tmpfs_merge(spec, options, &merged);
        return r != 0 ? r : add_user_mount(spec, list, destination, "tmpfs", "tmpfs", merged);
}

/* A size in the largest unit that divides it. */
static int print_size(Buffer *buffer, int64_t size)
{
        static const char units[] = "\0kmg";
        size_t unit = 0;

        while (unit < 3 && size % 1024 == 0) {
                size /= 1024;
                unit++;
        }
        return buffer_printf(buffer, ",size=%lld%.1s", (long long) size, units + unit);
}

static int add_tmpfs_object(Spec *spec, json_t *list, const json_t *mount, const char *target)
{
        const json_t *options = json_get_object(mount, "TmpfsOptions");
        CLEANUP_BUFFER Buffer text = { 0 };
        json_t *option;
        size_t i;
        int r = buffer_append_string(&text, json_get_bool(mount, "ReadOnly") ? "ro" : "");

        if (r >= 0 && json_get_int(options, "Mode", 0) != 0)
                r = buffer_printf(&text, ",mode=%llo", (long long) json_get_int(options, "Mode", 0));
        if (r >= 0 && json_get_int(options, "SizeBytes", 0) > 0)
                r = print_size(&text, json_get_int(options, "SizeBytes", 0));
        json_array_foreach(json_get_array(options, "Options"), i, option) {
                const char *key = json_string_value(json_array_get(option, 0));
                const char *value = json_string_value(json_array_get(option, 1));
                if (r >= 0 && key)
                        r = buffer_printf(&text, ",%s%s%s", key, value ? "=" : "", value ? value : "");
        }
        return r < 0 ? r : add_tmpfs(spec, list, target, text.data);
}

/* --- binds and volumes -------------------------------------------------------------------------------------------- */

static void note_propagation(Spec *spec, const char *propagation)
{
        if (str_equal(propagation, "shared") || str_equal(propagation, "rshared"))
                spec->propagation = "shared";
        else if (!spec->propagation && (str_equal(propagation, "slave") || str_equal(propagation, "rslave")))
                spec->propagation = "rslave";
}

static int add_bind(Spec *spec, json_t *list, const char *source, const char *target, bool read_only,
                    const char *propagation)
{
        CLEANUP_FREE char *options = str_printf("rbind%s,%s", read_only ? ",rro" : "", propagation);

        note_propagation(spec, propagation);
        return options ? add_user_mount(spec, list, target, "bind", source, options) : -ENOMEM;
}

static int invalid_bind(Spec *spec, const char *text, const char *reason)
{
        return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid volume specification: '%s'%s%s", text,
                         *reason ? ": " : "", reason);
}

int spec_parse_modes(const char *text, SpecModes *ret)
{
        CLEANUP_FREE char *copy = strdup(text);
        char *rest = *text ? copy : NULL, seen[16] = "";
        SpecModes modes = { 0 };

        if (!copy)
                return -ENOMEM;
        for (char *mode; (mode = strsep(&rest, ","));) {
                size_t i = 0;

                while (i < ARRAY_SIZE(bind_modes) && !str_equal(bind_modes[i].name, mode))
                        i++;
                if (i == ARRAY_SIZE(bind_modes) || strchr(seen, bind_modes[i].kind))
                        return -EINVAL;
                seen[strlen(seen)] = bind_modes[i].kind;
                if (bind_modes[i].kind == 'p')
                        modes.propagation = bind_modes[i].name;
                else if (bind_modes[i].kind == 'w')
                        modes.read_only = str_equal(mode, "ro");
                else if (bind_modes[i].kind == 'c')
                        modes.no_copy = true;
        }
        *ret = modes;
        return 0;
}

/* "source:destination[:modes]" */
static int add_bind_text(Spec *spec, json_t *list, const char *text)
{
        CLEANUP_FREE char *copy = strdup(text), *target = NULL;
        char *rest = copy, *source, *given;
        SpecModes modes;
        int r;

        if (!copy)
                return -ENOMEM;
        source = strsep(&rest, ":");
        given = strsep(&rest, ":");
        if (!given && *text == '/')
                return 0; /* a volume without a name */
        if (!given || str_empty(source) || str_empty(given) || (rest && strchr(rest, ':')))
                return invalid_bind(spec, text, "");
        r = spec_parse_modes(rest ? rest : "", &modes);
        if (r < 0)
                return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid mode: %s", rest);
        target = spec_clean_path(given);
        if (!target) {
                CLEANUP_FREE char *reason =
                        str_printf("invalid mount config for type \"bind\": invalid mount path: '%s' "
                                   "mount path must be absolute",
                                   given);
                return invalid_bind(spec, text, reason ? reason : "");
        }
        if (str_equal(target, "/"))
                return invalid_bind(spec, text,
                                    "invalid mount config for type \"bind\": invalid specification: "
                                    "destination can't be '/'");
        if (source[0] != '/') {
                if (spec->input->check_only || find_destination(spec->input->volumes, "Destination", target))
                        return 0;
                return error_set(spec->error, OUTCOME_FAILED, "volume %s is not mounted", source);
        }
        if (!spec->input->check_only && access(source, F_OK) < 0) {
                r = path_make_directories(source, 0755);
                if (r < 0)
                        return error_set(spec->error, OUTCOME_FAILED,
                                         "error while creating mount source path '%s': mkdir %s: %s", source, source,
                                         strerror(-r));
        }
        return add_bind(spec, list, source, target, modes.read_only,
                        modes.propagation ? modes.propagation : "rprivate");
}

static int invalid_object(Spec *spec, const char *type, const char *reason)
{
        return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid mount config for type \"%s\": %s", type, reason);
}

/* What dockerd, too, only finds when the container starts. */
static int check_read_only_options(Spec *spec, const json_t *options, bool read_only)
{
        static const char *const names[] = { "ReadOnlyNonRecursive", "ReadOnlyForceRecursive" };

        if (spec->input->check_only)
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (json_get_bool(options, names[i]) && !read_only)
                        return error_set(spec->error, OUTCOME_FAILED,
                                         "mount options conflict: !ReadOnly && BindOptions.%s", names[i]);
        if (json_get_bool(options, names[0]) && json_get_bool(options, names[1]))
                return error_set(spec->error, OUTCOME_FAILED, "mount options conflict: %s && BindOptions.%s", names[0],
                                 names[1]);
        return 0;
}

static int add_bind_object(Spec *spec, json_t *list, const json_t *mount, const char *target)
{
        const json_t *options = json_get_object(mount, "BindOptions");
        const char *source = json_get_string_or(mount, "Source", "");
        const char *propagation = json_get_string_or(options, "Propagation", "");
        bool read_only = json_get_bool(mount, "ReadOnly");
        CLEANUP_FREE char *reason = NULL, *text = NULL;
        int r = check_read_only_options(spec, options, read_only);

        if (r != 0)
                return r;
        if (!*source)
                return invalid_object(spec, "bind", "field Source must not be empty");
        if (source[0] != '/') {
                reason = str_printf("invalid mount path: '%s' mount path must be absolute", source);
                return reason ? invalid_object(spec, "bind", reason) : -ENOMEM;
        }
        if (access(source, F_OK) < 0) {
                reason = str_printf("bind source path does not exist: %s", source);
                if (!json_get_bool(options, "CreateMountpoint"))
                        return reason ? invalid_object(spec, "bind", reason) : -ENOMEM;
                r = spec->input->check_only ? 0 : path_make_directories(source, 0755);
                if (r < 0)
                        return r;
        }
        if (!*propagation)
                propagation = "rprivate";
        note_propagation(spec, propagation);
        text = str_printf("%s%s,%s", json_get_bool(options, "NonRecursive") ? "bind" : "rbind",
                          !read_only                                       ? ""
                          : json_get_bool(options, "ReadOnlyNonRecursive") ? ",ro"
                                                                           : ",rro",
                          propagation);
        return text ? add_user_mount(spec, list, target, "bind", source, text) : -ENOMEM;
}

static int add_mount_object(Spec *spec, json_t *list, const json_t *mount)
{
        const char *type = json_get_string_or(mount, "Type", ""), *target = json_get_string_or(mount, "Target", "");
        CLEANUP_FREE char *clean = spec_clean_path(target), *reason = NULL;

        if (!*target)
                return invalid_object(spec, type, "field Target must not be empty");
        if (!clean) {
                reason = str_printf("invalid mount path: '%s' mount path must be absolute", target);
                return reason ? invalid_object(spec, type, reason) : -ENOMEM;
        }
        if (str_equal(clean, "/"))
                return invalid_object(spec, type, "invalid specification: destination can't be '/'");
        if (str_equal(type, "tmpfs"))
                return add_tmpfs_object(spec, list, mount, clean);
        if (str_equal(type, "bind"))
                return add_bind_object(spec, list, mount, clean);
        if (!str_equal(type, "volume") && !str_equal(type, "image"))
                return invalid_object(spec, type, "mount type unknown");
        if (spec->input->check_only || find_destination(spec->input->volumes, "Destination", clean))
                return 0;
        return error_set(spec->error, OUTCOME_FAILED, "%s %s is not mounted", type,
                         json_get_string_or(mount, "Source", ""));
}

static int add_volume(Spec *spec, json_t *list, const json_t *volume)
{
        const char *propagation = json_get_string_or(volume, "Propagation", "");
        const char *read_only = json_get_bool(volume, "RW")                     ? ""
                                : json_get_bool(volume, "ReadOnlyNonRecursive") ? ",ro"
                                                                                : ",rro";
        CLEANUP_FREE char *options = str_printf("%s%s%s%s", json_get_bool(volume, "NonRecursive") ? "bind" : "rbind",
                                                read_only, *propagation ? "," : "", propagation);

        note_propagation(spec, propagation);

        return options ? add_user_mount(spec, list, json_get_string_or(volume, "Destination", ""), "bind",
                                        json_get_string_or(volume, "Source", ""), options)
                       : -ENOMEM;
}

/* One that a device's description has (CDI). */
static int add_described_mount(Spec *spec, json_t *list, const json_t *mount)
{
        const char *type = json_get_string_or(mount, "type", "bind");
        const char *target = json_get_string_or(mount, "containerPath", "");
        json_t *options = json_get_array(mount, "options"), *option;
        CLEANUP_BUFFER Buffer text = { 0 };
        size_t i;
        int r = buffer_append_string(&text, str_equal(type, "bind") ? "rbind,rprivate" : "rprivate");

        json_array_foreach(options, i, option) {
                if (r >= 0 && json_is_string(option))
                        r = buffer_printf(&text, ",%s", json_string_value(option));
        }
        if (r < 0)
                return r;
        if (*target != '/')
                return error_set(spec->error, OUTCOME_FAILED, "CDI device injection failed: invalid mount \"%s\"",
                                 target);
        return add_user_mount(spec, list, target, type, json_get_string_or(mount, "hostPath", type), text.data);
}

/* --- all together ------------------------------------------------------------------------------------------------- */

static int add_user_mounts(Spec *spec, json_t *list)
{
        const char *target;
        json_t *entry, *edits;
        size_t i, j;
        int r = 0;

        json_object_foreach(json_object_get(spec->host, "Tmpfs"), target, entry) {
                if (r == 0)
                        r = add_tmpfs(spec, list, target, json_is_string(entry) ? json_string_value(entry) : "");
        }
        json_array_foreach(json_object_get(spec->host, "Mounts"), i, entry) {
                if (r == 0)
                        r = add_mount_object(spec, list, entry);
        }
        json_array_foreach(json_object_get(spec->host, "Binds"), i, entry) {
                if (r == 0)
                        r = add_bind_text(spec, list, json_is_string(entry) ? json_string_value(entry) : "");
        }
        json_array_foreach((json_t *) spec->input->volumes, i, entry) {
                if (r == 0)
                        r = add_volume(spec, list, entry);
        }
        json_array_foreach((json_t *) spec->input->edits, i, edits)
                json_array_foreach(json_get_array(edits, "mounts"), j, entry) {
                        if (r == 0)
                                r = add_described_mount(spec, list, entry);
                }
        return r;
}

static int add_network_files(Spec *spec, json_t *list)
{
        const struct {
                const char *destination, *source;
        } files[] = { { "/etc/resolv.conf", spec->input->resolv_conf_path },
                      { "/etc/hostname", spec->input->hostname_path },
                      { "/etc/hosts", spec->input->hosts_path } };
        bool read_only = json_get_bool(spec->host, "ReadonlyRootfs");
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(files); i++)
                if (files[i].source && !find_destination(list, "destination", files[i].destination))
                        r = add_mount(list, files[i].destination, "bind", files[i].source,
                                      read_only ? "rbind,rro,rprivate" : "rbind,rprivate");
        return r;
}

static int add_shm(Spec *spec)
{
        const char *mode = json_get_string_or(spec->host, "IpcMode", "");
        char options[96];

        if (str_equal(mode, "none"))
                return 0;
        if (spec->input->shm_path || str_equal(mode, "host"))
                return add_mount(spec->mounts, "/dev/shm", "bind",
                                 spec->input->shm_path ? spec->input->shm_path : "/dev/shm", "rbind,rprivate");
        snprintf(options, sizeof(options), "nosuid,noexec,nodev,mode=1777,size=%lld",
                 (long long) json_get_int(spec->host, "ShmSize", 67108864));
        return add_mount(spec->mounts, "/dev/shm", "tmpfs", "shm", options);
}

static int add_default_mounts(Spec *spec)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(default_mounts); i++) {
                const char *type = default_mounts[i].type;
                bool sys = str_equal(type, "sysfs"), cgroup = str_equal(type, "cgroup");
                bool read_only = !spec->privileged && (sys || (cgroup && !spec->writable_cgroups));
                CLEANUP_FREE char *options = str_printf("%s%s", default_mounts[i].options, read_only ? ",ro" : "");

                r = options ? add_mount(spec->mounts, default_mounts[i].destination, type, default_mounts[i].source,
                                        options)
                            : -ENOMEM;
        }
        return r < 0 ? r : add_shm(spec);
}

/* Takes out the defaults that the user's mounts replace; a /dev of the user's comes with nothing below it. */
static void drop_replaced(Spec *spec, const json_t *list)
{
        bool dev = find_destination(list, "destination", "/dev");

        for (size_t i = json_array_size(spec->mounts); i-- > 0;) {
                const char *destination = json_get_string(json_array_get(spec->mounts, i), "destination");

                if (find_destination(list, "destination", destination) ||
                    (dev && str_after_prefix(destination, "/dev/")))
                        json_array_remove(spec->mounts, i);
        }
}

static size_t depth(const json_t *mount)
{
        size_t n = 0;

        for (const char *p = json_get_string_or(mount, "destination", ""); *p; p++)
                n += *p == '/';
        return n;
}

/* Moves the list's entries behind the defaults, those of few parts first, else in their order. */
static int append_sorted(Spec *spec, const json_t *list)
{
        size_t deepest = 0, n = json_array_size(list);

        for (size_t i = 0; i < n; i++)
                deepest = MAX(deepest, depth(json_array_get(list, i)));
        for (size_t level = 0; level <= deepest; level++)
                for (size_t i = 0; i < n; i++)
                        if (depth(json_array_get(list, i)) == level &&
                            json_array_append(spec->mounts, json_array_get(list, i)) < 0)
                                return -ENOMEM;
        return 0;
}

/* What systemd wants fresh at each start, unless the user mounts something there. */
static int add_systemd_mounts(const Spec *spec, json_t *list)
{
        static const struct {
                const char *destination, *options;
        } mounts[] = { { "/run", "nosuid,nodev,strictatime,mode=755" },
                       { "/run/lock", "nosuid,nodev,noexec,size=5120k,mode=1777" },
                       { "/tmp", "nosuid,nodev,strictatime,mode=1777" } };
        int r = 0;

        for (size_t i = 0; spec->systemd && r >= 0 && i < ARRAY_SIZE(mounts); i++)
                if (!find_destination(list, "destination", mounts[i].destination))
                        r = add_mount(list, mounts[i].destination, "tmpfs", "tmpfs", mounts[i].options);
        return r;
}

int spec_add_mounts(Spec *spec)
{
        CLEANUP_JSON json_t *list = json_array();
        int r = add_default_mounts(spec);

        if (r == 0)
                r = add_user_mounts(spec, list);
        if (r != 0)
                return r;
        drop_replaced(spec, list);
        r = add_systemd_mounts(spec, list);
        if (r == 0 && spec->input->init_path)
                r = add_mount(list, "/sbin/docker-init", "bind", spec->input->init_path, "bind,ro");
        if (r == 0)
                r = add_network_files(spec, list);
        return r == 0 ? append_sorted(spec, list) : r;
}
