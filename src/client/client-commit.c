/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth commit. */
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-reference.h"
#include "client.h"

static int add_reference(Buffer *target, const char *reference, Error *error)
{
        CLEANUP_FREE char *full = NULL, *tag = NULL;
        int r = client_reference_check(reference, error);

        if (r != 0)
                return r;
        client_reference_split(reference, &full, &tag);
        if (strchr(reference, '@'))
                return error_set(error, OUTCOME_BAD_REQUEST, "refusing to create a tag with a digest reference");
        target_add(target, "repo", full);
        target_add(target, "tag", tag);
        return 0;
}

static int run_commit(Client *client, const ClientArguments *arguments)
{
        const char *author = client_string(arguments, "author"), *message = client_string(arguments, "message");
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};

        client_must_zero(buffer_append_string(&target, "/commit"));
        target_add(&target, "container", arguments->words[0]);
        if (arguments->n_words > 1 && *arguments->words[1] && add_reference(&target, arguments->words[1], &error) != 0)
                return client_fail(&error);
        target_add(&target, "comment", *message ? message : NULL);
        target_add(&target, "author", *author ? author : NULL);
        target_add(&target, "pause", client_flag(arguments, "pause") ? NULL : "0");
        for (char *const *change = client_value(arguments, "change")->list; change && *change; change++)
                target_add(&target, "changes", *change);
        if (client_call(client, "POST", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        puts(json_get_string_or(reply.json, "Id", ""));
        return 0;
}

static const ClientOption commit_options[] = {
        { 'a', "author", OPTION_STRING, "string", NULL, "Author (e.g., \"Jo Doe <jo@example.com>\")", NULL, NULL,
          false },
        { 'c', "change", OPTION_LIST, "list", NULL, "Apply a Dockerfile instruction to the image", NULL, NULL, false },
        { 'm', "message", OPTION_STRING, "string", NULL, "Message for the image's history", NULL, NULL, false },
        { 'p', "pause", OPTION_BOOL, NULL, "true", "Pause the container meanwhile", NULL, NULL, false },
        {},
};

const ClientCommand client_commit = {
        .usage = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        .summary = "Create a new image from a container's changes",
        .options = commit_options,
        .min_words = 1,
        .max_words = 2,
        .run = run_commit,
};
