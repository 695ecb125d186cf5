/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames of WebSockets in any division into reads, and what may not be sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/string.h"
#include "berth/websocket.h"

#define FINAL 0x80

/* A client's frame. */
static void frame(Buffer *output, unsigned first, const char *text)
{
        static const uint8_t mask[4] = { 0x11, 0xa2, 0x33, 0xc4 };
        size_t size = strlen(text);
        uint8_t head[4] = { (uint8_t) first, (uint8_t) (0x80 | (size < 126 ? size : 126)), (uint8_t) (size >> 8),
                            (uint8_t) size };

        assert_true(size <= UINT16_MAX);
        assert_int_equal(buffer_append(output, head, size < 126 ? 2 : 4), 0);
        assert_int_equal(buffer_append(output, mask, 4), 0);
        for (size_t i = 0; i < size; i++)
                assert_int_equal(buffer_append(output, &(char) { (char) (text[i] ^ mask[i % 4]) }, 1), 0);
}

static void check(const Buffer *input, int event, const char *data, const void *replies, size_t n_replies)
{
        for (size_t step = 1; step <= input->size; step++) {
                CLEANUP_BUFFER Buffer got = { 0 }, answered = { 0 };
                WebsocketReader reader = { 0 };
                int r = WEBSOCKET_GOES_ON;

                for (size_t i = 0; i < input->size; i += step)
                        r = websocket_feed(&reader, (const uint8_t *) input->data + i, MIN(step, input->size - i), &got,
                                           &answered);
                assert_int_equal(r, event);
                assert_string_equal(got.data ? got.data : "", data);
                assert_int_equal(answered.size, n_replies);
                if (n_replies > 0)
                        assert_memory_equal(answered.data, replies, n_replies);
        }
}

static void test_messages(void **state)
{
        CLEANUP_BUFFER Buffer input = { 0 };
        char text[300] = { 0 };
        (void) state;

        frame(&input, FINAL | WEBSOCKET_TEXT, "one");
        frame(&input, FINAL | WEBSOCKET_BINARY, "");
        frame(&input, WEBSOCKET_BINARY, "tw");
        frame(&input, FINAL | WEBSOCKET_PING, "well?");
        frame(&input, WEBSOCKET_CONTINUATION, "o");
        frame(&input, FINAL | WEBSOCKET_CONTINUATION, "");
        frame(&input, FINAL | WEBSOCKET_PONG, "unasked");
        check(&input, WEBSOCKET_GOES_ON, "onetwo", "\x8a\x05well?", 7);
        frame(&input, FINAL | WEBSOCKET_CLOSE, "");
        frame(&input, FINAL | WEBSOCKET_TEXT, "not read any more");
        check(&input, WEBSOCKET_CLOSED, "onetwo", "\x8a\x05well?", 7);

        buffer_clear(&input);
        memset(text, 'x', sizeof(text) - 1);
        frame(&input, FINAL | WEBSOCKET_BINARY, text);
        check(&input, WEBSOCKET_GOES_ON, text, NULL, 0);
}

static void test_what_breaks_it(void **state)
{
        static const struct {
                const char *bytes;
                size_t size;
        } bad[] = {
                { "\x82\x01x", 3 },              /* not masked */
                { "\xc2\x80", 2 },               /* a reserved bit */
                { "\x83\x80", 2 },               /* no such opcode */
                { "\x80\x80", 2 },               /* goes on with nothing */
                { "\x09\x80", 2 },               /* half a ping */
                { "\x89\xfe", 2 },               /* a long ping */
                { "\x88\x81", 2 },               /* half a reason */
                { "\x82\xfe\0\x7d\0\0\0\0", 8 }, /* a longer form than needed */
                { "\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", 14 },
                { "\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 14 }, /* more than there can be */
                { "\x02\x80\0\0\0\0\x82\x80", 8 },            /* a message within a message */
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                CLEANUP_BUFFER Buffer input = { 0 };

                assert_int_equal(buffer_append(&input, bad[i].bytes, bad[i].size), 0);
                check(&input, WEBSOCKET_BROKEN, "", NULL, 0);
                frame(&input, FINAL | WEBSOCKET_TEXT, "not read");
                check(&input, WEBSOCKET_BROKEN, "", NULL, 0);
        }
}

static void test_output(void **state)
{
        CLEANUP_BUFFER Buffer output = { 0 };
        static const size_t sizes[] = { 0, 125, 126, 65535, 65536 };
        CLEANUP_FREE char *text = calloc(1, 65536);
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                size_t head = sizes[i] < 126 ? 2 : sizes[i] < 65536 ? 4 : 10;

                buffer_clear(&output);
                assert_int_equal(websocket_append(&output, WEBSOCKET_BINARY, text, sizes[i]), 0);
                assert_int_equal(output.size, head + sizes[i]);
        }
        assert_memory_equal(output.data, "\x82\x7f\0\0\0\0\0\1\0\0", 10);
        buffer_clear(&output);
        assert_int_equal(websocket_append_close(&output, WEBSOCKET_NORMAL), 0);
        assert_int_equal(output.size, 4);
        assert_memory_equal(output.data, "\x88\x02\x03\xe8", 4);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_messages),
                cmocka_unit_test(test_what_breaks_it),
                cmocka_unit_test(test_output),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
