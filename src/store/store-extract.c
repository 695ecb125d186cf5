/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tar unpacked into a container's tree, as docker cp does it: what is there already is replaced, directories are
 * merged. Both the archive and the container may be hostile, and the container may run: every parent is looked up
 * within the container's root by one openat2(2), and the last name is never followed.
 *
 * The times of directories are set last, as what is made in them changes them. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/store.h"
#include "berth/string.h"
#include "store-apply.h"
#include "store-sparse.h"
#include "store-tar.h"
#include "store-tree.h"

typedef struct Extraction {
        const StoreExtract *request;
        StoreTar tar;
        StoreTree tree; /* the directory, for the times */
        StoreApplyLast last;
        char *parent_path; /* owned; the parent found last, and it */
        int parent_fd;
        Error *error;
} Extraction;

static void extraction_clear(Extraction *extraction)
{
        store_apply_last_clear(&extraction->last);
        store_tree_clear(&extraction->tree);
        free(extraction->parent_path);
        fd_close(extraction->parent_fd);
}

static int open_in_root(const Extraction *extraction, const char *below)
{
        struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
        CLEANUP_FREE char *path = str_printf("%s/%s", extraction->request->path, below);

        for (unsigned attempt = 0; path; attempt++) {
                int fd = (int) syscall(SYS_openat2, extraction->request->root_fd, path, &how, sizeof(how));

                if (fd >= 0)
                        return fd;
                if ((errno != EAGAIN && errno != EINTR) || attempt >= 64)
                        return -errno;
        }
        return -ENOMEM;
}

/* Opens the directory, and makes what is missing of it. */
static int make_parent(const Extraction *extraction, const char *path)
{
        int found = open_in_root(extraction, path);

        if (found != -ENOENT || *path == 0)
                return found;
        const char *slash = strrchr(path, '/');
        CLEANUP_FREE char *above = slash ? strndup(path, (size_t) (slash - path)) : strdup("");
        CLEANUP_CLOSE int fd = above ? make_parent(extraction, above) : -ENOMEM;
        if (fd < 0)
                return fd;
        if (mkdirat(fd, slash ? slash + 1 : path, 0755) < 0 && errno != EEXIST)
                return -errno;
        return open_in_root(extraction, path);
}

/* Makes the parent of a clean path the one at hand. */
static int enter_parent(Extraction *extraction, const char *path, const char **ret_name)
{
        const char *slash = strrchr(path, '/');
        CLEANUP_FREE char *above = slash ? strndup(path, (size_t) (slash - path)) : strdup("");

        if (!above)
                return -ENOMEM;
        *ret_name = slash ? slash + 1 : path;
        if (extraction->parent_fd >= 0 && str_equal(extraction->parent_path, above))
                return 0;
        int fd = make_parent(extraction, above);
        if (fd < 0)
                return fd;
        fd_close(extraction->parent_fd);
        extraction->parent_fd = fd;
        free(extraction->parent_path);
        extraction->parent_path = TAKE_PTR(above);
        return 0;
}

static int copy_extent(Extraction *extraction, int fd, bool has_size, int64_t offset, int64_t size)
{
        while (size > 0) {
                const uint8_t *data;
                ssize_t n = store_tar_data(&extraction->tar, (size_t) MIN(size, (int64_t) INT32_MAX), &data);
                int r = n > 0 ? store_write_run(fd, has_size, data, (size_t) n, offset) : n < 0 ? (int) n : -EBADMSG;

                if (r < 0)
                        return r;
                offset += n;
                size -= n;
        }
        return 0;
}

static int make_regular(Extraction *extraction, const char *name, const StoreTarEntry *entry)
{
        CLEANUP_CLOSE int fd = openat(extraction->parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                                      entry->mode & 0777);
        bool sized = entry->sparse || entry->size >= STORE_HOLE_SIZE;
        int r = 0;

        if (fd < 0 || (sized && ftruncate(fd, entry->size) < 0))
                return -errno;
        if (!entry->sparse)
                r = copy_extent(extraction, fd, sized, 0, entry->size);
        for (size_t i = 0; r >= 0 && i < entry->n_extents; i++)
                r = copy_extent(extraction, fd, sized, entry->extents[i].offset, entry->extents[i].size);
        return r < 0 ? r : store_apply_to_file(fd, entry, true);
}

