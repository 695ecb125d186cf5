/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tar headers to entries. An entry is built from its header block and the extension records in front of it (pax `x`,
 * GNU `L` and `K`); global pax records are passed over, as Docker passes them over. Types that carry no content (links,
 * devices, directories) have none whatever their size field says. */
#include "store-tar.h"

#include <string.h>

#include "berth/file.h"
#include "berth/string.h"
#include "store-pax.h"

/* A pax record or a long name larger than this is refused, as Go's reader does. */
#define EXTENSION_SIZE_MAX (1024u * 1024)
#define EXTENTS_MAX (1024u * 1024)

/* Offsets and sizes of header fields. */
enum {
        NAME = 0,
        NAME_SIZE = 100,
        MODE = 100,
        UID = 108,
        GID = 116,
        SIZE = 124,
        MTIME = 136,
        CHECKSUM = 148,
        TYPE = 156,
        LINK = 157,
        LINK_SIZE = 100,
        MAGIC = 257,
        MAJOR = 329,
        MINOR = 337,
        PREFIX = 345,
        PREFIX_SIZE = 155,
        STAR_PREFIX_SIZE = 131,
        STAR_TRAILER = 508,
        GNU_SPARSE = 386,
        GNU_EXTENDED = 482,
        GNU_REAL_SIZE = 483,
        SPARSE_ENTRY_SIZE = 24,
        HEADER_SPARSE_ENTRIES = 4,
        BLOCK_SPARSE_ENTRIES = 21,
        BLOCK_EXTENDED = 504,
};

static int tar_problem(StoreTar *tar, const char *problem)
{
        tar->problem = problem;
        return -EBADMSG;
}

void store_tar_entry_clear(StoreTarEntry *entry)
{
        free(entry->path);
        free(entry->link);
        for (size_t i = 0; i < entry->n_xattrs; i++) {
                free(entry->xattrs[i].name);
                free(entry->xattrs[i].value);
        }
        free(entry->xattrs);
        free(entry->extents);
        *entry = (StoreTarEntry) {};
}

/* A numeric field: octal digits amid blanks, or base 256. */
static int field_number(const uint8_t *field, size_t size, int64_t *ret)
{
        uint64_t value = 0;
        size_t i = 0;

        if (field[0] & 0x80) {
                bool negative = field[0] & 0x40;

                for (; i < size; i++) {
                        uint8_t byte = negative ? ~field[i] : field[i];

                        if (i == 0)
                                byte &= 0x7f;
                        if (value >> 55)
                                return -EBADMSG;
                        value = value << 8 | byte;
                }
                *ret = negative ? (int64_t) ~value : (int64_t) value;
                return 0;
        }
        while (i < size && (field[i] == ' ' || field[i] == 0))
                i++;
        for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
                value = value << 3 | (uint64_t) (field[i] - '0');
        if (i < size && field[i] != ' ' && field[i] != 0)
                return -EBADMSG;
        *ret = (int64_t) value;
        return 0;
}

static bool block_is_zero(const uint8_t *block)
{
        static const uint8_t zero[STORE_TAR_BLOCK];

        return memcmp(block, zero, sizeof(zero)) == 0;
}

/* The sum may be of signed or unsigned bytes: old programs differ. */
static bool checksum_is_right(const uint8_t *block)
{
        int64_t unsigned_sum = 0, signed_sum = 0, want;

        if (field_number(block + CHECKSUM, 8, &want) < 0)
                return false;
        for (size_t i = 0; i < STORE_TAR_BLOCK; i++) {
                uint8_t byte = i >= CHECKSUM && i < CHECKSUM + 8 ? ' ' : block[i];

                unsigned_sum += byte;
                signed_sum += (int8_t) byte;
        }
        return want == unsigned_sum || want == signed_sum;
}

bool store_tar_is_header(const uint8_t block[static STORE_TAR_BLOCK])
{
        return block_is_zero(block) || checksum_is_right(block);
}

static int tar_show(StoreTar *tar, const void *data, size_t size)
{
        return tar->raw ? tar->raw(tar->userdata, data, size) : 0;
}

/* Reads a whole block. 1, 0 where the stream ends in front of it. */
static int tar_block(StoreTar *tar, uint8_t block[static STORE_TAR_BLOCK])
{
        ssize_t n = store_stream_read(tar->stream, block, STORE_TAR_BLOCK);
        int r;

        if (n < 0)
                return n;
        r = tar_show(tar, block, n);
        if (r < 0)
                return r;
        if (n == 0)
                return 0;
        return n == STORE_TAR_BLOCK ? 1 : tar_problem(tar, "unexpected EOF");
}

