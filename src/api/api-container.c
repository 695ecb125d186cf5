/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Containers. */
#include "api-private.h"

#include <string.h>

static void answer_empty(int result, const Error *error, void *userdata)
{
        if (result != 0)
                api_fail(userdata, result, error);
        else
                http_respond_empty(userdata, 204);
}

static void list(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *filters = NULL;
        json_t *containers = NULL, *container;
        size_t i;
        ContainerListQuery query = { .all = api_query_bool(call, "all"), .size = api_query_bool(call, "size") };

        if (api_query_int(call, "limit", 0, &query.limit) < 0 || api_query_filters(call, &filters) < 0)
                return;
        query.filters = filters;
        int r = engine_container_list(call->engine, &query, &containers, &error);
        json_array_foreach(containers, i, container)
                api_shape_container(container, call->minor);
        api_answer(call->request, 200, r, containers, &error);
}

/* An image that is here, but not of the wanted platform, is one to pull. */
static int check_platform(const ApiCall *call, Error *error)
{
        const char *platform = call->minor >= 41 ? http_request_query(call->request, "platform") : NULL;
        const char *image = json_get_string(call->body, "Image");

        return str_empty(platform) || str_empty(image)
                       ? 0
                       : engine_image_check_platform(call->engine, image, platform, error);
}

static void create(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        json_t *response = NULL;

        api_shape_create(call->body, call->minor);
        int r = check_platform(call, &error);
        if (r == 0)
                r = engine_container_create(call->engine, http_request_query(call->request, "name"), call->body,
                                            &response, &error);

        api_answer(call->request, 201, r, response, &error);
}

static void inspect(ApiCall *call)
{
        json_t *object = NULL;
        Container *container = api_find_container(call);

        if (!container)
                return;
        int r = container_inspect(container, api_query_bool(call, "size"), &object);
        api_shape_container(object, call->minor);
        api_answer(call->request, 200, r, object, NULL);
}

static void start(ApiCall *call)
{
        Container *container = api_find_container(call);

        if (container)
                container_start(container, answer_empty, call->request);
}

static void stop_or_restart(ApiCall *call, void (*operation)(Container *, const char *, int64_t, EngineDone, void *))
{
        int64_t timeout;
        Container *container = api_find_container(call);

        if (!container || api_query_int(call, "t", INT64_MIN, &timeout) < 0)
                return;
        const char *signal = call->minor >= 42 ? http_request_query(call->request, "signal") : NULL;
        operation(container, signal, timeout, answer_empty, call->request);
}

static void stop(ApiCall *call)
{
        stop_or_restart(call, container_stop);
}

static void restart(ApiCall *call)
{
        stop_or_restart(call, container_restart);
}

static void finish_simple(ApiCall *call, int result, int status, const Error *error)
{
        if (result != 0)
                api_fail(call->request, result, error);
        else
                http_respond_empty(call->request, status);
}

static void pause_container(ApiCall *call)
{
        Container *container = api_find_container(call);

        if (container)
                container_pause(container, answer_empty, call->request);
}

static void unpause_container(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        Container *container = api_find_container(call);

        if (container)
                finish_simple(call, container_unpause(container, &error), 204, &error);
}

static void top(ApiCall *call)
{
        Container *container = api_find_container(call);

        if (container)
                container_top(container, http_request_query(call->request, "ps_args"), api_answer_later, call->request);
}

static void stats(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        const char *stream_text = http_request_query(call->request, "stream");
        bool follow = str_empty(stream_text) || str_to_bool(stream_text);
        bool one_shot = call->minor >= 41 && api_query_bool(call, "one-shot");

        if (follow && one_shot) {
                api_fail(call->request,
                         error_set(&error, OUTCOME_BAD_REQUEST, "cannot have stream=true and one-shot=true"), &error);
                return;
        }
        Container *container = api_find_container(call);
        if (container && http_request_stream(call->request, 200, "application/json", &stream) >= 0)
                container_stats(container, follow, !one_shot, &stream);
}

static void changes(ApiCall *call)
{
        Container *container = api_find_container(call);

        if (container)
                container_changes(container, api_answer_later, call->request);
}

