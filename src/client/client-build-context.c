/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tree is walked in the order of names. What is left out is not opened; a directory that is left out is walked only
 * where a pattern may take something below it in again. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "berth/file.h"
#include "client-build-context.h"
#include "client-tar.h"
#include "client.h"

#define PIECE_SIZE (128u * 1024)
#define DEPTH_MAX 2000
#define IGNORE_MAX (1u << 20)

typedef struct Sender {
        const DockerIgnore *ignore;
        const char *dockerfile; /* never left out; may be NULL */
        size_t skipped;         /* so many bytes of a path are before what the patterns are for */
        int fd;                 /* borrowed */
        char *piece;            /* owned */
        unsigned depth;
        Error *error;
} Sender;

static bool is_left_out(const Sender *sender, const char *path)
{
        path += sender->skipped;
        if (!sender->ignore || str_equal(path, ".dockerignore") || str_equal(path, sender->dockerfile))
                return false;
        return dockerignore_match(sender->ignore, path);
}

static int put_header(Sender *sender, TarEntry *entry, const struct stat *st)
{
        CLEANUP_BUFFER Buffer header = {};
        int r;

        entry->mode = st->st_mode & 07777;
        entry->mtime_ns = st->st_mtim.tv_sec * INT64_C(1000000000);
        r = tar_header_append(&header, entry);
        return r < 0 ? r : fd_write_all(sender->fd, header.data, header.size);
}

/* A file that shrinks meanwhile is filled up with zeros. */
static int put_content(Sender *sender, int fd, int64_t size)
{
        static const char zeros[TAR_BLOCK];
        int r = 0;

        for (int64_t left = size; r >= 0 && left > 0;) {
                ssize_t n = read(fd, sender->piece, MIN(left, (int64_t) PIECE_SIZE));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0) {
                        n = (ssize_t) MIN(left, (int64_t) PIECE_SIZE);
                        memset(sender->piece, 0, n);
                }
                r = fd_write_all(sender->fd, sender->piece, n);
                left -= n;
        }
        return r < 0 ? r : fd_write_all(sender->fd, zeros, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

static int send_any(Sender *sender, int parent, const char *name, const char *path);

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int send_below(Sender *sender, int fd, const char *path)
{
        CLEANUP_STRV char **names = client_must(calloc(1, sizeof(char *)));
        int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        CLEANUP_CLOSEDIR DIR *directory = own < 0 ? NULL : fdopendir(own);
        struct dirent *item;

        if (!directory)
                return -errno;
        if (sender->depth >= DEPTH_MAX)
                return -ELOOP;
        while ((item = readdir(directory)))
                if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
                        client_must_zero(strv_append(&names, item->d_name));
        qsort(names, strv_length(names), sizeof(char *), compare_names);
        sender->depth++;
        for (char **name = names; r == 0 && *name; name++) {
                CLEANUP_FREE char *below = client_must(*path ? str_printf("%s/%s", path, *name) : strdup(*name));

                r = send_any(sender, fd, *name, below);
        }
        sender->depth--;
        return r;
}

static int send_directory(Sender *sender, int parent, const char *name, const char *path, const struct stat *st,
                          bool left_out)
{
        CLEANUP_FREE char *with_slash = client_must(str_printf("%s/", path));
        TarEntry entry = { .type = '5', .path = with_slash };
        int r = 0;

        if (left_out && !dockerignore_may_include_below(sender->ignore, path + sender->skipped))
                return 0;
        CLEANUP_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (!left_out)
                r = put_header(sender, &entry, st);
        return r < 0 ? r : send_below(sender, fd, path);
}

static int send_file(Sender *sender, int parent, const char *name, const char *path, const struct stat *st)
{
        TarEntry entry = { .type = '0', .path = (char *) path, .size = st->st_size };
        CLEANUP_CLOSE int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        int r = fd < 0 ? -errno : put_header(sender, &entry, st);

        return r < 0 ? r : put_content(sender, fd, entry.size);
}

static int send_link(Sender *sender, int parent, const char *name, const char *path, const struct stat *st)
{
        char target[4096];
        TarEntry entry = { .type = '2', .path = (char *) path, .link = target };
        ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);

        if (n < 0)
                return -errno;
        target[n] = 0;
        return put_header(sender, &entry, st);
}

