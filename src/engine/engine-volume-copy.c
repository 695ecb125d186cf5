/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an image has in a volume's place is copied into the volume: files, links (hard ones, too), devices, owners,
 * modes, extended attributes and times. Every name is opened in the directory before it and never followed, as both
 * trees may be anybody's. A file appears under its name when it is whole, so that a copy that was cut off goes on where
 * it was, and what is there already is left alone. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <linux/fs.h>

#include "berth/file.h"
#include "engine-volume-private.h"

#define ATTRIBUTES_MAX 65536
/* Directories within directories; each takes four descriptors. */
#define DEPTH_MAX 200

/* A file with several names that was copied under one of them. */
typedef struct Linked {
        dev_t device;
        ino_t inode;
        int directory; /* owned */
        char *name;    /* owned */
} Linked;

typedef struct Copy {
        Linked *linked;
        size_t n_linked;
        unsigned depth;
} Copy;

static void copy_clear(Copy *copy)
{
        for (size_t i = 0; i < copy->n_linked; i++) {
                fd_close(copy->linked[i].directory);
                free(copy->linked[i].name);
        }
        free(copy->linked);
}

static int copy_attributes(int from, int to)
{
        char names[ATTRIBUTES_MAX], value[ATTRIBUTES_MAX];
        ssize_t size = flistxattr(from, names, sizeof(names));

        if (size < 0)
                return errno == ENOTSUP ? 0 : -errno;
        for (const char *name = names; name < names + size; name += strlen(name) + 1) {
                ssize_t n = fgetxattr(from, name, value, sizeof(value));

                if (n < 0 && errno != ENODATA)
                        return -errno;
                /* A file system that has none of these cannot keep them. */
                if (n >= 0 && fsetxattr(to, name, value, (size_t) n, 0) < 0 && errno != ENOTSUP && errno != EPERM)
                        return -errno;
        }
        return 0;
}

/* In an order in which none undoes another: a change of owner drops modes and capabilities. */
static int copy_metadata(int from, int to, const struct stat *st)
{
        struct timespec times[2] = { st->st_atim, st->st_mtim };

        if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
                return -errno;
        int r = copy_attributes(from, to);
        if (r < 0)
                return r;
        return futimens(to, times) < 0 ? -errno : 0;
}

static int copy_data(int from, int to, off_t size)
{
        off_t left = size;

        if (size == 0 || ioctl(to, FICLONE, from) >= 0)
                return 0;
        while (left > 0) {
                ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t) left, 0);
                if (n < 0)
                        break;
                if (n == 0)
                        return 0;
                left -= n;
        }
        for (;;) {
                char buffer[65536];
                ssize_t n = read(from, buffer, sizeof(buffer));
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                int r = fd_write_all(to, buffer, (size_t) n);
                if (r < 0)
                        return r;
        }
}

