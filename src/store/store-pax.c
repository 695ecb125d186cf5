/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pax records are lines "LENGTH KEY=VALUE\n" whose length counts all of the line; values are bytes. Keys are dispatched
 * by a table; unknown ones are passed over. */
#include "store-pax.h"

#include <ctype.h>
#include <string.h>

#include "berth/base64.h"
#include "berth/string.h"

#define XATTR_PREFIX "SCHILY.xattr."
#define ESCAPED_PREFIX "LIBARCHIVE.xattr."
#define XATTRS_MAX 1024

void store_pax_clear(StorePax *pax)
{
        free(pax->path);
        free(pax->link);
        free(pax->sparse_path);
        for (size_t i = 0; i < pax->n_xattrs; i++) {
                free(pax->xattrs[i].name);
                free(pax->xattrs[i].value);
        }
        free(pax->xattrs);
        buffer_clear(&pax->sparse_map);
        *pax = (StorePax) STORE_PAX_EMPTY;
}

/* A name. An empty one takes back what was said; a zero byte within it is an attack on somebody's C. */
static int set_name(char **name, const char *value, size_t size)
{
        char *copy = NULL;

        if (memchr(value, 0, size))
                return -EBADMSG;
        if (size > 0) {
                copy = strndup(value, size);
                if (!copy)
                        return -ENOMEM;
        }
        free(*name);
        *name = copy;
        return 0;
}

static int set_path(StorePax *pax, const char *value, size_t size)
{
        return set_name(&pax->path, value, size);
}

static int set_link(StorePax *pax, const char *value, size_t size)
{
        return set_name(&pax->link, value, size);
}

static int set_sparse_path(StorePax *pax, const char *value, size_t size)
{
        return set_name(&pax->sparse_path, value, size);
}

static int set_number(int64_t *number, bool *has, const char *value, size_t size, int64_t max)
{
        char text[24];

        if (size >= sizeof(text))
                return -EBADMSG;
        memcpy(text, value, size);
        text[size] = 0;
        *has = size > 0;
        return size == 0 || str_to_int64(text, 0, max, number) >= 0 ? 0 : -EBADMSG;
}

static int set_size(StorePax *pax, const char *value, size_t size)
{
        return set_number(&pax->size, &pax->has_size, value, size, INT64_MAX - STORE_TAR_BLOCK);
}

static int set_uid(StorePax *pax, const char *value, size_t size)
{
        return set_number(&pax->uid, &pax->has_uid, value, size, UINT32_MAX - 1);
}

static int set_gid(StorePax *pax, const char *value, size_t size)
{
        return set_number(&pax->gid, &pax->has_gid, value, size, UINT32_MAX - 1);
}

/* Decimal seconds with a fraction of any length, also before the epoch. */
static int set_mtime(StorePax *pax, const char *value, size_t size)
{
        bool negative = size > 0 && *value == '-';
        int64_t seconds = 0;
        long nanoseconds = 0, unit = 100000000;
        size_t i = negative ? 1 : 0, digits = 0;

        pax->has_mtime = size > 0;
        if (size == 0)
                return 0;
        for (; i < size && value[i] >= '0' && value[i] <= '9'; i++, digits++) {
                if (digits >= 18)
                        return -EBADMSG;
                seconds = seconds * 10 + (value[i] - '0');
        }
        if (digits == 0)
                return -EBADMSG;
        if (i < size && value[i] == '.')
                for (i++; i < size && value[i] >= '0' && value[i] <= '9'; i++, unit /= 10)
                        nanoseconds += (value[i] - '0') * unit;
        if (i < size)
                return -EBADMSG;
        if (negative) {
                seconds = -seconds;
                if (nanoseconds > 0) {
                        seconds--;
                        nanoseconds = 1000000000 - nanoseconds;
                }
        }
        pax->mtime = (struct timespec) { .tv_sec = seconds, .tv_nsec = nanoseconds };
        return 0;
}

static int set_sparse_major(StorePax *pax, const char *value, size_t size)
{
        pax->sparse_in_data = size == 1 && *value == '1';
        return 0;
}

static int set_sparse_size(StorePax *pax, const char *value, size_t size)
{
        bool has;

        return set_number(&pax->sparse_size, &has, value, size, INT64_MAX);
}

static int set_sparse_map(StorePax *pax, const char *value, size_t size)
{
        if (memchr(value, 0, size))
                return -EBADMSG;
        pax->sparse_map.size = 0;
        return buffer_append(&pax->sparse_map, value, size);
}

/* Form 0.0 repeats the keys; they are gathered into the list that form 0.1 has. */
static int add_sparse_number(StorePax *pax, const char *value, size_t size)
{
        int r = 0;

        if (memchr(value, ',', size) || memchr(value, 0, size))
                return -EBADMSG;
        if (pax->sparse_map.size > 0)
                r = buffer_append(&pax->sparse_map, ",", 1);
        return r < 0 ? r : buffer_append(&pax->sparse_map, value, size);
}

static const struct {
        const char *key;
        int (*set)(StorePax *pax, const char *value, size_t size);
} pax_keys[] = {
        { "path", set_path },
        { "linkpath", set_link },
        { "size", set_size },
        { "uid", set_uid },
        { "gid", set_gid },
        { "mtime", set_mtime },
        { "GNU.sparse.major", set_sparse_major },
        { "GNU.sparse.name", set_sparse_path },
        { "GNU.sparse.size", set_sparse_size },
        { "GNU.sparse.realsize", set_sparse_size },
        { "GNU.sparse.map", set_sparse_map },
        { "GNU.sparse.offset", add_sparse_number },
        { "GNU.sparse.numbytes", add_sparse_number },
};

