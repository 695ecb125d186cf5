/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sources copied into a root: modes and times as they are, owners as asked for, new names above it made. What is there
 * already is replaced by what is not a directory, and directories are merged. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "berth/store.h"
#include "build-private.h"

#define DEPTH_MAX 2000
#define XATTRS_MAX 65536

typedef struct Linked {
        dev_t device;
        ino_t inode;
        char *path; /* owned: in the root */
} Linked;

typedef struct Copier {
        const BuildCopy *copy;
        uint32_t uid, gid;
        bool set_owner;
        int64_t mode; /* negative: as it is */
        bool archive; /* what is copied was one, whose directories change those that are there */
        const DockerIgnore *exclude;
        Linked *linked; /* owned */
        size_t n_linked;
        unsigned depth;
        Error *error;
} Copier;

static void copier_clear(Copier *copier)
{
        for (size_t i = 0; i < copier->n_linked; i++)
                free(copier->linked[i].path);
        free(copier->linked);
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

int build_read_names(int fd, char ***ret_names)
{
        CLEANUP_STRV char **names = calloc(1, sizeof(char *));
        CLEANUP_CLOSEDIR DIR *directory = NULL;
        struct dirent *item;
        int own = names ? openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

        if (own < 0)
                return names ? -errno : -ENOMEM;
        directory = fdopendir(own);
        if (!directory) {
                fd_close(own);
                return -errno;
        }
        while ((item = readdir(directory)))
                if (!str_equal(item->d_name, ".") && !str_equal(item->d_name, "..") &&
                    strv_append(&names, item->d_name) < 0)
                        return -ENOMEM;
        qsort(names, strv_length(names), sizeof(char *), compare_names);
        *ret_names = TAKE_PTR(names);
        return 0;
}

int build_open_source(int root_fd, const char *path, struct stat *ret_stat)
{
        CLEANUP_CLOSE int fd = mount_path_open(root_fd, path, O_PATH);

        if (fd < 0)
                return fd;
        if (fstat(fd, ret_stat) < 0)
                return -errno;
        if (!S_ISREG(ret_stat->st_mode) && !S_ISDIR(ret_stat->st_mode))
                return -EOPNOTSUPP;
        return mount_path_open(root_fd, path, O_RDONLY);
}

int build_exclude(const json_t *step, DockerIgnore **ret, Error *error)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        json_t *pattern;
        size_t i;
        int r = 0;

        json_array_foreach(json_get_array(step, "Exclude"), i, pattern)
                r = r == 0 ? buffer_printf(&text, "%s\n", json_string_value(pattern)) : r;
        if (r == 0 && text.size > 0)
                r = dockerignore_parse(text.data, text.size, ret, error);
        return r;
}

/* --- Attributes --------------------------------------------------------------------------------------------------- */

static void copy_xattrs(int from, int to)
{
        char names[XATTRS_MAX], value[XATTRS_MAX];
        ssize_t n = flistxattr(from, names, sizeof(names));

        for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
                ssize_t size;

                if (!str_equal(name, "security.capability") && !str_after_prefix(name, "user."))
                        continue;
                size = fgetxattr(from, name, value, sizeof(value));
                if (size >= 0)
                        (void) fsetxattr(to, name, value, (size_t) size, 0);
        }
}

static void clamp_times(const Copier *copier, const struct stat *st, struct timespec times[static 2])
{
        int64_t epoch = copier->copy->epoch_ns;
        struct timespec time = st->st_mtim;

        if (epoch > 0 && time.tv_sec >= epoch / 1000000000)
                time = (struct timespec) { .tv_sec = epoch / 1000000000 };
        times[0] = times[1] = time;
}

static mode_t mode_of(const Copier *copier, const struct stat *st)
{
        return copier->mode >= 0 ? (mode_t) copier->mode : st->st_mode & 07777;
}

static int set_owner(const Copier *copier, int dirfd, const char *name, const struct stat *st, int flags)
{
        uint32_t uid = copier->set_owner ? copier->uid : copier->copy->keep_owner ? st->st_uid : 0;
        uint32_t gid = copier->set_owner ? copier->gid : copier->copy->keep_owner ? st->st_gid : 0;

        return fchownat(dirfd, name, uid, gid, flags) < 0 ? -errno : 0;
}

