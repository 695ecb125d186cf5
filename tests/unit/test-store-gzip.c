/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading gzip, whatever the edges of the blocks it comes in: members in a row, padding behind them, headers with every
 * field, and that broken data is found. */
#include "store-stream.h"
#include "store-test.h"

typedef struct Pieces {
        StoreStream stream;
        const Buffer *data;
        size_t at, size; /* of a piece */
} Pieces;

static ssize_t pieces_next(StoreStream *stream, const uint8_t **ret)
{
        Pieces *pieces = (Pieces *) stream;
        size_t n = MIN(pieces->size, pieces->data->size - pieces->at);

        *ret = (const uint8_t *) pieces->data->data + pieces->at;
        pieces->at += n;
        return (ssize_t) n;
}

static int inflate(const Buffer *data, size_t piece, Buffer *ret)
{
        Pieces pieces = { .stream.next = pieces_next, .data = data, .size = piece };
        StoreInflateStream inflate CLEANUP_INFLATE_STREAM = {};

        assert_int_equal(store_inflate_stream_init(&inflate, &pieces.stream, STORE_GZIP), 0);
        for (;;) {
                const uint8_t *block;
                ssize_t n = store_stream_take(&inflate.stream, SIZE_MAX, &block);

                if (n <= 0)
                        return (int) n;
                assert_true(buffer_append(ret, block, (size_t) n) >= 0);
        }
}

static void assert_inflates(const Buffer *data, size_t piece, const Buffer *want)
{
        Buffer found CLEANUP_BUFFER = {};

        assert_int_equal(inflate(data, piece, &found), 0);
        assert_int_equal(found.size, want->size);
        assert_memory_equal(found.data, want->data, want->size);
}

/* Runs and noise, so that there are stored blocks as well as long matches. */
static void make_data(Buffer *data, size_t size, unsigned seed)
{
        while (data->size < size) {
                uint8_t block[1000];

                seed = seed * 1103515245 + 12345;
                for (size_t i = 0; i < sizeof(block); i++) {
                        if (seed & 0x10000)
                                seed = seed * 1103515245 + 12345;
                        block[i] = (uint8_t) (seed >> 20);
                }
                assert_true(buffer_append(data, block, sizeof(block)) >= 0);
        }
}

static const size_t piece_sizes[] = { 1, 2, 3, 7, 500, 4096, SIZE_MAX / 2 };

static void test_members(void **state)
{
        Buffer plain CLEANUP_BUFFER = {}, more CLEANUP_BUFFER = {}, packed CLEANUP_BUFFER = {};

        (void) state;
        make_data(&plain, 1300000, 7);
        make_data(&more, 3000, 9);
        compress_with(&plain, "gzip", &packed);
        compress_with(&more, "gzip", &packed);
        assert_true(buffer_append(&plain, more.data, more.size) >= 0);
        for (size_t i = 0; i < ARRAY_SIZE(piece_sizes); i++)
                assert_inflates(&packed, piece_sizes[i], &plain);
        assert_true(buffer_append(&packed, "\0\0\0\0", 4) >= 0);
        for (size_t i = 0; i < ARRAY_SIZE(piece_sizes); i++)
                assert_inflates(&packed, piece_sizes[i], &plain);
}

static void test_empty(void **state)
{
        Buffer plain CLEANUP_BUFFER = {}, packed CLEANUP_BUFFER = {};

        (void) state;
        compress_with(&plain, "gzip", &packed);
        for (size_t i = 0; i < ARRAY_SIZE(piece_sizes); i++)
                assert_inflates(&packed, piece_sizes[i], &plain);
}

/* Extra field, name, comment and the header's own checksum. */
static void test_header_fields(void **state)
{
        static const char header[] = "\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x03\0abcname\0words\0\x20\xf9";
        Buffer plain CLEANUP_BUFFER = {}, packed CLEANUP_BUFFER = {}, odd CLEANUP_BUFFER = {};

        (void) state;
        make_data(&plain, 5000, 3);
        compress_with(&plain, "gzip", &packed);
        assert_true(buffer_append(&odd, header, sizeof(header) - 3) >= 0);
        /* The low half of the CRC-32 of what is in front of it. */
        {
                uint32_t crc = ~0U;

                for (size_t i = 0; i < odd.size; i++) {
                        crc ^= (uint8_t) odd.data[i];
                        for (int bit = 0; bit < 8; bit++)
                                crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
                }
                crc = ~crc;
                assert_true(buffer_append(&odd, (uint8_t[]) { crc & 0xff, crc >> 8 & 0xff }, 2) >= 0);
        }
        assert_true(buffer_append(&odd, packed.data + 10, packed.size - 10) >= 0);
        for (size_t i = 0; i < ARRAY_SIZE(piece_sizes); i++)
                assert_inflates(&odd, piece_sizes[i], &plain);
}

static void test_broken(void **state)
{
        Buffer plain CLEANUP_BUFFER = {}, packed CLEANUP_BUFFER = {}, found CLEANUP_BUFFER = {};
        size_t whole;

        (void) state;
        make_data(&plain, 100000, 5);
        compress_with(&plain, "gzip", &packed);
        whole = packed.size;
        for (size_t cut = 1; cut < whole; cut += cut < 40 || cut > whole - 40 ? 1 : 997) {
                packed.size = whole - cut;
                found.size = 0;
                assert_int_equal(inflate(&packed, 4096, &found), -EBADMSG);
        }
        packed.size = whole;
        /* One bit of the data, of the checksum, and of the size. */
        for (size_t i = 0; i < 3; i++) {
                size_t at = i == 0 ? whole / 2 : whole - (i == 1 ? 8 : 4);

                packed.data[at] ^= 0x10;
                found.size = 0;
                assert_int_equal(inflate(&packed, 4096, &found), -EBADMSG);
                packed.data[at] ^= 0x10;
        }
        found.size = 0;
        assert_int_equal(inflate(&packed, 4096, &found), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_header_fields),
                cmocka_unit_test(test_broken),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
