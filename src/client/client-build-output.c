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

/* --- The archive of a container's files --------------------------------------------------------------------------- */

/* The archive as it comes, less the mark that an engine puts into every container's tree. What stands before an entry's
 * own header is held back until that is there. */
typedef struct Files {
        HttpClient *http; /* borrowed */
        Buffer held, out;
        int64_t left;    /* of content that is passed on as it is, whole blocks */
        bool describing; /* it is that of what stands before a header */
} Files;

static void files_clear(Files *files)
{
        buffer_clear(&files->held);
        buffer_clear(&files->out);
}

static ssize_t read_body(HttpClient *http, void *data, size_t size)
{
        Buffer *body = http_client_body(http);

        while (body->size < size && !http_client_complete(http)) {
                int r = http_client_step(http);

                if (r < 0)
                        return r;
        }
        size_t n = MIN(size, body->size);
        memcpy(data, body->data ?: "", n);
        buffer_consume(body, n);
        return (ssize_t) n;
}

/* The size in a header, or in the record of what stands before it. */
static int64_t content_size(const Files *files, const char header[static TAR_BLOCK])
{
        const char *record = files->held.size > 0 ? memmem(files->held.data, files->held.size, " size=", 6) : NULL;
        char field[13] = "";

        memcpy(field, header + 124, 12);
        return record ? strtoll(record + 6, NULL, 10) : strtoll(field, NULL, 8);
}

static int take_header(Files *files, const char header[static TAR_BLOCK])
{
        char type = header[156];
        int64_t size = content_size(files, header);

        files->describing = type == 'x' || type == 'g' || type == 'L' || type == 'K';
        files->left = (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
        if (strncmp(header, ".dockerenv", 100) == 0 && size == 0) {
                files->held.size = 0;
                return 0;
        }
        int r = buffer_append(&files->held, header, TAR_BLOCK);
        if (r < 0 || files->describing)
                return r;
        r = buffer_append(&files->out, files->held.data, files->held.size);
        files->held.size = 0;
        return r;
}

static ssize_t read_files(void *userdata, void *data, size_t size)
{
        Files *files = userdata;
        char block[TAR_BLOCK];

        while (files->out.size == 0) {
                ssize_t n = read_body(files->http, block, sizeof(block));
                int r;

                if (n < (ssize_t) sizeof(block))
                        return MIN(n, 0);
                if (files->left > 0) {
                        r = buffer_append(files->describing ? &files->held : &files->out, block, sizeof(block));
                        files->left -= TAR_BLOCK;
                } else
                        r = take_header(files, block);
                if (r < 0)
                        return r;
        }
        size_t n = MIN(size, files->out.size);
        memcpy(data, files->out.data, n);
        buffer_consume(&files->out, n);
        return (ssize_t) n;
}

/* Into a directory. TarRead wants all that it asks for. */
static ssize_t read_all(void *userdata, void *data, size_t size)
{
        size_t done = 0;

        while (done < size) {
                ssize_t n = read_files(userdata, (char *) data + done, size - done);
                if (n <= 0)
                        return n < 0 ? n : (ssize_t) done;
                done += (size_t) n;
        }
        return (ssize_t) done;
}

static int unpack(Files *files, const char *directory, Error *error)
{
        TarReader reader = { .read = read_all, .userdata = files };
        ClientUnpack into = { .directory = directory };
        int r = path_make_directories(directory, 0755);

        if (r < 0)
                return error_set(error, OUTCOME_FAILED, "cannot make %s: %s", directory, strerror(-r));
        return client_unpack(&into, &reader, error);
}

/* --- Files that are archives -------------------------------------------------------------------------------------- */

static int open_file(const char *path, int *ret_file, Error *error)
{
        *ret_file = str_equal(path, "-") ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                                         : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        return *ret_file < 0 ? error_set(error, OUTCOME_FAILED, "open %s: %s", path, strerror(errno)) : 0;
}

static int write_tar(Client *client, Files *files, const char *path, Error *error)
{
        CLEANUP_CLOSE int file = -EBADF;
        char piece[65536];
        int r = open_file(path, &file, error);
        ssize_t n;

        while (r == 0 && (n = read_files(files, piece, sizeof(piece))) != 0) {
                if (n < 0)
                        return client_transport_error(client, (int) n, error);
                if (fd_write_all(file, piece, (size_t) n) < 0)
                        return error_set(error, OUTCOME_FAILED, "write %s: %s", path, strerror(errno));
        }
        return r;
}

static int save(Client *client, const char *target, const char *path, Error *error)
{
        HttpClientRequest request = { .method = "GET", .target = target };
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        CLEANUP_CLOSE int file = -EBADF;
        int r = client_open(client, &request, &http, error);

        if (r == 0)
                r = open_file(path, &file, error);
        return r == 0 ? client_copy_body(client, http, file, error) : r;
}

/* --- The container ------------------------------------------------------------------------------------------------ */

static int export(Client *client, const BuildOutput *output, const char *id, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", id, "export");
        HttpClientRequest request = { .method = "GET", .target = target.data };
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        CLEANUP(files_clear) Files files = {};
        int r = client_open(client, &request, &http, error);

        files.http = http;
        if (r != 0)
                return r;
        return output->kind == BUILD_OUTPUT_TAR ? write_tar(client, &files, output->destination, error)
                                                : unpack(&files, output->destination, error);
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
        CLEANUP_BUFFER Buffer removal = target_make("containers", id, "");
        CLEANUP_REPLY ClientReply reply = {};
        r = export(client, output, id, error);
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
