/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of a configuration: what each instruction does, and the words of each refusal. All of it is what dockerd
 * answers to the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* After the headers it needs. */
#include <cmocka.h>

#include "berth/change.h"
#include "berth/json.h"
#include "berth/string.h"

static json_t *fresh_config(void)
{
        return json_pack("{s:[s,s,s], s:[s], s:n, s:s}", "Env", "P=81", "A=B", "PATH=/usr/local/bin:/usr/bin:/bin",
                         "Cmd", "true", "Entrypoint", "WorkingDir", "/w");
}

/* WANT: the members that have to be so, or the message. */
static const struct {
        const char *change, *want;
} cases[] = {
        { "CMD a \"b c\"   d", "{\"Cmd\":[\"/bin/sh\",\"-c\",\"a \\\"b c\\\"   d\"]}" },
        { "CMD [ \"a\" , \"b\" ] c", "{\"Cmd\":[\"a\",\"b\"]}" },
        { "CMD [\"a\"", "{\"Cmd\":[\"/bin/sh\",\"-c\",\"[\\\"a\\\"\"]}" },
        { "CMD a \\\n# comment\n\nb", "{\"Cmd\":[\"/bin/sh\",\"-c\",\"a b\"]}" },
        { "CMD [\"a\", 1]", "when using JSON array syntax, arrays must be comprised of strings only" },
        { "CMD --x=1 a", "unknown flag: x" },
        { "ENTRYPOINT x", "{\"Entrypoint\":[\"/bin/sh\",\"-c\",\"x\"],\"Cmd\":null}" },
        { "CMD [\"c\"]\nENTRYPOINT [\"e\"]", "{\"Entrypoint\":[\"e\"],\"Cmd\":[\"c\"]}" },
        { "ENTRYPOINT []", "{\"Entrypoint\":null,\"Cmd\":null}" },
        { "ENV A=b C=\"d e\" F=g\\ h",
          "{\"Env\":[\"P=81\",\"A=b\",\"PATH=/usr/local/bin:/usr/bin:/bin\",\"C=d e\",\"F=g h\"]}" },
        { "env a b c", "{\"Env\":[\"P=81\",\"A=B\",\"PATH=/usr/local/bin:/usr/bin:/bin\",\"a=b c\"]}" },
        { "ENV A='$P' P=\"$P\" x=\\$P",
          "{\"Env\":[\"P=81\",\"A=$P\",\"PATH=/usr/local/bin:/usr/bin:/bin\",\"x=$P\"]}" },
        { "ENV A=${B:-c} P=${A:+x}", "{\"Env\":[\"P=x\",\"A=c\",\"PATH=/usr/local/bin:/usr/bin:/bin\"]}" },
        { "ENV P=${PATH%%:*} A=${PATH##*:}",
          "{\"Env\":[\"P=/usr/local/bin\",\"A=/bin\",\"PATH=/usr/local/bin:/usr/bin:/bin\"]}" },
        { "ENV P=${PATH#*:} A=${PATH%:*}",
          "{\"Env\":[\"P=/usr/bin:/bin\",\"A=/usr/local/bin:/usr/bin\",\"PATH=/usr/local/bin:/usr/bin:/bin\"]}" },
        { "ENV P=${PATH/bin/x} A=${PATH//bin/x}",
          "{\"Env\":[\"P=/usr/local/x:/usr/bin:/bin\",\"A=/usr/local/x:/usr/x:/x\",\"PATH=/usr/local/bin:/usr/bin:"
          "/bin\"]}" },
        { "ENV A", "ENV must have two arguments" },
        { "LABEL a=b c", "Syntax error - can't find = in \"c\". Must be of the form: name=value" },
        { "ENV =x", "ENV names can not be blank" },
        { "ENV A=${B:?err}", "failed to process \"${B:?err}\": B: err" },
        { "ENV A=\"x",
          "failed to process \"\\\"x\": unexpected end of statement while looking for matching double-quote" },
        { "ENV A=${}", "failed to process \"${}\": syntax error: bad substitution" },
        { "LABEL \"a b\"=\"c d\" e=f\\\ng=h", "{\"Labels\":{\"a b\":\"c d\",\"e\":\"fg=h\"}}" },
        { "LABEL", "LABEL requires at least one argument" },
        { "EXPOSE 80 81/udp 90-91 1.2.3.4:5:6",
          "{\"ExposedPorts\":{\"80/tcp\":{},\"81/udp\":{},\"90/tcp\":{},\"91/tcp\":{},\"6/tcp\":{}}}" },
        { "ENV P=\"80 443\"\nEXPOSE $P", "{\"ExposedPorts\":{\"80/tcp\":{},\"443/tcp\":{}}}" },
        { "EXPOSE 80-79", "Invalid containerPort: 80-79" },
        { "EXPOSE 80/foo", "Invalid proto: foo" },
        { "VOLUME /a $P", "{\"Volumes\":{\"/a\":{},\"81\":{}}}" },
        { "VOLUME [\"/a b\"]", "{\"Volumes\":{\"/a b\":{}}}" },
        { "VOLUME \"\"", "VOLUME specified can not be an empty string" },
        { "USER a b", "{\"User\":\"a b\"}" },
        { "USER", "USER requires exactly one argument" },
        { "WORKDIR x/../y", "{\"WorkingDir\":\"/w/y\"}" },
        { "WORKDIR ../..", "{\"WorkingDir\":\"/\"}" },
        { "STOPSIGNAL SIGTERM", "{\"StopSignal\":\"SIGTERM\"}" },
        { "STOPSIGNAL FOO", "invalid signal: FOO" },
        { "onbuild  run x", "{\"OnBuild\":[\"run x\"]}" },
        { "ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed" },
        { "ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger" },
        { "ONBUILD ENV A", "ENV must have two arguments" },
        { "HEALTHCHECK NONE", "{\"Healthcheck\":{\"Test\":[\"NONE\"]}}" },
        { "HEALTHCHECK --interval=1h30m --retries=4 CMD x y",
          "{\"Healthcheck\":{\"Interval\":5400000000000,\"Retries\":4,\"Test\":[\"CMD-SHELL\",\"x y\"]}}" },
        { "HEALTHCHECK CMD [\"a\",\"b\"]", "{\"Healthcheck\":{\"Test\":[\"CMD\",\"a\",\"b\"]}}" },
        { "HEALTHCHECK --timeout=500us CMD a", "Interval \"timeout\" cannot be less than 1ms" },
        { "HEALTHCHECK --interval=1d CMD a", "time: unknown unit \"d\" in duration \"1d\"" },
        { "HEALTHCHECK --interval=1s --interval=2s CMD a", "duplicate flag specified: interval" },
        { "HEALTHCHECK --interval CMD a", "missing a value on flag: interval" },
        { "HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1)" },
        { "HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD" },
        { "HEALTHCHECK FOO a", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)" },
        { "RUN x", "RUN is not a valid change command" },
        { "foo", "foo is not a valid change command" },
        { "# nothing", "file with no instructions" },
        { "USER \xff", "invalid UTF-8 in an instruction" },
};

