/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "berth/sha1.h"

#include <string.h>

#define BLOCK_SIZE 64u

static uint32_t rotate(uint32_t value, unsigned bits)
{
        return value << bits | value >> (32 - bits);
}

static uint32_t load(const uint8_t *bytes)
{
        return (uint32_t) bytes[0] << 24 | (uint32_t) bytes[1] << 16 | (uint32_t) bytes[2] << 8 | bytes[3];
}

static uint32_t mix(unsigned round, uint32_t b, uint32_t c, uint32_t d)
{
        switch (round / 20) {
        case 0:
                return ((b & c) | (~b & d)) + 0x5a827999;
        case 1:
                return (b ^ c ^ d) + 0x6ed9eba1;
        case 2:
                return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
        default:
                return (b ^ c ^ d) + 0xca62c1d6;
        }
}

static void digest_block(uint32_t state[static 5], const uint8_t *block)
{
        uint32_t words[80], v[5];

        for (unsigned i = 0; i < 16; i++)
                words[i] = load(block + 4 * i);
        for (unsigned i = 16; i < 80; i++)
                words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
        memcpy(v, state, sizeof(v));
        for (unsigned i = 0; i < 80; i++) {
                uint32_t next = rotate(v[0], 5) + mix(i, v[1], v[2], v[3]) + v[4] + words[i];
                v[4] = v[3];
                v[3] = v[2];
                v[2] = rotate(v[1], 30);
                v[1] = v[0];
                v[0] = next;
        }
        for (unsigned i = 0; i < 5; i++)
                state[i] += v[i];
}

void sha1(const void *data, size_t size, uint8_t ret_digest[static SHA1_SIZE])
{
        uint32_t state[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
        uint8_t last[2 * BLOCK_SIZE] = { 0 };
        const uint8_t *bytes = data;
        uint64_t bits = (uint64_t) size * 8;
        size_t left = size;

        for (; left >= BLOCK_SIZE; left -= BLOCK_SIZE, bytes += BLOCK_SIZE)
                digest_block(state, bytes);
        if (left > 0)
                memcpy(last, bytes, left);
        last[left] = 0x80;
        size_t padded = left + 9 <= BLOCK_SIZE ? BLOCK_SIZE : 2 * BLOCK_SIZE;
        for (unsigned i = 0; i < 8; i++)
                last[padded - 1 - i] = (uint8_t) (bits >> (8 * i));
        for (size_t at = 0; at < padded; at += BLOCK_SIZE)
                digest_block(state, last + at);
        for (unsigned i = 0; i < SHA1_SIZE; i++)
                ret_digest[i] = (uint8_t) (state[i / 4] >> (24 - 8 * (i % 4)));
}
