/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text people read: sizes, durations, tables, quoting; and the sizes they type. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "berth/buffer.h"

/* Decimal units with PRECISION significant digits, "7.9MB". Owned by the caller. */
char *text_size(double bytes, int precision);

/* Binary units, "1.5GiB". */
char *text_size_binary(double bytes);

/* "64m", "1.5g", "512" (binary units) in bytes. 0 or -EINVAL. */
int text_parse_size(const char *s, int64_t *ret);

/* "1.5" in thousand-millionths. 0 or -EINVAL. */
int text_parse_nano(const char *s, int64_t *ret);

/* At most COLUMNS characters, the last of them an ellipsis where S was longer. */
char *text_ellipsis(const char *s, size_t columns);

/* S in double quotes with Go's escapes, appended. */
int text_append_quoted(Buffer *buffer, const char *s);

/* Columns that S takes: characters, not bytes. */
size_t text_columns(const char *s, size_t size);

/* Aligns lines whose cells end with a tab: a column is as wide as its widest cell in a run of neighbouring lines, plus
 * PADDING, and at least MINIMUM. What follows the last tab of a line is not aligned. */
int text_align(const char *text, size_t minimum, size_t padding, Buffer *out);

/* "2006-01-02 15:04:05 +0000 UTC", the local time as Go prints it. */
char *text_time(int64_t seconds);

/* "2006-01-02T15:04:05+01:00", local time; and with nine digits of the second, as events are printed. */
char *text_time_rfc3339(int64_t seconds);
char *text_time_nano(int64_t ns);

/* The layout of `ctime` used for build times, "Mon Jan  2 15:04:05 2006"; the input itself where it is no time. */
char *text_build_time(const char *rfc3339);
