/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands that ask for one thing of each container they are given. The requests for several containers are all
 * under way at the same time, each on a connection of its own; answers are taken in the order of the command line. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/json.h"
#include "client-text.h"
#include "client.h"

/* So many requests at a time. */
#define BATCH_MAX 50
#define BODY_MAX (1024u * 1024)

typedef struct Job {
        const char *method;
        const char *verb;
        const char *query; /* "?force=1", already escaped; "" for none */
        /* Says what the answer is to be taken for. 0, or 1 after it complained. NULL: the name is printed. */
        int (*done)(const char *name, int status, const json_t *reply, const Error *error);
} Job;

static int finish(const Job *job, const char *name, HttpClient *http, const Client *client, Error *error)
{
        CLEANUP_JSON json_t *reply = NULL;
        int status = 0;

        if (http) {
                int r = http_client_read_all(http, BODY_MAX);

                status = http_client_status(http);
                if (r < 0)
                        client_transport_error(client, r, error);
                else if (status >= 400)
                        client_refusal(http, error);
                else if (http_client_body(http)->size > 0)
                        reply = json_loadb(http_client_body(http)->data, http_client_body(http)->size,
                                           JSON_DISABLE_EOF_CHECK, NULL);
        }
        if (job->done)
                return job->done(name, status, reply, error->message ? error : NULL);
        if (error->message)
                return client_fail(error);
        puts(name);
        fflush(stdout);
        return 0;
}

static int run_batch(const Client *client, const Job *job, char *const *names, size_t n)
{
        HttpClient *connections[BATCH_MAX] = {};
        Error errors[BATCH_MAX] = {};
        int failed = 0;

        for (size_t i = 0; i < n; i++) {
                CLEANUP_BUFFER Buffer target = target_make("containers", names[i] + strspn(names[i], "/"), job->verb);

                client_must_zero(buffer_append_string(&target, job->query));
                if (client_connect(client, &connections[i], &errors[i]) == 0)
                        client_send(connections[i], job->method, target.data, NULL, false, &errors[i]);
        }
        for (size_t i = 0; i < n; i++) {
                failed |= finish(job, names[i], connections[i], client, &errors[i]);
                http_client_free(connections[i]);
                error_clear(&errors[i]);
        }
        return failed;
}

static int run_job(const Client *client, const Job *job, const ClientArguments *arguments)
{
        int failed = 0;

        for (size_t i = 0; i < arguments->n_words; i += BATCH_MAX)
                failed |= run_batch(client, job, arguments->words + i, MIN(arguments->n_words - i, BATCH_MAX));
        return failed;
}

/* --- stop and restart --- */

static int run_stop_like(const Client *client, const ClientArguments *arguments, const char *verb)
{
        CLEANUP_BUFFER Buffer query = {};
        const ClientValue *timeout = client_value(arguments, "timeout"), *time = client_value(arguments, "time");
        const ClientValue *signal = client_value(arguments, "signal");

        if (timeout->set && time->set) {
                client_complain("conflicting options: cannot specify both --timeout and --time");
                return 1;
        }
        target_add(&query, "signal", signal->set ? signal->string : NULL);
        target_add(&query, "t", timeout->set ? timeout->string : time->set ? time->string : NULL);
        return run_job(client, &(Job) { "POST", verb, query.data ?: "", NULL }, arguments);
}

static int run_stop(Client *client, const ClientArguments *arguments)
{
        return run_stop_like(client, arguments, "stop");
}

static int run_restart(Client *client, const ClientArguments *arguments)
{
        return run_stop_like(client, arguments, "restart");
}

static const ClientOption stop_options[] = {
        { 's', "signal", OPTION_STRING, "string", NULL, "Signal to send to the container", NULL, NULL, false },
        { 't', "timeout", OPTION_INT, "int", NULL, "Seconds to wait before killing the container", NULL, NULL, false },
        { 0, "time", OPTION_INT, "int", NULL, "Old name of --timeout", NULL, NULL, true },
        {},
};

const ClientCommand client_stop = {
        .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
        .summary = "Stop one or more running containers",
        .options = stop_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_stop,
};

const ClientCommand client_restart = {
        .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
        .summary = "Restart one or more containers",
        .options = stop_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_restart,
};

/* --- kill --- */

static int run_kill(Client *client, const ClientArguments *arguments)
{
        CLEANUP_BUFFER Buffer query = {};
        const ClientValue *signal = client_value(arguments, "signal");

        target_add(&query, "signal", signal->set ? signal->string : NULL);
        return run_job(client, &(Job) { "POST", "kill", query.data ?: "", NULL }, arguments);
}