static int send_any(Sender *sender, int parent, const char *name, const char *path)
{
        bool left_out = is_left_out(sender, path);
        struct stat st;
        int r = 0;

        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                r = left_out ? 0 : -errno;
        else if (S_ISDIR(st.st_mode))
                r = send_directory(sender, parent, name, path, &st, left_out);
        else if (left_out)
                return 0;
        else if (S_ISREG(st.st_mode))
                r = send_file(sender, parent, name, path, &st);
        else if (S_ISLNK(st.st_mode))
                r = send_link(sender, parent, name, path, &st);
        if (r < 0 && !sender->error->message)
                error_set(sender->error, OUTCOME_FAILED, "cannot send \"%s\": %s", path, strerror(-r));
        return r;
}

static int send_extra(Sender *sender, const char *content)
{
        struct stat st = { .st_mode = 0644 };
        TarEntry entry = { .type = '0', .path = (char *) sender->dockerfile, .size = strlen(content) };
        static const char zeros[TAR_BLOCK];
        int r = put_header(sender, &entry, &st);

        if (r >= 0)
                r = fd_write_all(sender->fd, content, entry.size);
        return r < 0 ? r : fd_write_all(sender->fd, zeros, (TAR_BLOCK - entry.size % TAR_BLOCK) % TAR_BLOCK);
}

static int send_tree(Sender *sender, const char *directory, const char *path)
{
        CLEANUP_CLOSE int root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return root < 0 ? -errno : send_below(sender, root, path);
}

static int send_named(const Sender *like, const ClientNamedContext *named)
{
        CLEANUP_FREE char *with_slash = client_must(str_printf("%s/", named->prefix));
        Sender sender = *like;
        TarEntry entry = { .type = '5', .path = with_slash };
        struct stat st = { .st_mode = 0755 };

        sender.ignore = named->ignore;
        sender.dockerfile = NULL;
        sender.skipped = strlen(with_slash);
        int r = put_header(&sender, &entry, &st);
        return r < 0 ? r : send_tree(&sender, named->directory, named->prefix);
}

int client_context_send(const ClientContext *context, int fd, Error *error)
{
        static const char zeros[2 * TAR_BLOCK];
        CLEANUP_FREE char *piece = client_must(malloc(PIECE_SIZE));
        Sender sender = {
                .ignore = context->ignore, .dockerfile = context->dockerfile, .fd = fd, .piece = piece, .error = error
        };
        int r = context->extra ? send_extra(&sender, context->extra) : 0;

        if (r >= 0 && context->directory)
                r = send_tree(&sender, context->directory, "");
        for (size_t i = 0; r >= 0 && i < context->n_named; i++)
                r = send_named(&sender, &context->named[i]);
        if (r >= 0)
                r = fd_write_all(fd, zeros, sizeof(zeros));
        if (r < 0 && !error->message)
                error_set(error, OUTCOME_FAILED, "cannot send the context: %s", strerror(-r));
        return r < 0 ? OUTCOME_FAILED : 0;
}

int client_context_ignore(const char *directory, const char *dockerfile, DockerIgnore **ret, Error *error)
{
        CLEANUP_FREE char *own = client_must(str_printf("%s/%s.dockerignore", directory, dockerfile));
        CLEANUP_FREE char *common = client_must(path_join(directory, ".dockerignore")), *text = NULL;
        size_t size;
        int r = file_read_at(AT_FDCWD, own, IGNORE_MAX, &text, &size);

        if (r == -ENOENT || r == -ENOTDIR)
                r = file_read_at(AT_FDCWD, common, IGNORE_MAX, &text, &size);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return error_set(error, OUTCOME_FAILED, "error reading .dockerignore: %s", strerror(-r));
        return dockerignore_parse(text, size, ret, error);
}