static int tar_skip(StoreTar *tar, int64_t *left)
{
        while (*left > 0) {
                const uint8_t *data;
                ssize_t n = store_stream_take(tar->stream, (size_t) MIN(*left, (int64_t) INT32_MAX), &data);
                int r;

                if (n < 0)
                        return n;
                if (n == 0)
                        return tar_problem(tar, "unexpected EOF");
                r = tar_show(tar, data, n);
                if (r < 0)
                        return r;
                *left -= n;
        }
        return 0;
}

/* Passes what is left of the entry. Padding that the end of the stream cut off is no loss. */
static int tar_leave_entry(StoreTar *tar)
{
        int64_t padding = tar->padding;
        int r;

        r = tar_skip(tar, &tar->left);
        if (r < 0)
                return r;
        tar->padding = 0;
        r = tar_skip(tar, &padding);
        if (r == -EBADMSG) {
                tar->problem = NULL;
                return 0;
        }
        return r;
}

static void tar_enter_data(StoreTar *tar, int64_t size)
{
        tar->left = size;
        tar->padding = (size_t) (-size & (STORE_TAR_BLOCK - 1));
}

/* The content of an extension record, as one run of bytes. */
static int tar_extension(StoreTar *tar, int64_t size, Buffer *ret)
{
        int r;

        if (size < 0 || size > EXTENSION_SIZE_MAX)
                return tar_problem(tar, "extension record too large");
        ret->size = 0;
        r = buffer_reserve(ret, (size_t) size + 1);
        if (r < 0)
                return r;
        tar_enter_data(tar, size);
        while (tar->left > 0) {
                const uint8_t *data;
                ssize_t n = store_tar_data(tar, SIZE_MAX, &data);

                if (n < 0)
                        return n;
                r = tar_show(tar, data, n);
                if (r >= 0)
                        r = buffer_append(ret, data, n);
                if (r < 0)
                        return r;
        }
        return tar_leave_entry(tar);
}

static char *field_string(const uint8_t *field, size_t size)
{
        return strndup((const char *) field, size);
}

static int header_path(const uint8_t *block, char **ret)
{
        char *name CLEANUP_FREE = field_string(block + NAME, NAME_SIZE);
        size_t prefix_size = PREFIX_SIZE;

        if (!name)
                return -ENOMEM;
        if (memcmp(block + MAGIC, "ustar\0", 6) == 0 && block[PREFIX]) {
                char *prefix CLEANUP_FREE = NULL;
                char *joined;

                if (memcmp(block + STAR_TRAILER, "tar\0", 4) == 0)
                        prefix_size = STAR_PREFIX_SIZE;
                prefix = field_string(block + PREFIX, prefix_size);
                joined = prefix ? path_join(prefix, name) : NULL;
                if (!joined)
                        return -ENOMEM;
                *ret = joined;
                return 0;
        }
        *ret = TAKE_PTR(name);
        return 0;
}

static int header_numbers(const uint8_t *block, StoreTarEntry *entry)
{
        int64_t mode, uid, gid, size, mtime, major = 0, minor = 0;

        if (field_number(block + MODE, 8, &mode) < 0 || field_number(block + UID, 8, &uid) < 0 ||
            field_number(block + GID, 8, &gid) < 0 || field_number(block + SIZE, 12, &size) < 0 ||
            field_number(block + MTIME, 12, &mtime) < 0)
                return -EBADMSG;
        if (memcmp(block + MAGIC, "ustar", 5) == 0 &&
            (field_number(block + MAJOR, 8, &major) < 0 || field_number(block + MINOR, 8, &minor) < 0))
                return -EBADMSG;
        if (uid < 0 || uid > UINT32_MAX - 1 || gid < 0 || gid > UINT32_MAX - 1 || size < 0)
                return -EBADMSG;
        entry->mode = (mode_t) (mode & 07777);
        entry->uid = (uid_t) uid;
        entry->gid = (gid_t) gid;
        entry->size = size;
        entry->mtime.tv_sec = mtime;
        entry->major = (unsigned) major;
        entry->minor = (unsigned) minor;
        return 0;
}

static int header_parse(StoreTar *tar, const uint8_t *block, StoreTarEntry *entry)
{
        int r;

        if (!checksum_is_right(block) || header_numbers(block, entry) < 0)
                return tar_problem(tar, "invalid tar header");
        r = header_path(block, &entry->path);
        if (r < 0)
                return r;
        entry->link = field_string(block + LINK, LINK_SIZE);
        if (!entry->link)
                return -ENOMEM;
        entry->type = (char) block[TYPE];
        if (entry->type == 0)
                entry->type = str_has_suffix(entry->path, "/") ? '5' : '0';
        else if (entry->type == '7')
                entry->type = '0';
        return 0;
}

