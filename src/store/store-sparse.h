/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files with holes in them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeros that are not written: at such a boundary, so many of them. */
#define STORE_HOLE_SIZE (64 * 1024)

/* Writes at OFFSET of a new file. Where that HAS its full SIZE already, zeros are left out and stay holes. Negative
 * errno. */
int store_write_run(int fd, bool has_size, const uint8_t *data, size_t size, int64_t offset);
