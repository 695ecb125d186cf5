/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth build: what is to be built goes to the daemon as an archive, which a child process writes while the answer is
 * read. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/base64.h"
#include "berth/file.h"
#include "berth/json.h"
#include "client-auth.h"
#include "client-build-output.h"
#include "client-build-secret.h"
#include "client-build-show.h"
#include "client-build-source.h"
#include "client-config.h"
#include "client-pull.h"
#include "client.h"

/* --- The request -------------------------------------------------------------------------------------------------- */

/* "NAME=value", and NAME alone for the value it has in the environment. */
static json_t *pairs(char *const *list, bool from_environment)
{
        json_t *object = client_must(json_object());

        for (; list && *list; list++) {
                const char *equals = strchr(*list, '=');
                CLEANUP_FREE char *name =
                        client_must(strndup(*list, equals ? (size_t) (equals - *list) : strlen(*list)));
                const char *value = equals ? equals + 1 : from_environment ? getenv(name) : "";

                if (json_object_set_new(object, name, value ? json_string(value) : json_null()) < 0)
                        client_complain("WARNING: %s is not valid UTF-8", name);
        }
        return object;
}

static void add_json(Buffer *target, const char *key, const json_t *value)
{
        CLEANUP_FREE char *text = client_must(json_dumps(value, JSON_COMPACT));

        target_add(target, key, text);
}

static json_t *build_arguments(const Client *client, const ClientArguments *arguments)
{
        json_t *object = pairs(client_value(arguments, "build-arg")->list, true), *item;
        CLEANUP_JSON json_t *proxies = client_must(json_array());
        size_t i;

        client_config_add_proxies(client->host, proxies);
        json_array_foreach(proxies, i, item) {
                const char *text = json_string_value(item), *equals = strchr(text, '=');
                CLEANUP_FREE char *name = client_must(strndup(text, strcspn(text, "=")));
                if (equals && !json_object_get(object, name))
                        json_object_set_new(object, name, json_string(equals + 1));
        }
        return object;
}

/* "nofile=1024:2048". */
static int add_ulimits(Buffer *target, char *const *list, Error *error)
{
        CLEANUP_JSON json_t *array = client_must(json_array());

        for (; list && *list; list++) {
                char name[32];
                long long soft, hard;
                int n = sscanf(*list, "%31[^=]=%lld:%lld", name, &soft, &hard);

                if (n < 2)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid ulimit argument: %s", *list);
                json_array_append_new(array, json_pack("{ss sI sI}", "Name", name, "Soft", (json_int_t) soft, "Hard",
                                                       (json_int_t) (n == 3 ? hard : soft)));
        }
        if (json_array_size(array) > 0)
                add_json(target, "ulimits", array);
        return 0;
}

static void add_texts(Buffer *target, const ClientArguments *arguments)
{
        static const struct {
                const char *option, *key;
        } texts[] = {
                { "cgroup-parent", "cgroupparent" }, { "cpuset-cpus", "cpusetcpus" }, { "cpuset-mems", "cpusetmems" },
                { "network", "networkmode" },        { "platform", "platform" },      { "target", "target" },
                { "isolation", "isolation" },
        };
        static const struct {
                const char *option, *key;
        } numbers[] = {
                { "cpu-period", "cpuperiod" }, { "cpu-quota", "cpuquota" },  { "cpu-shares", "cpushares" },
                { "memory", "memory" },        { "memory-swap", "memswap" }, { "shm-size", "shmsize" },
        };
        static const struct {
                const char *option, *key;
        } lists[] = { { "tag", "t" }, { "add-host", "extrahosts" }, { "security-opt", "securityopt" } };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (*client_string(arguments, texts[i].option))
                        target_add(target, texts[i].key, client_string(arguments, texts[i].option));
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
                char text[32];
                snprintf(text, sizeof(text), "%lld", (long long) client_value(arguments, numbers[i].option)->number);
                if (client_value(arguments, numbers[i].option)->number != 0)
                        target_add(target, numbers[i].key, text);
        }
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                for (char *const *value = client_value(arguments, lists[i].option)->list; value && *value; value++)
                        target_add(target, lists[i].key, *value);
}

