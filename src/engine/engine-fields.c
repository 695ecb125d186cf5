/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fields of a container's Config and HostConfig: each one's type and its default.
 * Unknown fields are dropped, as Docker drops them.
 */
#include <strings.h>

#include "berth/json.h"
#include "engine-private.h"

typedef enum FieldKind {
        FIELD_STRING,
        FIELD_INTEGER,
        FIELD_BOOLEAN,
        FIELD_STRINGS,
        FIELD_WORDS, /* array of strings; a lone string is taken for an array of one */
        FIELD_ARRAY,
        FIELD_OBJECTS, /* array of objects */
        FIELD_OBJECT,
        FIELD_STRING_MAP,
} FieldKind;

typedef enum FieldDefault {
        DEFAULT_ZERO, /* "", 0, false, [], {} */
        DEFAULT_NULL,
        DEFAULT_OMIT,
} FieldDefault;

typedef struct Field {
        const char *name;
        FieldKind kind;
        FieldDefault fallback;
} Field;

/* In the order inspect shows them. */
static const Field config_fields[] = {
        { "Hostname", FIELD_STRING, DEFAULT_ZERO },
        { "Domainname", FIELD_STRING, DEFAULT_ZERO },
        { "User", FIELD_STRING, DEFAULT_ZERO },
        { "AttachStdin", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "AttachStdout", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "AttachStderr", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "ExposedPorts", FIELD_OBJECT, DEFAULT_OMIT },
        { "Tty", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "OpenStdin", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "StdinOnce", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "Env", FIELD_STRINGS, DEFAULT_NULL },
        { "Cmd", FIELD_WORDS, DEFAULT_NULL },
        { "Healthcheck", FIELD_OBJECT, DEFAULT_OMIT },
        { "ArgsEscaped", FIELD_BOOLEAN, DEFAULT_OMIT },
        { "Image", FIELD_STRING, DEFAULT_ZERO },
        { "Volumes", FIELD_OBJECT, DEFAULT_NULL },
        { "WorkingDir", FIELD_STRING, DEFAULT_ZERO },
        { "Entrypoint", FIELD_WORDS, DEFAULT_NULL },
        { "NetworkDisabled", FIELD_BOOLEAN, DEFAULT_OMIT },
        { "MacAddress", FIELD_STRING, DEFAULT_OMIT },
        { "OnBuild", FIELD_STRINGS, DEFAULT_NULL },
        { "Labels", FIELD_STRING_MAP, DEFAULT_ZERO },
        { "StopSignal", FIELD_STRING, DEFAULT_OMIT },
        { "StopTimeout", FIELD_INTEGER, DEFAULT_OMIT },
        { "Shell", FIELD_WORDS, DEFAULT_OMIT },
};

