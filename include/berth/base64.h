/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RFC 4648, with padding. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Owned by the caller; NULL when out of memory. URL_SAFE: '-' and '_' in place of '+' and '/'. */
char *base64_encode(const void *data, size_t size, bool url_safe);

/* The standard alphabet, zero-terminated, owned by the caller. -EINVAL for what is none. */
int base64_decode(const char *text, char **ret, size_t *ret_size);
