/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Dispatch: version prefix, route table, body, and the one table that maps outcomes to statuses. */
#include "api-private.h"

#include <string.h>
#include <strings.h>

#include "berth/log.h"

#define API_MINOR_NEWEST 51
#define API_MINOR_OLDEST 24

struct Api {
        Engine *engine;
        HttpServer *server;
        void (*activity)(void *userdata);
        void *activity_userdata;
};

static int status_of(int result)
{
        static const struct {
                Outcome outcome;
                int status;
        } statuses[] = {
                { OUTCOME_NOT_MODIFIED, 304 }, { OUTCOME_BAD_REQUEST, 400 },     { OUTCOME_UNAUTHORIZED, 401 },
                { OUTCOME_FORBIDDEN, 403 },    { OUTCOME_NOT_FOUND, 404 },       { OUTCOME_NOT_ACCEPTABLE, 406 },
                { OUTCOME_CONFLICT, 409 },     { OUTCOME_NOT_IMPLEMENTED, 501 }, { OUTCOME_UNAVAILABLE, 503 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
                if ((int) statuses[i].outcome == result)
                        return statuses[i].status;
        return 500;
}

static json_t *error_body(int status, const char *message)
{
        (void) status;
        return json_pack("{ss}", "message", message);
}

static void fail_status(HttpRequest *request, int status, const char *message)
{
        CLEANUP_JSON json_t *body = error_body(status, message);

        http_respond_json(request, status, body);
}

void api_fail(HttpRequest *request, int result, const Error *error)
{
        int status = status_of(result);
        const char *message = error && error->message ? error->message : strerror(abs(result));

        if (status == 304)
                http_respond_empty(request, 304);
        else
                fail_status(request, status, message);
}

void api_refuse_stream(Stream *stream, int result, const Error *error)
{
        int status = status_of(result);
        CLEANUP_JSON json_t *body =
                error_body(status, error && error->message ? error->message : strerror(abs(result)));

        http_stream_respond_json(stream, status, body);
}

void api_answer(HttpRequest *request, int status, int result, json_t *object, const Error *error)
{
        CLEANUP_JSON json_t *owned = object;

        if (result != 0)
                api_fail(request, result, error);
        else
                http_respond_json(request, status, owned);
}

void api_answer_later(int result, json_t *object, const Error *error, void *userdata)
{
        api_answer(userdata, 200, result, json_incref(object), error);
}

Container *api_find_container(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        Container *container = NULL;
        int r = engine_container_find(call->engine, call->name, &container, &error);

        if (r == 0)
                return container;
        api_fail(call->request, r, &error);
        return NULL;
}

bool api_query_bool(const ApiCall *call, const char *name)
{
        return str_to_bool(http_request_query(call->request, name));
}

int api_query_int(const ApiCall *call, const char *name, int64_t fallback, int64_t *ret)
{
        const char *text = http_request_query(call->request, name);

        *ret = fallback;
        int r = str_empty(text) ? 0 : str_to_int64(text, INT64_MIN + 1, INT64_MAX, ret);
        if (r >= 0)
                return 0;
        CLEANUP_FREE char *message = str_printf("strconv.Atoi: parsing \"%s\": %s", text, str_number_problem(r));
        fail_status(call->request, 400, message ? message : "invalid number");
        return -EINVAL;
}

int api_query_size(const ApiCall *call, int64_t *ret_rows, int64_t *ret_columns)
{
        if (str_empty(http_request_query(call->request, "h")) || str_empty(http_request_query(call->request, "w"))) {
                fail_status(call->request, 400, "strconv.Atoi: parsing \"\": invalid syntax");
                return -EINVAL;
        }
        int r = api_query_int(call, "h", 0, ret_rows);
        return r < 0 ? r : api_query_int(call, "w", 0, ret_columns);
}

/* ["a", "b"] */
static bool json_is_texts(const json_t *value)
{
        const json_t *item;
        size_t i;

        json_array_foreach(value, i, item)
                if (!json_is_string(item))
                        return false;
        return json_is_array(value);
}

/* {"a": true, "b": true} */
static bool json_is_flags(const json_t *value)
{
        const char *key;
        json_t *item;

        json_object_foreach((json_t *) value, key, item)
                if (!json_is_boolean(item))
                        return false;
        return json_is_object(value);
}

static bool values_are(const json_t *filters, bool (*test)(const json_t *value))
{
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) filters, key, value)
                if (!*key || !test(value))
                        return false;
        return true;
}

