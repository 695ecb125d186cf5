/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/string.h"

char *path_join(const char *a, const char *b)
{
        return str_printf("%s%s%s", a, str_has_suffix(a, "/") ? "" : "/", b);
}

int path_make_directories(const char *path, mode_t mode)
{
        CLEANUP_FREE char *copy = strdup(path);

        if (!copy)
                return -ENOMEM;
        for (char *p = copy + 1;; p++) {
                if (*p && *p != '/')
                        continue;
                char end = *p;
                *p = 0;
                if (mkdir(copy, mode) < 0 && errno != EEXIST)
                        return -errno;
                if (!end)
                        return 0;
                *p = end;
        }
}

static int remove_entries(int fd, dev_t device);

static int remove_entry(int dirfd, const char *name, dev_t device)
{
        if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;

        CLEANUP_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (device != 0 && st.st_dev != device)
                return -EBUSY;
        int r = remove_entries(fd, st.st_dev);
        if (r < 0)
                return r;
        if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return -errno;
        return 0;
}

/* Takes FD over for reading only: a duplicate goes to the directory stream. */
static int remove_entries(int fd, dev_t device)
{
        int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (copy < 0)
                return -errno;
        CLEANUP_CLOSEDIR DIR *directory = fdopendir(copy);
        if (!directory) {
                int r = -errno;
                fd_close(copy);
                return r;
        }

        for (;;) {
                errno = 0;
                struct dirent *entry = readdir(directory);
                if (!entry)
                        return -errno;
                if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
                        continue;
                int r = remove_entry(fd, entry->d_name, device);
                if (r < 0)
                        return r;
        }
}

int path_remove_tree_at(int dirfd, const char *name)
{
        return remove_entry(dirfd, name, 0);
}

int64_t path_tree_size_at(int dirfd, const char *name)
{
        CLEANUP_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int copy = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -EBADF;
        CLEANUP_CLOSEDIR DIR *directory = copy >= 0 ? fdopendir(copy) : NULL;
        struct dirent *entry;
        int64_t size = 0;

        while (directory && (entry = readdir(directory))) {
                struct stat st;
                if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
                        continue;
                if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                if (S_ISDIR(st.st_mode))
                        size += path_tree_size_at(fd, entry->d_name);
                else if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
                        size += st.st_size;
        }
        return size;
}
