/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fields of a container's Config and HostConfig: each one's type, its default, and whether this engine acts on it.
 * Unknown fields are dropped, as Docker drops them; a known field that asks for something that isn't there yet says so.
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

typedef enum FieldSupport {
        SUPPORT_FULL,
        SUPPORT_WARN,   /* has no effect: the user is told */
        SUPPORT_REFUSE, /* the container would not be what was asked for */
} FieldSupport;

typedef struct Field {
        const char *name;
        FieldKind kind;
        FieldDefault fallback;
        FieldSupport support;
} Field;

/* In the order inspect shows them. */
static const Field config_fields[] = {
        { "Hostname", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Domainname", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "User", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "AttachStdin", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "AttachStdout", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "AttachStderr", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "ExposedPorts", FIELD_OBJECT, DEFAULT_OMIT, SUPPORT_FULL },
        { "Tty", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "OpenStdin", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "StdinOnce", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "Env", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "Cmd", FIELD_WORDS, DEFAULT_NULL, SUPPORT_FULL },
        { "Healthcheck", FIELD_OBJECT, DEFAULT_OMIT, SUPPORT_FULL },
        { "ArgsEscaped", FIELD_BOOLEAN, DEFAULT_OMIT, SUPPORT_FULL },
        { "Image", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Volumes", FIELD_OBJECT, DEFAULT_NULL, SUPPORT_FULL },
        { "WorkingDir", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Entrypoint", FIELD_WORDS, DEFAULT_NULL, SUPPORT_FULL },
        { "NetworkDisabled", FIELD_BOOLEAN, DEFAULT_OMIT, SUPPORT_FULL },
        { "MacAddress", FIELD_STRING, DEFAULT_OMIT, SUPPORT_FULL },
        { "OnBuild", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "Labels", FIELD_STRING_MAP, DEFAULT_ZERO, SUPPORT_FULL },
        { "StopSignal", FIELD_STRING, DEFAULT_OMIT, SUPPORT_FULL },
        { "StopTimeout", FIELD_INTEGER, DEFAULT_OMIT, SUPPORT_FULL },
        { "Shell", FIELD_WORDS, DEFAULT_OMIT, SUPPORT_FULL },
};

static const Field host_config_fields[] = {
        { "Binds", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "ContainerIDFile", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "LogConfig", FIELD_OBJECT, DEFAULT_ZERO, SUPPORT_FULL },
        { "NetworkMode", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "PortBindings", FIELD_OBJECT, DEFAULT_NULL, SUPPORT_FULL },
        { "RestartPolicy", FIELD_OBJECT, DEFAULT_ZERO, SUPPORT_FULL },
        { "AutoRemove", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "VolumeDriver", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "VolumesFrom", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "ConsoleSize", FIELD_ARRAY, DEFAULT_ZERO, SUPPORT_FULL },
        { "Annotations", FIELD_STRING_MAP, DEFAULT_OMIT, SUPPORT_FULL },
        { "CapAdd", FIELD_WORDS, DEFAULT_NULL, SUPPORT_FULL },
        { "CapDrop", FIELD_WORDS, DEFAULT_NULL, SUPPORT_FULL },
        { "CgroupnsMode", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Dns", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "DnsOptions", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "DnsSearch", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "ExtraHosts", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "GroupAdd", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "IpcMode", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Cgroup", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Links", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "OomScoreAdj", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "PidMode", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Privileged", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "PublishAllPorts", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "ReadonlyRootfs", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "SecurityOpt", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "StorageOpt", FIELD_STRING_MAP, DEFAULT_OMIT, SUPPORT_FULL },
        { "Tmpfs", FIELD_STRING_MAP, DEFAULT_OMIT, SUPPORT_FULL },
        { "UTSMode", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "UsernsMode", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "ShmSize", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "Sysctls", FIELD_STRING_MAP, DEFAULT_OMIT, SUPPORT_FULL },
        { "Runtime", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Isolation", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "CpuShares", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "Memory", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "NanoCpus", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "CgroupParent", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "BlkioWeight", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "BlkioWeightDevice", FIELD_OBJECTS, DEFAULT_NULL, SUPPORT_FULL },
        { "BlkioDeviceReadBps", FIELD_OBJECTS, DEFAULT_NULL, SUPPORT_FULL },
        { "BlkioDeviceWriteBps", FIELD_OBJECTS, DEFAULT_NULL, SUPPORT_FULL },
        { "BlkioDeviceReadIOps", FIELD_OBJECTS, DEFAULT_NULL, SUPPORT_FULL },
        { "BlkioDeviceWriteIOps", FIELD_OBJECTS, DEFAULT_NULL, SUPPORT_FULL },
        { "CpuPeriod", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "CpuQuota", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "CpuRealtimePeriod", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "CpuRealtimeRuntime", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "CpusetCpus", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "CpusetMems", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Devices", FIELD_OBJECTS, DEFAULT_NULL, SUPPORT_FULL },
        { "DeviceCgroupRules", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "DeviceRequests", FIELD_OBJECTS, DEFAULT_NULL, SUPPORT_FULL },
        { "MemoryReservation", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "MemorySwap", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "MemorySwappiness", FIELD_INTEGER, DEFAULT_NULL, SUPPORT_FULL },
        { "OomKillDisable", FIELD_BOOLEAN, DEFAULT_NULL, SUPPORT_FULL },
        { "PidsLimit", FIELD_INTEGER, DEFAULT_NULL, SUPPORT_FULL },
        { "Ulimits", FIELD_OBJECTS, DEFAULT_NULL, SUPPORT_FULL },
        { "CpuCount", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "CpuPercent", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "IOMaximumIOps", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "IOMaximumBandwidth", FIELD_INTEGER, DEFAULT_ZERO, SUPPORT_FULL },
        { "Mounts", FIELD_OBJECTS, DEFAULT_OMIT, SUPPORT_FULL },
        { "Init", FIELD_BOOLEAN, DEFAULT_OMIT, SUPPORT_FULL },
        { "MaskedPaths", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "ReadonlyPaths", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
};

/* Of an exec: at its creation and at its start. */
static const Field exec_fields[] = {
        { "User", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Privileged", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "Tty", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "ConsoleSize", FIELD_ARRAY, DEFAULT_NULL, SUPPORT_FULL },
        { "AttachStdin", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "AttachStderr", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "AttachStdout", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "Detach", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "DetachKeys", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Env", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
        { "WorkingDir", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "Cmd", FIELD_STRINGS, DEFAULT_NULL, SUPPORT_FULL },
};

static const Field exec_start_fields[] = {
        { "Detach", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "Tty", FIELD_BOOLEAN, DEFAULT_ZERO, SUPPORT_FULL },
        { "ConsoleSize", FIELD_ARRAY, DEFAULT_NULL, SUPPORT_FULL },
};

/* Of a volume. */
static const Field volume_fields[] = {
        { "ClusterVolumeSpec", FIELD_OBJECT, DEFAULT_NULL, SUPPORT_FULL },
        { "Driver", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
        { "DriverOpts", FIELD_STRING_MAP, DEFAULT_NULL, SUPPORT_FULL },
        { "Labels", FIELD_STRING_MAP, DEFAULT_NULL, SUPPORT_FULL },
        { "Name", FIELD_STRING, DEFAULT_ZERO, SUPPORT_FULL },
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

static bool says_something(const json_t *value)
{
        switch (json_typeof(value)) {
        case JSON_STRING:
                return json_string_length(value) > 0;
        case JSON_INTEGER:
                return json_integer_value(value) > 0; /* clients send -1 for "not set", too */
        case JSON_ARRAY:
                return json_array_size(value) > 0;
        case JSON_OBJECT:
                return json_object_size(value) > 0;
        default:
                return json_is_true(value);
        }
}

static int check_support(const Field *field, const json_t *value, json_t *warnings, Error *error)
{
        if (field->support == SUPPORT_FULL || !says_something(value))
                return 0;
        if (field->support == SUPPORT_REFUSE)
                return error_set(error, OUTCOME_NOT_IMPLEMENTED, "%s is not supported by this version of berth",
                                 field->name);
        CLEANUP_FREE char *text = str_printf("%s has no effect in this version of berth", field->name);
        if (text)
                json_array_append_new(warnings, json_string(text));
        return 0;
}

static json_t *take_value(const Field *field, json_t *value)
{
        if (field->kind == FIELD_WORDS && json_is_string(value))
                return json_pack("[O]", value);
        return json_incref(value);
}

int fields_normalise(const char *object_name, const json_t *given, json_t **ret_normal, json_t *warnings, Error *error)
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
                int r = check_support(field, value, warnings, error);
                if (r != 0)
                        return r;
                if (json_object_set_new(normal, field->name, take_value(field, value)) < 0)
                        return -ENOMEM;
        }
        *ret_normal = TAKE_PTR(normal);
        return 0;
}