static int make_target(const Client *client, const ClientArguments *arguments, const BuildSource *source,
                       Buffer *target, Error *error)
{
        static const struct {
                const char *option, *key;
        } flags[] = { { "no-cache", "nocache" },
                      { "pull", "pull" },
                      { "quiet", "q" },
                      { "force-rm", "forcerm" },
                      { "squash", "squash" } };
        CLEANUP_JSON json_t *build_args = build_arguments(client, arguments),
                            *labels = pairs(client_value(arguments, "label")->list, false),
                            *cache = client_must(json_array());

        client_must_zero(buffer_append_string(target, "/build"));
        target_add(target, "rm", client_flag(arguments, "rm") ? "1" : "0");
        for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
                if (client_flag(arguments, flags[i].option))
                        target_add(target, flags[i].key, "1");
        if (!str_empty(source->dockerfile))
                target_add(target, "dockerfile", source->dockerfile);
        target_add(target, "remote", source->remote);
        add_texts(target, arguments);
        add_json(target, "buildargs", build_args);
        add_json(target, "labels", labels);
        if (source->named.query)
                add_json(target, "contexts", source->named.query);
        for (char *const *value = client_value(arguments, "cache-from")->list; value && *value; value++)
                json_array_append_new(cache, json_string(*value));
        if (json_array_size(cache) > 0)
                add_json(target, "cachefrom", cache);
        return add_ulimits(target, client_value(arguments, "ulimit")->list, error);
}

/* Credentials of every registry that the user has some for: which of them are needed is in the Dockerfile. */
static char *registries_header(void)
{
        CLEANUP_CONFIG ClientConfig config = {};
        CLEANUP_JSON json_t *all = client_must(json_object());
        const char *key;
        json_t *value;

        client_config_load_or_warn(&config);
        json_object_foreach(json_get_object(config.root, "auths"), key, value) {
                CLEANUP_ERROR Error error = {};
                json_t *auth = NULL;
                if (client_auth_get(&config, key, &auth, &error) == 0)
                        json_object_set_new(all, key, auth);
        }
        CLEANUP_FREE char *text = client_must(json_dumps(all, JSON_COMPACT));
        CLEANUP_FREE char *encoded = client_must(base64_encode(text, strlen(text), true));
        return client_must(str_printf("X-Registry-Config: %s\r\n", encoded));
}

/* --- The build ---------------------------------------------------------------------------------------------------- */

typedef struct Early {
        BuildShow *show;
        Error *error;
} Early;

static int show_early(HttpClient *http, void *userdata)
{
        Early *early = userdata;

        return http_client_status(http) == 200 &&
               client_build_show_take(early->show, http_client_body(http), early->error) != 0;
}

/* Whether all was sent, is the last thing it says. */
static int upload(const Client *client, HttpClient *http, const BuildSource *source, BuildShow *show, bool *ret_sent,
                  Error *error)
{
        CLEANUP_ERROR Error refused = {};
        Early early = { show, &refused };
        int fds[2], status = -1, r;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_set(error, OUTCOME_FAILED, "cannot make a pipe: %s", strerror(errno));
        pid_t pid = fork();
        if (pid == 0) {
                close(fds[0]);
                build_source_send(source, fds[1]);
        }
        close(fds[1]);
        r = pid < 0 ? -errno : http_client_upload(http, fds[0], show_early, &early);
        close(fds[0]);
        if (pid > 0)
                while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                        ;
        if (r < 0)
                return client_transport_error(client, r, error);
        *ret_sent = status == 0;
        return refused.message ? error_set(error, OUTCOME_FAILED, "%s", refused.message) : 0;
}

/* RET_TAKEN: the daemon has all of the context. RET_STALE: it has not what changes alone were to be sent of. */
static int build_once(const Client *client, const char *target, const BuildSource *source, BuildShow *show,
                      bool *ret_taken, bool *ret_stale, Error *error)
{
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        CLEANUP_FREE char *registries = registries_header();
        CLEANUP_FREE char *headers = client_must(str_printf("%s%s", registries ?: "", source->secrets ?: ""));
        HttpClientRequest request = { .method = "POST",
                                      .target = target,
                                      .content_type = "application/x-tar",
                                      .headers = headers,
                                      .chunked = !source->remote };
        bool sent = false;
        int r = client_connect(client, &http, error);

        if (r != 0)
                return r;
        r = http_client_send(http, &request);
        if (r < 0)
                return client_transport_error(client, r, error);
        r = source->remote ? 0 : upload(client, http, source, show, &sent, error);
        if (r != 0)
                return r;
        r = http_client_read_head(http);
        if (r < 0)
                return client_transport_error(client, r, error);
        *ret_taken = sent && r < 400;
        *ret_stale = r == 409 && *source->keep.base;
        return r >= 400 ? client_refusal(http, error) : client_build_show_run(show, http, error);
}

