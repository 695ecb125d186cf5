/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth attach and start. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/json.h"
#include "client-attach.h"
#include "client-config.h"
#include "client-stream.h"
#include "client-terminal.h"

int client_attach_send(const Client *client, const char *id, const ClientAttach *attach, HttpClient **ret, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", id, "attach");
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        int r;

        target_add(&target, "stream", "1");
        target_add(&target, "stdin", attach->input ? "1" : NULL);
        target_add(&target, "stdout", attach->output ? "1" : NULL);
        target_add(&target, "stderr", attach->errors ? "1" : NULL);
        target_add(&target, "logs", attach->logs ? "1" : NULL);
        target_add(&target, "detachKeys", str_empty(attach->detach_keys) ? NULL : attach->detach_keys);
        r = client_connect(client, &http, error);
        if (r == 0)
                r = client_send(http, "POST", target.data, NULL, true, error);
        if (r == 0)
                *ret = TAKE_PTR(http);
        return r;
}

int client_attach_take(const Client *client, HttpClient *http, int *ret_socket, Buffer *early, Error *error)
{
        int r = http_client_read_head(http);

        if (r < 0)
                return client_transport_error(client, r, error);
        if (r >= 400)
                return client_refusal(http, error);
        r = http_client_take_stream(http, early, ret_socket);
        return r < 0 ? client_transport_error(client, -EBADMSG, error) : 0;
}

/* --- attach --- */

static int check_attachable(const json_t *container, bool input, Error *error)
{
        const json_t *state = json_get_object(container, "State");

        if (!json_get_bool(state, "Running"))
                return error_set(error, OUTCOME_CONFLICT, "cannot attach to a stopped container, start it first");
        if (json_get_bool(state, "Paused"))
                return error_set(error, OUTCOME_CONFLICT, "cannot attach to a paused container, unpause it first");
        if (json_get_bool(state, "Restarting"))
                return error_set(error, OUTCOME_CONFLICT,
                                 "cannot attach to a restarting container, wait until it is running");
        if (input && json_get_bool(json_get_object(container, "Config"), "Tty") && !isatty(STDIN_FILENO))
                return error_set(error, OUTCOME_BAD_REQUEST, "the input device is not a TTY");
        return 0;
}

static int attach_and_wait(Client *client, const ClientArguments *arguments, const json_t *container)
{
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        CLEANUP_WAIT ClientWait wait = {};
        CLEANUP_BUFFER Buffer early = {};
        CLEANUP_CLOSE int socket = -EBADF;
        CLEANUP_ERROR Error error = {};
        CLEANUP_FREE char *keys = client_config_detach_keys(arguments);
        const json_t *config = json_get_object(container, "Config");
        bool input = !client_flag(arguments, "no-stdin") && json_get_bool(config, "OpenStdin");
        ClientAttach attach = { input, true, true, false, keys };
        ClientStream stream = {
                .client = client,
                .id = json_get_string_or(container, "Id", arguments->words[0]),
                .early = &early,
                .terminal = json_get_bool(config, "Tty"),
                .input = input,
                .detach_keys = attach.detach_keys,
                .wait = &wait,
        };
        int r;

        stream.proxy_signals = client_flag(arguments, "sig-proxy") && !stream.terminal;
        client_stream_block_signals();
        r = client_wait_begin(&wait, client, stream.id, NULL, &error);
        if (r == 0)
                r = client_attach_send(client, stream.id, &attach, &http, &error);
        if (r == 0)
                r = client_attach_take(client, http, &socket, &early, &error);
        stream.socket = socket;
        if (r == 0)
                r = client_stream_run(&stream, &error);
        if (r != 0)
                return client_fail(&error);
        if (stream.detached) {
                client_complain("read escape sequence");
                return 1;
        }
        return client_wait_finish(&wait);
}

static int run_attach(Client *client, const ClientArguments *arguments)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", arguments->words[0], "json");
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};

        if (client_call(client, "GET", target.data, NULL, &reply, &error) != 0 ||
            check_attachable(reply.json, !client_flag(arguments, "no-stdin"), &error) != 0)
                return client_fail(&error);
        return attach_and_wait(client, arguments, reply.json);
}

