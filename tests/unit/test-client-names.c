/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names and encodings of the client: registries, credentials, platforms, paths of cp. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "berth/base64.h"
#include "berth/string.h"
#include "client-auth.h"
#include "client-path.h"
#include "client-pull.h"

static void check(char *text, const char *expected)
{
        assert_non_null(text);
        assert_string_equal(text, expected);
        free(text);
}

static void test_base64(void **state)
{
        static const char *const pairs[][2] = { { "", "" },        { "f", "Zg==" },        { "fo", "Zm8=" },
                                                { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe", "//4=" } };
        static const char *const bad[] = { "Z", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9\n", "Z g=", "Zm8-" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                char *back;
                size_t size;

                check(base64_encode(pairs[i][0], strlen(pairs[i][0]), false), pairs[i][1]);
                assert_int_equal(base64_decode(pairs[i][1], &back, &size), 0);
                assert_int_equal(size, strlen(pairs[i][0]));
                check(back, pairs[i][0]);
        }
        check(base64_encode("\xff\xfe", 2, true), "__4=");
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char *back;
                size_t size;

                assert_int_equal(base64_decode(bad[i], &back, &size), -EINVAL);
        }
}

static void test_registries(void **state)
{
        (void) state;
        check(client_auth_key("busybox"), CLIENT_AUTH_HUB);
        check(client_auth_key("team/app:1"), CLIENT_AUTH_HUB);
        check(client_auth_key("docker.io/library/busybox"), CLIENT_AUTH_HUB);
        check(client_auth_key("reg.example.com:5000/app:1"), "reg.example.com:5000");
        check(client_auth_key("localhost/app"), "localhost");
        check(client_auth_hostname("https://reg.example.com:5000/v2/"), "reg.example.com:5000");
        check(client_auth_hostname("reg.example.com"), "reg.example.com");
}

static void check_auth(const char *config_text, const char *key, const char *expected)
{
        ClientConfig config = {};
        CLEANUP_JSON json_t *auth = NULL;
        CLEANUP_ERROR Error error = {};

        assert_int_equal(client_config_parse(config_text, strlen(config_text), &config.root, &error), 0);
        if (expected) {
                assert_int_equal(client_auth_get(&config, key, &auth, &error), 0);
                check(json_dumps(auth, JSON_COMPACT | JSON_SORT_KEYS), expected);
        } else {
                assert_int_not_equal(client_auth_get(&config, key, &auth, &error), 0);
                assert_non_null(error.message);
        }
        client_config_clear(&config);
}

static void test_credentials(void **state)
{
        (void) state;
        check_auth("{\"auths\":{\"r\":{\"auth\":\"dXNlcjpzZTpjcmV0\"}}}", "r",
                   "{\"password\":\"se:cret\",\"serveraddress\":\"r\",\"username\":\"user\"}");
        check_auth("{\"auths\":{\"https://r/v1/\":{\"auth\":\"dXNlcjpzZWNyZXQ=\"}}}", "r",
                   "{\"password\":\"secret\",\"serveraddress\":\"r\",\"username\":\"user\"}");
        check_auth("{\"auths\":{\"r\":{\"auth\":\"dXNlcjo=\",\"identitytoken\":\"t\"}}}", "r",
                   "{\"identitytoken\":\"t\",\"serveraddress\":\"r\",\"username\":\"user\"}");
        check_auth("{\"auths\":{\"other\":{\"auth\":\"dXNlcjpzZWNyZXQ=\"}}}", "r", "{}");
        check_auth("{}", "r", "{}");
        check_auth("{\"auths\":{\"r\":{\"auth\":\"dXNlcg==\"}}}", "r", NULL);
        check_auth("{\"auths\":{\"r\":{\"auth\":\"?\"}}}", "r", NULL);
}

static void test_platforms(void **state)
{
        static const char *const pairs[][2] = {
                { "linux/amd64", "{\"architecture\":\"amd64\",\"os\":\"linux\"}" },
                { "linux/arm64/v8", "{\"architecture\":\"arm64\",\"os\":\"linux\",\"variant\":\"v8\"}" },
                { "arm64", "{\"architecture\":\"arm64\",\"os\":\"linux\"}" },
                { "linux", "{\"os\":\"linux\"}" },
                { "linux/x86_64", "{\"architecture\":\"amd64\",\"os\":\"linux\"}" },
                { "armhf", "{\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v7\"}" },
        };
        static const char *const bad[] = { "", "linux/", "a/b/c/d", "linux/am d64", "/amd64" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                char *json;

                assert_int_equal(client_platform_parse(pairs[i][0], &json, NULL), 0);
                check(json, pairs[i][1]);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char *json;

                assert_int_not_equal(client_platform_parse(bad[i], &json, NULL), 0);
        }
}

static void test_paths(void **state)
{
        static const char *const paths[][4] = {
                /* path, clean, base, parent */
                { "/a/b", "/a/b", "b", "/a" },
                { "/a/b/", "/a/b", "b", "/a" },
                { "/a/b/.", "/a/b", ".", "/a/b" },
                { "/", "/", "/", "/" },
                { "a", "a", "a", "." },
                { ".", ".", ".", "." },
                { "/a/../b", "/b", "b", "/" },
                { "../a", "../a", "a", ".." },
                { "a/..", ".", ".", "." },
                { "/../a", "/a", "a", "/" },
                { "a//b/./c", "a/b/c", "c", "a/b" },
                { "../../a", "../../a", "a", "../.." },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                check(client_path_clean(paths[i][0]), paths[i][1]);
                check(client_path_base(paths[i][0]), paths[i][2]);
                check(client_path_parent(paths[i][0]), paths[i][3]);
        }
        check(client_path_absolute("/x/./y/"), "/x/y/");
        check(client_path_absolute("/x/y/."), "/x/y/.");
        check(client_path_absolute("/x/../y"), "/y");
        assert_true(client_path_says_directory("a/"));
        assert_true(client_path_says_directory("a/."));
        assert_false(client_path_says_directory("a/b."));
        assert_false(client_path_says_current("a/"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_base64),    cmocka_unit_test(test_registries), cmocka_unit_test(test_credentials),
                cmocka_unit_test(test_platforms), cmocka_unit_test(test_paths),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
