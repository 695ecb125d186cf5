/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Namespaces of other containers: "container:ID" of PidMode and IpcMode, and what a container offers to those that join
 * it. A shared /dev/shm is a file system of its own in the run-time directory of the container it belongs to. The
 * namespaces are held by descriptors from the moment their container is known to run. */
#include <fcntl.h>

#include "berth/json.h"
#include "engine-join.h"

static const struct {
        const char *key, *name, *file;
} modes[JOINED_COUNT] = {
        [JOINED_IPC] = { "IpcMode", "IPC", "ipc" },
        [JOINED_PID] = { "PidMode", "PID", "pid" },
};

static const char *joined_name(const json_t *host, Joined which)
{
        return str_after_prefix(json_get_string_or(host, modes[which].key, ""), "container:");
}

int joins_check(Engine *engine, const json_t *host, Error *error)
{
        Container *target;

        for (Joined i = 0; i < JOINED_COUNT; i++) {
                const char *name = joined_name(host, i);

                if (!name)
                        continue;
                if (!*name)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid %s mode: %s", modes[i].name,
                                         json_get_string_or(host, modes[i].key, ""));
                int r = engine_container_find(engine, name, &target, error);
                if (r > 0 && error)
                        error->outcome = OUTCOME_BAD_REQUEST;
                if (r != 0)
                        return r > 0 ? OUTCOME_BAD_REQUEST : r;
        }
        return 0;
}

bool container_shares_memory(const Container *container)
{
        return str_equal(json_get_string(container_host_config(container), "IpcMode"), "shareable");
}

char *container_shared_memory(const Container *container)
{
        return container_runtime_path(container, STAGED_SHM);
}

static int refuse_join(Joined which, const Container *target, Error *error)
{
        if (!container_is_running(target))
                return error_set(error, which == JOINED_IPC ? OUTCOME_CONFLICT : OUTCOME_FAILED,
                                 "failed to join %s namespace: container %s is not running", modes[which].name,
                                 target->id);
        const char *mode = json_get_string_or(container_host_config(target), "IpcMode", "");
        if (which == JOINED_IPC && !str_equal(mode, "shareable") && !str_equal(mode, "host"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "failed to join IPC namespace: container %s: non-shareable IPC (hint: use "
                                 "IpcMode:shareable for the donor container)",
                                 target->id);
        return 0;
}

static int join_one(const Container *container, Joined which, Joins *joins, Error *error)
{
        const char *name = joined_name(container_host_config(container), which);
        Container *target;
        char path[64];

        if (!name)
                return 0;
        int r = engine_container_find(container->engine, name, &target, error);
        if (r == 0)
                r = refuse_join(which, target, error);
        if (r != 0)
                return r;
        snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int) target->pid, modes[which].file);
        joins->fds[which] = open(path, O_RDONLY | O_CLOEXEC);
        if (joins->fds[which] < 0)
                return -errno;
        /* The number may be another's by now. */
        CLEANUP_CLOSE int process = process_open(target->pid, target->start_time);
        if (process < 0)
                return error_set(error, OUTCOME_CONFLICT, "failed to join %s namespace: container %s is not running",
                                 modes[which].name, target->id);
        if (which == JOINED_IPC) {
                joins->shared_memory =
                        container_shares_memory(target) ? container_shared_memory(target) : strdup("/dev/shm");
                if (!joins->shared_memory)
                        return -ENOMEM;
        }
        snprintf(joins->paths[which], sizeof(joins->paths[which]), "/proc/self/fd/%d", joins->fds[which]);
        return 0;
}

int joins_open(const Container *container, Joins *joins, Error *error)
{
        int r = 0;

        for (Joined i = 0; r == 0 && i < JOINED_COUNT; i++)
                r = join_one(container, i, joins, error);
        if (r == 0 && container_shares_memory(container)) {
                joins->shared_memory = container_shared_memory(container);
                r = joins->shared_memory ? 0 : -ENOMEM;
        }
        return r;
}

void joins_clear(Joins *joins)
{
        for (Joined i = 0; i < JOINED_COUNT; i++)
                joins->fds[i] = fd_close(joins->fds[i]);
        free(joins->shared_memory);
        joins->shared_memory = NULL;
}
