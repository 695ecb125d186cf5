/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A spool file of any content: taken over, read to its end, written behind and read again. With the first byte odd, the
 * magic number and the checksums are put right first, so that what lies behind them is reached. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "berth/cleanup.h"
#include "berth/string.h"
#include "monitor-spool.h"

#define LIMIT (1024 * 1024u)
#define CHECKED (sizeof(SpoolRecordHeader) - sizeof(uint32_t))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_right(uint8_t *data, size_t size)
{
        const uint64_t magic = SPOOL_MAGIC;
        size_t at = sizeof(SpoolHeader);

        if (size < at)
                return;
        memcpy(data, &magic, sizeof(magic));
        while (at + sizeof(SpoolRecordHeader) <= size) {
                SpoolRecordHeader header;

                memcpy(&header, data + at, sizeof(header));
                if (header.size > size - at - sizeof(header))
                        return;
                uint32_t sum = spool_checksum(SPOOL_CHECKSUM_INIT, data + at + sizeof(sum), CHECKED + header.size);
                memcpy(data + at, &sum, sizeof(sum));
                at += sizeof(header) + header.size;
        }
}

static unsigned read_all(MonitorSpool *spool)
{
        MonitorSpooled record;
        uint64_t last = 0;
        unsigned n = 0;

        while (monitor_spool_read(spool, &record) > 0) {
                if (record.kind == SPOOL_FIELDS)
                        monitor_spool_accept_fields(spool, &record);
                else if (record.end <= last)
                        abort();
                else
                        monitor_spool_sent(spool, last = record.end);
                fd_close(record.memfd);
                if (++n > 1000000)
                        abort();
        }
        return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_FREE char *path = str_printf("spool-%d", (int) getpid());
        CLEANUP_FREE uint8_t *content = size > 2 ? malloc(size) : NULL;
        MonitorRecord record = { .memfd = -EBADF, .size = 3, .priority = 6 };
        MonitorSpool spool;
        SpoolStatus status;

        if (!path || !content)
                return 0;
        memcpy(content, data + 2, size - 2);
        if (data[0] & 1)
                put_right(content, size - 2);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, content, size - 2) != (ssize_t) size - 2)
                abort();
        close(fd);
        if (spool_status(path, &status) < 0)
                abort();
        monitor_spool_init(&spool, path, LIMIT);
        if (monitor_spool_open(&spool, data[1]) < 0)
                abort();
        read_all(&spool);
        if (!spool.active)
                (void) monitor_spool_begin(&spool, 1);
        bool added = monitor_spool_append(&spool, &record, "end") >= 0 && monitor_spool_flush(&spool) >= 0;
        if (added && spool.read == spool.end - sizeof(SpoolRecordHeader) - 3 && read_all(&spool) != 1)
                abort();
        monitor_spool_reset(&spool);
        monitor_spool_deinit(&spool);
        if (spool_status(path, &status) < 0 || !spool_is_drained(&status))
                abort();
        (void) unlink(path);
        return 0;
}
