/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tree is walked in the order of names. What is left out is not opened; a directory that is left out is walked only
 * where a pattern may take something below it in again. Of changes to what the daemon has, a directory comes behind
 * what is below it: only then is it known whether its times are to be set again. */
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

/* A directory that is walked. */
typedef struct Frame {
        struct Frame *above;
        const char *path;
        bool visited; /* it is in the archive, or something below is */
        bool changed; /* it is there, but not as the daemon has it */
} Frame;

typedef struct Sender {
        const DockerIgnore *ignore;
        const char *dockerfile; /* never left out; may be NULL */
        size_t skipped;         /* so many bytes of a path are before what the patterns are for */
        int fd;                 /* borrowed */
        char *piece;            /* owned */
        unsigned depth;
        ClientKeep *keep; /* borrowed; NULL: all is sent */
        Frame *frame;
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

/* --- What changed ------------------------------------------------------------------------------------------------- */

static bool sends_changes(const Sender *sender)
{
        return sender->keep && *sender->keep->base;
}

/* What the daemon takes out of the context itself, and what another spelling is taken for. */
static bool is_sent_always(const Sender *sender, const char *path)
{
        return str_equal(path, ".dockerignore") || str_equal(path, "dockerfile") || str_equal(path, sender->dockerfile);
}

static int visit_above(Sender *sender, Frame *frame)
{
        if (!frame || frame->visited)
                return 0;
        int r = visit_above(sender, frame->above);
        if (r >= 0)
                r = client_keep_visit(sender->keep, frame->path, NULL, false);
        frame->visited = true;
        frame->changed = r > 0;
        return r < 0 ? r : 0;
}

/* Whether it is to be sent. */
static int visit(Sender *sender, const char *path, const struct stat *st)
{
        if (!sender->keep)
                return 1;
        int r = visit_above(sender, sender->frame);
        return r < 0 ? r : client_keep_visit(sender->keep, path, st, is_sent_always(sender, path));
}

static int send_removal(void *userdata, const char *path)
{
        static const struct stat none;
        TarEntry entry = { .type = 'R', .path = (char *) path }; /* a type that no other archive has */

        return put_header(userdata, &entry, &none);
}

/* --- The walk ----------------------------------------------------------------------------------------------------- */

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

static int put_directory(Sender *sender, const char *path, const struct stat *st)
{
        CLEANUP_FREE char *with_slash = client_must(str_printf("%s/", path));
        TarEntry entry = { .type = '5', .path = with_slash };

        return put_header(sender, &entry, st);
}

/* A directory and what is below it, where some of it is there already. */
static int send_changes(Sender *sender, int fd, const char *path, const struct stat *st, bool left_out)
{
        Frame frame = { .above = sender->frame, .path = path };
        size_t before = sender->keep->changes;
        struct stat plain = *st;
        int r = 0;

        if (left_out)
                plain.st_mode = 0755;
        else {
                r = visit(sender, path, st);
                frame.visited = true;
                frame.changed = r > 0;
        }
        sender->frame = &frame;
        if (r >= 0)
                r = send_below(sender, fd, path);
        sender->frame = frame.above;
        if (r >= 0 && frame.visited)
                r = client_keep_leave(sender->keep, path);
        bool send = frame.changed || (!left_out && sender->keep->changes != before);
        return r < 0 || !send ? r : put_directory(sender, path, &plain);
}

/* The first time, directories that are only there for what is below are noted, and not sent. */
static int send_all(Sender *sender, int fd, const char *path, const struct stat *st, bool left_out)
{
        Frame frame = { .above = sender->frame, .path = path, .visited = !left_out };
        int r = left_out ? 0 : visit(sender, path, st);

        if (r > 0)
                r = put_directory(sender, path, st);
        sender->frame = &frame;
        if (r >= 0)
                r = send_below(sender, fd, path);
        sender->frame = frame.above;
        return r;
}

static int send_directory(Sender *sender, int parent, const char *name, const char *path, const struct stat *st,
                          bool left_out)
{
        if (left_out && !dockerignore_may_include_below(sender->ignore, path + sender->skipped))
                return 0;
        CLEANUP_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return sends_changes(sender) ? send_changes(sender, fd, path, st, left_out)
                                     : send_all(sender, fd, path, st, left_out);
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
        else if (left_out || !(S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)))
                return 0;
        else {
                r = visit(sender, path, &st);
                if (r > 0)
                        r = S_ISREG(st.st_mode) ? send_file(sender, parent, name, path, &st)
                                                : send_link(sender, parent, name, path, &st);
        }
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
        int r = root < 0 ? -errno : 0;

        if (r == 0 && sender->keep)
                r = client_keep_begin(sender->keep, root, send_removal, sender);
        if (r == 0)
                r = send_below(sender, root, path);
        return r == 0 && sender->keep ? client_keep_end(sender->keep) : r;
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
                .ignore = context->ignore,
                .dockerfile = context->dockerfile,
                .fd = fd,
                .piece = piece,
                .keep = context->keep,
                .error = error,
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