static int build(const Client *client, const char *target, BuildSource *source, BuildShow *show, Error *error)
{
        CLEANUP_BUFFER Buffer whole = {};
        CLEANUP_FREE char *keep = client_keep_query(&source->keep, source->directory);
        bool taken = false, stale = false;

        client_must_zero(buffer_append_string(&whole, target));
        target_add(&whole, "keep", keep);
        int r = build_once(client, whole.data, source, show, &taken, &stale, error);
        client_keep_finish(&source->keep, taken);
        if (!stale)
                return r;
        error_clear(error);
        client_keep_forget(&source->keep);
        return build(client, target, source, show, error);
}

static int choose_mode(const ClientArguments *arguments, BuildShowMode *ret, Error *error)
{
        const struct {
                const char *name;
                BuildShowMode mode;
        } modes[] = { { "auto", isatty(STDOUT_FILENO) ? BUILD_SHOW_LIVE : BUILD_SHOW_PLAIN },
                      { "plain", BUILD_SHOW_PLAIN },
                      { "tty", BUILD_SHOW_LIVE },
                      { "rawjson", BUILD_SHOW_RAW },
                      { "quiet", BUILD_SHOW_NOTHING } };
        const char *wanted = client_string(arguments, "progress");
        size_t i = 0;

        while (i < ARRAY_SIZE(modes) && !str_equal(modes[i].name, wanted))
                i++;
        if (i == ARRAY_SIZE(modes))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid progress type: %s", wanted);
        *ret = client_flag(arguments, "quiet") ? BUILD_SHOW_NOTHING : modes[i].mode;
        return 0;
}

static int write_id(const char *path, const char *id, Error *error)
{
        int r = *path && id ? file_replace_volatile_at(AT_FDCWD, path, id, strlen(id), 0644) : 0;

        return r < 0 ? error_set(error, OUTCOME_FAILED, "cannot write %s: %s", path, strerror(-r)) : 0;
}

static int run_build(Client *client, const ClientArguments *arguments)
{
        const char *iidfile = client_string(arguments, "iidfile");
        CLEANUP(build_source_clear) BuildSource source = {};
        CLEANUP(client_build_show_clear) BuildShow show = {};
        CLEANUP(client_build_output_clear) BuildOutput output = {};
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_ERROR Error error = {};

        if (client_check_trust(arguments, &error) != 0 || choose_mode(arguments, &show.mode, &error) != 0 ||
            client_build_output_parse(client_string(arguments, "output"), &output, &error) != 0)
                return client_fail(&error);
        if (client_build_output_is_stdout(&output))
                show.mode = BUILD_SHOW_NOTHING;
        if (*iidfile && unlink(iidfile) < 0 && errno != ENOENT) {
                client_complain("cannot remove %s: %s", iidfile, strerror(errno));
                return 1;
        }
        if (build_source_find(&source, arguments->words[0], client_string(arguments, "file"), &error) != 0 ||
            build_source_add_named(&source, client_value(arguments, "build-context")->list, &error) != 0 ||
            client_build_secrets(client_value(arguments, "secret")->list, client_value(arguments, "ssh")->list,
                                 &source.secrets, &error) != 0 ||
            make_target(client, arguments, &source, &target, &error) != 0) {
                return client_fail(&error);
        }
        build_source_find_kept(client, arguments, &source);
        if (build(client, target.data, &source, &show, &error) != 0 || write_id(iidfile, show.image, &error) != 0 ||
            client_build_output_write(client, &output, show.image, &error) != 0) {
                int status = client_fail(&error);
                return show.exit_code > 0 ? show.exit_code : status;
        }
        if (show.mode == BUILD_SHOW_NOTHING && show.image && !client_build_output_is_stdout(&output))
                puts(show.image);
        return 0;
}