static const Field host_config_fields[] = {
        { "Binds", FIELD_STRINGS, DEFAULT_NULL },
        { "ContainerIDFile", FIELD_STRING, DEFAULT_ZERO },
        { "LogConfig", FIELD_OBJECT, DEFAULT_ZERO },
        { "NetworkMode", FIELD_STRING, DEFAULT_ZERO },
        { "PortBindings", FIELD_OBJECT, DEFAULT_NULL },
        { "RestartPolicy", FIELD_OBJECT, DEFAULT_ZERO },
        { "AutoRemove", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "VolumeDriver", FIELD_STRING, DEFAULT_ZERO },
        { "VolumesFrom", FIELD_STRINGS, DEFAULT_NULL },
        { "ConsoleSize", FIELD_ARRAY, DEFAULT_ZERO },
        { "Annotations", FIELD_STRING_MAP, DEFAULT_OMIT },
        { "CapAdd", FIELD_WORDS, DEFAULT_NULL },
        { "CapDrop", FIELD_WORDS, DEFAULT_NULL },
        { "CgroupnsMode", FIELD_STRING, DEFAULT_ZERO },
        { "Dns", FIELD_STRINGS, DEFAULT_NULL },
        { "DnsOptions", FIELD_STRINGS, DEFAULT_NULL },
        { "DnsSearch", FIELD_STRINGS, DEFAULT_NULL },
        { "ExtraHosts", FIELD_STRINGS, DEFAULT_NULL },
        { "GroupAdd", FIELD_STRINGS, DEFAULT_NULL },
        { "IpcMode", FIELD_STRING, DEFAULT_ZERO },
        { "Cgroup", FIELD_STRING, DEFAULT_ZERO },
        { "Links", FIELD_STRINGS, DEFAULT_NULL },
        { "OomScoreAdj", FIELD_INTEGER, DEFAULT_ZERO },
        { "PidMode", FIELD_STRING, DEFAULT_ZERO },
        { "Privileged", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "PublishAllPorts", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "ReadonlyRootfs", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "SecurityOpt", FIELD_STRINGS, DEFAULT_NULL },
        { "StorageOpt", FIELD_STRING_MAP, DEFAULT_OMIT },
        { "Tmpfs", FIELD_STRING_MAP, DEFAULT_OMIT },
        { "UTSMode", FIELD_STRING, DEFAULT_ZERO },
        { "UsernsMode", FIELD_STRING, DEFAULT_ZERO },
        { "ShmSize", FIELD_INTEGER, DEFAULT_ZERO },
        { "Sysctls", FIELD_STRING_MAP, DEFAULT_OMIT },
        { "Runtime", FIELD_STRING, DEFAULT_ZERO },
        { "Isolation", FIELD_STRING, DEFAULT_ZERO },
        { "CpuShares", FIELD_INTEGER, DEFAULT_ZERO },
        { "Memory", FIELD_INTEGER, DEFAULT_ZERO },
        { "NanoCpus", FIELD_INTEGER, DEFAULT_ZERO },
        { "CgroupParent", FIELD_STRING, DEFAULT_ZERO },
        { "BlkioWeight", FIELD_INTEGER, DEFAULT_ZERO },
        { "BlkioWeightDevice", FIELD_OBJECTS, DEFAULT_NULL },
        { "BlkioDeviceReadBps", FIELD_OBJECTS, DEFAULT_NULL },
        { "BlkioDeviceWriteBps", FIELD_OBJECTS, DEFAULT_NULL },
        { "BlkioDeviceReadIOps", FIELD_OBJECTS, DEFAULT_NULL },
        { "BlkioDeviceWriteIOps", FIELD_OBJECTS, DEFAULT_NULL },
        { "CpuPeriod", FIELD_INTEGER, DEFAULT_ZERO },
        { "CpuQuota", FIELD_INTEGER, DEFAULT_ZERO },
        { "CpuRealtimePeriod", FIELD_INTEGER, DEFAULT_ZERO },
        { "CpuRealtimeRuntime", FIELD_INTEGER, DEFAULT_ZERO },
        { "CpusetCpus", FIELD_STRING, DEFAULT_ZERO },
        { "CpusetMems", FIELD_STRING, DEFAULT_ZERO },
        { "Devices", FIELD_OBJECTS, DEFAULT_NULL },
        { "DeviceCgroupRules", FIELD_STRINGS, DEFAULT_NULL },
        { "DeviceRequests", FIELD_OBJECTS, DEFAULT_NULL },
        { "MemoryReservation", FIELD_INTEGER, DEFAULT_ZERO },
        { "MemorySwap", FIELD_INTEGER, DEFAULT_ZERO },
        { "MemorySwappiness", FIELD_INTEGER, DEFAULT_NULL },
        { "OomKillDisable", FIELD_BOOLEAN, DEFAULT_NULL },
        { "PidsLimit", FIELD_INTEGER, DEFAULT_NULL },
        { "Ulimits", FIELD_OBJECTS, DEFAULT_NULL },
        { "CpuCount", FIELD_INTEGER, DEFAULT_ZERO },
        { "CpuPercent", FIELD_INTEGER, DEFAULT_ZERO },
        { "IOMaximumIOps", FIELD_INTEGER, DEFAULT_ZERO },
        { "IOMaximumBandwidth", FIELD_INTEGER, DEFAULT_ZERO },
        { "Mounts", FIELD_OBJECTS, DEFAULT_OMIT },
        { "Init", FIELD_BOOLEAN, DEFAULT_OMIT },
        { "MaskedPaths", FIELD_STRINGS, DEFAULT_NULL },
        { "ReadonlyPaths", FIELD_STRINGS, DEFAULT_NULL },
};

