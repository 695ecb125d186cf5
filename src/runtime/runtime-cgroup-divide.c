/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Below the group of a scope: "monitor", for the parent, and "payload", for the container. The parent has to leave the
 * scope's own group, as the kernel hands controllers down only from groups without processes. */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "berth/file.h"
#include "berth/string.h"
#include "runtime-private.h"

int runtime_cgroup_write(int group_fd, const char *file, const char *text)
{
        CLEANUP_CLOSE int fd = openat(group_fd, file, O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int runtime_cgroup_path(const char *file, char **ret_path)
{
        static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
        CLEANUP_FREE char *text = NULL;
        const char *line;
        char *path;
        int r;

        r = file_read_at(AT_FDCWD, file, CGROUP_FILE_MAX, &text, NULL);
        if (r < 0)
                return r;
        for (line = text; line && !str_after_prefix(line, "0::");
             line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
                ;
        if (!line)
                return -ENODEV;
        line = str_after_prefix(line, "0::");
        for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
                struct statfs fs;

                if (statfs(mounts[i], &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
                        continue;
                path = str_printf("%s%.*s", mounts[i], (int) strcspn(line, "\n"), line);
                if (!path)
                        return -ENOMEM;
                *ret_path = path;
                return 0;
        }
        return -ENODEV;
}

static int group_make(int parent_fd, const char *name)
{
        int fd;

        if (mkdirat(parent_fd, name, 0755) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int controllers_enable(int group_fd)
{
        CLEANUP_FREE char *available = NULL;
        CLEANUP_BUFFER Buffer request = {};
        char *rest, *word;
        int r;

        r = file_read_at(group_fd, "cgroup.controllers", CGROUP_FILE_MAX, &available, NULL);
        if (r < 0)
                return r;
        for (rest = available; (word = strsep(&rest, " \n"));)
                if (*word) {
                        r = buffer_printf(&request, "%s+%s", request.size > 0 ? " " : "", word);
                        if (r < 0)
                                return r;
                }
        return request.size > 0 ? runtime_cgroup_write(group_fd, "cgroup.subtree_control", request.data) : 0;
}

int runtime_cgroup_divide(int scope_fd)
{
        CLEANUP_CLOSE int monitor = group_make(scope_fd, RUNTIME_CGROUP_MONITOR);
        CLEANUP_CLOSE int payload = group_make(scope_fd, RUNTIME_CGROUP_PAYLOAD);
        int r = MIN(monitor, payload);

        if (r >= 0)
                r = runtime_cgroup_write(monitor, "cgroup.procs", "0");
        return r < 0 ? r : controllers_enable(scope_fd);
}
