/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth save and export: archives from the daemon. A file appears under its name when it is whole. */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client-pull.h"
#include "client.h"

/* Where the archive goes: standard output, or a file beside the one that is meant. */
typedef struct Output {
        int fd;
        char *temporary; /* owned; NULL where it is standard output or a device */
        const char *path;
} Output;

static void output_clear(Output *output)
{
        if (output->temporary)
                unlink(output->temporary);
        if (output->fd != STDOUT_FILENO)
                fd_close(output->fd);
        free(output->temporary);
}

static int check_directory(const char *path, Error *error)
{
        CLEANUP_FREE char *copy = client_must(strdup(path));
        const char *directory = dirname(copy);
        struct stat st;

        if (*directory && stat(directory, &st) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid output path: stat %s: %s", directory,
                                 errno == ENOENT ? "no such file or directory" : strerror(errno));
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
                return error_set(error, OUTCOME_BAD_REQUEST, "cannot write to a directory");
        return 0;
}

static int output_open(Output *output, const char *path, Error *error)
{
        struct stat st;
        int r;

        *output = (Output) { .fd = STDOUT_FILENO, .path = path };
        if (!*path && isatty(STDOUT_FILENO))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "cowardly refusing to save to a terminal. Use the -o flag or redirect");
        if (!*path)
                return 0;
        r = check_directory(path, error);
        if (r != 0)
                return r;
        if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
                output->fd = open(path, O_WRONLY | O_CLOEXEC);
        } else {
                output->temporary = client_must(str_printf("%s.berth-%d", path, (int) getpid()));
                output->fd = open(output->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        }
        if (output->fd < 0) {
                free(output->temporary);
                output->temporary = NULL;
                return error_set(error, OUTCOME_FAILED, "open %s: %s", path,
                                 errno == EACCES ? "permission denied" : strerror(errno));
        }
        return 0;
}

static int output_finish(Output *output, Error *error)
{
        if (!output->temporary)
                return 0;
        if (fsync(output->fd) < 0 || rename(output->temporary, output->path) < 0)
                return error_set(error, OUTCOME_FAILED, "write %s: %s", output->path, strerror(errno));
        free(output->temporary);
        output->temporary = NULL;
        return 0;
}

static int download(Client *client, const char *target, Output *output, Error *error)
{
        HttpClientRequest request = { .method = "GET", .target = target };
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        int r = client_open(client, &request, &http, error);

        if (r == 0)
                r = client_copy_body(client, http, output->fd, error);
        return r != 0 ? r : output_finish(output, error);
}

/* --- save --- */

static int run_save(Client *client, const ClientArguments *arguments)
{
        const char *platform = client_string(arguments, "platform");
        CLEANUP(output_clear) Output output = { .fd = -EBADF };
        CLEANUP_FREE char *json = NULL;
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_ERROR Error error = {};

        if (*platform && client_platform_parse(platform, &json, &error) != 0)
                return client_fail(&error);
        if (output_open(&output, client_string(arguments, "output"), &error) != 0) {
                if (*client_string(arguments, "output"))
                        client_complain("failed to save image: %s", error.message);
                else
                        client_fail(&error);
                return 1;
        }
        client_must_zero(buffer_append_string(&target, "/images/get"));
        for (size_t i = 0; i < arguments->n_words; i++)
                target_add(&target, "names", arguments->words[i]);
        target_add(&target, "platform", json);
        return download(client, target.data, &output, &error) != 0 ? client_fail(&error) : 0;
}

static const ClientOption save_options[] = {
        { 'o', "output", OPTION_STRING, "string", NULL, "Write to this file, not STDOUT", NULL, NULL, false },
        { 0, "platform", OPTION_STRING, "string", NULL, "Save only this variant (os[/arch[/variant]])", NULL, NULL,
          false },
        {},
};

const ClientCommand client_save = {
        .usage = "[OPTIONS] IMAGE [IMAGE...]",
        .summary = "Save one or more images to a tar archive (streamed to STDOUT by default)",
        .options = save_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_save,
};

/* --- export --- */

static int run_export(Client *client, const ClientArguments *arguments)
{
        CLEANUP(output_clear) Output output = { .fd = -EBADF };
        CLEANUP_BUFFER Buffer target = target_make("containers", arguments->words[0], "export");
        CLEANUP_ERROR Error error = {};

        if (output_open(&output, client_string(arguments, "output"), &error) != 0) {
                if (*client_string(arguments, "output"))
                        client_complain("failed to export container: %s", error.message);
                else
                        client_fail(&error);
                return 1;
        }
        return download(client, target.data, &output, &error) != 0 ? client_fail(&error) : 0;
}

static const ClientOption export_options[] = {
        { 'o', "output", OPTION_STRING, "string", NULL, "Write to this file, not STDOUT", NULL, NULL, false },
        {},
};

const ClientCommand client_export = {
        .usage = "[OPTIONS] CONTAINER",
        .summary = "Export a container's filesystem as a tar archive",
        .options = export_options,
        .min_words = 1,
        .max_words = 1,
        .run = run_export,
};
