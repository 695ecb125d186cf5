/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a command line to the create request, and the parser of command lines itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client-run.h"
#include "client-stream.h"
#include "client-terminal.h"

#define WORDS_MAX 16

/* The words of LINE, split at blanks. */
static size_t split(char *line, char **words)
{
        size_t n = 0;
        char *word;

        while ((word = strsep(&line, " ")))
                if (*word && n < WORDS_MAX)
                        words[n++] = word;
        return n;
}

static int parse(const char *line, ClientArguments *arguments, char **copy, Error *error)
{
        char *words[WORDS_MAX];
        size_t n;

        *copy = strdup(line);
        n = split(*copy, words);
        arguments->command = &client_run;
        arguments->values = calloc(client_options_count(client_run_options) + 1, sizeof(ClientValue));
        arguments->words = calloc(n + 1, sizeof(char *));
        for (size_t i = 0; client_run_options[i].name; i++)
                if (client_run_options[i].fallback)
                        arguments->values[i].string = strdup(client_run_options[i].fallback);
        arguments->values[0].set = false;
        return client_options_parse(client_run_options, arguments->values, words, n, true, arguments->words,
                                    &arguments->n_words, NULL, error);
}

static void test_grammar(void **state)
{
        static const struct {
                const char *line;
                size_t words; /* with error NULL */
                const char *error;
        } rows[] = {
                { "image -x --rm", 3, NULL },
                { "-it image", 1, NULL },
                { "-itefoo=bar image", 1, NULL },
                { "-e=foo=bar image", 1, NULL },
                { "--env=a=b --env c=d image", 1, NULL },
                { "-t=false --rm=0 image", 1, NULL },
                { "--rm -- -image", 1, NULL },
                { "- x", 2, NULL },
                { "--nosuch", 0, "unknown flag: --nosuch" },
                { "--nosuch=1", 0, "unknown flag: --nosuch" },
                { "-ity image", 0, "unknown shorthand flag: 'y' in -y" },
                { "--name", 0, "flag needs an argument: --name" },
                { "-it -e", 0, "flag needs an argument: 'e' in -e" },
                { "---x", 0, "bad flag syntax: ---x" },
                { "--=x", 0, "bad flag syntax: --=x" },
                { "--rm=perhaps x", 0,
                  "invalid argument \"perhaps\" for \"--rm\" flag: strconv.ParseBool: parsing \"perhaps\": invalid "
                  "syntax" },
                { "-m 5q x", 0, "invalid argument \"5q\" for \"-m, --memory\" flag: invalid size: '5q'" },
                { "--pids-limit 99999999999999999999 x", 0,
                  "invalid argument \"99999999999999999999\" for \"--pids-limit\" flag: strconv.ParseInt: parsing "
                  "\"99999999999999999999\": value out of range" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                CLEANUP_ARGUMENTS ClientArguments arguments = {};
                CLEANUP_FREE char *copy = NULL;
                CLEANUP_ERROR Error error = {};
                int r = parse(rows[i].line, &arguments, &copy, &error);

                if (rows[i].error) {
                        assert_int_not_equal(r, 0);
                        assert_string_equal(error.message, rows[i].error);
                } else {
                        assert_int_equal(r, 0);
                        assert_int_equal(arguments.n_words, rows[i].words);
                }
        }
}

/* WANTED must be in GOT, member by member. */
static bool contains(json_t *got, json_t *wanted)
{
        const char *key;
        json_t *value;

        if (!json_is_object(wanted) || json_object_size(wanted) == 0)
                return json_equal(got, wanted);
        json_object_foreach(wanted, key, value) {
                if (!contains(json_object_get(got, key), value))
                        return false;
        }
        return true;
}

static void test_requests(void **state)
{
        static const struct {
                const char *line, *wanted; /* NULL: refused */
        } rows[] = {
                { "x", "{\"Image\":\"x\",\"AttachStdout\":true,\"AttachStdin\":false,\"OpenStdin\":false}" },
                { "-d -i x", "{\"AttachStdout\":false,\"AttachStdin\":false,\"OpenStdin\":true,\"StdinOnce\":false}" },
                { "-it x sh -c y", "{\"Tty\":true,\"StdinOnce\":true,\"Cmd\":[\"sh\",\"-c\",\"y\"]}" },
                { "-m 64m --cpus 0.5 x", "{\"HostConfig\":{\"Memory\":67108864,\"NanoCpus\":500000000}}" },
                { "--pids-limit -1 x", "{\"HostConfig\":{\"PidsLimit\":-1}}" },
                { "--init=false x", "{\"HostConfig\":{\"Init\":false}}" },
                { "-v /a:/b:ro -v /c x", "{\"HostConfig\":{\"Binds\":[\"/a:/b:ro\"]},\"Volumes\":{\"/c\":{}}}" },
                { "--tmpfs /t:size=1m x", "{\"HostConfig\":{\"Tmpfs\":{\"/t\":\"size=1m\"}}}" },
                { "-p 127.0.0.1:80:81/udp x",
                  "{\"ExposedPorts\":{\"81/udp\":{}},\"HostConfig\":{\"PortBindings\":{\"81/udp\":[{\"HostIp\":"
                  "\"127.0.0.1\",\"HostPort\":\"80\"}]}}}" },
                { "--network none x", "{\"HostConfig\":{\"NetworkMode\":\"none\"}}" },
                { "--net n --network-alias a x", "{\"HostConfig\":{\"NetworkMode\":\"n\"},\"NetworkingConfig\":{"
                                                 "\"EndpointsConfig\":{\"n\":{\"Aliases\":"
                                                 "[\"a\"]}}}}" },
                { "--restart on-failure:2 x",
                  "{\"HostConfig\":{\"RestartPolicy\":{\"Name\":\"on-failure\",\"MaximumRetryCount\":2}}}" },
                { "--ulimit nofile=1:2 x",
                  "{\"HostConfig\":{\"Ulimits\":[{\"Name\":\"nofile\",\"Soft\":1,\"Hard\":2}]}}" },
                { "--health-cmd x --health-interval 1m x", "{\"Healthcheck\":{\"Interval\":60000000000}}" },
                { "--mount type=bind,src=/a,dst=/b,ro x", "{\"HostConfig\":{\"Mounts\":[{\"Type\":\"bind\",\"Source\":"
                                                          "\"/a\",\"Target\":\"/b\",\"ReadOnly\":true}]}}" },
                { "--security-opt systempaths=unconfined x",
                  "{\"HostConfig\":{\"MaskedPaths\":[],\"ReadonlyPaths\":[]}}" },
                { "--gpus all x",
                  "{\"HostConfig\":{\"DeviceRequests\":[{\"Driver\":\"\",\"Count\":-1,\"DeviceIDs\":null,"
                  "\"Capabilities\":[[\"gpu\"]],\"Options\":{}}]}}" },
                { "--entrypoint= x", "{\"Entrypoint\":[\"\"]}" },
                { "-l a -l b=c x", "{\"Labels\":{\"a\":\"\",\"b\":\"c\"}}" },
                { "-e A=1 -e BERTH_TEST_UNSET x", "{\"Env\":[\"A=1\",\"BERTH_TEST_UNSET\"]}" },
                { "X", NULL },
                { "--rm --restart always x", NULL },
                { "-p 1-2:1-3 x", NULL },
                { "--uts foo x", NULL },
                { "--network a --network a x", NULL },
                { "--network-alias a x", NULL },
                { "--security-opt seccomp=/nonexistent x", NULL },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                CLEANUP_ARGUMENTS ClientArguments arguments = {};
                CLEANUP_FREE char *copy = NULL;
                CLEANUP_JSON json_t *body = NULL, *wanted = NULL;
                CLEANUP_ERROR Error error = {};

                assert_int_equal(parse(rows[i].line, &arguments, &copy, &error), 0);
                client_must(client_value(&arguments, "pull")->string);
                for (size_t j = 0; client_run_options[j].name; j++)
                        if (strcmp(client_run_options[j].name, "memory-swappiness") == 0 && !arguments.values[j].set)
                                arguments.values[j].number = -1;
                if (client_run_request(&(Client) { .host = (char *) "unix:///x" }, &arguments, &body, &error) != 0) {
                        if (rows[i].wanted)
                                fail_msg("%s: %s", rows[i].line, error.message);
                        assert_non_null(error.message);
                        continue;
                }
                assert_non_null(rows[i].wanted);
                wanted = json_loads(rows[i].wanted, 0, NULL);
                assert_non_null(wanted);
                if (!contains(body, wanted)) {
                        CLEANUP_FREE char *text = json_dumps(body, 0);

                        fail_msg("%s gave %s", rows[i].line, text);
                }
        }
}

static void test_frames(void **state)
{
        static const char stream[] = "\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\4err!\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\1.";
        static const size_t size = sizeof(stream) - 1;

        (void) state;
        /* Whatever the pieces the stream comes in. */
        for (size_t piece = 1; piece <= size; piece++) {
                StreamFrames frames = {};
                CLEANUP_CLOSE int out_read = -EBADF, out = -EBADF, err_read = -EBADF, err = -EBADF;
                char text[16] = "";
                int pair[2];

                assert_int_equal(pipe(pair), 0);
                out_read = pair[0];
                out = pair[1];
                assert_int_equal(pipe(pair), 0);
                err_read = pair[0];
                err = pair[1];
                for (size_t i = 0; i < size; i += piece)
                        assert_int_equal(client_frames_write(&frames, stream + i, MIN(piece, size - i), out, err), 0);
                assert_int_equal(read(out_read, text, sizeof(text)), 4);
                assert_memory_equal(text, "out.", 4);
                assert_int_equal(read(err_read, text, sizeof(text)), 4);
                assert_memory_equal(text, "err!", 4);
        }
        assert_int_equal(client_frames_write(&(StreamFrames) {}, "\7\0\0\0\0\0\0\1x", 9, -1, -1), -EBADMSG);
}

static void test_detach_keys(void **state)
{
        uint8_t keys[DETACH_KEYS_MAX];

        (void) state;
        assert_int_equal(client_terminal_detach_keys("", keys), 2);
        assert_memory_equal(keys, "\x10\x11", 2);
        assert_int_equal(client_terminal_detach_keys("a,ctrl-A,ctrl-[,ctrl-_,ctrl-@", keys), 5);
        assert_memory_equal(keys, "a\x01\x1b\x1f\x00", 5);
        assert_int_equal(client_terminal_detach_keys("foo", keys), 0);
        assert_int_equal(client_terminal_detach_keys("ctrl-", keys), 0);
        assert_int_equal(client_terminal_detach_keys("ctrl-1", keys), 0);
        assert_int_equal(client_terminal_detach_keys("a,,b", keys), 0);
        assert_int_equal(client_terminal_detach_keys("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", keys), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_grammar),
                cmocka_unit_test(test_requests),
                cmocka_unit_test(test_frames),
                cmocka_unit_test(test_detach_keys),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
