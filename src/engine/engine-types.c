/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See engine-types.h. The types are written as in Go: "[]T" and "map[K]T" of another, "*T" for what may be null (which
 * everything may be), and names: of structures, and of other types. Members that a structure has not are let pass. */
#include <string.h>
#include <strings.h>

#include "berth/buffer.h"
#include "berth/json.h"
#include "berth/string.h"
#include "engine-private.h"
#include "engine-types.h"

/* --- The types ---------------------------------------------------------------------------------------------------- */

static const struct {
        const char *name, *meaning;
} names[] = {
        { "container.CgroupSpec", "string" },
        { "container.CgroupnsMode", "string" },
        { "container.IpcMode", "string" },
        { "container.Isolation", "string" },
        { "container.NetworkMode", "string" },
        { "container.PidMode", "string" },
        { "container.RestartPolicyMode", "string" },
        { "container.UTSMode", "string" },
        { "container.UsernsMode", "string" },
        { "fs.FileMode", "uint32" },
        { "mount.Consistency", "string" },
        { "mount.Propagation", "string" },
        { "mount.Type", "string" },
        { "nat.PortMap", "map[nat.Port][]nat.PortBinding" },
        { "nat.PortSet", "map[nat.Port]struct {}" },
        { "time.Duration", "int64" },
};

typedef struct Member {
        const char *structure, *name,
                *type; /* a name that is NULL: all members of that structure are this one's, too */
} Member;

