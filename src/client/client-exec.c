/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth exec: the exec is made, started with a raw stream on a connection of its own, and asked for its exit status
 * when the stream ended. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/json.h"
#include "client-attach.h"
#include "client-config.h"
#include "client-run.h"
#include "client-stream.h"
#include "client-terminal.h"

static void set_console(json_t *body)
{
        unsigned rows, columns;

        if (client_terminal_size(&rows, &columns))
                client_must_zero(json_object_set_new(body, "ConsoleSize", json_pack("[i,i]", rows, columns)));
}

static json_t *make_program(const ClientArguments *arguments)
{
        json_t *list = client_must(json_array());

        for (size_t i = 1; i < arguments->n_words; i++)
                client_must_zero(json_array_append_new(list, client_must(json_string(arguments->words[i]))));
        return list;
}

static int make_request(const ClientArguments *arguments, const char *keys, json_t **ret, Error *error)
{
        bool detach = client_flag(arguments, "detach"), terminal = client_flag(arguments, "tty");
        CLEANUP_JSON json_t *body = client_must(json_object());
        int r;

        client_run_set(body, "User", json_string(client_string(arguments, "user")));
        client_run_set(body, "Privileged", json_boolean(client_flag(arguments, "privileged")));
        client_run_set(body, "Tty", json_boolean(terminal));
        client_run_set(body, "AttachStdin", json_boolean(client_flag(arguments, "interactive") && !detach));
        client_run_set(body, "AttachStderr", json_boolean(!detach));
        client_run_set(body, "AttachStdout", json_boolean(!detach));
        client_run_set(body, "Detach", json_boolean(detach));
        client_run_set(body, "DetachKeys", json_string(keys));
        client_run_set(body, "WorkingDir", json_string(client_string(arguments, "workdir")));
        client_run_set(body, "Cmd", make_program(arguments));
        if (terminal)
                set_console(body);
        r = client_run_environment(arguments, body, error);
        if (r == 0)
                *ret = TAKE_PTR(body);
        return r;
}

/* Makes the exec; its ID is owned by the caller. */
static int create(Client *client, const ClientArguments *arguments, const json_t *body, char **ret_id, Error *error)
{
        CLEANUP_BUFFER Buffer inspect = target_make("containers", arguments->words[0], "json");
        CLEANUP_BUFFER Buffer target = target_make("containers", arguments->words[0], "exec");
        CLEANUP_REPLY ClientReply reply = {};
        int r;

        /* A container that is not there is found out before anything else is complained about. */
        r = client_call(client, "GET", inspect.data, NULL, &reply, error);
        if (r != 0)
                return r;
        if (client_flag(arguments, "tty") && client_flag(arguments, "interactive") &&
            !client_flag(arguments, "detach") && !isatty(STDIN_FILENO))
                return error_set(error, OUTCOME_BAD_REQUEST, "the input device is not a TTY");
        r = client_call(client, "POST", target.data, body, &reply, error);
        if (r != 0)
                return r;
        if (str_empty(json_get_string(reply.json, "Id")))
                return error_set(error, OUTCOME_FAILED, "exec ID empty");
        *ret_id = client_must(strdup(json_get_string(reply.json, "Id")));
        return 0;
}

static int start_detached(Client *client, const char *id, const json_t *start, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("exec", id, "start");
        CLEANUP_REPLY ClientReply reply = {};

        return client_call(client, "POST", target.data, start, &reply, error);
}

static int exit_status(Client *client, const char *id, int *ret, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("exec", id, "json");
        CLEANUP_REPLY ClientReply reply = {};
        int r = client_call(client, "GET", target.data, NULL, &reply, error);

        if (r == 0)
                *ret = (int) json_get_int(reply.json, "ExitCode", 0);
        return r;
}

/* Starts it and stays with it. RET is the exit status of the program. */
static int start_attached(Client *client, const ClientArguments *arguments, const char *id, const json_t *body,
                          const json_t *start, int *ret, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("exec", id, "start"), early = {};
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        CLEANUP_CLOSE int socket = -EBADF;
        ClientStream stream = {
                .client = client,
                .id = id,
                .exec = true,
                .early = &early,
                .terminal = client_flag(arguments, "tty"),
                .input = client_flag(arguments, "interactive"),
                .detach_keys = json_get_string_or(body, "DetachKeys", ""),
        };
        int r;

        client_stream_block_signals();
        r = client_connect(client, &http, error);
        if (r == 0)
                r = client_send(http, "POST", target.data, start, true, error);
        if (r == 0)
                r = client_attach_take(client, http, &socket, &early, error);
        stream.socket = socket;
        if (r == 0)
                r = client_stream_run(&stream, error);
        if (r != 0)
                return r;
        if (stream.detached) {
                client_complain("read escape sequence");
                *ret = 1;
                return 0;
        }
        return exit_status(client, id, ret, error);
}

static int run_exec(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *body = NULL, *start = NULL;
        CLEANUP_FREE char *id = NULL, *keys = client_config_detach_keys(arguments);
        CLEANUP_ERROR Error error = {};
        uint8_t bytes[DETACH_KEYS_MAX];
        bool detach = client_flag(arguments, "detach");
        int status = 0, r = 0;

        if (client_value(arguments, "detach-keys")->set && client_terminal_detach_keys(keys, bytes) == 0)
                r = error_set(&error, OUTCOME_BAD_REQUEST, "invalid detach keys (%s)", keys);
        if (r == 0)
                r = make_request(arguments, keys, &body, &error);
        if (r == 0)
                r = create(client, arguments, body, &id, &error);
        if (r != 0)
                return client_fail(&error);
        start = client_must(json_pack("{s:b,s:b}", "Detach", detach, "Tty", client_flag(arguments, "tty")));
        if (client_flag(arguments, "tty"))
                set_console(start);
        r = detach ? start_detached(client, id, start, &error)
                   : start_attached(client, arguments, id, body, start, &status, &error);
        return r != 0 ? client_fail(&error) : status;
}

static const ClientOption exec_options[] = {
        { 'd', "detach", OPTION_BOOL, NULL, NULL, "Run the command in the background", NULL, NULL, false },
        { 0, "detach-keys", OPTION_STRING, "string", NULL, "Keys that detach from the command", NULL, NULL, false },
        { 'e', "env", OPTION_LIST, "list", NULL, "Set environment variables", NULL, client_check_env, false },
        { 0, "env-file", OPTION_LIST, "list", NULL, "Read environment variables from a file", NULL, NULL, false },
        { 'i', "interactive", OPTION_BOOL, NULL, NULL, "Pass STDIN on", NULL, NULL, false },
        { 0, "privileged", OPTION_BOOL, NULL, NULL, "Give the command every privilege", NULL, NULL, false },
        { 't', "tty", OPTION_BOOL, NULL, NULL, "Allocate a terminal", NULL, NULL, false },
        { 'u', "user", OPTION_STRING, "string", NULL, "User, and group (name|uid[:group|gid])", NULL, NULL, false },
        { 'w', "workdir", OPTION_STRING, "string", NULL, "Working directory in the container", NULL, NULL, false },
        {},
};

const ClientCommand client_exec = {
        .usage = "[OPTIONS] CONTAINER COMMAND [ARG...]",
        .summary = "Execute a command in a running container",
        .options = exec_options,
        .min_words = 2,
        .max_words = -1,
        .stops_at_word = true,
        .run = run_exec,
};
