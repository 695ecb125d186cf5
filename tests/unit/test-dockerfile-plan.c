/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Dockerfiles to plans and steps: what each instruction becomes, and what is said of a file that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* After the headers it needs. */
#include <cmocka.h>

#include "berth/dockerfile.h"
#include "berth/json.h"
#include "berth/string.h"

static const DockerfileOptions defaults = { .platform = "linux/amd64", .host_platform = "linux/amd64" };

/* All steps of the stage, each on a base with PATH and A set; the message where it is refused. */
static json_t *stage_of(const char *text, const DockerfileOptions *options, size_t stage, Error *error)
{
        CLEANUP_DOCKERFILE Dockerfile file = { 0 };
        CLEANUP_JSON json_t *plan = NULL, *base = json_pack("{s[ss] s[s]}", "Env", "PATH=/bin", "A=b", "Cmd", "sh");
        json_t *result = NULL;
        int r = dockerfile_parse(text, strlen(text), &file, error);

        if (r == 0)
                r = dockerfile_plan(&file, options, &plan, error);
        if (r == 0)
                r = dockerfile_stage(&file, options, plan, stage, base, NULL, &result, error);
        json_t *steps = json_get_array(result, "Steps"), *last = json_array_get(steps, json_array_size(steps) - 1);
        if (str_equal(json_get_string(last, "Kind"), "refusal")) {
                r = error_set(error, OUTCOME_BAD_REQUEST, "%s", json_get_string(last, "Message"));
                json_decref(result);
                result = NULL;
        }
        assert_true(r >= 0);
        assert_int_equal(r == 0, result != NULL);
        assert_int_equal(r == 0, error->message == NULL);
        return result;
}

static void test_errors(void **state)
{
        static const struct {
                const char *text, *message;
        } cases[] = {
                { "", "failed to parse Dockerfile: file with no instructions" },
                { "# only\n", "failed to parse Dockerfile: file with no instructions" },
                { "FROM a\nFOO x\n",
                  "dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)" },
                { "FROM a\n\n\nRUN\n", "dockerfile parse error on line 4: RUN requires at least one argument" },
                { "FROM a b\n", "dockerfile parse error on line 1: FROM requires either one or three arguments" },
                { "FROM a AS 1x\n",
                  "dockerfile parse error on line 1: invalid name for build stage: \"1x\", name can't "
                  "start with a number or contain symbols" },
                { "RUN a\nFROM x\n", "no build stage in current context" },
                { "# escape=x\nFROM a\n",
                  "dockerfile parse error on line 1: invalid ESCAPE 'x' does not match ` or \\" },
                { "# escape=`\n# escape=`\nFROM a\n",
                  "dockerfile parse error on line 2: only one escape parser directive can be used" },
                { "FROM a\nCOPY a\n",
                  "dockerfile parse error on line 2: COPY requires at least two arguments, but only one was provided. "
                  "Destination could not be determined" },
                { "FROM a\nCOPY --frm=x a b\n", "dockerfile parse error on line 2: unknown flag: frm" },
                { "FROM a\nCOPY a b c\n",
                  "When using COPY with more than one source file, the destination must be a directory and end with a "
                  "/" },
                { "FROM a\nRUN <<E\nx\n", "dockerfile parse error on line 2: unterminated heredoc" },
                { "FROM a\nSHELL sh\n",
                  "dockerfile parse error on line 2: SHELL requires the arguments to be in JSON form" },
                { "FROM a\nENV =x\n", "dockerfile parse error on line 2: ENV names can not be blank" },
                { "FROM a\nRUN --mount=type=bad,target=/x y\n", "unsupported mount type \"bad\"" },
                { "FROM a\nRUN --mount=type=cache y\n", "target is required for mount type \"cache\"" },
                { "FROM a\nRUN --mount=target=/x,size=1 y\n", "unexpected key 'size' in 'size=1'" },
                { "FROM a\nCOPY --from=3 a b\n", "invalid from flag value 3: index out of bounds" },
                { "FROM a\nCOPY --from=0 a b\n", "invalid from flag value 0: refers to current build stage" },
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                CLEANUP_ERROR Error error = { 0 };
                CLEANUP_JSON json_t *stage = stage_of(cases[i].text, &defaults, 0, &error);

                assert_null(stage);
                assert_string_equal(error.message, cases[i].message);
        }
}