static const ClientOption kill_options[] = {
        { 's', "signal", OPTION_STRING, "string", NULL, "Signal to send to the container", NULL, NULL, false },
        {},
};

const ClientCommand client_kill = {
        .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
        .summary = "Kill one or more running containers",
        .options = kill_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_kill,
};

/* --- pause and unpause --- */

static int run_pause(Client *client, const ClientArguments *arguments)
{
        return run_job(client, &(Job) { "POST", "pause", "", NULL }, arguments);
}

static int run_unpause(Client *client, const ClientArguments *arguments)
{
        return run_job(client, &(Job) { "POST", "unpause", "", NULL }, arguments);
}

const ClientCommand client_pause = {
        .usage = "CONTAINER [CONTAINER...]",
        .summary = "Pause all processes within one or more containers",
        .min_words = 1,
        .max_words = -1,
        .run = run_pause,
};

const ClientCommand client_unpause = {
        .usage = "CONTAINER [CONTAINER...]",
        .summary = "Unpause all processes within one or more containers",
        .min_words = 1,
        .max_words = -1,
        .run = run_unpause,
};

/* --- wait --- */

static int wait_done(const char *name, int status, const json_t *reply, const Error *error)
{
        const char *message = json_get_string(json_get_object(reply, "Error"), "Message");

        (void) name;
        (void) status;
        if (error)
                return client_fail(error);
        if (!str_empty(message)) {
                client_complain("%s", message);
                return 1;
        }
        printf("%lld\n", (long long) json_get_int(reply, "StatusCode", 0));
        fflush(stdout);
        return 0;
}

static int run_wait(Client *client, const ClientArguments *arguments)
{
        return run_job(client, &(Job) { "POST", "wait", "", wait_done }, arguments);
}

const ClientCommand client_wait = {
        .usage = "CONTAINER [CONTAINER...]",
        .summary = "Block until one or more containers stop, then print their exit codes",
        .min_words = 1,
        .max_words = -1,
        .run = run_wait,
};

/* --- rename --- */

static int run_rename(Client *client, const ClientArguments *arguments)
{
        const char *from = arguments->words[0] + (*arguments->words[0] == '/'), *to = arguments->words[1];
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};

        if (!*from || !*to) {
                client_complain("Error: Neither old nor new names may be empty");
                return 1;
        }
        target = target_make("containers", from, "rename");
        target_add(&target, "name", to);
        if (client_call(client, "POST", target.data, NULL, &reply, &error) == 0)
                return 0;
        client_complain("%s\nError: failed to rename container named %s", error.message, from);
        return 1;
}

const ClientCommand client_rename = {
        .usage = "CONTAINER NEW_NAME",
        .summary = "Rename a container",
        .min_words = 2,
        .max_words = 2,
        .run = run_rename,
};

/* --- rm --- */

static int rm_done(const char *name, int status, const json_t *reply, const Error *error)
{
        (void) status;
        (void) reply;
        if (error)
                return client_fail(error);
        puts(name);
        return 0;
}

/* With --force a container that is not there is as good as removed. */
static int rm_force_done(const char *name, int status, const json_t *reply, const Error *error)
{
        int r = rm_done(name, status, reply, error);

        return status == 404 ? 0 : r;
}

static int run_rm(Client *client, const ClientArguments *arguments)
{
        CLEANUP_BUFFER Buffer query = {};
        bool force = client_flag(arguments, "force");

        for (size_t i = 0; i < arguments->n_words; i++)
                if (arguments->words[i][strspn(arguments->words[i], "/")] == 0) {
                        client_complain("container name cannot be empty");
                        return 1;
                }
        target_add(&query, "force", force ? "1" : NULL);
        target_add(&query, "link", client_flag(arguments, "link") ? "1" : NULL);
        target_add(&query, "v", client_flag(arguments, "volumes") ? "1" : NULL);
        return run_job(client, &(Job) { "DELETE", "", query.data ?: "", force ? rm_force_done : rm_done }, arguments);
}

static const ClientOption rm_options[] = {
        { 'f', "force", OPTION_BOOL, NULL, NULL, "Remove it even if it is running (SIGKILL)", NULL, NULL, false },
        { 'l', "link", OPTION_BOOL, NULL, NULL, "Remove the given link", NULL, NULL, false },
        { 'v', "volumes", OPTION_BOOL, NULL, NULL, "Remove the container's anonymous volumes too", NULL, NULL, false },
        {},
};

const ClientCommand client_rm = {
        .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
        .summary = "Remove one or more containers",
        .options = rm_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_rm,
};
