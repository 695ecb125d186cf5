/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images made of containers, images and containers as archives, and the space they take. */
#include "api-private.h"

static void answer_created(int result, json_t *object, const Error *error, void *userdata)
{
        api_answer(userdata, 201, result, json_incref(object), error);
}

static void commit(ApiCall *call)
{
        CLEANUP_STRV char **changes = NULL;
        HttpRequest *request = call->request;
        const char *value, *pause = http_request_query(request, "pause");

        for (size_t i = 0; (value = http_request_query_nth(request, "changes", i)); i++)
                if (strv_append(&changes, value) < 0)
                        break;
        ContainerCommit query = {
                .container = http_request_query(request, "container"),
                .repository = http_request_query(request, "repo"),
                .tag = http_request_query(request, "tag"),
                .comment = http_request_query(request, "comment"),
                .author = http_request_query(request, "author"),
                .pause = str_empty(pause) || str_to_bool(pause),
                .changes = changes,
        };
        engine_container_commit(call->engine, &query, call->body, answer_created, request);
}

const ApiRoute api_store_routes[] = {
        { "POST", "/commit", commit, false, true },
        { NULL, NULL, NULL, false, false },
};