int api_query_filters(const ApiCall *call, json_t **ret_filters)
{
        const char *text = http_request_query(call->request, "filters");

        if (str_empty(text)) {
                *ret_filters = json_object();
                return 0;
        }
        CLEANUP_JSON json_t *filters = json_loads(text, JSON_DECODE_ANY, NULL);
        if (json_is_null(filters)) {
                *ret_filters = json_object();
                return 0;
        }
        if (json_is_object(filters) && (values_are(filters, json_is_texts) || values_are(filters, json_is_flags))) {
                *ret_filters = TAKE_PTR(filters);
                return 0;
        }
        fail_status(call->request, 400, "invalid filter");
        return -EINVAL;
}

/* --- Routing ------------------------------------------------------------------------------------------------------ */

static const ApiRoute *const tables[] = { api_system_routes,  api_image_routes,     api_registry_routes,
                                          api_network_routes, api_container_routes, api_exec_routes,
                                          api_store_routes,   api_event_routes,     api_swarm_routes,
                                          api_volume_routes,  api_build_routes,     api_archive_routes,
                                          api_missing_routes };

/* The path behind "/v1.N", or the path itself. *ret_message is set where the version is refused. */
static const char *strip_version(const char *path, int *ret_minor, char **ret_message)
{
        unsigned major, minor;
        int used = 0;

        *ret_minor = API_MINOR_NEWEST;
        *ret_message = NULL;
        if (sscanf(path, "/v%u.%u%n", &major, &minor, &used) != 2 || path[used] != '/')
                return path;
        if (major != 1 || minor > API_MINOR_NEWEST)
                *ret_message = str_printf("client version %u.%u is too new. Maximum supported API version is 1.%d",
                                          major, minor, API_MINOR_NEWEST);
        else if (minor < API_MINOR_OLDEST)
                *ret_message =
                        str_printf("client version %u.%u is too old. Minimum supported API version is 1.%d, please "
                                   "upgrade your client to a newer version",
                                   major, minor, API_MINOR_OLDEST);
        else
                *ret_minor = (int) minor;
        return path + used;
}

/* Matches one "{...}" against as much as lets the rest match: image names hold slashes. */
static bool match_path(const char *pattern, const char *path, char **ret_name)
{
        const char *brace = strchr(pattern, '{');
        if (!brace)
                return str_equal(pattern, path);
        if (strncmp(pattern, path, (size_t) (brace - pattern)) != 0)
                return false;

        const char *tail = strchr(brace, '}') + 1, *start = path + (brace - pattern);
        size_t rest = strlen(start), suffix = strlen(tail);
        if (rest <= suffix || !str_equal(start + rest - suffix, tail))
                return false;
        char *name = strndup(start, rest - suffix);
        if (!name)
                return false;
        /* Only images have slashes in their names, and containers in those by links. */
        if (strchr(name, '/') && !str_after_prefix(pattern, "/containers/") && !str_after_prefix(pattern, "/images/") &&
            !str_after_prefix(pattern, "/distribution/") && !str_after_prefix(pattern, "/plugins/")) {
                free(name);
                return false;
        }
        free(*ret_name);
        *ret_name = name;
        return true;
}

static const ApiRoute *find_route(const char *method, const char *path, char **ret_name)
{
        for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
                for (const ApiRoute *route = tables[i]; route->method; route++)
                        if (str_equal(route->method, method) && match_path(route->path, path, ret_name))
                                return route;
        return NULL;
}