/* WANT: members that the last step has. */
static void test_steps(void **state)
{
        static const struct {
                const char *line, *want;
        } cases[] = {
                { "RUN echo  hi",
                  "{\"Kind\":\"run\",\"Argv\":[\"/bin/sh\",\"-c\",\"echo  hi\"],\"CreatedBy\":\"/bin/sh "
                  "-c echo  hi\",\"Env\":[\"PATH=/bin\",\"A=b\"]}" },
                { "RUN [\"a\",\"b c\"]", "{\"Argv\":[\"a\",\"b c\"],\"CreatedBy\":\"a b c\"}" },
                { "ARG X=1\nARG Y\nRUN z", "{\"Env\":[\"PATH=/bin\",\"A=b\",\"X=1\"],\"CreatedBy\":\"|1 X=1 /bin/sh -c "
                                           "z\"}" },
                { "ARG A=1\nRUN z", "{\"CreatedBy\":\"/bin/sh -c z\"}" },
                { "ARG G\nARG X=$G-$A", "{\"CreatedBy\":\"/bin/sh -c #(nop)  ARG X=global-b\"}" },
                { "RUN <<E\na\nb\nE", "{\"Argv\":[\"/bin/sh\",\"-c\",\"a\\nb\\n\"]}" },
                { "RUN cat <<-E\n\ta\n\tE", "{\"Argv\":[\"/bin/sh\",\"-c\",\"cat <<-E\\na\\nE\"]}" },
                { "RUN <<E\n#!/bin/awk\nx\nE",
                  "{\"Script\":\"#!/bin/awk\\nx\\n\",\"Argv\":[\"/bin/sh\",\"-c\",\"/dev/pipes/E\"]}" },
                { "COPY a b", "{\"Kind\":\"copy\",\"Add\":false,\"Sources\":[\"a\"],\"Target\":\"/b\",\"CreatedBy\":"
                              "\"/bin/sh -c #(nop) COPY %s in b \"}" },
                { "WORKDIR /w\nCOPY a .", "{\"Target\":\"/w/\"}" },
                { "WORKDIR w\nWORKDIR ../$A", "{\"Kind\":\"workdir\",\"Path\":\"/b\",\"CreatedBy\":\"/bin/sh -c #(nop) "
                                              "WORKDIR /b\"}" },
                { "COPY --chown=1:2 --chmod=755 --link a $A c/",
                  "{\"Sources\":[\"a\",\"b\"],\"Target\":\"/c/\",\"Owner\":\"1:2\",\"Mode\":\"755\",\"Link\":true}" },
                { "COPY --from=img a b", "{\"From\":\"img\"}" },
                { "COPY --exclude=*.o --exclude=x a b", "{\"Exclude\":[\"*.o\",\"x\"]}" },
                { "COPY <<E <<'F' /d/\n$A \"q\" \\$A\nE\n$A\nF",
                  "{\"Sources\":[],\"Inline\":[{\"Name\":\"E\",\"Content\":\"b \\\"q\\\" $A\\n\"},{\"Name\":\"F\","
                  "\"Content\":\"$A\\n\"}]}" },
                { "RUN --mount=type=cache,target=/c,sharing=locked,mode=0700 --network=none x",
                  "{\"Network\":\"none\",\"Mounts\":[{\"Type\":\"cache\",\"Target\":\"/c\",\"Sharing\":\"locked\","
                  "\"Mode\":448}]}" },
                { "ENV X=1 Y=\"a b\"", "{\"CreatedBy\":\"/bin/sh -c #(nop)  ENV X=1 Y=a b\"}" },
                { "EXPOSE 80 53/udp", "{\"CreatedBy\":\"/bin/sh -c #(nop)  EXPOSE 53/udp 80\"}" },
                { "CMD echo \"x\"", "{\"CreatedBy\":\"/bin/sh -c #(nop)  CMD [\\\"/bin/sh\\\" \\\"-c\\\" \\\"echo "
                                    "\\\\\\\"x\\\\\\\"\\\"]\"}" },
                { "HEALTHCHECK --interval=90s --retries=3 CMD true",
                  "{\"CreatedBy\":\"/bin/sh -c #(nop)  HEALTHCHECK &{[\\\"CMD-SHELL\\\" \\\"true\\\"] \\\"1m30s\\\" "
                  "\\\"0s\\\" \\\"0s\\\" \\\"0s\\\" '\\\\x03'}\"}" },
                { "SHELL [\"/bin/ash\",\"-c\"]\nVOLUME /a /b",
                  "{\"CreatedBy\":\"/bin/ash -c #(nop)  VOLUME [/a /b]\"}" },
                { "ONBUILD RUN x", "{\"CreatedBy\":\"/bin/sh -c #(nop)  ONBUILD RUN x\"}" },
                { "ARG TARGETARCH\nARG P=$TARGETARCH", "{\"CreatedBy\":\"/bin/sh -c #(nop)  ARG P=amd64\"}" },
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                CLEANUP_ERROR Error error = { 0 };
                CLEANUP_FREE char *text = str_printf("ARG G=global\nFROM base\n%s\n", cases[i].line);
                CLEANUP_JSON json_t *stage = stage_of(text, &defaults, 0, &error);
                CLEANUP_JSON json_t *want = json_loads(cases[i].want, 0, NULL);
                json_t *steps = json_get_array(stage, "Steps"), *value, *step;
                const char *key;

                if (!stage)
                        fail_msg("%s: %s", cases[i].line, error.message);
                assert_non_null(want);
                step = json_array_get(steps, json_array_size(steps) - 1);
                json_object_foreach(want, key, value)
                        if (!json_equal(value, json_object_get(step, key))) {
                                CLEANUP_FREE char *found =
                                        json_dumps(json_object_get(step, key), JSON_ENCODE_ANY | JSON_COMPACT);
                                fail_msg("%s: %s is %s", cases[i].line, key, found);
                        }
        }
}

