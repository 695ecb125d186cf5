/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A growable run of bytes, kept zero-terminated. The empty value is {}. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "berth/cleanup.h"

typedef struct Buffer {
        char *data;      /* owned; NULL while nothing was ever added */
        size_t size;     /* bytes in use */
        size_t capacity; /* bytes allocated */
} Buffer;

void buffer_clear(Buffer *buffer);

/* All of these return 0 or -ENOMEM, and leave the buffer as it was on failure. */
int buffer_reserve(Buffer *buffer, size_t extra);
int buffer_append(Buffer *buffer, const void *data, size_t size);
int buffer_append_string(Buffer *buffer, const char *string);
int buffer_printf(Buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops SIZE bytes from the front. */
void buffer_consume(Buffer *buffer, size_t size);

/* Whether a whole line is at the front, and how long it is without its newline, which is to be consumed with it. */
bool buffer_line(const Buffer *buffer, size_t *ret_length);

/* Reads once, up to SIZE bytes, onto the end. Returns bytes read, 0 at the end of the stream, negative errno. */
ssize_t buffer_read(Buffer *buffer, int fd, size_t size);

/* Gives the memory away as a string (never NULL on success) and empties the buffer; NULL when out of memory. */
char *buffer_take(Buffer *buffer);

#define CLEANUP_BUFFER CLEANUP(buffer_clear)
