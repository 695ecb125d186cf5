/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of a log's text is UTF-8. */
#pragma once

#include <stddef.h>

/* The length of the character at DATA (SIZE is at least 1), or 0 where no valid one is. */
size_t logfile_utf8_length(const unsigned char *data, size_t size);