static const Member members[] = {
        { "container.ContainerConfigWrapper", NULL, "container.Config" },
        { "container.ContainerConfigWrapper", "HostConfig", "container.HostConfig" },
        { "container.ContainerConfigWrapper", "NetworkingConfig", "network.NetworkingConfig" },

        { "container.Config", "Hostname", "string" },
        { "container.Config", "Domainname", "string" },
        { "container.Config", "User", "string" },
        { "container.Config", "AttachStdin", "bool" },
        { "container.Config", "AttachStdout", "bool" },
        { "container.Config", "AttachStderr", "bool" },
        { "container.Config", "ExposedPorts", "nat.PortSet" },
        { "container.Config", "Tty", "bool" },
        { "container.Config", "OpenStdin", "bool" },
        { "container.Config", "StdinOnce", "bool" },
        { "container.Config", "Env", "[]string" },
        { "container.Config", "Cmd", "words" },
        { "container.Config", "Healthcheck", "v1.HealthcheckConfig" },
        { "container.Config", "ArgsEscaped", "bool" },
        { "container.Config", "Image", "string" },
        { "container.Config", "Volumes", "map[string]struct {}" },
        { "container.Config", "WorkingDir", "string" },
        { "container.Config", "Entrypoint", "words" },
        { "container.Config", "NetworkDisabled", "bool" },
        { "container.Config", "MacAddress", "string" },
        { "container.Config", "OnBuild", "[]string" },
        { "container.Config", "Labels", "map[string]string" },
        { "container.Config", "StopSignal", "string" },
        { "container.Config", "StopTimeout", "int" },
        { "container.Config", "Shell", "words" },

        { "v1.HealthcheckConfig", "Test", "[]string" },
        { "v1.HealthcheckConfig", "Interval", "time.Duration" },
        { "v1.HealthcheckConfig", "Timeout", "time.Duration" },
        { "v1.HealthcheckConfig", "StartPeriod", "time.Duration" },
        { "v1.HealthcheckConfig", "StartInterval", "time.Duration" },
        { "v1.HealthcheckConfig", "Retries", "int" },

        { "container.HostConfig", "Binds", "[]string" },
        { "container.HostConfig", "ContainerIDFile", "string" },
        { "container.HostConfig", "LogConfig", "container.LogConfig" },
        { "container.HostConfig", "NetworkMode", "container.NetworkMode" },
        { "container.HostConfig", "PortBindings", "nat.PortMap" },
        { "container.HostConfig", "RestartPolicy", "container.RestartPolicy" },
        { "container.HostConfig", "AutoRemove", "bool" },
        { "container.HostConfig", "VolumeDriver", "string" },
        { "container.HostConfig", "VolumesFrom", "[]string" },
        { "container.HostConfig", "ConsoleSize", "[2]uint" },
        { "container.HostConfig", "Annotations", "map[string]string" },
        { "container.HostConfig", "CapAdd", "words" },
        { "container.HostConfig", "CapDrop", "words" },
        { "container.HostConfig", "CgroupnsMode", "container.CgroupnsMode" },
        { "container.HostConfig", "Dns", "[]string" },
        { "container.HostConfig", "DnsOptions", "[]string" },
        { "container.HostConfig", "DnsSearch", "[]string" },
        { "container.HostConfig", "ExtraHosts", "[]string" },
        { "container.HostConfig", "GroupAdd", "[]string" },
        { "container.HostConfig", "IpcMode", "container.IpcMode" },
        { "container.HostConfig", "Cgroup", "container.CgroupSpec" },
        { "container.HostConfig", "Links", "[]string" },
        { "container.HostConfig", "OomScoreAdj", "int" },
        { "container.HostConfig", "PidMode", "container.PidMode" },
        { "container.HostConfig", "Privileged", "bool" },
        { "container.HostConfig", "PublishAllPorts", "bool" },
        { "container.HostConfig", "ReadonlyRootfs", "bool" },
        { "container.HostConfig", "SecurityOpt", "[]string" },
        { "container.HostConfig", "StorageOpt", "map[string]string" },
        { "container.HostConfig", "Tmpfs", "map[string]string" },
        { "container.HostConfig", "UTSMode", "container.UTSMode" },
        { "container.HostConfig", "UsernsMode", "container.UsernsMode" },
        { "container.HostConfig", "ShmSize", "int64" },
        { "container.HostConfig", "Sysctls", "map[string]string" },
        { "container.HostConfig", "Runtime", "string" },
        { "container.HostConfig", "Isolation", "container.Isolation" },
        { "container.HostConfig", NULL, "container.Resources" },
        { "container.HostConfig", "Mounts", "[]mount.Mount" },
        { "container.HostConfig", "MaskedPaths", "[]string" },
        { "container.HostConfig", "ReadonlyPaths", "[]string" },
        { "container.HostConfig", "Init", "*bool" },

        { "container.UpdateConfig", NULL, "container.Resources" },
        { "container.UpdateConfig", "RestartPolicy", "container.RestartPolicy" },

        { "container.Resources", "CpuShares", "int64" },
        { "container.Resources", "Memory", "int64" },
        { "container.Resources", "NanoCpus", "int64" },
        { "container.Resources", "CgroupParent", "string" },
        { "container.Resources", "BlkioWeight", "uint16" },
        { "container.Resources", "BlkioWeightDevice", "[]*blkiodev.WeightDevice" },
        { "container.Resources", "BlkioDeviceReadBps", "[]*blkiodev.ThrottleDevice" },
        { "container.Resources", "BlkioDeviceWriteBps", "[]*blkiodev.ThrottleDevice" },
        { "container.Resources", "BlkioDeviceReadIOps", "[]*blkiodev.ThrottleDevice" },
        { "container.Resources", "BlkioDeviceWriteIOps", "[]*blkiodev.ThrottleDevice" },
        { "container.Resources", "CpuPeriod", "int64" },
        { "container.Resources", "CpuQuota", "int64" },
        { "container.Resources", "CpuRealtimePeriod", "int64" },
        { "container.Resources", "CpuRealtimeRuntime", "int64" },
        { "container.Resources", "CpusetCpus", "string" },
        { "container.Resources", "CpusetMems", "string" },
        { "container.Resources", "Devices", "[]container.DeviceMapping" },
        { "container.Resources", "DeviceCgroupRules", "[]string" },
        { "container.Resources", "DeviceRequests", "[]container.DeviceRequest" },
        { "container.Resources", "KernelMemory", "int64" },
        { "container.Resources", "KernelMemoryTCP", "int64" },
        { "container.Resources", "MemoryReservation", "int64" },
        { "container.Resources", "MemorySwap", "int64" },
        { "container.Resources", "MemorySwappiness", "*int64" },
        { "container.Resources", "OomKillDisable", "*bool" },
        { "container.Resources", "PidsLimit", "*int64" },
        { "container.Resources", "Ulimits", "[]*units.Ulimit" },
        { "container.Resources", "CpuCount", "int64" },
        { "container.Resources", "CpuPercent", "int64" },
        { "container.Resources", "IOMaximumIOps", "uint64" },
        { "container.Resources", "IOMaximumBandwidth", "uint64" },

        { "blkiodev.WeightDevice", "Path", "string" },
        { "blkiodev.WeightDevice", "Weight", "uint16" },
        { "blkiodev.ThrottleDevice", "Path", "string" },
        { "blkiodev.ThrottleDevice", "Rate", "uint64" },
        { "container.DeviceMapping", "PathOnHost", "string" },
        { "container.DeviceMapping", "PathInContainer", "string" },
        { "container.DeviceMapping", "CgroupPermissions", "string" },
        { "container.DeviceRequest", "Driver", "string" },
        { "container.DeviceRequest", "Count", "int" },
        { "container.DeviceRequest", "DeviceIDs", "[]string" },
        { "container.DeviceRequest", "Capabilities", "[][]string" },
        { "container.DeviceRequest", "Options", "map[string]string" },
        { "units.Ulimit", "Name", "string" },
        { "units.Ulimit", "Soft", "int64" },
        { "units.Ulimit", "Hard", "int64" },
        { "container.LogConfig", "Type", "string" },
        { "container.LogConfig", "Config", "map[string]string" },
        { "container.RestartPolicy", "Name", "container.RestartPolicyMode" },
        { "container.RestartPolicy", "MaximumRetryCount", "int" },
        { "nat.PortBinding", "HostIp", "string" },
        { "nat.PortBinding", "HostPort", "string" },

        { "mount.Mount", "Type", "mount.Type" },
        { "mount.Mount", "Source", "string" },
        { "mount.Mount", "Target", "string" },
        { "mount.Mount", "ReadOnly", "bool" },
        { "mount.Mount", "Consistency", "mount.Consistency" },
        { "mount.Mount", "BindOptions", "*mount.BindOptions" },
        { "mount.Mount", "VolumeOptions", "*mount.VolumeOptions" },
        { "mount.Mount", "ImageOptions", "*mount.ImageOptions" },
        { "mount.Mount", "TmpfsOptions", "*mount.TmpfsOptions" },
        { "mount.BindOptions", "Propagation", "mount.Propagation" },
        { "mount.BindOptions", "NonRecursive", "bool" },
        { "mount.BindOptions", "CreateMountpoint", "bool" },
        { "mount.BindOptions", "ReadOnlyNonRecursive", "bool" },
        { "mount.BindOptions", "ReadOnlyForceRecursive", "bool" },
        { "mount.VolumeOptions", "NoCopy", "bool" },
        { "mount.VolumeOptions", "Labels", "map[string]string" },
        { "mount.VolumeOptions", "Subpath", "string" },
        { "mount.VolumeOptions", "DriverConfig", "*mount.Driver" },
        { "mount.Driver", "Name", "string" },
        { "mount.Driver", "Options", "map[string]string" },
        { "mount.ImageOptions", "Subpath", "string" },
        { "mount.TmpfsOptions", "SizeBytes", "int64" },
        { "mount.TmpfsOptions", "Mode", "fs.FileMode" },
        { "mount.TmpfsOptions", "Options", "[][]string" },

        { "network.NetworkingConfig", "EndpointsConfig", "map[string]*network.EndpointSettings" },
        { "network.EndpointSettings", "IPAMConfig", "*network.EndpointIPAMConfig" },
        { "network.EndpointSettings", "Links", "[]string" },
        { "network.EndpointSettings", "Aliases", "[]string" },
        { "network.EndpointSettings", "MacAddress", "string" },
        { "network.EndpointSettings", "DriverOpts", "map[string]string" },
        { "network.EndpointSettings", "GwPriority", "int" },
        { "network.EndpointSettings", "NetworkID", "string" },
        { "network.EndpointSettings", "EndpointID", "string" },
        { "network.EndpointSettings", "Gateway", "string" },
        { "network.EndpointSettings", "IPAddress", "string" },
        { "network.EndpointSettings", "IPPrefixLen", "int" },
        { "network.EndpointSettings", "IPv6Gateway", "string" },
        { "network.EndpointSettings", "GlobalIPv6Address", "string" },
        { "network.EndpointSettings", "GlobalIPv6PrefixLen", "int" },
        { "network.EndpointSettings", "DNSNames", "[]string" },
        { "network.EndpointIPAMConfig", "IPv4Address", "string" },
        { "network.EndpointIPAMConfig", "IPv6Address", "string" },
        { "network.EndpointIPAMConfig", "LinkLocalIPs", "[]string" },
};

