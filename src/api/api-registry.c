/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registries. */
#include "api-private.h"

static const char *auth_header(const ApiCall *call)
{
        return http_request_header(call->request, "X-Registry-Auth");
}

static char *copy(const char *text)
{
        return text ? strdup(text) : NULL;
}

void api_image_pull(ApiCall *call)
{
        HttpRequest *request = call->request;
        CLEANUP_FREE char *image = copy(http_request_query(request, "fromImage")),
                          *tag = copy(http_request_query(request, "tag")),
                          *platform = copy(http_request_query(request, "platform")), *auth = copy(auth_header(call));
        CLEANUP_STREAM Stream stream = STREAM_INIT;

        if (http_request_stream(request, 200, "application/json", &stream) < 0)
                return;
        ImagePull pull = { image, tag, platform, auth, api_refuse_stream };
        engine_image_pull(call->engine, &stream, &pull);
}

static void push(ApiCall *call)
{
        HttpRequest *request = call->request;
        CLEANUP_ERROR Error error = { 0 };

        if (str_empty(auth_header(call))) {
                error_set(&error, OUTCOME_BAD_REQUEST,
                          "bad parameters and missing X-Registry-Auth: invalid X-Registry-Auth header: EOF");
                api_fail(request, OUTCOME_BAD_REQUEST, &error);
                return;
        }
        CLEANUP_FREE char *name = copy(call->name), *tag = copy(http_request_query(request, "tag")), *platform = NULL,
                          *auth = copy(auth_header(call));
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        int r = api_query_platform(call, 46, &platform, &error);

        if (r != 0) {
                api_fail(request, r, &error);
                return;
        }
        if (http_request_stream(request, 200, "application/json", &stream) < 0)
                return;
        ImagePush push = { name, tag, platform, auth, api_refuse_stream };
        engine_image_push(call->engine, &stream, &push);
}

static const char *kind_of(const json_t *value)
{
        static const char *const kinds[] = {
                [JSON_OBJECT] = "object", [JSON_ARRAY] = "array", [JSON_STRING] = "string", [JSON_INTEGER] = "number",
                [JSON_REAL] = "number",   [JSON_TRUE] = "bool",   [JSON_FALSE] = "bool",    [JSON_NULL] = "null",
        };

        return kinds[json_typeof(value)];
}

/* What is no AuthConfig is refused in Docker's words. */
static int check_login(const json_t *body, Error *error)
{
        static const char *const members[] = { "username",      "password",      "auth",         "email",
                                               "serveraddress", "identitytoken", "registrytoken" };

        if (!body)
                return error_set(error, OUTCOME_FAILED, "EOF");
        if (!json_is_object(body))
                return error_set(error, OUTCOME_FAILED,
                                 "json: cannot unmarshal %s into Go value of type registry.AuthConfig", kind_of(body));
        for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
                const json_t *value = json_object_get(body, members[i]);

                if (value && !json_is_string(value) && !json_is_null(value))
                        return error_set(error, OUTCOME_FAILED,
                                         "json: cannot unmarshal %s into Go struct field AuthConfig.%s of type string",
                                         kind_of(value), members[i]);
        }
        return 0;
}

static void login(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = check_login(call->body, &error);

        if (r != 0) {
                api_fail(call->request, r, &error);
                return;
        }
        engine_login(call->engine, call->body, api_answer_later, call->request);
}

static void distribution(ApiCall *call)
{
        engine_distribution_inspect(call->engine, call->name, auth_header(call), api_answer_later, call->request);
}

static void search(ApiCall *call)
{
        CLEANUP_JSON json_t *filters = NULL;
        const char *term = http_request_query(call->request, "term"),
                   *text = http_request_query(call->request, "limit");
        CLEANUP_ERROR Error error = { 0 };
        int64_t limit = 0;

        if (!str_empty(text) && str_to_int64(text, INT32_MIN, INT32_MAX, &limit) < 0) {
                error_set(&error, OUTCOME_BAD_REQUEST,
                          "invalid limit specified: strconv.Atoi: parsing \"%s\": invalid syntax", text);
                api_fail(call->request, OUTCOME_BAD_REQUEST, &error);
                return;
        }
        if (api_query_filters(call, &filters) < 0)
                return;
        engine_image_search(call->engine, term ? term : "", limit, filters, auth_header(call), api_answer_later,
                            call->request);
}

const ApiRoute api_registry_routes[] = {
        { "POST", "/images/{name}/push", push, true, false },
        { "GET", "/images/search", search, false, false },
        { "POST", "/auth", login, false, true },
        { "GET", "/distribution/{name}/json", distribution, false, false },
        { NULL, NULL, NULL, false, false },
};
