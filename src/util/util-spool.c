/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking at a spool file from outside, see include/berth/spool.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "berth/cleanup.h"
#include "berth/spool.h"

#define LOOK_MS 10
#define PATIENCE_LOOKS (60 * 1000 / LOOK_MS)

/* FNV-1a: it has to tell damage, not malice. */
uint32_t spool_checksum(uint32_t sum, const void *data, size_t size)
{
        const unsigned char *bytes = data;

        for (size_t i = 0; i < size; i++)
                sum = (sum ^ bytes[i]) * UINT32_C(16777619);
        return sum;
}

bool spool_record_is_sane(const SpoolRecordHeader *record)
{
        static const uint32_t limits[] = {
                [SPOOL_LINE] = SPOOL_LINE_MAX, [SPOOL_ENTRY] = SPOOL_ENTRY_MAX, [SPOOL_FIELDS] = SPOOL_LINE_MAX
        };

        return record->kind >= SPOOL_LINE && record->kind < ARRAY_SIZE(limits) &&
               record->size <= limits[record->kind] && record->priority <= 7 && record->partial <= 1 &&
               record->zero == 0;
}

int spool_status(const char *path, SpoolStatus *ret_status)
{
        CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        SpoolStatus status = { 0 };
        struct stat st;

        if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || fstat(fd, &st) < 0)
                return -errno;
        ssize_t n = pread(fd, &status.header, sizeof(status.header), 0);
        if (n < 0)
                return -errno;
        if (n == (ssize_t) sizeof(status.header) && status.header.magic == SPOOL_MAGIC)
                status.size = (uint64_t) st.st_size;
        else
                status.header = (SpoolHeader) { 0 };
        status.owner = lock.l_type == F_UNLCK ? 0 : lock.l_pid;
        *ret_status = status;
        return 0;
}

int spool_wait(const char *path, int client_fd)
{
        SpoolStatus first, status;
        uint64_t seen = 0;
        int looks = 0;
        int r = spool_status(path, &first);

        for (status = first;
             r >= 0 && status.header.generation == first.header.generation && status.header.sent < first.size;
             r = spool_status(path, &status)) {
                struct pollfd client = { .fd = client_fd, .events = POLLRDHUP };

                if (poll(&client, 1, LOOK_MS) > 0)
                        return -ECANCELED;
                looks = status.header.sent == seen ? looks + 1 : 0;
                if (looks > PATIENCE_LOOKS)
                        return -ETIME;
                seen = status.header.sent;
        }
        return r == -ENOENT ? 0 : r;
}
