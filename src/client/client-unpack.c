/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The archive comes from a container, so that its paths are hostile: parents are opened by openat2(2) below the
 * directory with links forbidden, and what stands in the way of an entry is removed rather than written through. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "berth/file.h"
#include "client-path.h"
#include "client-unpack.h"
#include "client.h"

#define PIECE_SIZE (128u * 1024)

/* A directory whose time is set when everything in it is there. */
typedef struct Stamp {
        char *path; /* owned */
        int64_t mtime_ns;
} Stamp;

typedef struct Unpacker {
        const ClientUnpack *unpack;
        TarReader *reader;
        int root;      /* owned */
        char *piece;   /* owned */
        Stamp *stamps; /* owned */
        size_t n_stamps;
} Unpacker;

static void unpacker_clear(Unpacker *unpacker)
{
        fd_close(unpacker->root);
        free(unpacker->piece);
        for (size_t i = 0; i < unpacker->n_stamps; i++)
                free(unpacker->stamps[i].path);
        free(unpacker->stamps);
}

static int open_below(int root, const char *path, int flags)
{
        struct open_how how = { .flags = (uint64_t) flags | O_CLOEXEC,
                                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
        long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

        return fd < 0 ? -errno : (int) fd;
}

/* The directory that PATH is in, made if need be. */
static int open_parent(const Unpacker *unpacker, const char *path, int *ret)
{
        CLEANUP_CLOSE int at = dup(unpacker->root);

        if (at < 0)
                return -errno;
        for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
                CLEANUP_FREE char *part = client_must(strndup(path, slash - path));
                int next = open_below(at, part, O_RDONLY | O_DIRECTORY);

                if (next == -ENOENT && mkdirat(at, part, 0755) == 0)
                        next = open_below(at, part, O_RDONLY | O_DIRECTORY);
                if (next < 0)
                        return next;
                fd_close(at);
                at = next;
        }
        *ret = TAKE_FD(at);
        return 0;
}

/* PATH with the first part exchanged; "." for the root itself. Leads nowhere above. NULL for one that would. */
static char *translate(const ClientUnpack *unpack, const char *path)
{
        CLEANUP_FREE char *changed = NULL, *clean = NULL;
        const char *old = unpack->old_base, *found = old ? strstr(path, old) : NULL;

        /* The root's name is no part of the paths in its archive. */
        if (found && strcmp(old, "/") == 0)
                changed = client_must(str_printf("%s/%s", unpack->new_base, path));
        else if (found)
                changed = client_must(
                        str_printf("%.*s%s%s", (int) (found - path), path, unpack->new_base, found + strlen(old)));
        else
                changed = client_must(strdup(path));
        clean = client_path_clean(changed + strspn(changed, "/"));
        if (strcmp(clean, "..") == 0 || str_after_prefix(clean, "../"))
                return NULL;
        return TAKE_PTR(clean);
}

static int write_content(const Unpacker *unpacker, int fd)
{
        for (;;) {
                ssize_t n = tar_reader_read(unpacker->reader, unpacker->piece, PIECE_SIZE);
                int r = n > 0 ? fd_write_all(fd, unpacker->piece, n) : (int) n;

                if (n <= 0 || r < 0)
                        return r;
        }
}

static int make_file(const Unpacker *unpacker, int parent, const char *name, const TarEntry *entry)
{
        CLEANUP_CLOSE int fd =
                openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, entry->mode & 0777 & ~077);
        int r;

        if (fd < 0)
                return -errno;
        r = write_content(unpacker, fd);
        if (r < 0)
                return r;
        if (unpacker->unpack->owners && fchown(fd, entry->uid, entry->gid) < 0)
                return -errno;
        return fchmod(fd, entry->mode) < 0 ? -errno : 0;
}

static int make_hard_link(const Unpacker *unpacker, int parent, const char *name, const TarEntry *entry)
{
        CLEANUP_FREE char *target = translate(unpacker->unpack, entry->link);
        CLEANUP_FREE char *base = NULL;
        CLEANUP_CLOSE int other = -EBADF;
        int r;

        if (!target)
                return -EBADMSG;
        r = open_parent(unpacker, target, &other);
        if (r < 0)
                return r;
        base = client_path_base(target);
        return linkat(other, base, parent, name, 0) < 0 ? -errno : 0;
}

static int make_directory(Unpacker *unpacker, int parent, const char *name, const char *path, const TarEntry *entry)
{
        CLEANUP_CLOSE int fd = -EBADF;

        if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (unpacker->unpack->owners && fchown(fd, entry->uid, entry->gid) < 0)
                return -errno;
        if (fchmod(fd, entry->mode) < 0)
                return -errno;
        unpacker->stamps = client_must(reallocarray(unpacker->stamps, unpacker->n_stamps + 1, sizeof(Stamp)));
        unpacker->stamps[unpacker->n_stamps++] = (Stamp) { client_must(strdup(path)), entry->mtime_ns };
        return 0;
}

