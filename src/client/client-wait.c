/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for a container's end over a connection of its own. A connection that breaks means that the daemon went in an
 * unlucky moment: the question is put again, as "not-running", since the end may have come meanwhile. */
#include <poll.h>
#include <string.h>

#include "berth/json.h"
#include "client-stream.h"

#define BODY_MAX (1024u * 1024)
#define ATTEMPTS_MAX 40

static int ask(ClientWait *wait, const char *condition, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", wait->id, "wait");
        int r;

        http_client_free(wait->http);
        wait->http = NULL;
        target_add(&target, "condition", condition);
        r = client_connect(wait->client, &wait->http, error);
        return r != 0 ? r : client_send(wait->http, "POST", target.data, NULL, false, error);
}

int client_wait_begin(ClientWait *wait, const Client *client, const char *id, const char *condition, Error *error)
{
        wait->client = client;
        wait->id = id;
        return ask(wait, condition, error);
}

static void take_answer(ClientWait *wait)
{
        Buffer *body = http_client_body(wait->http);
        CLEANUP_JSON json_t *json = NULL;
        const char *message;

        if (http_client_status(wait->http) == 404) {
                wait->gone = true;
        } else if (http_client_status(wait->http) >= 400) {
                CLEANUP_ERROR Error error = {};

                client_refusal(wait->http, &error);
                wait->message = client_must(strdup(error.message));
        } else {
                json = json_loadb(body->data ?: "", body->size, JSON_DISABLE_EOF_CHECK, NULL);
                message = json_get_string(json_get_object(json, "Error"), "Message");
                if (!str_empty(message))
                        wait->message = client_must(strdup(message));
                wait->status = json_get_int(json, "StatusCode", CLIENT_EXIT_FAILURE);
                wait->answered = true;
        }
        http_client_free(wait->http);
        wait->http = NULL;
}

void client_wait_continue(ClientWait *wait)
{
        int r = wait->http ? http_client_step(wait->http) : -ENOTCONN;

        /* A body that ends by the daemon's death looks complete but holds no answer. */
        if (r > 0 && (http_client_status(wait->http) >= 400 || http_client_body(wait->http)->size > 0)) {
                take_answer(wait);
                return;
        }
        if (r == 0 || r == -EAGAIN)
                return;
        wait->retry = false;
        if (wait->attempts++ < ATTEMPTS_MAX && ask(wait, "not-running", NULL) == 0)
                return;
        http_client_free(wait->http);
        wait->http = NULL;
        wait->retry = wait->attempts < ATTEMPTS_MAX;
}

int client_wait_finish(ClientWait *wait)
{
        while (wait->http || wait->retry) {
                if (wait->retry)
                        poll(NULL, 0, CLIENT_WAIT_PAUSE_MS);
                client_wait_continue(wait);
        }
        if (wait->answered && !wait->message)
                return wait->status;
        if (wait->gone)
                client_complain("berth: the container is gone, and its exit status with it");
        else
                client_complain("berth: %s", wait->message ?: "the daemon did not tell the container's exit status");
        return CLIENT_EXIT_FAILURE;
}

void client_wait_clear(ClientWait *wait)
{
        http_client_free(wait->http);
        free(wait->message);
        *wait = (ClientWait) {};
}
