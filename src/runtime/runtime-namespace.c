/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* linux.namespaces by table. A type that is not listed stays the host's. The user namespace is not supported: the whole
 * engine runs as root. */
#include <fcntl.h>

#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

static const struct {
        const char *type;
        int flag;
} namespace_types[RUNTIME_NS_COUNT] = {
        [RUNTIME_NS_MOUNT] = { "mount", CLONE_NEWNS }, [RUNTIME_NS_NETWORK] = { "network", CLONE_NEWNET },
        [RUNTIME_NS_PID] = { "pid", CLONE_NEWPID },    [RUNTIME_NS_IPC] = { "ipc", CLONE_NEWIPC },
        [RUNTIME_NS_UTS] = { "uts", CLONE_NEWUTS },    [RUNTIME_NS_CGROUP] = { "cgroup", CLONE_NEWCGROUP },
};

static int namespace_open(RuntimeNamespaces *namespaces, const json_t *object, Error *ret_error)
{
        const char *type = json_get_string(object, "type"), *path = json_get_string(object, "path");

        for (size_t i = 0; i < RUNTIME_NS_COUNT; i++) {
                if (!str_equal(type, namespace_types[i].type))
                        continue;
                if (str_empty(path)) {
                        namespaces->clone_flags |= namespace_types[i].flag;
                        return 0;
                }
                namespaces->fds[i] = open(path, O_RDONLY | O_CLOEXEC);
                if (namespaces->fds[i] < 0)
                        return runtime_error(ret_error, errno, "lstat %s", path);
                return 0;
        }
        return runtime_error(ret_error, EINVAL, "namespace \"%s\" is not supported", type ? type : "");
}

int runtime_namespaces_open(const json_t *config, RuntimeNamespaces *ret, Error *ret_error)
{
        RuntimeNamespaces namespaces = {};
        json_t *list = json_get_array(json_get_object(config, "linux"), "namespaces"), *object;
        size_t i;
        int r = 0;

        for (i = 0; i < RUNTIME_NS_COUNT; i++)
                namespaces.fds[i] = -EBADF;
        json_array_foreach(list, i, object) {
                r = namespace_open(&namespaces, object, ret_error);
                if (r < 0)
                        break;
        }
        if (r >= 0 && !(namespaces.clone_flags & CLONE_NEWNS))
                r = runtime_error(ret_error, EINVAL, "a mount namespace of its own is required");
        if (r < 0) {
                for (i = 0; i < RUNTIME_NS_COUNT; i++)
                        fd_close(namespaces.fds[i]);
                return r;
        }
        *ret = namespaces;
        return 0;
}
