/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The layer's tar is what its files have to be like. It is written again by a thread, into a pipe, and unpacked at the
 * other end by what unpacks every layer, so that there is one meaning of a tar only; the files that are made have their
 * size and no content. The two trees are then walked side by side.
 *
 * Times that no entry of the tar gave, as those of parents that were made for what is in them, are those of the moment
 * in both trees: what the second tree has from after the beginning says nothing. */
#include "store-compare.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/store.h"
#include "berth/string.h"
#include "store-tree.h"

#define NAMES_SIZE (64u * 1024)
#define OPAQUE "trusted.overlay.opaque"

/* --- The tar, from one thread to the other ------------------------------------------------------------------------ */

typedef struct Writer {
        int layer_fd; /* borrowed */
        int pipe_fd;  /* owned by the thread once it runs */
        int result;
} Writer;

static int write_pipe(void *userdata, const void *data, size_t size)
{
        return fd_write_all(*(int *) userdata, data, size);
}

static void *writer_main(void *userdata)
{
        Writer *writer = userdata;

        writer->result = store_layer_write_tar(writer->layer_fd, write_pipe, &writer->pipe_fd);
        writer->pipe_fd = fd_close(writer->pipe_fd);
        return NULL;
}

/* Reads what nobody wants any more, so that the writer comes to its end. */
static void drain(int fd)
{
        char buffer[4096];

        while (read(fd, buffer, sizeof(buffer)) > 0)
                ;
}

static int unpack_again(const StoreCompare *compare, StoreUnpacked *ret)
{
        Writer writer = { .layer_fd = compare->layer_fd };
        StoreInputStream input CLEANUP_INPUT_STREAM = {};
        Error error CLEANUP_ERROR = {};
        int fds[2], r;
        int end CLEANUP_CLOSE = -EBADF;
        pthread_t thread;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        end = fds[0];
        writer.pipe_fd = fds[1];
        r = -pthread_create(&thread, NULL, writer_main, &writer);
        if (r < 0) {
                close(fds[1]);
                return r;
        }
        r = store_input_stream_init(&input, end, NULL, NULL);
        if (r >= 0)
                r = store_unpack_bare(&input.stream, compare->scratch_fd, ret, &error);
        drain(end);
        pthread_join(thread, NULL);
        if (writer.result < 0)
                return writer.result;
        return r > 0 ? -EBADMSG : r;
}

/* --- Two trees ---------------------------------------------------------------------------------------------------- */

typedef struct Walk {
        const StoreCompare *compare; /* borrowed */
        struct timespec start;
        json_t *links;      /* owned; inodes of files with several names, as keys, to those of the other tree */
        const char *path;   /* borrowed; of the directory, in the layer's */
        int found, wanted;  /* borrowed; the directory in either tree */
        char **directories; /* owned; its own directories */
} Walk;

static void tell(const Walk *walk, const char *name, const char *what)
{
        char *path CLEANUP_FREE = path_join(walk->path, name);

        walk->compare->tell(walk->compare->userdata, path ?: name, what);
}

static bool xattr_counts(const char *name)
{
        return str_equal(name, OPAQUE) || !str_after_prefix(name, "trusted.overlay.");
}

/* Is every attribute of FD, that counts, the same in OTHER? */
static bool xattrs_are_in(int fd, int other)
{
        char *names CLEANUP_FREE = malloc(NAMES_SIZE), *a CLEANUP_FREE = malloc(NAMES_SIZE),
                    *b CLEANUP_FREE = malloc(NAMES_SIZE);
        ssize_t size = names && a && b ? flistxattr(fd, names, NAMES_SIZE) : -1;

        if (size < 0)
                return false;
        for (const char *name = names; name < names + size; name += strlen(name) + 1) {
                ssize_t m, n;

                if (!xattr_counts(name))
                        continue;
                m = fgetxattr(fd, name, a, NAMES_SIZE);
                n = fgetxattr(other, name, b, NAMES_SIZE);
                if (m < 0 || m != n || memcmp(a, b, (size_t) m) != 0)
                        return false;
        }
        return true;
}

