/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "berth/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "berth/string.h"

void buffer_clear(Buffer *buffer)
{
        cleanup_free_ptr(&buffer->data);
        *buffer = (Buffer) { 0 };
}

int buffer_reserve(Buffer *buffer, size_t extra)
{
        if (extra > SIZE_MAX / 2 - buffer->size - 1)
                return -ENOMEM;
        size_t wanted = buffer->size + extra + 1;
        if (wanted <= buffer->capacity)
                return 0;

        size_t capacity = MAX(wanted, buffer->capacity * 2);
        char *data = realloc(buffer->data, capacity);
        if (!data)
                return -ENOMEM;
        buffer->data = data;
        buffer->capacity = capacity;
        buffer->data[buffer->size] = 0;
        return 0;
}

int buffer_append(Buffer *buffer, const void *data, size_t size)
{
        int r = buffer_reserve(buffer, size);
        if (r < 0)
                return r;
        if (size > 0)
                memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
        buffer->data[buffer->size] = 0;
        return 0;
}

int buffer_append_string(Buffer *buffer, const char *string)
{
        return buffer_append(buffer, string, strlen(string));
}

int buffer_printf(Buffer *buffer, const char *format, ...)
{
        CLEANUP_FREE char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        int n = vasprintf(&text, format, arguments);
        va_end(arguments);
        if (n < 0) {
                text = NULL;
                return -ENOMEM;
        }
        return buffer_append(buffer, text, (size_t) n);
}

void buffer_consume(Buffer *buffer, size_t size)
{
        size = MIN(size, buffer->size);
        if (size == 0)
                return;
        buffer->size -= size;
        memmove(buffer->data, buffer->data + size, buffer->size);
        buffer->data[buffer->size] = 0;
}

ssize_t buffer_read(Buffer *buffer, int fd, size_t size)
{
        int r = buffer_reserve(buffer, size);
        if (r < 0)
                return r;
        ssize_t n = read(fd, buffer->data + buffer->size, size);
        if (n < 0)
                return -errno;
        buffer->size += (size_t) n;
        buffer->data[buffer->size] = 0;
        return n;
}

char *buffer_take(Buffer *buffer)
{
        if (buffer_reserve(buffer, 0) < 0)
                return NULL;
        char *data = TAKE_PTR(buffer->data);
        *buffer = (Buffer) { 0 };
        return data;
}

bool buffer_line(const Buffer *buffer, size_t *ret_length)
{
        const char *end = buffer->size > 0 ? memchr(buffer->data, '\n', buffer->size) : NULL;

        if (!end)
                return false;
        *ret_length = (size_t) (end - buffer->data);
        return true;
}