/* A file without a name yet, where the file system has such, else under its name at once. */
static int open_new(int to, const char *name, bool *ret_named)
{
        int fd = openat(to, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        *ret_named = fd < 0;
        if (fd < 0)
                fd = openat(to, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        return fd < 0 ? -errno : fd;
}

static int name_file(int fd, int to, const char *name)
{
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (linkat(fd, "", to, name, AT_EMPTY_PATH) < 0 && linkat(AT_FDCWD, path, to, name, AT_SYMLINK_FOLLOW) < 0)
                return -errno;
        return 0;
}

static int copy_regular(int from, int to, const char *name, const struct stat *st)
{
        CLEANUP_CLOSE int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        bool named;

        if (source < 0)
                return -errno;
        CLEANUP_CLOSE int target = open_new(to, name, &named);
        if (target < 0)
                return target;
        int r = copy_data(source, target, st->st_size);
        if (r >= 0)
                r = copy_metadata(source, target, st);
        if (r >= 0 && !named)
                r = name_file(target, to, name);
        if (r < 0 && named)
                unlinkat(to, name, 0);
        return r;
}

static int copy_link(int from, int to, const char *name, const struct stat *st)
{
        struct timespec times[2] = { st->st_atim, st->st_mtim };
        char target[PATH_MAX];
        ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

        if (n < 0)
                return -errno;
        target[n] = '\0';
        if (symlinkat(target, to, name) < 0 || fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
            utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return 0;
}

static int copy_node(int to, const char *name, const struct stat *st)
{
        struct timespec times[2] = { st->st_atim, st->st_mtim };

        if (mknodat(to, name, st->st_mode, st->st_rdev) < 0 ||
            fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
            fchmodat(to, name, st->st_mode & 07777, 0) < 0 || utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return 0;
}

/* True where it is the further name of a file that is there, and was made. */
static bool link_again(const Copy *copy, int to, const char *name, const struct stat *st)
{
        for (size_t i = 0; i < copy->n_linked; i++) {
                const Linked *linked = &copy->linked[i];

                if (linked->inode == st->st_ino && linked->device == st->st_dev)
                        return linkat(linked->directory, linked->name, to, name, 0) == 0;
        }
        return false;
}

static int note_link(Copy *copy, int to, const char *name, const struct stat *st)
{
        Linked *list = reallocarray(copy->linked, copy->n_linked + 1, sizeof(*list));

        if (!list)
                return -ENOMEM;
        copy->linked = list;
        list[copy->n_linked] = (Linked) { .device = st->st_dev,
                                          .inode = st->st_ino,
                                          .directory = openat(to, ".", O_PATH | O_DIRECTORY | O_CLOEXEC),
                                          .name = strdup(name) };
        copy->n_linked++;
        return list[copy->n_linked - 1].directory < 0 ? -errno : list[copy->n_linked - 1].name ? 0 : -ENOMEM;
}

static int copy_tree(Copy *copy, int from, int to);

static int copy_directory(Copy *copy, int from, int to, const char *name)
{
        CLEANUP_CLOSE int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (source < 0 || (mkdirat(to, name, 0700) < 0 && errno != EEXIST))
                return -errno;
        CLEANUP_CLOSE int target = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (target < 0)
                return -errno;
        if (copy->depth >= DEPTH_MAX)
                return -ENAMETOOLONG;
        copy->depth++;
        int r = copy_tree(copy, source, target);
        copy->depth--;
        return r;
}

static int copy_entry(Copy *copy, int from, int to, const char *name)
{
        struct stat st, there;

        if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        bool exists = fstatat(to, name, &there, AT_SYMLINK_NOFOLLOW) == 0;
        if (S_ISDIR(st.st_mode))
                return exists && !S_ISDIR(there.st_mode) ? 0 : copy_directory(copy, from, to, name);
        if (exists || (st.st_nlink > 1 && link_again(copy, to, name, &st)))
                return 0;
        int r = S_ISREG(st.st_mode)   ? copy_regular(from, to, name, &st)
                : S_ISLNK(st.st_mode) ? copy_link(from, to, name, &st)
                                      : copy_node(to, name, &st);
        return r >= 0 && st.st_nlink > 1 ? note_link(copy, to, name, &st) : r;
}

static int copy_tree(Copy *copy, int from, int to)
{
        CLEANUP_CLOSE int again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CLEANUP_CLOSEDIR DIR *directory = again >= 0 ? fdopendir(again) : NULL;
        struct dirent *entry;
        struct stat st;

        if (!directory)
                return -errno;
        TAKE_FD(again);
        while (errno = 0, (entry = readdir(directory))) {
                if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
                        continue;
                int r = copy_entry(copy, from, to, entry->d_name);
                if (r < 0)
                        return r;
        }
        if (errno != 0 || fstat(from, &st) < 0)
                return -errno;
        /* Last, as every new name changes the times. */
        return copy_metadata(from, to, &st);
}

int volume_copy(int from, int to)
{
        CLEANUP(copy_clear) Copy copy = { 0 };

        return copy_tree(&copy, from, to);
}
