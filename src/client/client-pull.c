/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth pull and push. The daemon does the work, with the credentials found here. */
#include <stdio.h>
#include <string.h>

#include "client-auth.h"
#include "client-pull.h"
#include "client-reference.h"

int client_check_trust(const ClientArguments *arguments, Error *error)
{
        const ClientValue *option = client_value(arguments, "disable-content-trust");
        const char *demand = getenv("DOCKER_CONTENT_TRUST");
        bool disabled = option->set ? option->flag : !demand || !str_to_bool(demand);

        if (disabled)
                return 0;
        return error_set(error, OUTCOME_BAD_REQUEST,
                         "berth cannot check the signatures of content trust; unset "
                         "DOCKER_CONTENT_TRUST or give --disable-content-trust");
}

/* Names that one part alone may be, and what architectures are also called. */
static const char *const systems[] = { "linux", "windows", "darwin", "freebsd", "wasip1" };
static const struct {
        const char *name, *arch, *variant;
} architectures[] = {
        { "x86_64", "amd64", NULL }, { "x86-64", "amd64", NULL }, { "aarch64", "arm64", NULL },
        { "armhf", "arm", "v7" },    { "armel", "arm", "v6" },    { "i386", "386", NULL },
        { "i686", "386", NULL },
};

static bool is_system(const char *part)
{
        for (size_t i = 0; i < ARRAY_SIZE(systems); i++)
                if (strcmp(systems[i], part) == 0)
                        return true;
        return false;
}

static bool is_part(const char *s)
{
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

        return n > 0 && !s[n];
}

int client_platform_parse(const char *text, char **ret, Error *error)
{
        CLEANUP_FREE char *copy = client_must(strdup(text));
        CLEANUP_JSON json_t *platform = client_must(json_object());
        char *rest = copy, *parts[3] = {}, *part;
        const char *system, *arch, *variant;
        size_t n = 0;

        while ((part = strsep(&rest, "/"))) {
                if (n == 3 || !is_part(part))
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "invalid platform \"%s\": it is os[/arch[/variant]]", text);
                parts[n++] = part;
        }
        if (n == 1 && !is_system(parts[0])) {
                parts[1] = parts[0];
                parts[0] = "linux";
        }
        system = parts[0];
        arch = parts[1];
        variant = parts[2];
        for (size_t i = 0; arch && i < ARRAY_SIZE(architectures); i++)
                if (strcasecmp(architectures[i].name, arch) == 0) {
                        arch = architectures[i].arch;
                        variant = variant ?: architectures[i].variant;
                        break;
                }
        if (arch)
                client_must_zero(json_object_set_new(platform, "architecture", json_string(arch)));
        client_must_zero(json_object_set_new(platform, "os", json_string(system)));
        if (variant)
                client_must_zero(json_object_set_new(platform, "variant", json_string(variant)));
        *ret = client_must(json_dumps(platform, JSON_COMPACT));
        return 0;
}

int client_pull(Client *client, const char *reference, bool all, const char *platform, ClientProgress *progress,
                Error *error)
{
        CLEANUP_FREE char *name = NULL, *tag = NULL, *headers = client_auth_header(reference);
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        CLEANUP_BUFFER Buffer target = {};
        HttpClientRequest request = { .method = "POST", .headers = headers };
        int r;

        client_reference_split(reference, &name, &tag);
        client_must_zero(buffer_append_string(&target, "/images/create"));
        target_add(&target, "fromImage", name);
        target_add(&target, "tag", all ? NULL : tag);
        target_add(&target, "platform", *platform ? platform : NULL);
        request.target = target.data;
        r = client_open(client, &request, &http, error);
        return r != 0 ? r : client_progress_run(progress, http, error);
}

/* The reference as a command line gave it, checked against --all-tags. RET_FULL is what is told at the end. */
static int take_reference(const ClientArguments *arguments, char **ret_full, Error *error)
{
        const char *reference = arguments->words[0];
        CLEANUP_FREE char *name = NULL, *tag = NULL;
        bool all = client_flag(arguments, "all-tags"), bare;
        int r = client_reference_check(reference, error);

        if (r != 0)
                return r;
        if (id_is_prefix(reference) && strlen(reference) == ID_LENGTH)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", reference);
        client_reference_split(reference, &name, &tag);
        bare = client_reference_is_bare(reference);
        if (all && !bare)
                return error_set(error, OUTCOME_BAD_REQUEST, "tag can't be used with --all-tags/-a");
        if (bare && !all && !client_flag(arguments, "quiet"))
                printf("Using default tag: latest\n");
        fflush(stdout);
        *ret_full = all ? client_must(strdup(name))
                        : client_must(str_printf("%s%c%s", name, strchr(tag, ':') ? '@' : ':', tag));
        return 0;
}

