/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* logfile_compress(). */
#include <isa-l/igzip_lib.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/logfile.h"

#define BLOCK (64u * 1024)
#define LEVEL 1

typedef struct Deflate {
        struct isal_zstream stream;
        uint8_t level_buffer[ISAL_DEF_LVL1_DEFAULT];
        uint8_t input[BLOCK], output[BLOCK];
} Deflate;

static void deflate_init(Deflate *deflate)
{
        isal_deflate_init(&deflate->stream);
        deflate->stream.gzip_flag = IGZIP_GZIP;
        deflate->stream.level = LEVEL;
        deflate->stream.level_buf = deflate->level_buffer;
        deflate->stream.level_buf_size = sizeof(deflate->level_buffer);
}

/* What the input makes, and at its end all that is left. */
static int write_some(Deflate *deflate, int out)
{
        int r;

        do {
                deflate->stream.next_out = deflate->output;
                deflate->stream.avail_out = BLOCK;
                if (isal_deflate(&deflate->stream) != COMP_OK)
                        return -EIO;
                r = fd_write_all(out, deflate->output, BLOCK - deflate->stream.avail_out);
        } while (r >= 0 && deflate->stream.avail_out == 0);
        return r;
}

static int write_all(Deflate *deflate, int in, int out)
{
        int r = 0;

        while (r >= 0 && !deflate->stream.end_of_stream) {
                ssize_t n = read(in, deflate->input, BLOCK);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                deflate->stream.next_in = deflate->input;
                deflate->stream.avail_in = (uint32_t) n;
                deflate->stream.end_of_stream = n == 0;
                r = write_some(deflate, out);
        }
        return r;
}

int logfile_compress(int in, int out)
{
        CLEANUP_FREE Deflate *deflate = calloc(1, sizeof(*deflate));
        struct stat st;
        int r;

        if (!deflate)
                return -ENOMEM;
        if (fstat(in, &st) < 0)
                return -errno;
        deflate_init(deflate);
        r = write_all(deflate, in, out);
        if (r < 0)
                return r;
        const struct timespec times[2] = { st.st_atim, st.st_mtim };
        return futimens(out, times) < 0 || fsync(out) < 0 ? -errno : 0;
}
