/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unpacking one layer in a single pass over its bytes: they are digested (in a thread), what is not content is
 * recorded, and entries become files in overlayfs' own form.
 *
 * An entry that names an existing path replaces it, as in Docker, except that a directory stays when a directory comes
 * again; what is replaced is kept where its bytes are part of the tar. Directory times, and default ACLs, which would
 * leak into what is made later, are set last. */
#include "store-unpack.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "berth/file.h"
#include "berth/store.h"
#include "berth/string.h"
#include "store-apply.h"
#include "store-sparse.h"
#include "store-tar.h"
#include "store-tree.h"

#define WHITEOUT_PREFIX ".wh."
#define WHITEOUT_META_PREFIX ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

typedef struct Unpack {
        StorePack *pack; /* borrowed */
        bool bare;       /* files get no content */
        bool plain;      /* there are no whiteouts, no digest and no record */
        StoreTree tree;
        StoreHeaders headers;
        StoreTar tar;
        StoreApplyLast last;
        StoreUnpacked result;
} Unpack;

static void unpack_clear(Unpack *unpack)
{
        store_apply_last_clear(&unpack->last);
        store_headers_clear(&unpack->headers);
        store_tree_clear(&unpack->tree);
}

/* Errors that say something of the archive, not of this machine. */
static bool error_is_of_archive(int r)
{
        static const int errors[] = { EBADMSG, EXDEV,        ELOOP,  ENOTDIR, EISDIR, ENOENT,
                                      EEXIST,  ENAMETOOLONG, EINVAL, EPERM,   E2BIG,  EMLINK };

        for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
                if (r == -errors[i])
                        return true;
        return false;
}

static int show_raw(void *userdata, const void *data, size_t size)
{
        Unpack *unpack = userdata;

        return store_headers_raw(&unpack->headers, data, size);
}

/* How much of a file is there before its content is copied. */
typedef enum FileState {
        FILE_EMPTY,
        FILE_SIZED,
        FILE_COMPLETE,
} FileState;

/* Copies SIZE stored bytes to OFFSET of a new file, unless they are there, and refers to them in the header record. */
static int copy_extent(Unpack *unpack, int fd, FileState state, const char *real, int64_t offset, int64_t size)
{
        int64_t at = offset, left = size;

        while (left > 0) {
                const uint8_t *data;
                ssize_t n = store_tar_data(&unpack->tar, (size_t) MIN(left, (int64_t) INT32_MAX), &data);
                int r;

                if (n <= 0)
                        return n < 0 ? (int) n : -EBADMSG;
                r = state == FILE_COMPLETE ? 0 : store_write_run(fd, state == FILE_SIZED, data, (size_t) n, at);
                if (r < 0)
                        return r;
                at += n;
                left -= n;
        }
        return store_headers_file(&unpack->headers, real, offset, size);
}

