/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth load and import: archives to the daemon. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/json.h"
#include "client-pull.h"
#include "client.h"

static int open_input(const char *path, int *ret_fd, Error *error)
{
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (*ret_fd >= 0)
                return 0;
        return error_set(error, OUTCOME_BAD_REQUEST, "open %s: %s", path,
                         errno == ENOENT   ? "no such file or directory"
                         : errno == EACCES ? "permission denied"
                                           : strerror(errno));
}

typedef struct Shower {
        ClientProgress *progress;
        Error *error;
} Shower;

static int show_early(HttpClient *http, void *userdata)
{
        Shower *shower = userdata;

        /* A failure ends the upload; what it says is told when the response is read. */
        return client_progress_take(shower->progress, http_client_body(http), shower->error) != 0;
}

/* Sends FD as the body of a POST, and shows the messages that come back. */
static int post_archive(Client *client, const char *target, int fd, ClientProgress *progress, Error *error)
{
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        HttpClientRequest request = {
                .method = "POST", .target = target, .content_type = "application/x-tar", .chunked = fd >= 0
        };
        CLEANUP_ERROR Error refused = {};
        Shower shower = { progress, &refused };
        int r;

        r = client_connect(client, &http, error);
        if (r != 0)
                return r;
        r = http_client_send(http, &request);
        if (r == 0 && fd >= 0)
                r = http_client_upload(http, fd, show_early, &shower);
        if (r == -EISDIR || r == -EIO)
                return error_set(error, OUTCOME_BAD_REQUEST, "cannot read the archive: %s",
                                 r == -EISDIR ? "is a directory" : "input/output error");
        if (r < 0)
                return client_transport_error(client, r, error);
        if (refused.message)
                return error_set(error, OUTCOME_FAILED, "%s", refused.message);
        r = http_client_read_head(http);
        if (r < 0)
                return client_transport_error(client, r, error);
        return r >= 400 ? client_refusal(http, error) : client_progress_run(progress, http, error);
}

/* --- load --- */

static int run_load(Client *client, const ClientArguments *arguments)
{
        const char *input = client_string(arguments, "input"), *platform = client_string(arguments, "platform");
        bool quiet = client_flag(arguments, "quiet") || !isatty(STDOUT_FILENO);
        CLEANUP_PROGRESS ClientProgress progress = { .file = stdout };
        CLEANUP_CLOSE int file = -EBADF;
        CLEANUP_FREE char *json = NULL;
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_ERROR Error error = {};

        if (*platform && client_platform_parse(platform, &json, &error) != 0)
                return client_fail(&error);
        if (*input && open_input(input, &file, &error) != 0)
                return client_fail(&error);
        if (!*input && isatty(STDIN_FILENO)) {
                client_complain("requested load from stdin, but stdin is empty");
                return 1;
        }
        client_must_zero(buffer_append_string(&target, "/images/load"));
        target_add(&target, "quiet", quiet ? "1" : "0");
        target_add(&target, "platform", json);
        if (post_archive(client, target.data, *input ? file : STDIN_FILENO, &progress, &error) != 0)
                return client_fail(&error);
        return 0;
}

static const ClientOption load_options[] = {
        { 'i', "input", OPTION_STRING, "string", NULL, "Read the archive from this file, not STDIN", NULL, NULL,
          false },
        { 0, "platform", OPTION_STRING, "string", NULL, "Load only this variant (os[/arch[/variant]])", NULL, NULL,
          false },
        { 'q', "quiet", OPTION_BOOL, NULL, NULL, "Suppress the progress", NULL, NULL, false },
        {},
};

const ClientCommand client_load = {
        .usage = "[OPTIONS]",
        .summary = "Load an image from a tar archive or STDIN",
        .options = load_options,
        .run = run_load,
};

/* --- import --- */

static int run_import(Client *client, const ClientArguments *arguments)
{
        const char *source = arguments->words[0], *platform = client_string(arguments, "platform");
        const char *message = client_string(arguments, "message");
        CLEANUP_PROGRESS ClientProgress progress = { .file = stdout };
        CLEANUP_CLOSE int file = -EBADF;
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_ERROR Error error = {};
        bool url = strstr(source, "://") != NULL;
        int fd = -EBADF;

        if (strcmp(source, "-") == 0)
                fd = STDIN_FILENO;
        else if (!url) {
                if (open_input(source, &file, &error) != 0)
                        return client_fail(&error);
                fd = file;
        }
        client_must_zero(buffer_append_string(&target, "/images/create"));
        target_add(&target, "fromSrc", url ? source : "-");
        target_add(&target, "message", *message ? message : NULL);
        target_add(&target, "platform", *platform ? platform : NULL);
        target_add(&target, "repo", arguments->n_words > 1 ? arguments->words[1] : NULL);
        for (char *const *change = client_value(arguments, "change")->list; change && *change; change++)
                target_add(&target, "changes", *change);
        return post_archive(client, target.data, fd, &progress, &error) != 0 ? client_fail(&error) : 0;
}

static const ClientOption import_options[] = {
        { 'c', "change", OPTION_LIST, "list", NULL, "Apply a Dockerfile instruction to the image", NULL, NULL, false },
        { 'm', "message", OPTION_STRING, "string", NULL, "Message for the image's history", NULL, NULL, false },
        { 0, "platform", OPTION_STRING, "string", NULL, "Platform of the image (os[/arch[/variant]])", NULL, NULL,
          false },
        {},
};

const ClientCommand client_import = {
        .usage = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        .summary = "Import the contents from a tarball to create a filesystem image",
        .options = import_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_import,
};
