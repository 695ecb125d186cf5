/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "berth/buffer.h"

/* Appends the JSON text DATA laid out with four blanks a level, starting at LEVEL (negative: all on one line), its
 * bytes and order otherwise kept. 0 or -ENOMEM. */
int client_indent(const char *data, size_t size, int level, Buffer *out);
