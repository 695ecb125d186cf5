/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "berth/file.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "berth/string.h"

int fd_write_all(int fd, const void *data, size_t size)
{
        const char *p = data;

        while (size > 0) {
                ssize_t n = write(fd, p, size);
                if (n < 0 && errno == EAGAIN) {
                        struct pollfd wait = { .fd = fd, .events = POLLOUT };
                        if (poll(&wait, 1, -1) < 0 && errno != EINTR)
                                return -errno;
                        continue;
                }
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                p += n;
                size -= (size_t) n;
        }
        return 0;
}

static int set_flag(int fd, int get, int set, int flag, bool on)
{
        int flags = fcntl(fd, get);

        if (flags < 0)
                return -errno;
        int wanted = on ? flags | flag : flags & ~flag;
        if (wanted != flags && fcntl(fd, set, wanted) < 0)
                return -errno;
        return 0;
}

int fd_set_nonblock(int fd, bool nonblock)
{
        return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, nonblock);
}

int fd_set_cloexec(int fd, bool cloexec)
{
        return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, cloexec);
}

int file_read_at(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_size)
{
        CLEANUP_BUFFER Buffer buffer = { 0 };
        CLEANUP_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        struct stat st;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        size_t step = st.st_size > 0 && (size_t) st.st_size < max ? (size_t) st.st_size + 1 : 4096;
        for (;;) {
                ssize_t n = buffer_read(&buffer, fd, step);
                if (n == -EINTR)
                        continue;
                if (n < 0)
                        return (int) n;
                if (n == 0)
                        break;
                if (buffer.size > max)
                        return -EFBIG;
        }
        if (ret_size)
                *ret_size = buffer.size;
        *ret_data = buffer_take(&buffer);
        return *ret_data ? 0 : -ENOMEM;
}

int file_write_kernel(const char *path, const char *value)
{
        CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

        if (fd < 0)
                return -errno;
        return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

typedef enum Durability {
        VOLATILE,
        DURABLE,
        DURABLE_NEW, /* there is no old content to keep: one flush of the file takes its new name along */
} Durability;

static int replace(int dirfd, const char *name, const void *data, size_t size, mode_t mode, Durability durability)
{
        const char *slash = strrchr(name, '/');
        int parent = slash ? (int) (slash + 1 - name) : 0;
        uint64_t random;
        char staged[PATH_MAX];

        if (getrandom(&random, sizeof(random), 0) != (ssize_t) sizeof(random))
                return -EIO;
        if ((size_t) snprintf(staged, sizeof(staged), "%.*s.%s.%016llx", parent, name, name + parent,
                              (unsigned long long) random) >= sizeof(staged))
                return -ENAMETOOLONG;

        CLEANUP_CLOSE int fd = openat(dirfd, staged, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0)
                return -errno;
        int r = fd_write_all(fd, data, size);
        if (r >= 0 && fchmod(fd, mode) < 0)
                r = -errno;
        if (r >= 0 && durability == DURABLE && fsync(fd) < 0)
                r = -errno;
        if (r >= 0 && renameat(dirfd, staged, dirfd, name) < 0)
                r = -errno;
        if (r < 0) {
                unlinkat(dirfd, staged, 0);
                return r;
        }
        if (durability == DURABLE_NEW)
                return fsync(fd) < 0 ? -errno : 0;
        if (durability == VOLATILE)
                return 0;

        staged[parent] = 0;
        CLEANUP_CLOSE int directory = openat(dirfd, parent ? staged : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0 || fsync(directory) < 0)
                return -errno;
        return 0;
}

int file_replace_at(int dirfd, const char *name, const void *data, size_t size, mode_t mode)
{
        return replace(dirfd, name, data, size, mode, DURABLE);
}

int file_create_at(int dirfd, const char *name, const void *data, size_t size, mode_t mode)
{
        return replace(dirfd, name, data, size, mode, DURABLE_NEW);
}

int file_replace_volatile_at(int dirfd, const char *name, const void *data, size_t size, mode_t mode)
{
        return replace(dirfd, name, data, size, mode, VOLATILE);
}
