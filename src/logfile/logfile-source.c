/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See logfile-source.h. Compressed files are inflated as they are read, twice where lines are counted first: that is
 * cheaper than a copy on the disk. A file cut short gives what it has. */
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/string.h"
#include "logfile-source.h"

#define INPUT_SIZE (64u * 1024)

struct LogfileInflate {
        struct inflate_state state;
        bool ended; /* behind the last member */
        uint8_t input[INPUT_SIZE];
};

static void inflate_reset(struct LogfileInflate *inflate)
{
        isal_inflate_init(&inflate->state);
        inflate->state.crc_flag = ISAL_GZIP;
        inflate->ended = false;
}

int logfile_source_open(int directory, const char *name, const LogfileName *file, LogfileSource *ret)
{
        CLEANUP_FREE char *path = logfile_path(name, file->number, file->compressed);
        CLEANUP_FREE struct LogfileInflate *inflate = NULL;
        struct stat st;

        if (!path)
                return -ENOMEM;
        if (file->compressed) {
                inflate = malloc(sizeof(*inflate));
                if (!inflate)
                        return -ENOMEM;
                inflate_reset(inflate);
        }
        CLEANUP_CLOSE int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_ino != file->inode)
                return -ENOENT;
        *ret = (LogfileSource) { .fd = TAKE_FD(fd),
                                 .inode = st.st_ino,
                                 .modified_ns = file->modified_ns,
                                 .limit = st.st_size,
                                 .inflate = TAKE_PTR(inflate) };
        return 0;
}

void logfile_source_close(LogfileSource *source)
{
        free(source->inflate);
        fd_close(source->fd);
        *source = (LogfileSource) LOGFILE_SOURCE_INIT;
}

void logfile_source_seek(LogfileSource *source, off_t offset)
{
        source->offset = offset;
        if (source->inflate)
                inflate_reset(source->inflate);
}

static ssize_t read_at(LogfileSource *source, void *data, size_t size)
{
        ssize_t n;

        do
                n = pread(source->fd, data, size, source->offset);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        source->offset += n;
        return n;
}

/* More input, where it is used up. False at the file's end. */
static int fill(LogfileSource *source)
{
        struct LogfileInflate *inflate = source->inflate;
        ssize_t n;

        if (inflate->state.avail_in > 0)
                return 1;
        n = read_at(source, inflate->input, sizeof(inflate->input));
        if (n <= 0)
                return (int) n;
        inflate->state.next_in = inflate->input;
        inflate->state.avail_in = (uint32_t) n;
        return 1;
}

static ssize_t inflate_some(LogfileSource *source, void *data, size_t size)
{
        struct LogfileInflate *inflate = source->inflate;
        int r;

        inflate->state.next_out = data;
        inflate->state.avail_out = (uint32_t) MIN(size, (size_t) UINT32_MAX);
        while (!inflate->ended && inflate->state.next_out == data) {
                r = fill(source);
                if (r <= 0)
                        return r;
                r = isal_inflate(&inflate->state);
                if (r < 0)
                        return -EBADMSG;
                if (inflate->state.block_state != ISAL_BLOCK_FINISH)
                        continue;
                /* Another member may follow; anything else is padding. */
                r = fill(source);
                if (r < 0)
                        return r;
                inflate->ended = r == 0 || inflate->state.next_in[0] != 0x1f;
                isal_inflate_reset(&inflate->state);
                inflate->state.crc_flag = ISAL_GZIP;
        }
        return (uint8_t *) inflate->state.next_out - (uint8_t *) data;
}

ssize_t logfile_source_read(LogfileSource *source, void *data, size_t size)
{
        if (source->inflate)
                return inflate_some(source, data, size);
        if (source->offset >= source->limit)
                return 0;
        return read_at(source, data, (size_t) MIN((off_t) size, source->limit - source->offset));
}
