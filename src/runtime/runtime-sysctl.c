/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* linux.sysctl. Names of the network namespace are written by the parent, the others by init, each through the /proc it
 * sees. Dots separate the directories; a name with slashes is taken as it is. */
#include <fcntl.h>

#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

static int sysctl_write(int proc_fd, const char *name, const char *value)
{
        CLEANUP_FREE char *path = str_printf("sys/%s", name);
        CLEANUP_CLOSE int fd = -EBADF;

        if (!path)
                return -ENOMEM;
        if (!strchr(name, '/'))
                for (char *p = path; *p; p++)
                        *p = *p == '.' ? '/' : *p;
        if (strstr(path, ".."))
                return -EINVAL;
        fd = openat(proc_fd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

int runtime_sysctl_apply(int proc_fd, const json_t *config, bool network, Error *ret_error)
{
        json_t *object = json_get_object(json_get_object(config, "linux"), "sysctl"), *value;
        const char *name;

        json_object_foreach(object, name, value)
        {
                int r;

                if (str_after_prefix(name, "net.") || str_after_prefix(name, "net/")
                            ? !network
                            : network || !json_is_string(value))
                        continue;
                r = sysctl_write(proc_fd, name, json_is_string(value) ? json_string_value(value) : "");
                if (r < 0)
                        return runtime_error(ret_error, -r, "error writing sysctl %s = %s", name,
                                             json_is_string(value) ? json_string_value(value) : "");
        }
        return 0;
}
