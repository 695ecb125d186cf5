/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archives made byte by byte, for the tests of the store: hostile ones no program would write. */
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

/* After the headers it needs. */
#include <cmocka.h>

#include "berth/buffer.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/store.h"
#include "berth/string.h"
#include "store-digest.h"

static inline void tar_padding(Buffer *tar)
{
        static const char zero[512];

        assert_true(buffer_append(tar, zero, -tar->size & 511) >= 0);
}

static inline void tar_header(Buffer *tar, char type, const char *path, const char *link, unsigned mode, uint64_t size)
{
        char header[512] = {};
        unsigned sum = 0;

        snprintf(header, 100, "%s", path);
        snprintf(header + 100, 8, "%07o", mode);
        snprintf(header + 108, 8, "%07o", 0);
        snprintf(header + 116, 8, "%07o", 0);
        snprintf(header + 124, 12, "%011llo", (unsigned long long) size & 077777777777ULL);
        snprintf(header + 136, 12, "%011o", 1700000000);
        memset(header + 148, ' ', 8);
        header[156] = type;
        snprintf(header + 157, 100, "%s", link ? link : "");
        memcpy(header + 257,
               "ustar\0"
               "00",
               8);
        for (size_t i = 0; i < sizeof(header); i++)
                sum += (unsigned char) header[i];
        snprintf(header + 148, 8, "%06o", sum);
        assert_true(buffer_append(tar, header, sizeof(header)) >= 0);
}

static inline void tar_data(Buffer *tar, const char *path, const void *data, size_t size)
{
        tar_header(tar, '0', path, NULL, 0644, size);
        assert_true(buffer_append(tar, data, size) >= 0);
        tar_padding(tar);
}

static inline void tar_file(Buffer *tar, const char *path, const char *content)
{
        tar_data(tar, path, content, strlen(content));
}

static inline void tar_end(Buffer *tar)
{
        static const char zero[1024];

        assert_true(buffer_append(tar, zero, sizeof(zero)) >= 0);
}

/* A pax record in front of the next entry; VALUE may hold any bytes. */
static inline void tar_pax(Buffer *tar, const char *key, const void *value, size_t size)
{
        Buffer record = {};
        size_t length = strlen(key) + size + 3, digits = 1;

        for (;;) {
                char text[24];

                digits = (size_t) snprintf(text, sizeof(text), "%zu", length + digits);
                if (digits == (size_t) snprintf(text, sizeof(text), "%zu", length + digits))
                        break;
        }
        assert_true(buffer_printf(&record, "%zu %s=", length + digits, key) >= 0);
        assert_true(buffer_append(&record, value, size) >= 0);
        assert_true(buffer_append(&record, "\n", 1) >= 0);
        tar_header(tar, 'x', "pax", NULL, 0644, record.size);
        assert_true(buffer_append(tar, record.data, record.size) >= 0);
        tar_padding(tar);
        buffer_clear(&record);
}

static inline ssize_t memory_read(void *userdata, void *buffer, size_t size)
{
        Buffer *from = userdata;
        size_t n = MIN(MIN(size, from->size), (size_t) 7777);

        memcpy(buffer, from->data, n);
        buffer_consume(from, n);
        return (ssize_t) n;
}

static inline int memory_write(void *userdata, const void *data, size_t size)
{
        return buffer_append(userdata, data, size);
}

static inline la_ssize_t archive_to_buffer(struct archive *archive, void *userdata, const void *data, size_t size)
{
        (void) archive;
        return buffer_append(userdata, data, size) < 0 ? -1 : (la_ssize_t) size;
}

/* Compresses with libarchive's filter of this name. */
static inline void compress_with(const Buffer *data, const char *filter, Buffer *ret)
{
        struct archive *archive = archive_write_new();
        struct archive_entry *entry = archive_entry_new();

        archive_entry_set_pathname(entry, "data");
        archive_entry_set_filetype(entry, AE_IFREG);
        assert_int_equal(archive_write_set_format_raw(archive), ARCHIVE_OK);
        assert_int_equal(archive_write_add_filter_by_name(archive, filter), ARCHIVE_OK);
        assert_int_equal(archive_write_set_bytes_per_block(archive, 0), ARCHIVE_OK);
        assert_int_equal(archive_write_open(archive, ret, NULL, archive_to_buffer, NULL), ARCHIVE_OK);
        assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
        assert_int_equal(archive_write_data(archive, data->data, data->size), (la_ssize_t) data->size);
        assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
        archive_write_free(archive);
        archive_entry_free(entry);
}

/* A fresh directory under /var/tmp: on a file system with extended attributes, unlike /tmp in places. */
static inline char *make_directory(void)
{
        char template[] = "/var/tmp/berth-store-test.XXXXXX";

        assert_non_null(mkdtemp(template));
        return strdup(template);
}

static inline void remove_directory(char *path)
{
        assert_int_equal(path_remove_tree_at(AT_FDCWD, path), 0);
        free(path);
}