/* Of an update: what is not said is not changed. */
static const Field update_fields[] = {
        { "CpuShares", FIELD_INTEGER, DEFAULT_OMIT },
        { "Memory", FIELD_INTEGER, DEFAULT_OMIT },
        { "NanoCpus", FIELD_INTEGER, DEFAULT_OMIT },
        { "CgroupParent", FIELD_STRING, DEFAULT_OMIT },
        { "BlkioWeight", FIELD_INTEGER, DEFAULT_OMIT },
        { "BlkioWeightDevice", FIELD_OBJECTS, DEFAULT_OMIT },
        { "BlkioDeviceReadBps", FIELD_OBJECTS, DEFAULT_OMIT },
        { "BlkioDeviceWriteBps", FIELD_OBJECTS, DEFAULT_OMIT },
        { "BlkioDeviceReadIOps", FIELD_OBJECTS, DEFAULT_OMIT },
        { "BlkioDeviceWriteIOps", FIELD_OBJECTS, DEFAULT_OMIT },
        { "CpuPeriod", FIELD_INTEGER, DEFAULT_OMIT },
        { "CpuQuota", FIELD_INTEGER, DEFAULT_OMIT },
        { "CpuRealtimePeriod", FIELD_INTEGER, DEFAULT_OMIT },
        { "CpuRealtimeRuntime", FIELD_INTEGER, DEFAULT_OMIT },
        { "CpusetCpus", FIELD_STRING, DEFAULT_OMIT },
        { "CpusetMems", FIELD_STRING, DEFAULT_OMIT },
        { "Devices", FIELD_OBJECTS, DEFAULT_OMIT },
        { "DeviceCgroupRules", FIELD_STRINGS, DEFAULT_OMIT },
        { "DeviceRequests", FIELD_OBJECTS, DEFAULT_OMIT },
        { "KernelMemory", FIELD_INTEGER, DEFAULT_OMIT },
        { "KernelMemoryTCP", FIELD_INTEGER, DEFAULT_OMIT },
        { "MemoryReservation", FIELD_INTEGER, DEFAULT_OMIT },
        { "MemorySwap", FIELD_INTEGER, DEFAULT_OMIT },
        { "MemorySwappiness", FIELD_INTEGER, DEFAULT_OMIT },
        { "OomKillDisable", FIELD_BOOLEAN, DEFAULT_OMIT },
        { "PidsLimit", FIELD_INTEGER, DEFAULT_OMIT },
        { "Ulimits", FIELD_OBJECTS, DEFAULT_OMIT },
        { "CpuCount", FIELD_INTEGER, DEFAULT_OMIT },
        { "CpuPercent", FIELD_INTEGER, DEFAULT_OMIT },
        { "IOMaximumIOps", FIELD_INTEGER, DEFAULT_OMIT },
        { "IOMaximumBandwidth", FIELD_INTEGER, DEFAULT_OMIT },
        { "Init", FIELD_BOOLEAN, DEFAULT_OMIT },
        { "RestartPolicy", FIELD_OBJECT, DEFAULT_OMIT },
};

/* Of an exec: at its creation and at its start. */
static const Field exec_fields[] = {
        { "User", FIELD_STRING, DEFAULT_ZERO },          { "Privileged", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "Tty", FIELD_BOOLEAN, DEFAULT_ZERO },          { "ConsoleSize", FIELD_ARRAY, DEFAULT_NULL },
        { "AttachStdin", FIELD_BOOLEAN, DEFAULT_ZERO },  { "AttachStderr", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "AttachStdout", FIELD_BOOLEAN, DEFAULT_ZERO }, { "Detach", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "DetachKeys", FIELD_STRING, DEFAULT_ZERO },    { "Env", FIELD_STRINGS, DEFAULT_NULL },
        { "WorkingDir", FIELD_STRING, DEFAULT_ZERO },    { "Cmd", FIELD_STRINGS, DEFAULT_NULL },
};

static const Field exec_start_fields[] = {
        { "Detach", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "Tty", FIELD_BOOLEAN, DEFAULT_ZERO },
        { "ConsoleSize", FIELD_ARRAY, DEFAULT_NULL },
};

/* Of a volume. */
static const Field volume_fields[] = {
        { "ClusterVolumeSpec", FIELD_OBJECT, DEFAULT_NULL },
        { "Driver", FIELD_STRING, DEFAULT_ZERO },
        { "DriverOpts", FIELD_STRING_MAP, DEFAULT_NULL },
        { "Labels", FIELD_STRING_MAP, DEFAULT_NULL },
        { "Name", FIELD_STRING, DEFAULT_ZERO },
};

typedef struct FieldTable {
        const char *name;
        const char *path; /* to the object in Go's structures */
        const Field *fields;
        size_t n;
} FieldTable;

static const FieldTable tables[] = {
        { "Config", "ContainerConfigWrapper.Config", config_fields, ARRAY_SIZE(config_fields) },
        { "HostConfig", "HostConfig.HostConfig", host_config_fields, ARRAY_SIZE(host_config_fields) },
        { "UpdateConfig", "UpdateConfig", update_fields, ARRAY_SIZE(update_fields) },
        { "ExecConfig", "ExecConfig", exec_fields, ARRAY_SIZE(exec_fields) },
        { "CreateOptions", "CreateOptions", volume_fields, ARRAY_SIZE(volume_fields) },
        { "ExecStartCheck", "ExecStartCheck", exec_start_fields, ARRAY_SIZE(exec_start_fields) },
};

static json_t *zero_of(FieldKind kind)
{
        switch (kind) {
        case FIELD_STRING:
                return json_string("");
        case FIELD_INTEGER:
                return json_integer(0);
        case FIELD_BOOLEAN:
                return json_false();
        case FIELD_STRINGS:
        case FIELD_WORDS:
        case FIELD_ARRAY:
        case FIELD_OBJECTS:
                return json_array();
        default:
                return json_object();
        }
}

