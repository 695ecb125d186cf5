/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes what a start knows of its process, resolved to numbers, down for the checks that the monitor will run beside
 * it (runtime-probe.h). */
#include <fcntl.h>
#include <sys/mman.h>

#include "berth/buffer.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "runtime-probe.h"

static int append_limits(const RuntimePlan *plan, Buffer *buffer)
{
        json_t *item;
        size_t i;
        int r = 0;

        json_array_foreach(json_get_array(plan->process, "rlimits"), i, item) {
                RuntimeLimit limit;

                if (r >= 0)
                        r = runtime_rlimit_parse(item, &limit, NULL);
                if (r >= 0)
                        r = buffer_append(buffer, &limit, sizeof(limit));
        }
        return r;
}

static int append_groups(const RuntimePlan *plan, Buffer *buffer)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < plan->user.n_groups; i++) {
                uint32_t group = plan->user.groups[i];
                r = buffer_append(buffer, &group, sizeof(group));
        }
        return r;
}

static int append_string(Buffer *buffer, const char *string)
{
        return buffer_append(buffer, string, strlen(string) + 1);
}

static int append_strings(Buffer *buffer, char *const *strings)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && strings[i]; i++)
                r = append_string(buffer, strings[i]);
        return r;
}

static RuntimeProbeHeader make_header(const RuntimePlan *plan)
{
        const RuntimeHealth *health = plan->start->health;

        return (RuntimeProbeHeader) {
                .magic = RUNTIME_PROBE_MAGIC,
                .interval_ns = health->interval_ns,
                .timeout_ns = health->timeout_ns,
                .start_period_ns = health->start_period_ns,
                .start_interval_ns = health->start_interval_ns,
                .retries = health->retries,
                .capabilities = plan->capabilities,
                .uid = plan->user.uid,
                .gid = plan->user.gid,
                .n_groups = (uint32_t) plan->user.n_groups,
                .n_limits = (uint32_t) json_array_size(json_get_array(plan->process, "rlimits")),
                .n_arguments = (uint32_t) strv_length(health->argv),
                .n_environment = (uint32_t) strv_length(plan->environment),
                .seccomp_size = (uint32_t) (plan->seccomp.program ? plan->seccomp.size : 0),
                .seccomp_flags = plan->seccomp.flags,
                .oom_score = (int32_t) json_get_int(plan->process, "oomScoreAdj", 0),
                .set_oom_score = plan->set_oom_score,
                .no_new_privileges = json_get_bool(plan->process, "noNewPrivileges"),
        };
}

int runtime_health_write(const RuntimePlan *plan)
{
        CLEANUP_BUFFER Buffer buffer = {};
        CLEANUP_CLOSE int fd = memfd_create("berth-health", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        RuntimeProbeHeader header = make_header(plan);
        int r = fd < 0 ? -errno : buffer_append(&buffer, &header, sizeof(header));

        if (r >= 0)
                r = append_limits(plan, &buffer);
        if (r >= 0 && header.seccomp_size > 0)
                r = buffer_append(&buffer, plan->seccomp.program, plan->seccomp.size);
        if (r >= 0)
                r = append_groups(plan, &buffer);
        if (r >= 0)
                r = append_string(&buffer, plan->cwd);
        if (r >= 0)
                r = append_string(&buffer, json_get_string_or(plan->process, "apparmorProfile", ""));
        if (r >= 0)
                r = append_strings(&buffer, plan->start->health->argv);
        if (r >= 0)
                r = append_strings(&buffer, plan->environment);
        if (r < 0)
                return r;
        ((RuntimeProbeHeader *) (void *) buffer.data)->size = buffer.size;
        r = fd_write_all(fd, buffer.data, buffer.size);
        if (r >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
                r = -errno;
        return r < 0 ? r : TAKE_FD(fd);
}
