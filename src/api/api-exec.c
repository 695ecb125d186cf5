/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Further processes in containers. */
#include "api-private.h"

static void create(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        json_t *response = NULL;
        Container *container = api_find_container(call);

        if (!container)
                return;
        if (call->minor < 42 && json_is_object(call->body))
                json_object_del(call->body, "ConsoleSize");
        int r = container_exec_create(container, call->name, call->body, &response, &error);
        api_answer(call->request, 201, r, response, &error);
}

/* The route's exec, or NULL after the request was answered. */
static Exec *find(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        Exec *exec = NULL;
        int r = engine_exec_find(call->engine, call->name, &exec, &error);

        if (r == 0)
                return exec;
        api_fail(call->request, r, &error);
        return NULL;
}

static void answer_empty(int result, const Error *error, void *userdata)
{
        if (result != 0)
                api_fail(userdata, result, error);
        else
                http_respond_empty(userdata, 200);
}

static void start(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        Buffer received = { 0 };
        ExecStart query;
        int fd;
        Exec *exec = find(call);

        if (!exec)
                return;
        int r = exec_start_parse(call->body, &query, &error);
        if (r == 0)
                r = exec_refusal(exec, &error);
        if (r != 0) {
                api_fail(call->request, r, &error);
                return;
        }
        if (call->minor < 42)
                query.rows = query.columns = 0;
        if (query.detach) {
                exec_start(exec, &query, -EBADF, NULL, answer_empty, call->request);
                return;
        }
        const char *type = !query.terminal && call->minor >= 42 && http_request_wants_upgrade(call->request)
                                   ? API_MULTIPLEXED_STREAM
                                   : API_RAW_STREAM;
        if (http_request_hijack(call->request, type, &fd, &received, NULL) >= 0)
                exec_start(exec, &query, fd, &received, NULL, NULL);
}

static void resize(ApiCall *call)
{
        int64_t rows, columns;

        if (api_query_size(call, &rows, &columns) < 0)
                return;
        Exec *exec = find(call);
        if (exec)
                exec_resize(exec, rows, columns, answer_empty, call->request);
}

static void inspect(ApiCall *call)
{
        json_t *object = NULL;
        Exec *exec = find(call);

        if (!exec)
                return;
        int r = exec_inspect(exec, &object);
        api_answer(call->request, 200, r, object, NULL);
}

const ApiRoute api_exec_routes[] = {
        { "POST", "/containers/{id}/exec", create, false, true },
        { "POST", "/exec/{id}/start", start, false, true },
        { "POST", "/exec/{id}/resize", resize, false, false },
        { "GET", "/exec/{id}/json", inspect, false, false },
        { NULL, NULL, NULL, false, false },
};
