/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Headers that only describe the next entry (pax, GNU long names) are read whole and folded into it; their sizes are
 * bounded. Nothing here trusts a field: every number is checked and every string copied. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "berth/string.h"
#include "client-tar.h"

#define EXTRA_MAX (1024 * 1024)

/* Offsets and lengths of the fields of a header. */
typedef struct TarField {
        size_t at, size;
} TarField;
static const TarField field_name = { 0, 100 }, field_mode = { 100, 8 }, field_uid = { 108, 8 }, field_gid = { 116, 8 },
                      field_size = { 124, 12 }, field_mtime = { 136, 12 }, field_sum = { 148, 8 },
                      field_link = { 157, 100 }, field_major = { 329, 8 }, field_minor = { 337, 8 },
                      field_prefix = { 345, 155 };

void tar_entry_clear(TarEntry *entry)
{
        free(entry->path);
        free(entry->link);
        *entry = (TarEntry) {};
}

/* Octal, or base 256 where the first bit is set. */
static int read_number(const uint8_t *block, TarField field, int64_t *ret)
{
        const uint8_t *p = block + field.at, *end = p + field.size;
        int64_t value = 0;

        if (*p & 0x80) {
                if (*p & 0x40)
                        return -EBADMSG;
                value = *p++ & 0x3f;
                for (; p < end; p++) {
                        if (value > INT64_MAX >> 8)
                                return -EBADMSG;
                        value = value << 8 | *p;
                }
                *ret = value;
                return 0;
        }
        while (p < end && *p == ' ')
                p++;
        for (; p < end && *p >= '0' && *p <= '7'; p++)
                value = value << 3 | (*p - '0');
        if (p < end && *p && *p != ' ')
                return -EBADMSG;
        *ret = value;
        return 0;
}

static char *read_text(const uint8_t *block, TarField field)
{
        return strndup((const char *) block + field.at, field.size);
}

static bool sum_is_right(const uint8_t *block)
{
        int64_t wanted, sum = 0, signed_sum = 0;

        if (read_number(block, field_sum, &wanted) < 0)
                return false;
        for (size_t i = 0; i < TAR_BLOCK; i++) {
                uint8_t c = i >= field_sum.at && i < field_sum.at + field_sum.size ? ' ' : block[i];

                sum += c;
                signed_sum += (int8_t) c;
        }
        return sum == wanted || signed_sum == wanted;
}

/* --- the source --- */

static int read_exactly(TarReader *reader, void *data, size_t size, size_t *ret)
{
        size_t n = 0;

        while (n < size) {
                ssize_t r = reader->read(reader->userdata, (char *) data + n, size - n);

                if (r < 0)
                        return (int) r;
                if (r == 0)
                        break;
                n += r;
        }
        *ret = n;
        return 0;
}

ssize_t tar_reader_read(TarReader *reader, void *data, size_t size)
{
        int64_t content = reader->left - reader->padding;
        size_t n = 0;
        int r;

        if (content <= 0)
                return 0;
        r = read_exactly(reader, data, (int64_t) size < content ? size : (size_t) content, &n);
        if (r < 0)
                return r;
        if (n == 0)
                return -EBADMSG;
        reader->left -= n;
        return n;
}

static int skip(TarReader *reader)
{
        char piece[4096];

        while (reader->left > 0) {
                size_t n = 0, wanted = reader->left < (int64_t) sizeof(piece) ? (size_t) reader->left : sizeof(piece);
                int r = read_exactly(reader, piece, wanted, &n);

                if (r < 0)
                        return r;
                if (n < wanted)
                        return -EBADMSG;
                reader->left -= n;
        }
        return 0;
}

