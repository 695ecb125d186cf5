/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names inside a root file system that its image's author controls. The kernel resolves every name, confined to the
 * root; the only link read here is one whose target has yet to be made, and its target is resolved from the root again.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "berth/file.h"
#include "berth/mount.h"
#include "berth/string.h"

/* Links to nothing that are followed while making one path. */
#define LINKS_MAX 16

int mount_path_open(int root_fd, const char *path, int flags)
{
        struct open_how how = {
                .flags = (uint64_t) (flags | O_CLOEXEC),
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        };

        /* -EAGAIN: something was renamed or mounted meanwhile and the kernel cannot vouch for "..". */
        for (unsigned int attempt = 0;; attempt++) {
                long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

                if (fd >= 0)
                        return (int) fd;
                if ((errno != EAGAIN && errno != EINTR) || attempt >= 64)
                        return -errno;
        }
}

/* Makes one name that did not resolve in the directory PARENT. 0: it is there now; 1: it is a link, whose target is in
 * RET_LINK. */
static int make_name(int parent, const char *name, bool directory, mode_t mode, char ret_link[static PATH_MAX])
{
        CLEANUP_CLOSE int fd = -EBADF;
        ssize_t n;

        if (directory) {
                if (mkdirat(parent, name, mode) >= 0)
                        return 0;
        } else {
                fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0666);
                if (fd >= 0)
                        return 0;
        }
        if (errno != EEXIST)
                return -errno;
        n = readlinkat(parent, name, ret_link, PATH_MAX - 1);
        if (n < 0)
                return errno == EINVAL ? 0 : -errno;
        ret_link[n] = '\0';
        return 1;
}

/* The directory part of PATH[0..length) and its last name. */
static size_t split_last(const char *path, size_t length, const char **ret_name, size_t *ret_name_length)
{
        size_t begin;

        while (length > 0 && path[length - 1] == '/')
                length--;
        begin = length;
        while (begin > 0 && path[begin - 1] != '/')
                begin--;
        *ret_name = path + begin;
        *ret_name_length = length - begin;
        return begin;
}

static int make_from(int root_fd, const char *path, bool directory, mode_t mode, unsigned int *links);

/* Opens the parent of PATH, making it, and makes the last name in it. */
static int make_last(int root_fd, const char *path, bool directory, mode_t mode, unsigned int *links)
{
        CLEANUP_FREE char *parent_path = NULL, *name = NULL, *target = NULL;
        CLEANUP_CLOSE int parent = -EBADF;
        char link[PATH_MAX];
        const char *last;
        size_t last_length, parent_length;
        int r;

        parent_length = split_last(path, strlen(path), &last, &last_length);
        if (last_length == 0)
                return -EISDIR;
        parent_path = parent_length > 0 ? strndup(path, parent_length) : strdup("/");
        name = strndup(last, last_length);
        if (!parent_path || !name)
                return -ENOMEM;
        if (str_equal(name, ".") || str_equal(name, ".."))
                return -EINVAL;
        parent = make_from(root_fd, parent_path, true, mode, links);
        if (parent < 0)
                return parent;
        r = make_name(parent, name, directory, mode, link);
        if (r <= 0)
                return r;
        if (++*links > LINKS_MAX)
                return -ELOOP;
        target = link[0] == '/' ? strdup(link) : path_join(parent_path, link);
        if (!target)
                return -ENOMEM;
        r = make_from(root_fd, target, directory, mode, links);
        fd_close(r);
        return r < 0 ? r : 0;
}

static int make_from(int root_fd, const char *path, bool directory, mode_t mode, unsigned int *links)
{
        int fd, r;

        fd = mount_path_open(root_fd, path, O_PATH);
        if (fd != -ENOENT)
                return fd;
        r = make_last(root_fd, path, directory, mode, links);
        if (r < 0)
                return r;
        return mount_path_open(root_fd, path, O_PATH);
}

int mount_path_make(int root_fd, const char *path, bool directory, mode_t mode)
{
        unsigned int links = 0;

        return make_from(root_fd, path, directory, mode, &links);
}

bool mount_path_is_below(const char *destination, const char *top)
{
        const char *rest = str_after_prefix(destination, top);

        return rest && (*rest == '\0' || *rest == '/' || str_equal(top, "/"));
}
