/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A configuration's devices, the rules about them, and its limits. */
#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "berth/json.h"
#include "berth/mount.h"
#include "berth/string.h"
#include "engine-spec-private.h"

#define DEVICE_DEPTH_MAX 8

/* What a container has without asking. Making a node is no access to it; the last but one is the terminals of its own
 * /dev/pts. */
static const struct {
        const char *type;
        int major, minor; /* -1: any */
        const char *access;
} default_rules[] = {
        { "c", -1, -1, "m" }, { "b", -1, -1, "m" }, { "c", 1, 3, "rwm" },    { "c", 1, 5, "rwm" },
        { "c", 1, 7, "rwm" }, { "c", 1, 8, "rwm" }, { "c", 1, 9, "rwm" },    { "c", 5, 0, "rwm" },
        { "c", 5, 1, "rwm" }, { "c", 5, 2, "rwm" }, { "c", 136, -1, "rwm" },
};

/* Names of the host's /dev that are of its terminals and file systems. */
static const char *const not_devices[] = {
        "pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev",
};

static int add_rule(json_t *rules, const char *type, int64_t major_number, int64_t minor_number, const char *access)
{
        json_t *rule = json_pack("{sb ss ss}", "allow", 1, "type", type, "access", access);

        if (rule && major_number >= 0)
                json_object_set_new(rule, "major", json_integer(major_number));
        if (rule && minor_number >= 0)
                json_object_set_new(rule, "minor", json_integer(minor_number));
        return rule && json_array_append_new(rules, rule) >= 0 ? 0 : -ENOMEM;
}

/* --- nodes -------------------------------------------------------------------------------------------------------- */

static int add_node(Spec *spec, const struct stat *st, const char *target, const char *access)
{
        const char *type = S_ISCHR(st->st_mode) ? "c" : "b";
        int major_number = (int) major(st->st_rdev), minor_number = (int) minor(st->st_rdev);
        json_t *device = json_pack("{ss ss si si si si si}", "path", target, "type", type, "major", major_number,
                                   "minor", minor_number, "fileMode", (int) (st->st_mode & 07777), "uid",
                                   (int) st->st_uid, "gid", (int) st->st_gid);

        if (!device || json_array_append_new(spec->devices, device) < 0)
                return -ENOMEM;
        return access ? add_rule(spec->rules, type, major_number, minor_number, access) : 0;
}

static bool is_listed(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(not_devices); i++)
                if (str_equal(not_devices[i], name))
                        return true;
        return false;
}

/* Every device below a directory. ACCESS NULL: no rule is needed. */
static int add_directory(Spec *spec, const char *source, const char *target, const char *access, unsigned int level)
{
        CLEANUP_CLOSEDIR DIR *directory = level < DEVICE_DEPTH_MAX ? opendir(source) : NULL;
        struct dirent *entry;
        int r = 0;

        while (directory && r >= 0 && (entry = readdir(directory))) {
                CLEANUP_FREE char *from = NULL, *to = NULL;
                struct stat st;

                if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..") || is_listed(entry->d_name))
                        continue;
                from = str_printf("%s/%s", source, entry->d_name);
                to = str_printf("%s/%s", target, entry->d_name);
                if (!from || !to)
                        return -ENOMEM;
                if (lstat(from, &st) < 0)
                        continue;
                if (S_ISDIR(st.st_mode))
                        r = add_directory(spec, from, to, access, level + 1);
                else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
                        r = add_node(spec, &st, to, access);
        }
        return r;
}

static int add_device(Spec *spec, const json_t *mapping)
{
        const char *source = json_get_string_or(mapping, "PathOnHost", "");
        const char *target = json_get_string_or(mapping, "PathInContainer", "");
        const char *access = json_get_string_or(mapping, "CgroupPermissions", "");
        CLEANUP_ERROR Error reason = {};
        struct stat st;

        if (!*target)
                target = source;
        if (!*access)
                access = "rwm";
        if (strspn(access, "rwm") != strlen(access))
                return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid device mode: %s", access);
        if (spec->input->check_only)
                return 0;
        if (stat(source, &st) < 0) {
                mount_error(&reason, errno, "error gathering device information while adding custom device \"%s\"",
                            source);
                return error_set(spec->error, OUTCOME_FAILED, "%s", reason.message ? reason.message : source);
        }
        if (S_ISDIR(st.st_mode))
                return add_directory(spec, source, target, access, 0);
        if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
                return error_set(
                        spec->error, OUTCOME_FAILED,
                        "error gathering device information while adding custom device \"%s\": not a device node",
                        source);
        return add_node(spec, &st, target, access);
}

