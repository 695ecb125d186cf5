/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Holding a container's processes still while its files are read. Before the group is frozen a file with the group's
 * path is made under the exec root; it goes after the thaw. What a killed daemon left frozen is thawed by the next one,
 * which finds the file. */
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define FREEZE_DIRECTORY "frozen"
#define FREEZE_PATH_MAX 4096u

static char *mark_path(const Engine *engine, const char *id)
{
        return str_printf("%s/" FREEZE_DIRECTORY "/%s", engine->config->exec_root, id);
}

static int write_state(const char *group, const char *state)
{
        CLEANUP_FREE char *path = path_join(group, "cgroup.freeze");

        return path ? file_write_kernel(path, state) : -ENOMEM;
}

static char *payload_path(const Container *container)
{
        CLEANUP_FREE char *scope = container_scope_path(container);

        return scope ? path_join(scope, "payload") : NULL;
}

int container_freeze(Container *container, char **ret_group)
{
        CLEANUP_FREE char *group = payload_path(container), *mark = mark_path(container->engine, container->id);
        CLEANUP_FREE char *directory = path_join(container->engine->config->exec_root, FREEZE_DIRECTORY);
        int r;

        if (!group || !mark || !directory)
                return -ENOMEM;
        if (mkdir(directory, 0700) < 0 && errno != EEXIST)
                return -errno;
        r = file_replace_volatile_at(AT_FDCWD, mark, group, strlen(group), 0600);
        if (r >= 0)
                r = write_state(group, "1");
        if (r < 0) {
                unlink(mark);
                return r;
        }
        container->freezes++;
        *ret_group = TAKE_PTR(group);
        return 0;
}

void engine_thaw(Engine *engine, const char *id, const char *group)
{
        CLEANUP_FREE char *mark = mark_path(engine, id);
        Container *container = engine_container_by_id(engine, id);

        if (container && container->freezes > 0 && --container->freezes > 0)
                return;
        if (!container || !container->paused)
                write_state(group, "0"); /* the group is gone where the container has ended */
        if (mark)
                unlink(mark);
}

int freeze_wait(const char *group, int timeout_ms)
{
        CLEANUP_FREE char *path = path_join(group, "cgroup.events");
        CLEANUP_CLOSE int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -EBADF;
        struct pollfd watch = { .fd = fd, .events = POLLPRI };

        if (fd < 0)
                return -errno;
        for (;;) {
                char text[256];
                ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

                if (n < 0)
                        return -errno;
                text[n] = 0;
                if (strstr(text, "frozen 1") || strstr(text, "populated 0"))
                        return 0;
                int r = poll(&watch, 1, timeout_ms);
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r == 0)
                        return -ETIMEDOUT;
        }
}

void engine_thaw_leftovers(Engine *engine)
{
        CLEANUP_FREE char *path = path_join(engine->config->exec_root, FREEZE_DIRECTORY);
        CLEANUP_CLOSEDIR DIR *dir = path ? opendir(path) : NULL;
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                CLEANUP_FREE char *group = NULL;

                if (entry->d_name[0] == '.')
                        continue;
                Container *container = engine_container_by_id(engine, entry->d_name);
                if ((!container || !container->paused) &&
                    file_read_at(dirfd(dir), entry->d_name, FREEZE_PATH_MAX, &group, NULL) >= 0)
                        write_state(group, "0");
                unlinkat(dirfd(dir), entry->d_name, 0);
        }
}
