/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images. */
#include "api-private.h"

static void list(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *filters = NULL;
        json_t *images = NULL;

        if (api_query_filters(call, &filters) < 0)
                return;
        /* Manifests are for stores that keep several platforms of an image: Docker's with one, as this, has none to
         * tell. */
        ImageList wanted = { api_query_bool(call, "all"), call->minor >= 42 && api_query_bool(call, "shared-size"),
                             call->minor >= 51, filters };
        int r = engine_image_list(call->engine, &wanted, &images, &error);
        if (r == 0)
                api_shape_images(images, call->minor);
        api_answer(call->request, 200, r, images, &error);
}

/* An image is of one platform here: that has to be the one that is said, if any is. */
static int check_platform(ApiCall *call, int first, Error *error)
{
        CLEANUP_FREE char *platform = NULL;
        int r = api_query_platform(call, first, &platform, error);

        return r != 0 ? r : engine_image_check_platform(call->engine, call->name, platform, error);
}

static void inspect(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        json_t *image = NULL;
        bool manifests = call->minor >= 48 && api_query_bool(call, "manifests");
        int r = 0;

        if (manifests && call->minor >= 49 && !str_empty(http_request_query(call->request, "platform")))
                r = error_set(&error, OUTCOME_BAD_REQUEST,
                              "conflicting options: manifests and platform options cannot both be set");
        if (r == 0)
                r = check_platform(call, 49, &error);
        if (r == 0)
                r = engine_image_inspect(call->engine, call->name, &image, &error);
        if (r == 0)
                api_shape_image(image, call->minor);
        api_answer(call->request, 200, r, image, &error);
}

static void history(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        json_t *entries = NULL;
        int r = check_platform(call, 48, &error);

        if (r == 0)
                r = engine_image_history(call->engine, call->name, &entries, &error);
        api_answer(call->request, 200, r, entries, &error);
}

static void tag(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = engine_image_tag(call->engine, call->name, http_request_query(call->request, "repo"),
                                 http_request_query(call->request, "tag"), &error);

        if (r != 0)
                api_fail(call->request, r, &error);
        else
                http_respond_empty(call->request, 201);
}

static int check_platforms(ApiCall *call, Error *error)
{
        const char *text = call->minor >= 50 ? http_request_query(call->request, "platforms") : NULL;
        CLEANUP_FREE char *platform = NULL;

        if (str_empty(text))
                return 0;
        if (http_request_query_nth(call->request, "platforms", 1))
                return error_set(error, OUTCOME_BAD_REQUEST, "multiple platforms are not supported");
        int r = api_platform_parse(text, &platform, error);
        return r != 0 ? r : engine_image_check_platform(call->engine, call->name, platform, error);
}

static void delete(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        json_t *items = NULL;
        int r = check_platforms(call, &error);

        if (r == 0)
                r = engine_image_remove(call->engine, call->name, api_query_bool(call, "force"),
                                        api_query_bool(call, "noprune"), &items, &error);

        api_answer(call->request, 200, r, items, &error);
}

static void load(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        Stream stream = STREAM_INIT;
        bool quiet = api_query_bool(call, "quiet");
        CLEANUP_FREE char *platform = NULL;
        int r = api_query_platform(call, 48, &platform, &error);

        if (r != 0)
                api_fail(call->request, r, &error);
        else if (http_request_stream(call->request, 200, "application/json", &stream) >= 0)
                engine_image_load(call->engine, &stream, quiet, platform);
}

static void create(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_FREE char *repository = NULL, *tag_text = NULL, *message = NULL, *platform = NULL,
                          *source = strdup(http_request_query(call->request, "fromSrc") ?: "");
        CLEANUP_STRV char **changes = NULL;
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        HttpRequest *request = call->request;
        const char *value;

        if (!str_empty(http_request_query(request, "fromImage"))) {
                api_image_pull(call);
                return;
        }
        for (size_t i = 0; (value = http_request_query_nth(request, "changes", i)); i++)
                strv_append(&changes, value);
        repository = strdup(http_request_query(request, "repo") ?: "");
        tag_text = strdup(http_request_query(request, "tag") ?: "");
        value = http_request_query(request, "message");
        message = str_empty(value) ? str_printf("Imported from %s", source) : strdup(value);
        platform = strdup(http_request_query(request, "platform") ?: "");
        ImageImport import = { repository, tag_text, message, platform, changes };
        int r = engine_image_import_check(&import, &error);
        if (r != 0) {
                api_fail(request, r, &error);
                return;
        }
        if (http_request_stream(request, 200, "application/json", &stream) < 0)
                return;
        if (!str_equal(source, "-")) {
                engine_image_fetch(call->engine, &stream, &import, source, api_refuse_stream);
                return;
        }
        r = engine_image_import(call->engine, &stream, &import, &error);
        if (r == 0 || stream.fd < 0)
                return;
        CLEANUP_JSON json_t *body =
                json_pack("{s{ss*} ss*}", "errorDetail", "message", error.message, "error", error.message);
        CLEANUP_FREE char *text = json_dumps(body, JSON_COMPACT);
        if (text && stream_write(&stream, text, strlen(text)) >= 0)
                stream_end(&stream);
}

const ApiRoute api_image_routes[] = {
        { "GET", "/images/json", list, false, false },
        { "POST", "/images/load", load, true, false },
        { "POST", "/images/create", create, true, false },
        { "GET", "/images/{name}/json", inspect, false, false },
        { "GET", "/images/{name}/history", history, false, false },
        { "POST", "/images/{name}/tag", tag, false, false },
        { "DELETE", "/images/{name}", delete, false, false },
        { NULL, NULL, NULL, false, false },
};
