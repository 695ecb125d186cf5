/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* linux.sysctl. Every name that belongs to a namespace belongs to the network, ipc or uts namespace of the process that
 * opens it, so all are written by the parent while it is there. Others would change the host and are refused. Dots
 * separate the directories; a name with slashes is taken as it is. */
#include <fcntl.h>

#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

/* Names of one namespace each; a dot at the end stands for all below. */
static const struct {
        const char *name;
        RuntimeNamespace owner;
} namespaced[] = {
        { "kernel.msgmax", RUNTIME_NS_IPC },     { "kernel.msgmnb", RUNTIME_NS_IPC },
        { "kernel.msgmni", RUNTIME_NS_IPC },     { "kernel.sem", RUNTIME_NS_IPC },
        { "kernel.shmall", RUNTIME_NS_IPC },     { "kernel.shmmax", RUNTIME_NS_IPC },
        { "kernel.shmmni", RUNTIME_NS_IPC },     { "kernel.shm_rmid_forced", RUNTIME_NS_IPC },
        { "fs.mqueue.", RUNTIME_NS_IPC },        { "net.", RUNTIME_NS_NETWORK },
        { "kernel.domainname", RUNTIME_NS_UTS },
};

static bool is_own(const RuntimeNamespaces *namespaces, RuntimeNamespace which)
{
        static const int flags[RUNTIME_NS_COUNT] = {
                [RUNTIME_NS_IPC] = CLONE_NEWIPC, [RUNTIME_NS_NETWORK] = CLONE_NEWNET, [RUNTIME_NS_UTS] = CLONE_NEWUTS
        };

        return namespaces->fds[which] >= 0 || namespaces->clone_flags & flags[which];
}

static int sysctl_check(const RuntimeNamespaces *namespaces, const char *name, Error *ret_error)
{
        CLEANUP_FREE char *dotted = strdup(name);

        if (!dotted)
                return -ENOMEM;
        for (char *p = dotted; *p; p++)
                *p = *p == '/' ? '.' : *p;
        for (size_t i = 0; i < ARRAY_SIZE(namespaced); i++) {
                const char *rest = str_after_prefix(dotted, namespaced[i].name);

                if (!rest || (*rest && !str_has_suffix(namespaced[i].name, ".")) || strstr(dotted, ".."))
                        continue;
                if (is_own(namespaces, namespaced[i].owner))
                        return 0;
                error_set(ret_error, OUTCOME_FAILED,
                          namespaced[i].owner == RUNTIME_NS_NETWORK
                                  ? "sysctl \"%s\" not allowed in host network namespace"
                                  : "sysctl \"%s\" is not allowed in the hosts ipc namespace",
                          name);
                return -EINVAL;
        }
        error_set(ret_error, OUTCOME_FAILED, "sysctl \"%s\" is not in a separate kernel namespace", name);
        return -EINVAL;
}

int runtime_sysctl_check(const json_t *config, const RuntimeNamespaces *namespaces, Error *ret_error)
{
        json_t *object = json_get_object(json_get_object(config, "linux"), "sysctl"), *value;
        const char *name;

        json_object_foreach(object, name, value) {
                int r = sysctl_check(namespaces, name, ret_error);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int sysctl_write(int proc_fd, const char *name, const char *value, Error *ret_error)
{
        CLEANUP_FREE char *path = str_printf("sys/%s", name);
        CLEANUP_CLOSE int fd = -EBADF;

        if (!path)
                return -ENOMEM;
        if (!strchr(name, '/'))
                for (char *p = path; *p; p++)
                        *p = *p == '.' ? '/' : *p;
        if (strstr(path, ".."))
                return runtime_error(ret_error, EINVAL, "sysctl \"%s\"", name);
        fd = openat(proc_fd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return runtime_error(ret_error, errno, "open /proc/%s", path);
        if (write(fd, value, strlen(value)) < 0)
                return runtime_error(ret_error, errno, "write /proc/%s", path);
        return 0;
}

int runtime_sysctl_apply(int proc_fd, const json_t *config, Error *ret_error)
{
        json_t *object = json_get_object(json_get_object(config, "linux"), "sysctl"), *value;
        const char *name;

        json_object_foreach(object, name, value) {
                int r = sysctl_write(proc_fd, name, json_is_string(value) ? json_string_value(value) : "", ret_error);

                if (r < 0)
                        return r;
        }
        return 0;
}