/* A node that a device's description has (CDI): what it does not say is as the host has it. */
static int add_described(Spec *spec, const json_t *node)
{
        const char *target = json_get_string_or(node, "path", "");
        const char *source = json_get_string_or(node, "hostPath", target);
        const char *type = json_get_string_or(node, "type", "");
        const char *access = json_get_string_or(node, "permissions", "rwm");
        struct stat st = { 0 };
        bool known = stat(source, &st) >= 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode));

        if (*target != '/' || strspn(access, "rwm") != strlen(access) ||
            (!known && (!*type || !json_object_get(node, "major") || !json_object_get(node, "minor"))))
                return error_set(spec->error, OUTCOME_FAILED,
                                 "CDI device injection failed: failed to stat CDI host device \"%s\": no such file or "
                                 "directory",
                                 source);
        if (*type)
                st.st_mode = (st.st_mode & 07777) | (*type == 'b' ? S_IFBLK : S_IFCHR);
        if (json_object_get(node, "major"))
                st.st_rdev = makedev((unsigned int) json_get_int(node, "major", 0),
                                     (unsigned int) json_get_int(node, "minor", 0));
        if (json_object_get(node, "fileMode"))
                st.st_mode = (st.st_mode & S_IFMT) | ((mode_t) json_get_int(node, "fileMode", 0) & 07777);
        st.st_uid = (uid_t) json_get_int(node, "uid", st.st_uid);
        st.st_gid = (gid_t) json_get_int(node, "gid", st.st_gid);
        return add_node(spec, &st, target, access);
}

static int add_all_described(Spec *spec)
{
        json_t *edits, *node;
        size_t i, j;
        int r = 0;

        json_array_foreach((json_t *) spec->input->edits, i, edits)
                json_array_foreach(json_get_array(edits, "deviceNodes"), j, node) {
                        if (r == 0)
                                r = add_described(spec, node);
                }
        return r;
}

/* "c 10:* rwm" */
static int add_rule_text(Spec *spec, const char *text)
{
        char type[2], major_text[16], minor_text[16], access[4], end;
        int64_t major_number = -1, minor_number = -1;

        if (sscanf(text, "%1[acb] %15[0-9*]:%15[0-9*] %3[rwm]%c", type, major_text, minor_text, access, &end) != 4 ||
            (!str_equal(major_text, "*") && str_to_int64(major_text, 0, UINT32_MAX, &major_number) < 0) ||
            (!str_equal(minor_text, "*") && str_to_int64(minor_text, 0, UINT32_MAX, &minor_number) < 0))
                return error_set(spec->error, OUTCOME_BAD_REQUEST, "invalid device cgroup rule format: '%s'", text);
        return add_rule(spec->rules, type, major_number, minor_number, access);
}