/* The whole content of a header that describes the next entry. */
static int read_extra(TarReader *reader, char **ret, size_t *ret_size)
{
        int64_t size = reader->left - reader->padding;
        CLEANUP_FREE char *text = NULL;
        ssize_t n = 0;

        if (size > EXTRA_MAX)
                return -EBADMSG;
        text = calloc(1, size + 1);
        if (!text)
                return -ENOMEM;
        if (size > 0)
                n = tar_reader_read(reader, text, size);
        if (n < 0)
                return (int) n;
        if (n < size)
                return -EBADMSG;
        *ret = TAKE_PTR(text);
        *ret_size = size;
        return 0;
}

/* --- pax records --- */

typedef struct Extra {
        char *path, *link; /* owned; NULL: as the header says */
        int64_t size, uid, gid, mtime_ns;
        bool has_size, has_uid, has_gid, has_mtime;
} Extra;

static void extra_clear(Extra *extra)
{
        free(extra->path);
        free(extra->link);
}

static int set_text(char **slot, const char *value, size_t size)
{
        char *text = strndup(value, size);

        if (!text)
                return -ENOMEM;
        free(*slot);
        *slot = text;
        return 0;
}

/* "1700000000.123456789" */
static int read_time(const char *value, int64_t *ret_ns)
{
        CLEANUP_FREE char *whole = strndup(value, strcspn(value, "."));
        const char *fraction = strchr(value, '.');
        int64_t seconds, ns = 0, unit = 100000000;

        if (!whole)
                return -ENOMEM;
        if (str_to_int64(whole, INT32_MIN, INT64_C(1) << 33, &seconds) < 0)
                return -EBADMSG;
        for (const char *c = fraction ? fraction + 1 : ""; *c >= '0' && *c <= '9'; c++, unit /= 10)
                ns += (*c - '0') * unit;
        *ret_ns = seconds * 1000000000 + (seconds < 0 ? -ns : ns);
        return 0;
}

static int take_record(Extra *extra, const char *key, const char *value, size_t size)
{
        CLEANUP_FREE char *text = NULL;
        int64_t *number = NULL;
        bool *has = NULL;

        if (strcmp(key, "path") == 0)
                return set_text(&extra->path, value, size);
        if (strcmp(key, "linkpath") == 0)
                return set_text(&extra->link, value, size);
        text = strndup(value, size);
        if (!text)
                return -ENOMEM;
        if (strcmp(key, "mtime") == 0) {
                extra->has_mtime = true;
                return read_time(text, &extra->mtime_ns);
        }
        if (strcmp(key, "size") == 0) {
                number = &extra->size;
                has = &extra->has_size;
        } else if (strcmp(key, "uid") == 0) {
                number = &extra->uid;
                has = &extra->has_uid;
        } else if (strcmp(key, "gid") == 0) {
                number = &extra->gid;
                has = &extra->has_gid;
        } else {
                return 0;
        }
        *has = true;
        return str_to_int64(text, 0, INT64_MAX / 2, number) < 0 ? -EBADMSG : 0;
}

/* "27 path=some/where\n", one behind the other; the number counts the whole record. */
static int take_records(Extra *extra, char *text, size_t size)
{
        while (size > 0) {
                char *blank = memchr(text, ' ', size), *equal;
                int64_t length;
                int r;

                if (!blank)
                        return -EBADMSG;
                *blank = 0;
                if (str_to_int64(text, blank - text + 3, (int64_t) size, &length) < 0 || text[length - 1] != '\n')
                        return -EBADMSG;
                equal = memchr(blank + 1, '=', text + length - blank - 1);
                if (!equal)
                        return -EBADMSG;
                *equal = 0;
                r = take_record(extra, blank + 1, equal + 1, text + length - 1 - (equal + 1));
                if (r < 0)
                        return r;
                text += length;
                size -= length;
        }
        return 0;
}

static int take_extra(TarReader *reader, char type, Extra *extra)
{
        CLEANUP_FREE char *text = NULL;
        size_t size = 0;
        int r = read_extra(reader, &text, &size);

        if (r < 0)
                return r;
        switch (type) {
        case 'x':
                return take_records(extra, text, size);
        case 'L':
                return set_text(&extra->path, text, size);
        case 'K':
                return set_text(&extra->link, text, size);
        default:
                return 0; /* 'g': nothing in a global header matters to a copy */
        }
}