static int add_xattr(StorePax *pax, const char *name, size_t name_size, const char *value, size_t size)
{
        StoreTarXattr *grown, xattr = { .size = size };

        if (name_size == 0 || name_size > 255 || memchr(name, 0, name_size) || pax->n_xattrs >= XATTRS_MAX)
                return -EBADMSG;
        grown = reallocarray(pax->xattrs, pax->n_xattrs + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        pax->xattrs = grown;
        xattr.name = strndup(name, name_size);
        xattr.value = malloc(size + 1);
        if (!xattr.name || !xattr.value) {
                free(xattr.name);
                free(xattr.value);
                return -ENOMEM;
        }
        memcpy(xattr.value, value, size);
        pax->xattrs[pax->n_xattrs++] = xattr;
        return 0;
}

static int unescape(const char *text, size_t size, char ret[static 256])
{
        size_t n = 0;

        for (size_t i = 0; i < size; i++) {
                char c = text[i];

                if (c == '%' && i + 2 < size && isxdigit((unsigned char) text[i + 1]) &&
                    isxdigit((unsigned char) text[i + 2])) {
                        const char digits[] = { text[i + 1], text[i + 2], 0 };

                        c = (char) strtoul(digits, NULL, 16);
                        i += 2;
                }
                if (c == 0 || n == 255)
                        return -EBADMSG;
                ret[n++] = c;
        }
        ret[n] = 0;
        return 0;
}

/* Libarchive's form, which is there beside the other one; it is needed for the names that the other one has no room
 * for. Docker does not know it: what is wrong in it is passed over. */
static int add_escaped_xattr(StorePax *pax, const char *name, size_t name_size, const char *value, size_t size)
{
        char plain[256];
        char *padded CLEANUP_FREE = NULL, *data CLEANUP_FREE = NULL;
        size_t data_size;
        int r;

        if (unescape(name, name_size, plain) < 0 || !strchr(plain, '=') || memchr(value, 0, size))
                return 0;
        padded = str_printf("%.*s%.*s", (int) size, value, (int) (-size & 3), "===");
        if (!padded)
                return -ENOMEM;
        r = base64_decode(padded, &data, &data_size);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        return add_xattr(pax, plain, strlen(plain), data, data_size);
}

static int pax_set(StorePax *pax, const char *key, size_t key_size, const char *value, size_t size)
{
        static const size_t prefix_size = sizeof(XATTR_PREFIX) - 1, escaped_size = sizeof(ESCAPED_PREFIX) - 1;

        for (size_t i = 0; i < ARRAY_SIZE(pax_keys); i++)
                if (strlen(pax_keys[i].key) == key_size && memcmp(pax_keys[i].key, key, key_size) == 0)
                        return pax_keys[i].set(pax, value, size);
        if (key_size > prefix_size && memcmp(key, XATTR_PREFIX, prefix_size) == 0)
                return add_xattr(pax, key + prefix_size, key_size - prefix_size, value, size);
        if (key_size > escaped_size && memcmp(key, ESCAPED_PREFIX, escaped_size) == 0)
                return add_escaped_xattr(pax, key + escaped_size, key_size - escaped_size, value, size);
        return 0;
}

int store_pax_parse(StorePax *pax, const char *data, size_t size)
{
        while (size > 0) {
                const char *blank = memchr(data, ' ', MIN(size, (size_t) 8)), *equals;
                size_t length = 0, head;
                int r;

                if (!blank || blank == data)
                        return -EBADMSG;
                for (const char *p = data; p < blank; p++) {
                        if (*p < '0' || *p > '9')
                                return -EBADMSG;
                        length = length * 10 + (size_t) (*p - '0');
                }
                head = (size_t) (blank - data) + 1;
                if (length <= head || length > size || data[length - 1] != '\n')
                        return -EBADMSG;
                equals = memchr(blank + 1, '=', length - head - 1);
                if (!equals || equals == blank + 1)
                        return -EBADMSG;
                r = pax_set(pax, blank + 1, (size_t) (equals - blank) - 1, equals + 1,
                            (size_t) (data + length - 1 - (equals + 1)));
                if (r < 0)
                        return r;
                data += length;
                size -= length;
        }
        return 0;
}

int store_pax_set_gnu(StorePax *pax, char type, const char *data, size_t size)
{
        return set_name(type == 'L' ? &pax->path : &pax->link, data, strnlen(data, size));
}

int store_pax_apply(StorePax *pax, StoreTarEntry *entry)
{
        char **path = pax->sparse_path ? &pax->sparse_path : &pax->path;

        if (*path) {
                free(entry->path);
                entry->path = TAKE_PTR(*path);
        }
        if (pax->link) {
                free(entry->link);
                entry->link = TAKE_PTR(pax->link);
        }
        if (pax->has_size)
                entry->size = pax->size;
        if (entry->size > INT64_MAX - STORE_TAR_BLOCK)
                return -EBADMSG;
        if (pax->has_uid)
                entry->uid = (uid_t) pax->uid;
        if (pax->has_gid)
                entry->gid = (gid_t) pax->gid;
        if (pax->has_mtime)
                entry->mtime = pax->mtime;
        entry->xattrs = TAKE_PTR(pax->xattrs);
        entry->n_xattrs = pax->n_xattrs;
        pax->n_xattrs = 0;
        if ((pax->sparse_in_data || pax->sparse_map.size > 0) && pax->sparse_size < 0)
                return -EBADMSG;
        return 0;
}