int spec_add_devices(Spec *spec)
{
        json_t *entry;
        size_t i;
        int r = 0;

        if (spec->privileged) {
                json_array_append_new(spec->rules, json_pack("{sb ss}", "allow", 1, "access", "rwm"));
                return spec->input->check_only ? 0 : add_directory(spec, "/dev", "/dev", NULL, 0);
        }
        json_array_append_new(spec->rules, json_pack("{sb ss}", "allow", 0, "access", "rwm"));
        for (i = 0; r == 0 && i < ARRAY_SIZE(default_rules); i++)
                r = add_rule(spec->rules, default_rules[i].type, default_rules[i].major, default_rules[i].minor,
                             default_rules[i].access);
        json_array_foreach(json_object_get(spec->host, "Devices"), i, entry) {
                if (r == 0)
                        r = add_device(spec, entry);
        }
        json_array_foreach(json_object_get(spec->host, "DeviceCgroupRules"), i, entry) {
                if (r == 0)
                        r = add_rule_text(spec, json_is_string(entry) ? json_string_value(entry) : "");
        }
        return r == 0 ? add_all_described(spec) : r;
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static void copy_positive(json_t *object, const char *key, const json_t *host, const char *field)
{
        int64_t value = json_get_int(host, field, 0);

        if (value > 0)
                json_set_int(object, key, value);
}

static void copy_text(json_t *object, const char *key, const json_t *host, const char *field)
{
        if (!str_empty(json_get_string(host, field)))
                json_set_string(object, key, json_get_string(host, field));
}

static json_t *memory_limits(const json_t *host)
{
        int64_t memory = json_get_int(host, "Memory", 0), swap = json_get_int(host, "MemorySwap", 0);
        json_t *object = json_object();

        copy_positive(object, "limit", host, "Memory");
        copy_positive(object, "reservation", host, "MemoryReservation");
        if (memory > 0)
                json_set_int(object, "swap", swap != 0 ? swap : 2 * memory);
        return object;
}

static json_t *cpu_limits(const json_t *host)
{
        int64_t nano = json_get_int(host, "NanoCpus", 0);
        json_t *object = json_object();

        copy_positive(object, "quota", host, "CpuQuota");
        copy_positive(object, "period", host, "CpuPeriod");
        copy_positive(object, "shares", host, "CpuShares");
        if (nano > 0) {
                json_set_int(object, "period", 100000);
                json_set_int(object, "quota", nano / 10000);
        }
        copy_text(object, "cpus", host, "CpusetCpus");
        copy_text(object, "mems", host, "CpusetMems");
        return object;
}

/* VALUE is the member of each that counts, in HostConfig and in the configuration. */
static int throttles(const Spec *spec, json_t *object, const char *field, const char *key, const char *const value[2])
{
        json_t *list = json_array(), *entry;
        size_t i;

        json_array_foreach(json_object_get(spec->host, field), i, entry) {
                const char *path = json_get_string_or(entry, "Path", "");
                struct stat st;

                if (spec->input->check_only)
                        continue;
                if (stat(path, &st) < 0) {
                        json_decref(list);
                        return error_set(spec->error, OUTCOME_FAILED, "stat %s: no such file or directory", path);
                }
                json_array_append_new(list, json_pack("{si si sI}", "major", (int) major(st.st_rdev), "minor",
                                                      (int) minor(st.st_rdev), value[1],
                                                      (json_int_t) json_get_int(entry, value[0], 0)));
        }
        if (json_array_size(list) == 0) {
                json_decref(list);
                return 0;
        }
        return json_object_set_new(object, key, list) < 0 ? -ENOMEM : 0;
}

static int block_limits(const Spec *spec, json_t *object)
{
        static const char *const fields[][4] = {
                { "BlkioWeightDevice", "weightDevice", "Weight", "weight" },
                { "BlkioDeviceReadBps", "throttleReadBpsDevice", "Rate", "rate" },
                { "BlkioDeviceWriteBps", "throttleWriteBpsDevice", "Rate", "rate" },
                { "BlkioDeviceReadIOps", "throttleReadIOPSDevice", "Rate", "rate" },
                { "BlkioDeviceWriteIOps", "throttleWriteIOPSDevice", "Rate", "rate" },
        };
        int r = 0;

        copy_positive(object, "weight", spec->host, "BlkioWeight");
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fields); i++)
                r = throttles(spec, object, fields[i][0], fields[i][1], fields[i] + 2);
        return r;
}

int spec_resources(const Spec *spec, json_t **ret)
{
        CLEANUP_JSON json_t *block = json_object(), *object = NULL;
        int64_t pids = json_get_int(spec->host, "PidsLimit", 0);
        int r = block_limits(spec, block);

        if (r != 0)
                return r;
        object = json_pack("{sO so so sO}", "devices", spec->rules, "memory", memory_limits(spec->host), "cpu",
                           cpu_limits(spec->host), "blockIO", block);
        if (!object)
                return -ENOMEM;
        if (pids != 0)
                json_object_set_new(object, "pids", json_pack("{sI}", "limit", (json_int_t) pids));
        *ret = TAKE_PTR(object);
        return 0;
}

int spec_limits(const json_t *host_config, json_t **ret_resources, Error *ret_error)
{
        CLEANUP_JSON json_t *rules = json_array();
        SpecInput input = {};
        Spec spec = { .input = &input, .host = host_config, .rules = rules, .error = ret_error };

        return rules ? spec_resources(&spec, ret_resources) : -ENOMEM;
}
