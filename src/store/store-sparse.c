/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-sparse.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "berth/cleanup.h"

static bool is_zero(const uint8_t *data, size_t size)
{
        return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

int store_write_run(int fd, bool has_size, const uint8_t *data, size_t size, int64_t offset)
{
        while (size > 0) {
                size_t n = MIN(size, (size_t) (STORE_HOLE_SIZE - offset % STORE_HOLE_SIZE));

                if (!has_size || !is_zero(data, n))
                        for (size_t done = 0; done < n;) {
                                ssize_t written = pwrite(fd, data + done, n - done, offset + (int64_t) done);

                                if (written < 0)
                                        return -errno;
                                done += (size_t) written;
                        }
                data += n;
                size -= n;
                offset += (int64_t) n;
        }
        return 0;
}
