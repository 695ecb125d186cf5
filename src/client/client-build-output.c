/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of an image are those of a container of it that was never started. Files belong to who runs the command. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/json.h"
#include "client-build-output.h"
#include "client-unpack.h"

void client_build_output_clear(BuildOutput *output)
{
        free(output->destination);
        *output = (BuildOutput) {};
}

static int take_type(const char *value, BuildOutputKind *ret, Error *error)
{
        static const char *const names[] = { [BUILD_OUTPUT_IMAGE] = "image",
                                             [BUILD_OUTPUT_LOCAL] = "local",
                                             [BUILD_OUTPUT_TAR] = "tar",
                                             [BUILD_OUTPUT_DOCKER] = "docker" };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_equal(names[i], value)) {
                        *ret = (BuildOutputKind) i;
                        return 0;
                }
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid output type: %s (image, local, tar or docker)", value);
}

static int take_field(char *field, BuildOutput *output, Error *error)
{
        char *value = strchr(field, '=');

        if (!value)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid value %s, expected key=value", field);
        *value++ = 0;
        if (str_equal(field, "type"))
                return take_type(value, &output->kind, error);
        if (!str_equal(field, "dest"))
                return error_set(error, OUTCOME_BAD_REQUEST, "unknown key %s of an output", field);
        free(output->destination);
        output->destination = client_must(strdup(value));
        return 0;
}

int client_build_output_parse(const char *text, BuildOutput *ret, Error *error)
{
        CLEANUP_FREE char *copy = client_must(strdup(text));
        CLEANUP(client_build_output_clear) BuildOutput output = {};
        char *rest = copy, *field;
        int r = 0;

        if (!strchr(text, '=')) {
                output.kind = str_empty(text)        ? BUILD_OUTPUT_IMAGE
                              : str_equal(text, "-") ? BUILD_OUTPUT_TAR
                                                     : BUILD_OUTPUT_LOCAL;
                output.destination = client_must(strdup(text));
        } else
                while (r == 0 && (field = strsep(&rest, ",")))
                        r = take_field(field, &output, error);
        if (r == 0 && output.kind == BUILD_OUTPUT_LOCAL && str_equal(output.destination, "-"))
                return error_set(error, OUTCOME_BAD_REQUEST, "dest for the local output is a directory");
        if (r == 0 && output.kind != BUILD_OUTPUT_IMAGE && str_empty(output.destination))
                return error_set(error, OUTCOME_BAD_REQUEST, "dest is required for this type of output");
        if (r == 0 && client_build_output_is_stdout(&output) && isatty(STDOUT_FILENO))
                return error_set(error, OUTCOME_BAD_REQUEST, "dest is a file where standard output is a terminal");
        if (r != 0)
                return r;
        *ret = output;
        output = (BuildOutput) {};
        return 0;
}

bool client_build_output_is_stdout(const BuildOutput *output)
{
        return output->kind != BUILD_OUTPUT_IMAGE && str_equal(output->destination, "-");
}

/* --- Archives ----------------------------------------------------------------------------------------------------- */

static int save(Client *client, const char *target, const char *path, Error *error)
{
        HttpClientRequest request = { .method = "GET", .target = target };
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        CLEANUP_CLOSE int file = -EBADF;
        int r = client_open(client, &request, &http, error), fd = STDOUT_FILENO;

        if (r == 0 && !str_equal(path, "-")) {
                file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
                if (file < 0)
                        return error_set(error, OUTCOME_FAILED, "open %s: %s", path, strerror(errno));
                fd = file;
        }
        return r == 0 ? client_copy_body(client, http, fd, error) : r;
}

/* --- Files -------------------------------------------------------------------------------------------------------- */

static ssize_t read_body(void *userdata, void *data, size_t size)
{
        HttpClient *http = userdata;
        Buffer *body = http_client_body(http);

        while (body->size == 0 && !http_client_complete(http)) {
                int r = http_client_step(http);

                if (r < 0)
                        return r;
        }
        size_t n = MIN(size, body->size);
        memcpy(data, body->data ?: "", n);
        buffer_consume(body, n);
        return (ssize_t) n;
}

static int unpack(Client *client, const char *target, const char *directory, Error *error)
{
        HttpClientRequest request = { .method = "GET", .target = target };
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        TarReader reader = { .read = read_body };
        ClientUnpack into = { .directory = directory };
        int r = path_make_directories(directory, 0755);

        if (r < 0)
                return error_set(error, OUTCOME_FAILED, "cannot make %s: %s", directory, strerror(-r));
        r = client_open(client, &request, &http, error);
        if (r != 0)
                return r;
        reader.userdata = http;
        return client_unpack(&into, &reader, error);
}

static int create(Client *client, const char *image, char **ret_id, Error *error)
{
        CLEANUP_JSON json_t *body = client_must(json_pack("{ss s[s]}", "Image", image, "Cmd", "/"));
        CLEANUP_REPLY ClientReply reply = {};
        int r = client_call(client, "POST", "/containers/create", body, &reply, error);

        if (r == 0)
                *ret_id = client_must(strdup(json_get_string_or(reply.json, "Id", "")));
        return r;
}

static int write_files(Client *client, const BuildOutput *output, const char *image, Error *error)
{
        CLEANUP_FREE char *id = NULL;
        CLEANUP_ERROR Error failure = {};
        int r = create(client, image, &id, error);

        if (r != 0)
                return r;
        CLEANUP_BUFFER Buffer export = target_make("containers", id, "export"),
                              removal = target_make("containers", id, "");
        CLEANUP_REPLY ClientReply reply = {};
        r = output->kind == BUILD_OUTPUT_TAR ? save(client, export.data, output->destination, error)
                                             : unpack(client, export.data, output->destination, error);
        target_add(&removal, "force", "1");
        int removed = client_call(client, "DELETE", removal.data, NULL, &reply, &failure);
        if (removed != 0)
                client_complain("the container that gave the files stays: %s", failure.message);
        return r;
}

int client_build_output_write(Client *client, const BuildOutput *output, const char *image, Error *error)
{
        CLEANUP_BUFFER Buffer get = {};

        if (output->kind == BUILD_OUTPUT_IMAGE)
                return 0;
        if (output->kind != BUILD_OUTPUT_DOCKER)
                return write_files(client, output, image, error);
        client_must_zero(buffer_append_string(&get, "/images/get"));
        target_add(&get, "names", image);
        return save(client, get.data, output->destination, error);
}
