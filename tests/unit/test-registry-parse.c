/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What registries and clients send, parsed: challenges, tokens, manifests, credentials; and which hosts need no trust.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "berth/base64.h"
#include "berth/json.h"
#include "registry-manifest.h"
#include "registry-session.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define CONFIG "\"config\":{\"mediaType\":\"" REGISTRY_TYPE_OCI_CONFIG "\",\"size\":2,\"digest\":\"" DIGEST "\"}"

/* --- Challenges --------------------------------------------------------------------------------------------------- */

static void check_text(const char *found, const char *expected)
{
        if (expected)
                assert_string_equal(found, expected);
        else
                assert_null(found);
}

static void check_challenge(const char *header, RegistryScheme scheme, const char *realm, const char *service,
                            const char *scope)
{
        CLEANUP_REGISTRY_CHALLENGE RegistryChallenge challenge = { 0 };

        assert_int_equal(registry_challenge_parse(header, &challenge), 0);
        assert_int_equal(challenge.scheme, scheme);
        check_text(challenge.realm, realm);
        check_text(challenge.service, service);
        check_text(challenge.scope, scope);
}

static void test_challenges(void **state)
{
        (void) state;

        check_challenge("Bearer realm=\"https://a.test/t\",service=\"s\",scope=\"repository:a/b:pull,push\"",
                        REGISTRY_BEARER, "https://a.test/t", "s", "repository:a/b:pull,push");
        check_challenge("BEARER REALM=https://a.test/t , service = s", REGISTRY_BEARER, "https://a.test/t", "s", NULL);
        check_challenge("Basic realm=\"a \\\"b\\\"\"", REGISTRY_BASIC, "a \"b\"", NULL, NULL);
        check_challenge("Basic", REGISTRY_BASIC, NULL, NULL, NULL);
        check_challenge("Basic realm=x, Bearer realm=\"y\"", REGISTRY_BEARER, "y", NULL, NULL);
        check_challenge("Bearer realm=\"y\"\nBasic realm=x", REGISTRY_BEARER, "y", NULL, NULL);
        check_challenge("Negotiate, Digest qop=\"auth, x\", Basic realm=z", REGISTRY_BASIC, "z", NULL, NULL);
        check_challenge("Bearer realm=\"first\",realm=\"second\"", REGISTRY_BEARER, "first", NULL, NULL);
}

static void test_challenges_that_are_none(void **state)
{
        static const char *const headers[] = { "",
                                               ",",
                                               "Bearer",
                                               "Bearer realm=\"\"",
                                               "Bearer realm=\"open",
                                               "Bearer realm=",
                                               "=x",
                                               "Other realm=x",
                                               "Bearer realm=\"a\nb\"" };
        (void) state;

        check_challenge(NULL, REGISTRY_NO_SCHEME, NULL, NULL, NULL);
        for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++) {
                CLEANUP_REGISTRY_CHALLENGE RegistryChallenge challenge = { 0 };

                assert_int_equal(registry_challenge_parse(headers[i], &challenge), 0);
                assert_int_equal(challenge.scheme, REGISTRY_NO_SCHEME);
        }
}

/* --- Tokens ------------------------------------------------------------------------------------------------------- */

static void check_token(const char *body, const char *token, const char *identity, int64_t seconds)
{
        CLEANUP_REGISTRY_TOKEN RegistryToken found = { 0 };

        assert_int_equal(registry_token_parse(body, strlen(body), &found), 0);
        assert_string_equal(found.token, token);
        check_text(found.identity, identity);
        assert_int_equal(found.seconds, seconds);
}

static void test_tokens(void **state)
{
        static const char *const wrong[] = {
                "", "{", "[]", "{}", "{\"token\":5}", "{\"token\":\"\"}", "{\"token\":\"a\\r\\nb\"}"
        };
        CLEANUP_REGISTRY_TOKEN RegistryToken token = { 0 };
        (void) state;

        check_token("{\"token\":\"a\"}", "a", NULL, 60);
        check_token("{\"access_token\":\"a\",\"expires_in\":300,\"refresh_token\":\"r\"}", "a", "r", 300);
        check_token("{\"token\":\"a\",\"access_token\":\"b\",\"expires_in\":5}", "a", NULL, 60);
        check_token("{\"token\":\"a\",\"expires_in\":-7}", "a", NULL, 60);
        check_token("{\"token\":\"a\",\"expires_in\":9223372036854775807}", "a", NULL, 365 * 24 * 3600);
        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
                assert_int_equal(registry_token_parse(wrong[i], strlen(wrong[i]), &token), -EBADMSG);
}

