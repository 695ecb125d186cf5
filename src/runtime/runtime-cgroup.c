/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The limits of a container's cgroup, and how a process finds the groups of the scope it is in. Limits of a controller
 * that the host does not offer are left out silently: whether that may be is the engine's decision. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

void runtime_cgroup_clear(RuntimeCgroup *cgroup)
{
        free(cgroup->payload_path);
        fd_close(cgroup->payload_fd);
        *cgroup = RUNTIME_CGROUP_EMPTY;
}

/* --- limits: each kind is a function that gives the value as text, or nothing --- */

typedef struct Limit {
        const char *file;
        char text[96];
} Limit;

static void number_or_max(Limit *limit, int64_t value)
{
        if (value < 0)
                snprintf(limit->text, sizeof(limit->text), "max");
        else
                snprintf(limit->text, sizeof(limit->text), "%lld", (long long) value);
}

static int limit_apply(int group_fd, const Limit *limit, Error *ret_error)
{
        int r;

        if (!limit->text[0])
                return 0;
        r = runtime_cgroup_write(group_fd, limit->file, limit->text);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return runtime_error(ret_error, -r, "failed to write \"%s\": write %s", limit->text, limit->file);
        return 0;
}

static int memory_apply(int group_fd, const json_t *memory, Error *ret_error)
{
        Limit max = { .file = "memory.max" }, swap = { .file = "memory.swap.max" }, low = { .file = "memory.low" };
        int64_t limit = json_get_int(memory, "limit", 0), total = json_get_int(memory, "swap", 0);
        int64_t reservation = json_get_int(memory, "reservation", 0);
        int r;

        if (limit != 0)
                number_or_max(&max, limit);
        /* The configuration counts memory and swap together, the file swap alone. */
        if (total < 0)
                number_or_max(&swap, -1);
        else if (total > 0 && limit > 0 && total >= limit)
                number_or_max(&swap, total - limit);
        if (reservation != 0)
                number_or_max(&low, reservation);
        r = limit_apply(group_fd, &swap, ret_error);
        if (r >= 0)
                r = limit_apply(group_fd, &max, ret_error);
        return r < 0 ? r : limit_apply(group_fd, &low, ret_error);
}

static int cpu_apply(int group_fd, const json_t *cpu, Error *ret_error)
{
        Limit weight = { .file = "cpu.weight" }, max = { .file = "cpu.max" }, idle = { .file = "cpu.idle" };
        int64_t shares = json_get_int(cpu, "shares", 0), quota = json_get_int(cpu, "quota", 0);
        int64_t period = json_get_int(cpu, "period", 0);
        int r;

        if (shares > 0)
                /* The range 2 to 262144 laid over 1 to 10000, as the kernel's version 1 and 2 have it. */
                number_or_max(&weight, 1 + (MIN(MAX(shares, 2), 262144) - 2) * 9999 / 262142);
        if (quota != 0 || period != 0) {
                if (quota > 0)
                        snprintf(max.text, sizeof(max.text), "%lld %lld", (long long) quota,
                                 (long long) (period > 0 ? period : 100000));
                else
                        snprintf(max.text, sizeof(max.text), "max %lld", (long long) (period > 0 ? period : 100000));
        }
        if (json_object_get(cpu, "idle"))
                number_or_max(&idle, json_get_int(cpu, "idle", 0));
        r = limit_apply(group_fd, &weight, ret_error);
        if (r >= 0)
                r = limit_apply(group_fd, &max, ret_error);
        return r < 0 ? r : limit_apply(group_fd, &idle, ret_error);
}

static int cpuset_apply(int group_fd, const json_t *cpu, Error *ret_error)
{
        static const char *const names[][2] = { { "cpus", "cpuset.cpus" }, { "mems", "cpuset.mems" } };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                const char *value = json_get_string(cpu, names[i][0]);
                int r = str_empty(value) ? 0 : runtime_cgroup_write(group_fd, names[i][1], value);

                if (r < 0 && r != -ENOENT)
                        return runtime_error(ret_error, -r, "failed to write \"%s\": write %s", value, names[i][1]);
        }
        return 0;
}

static const char *const throttles[][2] = {
        { "throttleReadBpsDevice", "rbps" },
        { "throttleWriteBpsDevice", "wbps" },
        { "throttleReadIOPSDevice", "riops" },
        { "throttleWriteIOPSDevice", "wiops" },
};

/* 10 to 1000 laid over 1 to 10000. */
static int64_t io_weight(int64_t weight)
{
        return 1 + (MAX(weight, 10) - 10) * 9999 / 990;
}

static int io_apply(int group_fd, const json_t *block, Error *ret_error)
{
        Limit weight = { .file = "io.weight" }, max = { .file = "io.max" };
        json_t *device;
        size_t j;
        int r;

        if (json_get_int(block, "weight", 0) > 0)
                number_or_max(&weight, io_weight(json_get_int(block, "weight", 0)));
        r = limit_apply(group_fd, &weight, ret_error);
        json_array_foreach(json_get_array(block, "weightDevice"), j, device) {
                snprintf(weight.text, sizeof(weight.text), "%lld:%lld %lld",
                         (long long) json_get_int(device, "major", 0), (long long) json_get_int(device, "minor", 0),
                         (long long) io_weight(json_get_int(device, "weight", 0)));
                int set = r >= 0 ? limit_apply(group_fd, &weight, ret_error) : r;
                /* Not every scheduler of a device knows weights. */
                if (set != -EOPNOTSUPP)
                        r = set;
                else
                        error_clear(ret_error);
        }
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(throttles); i++)
                json_array_foreach(json_get_array(block, throttles[i][0]), j, device) {
                        snprintf(max.text, sizeof(max.text), "%lld:%lld %s=%lld",
                                 (long long) json_get_int(device, "major", 0),
                                 (long long) json_get_int(device, "minor", 0), throttles[i][1],
                                 (long long) json_get_int(device, "rate", 0));
                        r = limit_apply(group_fd, &max, ret_error);
                        if (r < 0)
                                break;
                }
        return r;
}