static bool wants_stream(HttpRequest *request, void *userdata)
{
        CLEANUP_FREE char *name = NULL, *message = NULL;
        int minor;
        (void) userdata;
        const char *path = strip_version(http_request_path(request), &minor, &message);
        const ApiRoute *route = find_route(http_request_method(request), path, &name);

        return !message && route && route->handle && route->stream;
}

static int parse_body(HttpRequest *request, json_t **ret_body)
{
        const Buffer *body = http_request_body(request);
        const char *type = http_request_header(request, "Content-Type");
        json_error_t position;

        if (body->size == 0)
                return 0;
        if (type && strncasecmp(type, "application/json", 16) != 0) {
                CLEANUP_FREE char *message =
                        str_printf("unsupported Content-Type header (%s): must be 'application/json'", type);
                fail_status(request, 400, message);
                return -EINVAL;
        }
        *ret_body = json_loadb(body->data, body->size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &position);
        if (*ret_body)
                return 0;
        enum json_error_code code = json_error_code(&position);
        if (code == json_error_end_of_input_expected) {
                fail_status(request, 400, "unexpected content after JSON");
                return -EINVAL;
        }
        CLEANUP_FREE char *message = str_printf(
                "invalid JSON: %s", code == json_error_premature_end_of_input ? "unexpected EOF" : position.text);
        fail_status(request, 400, message ? message : "invalid JSON");
        return -EINVAL;
}

static void handle(HttpRequest *request, void *userdata)
{
        Api *api = userdata;
        CLEANUP_FREE char *name = NULL, *message = NULL;
        CLEANUP_JSON json_t *body = NULL;
        int minor;
        const char *path = strip_version(http_request_path(request), &minor, &message);

        if (message) {
                fail_status(request, 400, message);
                return;
        }
        const ApiRoute *route = find_route(http_request_method(request), path, &name);
        if (!route) {
                fail_status(request, 404, "page not found");
                return;
        }
        if (!route->handle) {
                CLEANUP_FREE char *missing =
                        str_printf("%s %s is not supported by this version of berth", route->method, route->path);
                fail_status(request, 501, missing);
                return;
        }
        if (route->json && parse_body(request, &body) < 0)
                return;
        ApiCall call = {
                .api = api, .engine = api->engine, .request = request, .name = name, .body = body, .minor = minor
        };
        engine_set_caller(api->engine, http_request_uid(request), http_request_pid(request));
        route->handle(&call);
        engine_set_caller(api->engine, 0, 0);
}

static void on_activity(void *userdata)
{
        Api *api = userdata;

        api->activity(api->activity_userdata);
}

#define HEADERS(experimental)                                                             \
        "Api-Version: 1.51\r\nDocker-Experimental: " experimental "\r\nOstype: linux\r\n" \
        "Server: Berth/" BERTH_VERSION " (linux)\r\n"

int api_new(sd_event *event, Engine *engine, void (*activity)(void *userdata), void *userdata, Api **ret_api)
{
        Api *api = calloc(1, sizeof(*api));
        if (!api)
                return -ENOMEM;
        HttpServerConfig config = {
                .wants_stream = wants_stream,
                .handle = handle,
                .activity = on_activity,
                .error_body = error_body,
                .headers = engine_is_experimental(engine) ? HEADERS("true") : HEADERS("false"),
                .userdata = api,
        };

        api->engine = engine;
        api->activity = activity;
        api->activity_userdata = userdata;
        int r = http_server_new(event, &config, &api->server);
        if (r < 0) {
                free(api);
                return r;
        }
        *ret_api = api;
        return 0;
}

void api_free(Api *api)
{
        if (!api)
                return;
        http_server_free(api->server);
        free(api);
}

HttpServer *api_server(Api *api)
{
        return api->server;
}

void api_print_missing_routes(FILE *output)
{
        for (const ApiRoute *route = api_missing_routes; route->method; route++)
                fprintf(output, "%s %s\n", route->method, route->path);
}
