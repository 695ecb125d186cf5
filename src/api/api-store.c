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

int api_platform_parse(const char *text, char **ret, Error *error)
{
        CLEANUP_JSON json_t *object = json_loads(text, 0, NULL);
        const char *os = json_get_string_or(object, "os", ""),
                   *architecture = json_get_string_or(object, "architecture", ""),
                   *variant = json_get_string_or(object, "variant", "");

        if (!json_is_object(object))
                return error_set(error, OUTCOME_BAD_REQUEST, "failed to parse platform: invalid JSON");
        if (!*os && !*architecture && *variant)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "optional platform components provided, but OS and Architecture are missing");
        if (!*os || !*architecture)
                return error_set(error, OUTCOME_BAD_REQUEST, "both OS and Architecture must be provided");
        *ret = str_printf("%s/%s%s%s", os, architecture, *variant ? "/" : "", variant);
        return *ret ? 0 : -ENOMEM;
}

int api_query_platform(ApiCall *call, int first, char **ret, Error *error)
{
        const char *text = call->minor >= first ? http_request_query(call->request, "platform") : NULL;

        if (str_empty(text))
                return 0;
        if (http_request_query_nth(call->request, "platform", 1))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "multiple platform parameters are not supported in this API version; use API version "
                                 "1.52 or later");
        return api_platform_parse(text, ret, error);
}

static void save(ApiCall *call, char *const *names)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        CLEANUP_FREE char *platform = NULL;
        json_t *plan = NULL;
        int r = api_query_platform(call, 48, &platform, &error);

        if (r == 0)
                r = engine_image_save_check(call->engine, names, platform, &plan, &error);
        if (r != 0)
                api_fail(call->request, r, &error);
        else if (http_request_stream(call->request, 200, "application/x-tar", &stream) >= 0)
                engine_image_save(call->engine, plan, &stream);
        else
                json_decref(plan);
}

static void save_one(ApiCall *call)
{
        char *names[] = { call->name, NULL };

        save(call, names);
}

static void save_several(ApiCall *call)
{
        CLEANUP_STRV char **names = NULL;
        const char *value;

        for (size_t i = 0; (value = http_request_query_nth(call->request, "names", i)); i++)
                if (strv_append(&names, value) < 0)
                        break;
        save(call, names);
}

static void export(ApiCall *call)
{
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        Container *container = api_find_container(call);

        if (container && http_request_stream(call->request, 200, "application/octet-stream", &stream) >= 0)
                container_export(container, &stream);
}

static void prune(ApiCall *call)
{
        CLEANUP_JSON json_t *filters = NULL;

        if (api_query_filters(call, &filters) >= 0)
                engine_image_prune(call->engine, filters, api_answer_later, call->request);
}

static void usage(ApiCall *call)
{
        static const struct {
                const char *name;
                unsigned what;
        } types[] = {
                { "image", ENGINE_USAGE_IMAGES },
                { "container", ENGINE_USAGE_CONTAINERS },
                { "volume", ENGINE_USAGE_VOLUMES },
                { "build-cache", ENGINE_USAGE_BUILD_CACHE },
        };
        CLEANUP_ERROR Error error = { 0 };
        const char *value;
        unsigned what = 0;

        for (size_t i = 0; (value = http_request_query_nth(call->request, "type", i)); i++) {
                size_t k = 0;

                while (k < ARRAY_SIZE(types) && !str_equal(types[k].name, value))
                        k++;
                if (k == ARRAY_SIZE(types)) {
                        error_set(&error, OUTCOME_BAD_REQUEST, "unknown object type: %s", value);
                        api_fail(call->request, OUTCOME_BAD_REQUEST, &error);
                        return;
                }
                what |= types[k].what;
        }
        engine_usage(call->engine, what ?: ENGINE_USAGE_ALL, api_answer_later, call->request);
}

const ApiRoute api_store_routes[] = {
        { "POST", "/commit", commit, false, true },
        { "POST", "/images/prune", prune, false, false },
        { "GET", "/system/df", usage, false, false },
        { "GET", "/images/{name}/get", save_one, false, false },
        { "GET", "/images/get", save_several, false, false },
        { "GET", "/containers/{id}/export", export, false, false },
        { NULL, NULL, NULL, false, false },
};