static void kill_container(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_FREE char *text = str_printf("cannot kill container: %s", call->name);
        Container *container = NULL;
        int r = text ? engine_container_find(call->engine, call->name, &container, &error) : -ENOMEM;

        if (r == 0)
                r = container_kill(container, http_request_query(call->request, "signal"), &error);
        finish_simple(call, r > 0 ? error_prefix(&error, text) : r, 204, &error);
}

static void update_container(ApiCall *call)
{
        engine_container_update(call->engine, call->name, call->body, call->minor, api_answer_later, call->request);
}

static void rename_container(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        Container *container = api_find_container(call);

        if (container)
                finish_simple(call, container_rename(container, http_request_query(call->request, "name"), &error), 204,
                              &error);
}

static void resize(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        int64_t rows, columns;
        Container *container = api_find_container(call);

        if (!container)
                return;
        if (api_query_size(call, &rows, &columns) < 0)
                return;
        finish_simple(call, container_resize(container, rows, columns, &error), 200, &error);
}

static void remove_link(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };

        answer_empty(engine_unlink(call->engine, call->name, &error), &error, call->request);
}

static void remove_container(ApiCall *call)
{
        if (api_query_bool(call, "link")) {
                remove_link(call);
                return;
        }
        Container *container = api_find_container(call);

        if (container)
                container_remove(container, api_query_bool(call, "force"), api_query_bool(call, "v"), answer_empty,
                                 call->request);
}

static void prune(ApiCall *call)
{
        CLEANUP_JSON json_t *filters = NULL;

        if (api_query_filters(call, &filters) >= 0)
                engine_container_prune(call->engine, filters, api_answer_later, call->request);
}

static void wait_container(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        int condition;
        Container *container = api_find_container(call);

        if (!container)
                return;
        int r = container_wait_condition_parse(http_request_query(call->request, "condition"), &condition, &error);
        if (r != 0)
                api_fail(call->request, r, &error);
        else if (http_request_stream(call->request, 200, "application/json", &stream) >= 0)
                container_wait(container, condition, &stream);
}

/* --- Streams ------------------------------------------------------------------------------------------------------ */

/* "logs" without "stream": what was written so far, as a raw stream. */
static void attach_logs(ApiCall *call, Container *container, const ContainerAttach *request)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        CLEANUP_BUFFER Buffer received = { 0 };
        ContainerLogs query = { .standard_output = api_query_bool(call, "stdout"),
                                .standard_error = api_query_bool(call, "stderr"),
                                .tail = -1 };
        int r = container_logs_check(container, &error);

        if (r != 0) {
                api_fail(call->request, r, &error);
                return;
        }
        if (http_request_hijack(call->request,
                                request->multiplexed && call->minor >= 42 ? API_MULTIPLEXED_STREAM : API_RAW_STREAM,
                                &stream.fd, &received, NULL) >= 0)
                container_logs(container, &query, &stream);
}

static void attach(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_BUFFER Buffer received = { 0 }, answer = { 0 };
        int fd;
        Container *container = api_find_container(call);
        if (!container)
                return;

        bool stream = api_query_bool(call, "stream");
        ContainerAttach request = {
                .stream = stream,
                .standard_input = stream && api_query_bool(call, "stdin"),
                .standard_output = stream && api_query_bool(call, "stdout"),
                .standard_error = stream && api_query_bool(call, "stderr"),
                .multiplexed = !container_has_terminal(container),
        };
        bool logs = api_query_bool(call, "logs");
        if (logs && !stream) {
                attach_logs(call, container, &request);
                return;
        }
        int refused = container_attach_check(container, &error);
        if (refused == 0 && logs)
                refused = container_logs_check(container, &error);
        if (refused != 0) {
                api_fail(call->request, refused, &error);
                return;
        }
        const char *keys = http_request_query(call->request, "detachKeys");
        int r = detach_keys_parse(str_empty(keys) ? DETACH_KEYS_DEFAULT : keys, request.detach_keys,
                                  &request.n_detach_keys);
        if (r < 0) {
                r = error_set(&error, OUTCOME_BAD_REQUEST, "Invalid detach keys (%s) provided", keys);
                api_fail(call->request, r, &error);
                return;
        }
        const char *type = request.multiplexed && call->minor >= 42 && http_request_wants_upgrade(call->request)
                                   ? API_MULTIPLEXED_STREAM
                                   : API_RAW_STREAM;
        request.logs = logs && (request.standard_output || request.standard_error);
        if (http_request_hijack(call->request, type, &fd, &received, &answer) >= 0)
                container_attach(container, &request, fd, &received, &answer, NULL);
}

