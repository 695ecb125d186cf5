/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an update asks for, checked and merged into a HostConfig. The values and the refusals are Docker's, which reads
 * 0 and "" as "unchanged". Beyond Docker, limits of block devices are changed too, and a field that cannot be changed
 * is named in a warning. */
#include "berth/json.h"
#include "berth/spec.h"
#include "engine-limits.h"
#include "engine-private.h"
#include "engine-types.h"
#include "engine-update.h"

static const char *const kept_fields[] = {
        "CgroupParent",    "Devices", "DeviceCgroupRules", "DeviceRequests",
        "KernelMemoryTCP", "Ulimits", "CpuCount",          "Init",
};

static const char *const integers[] = {
        "BlkioWeight", "CpuShares",         "NanoCpus",          "CpuPeriod",          "CpuQuota",  "Memory",
        "MemorySwap",  "MemoryReservation", "CpuRealtimePeriod", "CpuRealtimeRuntime", "PidsLimit",
};

static const char *const texts[] = { "CpusetCpus", "CpusetMems" };

static const char *const device_lists[] = {
        "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps",
};

/* --- Checking ----------------------------------------------------------------------------------------------------- */

static bool is_said(const json_t *value)
{
        switch (value ? json_typeof(value) : JSON_NULL) {
        case JSON_INTEGER:
                return json_integer_value(value) != 0;
        case JSON_STRING:
                return json_string_length(value) > 0;
        case JSON_ARRAY:
                return json_array_size(value) > 0;
        case JSON_TRUE:
                return true;
        default:
                return false;
        }
}