/* --- Manifests ---------------------------------------------------------------------------------------------------- */

static int parse(const char *text, const char *type, RegistryManifest *manifest)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = registry_manifest_parse(text, strlen(text), type, "name", manifest, &error);

        if (r != 0)
                assert_non_null(error.message);
        return r;
}

static void check_kind(const char *text, const char *type, RegistryManifestKind kind, const char *found_type)
{
        CLEANUP_REGISTRY_MANIFEST RegistryManifest manifest = { 0 };

        assert_int_equal(parse(text, type, &manifest), 0);
        assert_int_equal(manifest.kind, kind);
        assert_string_equal(manifest.type, found_type);
}

static void test_manifests(void **state)
{
        (void) state;

        check_kind("{\"schemaVersion\":2," CONFIG ",\"layers\":[]}", REGISTRY_TYPE_OCI_MANIFEST,
                   REGISTRY_MANIFEST_IMAGE, REGISTRY_TYPE_OCI_MANIFEST);
        check_kind("{\"schemaVersion\":2," CONFIG ",\"layers\":[]}", REGISTRY_TYPE_DOCKER_MANIFEST,
                   REGISTRY_MANIFEST_IMAGE, REGISTRY_TYPE_DOCKER_MANIFEST);
        check_kind("{\"schemaVersion\":2,\"mediaType\":\"" REGISTRY_TYPE_DOCKER_MANIFEST "\"," CONFIG
                   ",\"layers\":[{\"size\":1,\"digest\":\"" DIGEST "\"}]}",
                   REGISTRY_TYPE_OCI_MANIFEST, REGISTRY_MANIFEST_IMAGE, REGISTRY_TYPE_DOCKER_MANIFEST);
        check_kind("{\"schemaVersion\":2,\"mediaType\":\"" REGISTRY_TYPE_OCI_INDEX "\",\"manifests\":[]}", NULL,
                   REGISTRY_MANIFEST_INDEX, REGISTRY_TYPE_OCI_INDEX);
}

static void test_manifests_that_are_none(void **state)
{
        static const char *const wrong[] = {
                "",
                "{",
                "[]",
                "null",
                "{\"schemaVersion\":1,\"name\":\"x\",\"fsLayers\":[]}",
                "{\"schemaVersion\":2,\"layers\":[]}",
                "{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"size\":-1,\"digest\":\"" DIGEST "\"}]}",
                "{\"schemaVersion\":2," CONFIG
                ",\"layers\":[{\"size\":1,\"digest\":\"sha256:../../../../etc/passwd\"}]}",
                "{\"schemaVersion\":2," CONFIG ",\"layers\":[5]}",
                "{\"schemaVersion\":2,\"mediaType\":\"" REGISTRY_TYPE_OCI_INDEX "\",\"manifests\":[{}]}",
        };
        (void) state;

        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
                CLEANUP_REGISTRY_MANIFEST RegistryManifest manifest = { 0 };

                if (parse(wrong[i], REGISTRY_TYPE_DOCKER_MANIFEST, &manifest) == 0)
                        fail_msg("taken: %s", wrong[i]);
        }
}

#define ENTRY(size, os, architecture, more)                                       \
        "{\"size\":" size ",\"digest\":\"" DIGEST "\",\"platform\":{\"os\":\"" os \
        "\",\"architecture\":\"" architecture "\"" more "}}"

