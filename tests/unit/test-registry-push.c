/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What registries say of uploads, and how layers are called. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "registry-blob.h"
#include "registry-location.h"
#include "registry-media.h"

static void check_location(const char *base, const char *location, const char *expected)
{
        CLEANUP_FREE char *found = NULL;
        int r = registry_location_resolve(base, location, &found);

        if (expected) {
                assert_int_equal(r, 0);
                assert_string_equal(found, expected);
        } else
                assert_int_equal(r, -EPROTO);
}

static void test_location_forms(void **state)
{
        const char *base = "https://r.test:5000/v2/a/b/blobs/uploads/?mount=x&from=y/z";
        (void) state;

        check_location(base, "/v2/a/b/blobs/uploads/1?_state=x%3D",
                       "https://r.test:5000/v2/a/b/blobs/uploads/1?_state=x%3D");
        check_location(base, "1?_state=x", "https://r.test:5000/v2/a/b/blobs/uploads/1?_state=x");
        check_location(base, "?k=v", "https://r.test:5000/v2/a/b/blobs/uploads/?k=v");
        check_location(base, "//other.test/up", "https://other.test/up");
        check_location(base, "https://other.test/up?sig=a/b:c", "https://other.test/up?sig=a/b:c");
        check_location(base, "/up?next=http://x/", "https://r.test:5000/up?next=http://x/");
        check_location(base, "/up#there", "https://r.test:5000/up");
        check_location("http://r.test", "up", "http://r.test/up");
        check_location("http://[::1]:5000/v2/x", "/up", "http://[::1]:5000/up");
        check_location("http://r.test/v2/", "http://cdn.test:81/up", "http://cdn.test:81/up");
}

static void test_location_stays_on_its_host(void **state)
{
        (void) state;

        /* A front end that speaks TLS for a registry that does not know of it. */
        check_location("https://r.test/v2/", "http://r.test/up?x", "https://r.test/up?x");
        check_location("https://r.test/v2/", "http://R.TEST:5000/up", "https://r.test/up");
        check_location("https://r.test/v2/", "https://r.test:443/up", "https://r.test/up");
        check_location("https://r.test:443/v2/", "https://r.test", "https://r.test:443");
        /* Another port is another service. */
        check_location("https://r.test/v2/", "https://r.test:8443/up", "https://r.test:8443/up");
        check_location("http://r.test:5000/v2/", "https://r.test/up", "https://r.test/up");
}

static void test_location_refused(void **state)
{
        (void) state;

        check_location("https://r.test/v2/", "http://other.test/up", NULL);
        check_location("https://r.test/v2/", "", NULL);
        check_location("https://r.test/v2/", "#x", NULL);
        check_location("https://r.test/v2/", "/a b", NULL);
        check_location("https://r.test/v2/", "/a\r\nX: y", NULL);
        check_location("https://r.test/v2/", "file:///etc/passwd", NULL);
        check_location("https://r.test/v2/", "ftp://r.test/x", NULL);
        check_location("nonsense", "/up", NULL);
}

static void check_with(const char *location, const char *expected)
{
        CLEANUP_FREE char *found = registry_location_with(location, "digest", "sha256:1");

        assert_string_equal(found, expected);
}

static void test_location_query(void **state)
{
        (void) state;

        check_with("http://r/up", "http://r/up?digest=sha256:1");
        check_with("http://r/up?", "http://r/up?digest=sha256:1");
        check_with("http://r/up?a=b", "http://r/up?a=b&digest=sha256:1");
        check_with("http://r/up?a=b&", "http://r/up?a=b&digest=sha256:1");
}

