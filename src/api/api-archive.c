/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /containers/{id}/archive: files of a container, one way and the other. */
#include "api-private.h"

/* The route's container and what is asked of it; NULL after the request was answered. */
static Container *parse(ApiCall *call, ContainerArchive *ret)
{
        const char *path = http_request_query(call->request, "path");
        CLEANUP_ERROR Error error = { 0 };

        if (str_empty(path)) {
                error_set(&error, OUTCOME_BAD_REQUEST, "bad parameter: pathcannot be empty");
                api_fail(call->request, OUTCOME_BAD_REQUEST, &error);
                return NULL;
        }
        *ret = (ContainerArchive) {
                .name = call->name,
                .path = path,
                .keep_kinds = api_query_bool(call, "noOverwriteDirNonDir"),
                .own = api_query_bool(call, "copyUIDGID"),
                .refuse = api_refuse_stream,
        };
        return api_find_container(call);
}

static void answer_stat(int result, json_t *object, const Error *error, void *userdata)
{
        if (result != 0) {
                api_fail(userdata, result, error);
                return;
        }
        http_response_header(userdata, ARCHIVE_STAT_HEADER, json_get_string_or(object, "Stat", ""));
        http_respond_empty(userdata, 200);
}

static void stat(ApiCall *call)
{
        ContainerArchive archive;
        Container *container = parse(call, &archive);

        if (container)
                container_archive_stat(container, &archive, answer_stat, call->request);
}

/* The request goes as the stream is taken: its strings with it. */
static void transfer(ApiCall *call, const char *type,
                     void (*begin)(Container *container, const ContainerArchive *archive, Stream *stream))
{
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        ContainerArchive archive;
        Container *container = parse(call, &archive);
        CLEANUP_FREE char *path = NULL, *name = NULL;

        if (!container)
                return;
        archive.path = path = strdup(archive.path);
        archive.name = name = strdup(archive.name);
        if (path && name && http_request_stream(call->request, 200, type, &stream) >= 0)
                begin(container, &archive, &stream);
}

static void get(ApiCall *call)
{
        transfer(call, "application/x-tar", container_archive_get);
}

static void put(ApiCall *call)
{
        transfer(call, "application/octet-stream", container_archive_put);
}

const ApiRoute api_archive_routes[] = {
        { "HEAD", "/containers/{id}/archive", stat, false, false },
        { "GET", "/containers/{id}/archive", get, false, false },
        { "PUT", "/containers/{id}/archive", put, true, false },
        { NULL, NULL, NULL, false, false },
};