static void check_choice(const char *os, const char *architecture, const char *variant, int64_t size)
{
        CLEANUP_REGISTRY_MANIFEST RegistryManifest index = { 0 };
        CLEANUP_ERROR Error error = { 0 };
        StorePlatform platform = { 0 };
        const json_t *chosen = NULL;

        snprintf(platform.os, sizeof(platform.os), "%s", os);
        snprintf(platform.architecture, sizeof(platform.architecture), "%s", architecture);
        snprintf(platform.variant, sizeof(platform.variant), "%s", variant);
        assert_int_equal(parse("{\"schemaVersion\":2,\"mediaType\":\"" REGISTRY_TYPE_OCI_INDEX
                               "\",\"manifests\":[" ENTRY("9", "unknown", "unknown", "") "," ENTRY(
                                       "1", "linux", "amd64",
                                       "") "," ENTRY("2", "linux", "arm",
                                                     ",\"variant\":\"v6\"") "," ENTRY("3", "linux", "arm",
                                                                                      ",\"variant\":\"v7\"") "]}",
                               NULL, &index),
                         0);
        int r = registry_manifest_choose(&index, &platform, &chosen, &error);
        if (size > 0) {
                assert_int_equal(r, 0);
                assert_int_equal(json_get_int(chosen, "size", 0), size);
        } else
                assert_int_equal(r, OUTCOME_NOT_FOUND);
}

static void test_choices(void **state)
{
        (void) state;

        check_choice("linux", "amd64", "", 1);
        check_choice("linux", "arm", "v7", 3);
        check_choice("linux", "arm", "v6", 2);
        check_choice("linux", "arm", "v8", 2);
        check_choice("linux", "arm", "v5", 0);
        check_choice("windows", "amd64", "", 0);
        check_choice("linux", "s390x", "", 0);
}

/* --- Credentials -------------------------------------------------------------------------------------------------- */

static int decode(const char *json, RegistryAuth *auth)
{
        CLEANUP_FREE char *header = base64_encode(json, strlen(json), true);
        CLEANUP_ERROR Error error = { 0 };

        return registry_auth_decode(header, auth, &error);
}

static void test_credentials(void **state)
{
        CLEANUP_REGISTRY_AUTH RegistryAuth plain = { 0 }, joined = { 0 }, tokens = { 0 }, nobody = { 0 };
        (void) state;

        assert_int_equal(decode("{\"username\":\"u\",\"password\":\"p\",\"serveraddress\":\"x:1\"}", &plain), 0);
        check_text(plain.username, "u");
        check_text(plain.password, "p");
        check_text(plain.server, "x:1");
        assert_int_equal(decode("{\"auth\":\"dTpwOnE=\"}", &joined), 0);
        check_text(joined.username, "u");
        check_text(joined.password, "p:q");
        assert_int_equal(decode("{\"identitytoken\":\"i\",\"registrytoken\":\"r\"}", &tokens), 0);
        check_text(tokens.identity_token, "i");
        check_text(tokens.registry_token, "r");
        assert_int_equal(decode("null", &nobody), 0);
        assert_int_equal(decode("", &nobody), 0);
        check_text(nobody.username, NULL);
        assert_int_equal(decode("[]", &nobody), OUTCOME_BAD_REQUEST);
        assert_int_equal(decode("{\"auth\":\"####\"}", &nobody), OUTCOME_BAD_REQUEST);
        assert_int_equal(decode("{\"auth\":\"dXA=\"}", &nobody), OUTCOME_BAD_REQUEST);
}

/* --- Hosts -------------------------------------------------------------------------------------------------------- */

static void test_hosts(void **state)
{
        char *const insecure[] = { (char *) "a.test:5000", (char *) "192.0.2.0/24", NULL };
        (void) state;

        assert_true(registry_host_is_insecure(NULL, "127.0.0.1:5000"));
        assert_true(registry_host_is_insecure(NULL, "[::1]:5000"));
        assert_true(registry_host_is_insecure(insecure, "a.test:5000"));
        assert_true(registry_host_is_insecure(insecure, "192.0.2.7"));
        assert_false(registry_host_is_insecure(insecure, "192.0.3.7:80"));
        assert_false(registry_host_is_insecure(NULL, "192.0.2.7"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_challenges),
                cmocka_unit_test(test_challenges_that_are_none),
                cmocka_unit_test(test_tokens),
                cmocka_unit_test(test_manifests),
                cmocka_unit_test(test_manifests_that_are_none),
                cmocka_unit_test(test_choices),
                cmocka_unit_test(test_credentials),
                cmocka_unit_test(test_hosts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