/* --- Looking ------------------------------------------------------------------------------------------------------ */

/* Where a value stands: the structure that it is a member of, and the way there from the body. */
typedef struct Place {
        const char *structure, *path;
} Place;

static int check(const char *type, const json_t *value, const Place *place, Error *error);

static const char *meaning_of(const char *type)
{
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_equal(names[i].name, type))
                        return names[i].meaning;
        return type;
}

/* A number's own text is told where there should be another number. */
static int refuse(const json_t *value, const char *type, const Place *place, Error *error)
{
        const char *name = strchr(place->structure, '.'), *meaning = meaning_of(type);
        char number[64] = "";

        if (json_is_number(value) && (str_after_prefix(meaning, "int") || str_after_prefix(meaning, "uint")))
                (void) (json_is_real(value) ? snprintf(number, sizeof(number), " %.15g", json_real_value(value))
                                            : snprintf(number, sizeof(number), " %" JSON_INTEGER_FORMAT,
                                                       json_integer_value(value)));
        return error_set(error, OUTCOME_BAD_REQUEST,
                         "invalid JSON: json: cannot unmarshal %s%s into Go struct field %s.%s of type %s",
                         json_type_name(value), number, name ? name + 1 : place->structure, place->path, type);
}

/* -ENOENT: it is no kind of number. */
static int check_number(const char *type, const json_t *value)
{
        static const struct {
                const char *name;
                json_int_t min, max;
        } kinds[] = {
                { "int", INT64_MIN, INT64_MAX }, { "int64", INT64_MIN, INT64_MAX }, { "uint", 0, INT64_MAX },
                { "uint64", 0, INT64_MAX },      { "uint32", 0, UINT32_MAX },       { "uint16", 0, UINT16_MAX },
        };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (str_equal(kinds[i].name, type))
                        return json_is_integer(value) && json_integer_value(value) >= kinds[i].min &&
                                               json_integer_value(value) <= kinds[i].max
                                       ? 0
                                       : -EINVAL;
        return -ENOENT;
}