static int warn_of_kept_fields(json_t *changes, json_t *warnings)
{
        for (size_t i = 0; i < ARRAY_SIZE(kept_fields); i++) {
                int r = is_said(json_object_get(changes, kept_fields[i]))
                                ? warnings_add(warnings,
                                               "%s of a container cannot be updated. The new value is discarded.",
                                               kept_fields[i])
                                : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Fields that versions of the API do not have. */
static void drop_by_version(json_t *changes, int version_minor)
{
        const json_t *pids;

        if (version_minor < 40)
                json_object_del(changes, "PidsLimit");
        if (version_minor >= 42)
                json_object_del(changes, "KernelMemory");
        pids = json_object_get(changes, "PidsLimit");
        if (json_is_integer(pids) && json_integer_value(pids) < 0)
                json_set_int(changes, "PidsLimit", 0);
}

int update_check(const json_t *body, int version_minor, json_t *warnings, json_t **ret_changes, Error *error)
{
        CLEANUP_JSON json_t *changes = NULL;

        if (!body)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid JSON: got EOF while reading request body");
        if (!json_is_object(body) && !json_is_null(body))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid JSON: json: cannot unmarshal %s into Go value of type container.UpdateConfig",
                                 json_type_name(body));
        int r = types_check("container.UpdateConfig", body, error);
        if (r == 0)
                r = fields_normalise("UpdateConfig", body, &changes, error);
        if (r != 0)
                return r;
        drop_by_version(changes, version_minor);
        r = restart_policy_check(json_object_get(changes, "RestartPolicy"), error);
        if (r == 0)
                r = limits_check(changes, true, warnings, error);
        if (r == 0)
                r = warn_of_kept_fields(changes, warnings);
        if (r == 0)
                *ret_changes = TAKE_PTR(changes);
        return r;
}

/* --- Merging ------------------------------------------------------------------------------------------------------ */

/* What is set already decides what may be changed. */
static int check_conflicts(const json_t *host, const json_t *changes, Error *error)
{
        static const struct {
                const char *changed, *there, *text;
        } conflicts[] = {
                { "NanoCpus", "CpuPeriod", "Nano CPUs cannot be updated as CPU Period has already been set" },
                { "NanoCpus", "CpuQuota", "Nano CPUs cannot be updated as CPU Quota has already been set" },
                { "CpuPeriod", "NanoCpus", "CPU Period cannot be updated as NanoCPUs has already been set" },
                { "CpuQuota", "NanoCpus", "CPU Quota cannot be updated as NanoCPUs has already been set" },
        };
        int64_t memory = json_get_int(changes, "Memory", 0);
        const char *policy = json_get_string_or(json_object_get(changes, "RestartPolicy"), "Name", "");

        for (size_t i = 0; i < ARRAY_SIZE(conflicts); i++)
                if (json_get_int(changes, conflicts[i].changed, 0) > 0 && json_get_int(host, conflicts[i].there, 0) > 0)
                        return error_set(error, OUTCOME_CONFLICT, "Conflicting options: %s", conflicts[i].text);
        if (memory != 0 && memory > json_get_int(host, "MemorySwap", 0) && json_get_int(changes, "MemorySwap", 0) == 0)
                return error_set(error, OUTCOME_CONFLICT,
                                 "Memory limit should be smaller than already set memoryswap limit, update the "
                                 "memoryswap at the same time");
        if (json_get_int(changes, "MemorySwap", 0) > 0 && memory == 0 && json_get_int(host, "Memory", 0) == 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "You should always set the Memory limit when using Memoryswap limit, see usage");
        if (*policy && !str_equal(policy, "no") && json_get_bool(host, "AutoRemove"))
                return error_set(error, OUTCOME_CONFLICT,
                                 "Restart policy cannot be updated because AutoRemove is enabled for the container");
        return 0;
}

/* An entry replaces that of the same device. */
static int merge_devices(json_t *host, const char *key, const json_t *added)
{
        CLEANUP_JSON json_t *list = json_array();
        json_t *entry, *other;
        size_t i, j;

        if (!list)
                return -ENOMEM;
        json_array_foreach(json_object_get(host, key), i, entry) {
                bool replaced = false;

                json_array_foreach((json_t *) added, j, other)
                        replaced =
                                replaced || str_equal(json_get_string(entry, "Path"), json_get_string(other, "Path"));
                if (!replaced && json_array_append(list, entry) < 0)
                        return -ENOMEM;
        }
        if (json_array_extend(list, (json_t *) added) < 0)
                return -ENOMEM;
        return json_object_set(host, key, list) < 0 ? -ENOMEM : 0;
}

static int merge_policy(json_t *host, const json_t *policy)
{
        const char *name = json_get_string(policy, "Name");

        if (str_empty(name))
                return 0;
        return json_object_set_new(host, "RestartPolicy",
                                   json_pack("{ss sI}", "Name", name, "MaximumRetryCount",
                                             (json_int_t) json_get_int(policy, "MaximumRetryCount", 0))) < 0
                       ? -ENOMEM
                       : 0;
}

int update_merge(const json_t *host, const json_t *changes, json_t **ret_merged, Error *error)
{
        CLEANUP_JSON json_t *merged = json_deep_copy(host);
        const json_t *pids = json_object_get(changes, "PidsLimit");
        int r = merged ? check_conflicts(host, changes, error) : -ENOMEM;

        if (r != 0)
                return r;
        for (size_t i = 0; i < ARRAY_SIZE(integers); i++)
                if (json_get_int(changes, integers[i], 0) != 0)
                        r = MIN(r, json_set_int(merged, integers[i], json_get_int(changes, integers[i], 0)));
        if (json_is_integer(pids))
                r = MIN(r, json_set_int(merged, "PidsLimit", json_integer_value(pids)));
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (!str_empty(json_get_string(changes, texts[i])))
                        r = MIN(r, json_set_string(merged, texts[i], json_get_string(changes, texts[i])));
        for (size_t i = 0; i < ARRAY_SIZE(device_lists); i++)
                if (json_array_size(json_object_get(changes, device_lists[i])) > 0)
                        r = MIN(r, merge_devices(merged, device_lists[i], json_object_get(changes, device_lists[i])));
        r = MIN(r, merge_policy(merged, json_object_get(changes, "RestartPolicy")));
        if (r == 0)
                *ret_merged = TAKE_PTR(merged);
        return r;
}

int update_resources(const json_t *host, json_t **ret_resources, Error *error)
{
        CLEANUP_JSON json_t *resources = NULL;
        const json_t *pids = json_object_get(host, "PidsLimit");
        int r = spec_limits(host, &resources, error);

        if (r != 0)
                return r;
        /* A start leaves out what has no limit; here there may be one to take away. */
        if (json_is_integer(pids) && json_integer_value(pids) <= 0)
                r = json_object_set_new(resources, "pids", json_pack("{si}", "limit", -1)) < 0 ? -ENOMEM : 0;
        if (json_get_int(host, "CpuQuota", 0) < 0)
                r = MIN(r, json_set_int(json_get_object(resources, "cpu"), "quota", -1));
        if (r == 0)
                *ret_resources = TAKE_PTR(resources);
        return r;
}
