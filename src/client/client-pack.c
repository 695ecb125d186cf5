/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tree as an archive. Files that change while they are read keep the size their header told: what is missing is
 * filled with zeros, what is too much is left out. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "berth/file.h"
#include "client-unpack.h"
#include "client.h"

#define PIECE_SIZE (128u * 1024)
#define DEPTH_MAX 2000

/* A file that has other names, of which the first is in the archive. */
typedef struct Known {
        dev_t device;
        ino_t inode;
        char *path; /* owned */
} Known;

typedef struct Packer {
        int fd;                  /* borrowed */
        volatile int64_t *count; /* may be NULL */
        char *piece;             /* owned */
        Known *known;            /* owned */
        size_t n_known;
        unsigned depth;
        Error *error;
} Packer;

static void packer_clear(Packer *packer)
{
        free(packer->piece);
        for (size_t i = 0; i < packer->n_known; i++)
                free(packer->known[i].path);
        free(packer->known);
}

static int put(Packer *packer, const void *data, size_t size)
{
        int r = fd_write_all(packer->fd, data, size);

        if (r >= 0 && packer->count)
                *packer->count += (int64_t) size;
        return r;
}

static int put_content(Packer *packer, int fd, int64_t size)
{
        int64_t left = size;

        while (left > 0) {
                ssize_t n = read(fd, packer->piece, MIN(left, (int64_t) PIECE_SIZE));
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0) {
                        n = (ssize_t) MIN(left, (int64_t) PIECE_SIZE);
                        memset(packer->piece, 0, n);
                }
                r = put(packer, packer->piece, n);
                if (r < 0)
                        return r;
                left -= n;
        }
        memset(packer->piece, 0, TAR_BLOCK);
        return put(packer, packer->piece, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

/* The name under which the file went into the archive already; notes this one otherwise. */
static const char *find_known(Packer *packer, const struct stat *st, const char *path)
{
        if (st->st_nlink < 2)
                return NULL;
        for (size_t i = 0; i < packer->n_known; i++)
                if (packer->known[i].device == st->st_dev && packer->known[i].inode == st->st_ino)
                        return packer->known[i].path;
        packer->known = client_must(reallocarray(packer->known, packer->n_known + 1, sizeof(Known)));
        packer->known[packer->n_known++] = (Known) { st->st_dev, st->st_ino, client_must(strdup(path)) };
        return NULL;
}

static int put_header(Packer *packer, TarEntry *entry, const struct stat *st)
{
        CLEANUP_BUFFER Buffer header = {};
        int r;

        entry->mode = st->st_mode & 07777;
        entry->uid = st->st_uid;
        entry->gid = st->st_gid;
        entry->mtime_ns = st->st_mtim.tv_sec * INT64_C(1000000000);
        r = tar_header_append(&header, entry);
        return r < 0 ? r : put(packer, header.data, header.size);
}

static int put_file(Packer *packer, int parent, const char *name, const char *path, const struct stat *st)
{
        const char *known = find_known(packer, st, path);
        TarEntry entry = { .type = known ? '1' : '0', .path = (char *) path, .link = (char *) known };
        CLEANUP_CLOSE int fd = -EBADF;
        int r;

        if (known)
                return put_header(packer, &entry, st);
        fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        entry.size = st->st_size;
        r = put_header(packer, &entry, st);
        return r < 0 ? r : put_content(packer, fd, entry.size);
}

static int put_link(Packer *packer, int parent, const char *name, const char *path, const struct stat *st)
{
        char target[4096];
        TarEntry entry = { .type = '2', .path = (char *) path, .link = target };
        ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);

        if (n < 0)
                return -errno;
        target[n] = 0;
        return put_header(packer, &entry, st);
}

static int put_any(Packer *packer, int parent, const char *name, const char *path);

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int read_names(int fd, char ***ret)
{
        CLEANUP_STRV char **names = NULL;
        CLEANUP_CLOSEDIR DIR *directory = NULL;
        struct dirent *item;
        int own = dup(fd);

        directory = own < 0 ? NULL : fdopendir(own);
        if (!directory) {
                int r = -errno;

                fd_close(own);
                return r;
        }
        while ((item = readdir(directory)))
                if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
                        client_must_zero(strv_append(&names, item->d_name));
        if (names)
                qsort(names, strv_length(names), sizeof(char *), compare_names);
        *ret = TAKE_PTR(names);
        return 0;
}

static int put_directory(Packer *packer, int parent, const char *name, const char *path, const struct stat *st)
{
        CLEANUP_FREE char *with_slash = client_must(str_printf("%s/", path));
        TarEntry entry = { .type = '5', .path = with_slash };
        CLEANUP_STRV char **names = NULL;
        CLEANUP_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r = fd < 0 ? -errno : read_names(fd, &names);

        if (r >= 0)
                r = put_header(packer, &entry, st);
        if (r < 0)
                return r;
        if (packer->depth >= DEPTH_MAX)
                return -ELOOP;
        packer->depth++;
        for (char **child = names; child && *child; child++) {
                CLEANUP_FREE char *child_path = client_must(str_printf("%s%s", with_slash, *child));

                r = put_any(packer, fd, *child, child_path);
                if (r < 0)
                        return r;
        }
        packer->depth--;
        return 0;
}

static int put_any(Packer *packer, int parent, const char *name, const char *path)
{
        struct stat st;
        TarEntry entry = { .path = (char *) path };
        int r;

        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                r = -errno;
        else if (S_ISREG(st.st_mode))
                r = put_file(packer, parent, name, path, &st);
        else if (S_ISDIR(st.st_mode))
                r = put_directory(packer, parent, name, path, &st);
        else if (S_ISLNK(st.st_mode))
                r = put_link(packer, parent, name, path, &st);
        else if (S_ISSOCK(st.st_mode))
                return 0;
        else {
                entry.type = S_ISCHR(st.st_mode) ? '3' : S_ISBLK(st.st_mode) ? '4' : '6';
                entry.major = major(st.st_rdev);
                entry.minor = minor(st.st_rdev);
                r = put_header(packer, &entry, &st);
        }
        if (r < 0 && !packer->error->message)
                error_set(packer->error, OUTCOME_FAILED, "cannot read \"%s\": %s", path, strerror(-r));
        return r;
}

int client_pack(const char *path, const char *base, int fd, volatile int64_t *count, Error *error)
{
        static const char zeros[2 * TAR_BLOCK];
        CLEANUP(packer_clear)
        Packer packer = { .fd = fd, .count = count, .piece = client_must(malloc(PIECE_SIZE)), .error = error };
        int r = put_any(&packer, AT_FDCWD, path, base);

        if (r >= 0)
                r = put(&packer, zeros, sizeof(zeros));
        if (r < 0 && !error->message)
                error_set(error, OUTCOME_FAILED, "cannot write the archive: %s", strerror(-r));
        return r < 0 ? OUTCOME_FAILED : 0;
}
