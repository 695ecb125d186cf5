/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth inspect. Without a template the daemon's own bytes are shown, only indented. */
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-format.h"
#include "client-indent.h"
#include "client-template.h"
#include "client.h"

/* The exit status when the template itself is wrong. */
#define TEMPLATE_EXIT 64

static const struct {
        const char *type, *collection, *verb;
} kinds[] = {
        { "container", "containers", "json" },
        { "image", "images", "json" },
        { "network", "networks", "" },
        { "volume", "volumes", "" },
};

/* Looks NAME up, as TYPE or as anything. 0, or positive with ERROR set. */
static int fetch(Client *client, const ClientArguments *arguments, const char *type, const char *name,
                 ClientReply *reply, Error *error)
{
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                CLEANUP_BUFFER Buffer target = {};

                if (*type && strcmp(type, kinds[i].type) != 0)
                        continue;
                target = target_make(kinds[i].collection, name, kinds[i].verb);
                target_add(&target, "size", client_flag(arguments, "size") && i == 0 ? "1" : NULL);
                target_add(&target, "verbose", client_flag(arguments, "verbose") && i == 2 ? "true" : NULL);
                error_clear(error);
                if (client_call(client, "GET", target.data, NULL, reply, error) == 0)
                        return 0;
                if (reply->status != 404 && reply->status != 501)
                        return OUTCOME_FAILED;
        }
        if (*type)
                return OUTCOME_NOT_FOUND;
        error_clear(error);
        return error_set(error, OUTCOME_NOT_FOUND, "Error: No such object: %s", name);
}

static int add_template(const ClientTemplate *template, const ClientReply *reply, Buffer *out, Error *error)
{
        CLEANUP_ERROR Error reason = {};
        CLEANUP_BUFFER Buffer text = {};

        if (client_template_execute(template, reply->json, NULL, &text, &reason) != 0)
                return error_set(error, OUTCOME_FAILED, "template parsing error: %s", reason.message);
        client_must_zero(buffer_append(out, text.data ?: "", text.size));
        client_must_zero(buffer_append_string(out, "\n"));
        return 0;
}

static void add_json(const ClientReply *reply, bool compact, Buffer *out)
{
        if (compact)
                client_must_zero(buffer_append_string(out, out->size > 0 ? "," : ""));
        else
                client_must_zero(buffer_append_string(out, out->size > 0 ? ",\n    " : "    "));
        client_must_zero(client_indent(reply->body.data, reply->body.size, compact ? -1 : 1, out));
}

static int inspect(Client *client, const ClientArguments *arguments, const char *type)
{
        const char *format = client_string(arguments, "format");
        CLEANUP_TEMPLATE ClientTemplate *template = NULL;
        CLEANUP_ERROR Error error = {};
        CLEANUP_BUFFER Buffer out = {};
        bool compact = strcmp(format, "json") == 0;
        int failed = 0;

        if (!compact && *format && client_template_parse(format, &template, &error) != 0) {
                client_complain("template parsing error: %s", error.message);
                return TEMPLATE_EXIT;
        }
        for (size_t i = 0; i < arguments->n_words; i++) {
                CLEANUP_REPLY ClientReply reply = {};
                CLEANUP_ERROR Error reason = {};
                int r = fetch(client, arguments, type, arguments->words[i], &reply, &reason);

                if (r == 0 && template)
                        r = add_template(template, &reply, &out, &reason);
                else if (r == 0)
                        add_json(&reply, compact, &out);
                if (r != 0) {
                        CLEANUP_FREE char *before = TAKE_PTR(error.message);

                        failed = 1;
                        error_set(&error, OUTCOME_FAILED, "%s%s%s", before ?: "", before ? "\n" : "", reason.message);
                }
        }
        if (template)
                fputs(out.data ?: "\n", stdout);
        else if (compact)
                printf("[%s]\n", out.data ?: "");
        else if (out.size > 0)
                printf("[\n%s\n]\n", out.data);
        else
                puts("[]");
        return failed ? client_fail(&error) : 0;
}

static int run_inspect(Client *client, const ClientArguments *arguments)
{
        const char *type = client_string(arguments, "type");
        bool known = !*type;

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                known |= strcmp(type, kinds[i].type) == 0;
        if (!known) {
                client_complain(
                        "unknown type: \"%s\": must be one of \"container\", \"image\", \"network\", \"volume\"", type);
                return 1;
        }
        return inspect(client, arguments, type);
}

static int run_inspect_container(Client *client, const ClientArguments *arguments)
{
        return inspect(client, arguments, "container");
}

static int run_inspect_image(Client *client, const ClientArguments *arguments)
{
        return inspect(client, arguments, "image");
}

static const ClientOption inspect_options[] = {
        { 'f', "format", OPTION_STRING, "string", NULL, FORMAT_HELP, NULL, NULL, false },
        { 's', "size", OPTION_BOOL, NULL, NULL, "Display file sizes of containers", NULL, NULL, false },
        { 0, "type", OPTION_STRING, "string", NULL, "Only inspect objects of this type", NULL, NULL, false },
        {},
};

const ClientCommand client_inspect = {
        .usage = "[OPTIONS] NAME|ID [NAME|ID...]",
        .summary = "Return low-level information on containers, images, networks and volumes",
        .options = inspect_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_inspect,
};

static const ClientOption inspect_container_options[] = {
        { 'f', "format", OPTION_STRING, "string", NULL, FORMAT_HELP, NULL, NULL, false },
        { 's', "size", OPTION_BOOL, NULL, NULL, "Display file sizes", NULL, NULL, false },
        {},
};

const ClientCommand client_inspect_container = {
        .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
        .summary = "Display detailed information on one or more containers",
        .options = inspect_container_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_inspect_container,
};

static const ClientOption inspect_image_options[] = {
        { 'f', "format", OPTION_STRING, "string", NULL, FORMAT_HELP, NULL, NULL, false },
        {},
};

const ClientCommand client_inspect_image = {
        .usage = "[OPTIONS] IMAGE [IMAGE...]",
        .summary = "Display detailed information on one or more images",
        .options = inspect_image_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_inspect_image,
};

static int run_inspect_network(Client *client, const ClientArguments *arguments)
{
        return inspect(client, arguments, "network");
}

static int run_inspect_volume(Client *client, const ClientArguments *arguments)
{
        return inspect(client, arguments, "volume");
}

static const ClientOption inspect_network_options[] = {
        { 'f', "format", OPTION_STRING, "string", NULL, FORMAT_HELP, NULL, NULL, false },
        { 'v', "verbose", OPTION_BOOL, NULL, NULL, "Show more, for finding faults", NULL, NULL, false },
        {},
};

const ClientCommand client_inspect_network = {
        .usage = "[OPTIONS] NETWORK [NETWORK...]",
        .summary = "Display detailed information on one or more networks",
        .options = inspect_network_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_inspect_network,
};

const ClientCommand client_inspect_volume = {
        .usage = "[OPTIONS] VOLUME [VOLUME...]",
        .summary = "Display detailed information on one or more volumes",
        .options = inspect_image_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_inspect_volume,
};
