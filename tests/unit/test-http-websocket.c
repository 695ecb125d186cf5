/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The answer to a WebSocket client's key. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http-server.h"

static void test_keys(void **state)
{
        char accept[HTTP_WEBSOCKET_ACCEPT_SIZE];
        (void) state;

        assert_int_equal(http_websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", accept), 0); /* the RFC's own */
        assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_int_equal(http_websocket_accept("", accept), -EINVAL);
        assert_int_equal(http_websocket_accept("dGhlIHNhbXBsZSBub25jZQ", accept), -EINVAL);
        assert_int_equal(http_websocket_accept("dGhlIHNhbXBsZSBub25jZSEh", accept), -EINVAL);
        assert_int_equal(http_websocket_accept("dGhlIHNhbXBsZSBub25j?Q==", accept), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_keys) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
