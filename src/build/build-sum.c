/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Digests of sources: what a copy of them would be made of. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "berth/build.h"
#include "berth/digest.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "build-private.h"

#define PIECE_SIZE (256u * 1024)
#define DEPTH_MAX 2000

typedef struct Sum {
        StoreHasher *hasher; /* owned */
        char *piece;         /* owned */
        const DockerIgnore *exclude;
        bool owners; /* count */
        unsigned depth;
} Sum;

static void sum_clear(Sum *sum)
{
        store_hasher_free(sum->hasher);
        free(sum->piece);
}

static int put(Sum *sum, const void *data, size_t size)
{
        uint64_t length = size;
        int r = store_hasher_update(sum->hasher, &length, sizeof(length));

        return r < 0 ? r : store_hasher_update(sum->hasher, data, size);
}

static int put_head(Sum *sum, const char *path, const struct stat *st)
{
        CLEANUP_FREE char *head =
                str_printf("%s %o %llu", path, (unsigned) st->st_mode,
                           S_ISREG(st->st_mode)                           ? (unsigned long long) st->st_size
                           : S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? (unsigned long long) st->st_rdev
                                                                          : 0);
        uint32_t owner[] = { st->st_uid, st->st_gid };
        int r = head ? put(sum, head, strlen(head)) : -ENOMEM;

        return r == 0 && sum->owners ? put(sum, owner, sizeof(owner)) : r;
}

static int put_file(Sum *sum, int fd)
{
        ssize_t n = fgetxattr(fd, "security.capability", sum->piece, PIECE_SIZE);
        int r = n > 0 ? put(sum, sum->piece, (size_t) n) : 0;

        while (r >= 0 && (n = read(fd, sum->piece, PIECE_SIZE)) > 0)
                r = store_hasher_update(sum->hasher, sum->piece, (size_t) n);
        return r < 0 ? r : n < 0 ? -errno : 0;
}

static int sum_entry(Sum *sum, int parent, const char *name, const char *path);

static int sum_directory(Sum *sum, int fd, const char *path)
{
        CLEANUP_STRV char **names = NULL;
        int r = build_read_names(fd, &names);

        if (r == 0 && ++sum->depth > DEPTH_MAX)
                r = -ELOOP;
        for (size_t i = 0; r == 0 && names[i]; i++) {
                CLEANUP_FREE char *below = *path ? str_printf("%s/%s", path, names[i]) : strdup(names[i]);

                if (!below)
                        return -ENOMEM;
                if (!sum->exclude || !dockerignore_match(sum->exclude, below))
                        r = sum_entry(sum, fd, names[i], below);
        }
        sum->depth--;
        return r;
}

static int sum_entry(Sum *sum, int parent, const char *name, const char *path)
{
        struct stat st;
        int r;

        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        r = put_head(sum, path, &st);
        if (r < 0)
                return r;
        if (S_ISLNK(st.st_mode)) {
                ssize_t n = readlinkat(parent, name, sum->piece, PIECE_SIZE);
                return n < 0 ? -errno : put(sum, sum->piece, (size_t) n);
        }
        if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
                return 0;
        CLEANUP_CLOSE int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? sum_directory(sum, fd, path) : put_file(sum, fd);
}

/* The source itself counts by its last name, which the copy has; of a directory only what is below. */
static int sum_source(Sum *sum, int root_fd, const char *path, bool *ret_directory)
{
        const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        struct stat st;
        CLEANUP_CLOSE int fd = build_open_source(root_fd, path, &st);
        int r;

        if (fd < 0)
                return fd;
        *ret_directory = S_ISDIR(st.st_mode);
        if (*ret_directory) {
                r = put(sum, "d", 1);
                return r < 0 ? r : sum_directory(sum, fd, "");
        }
        r = put_head(sum, name, &st);
        return r < 0 || !S_ISREG(st.st_mode) ? r : put_file(sum, fd);
}

int build_sum_sources(int root_fd, int fetched_fd, char *const *paths, const json_t *step, char **ret_sum, Error *error)
{
        CLEANUP(sum_clear)
        Sum sum = { .piece = malloc(PIECE_SIZE),
                    .owners = json_object_get(step, "From") || json_object_get(step, "FromStage") };
        CLEANUP_DOCKERIGNORE DockerIgnore *exclude = NULL;
        char digest[STORE_DIGEST_SIZE];
        bool directory = false;
        json_t *item;
        size_t i, n = 0;
        int r = sum.piece ? store_hasher_new(false, &sum.hasher) : -ENOMEM;

        if (r == 0)
                r = build_exclude(step, &exclude, error);
        sum.exclude = exclude;
        for (; r == 0 && paths[n]; n++) {
                const char *path;
                int root = build_source_root(step, root_fd, fetched_fd, paths[n], &path);

                r = sum_source(&sum, root, path, &directory);
                if (r < 0)
                        return error_set(error, OUTCOME_BAD_REQUEST, "cannot read %s: %s", paths[n], strerror(-r));
        }
        json_array_foreach(json_get_array(step, "Inline"), i, item) {
                const char *name = json_get_string_or(item, "Name", ""),
                           *text = json_get_string_or(item, "Content", "");
                if (r == 0)
                        r = put(&sum, name, strlen(name));
                if (r == 0)
                        r = put(&sum, text, strlen(text));
                n++;
        }
        if (r == 0)
                r = store_hasher_finish(sum.hasher, digest);
        if (r != 0)
                return r;
        *ret_sum = str_printf("%s:%s", n != 1 ? "multi" : directory ? "dir" : "file", store_digest_hex(digest));
        return *ret_sum ? 0 : -ENOMEM;
}