/* --- pull --- */

static int run_pull(Client *client, const ClientArguments *arguments)
{
        CLEANUP_PROGRESS ClientProgress progress = { .file = stdout, .quiet = client_flag(arguments, "quiet") };
        CLEANUP_FREE char *full = NULL;
        CLEANUP_ERROR Error error = {};
        int r = client_check_trust(arguments, &error);

        if (r == 0)
                r = take_reference(arguments, &full, &error);
        if (r == 0)
                r = client_pull(client, arguments->words[0], client_flag(arguments, "all-tags"),
                                client_string(arguments, "platform"), &progress, &error);
        if (r != 0)
                return client_fail(&error);
        puts(full);
        return 0;
}

static const ClientOption pull_options[] = {
        { 'a', "all-tags", OPTION_BOOL, NULL, NULL, "Pull every tag of the repository", NULL, NULL, false },
        { 0, "disable-content-trust", OPTION_BOOL, NULL, "true", "Do not ask for signatures", NULL, NULL, false },
        { 0, "platform", OPTION_STRING, "string", NULL, "Pull for this platform (os[/arch[/variant]])", NULL, NULL,
          false },
        { 'q', "quiet", OPTION_BOOL, NULL, NULL, "Suppress the progress", NULL, NULL, false },
        {},
};

const ClientCommand client_pull_command = {
        .usage = "[OPTIONS] NAME[:TAG|@DIGEST]",
        .summary = "Download an image from a registry",
        .options = pull_options,
        .min_words = 1,
        .max_words = 1,
        .run = run_pull,
};

/* --- push --- */

static int push(Client *client, const ClientArguments *arguments, ClientProgress *progress, Error *error)
{
        CLEANUP_FREE char *full_name = NULL, *tag = NULL, *platform = NULL, *headers = NULL;
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        HttpClientRequest request = { .method = "POST" };
        int r;

        if (*client_string(arguments, "platform")) {
                r = client_platform_parse(client_string(arguments, "platform"), &platform, error);
                if (r != 0)
                        return r;
        }
        client_reference_split(arguments->words[0], &full_name, &tag);
        target = target_make("images", full_name, "push");
        target_add(&target, "platform", platform);
        target_add(&target, "tag", client_flag(arguments, "all-tags") ? NULL : tag);
        headers = client_auth_header(arguments->words[0]);
        request.headers = headers;
        request.target = target.data;
        r = client_open(client, &request, &http, error);
        return r != 0 ? r : client_progress_run(progress, http, error);
}

static int run_push(Client *client, const ClientArguments *arguments)
{
        CLEANUP_PROGRESS ClientProgress progress = { .file = stdout, .quiet = client_flag(arguments, "quiet") };
        CLEANUP_FREE char *full = NULL;
        CLEANUP_ERROR Error error = {};
        int r = client_check_trust(arguments, &error);

        if (r == 0)
                r = take_reference(arguments, &full, &error);
        if (r == 0)
                r = push(client, arguments, &progress, &error);
        if (r != 0)
                return client_fail(&error);
        if (progress.quiet)
                puts(full);
        return 0;
}

static const ClientOption push_options[] = {
        { 'a', "all-tags", OPTION_BOOL, NULL, NULL, "Push every tag of the repository", NULL, NULL, false },
        { 0, "disable-content-trust", OPTION_BOOL, NULL, "true", "Do not sign", NULL, NULL, false },
        { 0, "platform", OPTION_STRING, "string", NULL,
          "Push the image for this platform only (os[/arch[/variant]]), not the index it is in", NULL, NULL, false },
        { 'q', "quiet", OPTION_BOOL, NULL, NULL, "Suppress the progress", NULL, NULL, false },
        {},
};

const ClientCommand client_push_command = {
        .usage = "[OPTIONS] NAME[:TAG]",
        .summary = "Upload an image to a registry",
        .options = push_options,
        .min_words = 1,
        .max_words = 1,
        .run = run_push,
};
