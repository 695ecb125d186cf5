/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One entry's headers. What does not fit its field, and times with a fraction, go to a pax record (POSIX.1-2001). Bytes
 * of names are passed on as they are. */
#include "store-pack-header.h"

#include <string.h>

#include "berth/base64.h"
#include "berth/string.h"

#define FIELD_NAME_SIZE 100
#define FIELD_PREFIX_SIZE 155
#define OCTAL_ID_MAX 07777777
#define OCTAL_SIZE_MAX 077777777777
#define RECORD_SIZE_MAX (1024 * 1024)

typedef struct Ustar {
        char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6],
                version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
} Ustar;

_Static_assert(sizeof(Ustar) == STORE_TAR_BLOCK, "a tar header is one block");

size_t store_pack_padding(int64_t size)
{
        return (size_t) (-size & (STORE_TAR_BLOCK - 1));
}

static int append_padding(Buffer *buffer, size_t size)
{
        static const char zero[STORE_TAR_BLOCK];

        return buffer_append(buffer, zero, store_pack_padding((int64_t) size));
}

/* "LENGTH KEY=VALUE\n", where the length counts itself. */
static int add_record(Buffer *records, const char *key, const void *value, size_t size)
{
        size_t rest = strlen(key) + size + 3, length = rest;
        char text[24];
        int r;

        while (rest + (size_t) snprintf(text, sizeof(text), "%zu", length) != length)
                length = rest + strlen(text);
        r = buffer_printf(records, "%s %s=", text, key);
        if (r >= 0)
                r = buffer_append(records, value, size);
        return r < 0 ? r : buffer_append(records, "\n", 1);
}

static int add_number(Buffer *records, const char *key, int64_t value)
{
        char text[24];

        return add_record(records, key, text, (size_t) snprintf(text, sizeof(text), "%lld", (long long) value));
}

/* The seconds are those of the instant towards zero, so that the fraction has the same sign. */
static int add_time(Buffer *records, const struct timespec *time)
{
        long long seconds = time->tv_sec;
        long nanoseconds = time->tv_nsec;
        char text[48];
        int n;

        if (seconds < 0 && nanoseconds > 0) {
                seconds++;
                nanoseconds = 1000000000 - nanoseconds;
        }
        n = snprintf(text, sizeof(text), "%s%lld", time->tv_sec < 0 && seconds == 0 ? "-" : "", seconds);
        if (nanoseconds > 0) {
                n += snprintf(text + n, sizeof(text) - (size_t) n, ".%09ld", nanoseconds);
                while (text[n - 1] == '0')
                        n--;
        }
        return add_record(records, "mtime", text, (size_t) n);
}

static void put_octal(char *field, size_t size, uint64_t value)
{
        for (size_t i = size - 1; i-- > 0; value >>= 3)
                field[i] = (char) ('0' + (value & 7));
}

/* Name and prefix, divided at a slash. False where that is not possible. */
static bool put_path(Ustar *header, const char *path)
{
        size_t size = strlen(path);

        if (size <= FIELD_NAME_SIZE) {
                memcpy(header->name, path, size);
                return true;
        }
        for (const char *slash = memrchr(path, '/', size - 1); slash;
             slash = memrchr(path, '/', (size_t) (slash - path))) {
                size_t prefix = (size_t) (slash - path), name = size - prefix - 1;

                if (name > FIELD_NAME_SIZE)
                        return false;
                if (prefix == 0 || prefix > FIELD_PREFIX_SIZE)
                        continue;
                memcpy(header->prefix, path, prefix);
                memcpy(header->name, slash + 1, name);
                return true;
        }
        return false;
}

static int finish_header(Buffer *buffer, Ustar *header)
{
        const unsigned char *bytes = (const unsigned char *) header;
        unsigned sum = 0;

        memcpy(header->magic, "ustar", 6);
        memcpy(header->version, "00", 2);
        memset(header->checksum, ' ', sizeof(header->checksum));
        for (size_t i = 0; i < sizeof(*header); i++)
                sum += bytes[i];
        put_octal(header->checksum, 7, sum);
        header->checksum[6] = 0;
        return buffer_append(buffer, header, sizeof(*header));
}

