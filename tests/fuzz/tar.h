/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the targets that take archives. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Makes the sums of all headers right, which mutation seldom does. */
static void fix_checksums(uint8_t *data, size_t size)
{
        for (; size >= 512; data += 512, size -= 512) {
                unsigned sum = 0;
                char text[8];

                if (memcmp(data + 257, "ustar", 5) != 0)
                        continue;
                memset(data + 148, ' ', 8);
                for (size_t i = 0; i < 512; i++)
                        sum += data[i];
                snprintf(text, sizeof(text), "%06o", sum & 0777777);
                memcpy(data + 148, text, sizeof(text));
        }
}