static int query_time(ApiCall *call, const char *name, int64_t *ret_ns)
{
        CLEANUP_ERROR Error error = { 0 };
        const char *text = http_request_query(call->request, name);

        *ret_ns = 0;
        if (str_empty(text) || time_parse_seconds(text, ret_ns) >= 0 ||
            time_parse_query(text, time_now_ns(), ret_ns) >= 0)
                return 0;
        error_set(&error, OUTCOME_BAD_REQUEST,
                  "invalid value for \"%s\": failed to parse value as time or duration: \"%s\"", name, text);
        api_fail(call->request, OUTCOME_BAD_REQUEST, &error);
        return -EINVAL;
}

static void logs(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        Container *container = api_find_container(call);
        if (!container)
                return;
        ContainerLogs query = {
                .follow = api_query_bool(call, "follow"),
                .standard_output = api_query_bool(call, "stdout"),
                .standard_error = api_query_bool(call, "stderr"),
                .timestamps = api_query_bool(call, "timestamps"),
                .details = api_query_bool(call, "details"),
                .tail = -1,
        };
        const char *tail = http_request_query(call->request, "tail");

        if (!query.standard_output && !query.standard_error) {
                error_set(&error, OUTCOME_BAD_REQUEST, "Bad parameters: you must choose at least one stream");
                api_fail(call->request, OUTCOME_BAD_REQUEST, &error);
                return;
        }
        if (query_time(call, "since", &query.since_ns) < 0 || query_time(call, "until", &query.until_ns) < 0)
                return;
        if (!str_empty(tail) && !str_equal(tail, "all") && str_to_int64(tail, 0, INT64_MAX, &query.tail) < 0)
                query.tail = -1;
        int r = container_logs_check(container, &error);
        if (r != 0) {
                api_fail(call->request, r, &error);
                return;
        }
        const char *type =
                container_has_terminal(container) || call->minor < 42 ? API_RAW_STREAM : API_MULTIPLEXED_STREAM;
        if (http_request_stream(call->request, 200, type, &stream) >= 0)
                container_logs(container, &query, &stream);
}

const ApiRoute api_container_routes[] = {
        { "GET", "/containers/json", list, false, false },
        { "POST", "/containers/create", create, false, true },
        { "POST", "/containers/prune", prune, false, false },
        { "GET", "/containers/{id}/json", inspect, false, false },
        { "GET", "/containers/{id}/logs", logs, false, false },
        { "POST", "/containers/{id}/start", start, false, false },
        { "POST", "/containers/{id}/stop", stop, false, false },
        { "POST", "/containers/{id}/restart", restart, false, false },
        { "POST", "/containers/{id}/kill", kill_container, false, false },
        { "GET", "/containers/{id}/top", top, false, false },
        { "GET", "/containers/{id}/stats", stats, false, false },
        { "GET", "/containers/{id}/changes", changes, false, false },
        { "POST", "/containers/{id}/pause", pause_container, false, false },
        { "POST", "/containers/{id}/unpause", unpause_container, false, false },
        { "POST", "/containers/{id}/update", update_container, false, true },
        { "POST", "/containers/{id}/rename", rename_container, false, false },
        { "POST", "/containers/{id}/resize", resize, false, false },
        { "POST", "/containers/{id}/attach", attach, false, false },
        { "GET", "/containers/{id}/attach/ws", api_attach_websocket, false, false },
        { "POST", "/containers/{id}/wait", wait_container, false, false },
        { "DELETE", "/containers/{id}", remove_container, false, false },
        { NULL, NULL, NULL, false, false },
};
