/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request is an Order with the pipe's write end; the answer is an errno. What is written is the layer only if its
 * digest was found to be the diff ID: the one who sends it on asks before it says so.
 *
 * The compressor gets its input in blocks of one size and its header says nothing of time and name, so that one library
 * on one machine always makes the same of one tar. */
#include "registry-reader.h"

#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "berth/digest.h"
#include "berth/file.h"
#include "berth/string.h"

#define BLOCK_SIZE (256u * 1024)
/* Of a Debian image: 8% larger than zlib's default makes it, in a twentieth of the time. */
#define LEVEL 2
#define LEVEL_BUFFER_SIZE ISAL_DEF_LVL2_DEFAULT

typedef struct Order {
        char diff_id[STORE_DIGEST_SIZE];
        bool gzip;
} Order;

typedef struct Writer {
        int fd;
        bool gzip;
        int64_t *consumed;
        StoreHasher *hasher; /* owned; of the tar */
        struct isal_zstream stream;
        size_t held; /* bytes in the input block */
        uint8_t input[BLOCK_SIZE], output[BLOCK_SIZE], level[LEVEL_BUFFER_SIZE];
} Writer;

/* --- In the reader ------------------------------------------------------------------------------------------------ */

static void writer_init(Writer *writer, int fd, bool gzip, int64_t *consumed)
{
        writer->fd = fd;
        writer->gzip = gzip;
        writer->consumed = consumed;
        writer->held = 0;
        isal_deflate_init(&writer->stream);
        writer->stream.gzip_flag = IGZIP_GZIP;
        writer->stream.level = LEVEL;
        writer->stream.level_buf = writer->level;
        writer->stream.level_buf_size = LEVEL_BUFFER_SIZE;
        __atomic_store_n(consumed, 0, __ATOMIC_RELAXED);
}

static int compress_block(Writer *writer, bool last)
{
        struct isal_zstream *stream = &writer->stream;

        stream->next_in = writer->input;
        stream->avail_in = (uint32_t) writer->held;
        stream->end_of_stream = last;
        writer->held = 0;
        do {
                stream->next_out = writer->output;
                stream->avail_out = BLOCK_SIZE;
                if (isal_deflate(stream) != COMP_OK)
                        return -EIO;
                int r = fd_write_all(writer->fd, writer->output, BLOCK_SIZE - stream->avail_out);
                if (r < 0)
                        return r;
        } while (stream->avail_out == 0);
        return 0;
}

static int write_tar(void *userdata, const void *data, size_t size)
{
        Writer *writer = userdata;
        const uint8_t *bytes = data;
        int r = store_hasher_update(writer->hasher, data, size);

        __atomic_fetch_add(writer->consumed, (int64_t) size, __ATOMIC_RELAXED);
        if (r == 0 && !writer->gzip)
                return fd_write_all(writer->fd, data, size);
        while (r == 0 && size > 0) {
                size_t n = MIN(size, BLOCK_SIZE - writer->held);

                memcpy(writer->input + writer->held, bytes, n);
                writer->held += n;
                bytes += n;
                size -= n;
                if (writer->held == BLOCK_SIZE)
                        r = compress_block(writer, false);
        }
        return r;
}

static int write_layer(Writer *writer, const Order *order)
{
        CLEANUP_CLOSE int layer = store_layer_open("/", order->diff_id);
        char found[STORE_DIGEST_SIZE] = "";

        if (layer < 0)
                return layer;
        int r = store_hasher_new(true, &writer->hasher);
        if (r >= 0)
                r = store_layer_write_tar(layer, write_tar, writer);
        if (r >= 0 && writer->gzip)
                r = compress_block(writer, true);
        if (r >= 0)
                r = store_hasher_finish(writer->hasher, found);
        store_hasher_free(TAKE_PTR(writer->hasher));
        if (r >= 0 && !str_equal(found, order->diff_id))
                r = -EBADMSG;
        return r < 0 ? r : 0;
}

static void reader_main(int socket, int layer_root_fd, int64_t *consumed)
{
        static Writer writer;
        int keep[] = { socket };

        signal(SIGPIPE, SIG_IGN);
        if (store_worker_confine(layer_root_fd, keep, 1) < 0)
                _exit(1);
        for (;;) {
                Order order;
                CLEANUP_CLOSE int fd = -EBADF;
                size_t n_fds = 1;
                ssize_t n = socket_recv_fds(socket, &order, sizeof(order), &fd, &n_fds);

                if (n != sizeof(order) || n_fds != 1)
                        _exit(n != 0);
                writer_init(&writer, fd, order.gzip, consumed);
                int r = write_layer(&writer, &order);
                fd = fd_close(fd);
                if (send(socket, &r, sizeof(r), MSG_NOSIGNAL) < 0)
                        _exit(1);
        }
}

/* --- In the uploading process ------------------------------------------------------------------------------------- */

int registry_reader_start(RegistryCompanion *reader, const char *layer_root)
{
        CLEANUP_CLOSE int root = open(layer_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return root < 0 ? -errno : registry_companion_start(reader, reader_main, root);
}

int registry_reader_begin(RegistryCompanion *reader, const char *diff_id, bool gzip, int *ret_fd)
{
        Order order = { .gzip = gzip };

        snprintf(order.diff_id, sizeof(order.diff_id), "%s", diff_id);
        return registry_companion_order(reader, &order, sizeof(order), REGISTRY_PIPE_FROM_IT, ret_fd);
}

int registry_reader_finish(RegistryCompanion *reader, Error *error)
{
        int result;
        ssize_t n;

        do
                n = recv(reader->socket, &result, sizeof(result), 0);
        while (n < 0 && errno == EINTR);
        if (n != sizeof(result))
                return error_set(error, OUTCOME_FAILED, "the process that reads layers ended early");
        if (result == -ENOENT || result == -EBADMSG)
                return error_set(error, OUTCOME_FAILED, "a layer's files are no longer what they were");
        return result == 0 ? 0 : error_set(error, OUTCOME_FAILED, "reading a layer: %s", strerror(-result));
}