/* The owner first: a change of it takes set-id bits and capabilities away. */
static int apply_attributes(const Copier *copier, int from, int to, const struct stat *st)
{
        struct timespec times[2];
        int r = set_owner(copier, to, "", st, AT_EMPTY_PATH);

        if (r < 0)
                return r;
        if (fchmod(to, mode_of(copier, st)) < 0)
                return -errno;
        copy_xattrs(from, to);
        clamp_times(copier, st, times);
        return futimens(to, times) < 0 ? -errno : 0;
}

/* --- Files -------------------------------------------------------------------------------------------------------- */

/* Both are at the beginning of it. */
static int copy_piece(int from, int to, int64_t size)
{
        char buffer[65536];
        ssize_t n = 0;

        while (size > 0 && (n = copy_file_range(from, NULL, to, NULL, (size_t) MIN(size, INT64_C(1) << 30), 0)) > 0)
                size -= n;
        if (n < 0 && errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
                return -errno;
        while (size > 0 && (n = read(from, buffer, (size_t) MIN(size, (int64_t) sizeof(buffer)))) > 0) {
                int r = fd_write_all(to, buffer, (size_t) n);
                if (r < 0)
                        return r;
                size -= n;
        }
        return size > 0 && n < 0 ? -errno : 0;
}

/* Holes stay holes. */
static int copy_content(int from, int to, int64_t size)
{
        int64_t at = 0;

        if (size > 0 && ioctl(to, FICLONE, from) == 0)
                return 0;
        if (ftruncate(to, size) < 0)
                return -errno;
        while (at < size) {
                int64_t data = lseek(from, at, SEEK_DATA), hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);

                if (data < 0 && errno == ENXIO)
                        return 0;
                if (data < 0 || hole < 0) { /* a file system that knows of none */
                        data = at;
                        hole = size;
                }
                if (lseek(from, data, SEEK_SET) < 0 || lseek(to, data, SEEK_SET) < 0)
                        return -errno;
                int r = copy_piece(from, to, MIN(hole, size) - data);
                if (r < 0)
                        return r;
                at = hole;
        }
        return 0;
}

/* Gets what is in a new file's way out of it. */
static int clear_way(const Copier *copier, int parent, const char *name, const char *path)
{
        struct stat st;

        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (S_ISDIR(st.st_mode))
                return error_set(copier->error, OUTCOME_BAD_REQUEST, "cannot copy to directory: /%s", path);
        return unlinkat(parent, name, 0) < 0 ? -errno : 0;
}

/* Where this inode went first, or NULL; notes this place otherwise. */
static const char *find_linked(Copier *copier, const struct stat *st, const char *path)
{
        if (st->st_nlink < 2)
                return NULL;
        for (size_t i = 0; i < copier->n_linked; i++)
                if (copier->linked[i].device == st->st_dev && copier->linked[i].inode == st->st_ino)
                        return copier->linked[i].path;
        Linked *grown = reallocarray(copier->linked, copier->n_linked + 1, sizeof(*grown));
        if (grown) {
                copier->linked = grown;
                grown[copier->n_linked] = (Linked) { st->st_dev, st->st_ino, strdup(path) };
                copier->n_linked += grown[copier->n_linked].path != NULL;
        }
        return NULL;
}

static int link_again(const Copier *copier, const char *other, int parent, const char *name)
{
        const char *slash = strrchr(other, '/');
        CLEANUP_FREE char *above = slash ? strndup(other, (size_t) (slash - other)) : strdup(".");
        CLEANUP_CLOSE int fd = above ? mount_path_open(copier->copy->root_fd, above, O_PATH | O_DIRECTORY) : -ENOMEM;

        if (fd < 0)
                return fd;
        return linkat(fd, slash ? slash + 1 : other, parent, name, 0) < 0 ? -errno : 0;
}

static int copy_file(Copier *copier, int from, const struct stat *st, int parent, const char *name, const char *path)
{
        const char *other = find_linked(copier, st, path);
        int r = clear_way(copier, parent, name, path);

        if (r != 0)
                return r;
        if (other && link_again(copier, other, parent, name) == 0)
                return 0;
        CLEANUP_CLOSE int to = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (to < 0)
                return -errno;
        r = copy_content(from, to, st->st_size);
        return r < 0 ? r : apply_attributes(copier, from, to, st);
}

