/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing the header record. Raw bytes are gathered, as they come in many small runs. libarchive's zstd filter
 * compresses; the file's descriptor belongs to the record until it is cleared. */
#include "store-headers.h"

#include <archive.h>
#include <archive_entry.h>
#include <endian.h>
#include <fcntl.h>
#include <string.h>

#include "berth/file.h"

static la_ssize_t headers_write(struct archive *archive, void *userdata, const void *data, size_t size)
{
        StoreHeaders *headers = userdata;
        int r;

        r = fd_write_all(headers->fd, data, size);
        if (r < 0) {
                headers->error = r;
                archive_set_error(archive, -r, "write");
                return -1;
        }
        return (la_ssize_t) size;
}

static int headers_put(StoreHeaders *headers, const void *data, size_t size)
{
        if (headers->archive && size > 0 && archive_write_data(headers->archive, data, size) != (la_ssize_t) size)
                return headers->error < 0 ? headers->error : -EIO;
        return 0;
}

int store_headers_create(StoreHeaders *headers, int dirfd)
{
        struct archive_entry *entry;
        int r;

        headers->fd = openat(dirfd, STORE_HEADERS_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (headers->fd < 0)
                return -errno;
        headers->archive = archive_write_new();
        entry = archive_entry_new();
        if (!headers->archive || !entry) {
                archive_entry_free(entry);
                return -ENOMEM;
        }
        archive_entry_set_pathname(entry, "headers");
        archive_entry_set_filetype(entry, AE_IFREG);
        r = archive_write_set_format_raw(headers->archive);
        if (r == ARCHIVE_OK)
                r = archive_write_add_filter_zstd(headers->archive);
        if (r == ARCHIVE_OK)
                r = archive_write_set_filter_option(headers->archive, "zstd", "compression-level", "1");
        if (r == ARCHIVE_OK)
                r = archive_write_set_bytes_per_block(headers->archive, 0);
        if (r == ARCHIVE_OK)
                r = archive_write_open(headers->archive, headers, NULL, headers_write, NULL);
        if (r == ARCHIVE_OK)
                r = archive_write_header(headers->archive, entry);
        archive_entry_free(entry);
        if (r != ARCHIVE_OK)
                return headers->error < 0 ? headers->error : -EIO;
        return headers_put(headers, STORE_HEADERS_MAGIC, sizeof(STORE_HEADERS_MAGIC) - 1);
}

static int headers_flush(StoreHeaders *headers)
{
        uint8_t head[5] = { STORE_HEADERS_RAW };
        uint32_t size = htole32((uint32_t) headers->raw.size);
        int r;

        if (headers->raw.size == 0)
                return 0;
        memcpy(head + 1, &size, sizeof(size));
        r = headers_put(headers, head, sizeof(head));
        if (r >= 0)
                r = headers_put(headers, headers->raw.data, headers->raw.size);
        headers->raw.size = 0;
        return r;
}

int store_headers_raw(StoreHeaders *headers, const void *data, size_t size)
{
        const uint8_t *bytes = data;
        int r;

        while (headers->archive && size > 0) {
                size_t n = MIN(size, STORE_HEADERS_RAW_MAX - headers->raw.size);

                r = buffer_append(&headers->raw, bytes, n);
                if (r < 0)
                        return r;
                bytes += n;
                size -= n;
                if (headers->raw.size == STORE_HEADERS_RAW_MAX) {
                        r = headers_flush(headers);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

int store_headers_file(StoreHeaders *headers, const char *path, int64_t offset, int64_t size)
{
        uint8_t head[21] = { STORE_HEADERS_FILE };
        uint64_t offset_le = htole64((uint64_t) offset), size_le = htole64((uint64_t) size);
        size_t path_size = strlen(path);
        uint32_t length = htole32((uint32_t) path_size);
        int r;

        if (size == 0)
                return 0;
        if (path_size > STORE_HEADERS_PATH_MAX)
                return -ENAMETOOLONG;
        memcpy(head + 1, &offset_le, sizeof(offset_le));
        memcpy(head + 9, &size_le, sizeof(size_le));
        memcpy(head + 17, &length, sizeof(length));
        r = headers_flush(headers);
        if (r >= 0)
                r = headers_put(headers, head, sizeof(head));
        return r < 0 ? r : headers_put(headers, path, path_size);
}

int store_headers_kept(StoreHeaders *headers, uint32_t number, const char *path)
{
        uint8_t head[9] = { STORE_HEADERS_KEPT };
        size_t path_size = strlen(path);
        uint32_t number_le = htole32(number), length = htole32((uint32_t) path_size);
        int r;

        if (path_size > STORE_HEADERS_PATH_MAX)
                return -ENAMETOOLONG;
        memcpy(head + 1, &number_le, sizeof(number_le));
        memcpy(head + 5, &length, sizeof(length));
        r = headers_flush(headers);
        if (r >= 0)
                r = headers_put(headers, head, sizeof(head));
        return r < 0 ? r : headers_put(headers, path, path_size);
}

int store_headers_finish(StoreHeaders *headers)
{
        int r;

        if (!headers->archive)
                return 0;
        r = headers_flush(headers);
        if (r < 0)
                return r;
        r = archive_write_close(headers->archive);
        if (r != ARCHIVE_OK)
                return headers->error < 0 ? headers->error : -EIO;
        return 0;
}

void store_headers_clear(StoreHeaders *headers)
{
        if (headers->archive)
                archive_write_free(TAKE_PTR(headers->archive));
        headers->fd = fd_close(headers->fd);
        buffer_clear(&headers->raw);
}
