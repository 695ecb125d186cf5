/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The header of the gzip stream says nothing of time and name, so that one zlib always makes the same of one tar. */
#include "registry-compress.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <zlib.h>

#include "berth/file.h"
#include "berth/store.h"

#define PIPE_SIZE (1024 * 1024)
#define OUTPUT_SIZE (256 * 1024)
#define WINDOW_GZIP (15 + 16)
#define MEMORY_LEVEL 8

typedef struct Writer {
        int fd;
        int64_t *consumed;
        bool gzip;
        z_stream stream;
        uint8_t output[OUTPUT_SIZE];
} Writer;

static int compress_some(Writer *writer, int flush)
{
        int r;

        do {
                writer->stream.next_out = writer->output;
                writer->stream.avail_out = OUTPUT_SIZE;
                r = deflate(&writer->stream, flush);
                if (r == Z_STREAM_ERROR)
                        return -EIO;
                int written = fd_write_all(writer->fd, writer->output, OUTPUT_SIZE - writer->stream.avail_out);
                if (written < 0)
                        return written;
        } while (writer->stream.avail_out == 0 || (flush == Z_FINISH && r != Z_STREAM_END));
        return 0;
}

static int write_tar(void *userdata, const void *data, size_t size)
{
        Writer *writer = userdata;

        __atomic_fetch_add(writer->consumed, (int64_t) size, __ATOMIC_RELAXED);
        if (!writer->gzip)
                return fd_write_all(writer->fd, data, size);
        writer->stream.next_in = (Bytef *) data;
        writer->stream.avail_in = (uInt) size;
        return compress_some(writer, Z_NO_FLUSH);
}

static int write_all(int fd, const char *layer_root, const char *diff_id, bool gzip, int64_t *consumed)
{
        CLEANUP_CLOSE int layer = store_layer_open(layer_root, diff_id);
        static Writer writer;

        writer = (Writer) { .fd = fd, .consumed = consumed, .gzip = gzip };
        if (layer < 0)
                return layer;
        if (gzip && deflateInit2(&writer.stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_GZIP, MEMORY_LEVEL,
                                 Z_DEFAULT_STRATEGY) != Z_OK)
                return -ENOMEM;
        int r = store_layer_write_tar(layer, write_tar, &writer);
        if (r >= 0 && gzip)
                r = compress_some(&writer, Z_FINISH);
        return r;
}

int registry_tar_source_open(RegistryTarSource *source, const char *layer_root, const char *diff_id, bool gzip)
{
        int fds[2], r;
        pid_t parent = getpid(), pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        CLEANUP_CLOSE int ours = fds[0], theirs = fds[1];
        (void) fcntl(theirs, F_SETPIPE_SZ, PIPE_SIZE);
        int64_t *consumed = mmap(NULL, sizeof(*consumed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (consumed == MAP_FAILED)
                return -errno;
        pid = fork();
        if (pid < 0) {
                r = -errno;
                munmap(consumed, sizeof(*consumed));
                return r;
        }
        if (pid == 0) {
                fd_close(ours);
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                        _exit(1);
                r = write_all(theirs, layer_root, diff_id, gzip, consumed);
                _exit(MIN(abs(r), 255));
        }
        *source = (RegistryTarSource) { .pid = pid, .fd = TAKE_FD(ours), .consumed = consumed };
        return 0;
}

int registry_tar_source_finish(RegistryTarSource *source)
{
        int status;

        while (waitpid(source->pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        source->pid = 0;
        return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

void registry_tar_source_clear(RegistryTarSource *source)
{
        source->fd = fd_close(source->fd);
        if (source->pid > 0) {
                kill(source->pid, SIGKILL);
                registry_tar_source_finish(source);
        }
        if (source->consumed)
                munmap(source->consumed, sizeof(*source->consumed));
        *source = (RegistryTarSource) { .fd = -EBADF };
}
