/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attaching by WebSocket. Errors before the container is attached are plain answers; there is no multiplexing. */
#include "api-private.h"

/* Messages are text before that version of the API, and what is attached is all. */
#define BINARY_SINCE 28
#define CHOICE_SINCE 42

static bool wants(const ApiCall *call, const char *stream)
{
        return call->minor < CHOICE_SINCE || api_query_bool(call, stream);
}

static int refusal(ApiCall *call, Container *container, ContainerAttach *attach, Error *error)
{
        const char *keys = http_request_query(call->request, "detachKeys");
        bool logs = api_query_bool(call, "logs");
        int r = logs && !api_query_bool(call, "stream") ? 0 : container_attach_check(container, error);

        if (r == 0 && logs)
                r = container_logs_check(container, error);
        if (r == 0 && detach_keys_parse(str_empty(keys) ? DETACH_KEYS_DEFAULT : keys, attach->detach_keys,
                                        &attach->n_detach_keys) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "Invalid detach keys (%s) provided", keys);
        const char *bad = r == 0 ? http_request_websocket_refusal(call->request) : NULL;
        return bad ? error_set(error, OUTCOME_BAD_REQUEST, "%s", bad) : r;
}

void api_attach_websocket(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_BUFFER Buffer received = { 0 }, answer = { 0 };
        Container *container = api_find_container(call);

        if (!container)
                return;
        bool stream = api_query_bool(call, "stream"), logs = api_query_bool(call, "logs"),
             text = call->minor < BINARY_SINCE;
        ContainerAttach attach = { .stream = stream,
                                   .standard_input = stream && wants(call, "stdin"),
                                   .standard_output = stream && wants(call, "stdout"),
                                   .standard_error = stream && wants(call, "stderr") };
        const ContainerLogs query = { .standard_output = wants(call, "stdout"),
                                      .standard_error = wants(call, "stderr"),
                                      .raw = true,
                                      .tail = -1 };
        int fd, r = refusal(call, container, &attach, &error);

        if (r != 0) {
                api_fail(call->request, r, &error);
                return;
        }
        if (http_request_websocket(call->request, &fd, &received, &answer) < 0)
                return;
        attach.logs = logs && (attach.standard_output || attach.standard_error);
        if (logs && !stream)
                (void) container_logs_websocket(container, &query, text, fd, &received, &answer);
        else
                (void) container_attach_websocket(container, &attach, text, fd, &received, &answer, NULL);
}
