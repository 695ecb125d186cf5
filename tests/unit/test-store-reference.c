/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Docker's grammar of image names, as tables. */
#include "store-test.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX
#define TEN "aaaaaaaaaa"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static void test_names(void **state)
{
        static const struct {
                const char *text, *normal, *familiar;
        } names[] = {
                { "busybox", "docker.io/library/busybox", "busybox" },
                { "busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36" },
                { "library/busybox", "docker.io/library/busybox", "busybox" },
                { "docker.io/busybox", "docker.io/library/busybox", "busybox" },
                { "index.docker.io/library/busybox", "docker.io/library/busybox", "busybox" },
                { "me/app:v1", "docker.io/me/app:v1", "me/app:v1" },
                { "library/a/b", "docker.io/library/a/b", "library/a/b" },
                { "localhost/app", "localhost/app", "localhost/app" },
                { "localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x" },
                { "localhost:5000", "docker.io/library/localhost:5000", "localhost:5000" },
                { "registry.example.com/a/b_c/d__e/f-g--h/i.j", "registry.example.com/a/b_c/d__e/f-g--h/i.j",
                  "registry.example.com/a/b_c/d__e/f-g--h/i.j" },
                { "HOST/app", "HOST/app", "HOST/app" },
                { "[fd00::1]:5000/app", "[fd00::1]:5000/app", "[fd00::1]:5000/app" },
                { "10.0.0.1:80/a:_T.x-1", "10.0.0.1:80/a:_T.x-1", "10.0.0.1:80/a:_T.x-1" },
                { "busybox@" DIGEST, "docker.io/library/busybox@" DIGEST, "busybox@" DIGEST },
                { "busybox:1@" DIGEST, "docker.io/library/busybox:1@" DIGEST, "busybox:1@" DIGEST },
                { "sha256:abc", "docker.io/library/sha256:abc", "sha256:abc" },
                { "docker.io/not.a.host/x", "docker.io/not.a.host/x", "docker.io/not.a.host/x" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                StoreReference reference CLEANUP_REFERENCE = {};
                char *normal CLEANUP_FREE = NULL, *familiar CLEANUP_FREE = NULL;

                assert_int_equal(store_reference_parse(names[i].text, &reference, NULL), 0);
                normal = store_reference_normal(&reference);
                familiar = store_reference_familiar(&reference);
                assert_string_equal(normal, names[i].normal);
                assert_string_equal(familiar, names[i].familiar);
        }
}

static void test_refusals(void **state)
{
        static const struct {
                const char *text, *message;
        } refused[] = {
                { "", "invalid reference format" },
                { ":tag", "invalid reference format" },
                { "a:", "invalid reference format" },
                { "a//b", "invalid reference format" },
                { "a/", "invalid reference format" },
                { "-a", "invalid reference format" },
                { "a-", "invalid reference format" },
                { "a..b", "invalid reference format" },
                { "a___b", "invalid reference format" },
                { "a b", "invalid reference format" },
                { "a:t:u", "invalid reference format" },
                { "a:-t", "invalid reference format" },
                { "a:" HUNDRED TEN TEN TEN, "invalid reference format" },
                { "host:port/a", "invalid reference format" },
                { "-host.example/a", "invalid reference format" },
                { "host.example./a", "invalid reference format" },
                { "a@sha256:abc", "invalid reference format" },
                { "a@", "invalid reference format" },
                { "a@sha256:" HEX "00", "invalid checksum digest length" },
                { "a@md5:" HEX, "unsupported digest algorithm" },
                { "Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase" },
                { "me/App:v1", "invalid reference format: repository name (me/App) must be lowercase" },
                { HEX, "invalid repository name (" HEX "), cannot specify 64-byte hexadecimal strings" },
                { "me/" HUNDRED HUNDRED TEN TEN TEN TEN TEN TEN,
                  "repository name must not be more than 255 characters" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                StoreReference reference CLEANUP_REFERENCE = {};
                Error error CLEANUP_ERROR = {};

                assert_int_equal(store_reference_parse(refused[i].text, &reference, &error), OUTCOME_BAD_REQUEST);
                assert_string_equal(error.message, refused[i].message);
                assert_null(reference.path);
        }
}

static void test_query(void **state)
{
        static const struct {
                const char *repo, *tag, *normal, *message;
        } queries[] = {
                { "busybox", "", "docker.io/library/busybox:latest", NULL },
                { "busybox", NULL, "docker.io/library/busybox:latest", NULL },
                { "busybox", "1", "docker.io/library/busybox:1", NULL },
                { "busybox:2", "", "docker.io/library/busybox:2", NULL },
                { "busybox", DIGEST, "docker.io/library/busybox@" DIGEST, NULL },
                { "busybox", "a b", NULL, "invalid tag format" },
                { "Busybox", "a", NULL,
                  "invalid reference format: repository name (library/Busybox) must be lowercase" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
                StoreReference reference CLEANUP_REFERENCE = {};
                Error error CLEANUP_ERROR = {};
                char *normal CLEANUP_FREE = NULL;
                int r = store_reference_from_query(queries[i].repo, queries[i].tag, &reference, &error);

                assert_int_equal(r, queries[i].message ? OUTCOME_BAD_REQUEST : 0);
                if (queries[i].message) {
                        assert_string_equal(error.message, queries[i].message);
                        continue;
                }
                normal = store_reference_normal(&reference);
                assert_string_equal(normal, queries[i].normal);
        }
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_query),
        };

        return cmocka_run_group_tests_name("store-reference", tests, NULL, NULL);
}