static int append_records(Buffer *buffer, const Buffer *records)
{
        Ustar header = { .name = "PaxHeaders.0/entry", .type = 'x' };
        int r;

        if (records->size == 0)
                return 0;
        if (records->size > RECORD_SIZE_MAX)
                return -E2BIG;
        put_octal(header.mode, sizeof(header.mode), 0644);
        put_octal(header.uid, sizeof(header.uid), 0);
        put_octal(header.gid, sizeof(header.gid), 0);
        put_octal(header.size, sizeof(header.size), records->size);
        put_octal(header.mtime, sizeof(header.mtime), 0);
        r = finish_header(buffer, &header);
        if (r >= 0)
                r = buffer_append(buffer, records->data, records->size);
        return r < 0 ? r : append_padding(buffer, records->size);
}

static int put_names(Ustar *header, Buffer *records, const StoreTarEntry *entry)
{
        size_t link = entry->link ? strlen(entry->link) : 0;
        int r = 0;

        if (!put_path(header, entry->path))
                r = add_record(records, "path", entry->path, strlen(entry->path));
        if (link <= FIELD_NAME_SIZE)
                memcpy(header->link, entry->link ?: "", link);
        else if (r >= 0)
                r = add_record(records, "linkpath", entry->link, link);
        return r;
}

static int put_owner(Ustar *header, Buffer *records, const StoreTarEntry *entry)
{
        int r = 0;

        put_octal(header->uid, sizeof(header->uid), entry->uid <= OCTAL_ID_MAX ? entry->uid : 0);
        put_octal(header->gid, sizeof(header->gid), entry->gid <= OCTAL_ID_MAX ? entry->gid : 0);
        if (entry->uid > OCTAL_ID_MAX)
                r = add_number(records, "uid", entry->uid);
        if (r >= 0 && entry->gid > OCTAL_ID_MAX)
                r = add_number(records, "gid", entry->gid);
        return r;
}

static int put_size_and_time(Ustar *header, Buffer *records, const StoreTarEntry *entry)
{
        int64_t stored = entry->type == '0' ? entry->size : 0;
        bool fits = entry->mtime.tv_sec >= 0 && entry->mtime.tv_sec <= OCTAL_SIZE_MAX;
        int r = 0;

        put_octal(header->size, sizeof(header->size), stored <= OCTAL_SIZE_MAX ? (uint64_t) stored : 0);
        put_octal(header->mtime, sizeof(header->mtime), fits ? (uint64_t) entry->mtime.tv_sec : 0);
        if (stored > OCTAL_SIZE_MAX)
                r = add_number(records, "size", stored);
        if (r >= 0 && (!fits || entry->mtime.tv_nsec > 0))
                r = add_time(records, &entry->mtime);
        return r;
}

/* A key cannot hold an equals sign: such names go by libarchive's form, the name escaped and the value in base64, which
 * others pass over. */
static int add_escaped_attribute(Buffer *records, const StoreTarXattr *xattr)
{
        char *value CLEANUP_FREE = base64_encode(xattr->value, xattr->size, false);
        Buffer key CLEANUP_BUFFER = {};
        int r = value ? buffer_printf(&key, "LIBARCHIVE.xattr.") : -ENOMEM;

        for (const char *p = xattr->name; *p && r >= 0; p++) {
                bool plain = *p > ' ' && *p < 0x7f && *p != '=' && *p != '%';

                r = plain ? buffer_append(&key, p, 1) : buffer_printf(&key, "%%%02X", (unsigned char) *p);
        }
        return r < 0 ? r : add_record(records, key.data, value, strlen(value));
}

static int put_attributes(Buffer *records, const StoreTarEntry *entry)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < entry->n_xattrs; i++) {
                const StoreTarXattr *xattr = &entry->xattrs[i];
                char *key CLEANUP_FREE = str_printf("SCHILY.xattr.%s", xattr->name);

                if (!key)
                        return -ENOMEM;
                r = strchr(xattr->name, '=') ? add_escaped_attribute(records, xattr)
                                             : add_record(records, key, xattr->value, xattr->size);
        }
        return r;
}

int store_pack_header(Buffer *buffer, const StoreTarEntry *entry)
{
        Buffer records CLEANUP_BUFFER = {};
        Ustar header = { .type = entry->type };
        int r;

        put_octal(header.mode, sizeof(header.mode), entry->mode & 07777);
        put_octal(header.major, sizeof(header.major), entry->major);
        put_octal(header.minor, sizeof(header.minor), entry->minor);
        r = put_names(&header, &records, entry);
        if (r >= 0)
                r = put_owner(&header, &records, entry);
        if (r >= 0)
                r = put_size_and_time(&header, &records, entry);
        if (r >= 0)
                r = put_attributes(&records, entry);
        if (r >= 0)
                r = append_records(buffer, &records);
        return r < 0 ? r : finish_header(buffer, &header);
}