static bool type_has_data(char type)
{
        return type < '1' || type > '6';
}

/* Checks and adds one extent. Empty ones, as those that only mark the end of a file, are dropped. */
static int entry_add_extent(StoreTarEntry *entry, int64_t offset, int64_t size, size_t *allocated)
{
        int64_t end = entry->n_extents > 0
                              ? entry->extents[entry->n_extents - 1].offset + entry->extents[entry->n_extents - 1].size
                              : 0;

        if (offset < end || size < 0 || entry->n_extents >= EXTENTS_MAX || offset > INT64_MAX - size)
                return -EBADMSG;
        if (size == 0)
                return 0;
        if (entry->n_extents == *allocated) {
                size_t want = MAX(*allocated * 2, (size_t) 16);
                StoreTarExtent *grown = reallocarray(entry->extents, want, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                entry->extents = grown;
                *allocated = want;
        }
        entry->extents[entry->n_extents++] = (StoreTarExtent) { offset, size };
        return 0;
}

static int sparse_fields(StoreTarEntry *entry, const uint8_t *field, size_t count, size_t *allocated)
{
        for (size_t i = 0; i < count; i++, field += SPARSE_ENTRY_SIZE) {
                int64_t offset, size;
                int r;

                if (field[0] == 0)
                        return 0;
                if (field_number(field, 12, &offset) < 0 || field_number(field + 12, 12, &size) < 0)
                        return -EBADMSG;
                r = entry_add_extent(entry, offset, size, allocated);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* GNU's old form: the map is in the header and in the blocks that follow it. */
static int sparse_gnu(StoreTar *tar, const uint8_t *header, StoreTarEntry *entry)
{
        uint8_t block[STORE_TAR_BLOCK];
        size_t allocated = 0;
        bool extended = header[GNU_EXTENDED];
        int r;

        r = sparse_fields(entry, header + GNU_SPARSE, HEADER_SPARSE_ENTRIES, &allocated);
        while (r >= 0 && extended) {
                r = tar_block(tar, block);
                if (r <= 0)
                        return r < 0 ? r : tar_problem(tar, "unexpected EOF");
                r = sparse_fields(entry, block, BLOCK_SPARSE_ENTRIES, &allocated);
                extended = block[BLOCK_EXTENDED];
        }
        if (r < 0 || field_number(header + GNU_REAL_SIZE, 12, &entry->size) < 0 || entry->size < 0)
                return r == -ENOMEM ? r : tar_problem(tar, "invalid sparse map");
        entry->sparse = true;
        entry->type = '0';
        return 0;
}

/* pax forms 0.0 and 0.1: the map came in the record. */
static int sparse_list(StoreTarEntry *entry, const char *map)
{
        size_t allocated = 0;

        while (*map) {
                char *end;
                int64_t offset, size;
                int r;

                offset = strtoll(map, &end, 10);
                if (end == map || *end != ',')
                        return -EBADMSG;
                map = end + 1;
                size = strtoll(map, &end, 10);
                if (end == map || (*end && *end != ','))
                        return -EBADMSG;
                map = *end ? end + 1 : end;
                r = entry_add_extent(entry, offset, size, &allocated);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* One decimal line of the map that pax form 1.0 puts in front of the content. */
static int sparse_line(StoreTar *tar, int64_t *ret)
{
        int64_t value = 0;

        for (size_t digits = 0;; digits++) {
                const uint8_t *data;
                ssize_t n = store_tar_data(tar, 1, &data);
                int r;

                if (n <= 0)
                        return n < 0 ? n : -EBADMSG;
                r = tar_show(tar, data, 1);
                if (r < 0)
                        return r;
                if (*data == '\n') {
                        *ret = value;
                        return digits > 0 ? 0 : -EBADMSG;
                }
                if (*data < '0' || *data > '9' || digits >= 18)
                        return -EBADMSG;
                value = value * 10 + (*data - '0');
        }
}

static int sparse_in_data(StoreTar *tar, StoreTarEntry *entry)
{
        int64_t count, stored = tar->left, rest;
        size_t allocated = 0;
        int r;

        r = sparse_line(tar, &count);
        for (int64_t i = 0; r >= 0 && i < count; i++) {
                int64_t offset, size;

                r = sparse_line(tar, &offset);
                if (r >= 0)
                        r = sparse_line(tar, &size);
                if (r >= 0)
                        r = entry_add_extent(entry, offset, size, &allocated);
        }
        if (r < 0)
                return r;
        rest = -(stored - tar->left) & (STORE_TAR_BLOCK - 1);
        if (rest > tar->left)
                return -EBADMSG;
        tar->left -= rest;
        return tar_skip(tar, &rest);
}

/* The map must account for every stored byte and stay within the file. */
static int sparse_check(const StoreTar *tar, const StoreTarEntry *entry)
{
        int64_t stored = 0, end = 0;

        for (size_t i = 0; i < entry->n_extents; i++) {
                stored += entry->extents[i].size;
                end = entry->extents[i].offset + entry->extents[i].size;
        }
        return stored == tar->left && end <= entry->size ? 0 : -EBADMSG;
}

static int entry_enter(StoreTar *tar, const uint8_t *block, const StorePax *pax, int64_t stored, StoreTarEntry *entry)
{
        int r = 0;

        if (entry->type == 'S') {
                r = sparse_gnu(tar, block, entry);
                if (r < 0)
                        return r;
        }
        if (!type_has_data(entry->type)) {
                entry->size = 0;
                stored = 0;
        }
        tar_enter_data(tar, stored);
        if (pax->sparse_in_data || pax->sparse_map.size > 0 || pax->sparse_size >= 0) {
                if (entry->type != '0')
                        return tar_problem(tar, "invalid sparse map");
                if (pax->sparse_in_data)
                        r = sparse_in_data(tar, entry);
                else if (pax->sparse_map.size > 0)
                        r = sparse_list(entry, pax->sparse_map.data);
                entry->sparse = true;
                entry->size = pax->sparse_size;
        }
        if (r >= 0 && entry->sparse)
                r = sparse_check(tar, entry);
        return r == -EBADMSG ? tar_problem(tar, tar->problem ?: "invalid sparse map") : r;
}

/* Reads blocks up to the next entry's header, gathering its extension records. 1 with BLOCK filled, 0 at the end. */
static int tar_header(StoreTar *tar, uint8_t *block, StorePax *pax, StoreTarEntry *entry)
{
        int r;

        for (;;) {
                Buffer extension CLEANUP_BUFFER = {};

                r = tar_block(tar, block);
                if (r <= 0)
                        return r;
                if (block_is_zero(block)) {
                        r = tar_block(tar, block);
                        if (r > 0 && !block_is_zero(block))
                                return tar_problem(tar, "invalid tar header");
                        return r < 0 ? r : 0;
                }
                store_tar_entry_clear(entry);
                r = header_parse(tar, block, entry);
                if (r < 0)
                        return r;
                if (entry->type != 'x' && entry->type != 'L' && entry->type != 'K')
                        return 1;
                r = tar_extension(tar, entry->size, &extension);
                if (r >= 0)
                        r = entry->type == 'x' ? store_pax_parse(pax, extension.data, extension.size)
                                               : store_pax_set_gnu(pax, entry->type, extension.data, extension.size);
                if (r < 0)
                        return r == -EBADMSG ? tar_problem(tar, tar->problem ?: "invalid tar header") : r;
        }
}

int store_tar_next(StoreTar *tar, StoreTarEntry *ret)
{
        StorePax pax CLEANUP_PAX = STORE_PAX_EMPTY;
        StoreTarEntry entry CLEANUP_TAR_ENTRY = {};
        uint8_t block[STORE_TAR_BLOCK];
        int64_t stored;
        int r;

        if (tar->ended)
                return 0;
        tar->problem = NULL;
        r = tar_leave_entry(tar);
        if (r < 0)
                return r;
        r = tar_header(tar, block, &pax, &entry);
        if (r == 0)
                tar->ended = true;
        if (r <= 0)
                return r;
        if (entry.type != 'g') {
                r = store_pax_apply(&pax, &entry);
                if (r < 0)
                        return r == -EBADMSG ? tar_problem(tar, "invalid tar header") : r;
        }
        stored = entry.size;
        r = entry_enter(tar, block, &pax, stored, &entry);
        if (r < 0)
                return r;
        *ret = entry;
        entry = (StoreTarEntry) {};
        return 1;
}

ssize_t store_tar_data(StoreTar *tar, size_t max, const uint8_t **ret)
{
        ssize_t n;

        if (tar->left == 0)
                return 0;
        n = store_stream_take(tar->stream, (size_t) MIN((uint64_t) max, (uint64_t) tar->left), ret);
        if (n < 0)
                return n;
        if (n == 0)
                return tar_problem(tar, "unexpected EOF");
        tar->left -= n;
        return n;
}

int store_tar_finish(StoreTar *tar)
{
        for (;;) {
                const uint8_t *data;
                ssize_t n = store_stream_take(tar->stream, SIZE_MAX, &data);
                int r;

                if (n <= 0)
                        return n;
                r = tar_show(tar, data, n);
                if (r < 0)
                        return r;
        }
}