static int make_node(int parent, const char *name, const TarEntry *entry)
{
        mode_t kind = entry->type == '3' ? S_IFCHR : entry->type == '4' ? S_IFBLK : S_IFIFO;

        return mknodat(parent, name, kind | entry->mode, makedev(entry->major, entry->minor)) < 0 ? -errno : 0;
}

/* Decides about what is there already. 1: it may stay (a directory for a directory). */
static int make_room(const ClientUnpack *unpack, int parent, const char *name, const char *path, const TarEntry *entry,
                     Error *error)
{
        struct stat st;

        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (S_ISDIR(st.st_mode) && entry->type == '5')
                return 1;
        if (S_ISDIR(st.st_mode)) {
                error_set(error, OUTCOME_CONFLICT, "cannot overwrite directory \"%s/%s\" with non-directory \"%s\"",
                          unpack->directory, path, unpack->directory);
                return -EEXIST;
        }
        if (entry->type == '5') {
                error_set(error, OUTCOME_CONFLICT, "cannot overwrite non-directory \"%s/%s\" with directory \"%s\"",
                          unpack->directory, path, unpack->directory);
                return -EEXIST;
        }
        return unlinkat(parent, name, 0) < 0 ? -errno : 0;
}

static int make_entry(Unpacker *unpacker, int parent, const char *name, const char *path, const TarEntry *entry)
{
        switch (entry->type) {
        case '0':
                return make_file(unpacker, parent, name, entry);
        case '1':
                return make_hard_link(unpacker, parent, name, entry);
        case '2':
                return symlinkat(entry->link, parent, name) < 0 ? -errno : 0;
        case '3':
        case '4':
        case '6':
                return make_node(parent, name, entry);
        case '5':
                return make_directory(unpacker, parent, name, path, entry);
        default:
                return 0;
        }
}

static int take_entry(Unpacker *unpacker, const TarEntry *entry, Error *error)
{
        CLEANUP_FREE char *path = translate(unpacker->unpack, entry->path), *name = NULL;
        struct timespec times[2] = { { 0, UTIME_OMIT }, { 0, 0 } };
        CLEANUP_CLOSE int parent = -EBADF;
        int r;

        if (!path)
                return -EBADMSG;
        /* The directory itself is there, and is the user's own. */
        if (strcmp(path, ".") == 0)
                return 0;
        r = open_parent(unpacker, path, &parent);
        if (r < 0)
                return r;
        name = client_path_base(path);
        r = make_room(unpacker->unpack, parent, name, path, entry, error);
        if (r >= 0)
                r = make_entry(unpacker, parent, name, path, entry);
        if (r < 0 || entry->type == '5')
                return r;
        if (unpacker->unpack->owners && entry->type != '0' && entry->type != '1' &&
            fchownat(parent, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        times[1].tv_sec = entry->mtime_ns / 1000000000;
        times[1].tv_nsec = entry->mtime_ns % 1000000000;
        if (entry->type != '1')
                utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW);
        return 0;
}

static void set_times(const Unpacker *unpacker)
{
        for (size_t i = unpacker->n_stamps; i-- > 0;) {
                const Stamp *stamp = &unpacker->stamps[i];
                struct timespec times[2] = { { 0, UTIME_OMIT },
                                             { stamp->mtime_ns / 1000000000, stamp->mtime_ns % 1000000000 } };
                CLEANUP_CLOSE int fd = open_below(unpacker->root, stamp->path, O_RDONLY | O_DIRECTORY);

                if (fd >= 0)
                        futimens(fd, times);
        }
}

int client_unpack(const ClientUnpack *unpack, TarReader *reader, Error *error)
{
        CLEANUP(unpacker_clear)
        Unpacker unpacker = {
                .unpack = unpack, .reader = reader, .root = -EBADF, .piece = client_must(malloc(PIECE_SIZE))
        };
        int r;

        unpacker.root = open(unpack->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (unpacker.root < 0)
                return error_set(error, OUTCOME_FAILED, "open %s: %s", unpack->directory, strerror(errno));
        for (;;) {
                CLEANUP_TAR_ENTRY TarEntry entry = {};

                r = tar_reader_next(reader, &entry);
                if (r == 0)
                        break;
                if (r < 0)
                        return error_set(error, OUTCOME_FAILED, "%s",
                                         r == -EBADMSG ? "the daemon sent no readable archive" : strerror(-r));
                r = take_entry(&unpacker, &entry, error);
                if (r < 0 && error->message)
                        return OUTCOME_CONFLICT;
                if (r < 0)
                        return error_set(error, OUTCOME_FAILED, "cannot extract \"%s\" to %s: %s", entry.path,
                                         unpack->directory, strerror(-r));
        }
        set_times(&unpacker);
        return 0;
}