/* --- entries --- */

static char *read_path(const uint8_t *block)
{
        CLEANUP_FREE char *name = read_text(block, field_name), *prefix = NULL;

        if (!name || memcmp(block + 257, "ustar", 6) != 0 || !block[field_prefix.at])
                return TAKE_PTR(name);
        prefix = read_text(block, field_prefix);
        return prefix ? str_printf("%s/%s", prefix, name) : NULL;
}

static int read_header(const uint8_t *block, Extra *extra, TarEntry *entry)
{
        int64_t mode, uid, gid, mtime, major = 0, minor = 0;

        if (read_number(block, field_mode, &mode) < 0 || read_number(block, field_uid, &uid) < 0 ||
            read_number(block, field_gid, &gid) < 0 || read_number(block, field_mtime, &mtime) < 0)
                return -EBADMSG;
        if ((entry->type == '3' || entry->type == '4') &&
            (read_number(block, field_major, &major) < 0 || read_number(block, field_minor, &minor) < 0))
                return -EBADMSG;
        entry->mode = mode & 07777;
        entry->uid = (uint32_t) (extra->has_uid ? extra->uid : uid);
        entry->gid = (uint32_t) (extra->has_gid ? extra->gid : gid);
        entry->mtime_ns = extra->has_mtime ? extra->mtime_ns : (mtime < INT64_C(1) << 33 ? mtime : 0) * 1000000000;
        entry->major = (unsigned) major;
        entry->minor = (unsigned) minor;
        entry->path = extra->path ? TAKE_PTR(extra->path) : read_path(block);
        entry->link = extra->link ? TAKE_PTR(extra->link) : read_text(block, field_link);
        return entry->path && entry->link ? 0 : -ENOMEM;
}

/* Reads a header block. 1; 0 at the end. */
static int read_block(TarReader *reader, uint8_t block[static TAR_BLOCK])
{
        static const uint8_t zeros[TAR_BLOCK];
        size_t n = 0;
        int r = read_exactly(reader, block, TAR_BLOCK, &n);

        if (r < 0)
                return r;
        if (n == 0)
                return 0;
        if (n < TAR_BLOCK)
                return -EBADMSG;
        if (memcmp(block, zeros, TAR_BLOCK) == 0)
                return 0;
        return sum_is_right(block) ? 1 : -EBADMSG;
}

/* Content of SIZE bytes follows, with padding up to a whole block. */
static void expect(TarReader *reader, int64_t size)
{
        reader->padding = (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
        reader->left = size + reader->padding;
}

int tar_reader_next(TarReader *reader, TarEntry *ret)
{
        CLEANUP(extra_clear) Extra extra = {};
        CLEANUP_TAR_ENTRY TarEntry entry = {};
        uint8_t block[TAR_BLOCK];
        int r;

        for (;;) {
                int64_t size;

                r = skip(reader);
                if (r == 0)
                        r = read_block(reader, block);
                if (r <= 0)
                        return r;
                if (read_number(block, field_size, &size) < 0 || size > INT64_MAX / 2)
                        return -EBADMSG;
                entry.type = (char) block[156];
                if (!entry.type || entry.type == '7')
                        entry.type = '0';
                if (!strchr("xgLK", entry.type)) {
                        entry.size = extra.has_size ? extra.size : size;
                        break;
                }
                expect(reader, size);
                r = take_extra(reader, entry.type, &extra);
                if (r < 0)
                        return r;
        }
        /* Only files have content; a size elsewhere is that of what the link leads to. */
        if (entry.type >= '1' && entry.type <= '6')
                entry.size = 0;
        expect(reader, entry.size);
        r = read_header(block, &extra, &entry);
        if (r < 0)
                return r;
        *ret = entry;
        entry = (TarEntry) {};
        return 1;
}
