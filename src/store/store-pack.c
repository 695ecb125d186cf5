/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Walking a tree in the order of its names, and lending its tar piece by piece: an entry's headers, its content, the
 * bytes to a whole block. Directories are held open on the way down, and nothing is ever opened through a link, as the
 * tree may belong to a running container. Attributes can be read by name alone, and of links and devices not by
 * descriptor: so the working directory is the directory at hand.
 *
 * Holes are written out: few readers of layers bring a sparse file's form back byte for byte.
 *
 * The headers promise a size. A file that shrinks meanwhile is filled up with zeros, one that grows is cut. Sockets are
 * left out, as everywhere. */
#include "store-pack.h"
#include "berth/store.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <search.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "berth/file.h"
#include "berth/string.h"
#include "store-pack-header.h"
#include "store-tree.h"

#define PACK_BLOCK (256u * 1024)
#define OVERLAY_PREFIX "trusted.overlay."
#define MQUEUE_MAGIC 0x19800202ul /* ipc/mqueue.c */
#define OVERLAY_OPAQUE OVERLAY_PREFIX "opaque"
#define WHITEOUT_PREFIX ".wh."
#define OPAQUE_NAME ".wh..wh..opq"

typedef struct PackFrame {
        int fd;
        char **names; /* owned; sorted */
        size_t next;
        size_t path_size; /* of the path up to and with the slash behind this directory */
} PackFrame;

typedef struct PackLink {
        dev_t device;
        ino_t inode;
        char path[];
} PackLink;

struct StorePack {
        StoreStream stream;
        StorePackOptions options;
        PackFrame *frames; /* owned */
        size_t n_frames, allocated_frames;
        Buffer path; /* of the entry at hand */
        Buffer out;  /* headers, padding, the end: what is lent next */
        void *links; /* tree of PackLink */
        int file_fd; /* owned; content that is left to lend */
        bool cloned; /* file_fd is a copy that shares its blocks */
        bool clones; /* the file system is not known to be unable */
        bool started, ended;
        int64_t offset, left; /* of the content */
        StoreTarEntry entry;
        uint8_t *buffer; /* owned */
};

static ssize_t pack_next(StoreStream *stream, const uint8_t **ret);

int store_pack_new(const StorePackOptions *options, StorePack **ret)
{
        StorePack *pack = calloc(1, sizeof(*pack));

        if (!pack)
                return -ENOMEM;
        pack->stream.next = pack_next;
        pack->options = *options;
        pack->file_fd = -EBADF;
        pack->clones = options->clone_fd >= 0;
        pack->buffer = malloc(PACK_BLOCK);
        if (!pack->buffer || buffer_append_string(&pack->path, "") < 0) {
                store_pack_free(pack);
                return -ENOMEM;
        }
        *ret = pack;
        return 0;
}

static void frame_clear(PackFrame *frame)
{
        fd_close(frame->fd);
        strv_free(frame->names);
}

void store_pack_free(StorePack *pack)
{
        if (!pack)
                return;
        while (pack->n_frames > 0)
                frame_clear(&pack->frames[--pack->n_frames]);
        free(pack->frames);
        buffer_clear(&pack->path);
        buffer_clear(&pack->out);
        tdestroy(pack->links, free);
        fd_close(pack->file_fd);
        store_tar_entry_clear(&pack->entry);
        free(pack->buffer);
        free(pack);
}

StoreStream *store_pack_stream(StorePack *pack)
{
        return &pack->stream;
}