static const ClientOption build_options[] = {
        { 0, "add-host", OPTION_LIST, "list", NULL, "Add a line to /etc/hosts of RUN steps (host:ip)", NULL, NULL,
          false },
        { 0, "build-arg", OPTION_LIST, "list", NULL, "Set an ARG of the Dockerfile (NAME=value, or NAME)", NULL, NULL,
          false },
        { 0, "build-context", OPTION_LIST, "list", NULL,
          "Another context (NAME=directory, NAME=docker-image://IMAGE or NAME=repository)", NULL, NULL, false },
        { 0, "cache-from", OPTION_COMMA, "list", NULL, "Images to take steps from", NULL, NULL, false },
        { 0, "cgroup-parent", OPTION_STRING, "string", NULL, "Slice of the RUN steps' scopes", NULL, NULL, false },
        { 0, "cpu-period", OPTION_INT, "int", NULL, "Period of the CPU limit, in microseconds", NULL, NULL, false },
        { 0, "cpu-quota", OPTION_INT, "int", NULL, "CPU time in each period, in microseconds", NULL, NULL, false },
        { 'c', "cpu-shares", OPTION_INT, "int", NULL, "CPU shares (relative weight)", NULL, NULL, false },
        { 0, "cpuset-cpus", OPTION_STRING, "string", NULL, "CPUs to run on (0-3, 0,1)", NULL, NULL, false },
        { 0, "cpuset-mems", OPTION_STRING, "string", NULL, "Memory nodes to use (0-3, 0,1)", NULL, NULL, false },
        { 0, "disable-content-trust", OPTION_BOOL, NULL, "true", "Skip image verification", NULL, NULL, false },
        { 'f', "file", OPTION_STRING, "string", NULL, "The Dockerfile (default \"PATH/Dockerfile\"; - is STDIN)", NULL,
          NULL, false },
        { 0, "force-rm", OPTION_BOOL, NULL, NULL, "Remove containers of steps that failed, too", NULL, NULL, false },
        { 0, "iidfile", OPTION_STRING, "string", NULL, "Write the image's ID to this file", NULL, NULL, false },
        { 0, "isolation", OPTION_STRING, "string", NULL, "Accepted for compatibility", NULL, NULL, false },
        { 0, "label", OPTION_LIST, "list", NULL, "Set a label of the image", NULL, NULL, false },
        { 'm', "memory", OPTION_BYTES, "bytes", NULL, "Memory limit of RUN steps", NULL, NULL, false },
        { 0, "memory-swap", OPTION_BYTES, "bytes", NULL, "Limit of memory and swap together (-1: none)", NULL, NULL,
          false },
        { 0, "network", OPTION_STRING, "string", "default", "Network of RUN steps", NULL, NULL, false },
        { 0, "no-cache", OPTION_BOOL, NULL, NULL, "Do every step again", NULL, NULL, false },
        { 'o', "output", OPTION_STRING, "string", NULL,
          "What else the result becomes (DIRECTORY, type=local|tar|docker,dest=PATH)", NULL, NULL, false },
        { 0, "platform", OPTION_STRING, "string", NULL, "Build for this platform (os[/arch[/variant]])", NULL, NULL,
          false },
        { 0, "progress", OPTION_STRING, "string", "auto",
          "How the build is shown (\"auto\", \"plain\", \"tty\", \"quiet\", \"rawjson\")", NULL, NULL, false },
        { 0, "pull", OPTION_BOOL, NULL, NULL, "Pull base images even if they are there", NULL, NULL, false },
        { 'q', "quiet", OPTION_BOOL, NULL, NULL, "Print the image's ID only", NULL, NULL, false },
        { 0, "rm", OPTION_BOOL, NULL, "true", "Remove the steps' containers", NULL, NULL, false },
        { 0, "secret", OPTION_LIST, "list", NULL, "A secret for RUN steps (id=ID,src=FILE or id=ID,env=NAME)", NULL,
          NULL, false },
        { 0, "security-opt", OPTION_LIST, "list", NULL, "Security options of RUN steps", NULL, NULL, false },
        { 0, "shm-size", OPTION_BYTES, "bytes", NULL, "Size of /dev/shm of RUN steps", NULL, NULL, false },
        { 0, "squash", OPTION_BOOL, NULL, NULL, "Make one layer of all that the steps made", NULL, NULL, false },
        { 0, "ssh", OPTION_LIST, "list", NULL, "An SSH agent for RUN steps (default, or ID=SOCKET)", NULL, NULL,
          false },
        { 't', "tag", OPTION_LIST, "list", NULL, "Name of the image (name:tag)", NULL, NULL, false },
        { 0, "target", OPTION_STRING, "string", NULL, "The stage to build", NULL, NULL, false },
        { 0, "ulimit", OPTION_LIST, "list", NULL, "Limits of RUN steps (name=soft[:hard])", NULL, NULL, false },
        {},
};

const ClientCommand client_build = {
        .usage = "[OPTIONS] PATH | URL | -",
        .summary = "Build an image from a Dockerfile",
        .options = build_options,
        .min_words = 1,
        .max_words = 1,
        .run = run_build,
};
