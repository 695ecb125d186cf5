/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing a layer's tar again: the header record is read twice, first for what was kept aside (a path's content is
 * under kept/ if a later entry of the tar displaced it), then to write. Paths in the record lead into the layer's own
 * tree and never through a link. */
#include <endian.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

#include "berth/file.h"
#include "berth/store.h"
#include "berth/string.h"
#include "store-headers.h"
#include "store-stream.h"
#include "store-tree.h"

typedef struct Kept {
        uint64_t position; /* of the record; earlier ones mean what is kept */
        uint32_t number;
        char *path; /* owned */
} Kept;

typedef struct Rewrite {
        int layer_fd; /* borrowed */
        int (*write)(void *userdata, const void *data, size_t size);
        void *userdata;
        uint8_t *buffer; /* owned */
        Kept *kept;      /* owned */
        size_t n_kept;
        char *path; /* owned; of the file that is open */
        int fd;     /* owned */
} Rewrite;

#define REWRITE_BLOCK (256u * 1024)

static void rewrite_clear(Rewrite *rewrite)
{
        for (size_t i = 0; i < rewrite->n_kept; i++)
                free(rewrite->kept[i].path);
        free(rewrite->kept);
        free(rewrite->buffer);
        free(rewrite->path);
        fd_close(rewrite->fd);
}

static int read_exactly(StoreStream *stream, void *data, size_t size)
{
        ssize_t n = store_stream_read(stream, data, size);

        if (n < 0)
                return n;
        return (size_t) n == size ? 0 : -EBADMSG;
}

static int read_u32(StoreStream *stream, uint32_t *ret)
{
        uint32_t value;
        int r = read_exactly(stream, &value, sizeof(value));

        if (r >= 0)
                *ret = le32toh(value);
        return r;
}

static int read_u64(StoreStream *stream, uint64_t *ret)
{
        uint64_t value;
        int r = read_exactly(stream, &value, sizeof(value));

        if (r >= 0)
                *ret = le64toh(value);
        return r;
}

static int read_path(StoreStream *stream, char **ret)
{
        char *path CLEANUP_FREE = NULL;
        uint32_t size;
        int r;

        r = read_u32(stream, &size);
        if (r < 0)
                return r;
        if (size == 0 || size > STORE_HEADERS_PATH_MAX)
                return -EBADMSG;
        path = malloc((size_t) size + 1);
        if (!path)
                return -ENOMEM;
        r = read_exactly(stream, path, size);
        if (r < 0)
                return r;
        path[size] = 0;
        *ret = TAKE_PTR(path);
        return 0;
}

static int copy_raw(StoreStream *stream, Rewrite *rewrite)
{
        uint32_t left;
        int r;

        r = read_u32(stream, &left);
        while (r >= 0 && left > 0) {
                const uint8_t *data;
                ssize_t n = store_stream_take(stream, left, &data);

                if (n <= 0)
                        return n < 0 ? n : -EBADMSG;
                if (rewrite)
                        r = rewrite->write(rewrite->userdata, data, n);
                left -= (uint32_t) n;
        }
        return r;
}

/* Where the bytes of PATH, as named at POSITION, are now. */
static char *locate(const Rewrite *rewrite, const char *path, uint64_t position)
{
        for (size_t i = 0; i < rewrite->n_kept; i++) {
                const Kept *kept = &rewrite->kept[i];
                const char *rest = kept->position > position ? str_after_prefix(path, kept->path) : NULL;

                if (rest && (*rest == 0 || *rest == '/'))
                        return str_printf("%s/%u%s", STORE_TREE_KEPT, kept->number, rest);
        }
        return path_join(STORE_TREE_FS, path);
}

/* Runs of a sparse file follow each other: the file stays open. */
static int open_content(Rewrite *rewrite, const char *path, uint64_t position)
{
        struct open_how how = {
                .flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
        };
        char *real CLEANUP_FREE = locate(rewrite, path, position);

        if (!real)
                return -ENOMEM;
        if (rewrite->fd >= 0 && str_equal(rewrite->path, real))
                return 0;
        rewrite->fd = fd_close(rewrite->fd);
        rewrite->fd = (int) syscall(SYS_openat2, rewrite->layer_fd, real, &how, sizeof(how));
        if (rewrite->fd < 0)
                return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? -EBADMSG : -errno;
        free(rewrite->path);
        rewrite->path = TAKE_PTR(real);
        return 0;
}