static bool has_same_xattrs(int found_dir, int wanted_dir, const char *name)
{
        int found CLEANUP_CLOSE = openat(found_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        int wanted CLEANUP_CLOSE = openat(wanted_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

        return found >= 0 && wanted >= 0 && xattrs_are_in(found, wanted) && xattrs_are_in(wanted, found);
}

static bool has_same_target(const Walk *walk, const char *name)
{
        char found[PATH_MAX], wanted[PATH_MAX];
        ssize_t m = readlinkat(walk->found, name, found, sizeof(found));
        ssize_t n = readlinkat(walk->wanted, name, wanted, sizeof(wanted));

        return m >= 0 && m == n && memcmp(found, wanted, (size_t) m) == 0;
}

/* Names of one file in one tree are names of one in the other. */
static bool has_same_links(const Walk *walk, const struct stat *found, const struct stat *wanted)
{
        char key[32];
        json_t *other;

        if (found->st_nlink != wanted->st_nlink)
                return false;
        if (found->st_nlink == 1)
                return true;
        snprintf(key, sizeof(key), "%ju", (uintmax_t) found->st_ino);
        other = json_object_get(walk->links, key);
        if (other)
                return (uintmax_t) json_integer_value(other) == (uintmax_t) wanted->st_ino;
        return json_object_set_new(walk->links, key, json_integer((json_int_t) wanted->st_ino)) >= 0;
}

static bool is_from_before(const Walk *walk, const struct timespec *time)
{
        return time->tv_sec < walk->start.tv_sec ||
               (time->tv_sec == walk->start.tv_sec && time->tv_nsec < walk->start.tv_nsec);
}

static void compare_stat(const Walk *walk, const char *name, const struct stat *found, const struct stat *wanted)
{
        bool directory = S_ISDIR(found->st_mode);

        if (found->st_mode != wanted->st_mode)
                tell(walk, name, "has another mode");
        if (found->st_uid != wanted->st_uid || found->st_gid != wanted->st_gid)
                tell(walk, name, "has another owner");
        if (found->st_rdev != wanted->st_rdev)
                tell(walk, name, "is another device");
        if (S_ISREG(found->st_mode) && found->st_size != wanted->st_size)
                tell(walk, name, "has another size");
        if (is_from_before(walk, &wanted->st_mtim) &&
            (found->st_mtim.tv_sec != wanted->st_mtim.tv_sec || found->st_mtim.tv_nsec != wanted->st_mtim.tv_nsec))
                tell(walk, name, "has another time");
        if (!directory && !has_same_links(walk, found, wanted))
                tell(walk, name, "has other links");
}

static int compare_name(Walk *walk, const char *name)
{
        struct stat found, wanted;

        if (fstatat(walk->found, name, &found, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (fstatat(walk->wanted, name, &wanted, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno != ENOENT)
                        return -errno;
                tell(walk, name, "belongs to nothing");
                return 0;
        }
        if ((found.st_mode & S_IFMT) != (wanted.st_mode & S_IFMT)) {
                tell(walk, name, "is of another kind");
                return 0;
        }
        compare_stat(walk, name, &found, &wanted);
        if (S_ISLNK(found.st_mode) && !has_same_target(walk, name))
                tell(walk, name, "leads elsewhere");
        if ((S_ISREG(found.st_mode) || S_ISDIR(found.st_mode)) && !has_same_xattrs(walk->found, walk->wanted, name))
                tell(walk, name, "has other attributes");
        return S_ISDIR(found.st_mode) ? strv_append(&walk->directories, name) : 0;
}

static int find_missing(Walk *walk, const char *name)
{
        struct stat st;

        if (fstatat(walk->found, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
                tell(walk, name, "is missing");
        return 0;
}

static int for_each_name(Walk *walk, int dirfd, int (*func)(Walk *walk, const char *name))
{
        int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        DIR *dir CLEANUP_CLOSEDIR = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *entry;

        if (!dir) {
                r = -errno;
                fd_close(fd);
                return r;
        }
        while (r >= 0 && (errno = 0, entry = readdir(dir)))
                if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
                        r = func(walk, entry->d_name);
        return r < 0 ? r : -errno;
}

static int open_directory(int layer_fd, const char *path)
{
        struct open_how how = {
                .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
        };
        int fd = (int) syscall(SYS_openat2, layer_fd, path, &how, sizeof(how));

        return fd < 0 ? -errno : fd;
}

/* One directory: its own descriptors are closed before those below it are opened, as trees may be deep. */
static int compare_directory(const Walk *above, const char *path)
{
        char **directories CLEANUP_STRV = NULL;
        Walk walk = *above;
        int r;

        walk.path = path;
        walk.directories = NULL;
        {
                int found CLEANUP_CLOSE = open_directory(walk.compare->layer_fd, path);
                int wanted CLEANUP_CLOSE = open_directory(walk.compare->scratch_fd, path);

                if (found < 0 || wanted < 0)
                        return found < 0 ? found : wanted;
                walk.found = found;
                walk.wanted = wanted;
                r = for_each_name(&walk, found, compare_name);
                if (r >= 0)
                        r = for_each_name(&walk, wanted, find_missing);
        }
        directories = walk.directories;
        for (char **name = directories; r >= 0 && name && *name; name++) {
                char *below CLEANUP_FREE = path_join(path, *name);

                r = below ? compare_directory(above, below) : -ENOMEM;
        }
        return r;
}

/* The trees themselves, and whether both are there. */
static int compare_tree(const Walk *walk, const char *name)
{
        Walk top = *walk;
        struct stat st;
        bool found = fstatat(walk->compare->layer_fd, name, &st, AT_SYMLINK_NOFOLLOW) >= 0;
        bool wanted = fstatat(walk->compare->scratch_fd, name, &st, AT_SYMLINK_NOFOLLOW) >= 0;
        char **directories CLEANUP_STRV = NULL;
        int r;

        if (!found && !wanted)
                return 0;
        if (!found || !wanted) {
                walk->compare->tell(walk->compare->userdata, name, found ? "belongs to nothing" : "is missing");
                return 0;
        }
        top.path = ".";
        top.found = walk->compare->layer_fd;
        top.wanted = walk->compare->scratch_fd;
        r = compare_name(&top, name);
        directories = top.directories;
        return r >= 0 && directories ? compare_directory(walk, name) : r;
}

int store_compare(const StoreCompare *compare, StoreUnpacked *ret)
{
        json_t *links CLEANUP_JSON = json_object();
        Walk walk = { .compare = compare, .links = links };
        StoreUnpacked unpacked = {};
        int r;

        if (!links)
                return -ENOMEM;
        clock_gettime(CLOCK_REALTIME_COARSE, &walk.start);
        r = unpack_again(compare, &unpacked);
        if (r >= 0)
                r = compare_tree(&walk, STORE_TREE_FS);
        if (r >= 0)
                r = compare_tree(&walk, STORE_TREE_KEPT);
        if (r >= 0)
                *ret = unpacked;
        return r;
}
