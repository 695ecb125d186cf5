/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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
        struct statx st;
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (statx(fd, "", AT_EMPTY_PATH, 0, &st) < 0)
                return -errno;
        /* Another mount may be of the same file system. */
        dev_t own = makedev(st.stx_dev_major, st.stx_dev_minor);
        if (device != 0 && (own != device || st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
                return -EBUSY;
        int r = remove_entries(fd, own);
        if (r < 0)
                return r;
        if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return -errno;
        return 0;
}

/* A stream over the directory FD, with a position of its own; NULL with errno set. */
static DIR *open_stream(int fd)
{
        CLEANUP_CLOSE int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = copy >= 0 ? fdopendir(copy) : NULL;

        if (directory)
                TAKE_FD(copy);
        return directory;
}

/* The next entry that is not the directory itself or its parent; NULL at the end, with errno 0, or on failure. */
static struct dirent *next_entry(DIR *directory)
{
        struct dirent *entry;

        do {
                errno = 0;
                entry = readdir(directory);
        } while (entry && (str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..")));
        return entry;
}

static int remove_entries(int fd, dev_t device)
{
        CLEANUP_CLOSEDIR DIR *directory = open_stream(fd);
        struct dirent *entry;

        if (!directory)
                return -errno;
        while ((entry = next_entry(directory))) {
                int r = remove_entry(fd, entry->d_name, device);
                if (r < 0)
                        return r;
        }
        /* ENOENT: somebody else removes the same tree and was faster. */
        return errno == ENOENT ? 0 : -errno;
}

int path_remove_tree_at(int dirfd, const char *name)
{
        return remove_entry(dirfd, name, 0);
}

int64_t path_tree_size_at(int dirfd, const char *name)
{
        CLEANUP_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        CLEANUP_CLOSEDIR DIR *directory = fd >= 0 ? open_stream(fd) : NULL;
        struct dirent *entry;
        int64_t size = 0;

        while (directory && (entry = next_entry(directory))) {
                struct stat st;
                if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                if (S_ISDIR(st.st_mode))
                        size += path_tree_size_at(fd, entry->d_name);
                else if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
                        size += st.st_size;
        }
        return size;
}

size_t path_tree_count_at(int dirfd, const char *name, size_t limit)
{
        CLEANUP_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        CLEANUP_CLOSEDIR DIR *directory = fd >= 0 ? open_stream(fd) : NULL;
        struct dirent *entry;
        size_t n = 0;

        while (directory && n < limit && (entry = next_entry(directory))) {
                n++;
                if (entry->d_type == DT_DIR)
                        n += path_tree_count_at(fd, entry->d_name, limit - n);
        }
        return n;
}