static void test_cases(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                json_t *config CLEANUP_JSON = fresh_config(), *want CLEANUP_JSON = NULL, *value;
                char *change CLEANUP_FREE = strdup(cases[i].change);
                char *changes[] = { change, NULL };
                Error error CLEANUP_ERROR = {};
                const char *key;
                int r = change_apply(config, changes, &error);

                if (*cases[i].want != '{') {
                        assert_int_equal(r, OUTCOME_BAD_REQUEST);
                        assert_string_equal(error.message, cases[i].want);
                        continue;
                }
                if (r != 0)
                        fail_msg("%s: %s", change, error.message);
                want = json_loads(cases[i].want, 0, NULL);
                assert_non_null(want);
                json_object_foreach(want, key, value) {
                        if (!json_equal(json_object_get(config, key), value))
                                fail_msg("%s: %s is %s", change, key,
                                         json_dumps(json_object_get(config, key), JSON_ENCODE_ANY));
                }
        }
}

/* Several changes are one file, in order; the default is none. */
static void test_several(void **state)
{
        char first[] = "USER \\", second[] = "  me", third[] = "WORKDIR /x";
        char *changes[] = { first, second, third, NULL };
        json_t *config CLEANUP_JSON = fresh_config(), *before CLEANUP_JSON = fresh_config();

        (void) state;
        assert_int_equal(change_apply(config, NULL, NULL), 0);
        assert_true(json_equal(config, before));
        assert_int_equal(change_apply(config, changes, NULL), 0);
        assert_string_equal(json_get_string(config, "User"), "me");
        assert_string_equal(json_get_string(config, "WorkingDir"), "/x");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),
                cmocka_unit_test(test_several),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
