/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "berth/json.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/string.h"

const char *json_get_string(const json_t *object, const char *key)
{
        return json_string_value(json_object_get(object, key));
}

const char *json_get_string_or(const json_t *object, const char *key, const char *fallback)
{
        const char *value = json_get_string(object, key);

        return value ? value : fallback;
}

int64_t json_get_int(const json_t *object, const char *key, int64_t fallback)
{
        const json_t *value = json_object_get(object, key);

        return json_is_integer(value) ? json_integer_value(value) : fallback;
}

bool json_get_bool(const json_t *object, const char *key)
{
        return json_is_true(json_object_get(object, key));
}

json_t *json_get_object(const json_t *object, const char *key)
{
        json_t *value = json_object_get(object, key);

        return json_is_object(value) ? value : NULL;
}

json_t *json_get_array(const json_t *object, const char *key)
{
        json_t *value = json_object_get(object, key);

        return json_is_array(value) ? value : NULL;
}

int json_set_string(json_t *object, const char *key, const char *value)
{
        if (!value) {
                json_object_del(object, key);
                return 0;
        }
        json_t *string = json_string(value);
        if (!string)
                return -EINVAL;
        return json_object_set_new(object, key, string) < 0 ? -ENOMEM : 0;
}

int json_set_int(json_t *object, const char *key, int64_t value)
{
        return json_object_set_new(object, key, json_integer(value)) < 0 ? -ENOMEM : 0;
}

int json_set_bool(json_t *object, const char *key, bool value)
{
        return json_object_set_new(object, key, json_boolean(value)) < 0 ? -ENOMEM : 0;
}

int json_read_at(int dirfd, const char *name, json_t **ret)
{
        CLEANUP_FREE char *text = NULL;
        size_t size;
        int r = file_read_at(dirfd, name, JSON_SIZE_MAX, &text, &size);
        if (r < 0)
                return r == -EFBIG ? -EBADMSG : r;

        json_t *value = json_loadb(text, size, JSON_DECODE_ANY, NULL);
        if (!value)
                return -EBADMSG;
        *ret = value;
        return 0;
}

static int write_at(int dirfd, const char *name, const json_t *value, mode_t mode,
                    int (*replace)(int, const char *, const void *, size_t, mode_t))
{
        CLEANUP_FREE char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        return text ? replace(dirfd, name, text, strlen(text), mode) : -ENOMEM;
}

int json_write_at(int dirfd, const char *name, const json_t *value, mode_t mode)
{
        return write_at(dirfd, name, value, mode, file_replace_at);
}

int json_create_at(int dirfd, const char *name, const json_t *value, mode_t mode)
{
        return write_at(dirfd, name, value, mode, file_create_at);
}

int json_write_volatile_at(int dirfd, const char *name, const json_t *value, mode_t mode)
{
        return write_at(dirfd, name, value, mode, file_replace_volatile_at);
}

int json_rewrite_at(int dirfd, const char *name, const json_t *value)
{
        CLEANUP_FREE char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        CLEANUP_CLOSE int fd = text ? openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
        off_t size = text ? (off_t) strlen(text) : 0;
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return text ? -errno : -ENOMEM;
        ssize_t n = pwrite(fd, text, (size_t) size, 0);
        if (n != size)
                return n < 0 ? -errno : -ENOSPC;
        return st.st_size > size && ftruncate(fd, size) < 0 ? -errno : 0;
}

char **json_to_strv(const json_t *array)
{
        char **strv = calloc(json_array_size(array) + 1, sizeof(char *));
        size_t n = 0, i;
        json_t *value;

        if (!strv)
                return NULL;
        json_array_foreach((json_t *) array, i, value) {
                if (!json_is_string(value))
                        continue;
                strv[n] = strdup(json_string_value(value));
                if (!strv[n]) {
                        strv_free(strv);
                        return NULL;
                }
                n++;
        }
        return strv;
}

json_t *json_from_strv(char *const *strv)
{
        CLEANUP_JSON json_t *array = json_array();

        for (; array && strv && *strv; strv++)
                if (json_array_append_new(array, json_string(*strv)) < 0)
                        return NULL;
        return TAKE_PTR(array);
}

json_t *json_sorted(const json_t *value)
{
        CLEANUP_FREE char *text = value ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;

        return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

char *json_line(const json_t *value)
{
        CLEANUP_FREE char *text = json_dumps(value, JSON_COMPACT);

        return text ? str_printf("%s\n", text) : NULL;
}
