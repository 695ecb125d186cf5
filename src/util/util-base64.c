/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "berth/base64.h"
#include "berth/cleanup.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t size, bool url_safe)
{
        const uint8_t *from = data;
        char *text = malloc((size + 2) / 3 * 4 + 1), *to = text;

        for (size_t i = 0; text && i < size; i += 3) {
                uint32_t bits =
                        from[i] << 16 | (i + 1 < size ? from[i + 1] << 8 : 0) | (i + 2 < size ? from[i + 2] : 0);

                for (size_t j = 0; j < 4; j++) {
                        char c = i + j > size ? '=' : alphabet[bits >> (18 - 6 * j) & 63];

                        *to++ = url_safe && c == '+' ? '-' : url_safe && c == '/' ? '_' : c;
                }
        }
        if (text)
                *to = 0;
        return text;
}

int base64_decode(const char *text, char **ret, size_t *ret_size)
{
        size_t length = strlen(text), size = 0;
        CLEANUP_FREE char *data = NULL;

        if (length % 4 != 0)
                return -EINVAL;
        data = malloc(length / 4 * 3 + 1);
        if (!data)
                return -ENOMEM;
        for (size_t i = 0; i < length; i += 4) {
                size_t padding = i + 4 < length ? 0 : (text[i + 3] == '=') + (text[i + 3] == '=' && text[i + 2] == '=');
                uint32_t bits = 0;

                for (size_t j = 0; j < 4; j++) {
                        const char *found = j >= 4 - padding ? alphabet : strchr(alphabet, text[i + j]);

                        if (!found)
                                return -EINVAL;
                        bits = bits << 6 | (uint32_t) (found - alphabet);
                }
                for (size_t j = 0; j < 3 - padding; j++)
                        data[size++] = (char) (bits >> (16 - 8 * j) & 255);
        }
        data[size] = 0;
        *ret = TAKE_PTR(data);
        *ret_size = size;
        return 0;
}