static int unified_apply(int group_fd, const json_t *unified, Error *ret_error)
{
        const char *file;
        json_t *value;

        json_object_foreach((json_t *) unified, file, value) {
                int r = strchr(file, '/') || !json_is_string(value)
                                ? -EINVAL
                                : runtime_cgroup_write(group_fd, file, json_string_value(value));

                if (r < 0)
                        return runtime_error(ret_error, -r, "failed to write %s", file);
        }
        return 0;
}

int runtime_cgroup_apply(int cgroup_fd, const json_t *resources, Error *ret_error)
{
        json_t *cpu = json_get_object(resources, "cpu"), *pids = json_get_object(resources, "pids");
        Limit limit = { .file = "pids.max" };
        int64_t n = json_get_int(pids, "limit", 0);
        int r;

        r = memory_apply(cgroup_fd, json_get_object(resources, "memory"), ret_error);
        if (r >= 0)
                r = cpu_apply(cgroup_fd, cpu, ret_error);
        if (r >= 0)
                r = cpuset_apply(cgroup_fd, cpu, ret_error);
        if (r >= 0)
                r = io_apply(cgroup_fd, json_get_object(resources, "blockIO"), ret_error);
        if (n != 0)
                number_or_max(&limit, n);
        if (r >= 0)
                r = limit_apply(cgroup_fd, &limit, ret_error);
        if (r >= 0)
                r = unified_apply(cgroup_fd, json_get_object(resources, "unified"), ret_error);
        return r;
}

/* --- the groups --- */

/* The groups are there already where this process was born into one of them. */
static int open_payload(char *own, RuntimeCgroup *cgroup, Error *ret_error)
{
        char *born = strrchr(own, '/');
        bool divided = str_equal(born, "/" RUNTIME_CGROUP_MONITOR);
        CLEANUP_CLOSE int scope = -EBADF;
        int r;

        if (divided)
                *born = '\0';
        scope = open(own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (scope < 0)
                return runtime_error(ret_error, errno, "open cgroup %s", own);
        if (!divided) {
                r = runtime_cgroup_divide(scope);
                if (r < 0)
                        return runtime_error(ret_error, -r, "divide cgroup %s", own);
        }
        cgroup->payload_fd = openat(scope, RUNTIME_CGROUP_PAYLOAD, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (cgroup->payload_fd < 0)
                return runtime_error(ret_error, errno, "open cgroup %s/" RUNTIME_CGROUP_PAYLOAD, own);
        cgroup->payload_path = path_join(own, RUNTIME_CGROUP_PAYLOAD);
        return cgroup->payload_path ? 0 : -ENOMEM;
}

int runtime_cgroup_setup(const json_t *resources, RuntimeCgroup *ret, Error *ret_error)
{
        CLEANUP(runtime_cgroup_clear) RuntimeCgroup cgroup = RUNTIME_CGROUP_EMPTY;
        CLEANUP_FREE char *own = NULL;
        int r;

        r = runtime_cgroup_path("/proc/self/cgroup", &own);
        if (r < 0)
                return runtime_error(ret_error, -r, "find the cgroup of the scope");
        r = open_payload(own, &cgroup, ret_error);
        if (r >= 0)
                r = runtime_cgroup_apply(cgroup.payload_fd, resources, ret_error);
        if (r < 0)
                return r;
        *ret = cgroup;
        cgroup = RUNTIME_CGROUP_EMPTY;
        return 0;
}

/* The payload group, or, where its processes have divided it among themselves, that of the first of them: a group that
 * hands controllers down takes no process. */
static int group_for_process(int scope, pid_t pid, int *ret_fd)
{
        CLEANUP_CLOSE int payload = openat(scope, RUNTIME_CGROUP_PAYLOAD, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CLEANUP_FREE char *enabled = NULL, *file = str_printf("/proc/%d/cgroup", (int) pid), *path = NULL;
        int r;

        if (payload < 0)
                return -errno;
        r = file ? file_read_at(payload, "cgroup.subtree_control", CGROUP_FILE_MAX, &enabled, NULL) : -ENOMEM;
        if (r < 0)
                return r;
        if (strspn(enabled, " \n") < strlen(enabled)) {
                fd_close(TAKE_FD(payload));
                r = runtime_cgroup_path(file, &path);
                if (r < 0)
                        return r;
                payload = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (payload < 0)
                        return -errno;
        }
        *ret_fd = TAKE_FD(payload);
        return 0;
}

int runtime_cgroup_join(const char *scope, pid_t pid, RuntimeCgroup *ret, Error *ret_error)
{
        CLEANUP(runtime_cgroup_clear) RuntimeCgroup cgroup = RUNTIME_CGROUP_EMPTY;
        CLEANUP_CLOSE int scope_fd = open(scope, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r;

        if (scope_fd < 0)
                return runtime_error(ret_error, errno, "open cgroup %s", scope);
        r = group_for_process(scope_fd, pid, &cgroup.payload_fd);
        if (r < 0)
                return runtime_error(ret_error, -r, "open cgroup %s/" RUNTIME_CGROUP_PAYLOAD, scope);
        cgroup.payload_path = path_join(scope, RUNTIME_CGROUP_PAYLOAD);
        if (!cgroup.payload_path)
                return -ENOMEM;
        *ret = cgroup;
        cgroup = RUNTIME_CGROUP_EMPTY;
        return 0;
}