static const ClientOption attach_options[] = {
        { 0, "detach-keys", OPTION_STRING, "string", NULL, "Keys that detach from the container", NULL, NULL, false },
        { 0, "no-stdin", OPTION_BOOL, NULL, NULL, "Do not attach STDIN", NULL, NULL, false },
        { 0, "sig-proxy", OPTION_BOOL, NULL, "true", "Pass signals on to the process", NULL, NULL, false },
        {},
};

const ClientCommand client_attach = {
        .usage = "[OPTIONS] CONTAINER",
        .summary = "Attach local standard input, output, and error streams to a running container",
        .options = attach_options,
        .min_words = 1,
        .max_words = 1,
        .run = run_attach,
};

/* --- start --- */

static int start_call(Client *client, const char *name, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", name, "start");
        CLEANUP_REPLY ClientReply reply = {};

        return client_call(client, "POST", target.data, NULL, &reply, error);
}

static int start_many(Client *client, const ClientArguments *arguments)
{
        CLEANUP_BUFFER Buffer failed = {};

        for (size_t i = 0; i < arguments->n_words; i++) {
                CLEANUP_ERROR Error error = {};

                if (start_call(client, arguments->words[i], &error) == 0) {
                        puts(arguments->words[i]);
                        fflush(stdout);
                        continue;
                }
                client_complain("%s", error.message);
                client_must_zero(buffer_printf(&failed, "%s%s", failed.size > 0 ? ", " : "", arguments->words[i]));
        }
        if (failed.size == 0)
                return 0;
        client_complain("Error: failed to start containers: %s", failed.data);
        return 1;
}

static int start_attached(Client *client, const ClientArguments *arguments)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", arguments->words[0], "json");
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_WAIT ClientWait wait = {};
        CLEANUP_BUFFER Buffer early = {};
        CLEANUP_CLOSE int socket = -EBADF;
        CLEANUP_ERROR Error error = {};
        CLEANUP_FREE char *keys = client_config_detach_keys(arguments);
        ClientAttach attach = { .output = true, .errors = true, .detach_keys = keys };
        ClientStream stream = { .client = client, .early = &early, .wait = &wait };
        const json_t *config;
        int r;

        if (client_call(client, "GET", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        config = json_get_object(reply.json, "Config");
        attach.input = client_flag(arguments, "interactive") && json_get_bool(config, "OpenStdin");
        stream.id = json_get_string_or(reply.json, "Id", arguments->words[0]);
        stream.terminal = json_get_bool(config, "Tty");
        stream.input = attach.input;
        stream.detach_keys = attach.detach_keys;
        stream.proxy_signals = !stream.terminal;
        client_stream_block_signals();
        r = client_attach_send(client, stream.id, &attach, &http, &error);
        if (r == 0)
                r = client_wait_begin(&wait, client, stream.id,
                                      json_get_bool(json_get_object(reply.json, "HostConfig"), "AutoRemove")
                                              ? "removed"
                                              : "next-exit",
                                      &error);
        if (r == 0)
                r = client_attach_take(client, http, &socket, &early, &error);
        if (r == 0 && http_client_read_head(wait.http) < 0)
                r = client_transport_error(client, -ECONNRESET, &error);
        if (r == 0)
                r = start_call(client, stream.id, &error);
        stream.socket = socket;
        if (r == 0)
                r = client_stream_run(&stream, &error);
        if (r != 0)
                return client_fail(&error);
        if (stream.detached) {
                client_complain("read escape sequence");
                return 0;
        }
        return client_wait_finish(&wait);
}

static int run_start(Client *client, const ClientArguments *arguments)
{
        if (!client_flag(arguments, "attach") && !client_flag(arguments, "interactive"))
                return start_many(client, arguments);
        if (arguments->n_words > 1) {
                client_complain("you cannot start and attach multiple containers at once");
                return 1;
        }
        return start_attached(client, arguments);
}

static const ClientOption start_options[] = {
        { 'a', "attach", OPTION_BOOL, NULL, NULL, "Attach STDOUT and STDERR and pass signals on", NULL, NULL, false },
        { 0, "detach-keys", OPTION_STRING, "string", NULL, "Keys that detach from the container", NULL, NULL, false },
        { 'i', "interactive", OPTION_BOOL, NULL, NULL, "Attach the container's STDIN", NULL, NULL, false },
        {},
};

const ClientCommand client_start = {
        .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
        .summary = "Start one or more stopped containers",
        .options = start_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_start,
};