static int copy_special(Copier *copier, int from_parent, const char *from_name, const struct stat *st, int parent,
                        const char *name, const char *path)
{
        struct timespec times[2];
        char target[4096];
        int r = clear_way(copier, parent, name, path);

        if (r != 0)
                return r;
        if (S_ISLNK(st->st_mode)) {
                ssize_t n = readlinkat(from_parent, from_name, target, sizeof(target) - 1);
                if (n < 0)
                        return -errno;
                target[n] = 0;
                r = symlinkat(target, parent, name);
        } else
                r = mknodat(parent, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev);
        if (r < 0)
                return -errno;
        r = set_owner(copier, parent, name, st, AT_SYMLINK_NOFOLLOW);
        if (r == 0 && !S_ISLNK(st->st_mode) && fchmodat(parent, name, mode_of(copier, st), 0) < 0)
                r = -errno;
        clamp_times(copier, st, times);
        if (r == 0 && utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                r = -errno;
        return r;
}

/* --- Directories -------------------------------------------------------------------------------------------------- */

static int copy_entry(Copier *copier, int from_parent, const char *from_name, int parent, const char *name,
                      const char *path, const char *relative);

static int copy_below(Copier *copier, int from, int to, const char *path, const char *relative)
{
        CLEANUP_STRV char **names = NULL;
        int r = build_read_names(from, &names);

        if (r == 0 && ++copier->depth > DEPTH_MAX)
                r = -ELOOP;
        for (size_t i = 0; r == 0 && names[i]; i++) {
                CLEANUP_FREE char *below = *path ? str_printf("%s/%s", path, names[i]) : strdup(names[i]);
                CLEANUP_FREE char *inner = *relative ? str_printf("%s/%s", relative, names[i]) : strdup(names[i]);

                if (!below || !inner)
                        return -ENOMEM;
                if (!copier->exclude || !dockerignore_match(copier->exclude, inner))
                        r = copy_entry(copier, from, names[i], to, names[i], below, inner);
        }
        copier->depth--;
        return r;
}

/* One that is there keeps its attributes, unless an archive has others. */
static int copy_directory(Copier *copier, int from, const struct stat *st, int parent, const char *name,
                          const char *path, const char *relative)
{
        bool made = mkdirat(parent, name, 0700) == 0;

        if (!made && errno != EEXIST)
                return -errno;
        /* A link to a directory is one, inside the root. */
        CLEANUP_CLOSE int to = made ? openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                                    : mount_path_open(copier->copy->root_fd, path, O_RDONLY | O_DIRECTORY);
        if (to == -ENOTDIR)
                return error_set(copier->error, OUTCOME_BAD_REQUEST, "cannot copy to non-directory: /%s", path);
        if (to < 0)
                return made ? -errno : to;
        int r = copy_below(copier, from, to, path, relative);
        return r != 0 || !(made || copier->archive) ? r : apply_attributes(copier, from, to, st);
}

static int copy_entry(Copier *copier, int from_parent, const char *from_name, int parent, const char *name,
                      const char *path, const char *relative)
{
        struct stat st;

        if (fstatat(from_parent, from_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
                return copy_special(copier, from_parent, from_name, &st, parent, name, path);
        CLEANUP_CLOSE int from = openat(from_parent, from_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (from < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? copy_directory(copier, from, &st, parent, name, path, relative)
                                   : copy_file(copier, from, &st, parent, name, path);
}

/* Opens a directory of the root, making what is missing with the owner of what is copied. */
static int open_directory(const Copier *copier, const char *path)
{
        CLEANUP_FREE char *copy = strdup(path);
        CLEANUP_FREE char *so_far = strdup("");
        char *rest = copy, *name;
        int root = copier->copy->root_fd, at = copy && so_far ? fcntl(root, F_DUPFD_CLOEXEC, 3) : -1;

        while (at >= 0 && (name = strsep(&rest, "/"))) {
                CLEANUP_CLOSE int parent = at;
                CLEANUP_FREE char *grown = str_printf("%s/%s", so_far, name);

                if (!*name) {
                        at = TAKE_FD(parent);
                        continue;
                }
                if (!grown)
                        return -ENOMEM;
                bool made = mkdirat(parent, name, 0755) == 0;
                if (!made && errno != EEXIST)
                        return -errno;
                at = mount_path_make(root, grown, true, 0755);
                if (at < 0)
                        return at;
                if (made && copier->set_owner &&
                    fchownat(parent, name, copier->uid, copier->gid, AT_SYMLINK_NOFOLLOW) < 0) {
                        int r = -errno;
                        fd_close(at);
                        return r;
                }
                free(so_far);
                so_far = TAKE_PTR(grown);
        }
        return at < 0 ? -errno : at;
}

/* --- Sources ------------------------------------------------------------------------------------------------------ */

/* Splits the target: the directory, and the name in it ("" where the target is a directory). */
static int split_target(const Copier *copier, const char *source, char **ret_directory, char **ret_name)
{
        const char *target = json_get_string_or(copier->copy->step, "Target", "/"), *slash = strrchr(target, '/');
        bool directory = slash[1] == 0;
        CLEANUP_CLOSE int fd =
                directory ? -EBADF : mount_path_open(copier->copy->root_fd, target, O_PATH | O_DIRECTORY);
        const char *own = strrchr(source, '/') ? strrchr(source, '/') + 1 : source;

        if (directory || fd >= 0) {
                size_t n = strlen(target);
                while (n > 0 && target[n - 1] == '/')
                        n--;
                *ret_directory = strndup(target, n);
                *ret_name = strdup(own);
        } else {
                *ret_directory = strndup(target, (size_t) (slash - target));
                *ret_name = strdup(slash + 1);
        }
        return *ret_directory && *ret_name ? 0 : -ENOMEM;
}

/* What is in the directory: of itself nothing is taken over. */
static int copy_tree(Copier *copier, int from, const char *source)
{
        const char *target = json_get_string_or(copier->copy->step, "Target", "/");
        CLEANUP_FREE char *path = NULL;
        size_t n;

        target += strspn(target, "/");
        path = str_printf("%s%s%s", target, *target && !str_has_suffix(target, "/") ? "/" : "", source);
        if (!path)
                return -ENOMEM;
        for (n = strlen(path); n > 0 && path[n - 1] == '/'; n--)
                path[n - 1] = 0;
        CLEANUP_CLOSE int to = open_directory(copier, path);
        if (to == -ENOTDIR)
                return error_set(copier->error, OUTCOME_BAD_REQUEST, "cannot copy to non-directory: /%s", path);
        if (to < 0)
                return to;
        CLEANUP_CLOSE int readable = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (readable < 0)
                return -errno;
        bool owned = copier->set_owner;
        copier->set_owner = owned && !copier->archive; /* --chown is not for what is in an archive */
        int r = copy_below(copier, from, readable, path, "");
        copier->set_owner = owned;
        return r;
}

/* An archive given to ADD is unpacked, one that was fetched only where that is asked for; anything else, also a
 * compressed file that is no archive, is a file. */
static int unpack(Copier *copier, int from, bool fetched, bool *ret_unpacked)
{
        const json_t *wanted = json_object_get(copier->copy->step, "Unpack");
        CLEANUP_JSON json_t *layer = NULL;
        CLEANUP_ERROR Error error = { 0 };
        StoreInput input = { .fd = from, .staging_fd = copier->copy->staging_fd, .plain = true };
        char head[8];
        int r;

        *ret_unpacked = false;
        if (!json_get_bool(copier->copy->step, "Add") || json_is_false(wanted) || (fetched && !wanted) ||
            pread(from, head, 8, 0) < 8)
                return 0;
        r = store_stage_layer(&input, "archive-0", NULL, NULL, &layer, &error);
        if (lseek(from, 0, SEEK_SET) < 0)
                return -errno;
        if (r != 0)
                return r < 0 && r != -EBADMSG ? r : 0;
        CLEANUP_CLOSE int tree = openat(input.staging_fd, "archive-0/fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CLEANUP_STRV char **names = NULL;
        r = tree < 0 ? -errno : build_read_names(tree, &names);
        if (r == 0 && names[0]) {
                BuildCopy inner = *copier->copy;
                inner.keep_owner = true;
                const BuildCopy *outer = copier->copy;
                copier->copy = &inner;
                copier->archive = true;
                r = copy_tree(copier, tree, "");
                copier->archive = false;
                copier->copy = outer;
                *ret_unpacked = true;
        }
        int removed = path_remove_tree_at(input.staging_fd, "archive-0");
        return r != 0 ? r : removed;
}

static int copy_source(Copier *copier, const char *source)
{
        bool parents = json_get_bool(copier->copy->step, "Parents"), unpacked = false;
        CLEANUP_FREE char *directory = NULL, *name = NULL, *path = NULL;
        int root = build_source_root(copier->copy->step, copier->copy->source_fd, copier->copy->fetched_fd, source,
                                     &source);
        struct stat st;
        int r;

        CLEANUP_CLOSE int from = build_open_source(root, source, &st);
        if (from < 0)
                return from;
        if (S_ISDIR(st.st_mode))
                return copy_tree(copier, from, parents && !str_equal(source, ".") ? source : "");
        r = S_ISREG(st.st_mode) ? unpack(copier, from, root == copier->copy->fetched_fd, &unpacked) : 0;
        if (r != 0 || unpacked)
                return r;
        r = split_target(copier, source, &directory, &name);
        if (r == 0 && parents && strchr(source, '/')) {
                char *above = str_printf("%s/%.*s", directory, (int) (strrchr(source, '/') - source), source);
                free(directory);
                directory = above;
        }
        CLEANUP_CLOSE int parent = r == 0 && directory ? open_directory(copier, directory) : -ENOMEM;
        path = directory ? str_printf("%s%s%s", directory + strspn(directory, "/"),
                                      directory[strspn(directory, "/")] ? "/" : "", name)
                         : NULL;
        if (r != 0 || parent < 0 || !path)
                return r != 0 ? r : parent < 0 ? parent : -ENOMEM;
        return S_ISREG(st.st_mode) ? copy_file(copier, from, &st, parent, name, path) : -EOPNOTSUPP;
}

static int write_inline(Copier *copier, const json_t *item)
{
        const char *own = json_get_string_or(item, "Name", ""), *text = json_get_string_or(item, "Content", "");
        CLEANUP_FREE char *directory = NULL, *name = NULL;
        struct stat st = { .st_mode = S_IFREG | 0644, .st_nlink = 1, .st_mtim = { .tv_sec = time(NULL) } };
        int r = split_target(copier, own, &directory, &name);
        CLEANUP_CLOSE int parent = r == 0 ? open_directory(copier, directory) : -ENOMEM;

        if (parent < 0)
                return parent;
        r = clear_way(copier, parent, name, name);
        if (r != 0)
                return r;
        CLEANUP_CLOSE int to = openat(parent, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (to < 0)
                return -errno;
        r = fd_write_all(to, text, strlen(text));
        return r < 0 ? r : apply_attributes(copier, to, to, &st);
}

static int parse_mode(const char *text, int64_t *ret, Error *error)
{
        int64_t mode = 0;

        *ret = -1;
        if (!text)
                return 0;
        for (const char *p = text; *p; p++) {
                if (*p < '0' || *p > '7' || mode > 07777)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "invalid chmod parameter: '%s'. it should be octal string and between 0 and "
                                         "07777",
                                         text);
                mode = mode * 8 + (*p - '0');
        }
        *ret = mode & 07777;
        return 0;
}

int build_copy(const BuildCopy *copy, Error *error)
{
        CLEANUP(copier_clear) Copier copier = { .copy = copy, .error = error };
        CLEANUP_DOCKERIGNORE DockerIgnore *exclude = NULL;
        const char *owner = json_get_string(copy->step, "Owner");
        json_t *item;
        size_t i;
        int r = parse_mode(json_get_string(copy->step, "Mode"), &copier.mode, error);

        if (r == 0 && owner) {
                copier.set_owner = true;
                r = build_parse_owner(copy->owner_fd, owner, &copier.uid, &copier.gid, error);
        }
        if (r == 0)
                r = build_exclude(copy->step, &exclude, error);
        copier.exclude = exclude;
        umask(0);
        for (char *const *path = copy->paths; r == 0 && *path; path++) {
                r = copy_source(&copier, *path);
                if (r < 0)
                        return error_set(error, OUTCOME_FAILED, "failed to copy %s: %s", *path, strerror(-r));
        }
        json_array_foreach(json_get_array(copy->step, "Inline"), i, item)
                r = r == 0 ? write_inline(&copier, item) : r;
        return r;
}

int build_make_directory(int root_fd, const char *path, const char *user, Error *error)
{
        CLEANUP_ERROR Error unknown = { 0 };
        BuildCopy copy = { .root_fd = root_fd };
        Copier copier = { .copy = &copy, .mode = -1, .error = error };

        if (!str_empty(user))
                copier.set_owner = build_parse_owner(root_fd, user, &copier.uid, &copier.gid, &unknown) == 0;
        CLEANUP_CLOSE int fd = open_directory(&copier, path);

        if (fd == -ENOTDIR || fd == -EEXIST)
                return error_set(error, OUTCOME_BAD_REQUEST, "Cannot mkdir: %s is not a directory", path);
        return fd < 0 ? fd : 0;
}