static int make_directory(Extraction *extraction, const char *path, const char *name, const StoreTarEntry *entry)
{
        CLEANUP_CLOSE int fd = -EBADF;

        if (mkdirat(extraction->parent_fd, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(extraction->parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : store_apply_to_directory(&extraction->last, fd, path, entry);
}

/* Another may have put a link in the name's place by now: nothing here follows it, and set-id bits, which mean nothing
 * on a device, are left out, as they could not be set without following. */
static int make_node(const Extraction *extraction, const char *name, StoreTarEntry *entry)
{
        static const mode_t types[] = { ['3'] = S_IFCHR, ['4'] = S_IFBLK, ['6'] = S_IFIFO };
        dev_t device = entry->type == '6' ? 0 : makedev(entry->major, entry->minor);

        entry->mode &= 0777;
        if (mknodat(extraction->parent_fd, name, types[(unsigned char) entry->type] | entry->mode, device) < 0)
                return -errno;
        return store_apply_to_name(extraction->parent_fd, name, entry);
}

static int make_hard_link(const Extraction *extraction, const char *name, const StoreTarEntry *entry)
{
        CLEANUP_FREE char *target = NULL;
        int r = store_tree_clean_path(entry->link, &target);

        if (r < 0)
                return r;
        char *slash = strrchr(target, '/');
        if (slash)
                *slash = 0;
        CLEANUP_CLOSE int fd = open_in_root(extraction, slash ? target : "");
        if (fd < 0)
                return fd;
        return linkat(fd, slash ? slash + 1 : target, extraction->parent_fd, name, 0) < 0 ? -errno : 0;
}

static int make_entry(Extraction *extraction, const char *path, const char *name, StoreTarEntry *entry)
{
        switch (entry->type) {
        case '0':
                return make_regular(extraction, name, entry);
        case '1':
                return make_hard_link(extraction, name, entry);
        case '2':
                if (symlinkat(entry->link, extraction->parent_fd, name) < 0)
                        return -errno;
                return store_apply_to_name(extraction->parent_fd, name, entry);
        case '5':
                return make_directory(extraction, path, name, entry);
        default:
                return make_node(extraction, name, entry);
        }
}

/* Gets what is there out of the way, unless both are directories. */
static int clear_way(const Extraction *extraction, const char *path, const char *name, const StoreTarEntry *entry)
{
        bool directory = entry->type == '5';
        const char *top = str_equal(extraction->request->path, "/") ? "" : extraction->request->path;
        struct stat st;

        if (fstatat(extraction->parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (S_ISDIR(st.st_mode) && directory)
                return 0;
        if (extraction->request->keep_kinds && (S_ISDIR(st.st_mode) || directory))
                return error_set(extraction->error, OUTCOME_FAILED, "cannot overwrite %s \"%s/%s\" with %s \"%s\"",
                                 directory ? "non-directory" : "directory", top, path,
                                 directory ? "directory" : "non-directory", extraction->request->path);
        return path_remove_tree_at(extraction->parent_fd, name);
}

/* Links above the name lead nowhere: what is behind them is not below it. */
static int remove_entry(Extraction *extraction, const char *path)
{
        struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS };
        const char *slash = strrchr(path, '/');
        CLEANUP_FREE char *above =
                str_printf("%s/%.*s", extraction->request->path, slash ? (int) (slash - path) : 0, path);

        if (!above)
                return -ENOMEM;
        CLEANUP_CLOSE int fd = (int) syscall(SYS_openat2, extraction->request->root_fd, above, &how, sizeof(how));
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
        extraction->parent_fd = fd_close(extraction->parent_fd); /* it may go, too */
        free(TAKE_PTR(extraction->parent_path));
        return path_remove_tree_at(fd, slash ? slash + 1 : path);
}

static int extract_named(Extraction *extraction, const char *path, StoreTarEntry *entry)
{
        const StoreExtract *request = extraction->request;
        const char *name;

        if (request->set_owner) {
                entry->uid = request->uid;
                entry->gid = request->gid;
        }
        int r = enter_parent(extraction, path, &name);
        if (r >= 0)
                r = clear_way(extraction, path, name, entry);
        return r == 0 ? make_entry(extraction, path, name, entry) : r;
}

static int extract_entry(Extraction *extraction, StoreTarEntry *entry)
{
        const StoreExtract *request = extraction->request;
        CLEANUP_FREE char *path = NULL;
        int r = store_tree_clean_path(entry->path, &path);

        if (r == -EXDEV)
                return error_set(extraction->error, OUTCOME_BAD_REQUEST, "\"%s\" is outside of \"%s\"", entry->path,
                                 request->path);
        if (r < 0 || *path == 0)
                return r;
        if (request->removals && entry->type == STORE_TAR_REMOVAL)
                r = remove_entry(extraction, path);
        else if (strchr("0123456", entry->type))
                r = extract_named(extraction, path, entry);
        return r < 0 ? error_set(extraction->error, OUTCOME_FAILED, "%s: %s", entry->path, strerror(-r)) : r;
}

static int extract_all(Extraction *extraction, StoreStream *stream)
{
        extraction->tar = (StoreTar) { .stream = stream };
        for (;;) {
                CLEANUP_TAR_ENTRY StoreTarEntry entry = {};
                int r = store_tar_next(&extraction->tar, &entry);

                if (r == -EBADMSG)
                        return error_set(extraction->error, OUTCOME_FAILED, "Error processing tar file: %s",
                                         extraction->tar.problem ?: "unexpected EOF");
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                r = extract_entry(extraction, &entry);
                if (r != 0)
                        return r;
        }
        int r = store_tar_finish(&extraction->tar);
        return r < 0 ? r : store_apply_last(&extraction->last, &extraction->tree);
}

int store_extract(const StoreExtract *request, Error *error)
{
        CLEANUP(extraction_clear)
        Extraction extraction = { .request = request, .tree = STORE_TREE_EMPTY, .parent_fd = -EBADF, .error = error };
        CLEANUP_INPUT_STREAM StoreInputStream input = {};
        CLEANUP_INFLATE_STREAM StoreInflateStream inflate = {};
        StoreStream *stream = &input.stream;
        const uint8_t *head;
        int r = store_input_stream_init(&input, -EBADF, request->read, request->userdata);

        if (r < 0)
                return r;
        umask(0);
        extraction.tree.root_fd = open_in_root(&extraction, "");
        if (extraction.tree.root_fd < 0)
                return extraction.tree.root_fd;
        ssize_t n = store_stream_peek(stream, STORE_STREAM_PEEK, &head);
        if (n < 0)
                return (int) n;
        StoreCompression compression = store_compression_of(head, (size_t) n);
        if (compression != STORE_PLAIN) {
                r = store_inflate_stream_init(&inflate, stream, compression);
                stream = &inflate.stream;
        }
        return r < 0 ? r : extract_all(&extraction, stream);
}
