/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth logs. Whether the stream is framed is what the daemon's answer says; a daemon that does not say is asked for
 * the container's terminal. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/json.h"
#include "client-logs.h"
#include "client-stream.h"

static int has_terminal(Client *client, const char *name, bool *ret, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", name, "json");
        CLEANUP_REPLY ClientReply reply = {};
        int r = client_call(client, "GET", target.data, NULL, &reply, error);

        if (r == 0)
                *ret = json_get_bool(json_get_object(reply.json, "Config"), "Tty");
        return r;
}

static int copy_stream(HttpClient *http, bool framed)
{
        Buffer *body = http_client_body(http);
        StreamFrames frames = {};
        int r = 0;

        while (r == 0) {
                if (framed)
                        r = client_frames_write(&frames, body->data ?: "", body->size, STDOUT_FILENO, STDERR_FILENO);
                else
                        r = fd_write_all(STDOUT_FILENO, body->data ?: "", body->size);
                body->size = 0;
                if (r < 0 || http_client_complete(http))
                        break;
                r = http_client_step(http);
                if (r > 0)
                        r = 0;
        }
        return r;
}

int client_time_argument(const char *value, char **ret, Error *error)
{
        int64_t ns;

        *ret = NULL;
        if (!*value)
                return 0;
        if (!value[strspn(value, "0123456789.")]) {
                *ret = client_must(strdup(value));
                return 0;
        }
        if (time_parse_query(value, time_now_ns(), &ns) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "failed to parse value as time or duration: \"%s\"",
                                 value);
        *ret = client_must(str_printf("%lld.%09lld", (long long) (ns / 1000000000), (long long) (ns % 1000000000)));
        return 0;
}

static int logs_time(const ClientArguments *arguments, const char *option, char **ret, Error *error)
{
        CLEANUP_ERROR Error reason = {};

        if (client_time_argument(client_string(arguments, option), ret, &reason) == 0)
                return 0;
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid value for \"%s\": %s", option, reason.message);
}

static int make_target(const ClientArguments *arguments, Buffer *ret, Error *error)
{
        CLEANUP_FREE char *since = NULL, *until = NULL;
        Buffer target = {};
        int r = logs_time(arguments, "since", &since, error);

        if (r == 0)
                r = logs_time(arguments, "until", &until, error);
        if (r != 0)
                return r;
        target = target_make("containers", arguments->words[0], "logs");
        target_add(&target, "details", client_flag(arguments, "details") ? "1" : NULL);
        target_add(&target, "follow", client_flag(arguments, "follow") ? "1" : NULL);
        target_add(&target, "since", since);
        target_add(&target, "stderr", "1");
        target_add(&target, "stdout", "1");
        target_add(&target, "tail", client_string(arguments, "tail"));
        target_add(&target, "timestamps", client_flag(arguments, "timestamps") ? "1" : NULL);
        target_add(&target, "until", until);
        *ret = target;
        return 0;
}

static int run_logs(Client *client, const ClientArguments *arguments)
{
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        CLEANUP_ERROR Error error = {};
        bool terminal = false;
        const char *type;
        int r;

        r = make_target(arguments, &target, &error);
        if (r == 0)
                r = client_connect(client, &http, &error);
        if (r == 0)
                r = client_send(http, "GET", target.data, NULL, false, &error);
        if (r != 0)
                return client_fail(&error);
        r = http_client_read_head(http);
        if (r < 0)
                client_transport_error(client, r, &error);
        else if (r >= 400)
                client_refusal(http, &error);
        if (error.message)
                return client_fail(&error);
        type = http_client_content_type(http);
        if (strcmp(type, "application/vnd.docker.multiplexed-stream") != 0 &&
            has_terminal(client, arguments->words[0], &terminal, &error) != 0)
                return client_fail(&error);
        r = copy_stream(http, !terminal);
        if (r == -EPIPE)
                return 1;
        if (r < 0) {
                client_transport_error(client, r, &error);
                return client_fail(&error);
        }
        return 0;
}

static const ClientOption logs_options[] = {
        { 0, "details", OPTION_BOOL, NULL, NULL, "Show extra details given with the log options", NULL, NULL, false },
        { 'f', "follow", OPTION_BOOL, NULL, NULL, "Go on as more is written", NULL, NULL, false },
        { 0, "since", OPTION_STRING, "string", NULL,
          "Show what came after a time (\"2013-01-02T13:23:37Z\") or so long ago (\"42m\")", NULL, NULL, false },
        { 'n', "tail", OPTION_STRING, "string", "all", "Number of lines to show from the end", NULL, NULL, false },
        { 't', "timestamps", OPTION_BOOL, NULL, NULL, "Show when each line was written", NULL, NULL, false },
        { 0, "until", OPTION_STRING, "string", NULL,
          "Show what came before a time (\"2013-01-02T13:23:37Z\") or so long ago (\"42m\")", NULL, NULL, false },
        {},
};

const ClientCommand client_logs = {
        .usage = "[OPTIONS] CONTAINER",
        .summary = "Fetch the logs of a container",
        .options = logs_options,
        .min_words = 1,
        .max_words = 1,
        .run = run_logs,
};
