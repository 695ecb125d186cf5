/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-entry.h. A memory file is written with room for the message's length, which is known last, and sealed at
 * its end: journald maps only sealed files without copying. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/monitor.h"
#include "berth/string.h"
#include "monitor-entry.h"

/* A value must stay on its line; none of these has a reason to hold a control character. */
static int append_field(Buffer *prefix, const char *name, const char *value, size_t limit)
{
        size_t start;
        int r;

        r = buffer_append_string(prefix, name);
        if (r < 0)
                return r;
        start = prefix->size;
        r = buffer_append(prefix, value, strnlen(value, limit));
        if (r < 0)
                return r;
        for (size_t i = start; i < prefix->size; i++)
                if ((unsigned char) prefix->data[i] < ' ')
                        prefix->data[i] = ' ';
        return buffer_append(prefix, "\n", 1);
}

int monitor_entry_prefix(const MonitorEntryFields *fields, Buffer *ret_prefix)
{
        const struct {
                const char *name, *value;
                size_t limit;
        } table[] = {
                { "CONTAINER_ID=", fields->id, ID_SHORT_LENGTH }, { "CONTAINER_ID_FULL=", fields->id, ID_LENGTH },
                { "CONTAINER_NAME=", fields->name, 256 },         { "CONTAINER_TAG=", fields->tag, 1024 },
                { "IMAGE_NAME=", fields->image, 1024 },           { "SYSLOG_IDENTIFIER=", fields->tag, 1024 },
        };
        CLEANUP_BUFFER Buffer prefix = {};
        int r;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                r = append_field(&prefix, table[i].name, table[i].value, table[i].limit);
                if (r < 0)
                        return r;
        }
        r = buffer_append_string(&prefix, fields->more ? fields->more : "");
        if (r < 0)
                return r;
        *ret_prefix = prefix;
        prefix = (Buffer) {};
        return 0;
}

/* What stands between the prefix and the message. */
static const char *entry_middle(uint8_t priority, bool partial)
{
        if (priority == 3)
                return partial ? "PRIORITY=3\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE\n" : "PRIORITY=3\nMESSAGE\n";
        if (priority == 6)
                return partial ? "PRIORITY=6\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE\n" : "PRIORITY=6\nMESSAGE\n";
        return "PRIORITY=4\nMESSAGE\n";
}

static struct iovec iov_string(const char *string)
{
        return (struct iovec) { .iov_base = (char *) string, .iov_len = strlen(string) };
}

size_t monitor_entry_iov(const Buffer *prefix, const MonitorQueue *queue, size_t offset, const char *extra,
                         struct iovec iov[static MONITOR_ENTRY_IOV])
{
        const MonitorRecord *record = monitor_queue_at(queue, offset);

        iov[0] = (struct iovec) { .iov_base = prefix->data, .iov_len = prefix->size };
        iov[1] = iov_string(extra);
        iov[2] = iov_string(entry_middle(record->priority, record->partial));
        iov[3].iov_base = (char *) monitor_queue_message(queue, offset, &iov[3].iov_len);
        return MONITOR_ENTRY_IOV;
}

int monitor_entry_file_seal(int fd)
{
        return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0 ? -errno : 0;
}

int monitor_entry_file_begin(const Buffer *prefix, uint8_t priority, off_t *ret_message)
{
        CLEANUP_CLOSE int fd = memfd_create("berth-log-line", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        const char *middle = entry_middle(priority, false);
        const uint64_t unknown = 0;
        int r;

        if (fd < 0)
                return -errno;
        r = fd_write_all(fd, prefix->data, prefix->size);
        if (r >= 0)
                r = fd_write_all(fd, middle, strlen(middle));
        if (r >= 0)
                r = fd_write_all(fd, &unknown, sizeof(unknown));
        if (r < 0)
                return r;
        *ret_message = (off_t) (prefix->size + strlen(middle) + sizeof(unknown));
        return TAKE_FD(fd);
}

int monitor_entry_file_end(int fd, off_t message, uint64_t size, bool partial)
{
        const char *end = partial ? "\nCONTAINER_PARTIAL_MESSAGE=true\n" : "\n";
        uint64_t length = htole64(size);
        int r;

        r = fd_write_all(fd, end, strlen(end));
        if (r < 0)
                return r;
        if (pwrite(fd, &length, sizeof(length), message - (off_t) sizeof(length)) != (ssize_t) sizeof(length))
                return -EIO;
        return monitor_entry_file_seal(fd);
}

int monitor_entry_file_again(int fd, const char *extra)
{
        CLEANUP_CLOSE int copy = memfd_create("berth-log-line", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        off_t offset = 0;
        ssize_t n;
        int r;

        if (copy < 0)
                return -errno;
        r = fd_write_all(copy, extra, strlen(extra));
        if (r < 0)
                return r;
        while ((n = sendfile(copy, fd, &offset, MONITOR_LINE_MAX)) > 0)
                ;
        r = n < 0 ? -errno : monitor_entry_file_seal(copy);
        return r < 0 ? r : TAKE_FD(copy);
}