/* --- Directories -------------------------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static int read_names(int fd, char ***ret)
{
        char **names CLEANUP_STRV = NULL;
        size_t count = 0, allocated = 0;
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        DIR *dir CLEANUP_CLOSEDIR = copy >= 0 ? fdopendir(copy) : NULL;
        struct dirent *entry;

        if (!dir) {
                fd_close(copy);
                return -errno;
        }
        while ((errno = 0, entry = readdir(dir))) {
                if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
                        continue;
                if (count + 2 > allocated) {
                        size_t want = MAX(allocated * 2, (size_t) 16);
                        char **grown = reallocarray(names, want, sizeof(*names));

                        if (!grown)
                                return -ENOMEM;
                        names = grown;
                        allocated = want;
                }
                names[count] = strdup(entry->d_name);
                names[count + 1] = NULL;
                if (!names[count++])
                        return -ENOMEM;
        }
        if (errno > 0)
                return -errno;
        if (count > 0)
                qsort(names, count, sizeof(*names), compare_names);
        *ret = TAKE_PTR(names);
        return 0;
}

static int read_frame(const StorePack *pack, int fd, char ***ret)
{
        if (!pack->options.only || pack->n_frames > 0)
                return read_names(fd, ret);
        return strv_append(ret, pack->options.only);
}

/* Takes the descriptor over. */
static int pack_enter(StorePack *pack, int fd)
{
        PackFrame frame = { .fd = fd, .path_size = pack->path.size };
        int r;

        if (pack->n_frames == pack->allocated_frames) {
                size_t want = MAX(pack->allocated_frames * 2, (size_t) 16);
                PackFrame *grown = reallocarray(pack->frames, want, sizeof(*grown));

                if (!grown) {
                        fd_close(fd);
                        return -ENOMEM;
                }
                pack->frames = grown;
                pack->allocated_frames = want;
        }
        r = read_frame(pack, fd, &frame.names);
        if (r >= 0 && fchdir(fd) < 0)
                r = -errno;
        if (r < 0) {
                frame_clear(&frame);
                return r;
        }
        pack->frames[pack->n_frames++] = frame;
        return 0;
}

static int pack_leave(StorePack *pack)
{
        frame_clear(&pack->frames[--pack->n_frames]);
        if (pack->n_frames > 0 && fchdir(pack->frames[pack->n_frames - 1].fd) < 0)
                return -errno;
        return 0;
}

/* --- What the engine itself made ---------------------------------------------------------------------------------- */

/* Mount points and marks that are there for every container: no image gets them. */
static const struct {
        const char *path;
        mode_t type;
} placeholders[] = {
        { ".dockerenv", S_IFREG },      { "dev", S_IFDIR },  { "dev/console", S_IFREG }, { "dev/pts", S_IFDIR },
        { "dev/shm", S_IFDIR },         { "etc", S_IFDIR },  { "etc/hosts", S_IFREG },   { "etc/hostname", S_IFREG },
        { "etc/resolv.conf", S_IFREG }, { "proc", S_IFDIR }, { "sys", S_IFDIR },
};

static mode_t placeholder_type(const char *path)
{
        for (size_t i = 0; i < ARRAY_SIZE(placeholders); i++)
                if (str_equal(path, placeholders[i].path))
                        return placeholders[i].type;
        return 0;
}

bool store_is_placeholder(int dirfd, const char *name, const char *path)
{
        char **names CLEANUP_STRV = NULL;
        mode_t type = placeholder_type(path);
        int fd CLEANUP_CLOSE = -EBADF;
        struct stat st;

        if (type == 0 || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (st.st_mode & S_IFMT) != type ||
            st.st_uid != 0 || st.st_gid != 0)
                return false;
        if (type == S_IFREG)
                return st.st_size == 0;
        if ((st.st_mode & 07777) != 0755)
                return false;
        fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fgetxattr(fd, OVERLAY_OPAQUE, NULL, 0) >= 0 || read_names(fd, &names) < 0)
                return false;
        for (size_t i = 0; names && names[i]; i++) {
                char *below CLEANUP_FREE = path_join(path, names[i]);

                if (!below || !store_is_placeholder(fd, names[i], below))
                        return false;
        }
        return true;
}

/* --- Entries ------------------------------------------------------------------------------------------------------ */

static int add_attribute(StoreTarEntry *entry, const char *file, const char *name)
{
        StoreTarXattr *grown = reallocarray(entry->xattrs, entry->n_xattrs + 1, sizeof(*grown)), *xattr;
        ssize_t size = grown ? lgetxattr(file, name, NULL, 0) : -1;

        if (!grown)
                return -ENOMEM;
        entry->xattrs = grown;
        if (size < 0)
                return errno == ENODATA ? 0 : -errno;
        xattr = &grown[entry->n_xattrs];
        *xattr = (StoreTarXattr) { .name = strdup(name), .value = malloc((size_t) size + 1) };
        entry->n_xattrs++;
        if (!xattr->name || !xattr->value)
                return -ENOMEM;
        size = lgetxattr(file, name, xattr->value, (size_t) size);
        if (size < 0)
                return -errno;
        xattr->size = (size_t) size;
        return 0;
}