static void test_stages(void **state)
{
        static const char text[] =
                "ARG V=1\nFROM a:$V AS One\nFROM scratch\nFROM one AS three\nCOPY --from=unused x y\n"
                "FROM b\nRUN --mount=from=three,target=/x c\n";
        CLEANUP_DOCKERFILE Dockerfile file = { 0 };
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *plan = NULL, *arguments = json_pack("{ss}", "V", "2");
        DockerfileOptions options = defaults;
        json_t *stages;
        (void) state;

        options.arguments = arguments;
        assert_int_equal(dockerfile_parse(text, strlen(text), &file, &error), 0);
        assert_int_equal(dockerfile_plan(&file, &options, &plan, &error), 0);
        stages = json_get_array(plan, "Stages");
        assert_int_equal(json_array_size(stages), 4);
        assert_int_equal(json_get_int(plan, "Target", -1), 3);
        assert_string_equal(json_get_string(json_array_get(stages, 0), "Base"), "a:2");
        assert_int_equal(json_get_int(json_array_get(stages, 2), "BaseStage", -1), 0);
        assert_true(json_get_bool(json_array_get(stages, 0), "Needed"));
        assert_false(json_get_bool(json_array_get(stages, 1), "Needed"));
        assert_true(json_get_bool(json_array_get(stages, 2), "Needed"));
        static const json_int_t needs[] = { -1, -1, 0, 2 };
        for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
                json_t *list = json_get_array(json_array_get(stages, i), "Needs"), *first = json_array_get(list, 0);
                assert_int_equal(json_array_size(list), needs[i] >= 0 ? 1 : 0);
                assert_true(needs[i] < 0 || json_integer_value(first) == needs[i]);
        }
        json_decref(TAKE_PTR(plan));
        options.target = "one";
        assert_int_equal(dockerfile_plan(&file, &options, &plan, &error), 0);
        assert_int_equal(json_get_int(plan, "Target", -1), 0);
        json_decref(TAKE_PTR(plan));
        options.target = "nobody";
        assert_int_equal(dockerfile_plan(&file, &options, &plan, &error), OUTCOME_BAD_REQUEST);
        assert_string_equal(error.message, "target stage \"nobody\" could not be found");
}

static void test_ignore(void **state)
{
        static const struct {
                const char *patterns, *path;
                bool ignored;
        } cases[] = {
                { "a", "a", true },
                { "a", "a/b/c", true },
                { "a", "b/a", false },
                { "**/a", "b/c/a", true },
                { "**/a", "a", true },
                { "*.o", "x.o", true },
                { "*.o", "d/x.o", false },
                { "**/*.o", "d/x.o", true },
                { "/a/", "a", true },
                { "a/**", "a/b", true },
                { "a/**", "a", false },
                { "*\n!b", "b", false },
                { "*\n!b\nb/c", "b/c", true },
                { "*\n!b\nb/c", "b/d", false },
                { "# a", "# a", false },
                { "[a-c]x", "bx", true },
                { "[^a-c]x", "bx", false },
                { "a?c", "abc", true },
                { "a?c", "a/c", false },
                { "a\\*", "a*", true },
                { "a\\*", "ab", false },
                { "a/../b", "b", true },
                { "  c  ", "c", true },
                { "a/**/b", "a/x/y/b", true },
                { "a/**/b", "a/b", true },
                { "a/**/b", "ab", false },
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                CLEANUP_ERROR Error error = { 0 };
                CLEANUP_DOCKERIGNORE DockerIgnore *ignore = NULL;

                assert_int_equal(dockerignore_parse(cases[i].patterns, strlen(cases[i].patterns), &ignore, &error), 0);
                if (dockerignore_match(ignore, cases[i].path) != cases[i].ignored)
                        fail_msg("%s against %s", cases[i].patterns, cases[i].path);
        }
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_errors),
                cmocka_unit_test(test_steps),
                cmocka_unit_test(test_stages),
                cmocka_unit_test(test_ignore),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