static int copy_content(Unpack *unpack, int fd, const char *real, const StoreTarEntry *entry)
{
        FileState state = FILE_EMPTY;
        int r;

        unpack->result.size += entry->size;
        if (!unpack->bare && unpack->pack && store_pack_clone(unpack->pack, fd))
                state = FILE_COMPLETE;
        else if (unpack->bare || entry->sparse || entry->size >= STORE_HOLE_SIZE) {
                if (ftruncate(fd, entry->size) < 0)
                        return -errno;
                state = unpack->bare ? FILE_COMPLETE : FILE_SIZED;
        }
        if (!entry->sparse)
                return copy_extent(unpack, fd, state, real, 0, entry->size);
        for (size_t i = 0; i < entry->n_extents; i++) {
                r = copy_extent(unpack, fd, state, real, entry->extents[i].offset, entry->extents[i].size);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int make_regular(Unpack *unpack, const char *name, const StoreTarEntry *entry)
{
        char *real CLEANUP_FREE = store_tree_real_path(&unpack->tree, name);
        int fd CLEANUP_CLOSE = -EBADF;
        int r;

        if (!real)
                return -ENOMEM;
        fd = openat(unpack->tree.parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    entry->mode & 0777);
        if (fd < 0)
                return -errno;
        r = copy_content(unpack, fd, real, entry);
        return r < 0 ? r : store_apply_to_file(fd, entry, unpack->tree.parent_setgid);
}

static int make_directory(Unpack *unpack, const char *name, const StoreTarEntry *entry)
{
        char *real CLEANUP_FREE = store_tree_real_path(&unpack->tree, name);
        int fd CLEANUP_CLOSE = -EBADF;

        if (!real)
                return -ENOMEM;
        if (mkdirat(unpack->tree.parent_fd, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(unpack->tree.parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : store_apply_to_directory(&unpack->last, fd, real, entry);
}

static int make_node(Unpack *unpack, const char *name, const StoreTarEntry *entry)
{
        static const mode_t types[] = { ['3'] = S_IFCHR, ['4'] = S_IFBLK, ['6'] = S_IFIFO };
        dev_t device = entry->type == '6' ? 0 : makedev(entry->major, entry->minor);

        if (mknodat(unpack->tree.parent_fd, name, types[(unsigned char) entry->type] | (entry->mode & 0777), device) <
            0)
                return -errno;
        return store_apply_to_name(unpack->tree.parent_fd, name, entry);
}

static int make_symlink(Unpack *unpack, const char *name, const StoreTarEntry *entry)
{
        if (symlinkat(entry->link, unpack->tree.parent_fd, name) < 0)
                return -errno;
        unpack->result.size += (int64_t) strlen(entry->link);
        return store_apply_to_name(unpack->tree.parent_fd, name, entry);
}

/* The link's own parent is looked up first, as the target's takes its place in the tree. */
static int make_hard_link(Unpack *unpack, const char *name, const StoreTarEntry *entry)
{
        char *target CLEANUP_FREE = NULL;
        int parent CLEANUP_CLOSE = fcntl(unpack->tree.parent_fd, F_DUPFD_CLOEXEC, 3);
        const char *target_name;
        struct stat st;
        int r;

        if (parent < 0)
                return -errno;
        r = store_tree_clean_path(entry->link, &target);
        if (r >= 0)
                r = store_tree_enter_parent(&unpack->tree, target, false, &target_name);
        if (r < 0)
                return r;
        if (fstatat(unpack->tree.parent_fd, target_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode) || store_is_whiteout(&st))
                return -EPERM;
        return linkat(unpack->tree.parent_fd, target_name, parent, name, 0) < 0 ? -errno : 0;
}

static int make_entry(Unpack *unpack, const char *name, const StoreTarEntry *entry)
{
        switch (entry->type) {
        case '0':
                return make_regular(unpack, name, entry);
        case '1':
                return make_hard_link(unpack, name, entry);
        case '2':
                return make_symlink(unpack, name, entry);
        case '5':
                return make_directory(unpack, name, entry);
        default:
                return make_node(unpack, name, entry);
        }
}

/* Something is there already. A hard link to itself is left alone: displacing it would lose its target. */
static int replace_entry(Unpack *unpack, const char *path, const StoreTarEntry *entry)
{
        const char *name;
        struct stat st;
        int r;

        r = store_tree_enter_parent(&unpack->tree, path, true, &name);
        if (r < 0)
                return r;
        if (fstatat(unpack->tree.parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (entry->type == '1') {
                char *target CLEANUP_FREE = NULL;

                r = store_tree_clean_path(entry->link, &target);
                if (r < 0)
                        return r;
                if (str_equal(target, path))
                        return 0;
        }
        r = store_tree_displace(&unpack->tree, name, &st);
        if (r >= 0 && (S_ISLNK(st.st_mode) || (S_ISREG(st.st_mode) && st.st_nlink == 1)))
                unpack->result.size -= st.st_size;
        if (r >= 0)
                r = make_entry(unpack, name, entry);
        if (r >= 0 && store_is_whiteout(&st) && entry->type == '5') {
                int fd CLEANUP_CLOSE =
                        openat(unpack->tree.parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                r = fd < 0 ? -errno : store_set_opaque(fd);
        }
        return r;
}

/* "There is nothing of the layers below under this name." Where this layer itself has the name, that is already so for
 * all but directories, which would show what is below in them. */
static int make_whiteout(Unpack *unpack, const char *path)
{
        const char *name;
        struct stat st;
        int fd CLEANUP_CLOSE = -EBADF;
        int r;

        r = store_tree_enter_parent(&unpack->tree, path, true, &name);
        if (r < 0)
                return r;
        name += sizeof(WHITEOUT_PREFIX) - 1;
        if (*name == 0 || str_equal(name, ".") || str_equal(name, ".."))
                return -EINVAL;
        if (mknodat(unpack->tree.parent_fd, name, S_IFCHR, makedev(0, 0)) >= 0)
                return 0;
        if (errno != EEXIST || fstatat(unpack->tree.parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode))
                return 0;
        fd = openat(unpack->tree.parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : store_set_opaque(fd);
}

/* Files of the archive's own language. Their content, if any, is recorded with the headers. */
static int unpack_whiteout(Unpack *unpack, const char *path, const char *name)
{
        int r;

        if (str_equal(name, WHITEOUT_OPAQUE)) {
                r = store_tree_enter_parent(&unpack->tree, path, true, &name);
                return r < 0 ? r : store_set_opaque(unpack->tree.parent_fd);
        }
        if (str_after_prefix(name, WHITEOUT_META_PREFIX))
                return 0;
        return make_whiteout(unpack, path);
}

static int unpack_entry(Unpack *unpack, const StoreTarEntry *entry)
{
        char *path CLEANUP_FREE = NULL;
        const char *name;
        int r;

        r = store_tree_clean_path(entry->path, &path);
        if (r < 0)
                return r;
        name = strrchr(path, '/');
        name = name ? name + 1 : path;
        if (!unpack->plain && str_after_prefix(name, WHITEOUT_PREFIX))
                return unpack_whiteout(unpack, path, name);
        if (*path == 0)
                return entry->type == '5' ? store_apply_to_directory(&unpack->last, unpack->tree.root_fd, "", entry)
                                          : -EISDIR;
        r = store_tree_enter_parent(&unpack->tree, path, true, &name);
        if (r < 0)
                return r;
        r = make_entry(unpack, name, entry);
        if (r == -EEXIST || (entry->type == '5' && (r == -ENOTDIR || r == -ELOOP)))
                r = replace_entry(unpack, path, entry);
        return r;
}

static int refuse_entry(const StoreTarEntry *entry, int r, Error *error)
{
        if (r == -EXDEV)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: \"%s\" is outside of the layer",
                                 entry->path);
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: cannot unpack \"%s\": %s", entry->path,
                         strerror(-r));
}

static int unpack_entries(Unpack *unpack, void (*tick)(void *userdata, int64_t bytes), void *userdata, Error *error)
{
        for (;;) {
                StoreTarEntry entry CLEANUP_TAR_ENTRY = {};
                int r;

                r = store_tar_next(&unpack->tar, &entry);
                if (r == -EBADMSG)
                        return error_set(error, OUTCOME_BAD_REQUEST, "archive/tar: %s",
                                         unpack->tar.problem ?: "corrupt compressed data");
                if (r <= 0)
                        return r;
                unpack->result.entries++;
                if (tick)
                        tick(userdata, unpack->result.size);
                if (entry.type == 'g')
                        continue;
                if (entry.type < '0' || entry.type > '6')
                        return error_set(error, OUTCOME_BAD_REQUEST, "unhandled tar header type %d", entry.type);
                r = unpack_entry(unpack, &entry);
                if (r < 0 && error_is_of_archive(r))
                        return refuse_entry(&entry, r, error);
                if (r < 0)
                        return r;
        }
}

static int unpack_finish(Unpack *unpack, Error *error)
{
        int r;

        r = store_tar_finish(&unpack->tar);
        if (r == -EBADMSG)
                return error_set(error, OUTCOME_BAD_REQUEST, "corrupt compressed data");
        if (r >= 0)
                r = store_headers_finish(&unpack->headers);
        return r < 0 ? r : store_apply_last(&unpack->last, &unpack->tree);
}

/* The bytes that pass are counted by a stream of their own, between the digest and the reader. */
typedef struct CountStream {
        StoreStream stream;
        StoreStream *parent;
        int64_t total;
} CountStream;

static ssize_t count_next(StoreStream *stream, const uint8_t **ret)
{
        CountStream *count = (CountStream *) stream;
        ssize_t n = store_stream_take(count->parent, SIZE_MAX, ret);

        if (n > 0)
                count->total += n;
        return n;
}

static int unpack_all(Unpack *unpack, StoreStream *tar, int layer_fd, void (*tick)(void *userdata, int64_t bytes),
                      void *userdata, StoreUnpacked *ret, Error *error)
{
        StoreHasher *hasher CLEANUP_HASHER = NULL;
        StoreHashStream hash;
        CountStream count = { .stream.next = count_next, .parent = tar };
        mode_t mask;
        int r = 0;

        if (!unpack->plain) {
                r = store_hasher_new(true, &hasher);
                if (r < 0)
                        return r;
                store_hash_stream_init(&hash, tar, hasher);
                count.parent = &hash.stream;
        }
        unpack->tar = (StoreTar) { .stream = &count.stream, .raw = show_raw, .userdata = unpack };
        mask = umask(0);
        if (!unpack->plain)
                r = store_headers_create(&unpack->headers, layer_fd);
        if (r >= 0)
                r = store_tree_create(&unpack->tree, layer_fd, &unpack->headers);
        if (r >= 0)
                r = unpack_entries(unpack, tick, userdata, error);
        umask(mask);
        if (r == 0)
                r = unpack_finish(unpack, error);
        if (r == 0 && hasher)
                r = store_hasher_finish(hasher, unpack->result.diff_id);
        if (r != 0)
                return r;
        unpack->result.tar_size = count.total;
        *ret = unpack->result;
        return 0;
}

int store_unpack(StoreStream *tar, StorePack *pack, int layer_fd, bool plain,
                 void (*tick)(void *userdata, int64_t bytes), void *userdata, StoreUnpacked *ret, Error *error)
{
        Unpack unpack CLEANUP(unpack_clear) = {
                .pack = pack, .plain = plain, .tree = STORE_TREE_EMPTY, .headers = STORE_HEADERS_EMPTY
        };

        return unpack_all(&unpack, tar, layer_fd, tick, userdata, ret, error);
}

int store_unpack_bare(StoreStream *tar, int layer_fd, StoreUnpacked *ret, Error *error)
{
        Unpack unpack CLEANUP(
                unpack_clear) = { .bare = true, .tree = STORE_TREE_EMPTY, .headers = STORE_HEADERS_EMPTY };

        return unpack_all(&unpack, tar, layer_fd, NULL, NULL, ret, error);
}