/* Overlayfs' own say nothing outside of an overlay, SELinux labels nothing on another machine. */
static bool attribute_is_packed(const char *name)
{
        return !str_after_prefix(name, OVERLAY_PREFIX) && !str_equal(name, "security.selinux");
}

static int read_attributes(StoreTarEntry *entry, const char *file)
{
        char *names CLEANUP_FREE = NULL;
        ssize_t size = llistxattr(file, NULL, 0);
        int r = 0;

        if (size <= 0)
                return size == 0 || errno == EOPNOTSUPP ? 0 : -errno;
        names = malloc((size_t) size + 1);
        if (!names)
                return -ENOMEM;
        size = llistxattr(file, names, (size_t) size);
        if (size < 0)
                return -errno;
        for (const char *name = names; r >= 0 && name < names + size; name += strlen(name) + 1)
                if (attribute_is_packed(name))
                        r = add_attribute(entry, file, name);
        return r;
}

static int compare_links(const void *a, const void *b)
{
        const PackLink *x = a, *y = b;

        if (x->device != y->device)
                return x->device < y->device ? -1 : 1;
        return (x->inode > y->inode) - (x->inode < y->inode);
}

/* The path by which the file had its entry already; NULL where this is the first. */
static int find_link(StorePack *pack, const struct stat *st, const char **ret_path)
{
        size_t size = pack->path.size + 1;
        PackLink *link = malloc(sizeof(*link) + size), **found;

        if (!link)
                return -ENOMEM;
        link->device = st->st_dev;
        link->inode = st->st_ino;
        memcpy(link->path, pack->path.data, size);
        found = tsearch(link, &pack->links, compare_links);
        if (!found) {
                free(link);
                return -ENOMEM;
        }
        *ret_path = *found == link ? NULL : (*found)->path;
        if (*found != link)
                free(link);
        return 0;
}

static void forget_link(StorePack *pack, const struct stat *st)
{
        PackLink key = { .device = st->st_dev, .inode = st->st_ino },
                 **found = tfind(&key, &pack->links, compare_links);
        PackLink *link = found ? *found : NULL;

        if (!link || !str_equal(link->path, pack->path.data))
                return;
        tdelete(&key, &pack->links, compare_links);
        free(link);
}

static int read_target(StoreTarEntry *entry, const char *name)
{
        char target[PATH_MAX];
        ssize_t n = readlink(name, target, sizeof(target) - 1);

        if (n < 0)
                return -errno;
        entry->link = strndup(target, (size_t) n);
        return entry->link ? 0 : -ENOMEM;
}

