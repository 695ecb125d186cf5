/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* linux.sysctl. Every name that belongs to a namespace belongs to the network, ipc or uts namespace of the process that
 * opens it, so all are written by the parent while it is there. Others would change the host and are the engine's to
 * refuse. Dots separate the directories; a name with slashes is taken as it is. */
#include <fcntl.h>

#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

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