static int copy_file(StoreStream *stream, Rewrite *rewrite, uint64_t position)
{
        uint64_t offset, left;
        char *path CLEANUP_FREE = NULL;
        int r;

        r = read_u64(stream, &offset);
        if (r >= 0)
                r = read_u64(stream, &left);
        if (r >= 0)
                r = read_path(stream, &path);
        if (r < 0 || !rewrite)
                return r;
        r = open_content(rewrite, path, position);
        while (r >= 0 && left > 0) {
                ssize_t n = pread(rewrite->fd, rewrite->buffer, (size_t) MIN(left, (uint64_t) REWRITE_BLOCK),
                                  (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 && errno != ESPIPE && errno != EISDIR ? -errno : -EBADMSG;
                r = rewrite->write(rewrite->userdata, rewrite->buffer, n);
                offset += (uint64_t) n;
                left -= (uint64_t) n;
        }
        return r;
}

static int note_kept(StoreStream *stream, Rewrite *kept, uint64_t position)
{
        Kept item = { .position = position }, *grown;
        int r;

        r = read_u32(stream, &item.number);
        if (r >= 0)
                r = read_path(stream, &item.path);
        if (r < 0)
                return r;
        if (!kept) {
                free(item.path);
                return 0;
        }
        grown = kept->n_kept < STORE_TREE_KEPT_MAX ? reallocarray(kept->kept, kept->n_kept + 1, sizeof(*grown)) : NULL;
        if (!grown) {
                free(item.path);
                return -ENOMEM;
        }
        kept->kept = grown;
        kept->kept[kept->n_kept++] = item;
        return 0;
}

/* Walks the record: either to learn what is kept (KEPT) or to write (REWRITE). */
static int walk_records(StoreStream *stream, Rewrite *rewrite, Rewrite *kept)
{
        char magic[sizeof(STORE_HEADERS_MAGIC) - 1];
        int r;

        r = read_exactly(stream, magic, sizeof(magic));
        if (r >= 0 && memcmp(magic, STORE_HEADERS_MAGIC, sizeof(magic)) != 0)
                r = -EBADMSG;
        for (uint64_t position = 0; r >= 0; position++) {
                uint8_t type;
                ssize_t n = store_stream_read(stream, &type, 1);

                if (n <= 0)
                        return n;
                if (type == STORE_HEADERS_RAW)
                        r = copy_raw(stream, rewrite);
                else if (type == STORE_HEADERS_FILE)
                        r = copy_file(stream, rewrite, position);
                else if (type == STORE_HEADERS_KEPT)
                        r = note_kept(stream, kept, position);
                else
                        r = -EBADMSG;
        }
        return r;
}

static int read_record(Rewrite *rewrite, bool write)
{
        StoreInputStream input CLEANUP_INPUT_STREAM = {};
        StoreInflateStream inflate CLEANUP_INFLATE_STREAM = {};
        int fd CLEANUP_CLOSE = openat(rewrite->layer_fd, STORE_HEADERS_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        int r;

        if (fd < 0)
                return -errno;
        r = store_input_stream_init(&input, fd, NULL, NULL);
        if (r >= 0)
                r = store_inflate_stream_init(&inflate, &input.stream, STORE_ZSTD);
        return r < 0 ? r : walk_records(&inflate.stream, write ? rewrite : NULL, write ? NULL : rewrite);
}

int store_layer_write_tar(int layer_fd, int (*write)(void *userdata, const void *data, size_t size), void *userdata)
{
        Rewrite rewrite CLEANUP(
                rewrite_clear) = { .layer_fd = layer_fd, .write = write, .userdata = userdata, .fd = -EBADF };
        int r = 0;

        rewrite.buffer = malloc(REWRITE_BLOCK);
        if (!rewrite.buffer)
                return -ENOMEM;
        if (faccessat(layer_fd, STORE_TREE_KEPT, F_OK, 0) >= 0)
                r = read_record(&rewrite, false);
        return r < 0 ? r : read_record(&rewrite, true);
}