/* A copy that shares the blocks, if that is possible. */
static void share_file(StorePack *pack)
{
        int copy CLEANUP_CLOSE = -EBADF;

        pack->cloned = false;
        if (!pack->clones || pack->entry.size == 0)
                return;
        copy = openat(pack->options.clone_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (copy < 0 || ioctl(copy, FICLONE, pack->file_fd) < 0) {
                pack->clones = false;
                return;
        }
        fd_close(pack->file_fd);
        pack->file_fd = TAKE_FD(copy);
        pack->cloned = true;
}

bool store_pack_clones(StorePack *pack)
{
        static const char block[4096];
        int from CLEANUP_CLOSE = -EBADF;
        int to CLEANUP_CLOSE = -EBADF;

        if (!pack->clones)
                return false;
        from = openat(pack->options.clone_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        to = openat(pack->options.clone_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        pack->clones = from >= 0 && to >= 0 && write(from, block, sizeof(block)) == sizeof(block) &&
                       ioctl(to, FICLONE, from) >= 0;
        return pack->clones;
}

bool store_pack_clone(StorePack *pack, int fd)
{
        return pack->cloned && ioctl(fd, FICLONE, pack->file_fd) >= 0;
}

static int open_file(StorePack *pack, const char *name)
{
        StoreTarEntry *entry = &pack->entry;
        struct stat st;

        pack->file_fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC);
        if (pack->file_fd < 0)
                return -errno;
        if (fstat(pack->file_fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -ESTALE;
        entry->size = st.st_size;
        share_file(pack);
        pack->offset = 0;
        pack->left = entry->size;
        return 0;
}

/* Whatever else there may be: types and what they take. */
static int describe(StorePack *pack, const char *name, const struct stat *st)
{
        StoreTarEntry *entry = &pack->entry;
        const char *linked = NULL;
        int r = 0;

        if (!S_ISDIR(st->st_mode) && st->st_nlink > 1)
                r = find_link(pack, st, &linked);
        if (r >= 0 && linked) {
                entry->type = '1';
                entry->link = strdup(linked);
                return entry->link ? 0 : -ENOMEM;
        }
        if (r >= 0)
                r = read_attributes(entry, name);
        if (r < 0)
                return r;
        switch (st->st_mode & S_IFMT) {
        case S_IFREG:
                entry->type = '0';
                return open_file(pack, name);
        case S_IFLNK:
                entry->type = '2';
                return read_target(entry, name);
        case S_IFDIR:
                entry->type = '5';
                return 0;
        case S_IFIFO:
                entry->type = '6';
                return 0;
        default:
                entry->type = S_ISCHR(st->st_mode) ? '3' : '4';
                entry->major = major(st->st_rdev);
                entry->minor = minor(st->st_rdev);
                return 0;
        }
}

static int emit(StorePack *pack, const char *format, const char *head, const char *tail)
{
        pack->entry.path = str_printf(format, head, tail);
        return pack->entry.path ? store_pack_header(&pack->out, &pack->entry) : -ENOMEM;
}

/* An empty file beside NAME that says that NAME is gone. */
static int emit_whiteout(StorePack *pack, const PackFrame *frame, const char *name)
{
        char *directory CLEANUP_FREE = strndup(pack->path.data, frame->path_size);

        pack->entry.type = '0';
        pack->entry.mode = 0600;
        return directory ? emit(pack, "%s" WHITEOUT_PREFIX "%s", directory, name) : -ENOMEM;
}

static int emit_opaque(StorePack *pack, const struct stat *st)
{
        store_tar_entry_clear(&pack->entry);
        pack->entry = (StoreTarEntry) { .type = '0', .mode = st->st_mode & 0777, .uid = st->st_uid, .gid = st->st_gid };
        pack->entry.mtime = st->st_mtim;
        return emit(pack, "%s/%s", pack->path.data, OPAQUE_NAME);
}

/* A running container removed or replaced what was there a moment ago. */
static bool errno_is_of_change(int error)
{
        return error == ENOENT || error == ESTALE || error == ELOOP || error == ENOTDIR || error == EINVAL;
}

/* What is below is no file of anybody's, and changes as it is read: the directory alone is an entry. */
static bool is_of_kernel(int fd)
{
        static const unsigned long magics[] = { PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP2_SUPER_MAGIC, MQUEUE_MAGIC,
                                                DEVPTS_SUPER_MAGIC };
        struct statfs fs;

        for (size_t i = 0; fstatfs(fd, &fs) == 0 && i < ARRAY_SIZE(magics); i++)
                if ((unsigned long) fs.f_type == magics[i])
                        return true;
        return false;
}

static int pack_directory(StorePack *pack, const char *name, const struct stat *st)
{
        char opaque = 0;
        int fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC), r = 0;

        if (fd < 0)
                return errno_is_of_change(errno) ? 0 : -errno;
        if (is_of_kernel(fd)) {
                fd_close(fd);
                return 0;
        }
        if (pack->options.upper && fgetxattr(fd, OVERLAY_OPAQUE, &opaque, 1) == 1 && opaque == 'y')
                r = emit_opaque(pack, st);
        if (r >= 0)
                r = buffer_append_string(&pack->path, "/");
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        return pack_enter(pack, fd);
}

/* Headers of NAME go to the buffer; a directory is entered. */
static int pack_entry(StorePack *pack, const PackFrame *frame, const char *name)
{
        struct stat st;
        int r;

        store_tar_entry_clear(&pack->entry);
        if (lstat(name, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (S_ISSOCK(st.st_mode))
                return 0;
        /* Such a name would mean something else in a layer. */
        if (pack->options.upper && str_after_prefix(name, WHITEOUT_PREFIX))
                return 0;
        if (pack->options.upper && !pack->options.bare && store_is_placeholder(frame->fd, name, pack->path.data))
                return 0;
        pack->entry.mode = st.st_mode & 07777;
        pack->entry.uid = st.st_uid;
        pack->entry.gid = st.st_gid;
        pack->entry.mtime = st.st_mtim;
        if (pack->options.upper && store_is_whiteout(&st))
                return emit_whiteout(pack, frame, name);
        r = describe(pack, name, &st);
        if (r < 0 && errno_is_of_change(-r)) {
                forget_link(pack, &st);
                pack->file_fd = fd_close(pack->file_fd);
                return 0;
        }
        if (r >= 0)
                r = emit(pack, "%s%s", pack->path.data, S_ISDIR(st.st_mode) ? "/" : "");
        if (r >= 0 && S_ISDIR(st.st_mode))
                r = pack_directory(pack, name, &st);
        return r;
}

/* --- The stream --------------------------------------------------------------------------------------------------- */

static int pack_end(StorePack *pack)
{
        static const char zero[2 * STORE_TAR_BLOCK];

        pack->ended = true;
        return buffer_append(&pack->out, zero, sizeof(zero));
}

static int pack_advance(StorePack *pack)
{
        PackFrame *frame;
        const char *name;
        int r;

        if (!pack->started) {
                int fd = fcntl(pack->options.root_fd, F_DUPFD_CLOEXEC, 3);

                pack->started = true;
                return fd < 0 ? -errno : pack_enter(pack, fd);
        }
        frame = &pack->frames[pack->n_frames - 1];
        name = frame->names ? frame->names[frame->next] : NULL;
        if (!name) {
                r = pack_leave(pack);
                return r >= 0 && pack->n_frames == 0 ? pack_end(pack) : r;
        }
        frame->next++;
        pack->path.size = frame->path_size;
        r = buffer_append_string(&pack->path, pack->options.only && pack->n_frames == 1 ? pack->options.as : name);
        return r < 0 ? r : pack_entry(pack, frame, name);
}

/* The next run of content; at its end, what fills the last block. */
static ssize_t lend_content(StorePack *pack, const uint8_t **ret)
{
        ssize_t n;

        if (pack->left == 0) {
                size_t padding = store_pack_padding(pack->entry.size);

                pack->file_fd = fd_close(pack->file_fd);
                memset(pack->buffer, 0, padding);
                *ret = pack->buffer;
                return (ssize_t) padding;
        }
        n = pread(pack->file_fd, pack->buffer, (size_t) MIN(pack->left, (int64_t) PACK_BLOCK), pack->offset);
        if (n < 0)
                return -errno;
        if (n == 0) {
                n = (ssize_t) MIN(pack->left, (int64_t) PACK_BLOCK);
                memset(pack->buffer, 0, (size_t) n);
        }
        pack->offset += n;
        pack->left -= n;
        *ret = pack->buffer;
        return n;
}

static ssize_t pack_next(StoreStream *stream, const uint8_t **ret)
{
        StorePack *pack = (StorePack *) stream;

        pack->out.size = 0;
        for (;;) {
                ssize_t n;
                int r;

                if (pack->file_fd >= 0) {
                        n = lend_content(pack, ret);
                        if (n != 0)
                                return n;
                        continue;
                }
                if (pack->ended)
                        return 0;
                r = pack_advance(pack);
                if (r < 0)
                        return r;
                if (pack->out.size == 0)
                        continue;
                *ret = (const uint8_t *) pack->out.data;
                return (ssize_t) pack->out.size;
        }
}