static void test_range(void **state)
{
        static const struct {
                const char *text;
                int64_t expected; /* negative: none */
        } cases[] = { { "0-0", 0 },
                      { "0-99", 100 },
                      { "bytes=0-99", 100 },
                      { "bytes 0-99", 100 },
                      { "1-99", -1 },
                      { "0-", -1 },
                      { "0--1", -1 },
                      { "0-9x", -1 },
                      { "", -1 },
                      { "bytes", -1 },
                      { "0-9223372036854775807", -1 } };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                int64_t received = -1;
                int r = registry_range_received(cases[i].text, &received);

                assert_int_equal(r, cases[i].expected < 0 ? -EPROTO : 0);
                assert_int_equal(received, cases[i].expected);
        }
        assert_int_equal(registry_range_received(NULL, &(int64_t) { 0 }), -EPROTO);
}

static void test_retry_after(void **state)
{
        /* Sun, 06 Nov 1994 08:49:37 GMT */
        const int64_t then = 784111777;
        unsigned seconds = 7;
        (void) state;

        assert_int_equal(registry_retry_after(NULL, then, 60, &seconds), -ENOENT);
        assert_int_equal(registry_retry_after("soon", then, 60, &seconds), -EPROTO);
        assert_int_equal(registry_retry_after("-1", then, 60, &seconds), -EPROTO);
        assert_int_equal(seconds, 7);
        assert_int_equal(registry_retry_after("12", then, 60, &seconds), 0);
        assert_int_equal(seconds, 12);
        assert_int_equal(registry_retry_after("86400", then, 60, &seconds), 0);
        assert_int_equal(seconds, 60);
        assert_int_equal(registry_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", then - 30, 60, &seconds), 0);
        assert_int_equal(seconds, 30);
        assert_int_equal(registry_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", then + 30, 60, &seconds), 0);
        assert_int_equal(seconds, 0);
}

static void test_worth_retry(void **state)
{
        static const struct {
                int result, status;
                bool expected;
        } cases[] = { { OUTCOME_UNAVAILABLE, 0, true },
                      { OUTCOME_FAILED, 503, false },
                      { -ECANCELED, 503, false },
                      { 0, 201, false },
                      { 0, 401, false },
                      { 0, 404, false },
                      { 0, 408, true },
                      { 0, 429, true },
                      { 0, 500, true },
                      { 0, 501, false },
                      { 0, 503, true } };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                RegistryResponse response = { .status = cases[i].status, .retry_after = (char *) "3" };
                unsigned seconds = 1;

                assert_int_equal(registry_worth_retry(cases[i].result, &response, &seconds), cases[i].expected);
                assert_int_equal(seconds, cases[i].expected && cases[i].result == 0 ? 3 : 1);
        }
}

static void test_layer_types(void **state)
{
        static const char docker[] = "application/vnd.docker.image.rootfs.diff.tar",
                          oci[] = "application/vnd.oci.image.layer.v1.tar";
        static const char *const suffixes[][2] = { { "", "" }, { ".gzip", "+gzip" }, { ".zstd", "+zstd" } };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                char a[80], b[80];

                snprintf(a, sizeof(a), "%s%s", docker, suffixes[i][0]);
                snprintf(b, sizeof(b), "%s%s", oci, suffixes[i][1]);
                assert_string_equal(registry_layer_type(a, true), b);
                assert_string_equal(registry_layer_type(b, true), b);
                assert_string_equal(registry_layer_type(a, false), a);
                assert_string_equal(registry_layer_type(b, false), a);
                assert_int_equal(registry_type_is_gzip(a), i == 1);
                assert_int_equal(registry_type_is_gzip(b), i == 1);
        }
        assert_string_equal(registry_layer_type("application/x-other", true), "application/x-other");
        assert_false(registry_type_is_gzip(NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_location_forms),
                cmocka_unit_test(test_location_stays_on_its_host),
                cmocka_unit_test(test_location_refused),
                cmocka_unit_test(test_location_query),
                cmocka_unit_test(test_range),
                cmocka_unit_test(test_retry_after),
                cmocka_unit_test(test_worth_retry),
                cmocka_unit_test(test_layer_types),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