static const char *go_type(FieldKind kind)
{
        switch (kind) {
        case FIELD_STRING:
                return "string";
        case FIELD_INTEGER:
                return "int64";
        case FIELD_BOOLEAN:
                return "bool";
        case FIELD_STRINGS:
        case FIELD_WORDS:
                return "[]string";
        case FIELD_ARRAY:
        case FIELD_OBJECTS:
                return "slice";
        case FIELD_STRING_MAP:
                return "map[string]string";
        default:
                return "map";
        }
}

const char *json_type_name(const json_t *value)
{
        switch (json_typeof(value)) {
        case JSON_OBJECT:
                return "object";
        case JSON_ARRAY:
                return "array";
        case JSON_STRING:
                return "string";
        case JSON_INTEGER:
        case JSON_REAL:
                return "number";
        case JSON_NULL:
                return "null";
        default:
                return "bool";
        }
}

/* The first member that is of another type than WANTED. */
static const json_t *other_member(const json_t *value, json_type wanted)
{
        const char *key;
        json_t *member;
        size_t i;

        json_array_foreach((json_t *) value, i, member) {
                if (json_typeof(member) != wanted)
                        return member;
        }
        json_object_foreach((json_t *) value, key, member) {
                if (json_typeof(member) != wanted)
                        return member;
        }
        return NULL;
}

static bool all_strings(const json_t *value)
{
        return !other_member(value, JSON_STRING);
}

static bool all_objects(const json_t *value)
{
        return !other_member(value, JSON_OBJECT);
}

int fields_refuse(const json_t *value, const char *field, const char *type, Error *error)
{
        return error_set(error, OUTCOME_BAD_REQUEST,
                         "invalid JSON: json: cannot unmarshal %s into Go struct field %s of type %s",
                         json_type_name(value), field, type);
}

/* Names the member where it is one that is wrong, as Go does, and else the whole value. */
static int refuse_value(const Field *field, const char *path, const json_t *value, Error *error)
{
        CLEANUP_FREE char *name = str_printf("%s.%s", path, field->name);
        bool map = field->kind == FIELD_STRING_MAP && json_is_object(value);
        bool list = (field->kind == FIELD_STRINGS || field->kind == FIELD_WORDS) && json_is_array(value);

        if (!name)
                return -ENOMEM;
        if ((map || list) && other_member(value, JSON_STRING))
                return fields_refuse(other_member(value, JSON_STRING), name, "string", error);
        return fields_refuse(value, name, go_type(field->kind), error);
}

static bool has_kind(const json_t *value, FieldKind kind)
{
        switch (kind) {
        case FIELD_STRING:
                return json_is_string(value);
        case FIELD_INTEGER:
                return json_is_integer(value);
        case FIELD_BOOLEAN:
                return json_is_boolean(value);
        case FIELD_STRINGS:
                return json_is_array(value) && all_strings(value);
        case FIELD_WORDS:
                return json_is_string(value) || (json_is_array(value) && all_strings(value));
        case FIELD_ARRAY:
                return json_is_array(value);
        case FIELD_OBJECTS:
                return json_is_array(value) && all_objects(value);
        case FIELD_OBJECT:
                return json_is_object(value);
        default:
                return json_is_object(value) && all_strings(value);
        }
}

/* Names match without regard to case, as in Go. */
json_t *fields_member(const json_t *object, const char *name)
{
        json_t *value = json_object_get(object, name);
        const char *key;

        if (value)
                return value;
        json_object_foreach((json_t *) object, key, value) {
                if (strcasecmp(key, name) == 0)
                        return value;
        }
        return NULL;
}

static json_t *take_value(const Field *field, json_t *value)
{
        if (field->kind == FIELD_WORDS && json_is_string(value))
                return json_pack("[O]", value);
        return json_incref(value);
}

int fields_normalise(const char *object_name, const json_t *given, json_t **ret_normal, Error *error)
{
        const FieldTable *table = tables;
        CLEANUP_JSON json_t *normal = json_object();

        while (!str_equal(table->name, object_name))
                table++;
        for (size_t i = 0; i < table->n; i++) {
                const Field *field = &table->fields[i];
                json_t *value = fields_member(given, field->name);

                if (!value || json_is_null(value)) {
                        if (field->fallback != DEFAULT_OMIT)
                                json_object_set_new(normal, field->name,
                                                    field->fallback == DEFAULT_NULL ? json_null()
                                                                                    : zero_of(field->kind));
                        continue;
                }
                if (!has_kind(value, field->kind))
                        return refuse_value(field, table->path, value, error);
                if (json_object_set_new(normal, field->name, take_value(field, value)) < 0)
                        return -ENOMEM;
        }
        *ret_normal = TAKE_PTR(normal);
        return 0;
}
