/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Building images, and the build cache. */
#include "berth/base64.h"

#include "api-private.h"

typedef enum ValueKind { TEXT, FLAG, NUMBER, OBJECT, LIST, TEXTS } ValueKind;

/* Every query parameter of POST /build. */
static const struct {
        const char *name;
        ValueKind kind;
} parameters[] = {
        { "dockerfile", TEXT },
        { "t", TEXTS },
        { "extrahosts", TEXTS },
        { "remote", TEXT },
        { "q", FLAG },
        { "nocache", FLAG },
        { "cachefrom", LIST },
        { "pull", FLAG },
        { "rm", FLAG },
        { "forcerm", FLAG },
        { "memory", NUMBER },
        { "memswap", NUMBER },
        { "cpushares", NUMBER },
        { "cpusetcpus", TEXT },
        { "cpusetmems", TEXT },
        { "cpuperiod", NUMBER },
        { "cpuquota", NUMBER },
        { "buildargs", OBJECT },
        { "shmsize", NUMBER },
        { "squash", FLAG },
        { "labels", OBJECT },
        { "networkmode", TEXT },
        { "platform", TEXT },
        { "target", TEXT },
        { "outputs", LIST },
        { "version", TEXT },
        { "buildid", TEXT },
        { "session", TEXT },
        { "securityopt", TEXTS },
        { "cgroupparent", TEXT },
        { "ulimits", LIST },
        { "isolation", TEXT },
        { "keep", OBJECT },     /* no other engine's, see engine-build-keep.c: {"Key","Base","Next","Description"} */
        { "contexts", OBJECT }, /* no other engine's: {"NAME": {"Prefix" in the context} or {"Image"} or {"Remote"}} */
};

static int take_json(json_t *options, const char *name, const char *text, bool object, Error *error)
{
        CLEANUP_JSON json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

        if (json_is_null(value))
                return 0;
        if (!(object ? json_is_object(value) : json_is_array(value)))
                return error_set(error, OUTCOME_BAD_REQUEST, "error reading %s: invalid JSON",
                                 str_equal(name, "buildargs") ? "build args" : name);
        return json_object_set(options, name, value);
}

static int take_parameter(const ApiCall *call, size_t index, json_t *options, Error *error)
{
        const char *name = parameters[index].name, *text = http_request_query(call->request, name);
        json_t *list = NULL;
        int64_t number;

        if (str_empty(text))
                return 0;
        switch (parameters[index].kind) {
        case FLAG:
                return json_set_bool(options, name, str_to_bool(text));
        case NUMBER: /* as with Docker, what is no number is 0 */
                return str_to_int64(text, INT64_MIN, INT64_MAX, &number) < 0 ? 0 : json_set_int(options, name, number);
        case OBJECT:
        case LIST:
                return take_json(options, name, text, parameters[index].kind == OBJECT, error);
        case TEXTS:
                list = json_array();
                for (size_t i = 0; (text = http_request_query_nth(call->request, name, i)); i++)
                        if (*text)
                                json_array_append_new(list, json_string(text));
                return json_object_set_new(options, name, list) < 0 ? -EINVAL : 0;
        default:
                return json_set_string(options, name, text);
        }
}

/* X-Registry-Config: base64 of {"server": {"username", "password", ...}}. */
static void take_registries(const ApiCall *call, json_t *options)
{
        const char *header = http_request_header(call->request, "X-Registry-Config");
        CLEANUP_FREE char *standard = header ? strdup(header) : NULL, *text = NULL;
        CLEANUP_JSON json_t *registries = NULL;
        size_t size;

        /* Clients use either alphabet. */
        for (char *p = standard; p && *p; p++)
                *p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
        if (str_empty(standard) || base64_decode(standard, &text, &size) < 0)
                return;
        registries = json_loadb(text, size, 0, NULL);
        if (json_is_object(registries))
                json_object_set(options, "registry", registries);
}

/* X-Berth-Build: base64 of {"secrets":{"id":base64},"ssh":{"id":socket on this machine}}. A client's own way to give
 * them; they are in no URL, and on no disk. */
static int take_private(const ApiCall *call, json_t *options, Error *error)
{
        static const char *const keys[] = { "secrets", "ssh" };
        const char *header = http_request_header(call->request, "X-Berth-Build");
        CLEANUP_FREE char *text = NULL;
        size_t size = 0;

        if (str_empty(header))
                return 0;
        CLEANUP_JSON json_t *given = base64_decode(header, &text, &size) < 0 ? NULL : json_loadb(text, size, 0, NULL);
        if (text)
                explicit_bzero(text, size);
        if (!json_is_object(given))
                return error_set(error, OUTCOME_BAD_REQUEST, "error reading X-Berth-Build: invalid JSON");
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (json_get_object(given, keys[i]))
                        json_object_set(options, keys[i], json_get_object(given, keys[i]));
        return 0;
}

static int check_options(const json_t *options, Error *error)
{
        if (str_equal(json_get_string(options, "version"), "2"))
                return error_set(
                        error, OUTCOME_NOT_IMPLEMENTED,
                        "BuildKit's protocol is not supported by this version of berth; set DOCKER_BUILDKIT=0");
        if (json_array_size(json_get_array(options, "outputs")) > 0)
                return error_set(error, OUTCOME_NOT_IMPLEMENTED,
                                 "outputs need BuildKit's protocol; berth build --output writes them itself");
        return 0;
}

static void build(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        CLEANUP_JSON json_t *options = json_object();
        int r = options ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parameters); i++)
                r = take_parameter(call, i, options, &error);
        if (r == 0)
                r = take_private(call, options, &error);
        if (r == 0)
                r = check_options(options, &error);
        if (r != 0) {
                api_fail(call->request, r, &error);
                return;
        }
        take_registries(call, options);
        if (http_request_stream(call->request, 200, "application/json", &stream) >= 0)
                engine_build(call->engine, &stream, json_incref(options), api_refuse_stream);
}

/* Which generation of a context is kept, for a client that may then send changes only. */
static void kept(ApiCall *call)
{
        CLEANUP_FREE char *generation = NULL;
        CLEANUP_ERROR Error error = { 0 };
        int r = engine_build_kept(call->engine, call->name, &generation);

        if (r == -ENOENT)
                r = error_set(&error, OUTCOME_NOT_FOUND, "no such context: %s", call->name);
        api_answer(call->request, 200, r, r == 0 ? json_pack("{ss}", "Generation", generation) : NULL, &error);
}

static void cancel(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        const char *id = http_request_query(call->request, "id");
        int r;

        if (str_empty(id))
                r = error_set(&error, OUTCOME_BAD_REQUEST, "build ID not provided");
        else
                r = engine_build_cancel(call->engine, id, &error);
        if (r != 0)
                api_fail(call->request, r, &error);
        else
                http_respond_empty(call->request, 204);
}

static void prune(ApiCall *call)
{
        CLEANUP_JSON json_t *filters = NULL;
        int64_t keep;

        if (api_query_int(call, "keep-storage", 0, &keep) < 0 || api_query_filters(call, &filters) < 0)
                return;
        engine_build_prune(call->engine, filters, keep, api_query_bool(call, "all"), api_answer_later, call->request);
}

const ApiRoute api_build_routes[] = {
        { "POST", "/build", build, true, false },
        { "POST", "/build/cancel", cancel, false, false },
        { "POST", "/build/prune", prune, false, false },
        { "GET", "/_berth/context/{id}", kept, false, false },
        { NULL, NULL, NULL, false, false },
};
