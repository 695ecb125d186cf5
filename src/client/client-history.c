/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth history. */
#include <string.h>

#include "berth/json.h"
#include "client-format.h"
#include "client-pull.h"
#include "client-text.h"
#include "client.h"

#define CREATED_BY_COLUMNS 45

static void add_row(ClientRows *rows, const json_t *item, bool truncate, bool human)
{
        const char *id = json_get_string_or(item, "Id", ""), *hex = str_after_prefix(id, "sha256:") ?: id;
        int64_t created = json_get_int(item, "Created", 0), bytes = json_get_int(item, "Size", 0);
        CLEANUP_FREE char *shown = client_must(truncate ? strndup(hex, ID_SHORT_LENGTH) : strdup(id));
        CLEANUP_FREE char *by = client_must(strdup(json_get_string_or(item, "CreatedBy", ""))), *by_shown = NULL;
        CLEANUP_FREE char *created_at = client_must(text_time_rfc3339(created));
        CLEANUP_FREE char *age = client_must(duration_words(time(NULL) - created));
        CLEANUP_FREE char *ago = client_must(!human        ? strdup(created_at)
                                             : created > 0 ? str_printf("%s ago", age)
                                                           : strdup("N/A"));
        CLEANUP_FREE char *size = client_must(human ? text_size(bytes, 3) : str_printf("%lld", (long long) bytes));

        for (char *c = by; *c; c++)
                if (*c == '\t')
                        *c = ' ';
        by_shown = client_must(truncate ? text_ellipsis(by, CREATED_BY_COLUMNS) : strdup(by));
        client_rows_add(rows,
                        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "Comment", json_get_string_or(item, "Comment", ""),
                                  "CreatedAt", created_at, "CreatedBy", by_shown, "CreatedSince", ago, "ID", shown,
                                  "Size", size),
                        json_object());
}

static int run_history(Client *client, const ClientArguments *arguments)
{
        const char *format = client_string(arguments, "format"), *platform = client_string(arguments, "platform");
        bool human = client_flag(arguments, "human");
        CLEANUP_JSON json_t *headings = client_must(
                json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "Comment", "COMMENT", "CreatedAt", "CREATED AT", "CreatedBy",
                          "CREATED BY", "CreatedSince", "CREATED", "ID", "IMAGE", "Size", "SIZE"));
        CLEANUP_BUFFER Buffer target = target_make("images", arguments->words[0], "history");
        CLEANUP_FREE char *json = NULL;
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ROWS ClientRows rows = {};
        CLEANUP_ERROR Error error = {};
        json_t *item;
        size_t i;

        if (*platform && client_platform_parse(platform, &json, &error) != 0)
                return client_fail(&error);
        target_add(&target, "platform", json);
        if (client_call(client, "GET", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        json_array_foreach(reply.json, i, item) {
                add_row(&rows, item, !client_flag(arguments, "no-trunc"), human);
        }
        if (client_flag(arguments, "quiet") && (!*format || strcmp(format, "table") == 0))
                return client_rows_print(&rows, "{{.ID}}", NULL, NULL);
        return client_rows_print(&rows, format,
                                 human ? "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
                                       : "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
                                 headings);
}

static const ClientOption history_options[] = {
        { 0, "format", OPTION_STRING, "string", NULL, FORMAT_LIST_HELP, NULL, NULL, false },
        { 'H', "human", OPTION_BOOL, NULL, "true", "Print sizes and dates for people", NULL, NULL, false },
        { 0, "no-trunc", OPTION_BOOL, NULL, NULL, "Don't shorten anything", NULL, NULL, false },
        { 0, "platform", OPTION_STRING, "string", NULL, "Show this variant (os[/arch[/variant]])", NULL, NULL, false },
        { 'q', "quiet", OPTION_BOOL, NULL, NULL, "Only show image IDs", NULL, NULL, false },
        {},
};

const ClientCommand client_history = {
        .usage = "[OPTIONS] IMAGE",
        .summary = "Show the history of an image",
        .options = history_options,
        .min_words = 1,
        .max_words = 1,
        .run = run_history,
};
