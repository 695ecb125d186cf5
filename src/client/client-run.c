/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth run and create. The connections of an attached run: one for create and start, one for the stream, one for the
 * wait. Stream and wait are asked for at the same time, and both have been answered before the start is asked for, so
 * that neither output nor the end can be missed. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/json.h"
#include "client-attach.h"
#include "client-config.h"
#include "client-pull.h"
#include "client-reference.h"
#include "client-run.h"
#include "client-stream.h"
#include "client-terminal.h"

static int fail(const ClientArguments *arguments, const Error *error, int status)
{
        client_complain("berth: %s\n\nRun '%s --help' for more information", error->message ?: "out of memory",
                        arguments->path);
        return status;
}

/* What a start that failed means for the exit status. */
static int start_status(const char *message)
{
        static const struct {
                const char *words;
                int status;
        } kinds[] = {
                { "executable file not found", 127 },
                { "no such file or directory", 127 },
                { "permission denied", 126 },
                { "is a directory", 126 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (strcasestr(message, kinds[i].words))
                        return kinds[i].status;
        return CLIENT_EXIT_FAILURE;
}

/* --- images that are not here --- */

static int pull(Client *client, const ClientArguments *arguments, Error *error)
{
        CLEANUP_PROGRESS ClientProgress progress = { .file = stderr, .quiet = client_flag(arguments, "quiet") };
        int r = client_check_trust(arguments, error);

        return r != 0 ? r
                      : client_pull(client, arguments->words[0], false, client_string(arguments, "platform"), &progress,
                                    error);
}

static int create_call(Client *client, const ClientArguments *arguments, const json_t *body, ClientReply *reply,
                       Error *error)
{
        const char *name = client_string(arguments, "name"), *platform = client_string(arguments, "platform");
        CLEANUP_BUFFER Buffer target = {};

        client_must_zero(buffer_append_string(&target, "/containers/create"));
        target_add(&target, "name", *name ? name : NULL);
        target_add(&target, "platform", *platform ? platform : NULL);
        return client_call(client, "POST", target.data, body, reply, error);
}

/* Creates the container, pulling the image if that is wanted. */
static int create_or_pull(Client *client, const ClientArguments *arguments, const json_t *body, ClientReply *reply,
                          Error *error)
{
        CLEANUP_FREE char *image = client_reference_familiar(arguments->words[0]);
        const char *when = client_string(arguments, "pull");
        int r;

        if (image && strcmp(when, "always") == 0) {
                r = pull(client, arguments, error);
                if (r != 0)
                        return r;
        }
        r = create_call(client, arguments, body, reply, error);
        if (r == 0 || reply->status != 404 || !image || strcmp(when, "missing") != 0)
                return r;
        if (!client_flag(arguments, "quiet"))
                client_complain("Unable to find image '%s' locally", image);
        error_clear(error);
        r = pull(client, arguments, error);
        return r != 0 ? r : create_call(client, arguments, body, reply, error);
}

/* --- the cidfile --- */

static int check_cid_file(const char *path, Error *error)
{
        if (*path && access(path, F_OK) == 0)
                return error_set(error, OUTCOME_CONFLICT,
                                 "container ID file found, make sure the other container isn't running or delete %s",
                                 path);
        return 0;
}

static int write_cid_file(const char *path, const char *id, Error *error)
{
        CLEANUP_CLOSE int fd = -EBADF;
        int r;

        if (!*path)
                return 0;
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        r = fd < 0 ? -errno : fd_write_all(fd, id, strlen(id));
        return r < 0 ? error_set(error, OUTCOME_FAILED, "failed to write the container ID to the file (%s): %s", path,
                                 strerror(-r))
                     : 0;
}

/* From arguments to a container; its ID is owned by the caller. */
static int make_container(Client *client, const ClientArguments *arguments, json_t **ret_body, char **ret_id,
                          Error *error)
{
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_JSON json_t *body = NULL;
        json_t *warning;
        const char *id;
        size_t i;
        int r;

        r = client_run_request(client, arguments, &body, error);
        if (r == 0)
                r = check_cid_file(client_string(arguments, "cidfile"), error);
        if (r == 0)
                r = create_or_pull(client, arguments, body, &reply, error);
        if (r != 0)
                return r;
        json_array_foreach(json_get_array(reply.json, "Warnings"), i, warning) {
                client_complain("WARNING: %s", json_string_value(warning) ?: "");
        }
        id = json_get_string(reply.json, "Id");
        if (!id)
                return error_set(error, OUTCOME_FAILED, "the daemon did not tell the container's ID");
        r = write_cid_file(client_string(arguments, "cidfile"), id, error);
        if (r != 0)
                return r;
        *ret_id = client_must(strdup(id));
        *ret_body = TAKE_PTR(body);
        return 0;
}

/* --- create --- */

static int run_create(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *body = NULL;
        CLEANUP_FREE char *id = NULL;
        CLEANUP_ERROR Error error = {};

        if (make_container(client, arguments, &body, &id, &error) != 0)
                return error.outcome == OUTCOME_BAD_REQUEST ? fail(arguments, &error, CLIENT_EXIT_FAILURE)
                                                            : client_fail(&error);
        puts(id);
        return 0;
}

const ClientCommand client_create = {
        .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        .summary = "Create a new container",
        .options = client_create_options,
        .min_words = 1,
        .max_words = -1,
        .stops_at_word = true,
        .run = run_create,
};

/* --- run --- */

typedef struct Session {
        Client *client;
        const ClientArguments *arguments;
        char *id;   /* owned */
        char *keys; /* that detach, owned */
        ClientAttach attach;
        bool attached, terminal, remove;
        ClientWait wait;
        HttpClient *http; /* the stream's, until it is taken over; owned */
        int socket;       /* owned */
        Buffer early;
} Session;

static void session_clear(Session *session)
{
        client_wait_clear(&session->wait);
        http_client_free(session->http);
        fd_close(session->socket);
        buffer_clear(&session->early);
        free(session->id);
        free(session->keys);
}

/* Stream and wait, both there before the start. */
static int prepare(Session *session, Error *error)
{
        int r = 0;

        if (session->attached)
                r = client_attach_send(session->client, session->id, &session->attach, &session->http, error);
        if (r == 0)
                r = client_wait_begin(&session->wait, session->client, session->id,
                                      session->remove ? "removed" : "next-exit", error);
        if (r == 0 && session->attached)
                r = client_attach_take(session->client, session->http, &session->socket, &session->early, error);
        if (r != 0)
                return r;
        r = http_client_read_head(session->wait.http);
        if (r < 0)
                return client_transport_error(session->client, r, error);
        return r >= 400 ? client_refusal(session->wait.http, error) : 0;
}

static int start(Session *session, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", session->id, "start");
        CLEANUP_REPLY ClientReply reply = {};

        return client_call(session->client, "POST", target.data, NULL, &reply, error);
}

static int follow(Session *session)
{
        CLEANUP_ERROR Error error = {};
        ClientStream stream = {
                .client = session->client,
                .id = session->id,
                .socket = session->socket,
                .early = &session->early,
                .terminal = session->terminal,
                .input = session->attach.input,
                .proxy_signals = client_flag(session->arguments, "sig-proxy"),
                .detach_keys = session->attach.detach_keys,
                .wait = &session->wait,
        };

        if (client_stream_run(&stream, &error) != 0)
                return client_fail(&error);
        if (stream.detached) {
                client_complain("read escape sequence");
                return 0;
        }
        return client_wait_finish(&session->wait);
}

static int check_streams(const ClientArguments *arguments)
{
        uint8_t keys[DETACH_KEYS_MAX];

        if (client_flag(arguments, "detach") && client_value(arguments, "attach")->set) {
                client_complain("conflicting options: cannot specify both --attach and --detach");
                return 1;
        }
        if (client_flag(arguments, "tty") && client_flag(arguments, "interactive") &&
            !client_flag(arguments, "detach") && !isatty(STDIN_FILENO)) {
                client_complain("the input device is not a TTY");
                return 1;
        }
        if (client_value(arguments, "detach-keys")->set &&
            client_terminal_detach_keys(client_string(arguments, "detach-keys"), keys) == 0) {
                client_complain("invalid detach keys (%s)", client_string(arguments, "detach-keys"));
                return 1;
        }
        return 0;
}

static int run_session(Session *session)
{
        const ClientArguments *arguments = session->arguments;
        CLEANUP_ERROR Error error = {};
        /* Without output to show, the ID is what the user gets. */
        bool show_id = !session->attach.output && !session->attach.errors;
        int r = 0;

        if (session->attached) {
                client_stream_block_signals();
                r = prepare(session, &error);
        }
        if (r == 0)
                r = start(session, &error);
        if (show_id) {
                puts(session->id);
                fflush(stdout);
        }
        if (r != 0) {
                CLEANUP_FREE char *message = client_must(strdup(error.message ?: ""));

                r = fail(arguments, &error, start_status(message));
                /* The daemon takes the container away; whoever asks next shall not find it. */
                if (session->remove && session->wait.http)
                        while (session->wait.http)
                                client_wait_continue(&session->wait);
                return r;
        }
        return session->attached ? follow(session) : 0;
}

static int run_run(Client *client, const ClientArguments *arguments)
{
        CLEANUP(session_clear) Session session = { .client = client, .arguments = arguments, .socket = -EBADF };
        CLEANUP_JSON json_t *body = NULL;
        CLEANUP_ERROR Error error = {};

        if (check_streams(arguments) != 0)
                return 1;
        if (make_container(client, arguments, &body, &session.id, &error) != 0)
                return fail(arguments, &error, CLIENT_EXIT_FAILURE);
        session.keys = client_config_detach_keys(arguments);
        session.attach = (ClientAttach) {
                .input = json_get_bool(body, "AttachStdin"),
                .output = json_get_bool(body, "AttachStdout"),
                .errors = json_get_bool(body, "AttachStderr"),
                .detach_keys = session.keys,
        };
        session.attached = session.attach.input || session.attach.output || session.attach.errors;
        session.terminal = json_get_bool(body, "Tty");
        session.remove = client_flag(arguments, "rm");
        return run_session(&session);
}

const ClientCommand client_run = {
        .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        .summary = "Create and run a new container from an image",
        .options = client_run_options,
        .min_words = 1,
        .max_words = -1,
        .stops_at_word = true,
        .run = run_run,
};
