/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "berth/string.h"
#include "client-tar.h"

#define NAME_SIZE 100
#define NUMBER_MAX 07777777
#define SIZE_LIMIT 077777777777

/* SIZE - 1 octal digits and a zero byte; a value that does not fit stands in a pax record. */
static void put_number(char *field, size_t size, int64_t value)
{
        for (size_t i = size - 1; i-- > 0; value >>= 3)
                field[i] = (char) ('0' + (value & 7));
        field[size - 1] = 0;
}

static void put_text(char *field, size_t size, const char *text)
{
        size_t n = strlen(text);

        memcpy(field, text, n < size ? n : size);
}

static int append_block(Buffer *out, const TarEntry *entry, int64_t size)
{
        char block[TAR_BLOCK] = {};
        unsigned sum = 0;

        put_text(block, NAME_SIZE, entry->path);
        put_number(block + 100, 8, entry->mode);
        put_number(block + 108, 8, entry->uid & NUMBER_MAX);
        put_number(block + 116, 8, entry->gid & NUMBER_MAX);
        put_number(block + 124, 12, size & SIZE_LIMIT);
        put_number(block + 136, 12, entry->mtime_ns > 0 ? entry->mtime_ns / 1000000000 : 0);
        memset(block + 148, ' ', 8);
        block[156] = entry->type;
        put_text(block + 157, NAME_SIZE, entry->link ?: "");
        memcpy(block + 257, "ustar\00000", 8);
        put_number(block + 329, 8, entry->major);
        put_number(block + 337, 8, entry->minor);
        for (size_t i = 0; i < sizeof(block); i++)
                sum += (unsigned char) block[i];
        put_number(block + 148, 7, sum);
        return buffer_append(out, block, sizeof(block));
}

/* "LENGTH key=value\n", where the length counts its own digits. */
static int append_record(Buffer *records, const char *key, const char *value)
{
        size_t bare = strlen(key) + strlen(value) + 3, length = bare + 1;

        for (size_t digits = 1, limit = 10; bare + digits >= limit; digits++, limit *= 10)
                length = bare + digits + 1;
        return buffer_printf(records, "%zu %s=%s\n", length, key, value);
}

static int append_number(Buffer *records, const char *key, int64_t value)
{
        char text[24];

        snprintf(text, sizeof(text), "%lld", (long long) value);
        return append_record(records, key, text);
}

static int append_pax(Buffer *out, const Buffer *records)
{
        static const char zeros[TAR_BLOCK];
        TarEntry extra = { .type = 'x', .path = (char *) "PaxHeaders/0", .mode = 0644 };
        int r = append_block(out, &extra, (int64_t) records->size);

        if (r >= 0)
                r = buffer_append(out, records->data, records->size);
        if (r >= 0)
                r = buffer_append(out, zeros, (TAR_BLOCK - records->size % TAR_BLOCK) % TAR_BLOCK);
        return r;
}

int tar_header_append(Buffer *out, const TarEntry *entry)
{
        CLEANUP_BUFFER Buffer records = {};
        int r = 0;

        if (strlen(entry->path) > NAME_SIZE)
                r = append_record(&records, "path", entry->path);
        if (r >= 0 && entry->link && strlen(entry->link) > NAME_SIZE)
                r = append_record(&records, "linkpath", entry->link);
        if (r >= 0 && entry->uid > NUMBER_MAX)
                r = append_number(&records, "uid", entry->uid);
        if (r >= 0 && entry->gid > NUMBER_MAX)
                r = append_number(&records, "gid", entry->gid);
        if (r >= 0 && entry->size > SIZE_LIMIT)
                r = append_number(&records, "size", entry->size);
        if (r >= 0 && records.size > 0)
                r = append_pax(out, &records);
        return r < 0 ? r : append_block(out, entry, entry->size);
}