static bool is_words(const json_t *value)
{
        json_t *word;
        size_t i;

        json_array_foreach((json_t *) value, i, word)
                if (!json_is_string(word))
                        return false;
        return json_is_string(value) || json_is_array(value);
}

/* Appends what stands between the structure and its member to the path: the embedded structure's name. */
static const Member *find_member(const char *structure, const char *key, Buffer *path)
{
        for (size_t i = 0; i < ARRAY_SIZE(members); i++)
                if (str_equal(members[i].structure, structure) && members[i].name &&
                    strcasecmp(members[i].name, key) == 0)
                        return &members[i];
        for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
                if (!str_equal(members[i].structure, structure) || members[i].name)
                        continue;
                const char *dot = strchr(members[i].type, '.');
                size_t size = path->size;
                if (buffer_printf(path, "%s.", dot ? dot + 1 : members[i].type) < 0)
                        return NULL;
                const Member *member = find_member(members[i].type, key, path);
                if (member)
                        return member;
                path->size = size;
        }
        return NULL;
}

static int check_members(const char *type, const json_t *value, const Place *place, Error *error)
{
        const char *key;
        json_t *entry;

        json_object_foreach((json_t *) value, key, entry) {
                CLEANUP_BUFFER Buffer path = {};
                int r = *place->path ? buffer_printf(&path, "%s.", place->path) : 0;
                const Member *member = r < 0 ? NULL : find_member(type, key, &path);

                if (member)
                        r = buffer_append_string(&path, member->name);
                if (r >= 0 && member) {
                        CLEANUP_FREE char *text = strndup(path.data, path.size);
                        const Place inner = { type, text };

                        r = text ? check(member->type, entry, &inner, error) : -ENOMEM;
                }
                if (r != 0)
                        return r;
        }
        return 0;
}

static int check_all(const char *type, const json_t *value, const Place *place, Error *error)
{
        const char *key;
        json_t *entry;
        size_t i;
        int r = 0;

        json_array_foreach((json_t *) value, i, entry)
                if (r == 0)
                        r = check(type, entry, place, error);
        json_object_foreach((json_t *) value, key, entry)
                if (r == 0)
                        r = check(type, entry, place, error);
        return r;
}

static int check(const char *type, const json_t *value, const Place *place, Error *error)
{
        type += *type == '*';
        const char *meaning = meaning_of(type);

        if (json_is_null(value))
                return 0;
        if (*meaning == '[')
                return json_is_array(value) ? check_all(strchr(meaning, ']') + 1, value, place, error)
                                            : refuse(value, type, place, error);
        if (str_after_prefix(meaning, "map["))
                return json_is_object(value) ? check_all(strchr(meaning, ']') + 1, value, place, error)
                                             : refuse(value, type, place, error);
        if (str_equal(meaning, "words"))
                return is_words(value) ? 0 : refuse(value, "string", place, error);
        if (str_equal(meaning, "string"))
                return json_is_string(value) ? 0 : refuse(value, type, place, error);
        if (str_equal(meaning, "bool"))
                return json_is_boolean(value) ? 0 : refuse(value, type, place, error);
        int r = check_number(meaning, value);
        if (r != -ENOENT)
                return r == 0 ? 0 : refuse(value, type, place, error);
        return json_is_object(value) ? check_members(type, value, place, error) : refuse(value, type, place, error);
}

int types_check(const char *type, const json_t *body, Error *error)
{
        const Place place = { type, "" };

        return check_members(type, body, &place, error);
}
