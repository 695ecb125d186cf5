/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth search. */
#include <string.h>

#include "berth/json.h"
#include "client-auth.h"
#include "client-format.h"
#include "client-text.h"
#include "client.h"

#define DESCRIPTION_COLUMNS 45

/* In a row that is printed whole as JSON the answers to yes-or-no questions are words, elsewhere they are marks. */
static const char *mark(bool yes, bool words)
{
        return words ? yes ? "true" : "false" : yes ? "[OK]" : "";
}

static void add_row(ClientRows *rows, const json_t *item, bool truncate, bool words)
{
        CLEANUP_FREE char *text = client_must(strdup(json_get_string_or(item, "description", ""))), *shown = NULL;
        CLEANUP_FREE char *stars = client_must(str_printf("%lld", (long long) json_get_int(item, "star_count", 0)));

        for (char *c = text; *c; c++)
                if (*c == '\n' || *c == '\r')
                        *c = ' ';
        shown = client_must(truncate ? text_ellipsis(text, DESCRIPTION_COLUMNS) : strdup(text));
        client_rows_add(rows,
                        json_pack("{s:s,s:s,s:s,s:s,s:s}", "Description", shown, "IsAutomated",
                                  mark(json_get_bool(item, "is_automated"), words), "IsOfficial",
                                  mark(json_get_bool(item, "is_official"), words), "Name",
                                  json_get_string_or(item, "name", ""), "StarCount", stars),
                        json_object());
}

static int run_search(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);
        CLEANUP_JSON json_t *headings =
                client_must(json_pack("{s:s,s:s,s:s,s:s,s:s}", "Description", "DESCRIPTION", "IsAutomated", "AUTOMATED",
                                      "IsOfficial", "OFFICIAL", "Name", "NAME", "StarCount", "STARS"));
        CLEANUP_FREE char *headers = client_auth_header(arguments->words[0]);
        const ClientValue *limit = client_value(arguments, "limit");
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ROWS ClientRows rows = {};
        CLEANUP_ERROR Error error = {};
        HttpClientRequest request = { .method = "GET", .headers = headers };
        const char *format = client_string(arguments, "format");
        bool words = strcmp(format, "json") == 0 || strstr(format, "{{json .}}");
        json_t *item;
        size_t i;

        client_must_zero(buffer_append_string(&target, "/images/search"));
        target_add(&target, "term", arguments->words[0]);
        target_add(&target, "limit", limit->number > 0 ? limit->string : NULL);
        target_add_filters(&target, filters);
        request.target = target.data;
        if (client_request(client, &request, &reply, &error) != 0)
                return client_fail(&error);
        json_array_foreach(reply.json, i, item) {
                add_row(&rows, item, !client_flag(arguments, "no-trunc"), words);
        }
        return client_rows_print(&rows, format, "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
                                 headings);
}

static const ClientOption search_options[] = {
        { 'f', "filter", OPTION_LIST, "filter", NULL, "Show only what matches (stars=3, is-official=true)", NULL,
          client_check_filter, false },
        { 0, "format", OPTION_STRING, "string", NULL, FORMAT_LIST_HELP, NULL, NULL, false },
        { 0, "limit", OPTION_INT, "int", NULL, "Most results to show", NULL, NULL, false },
        { 0, "no-trunc", OPTION_BOOL, NULL, NULL, "Don't shorten anything", NULL, NULL, false },
        {},
};

const ClientCommand client_search = {
        .usage = "[OPTIONS] TERM",
        .summary = "Search Docker Hub for images",
        .options = search_options,
        .min_words = 1,
        .max_words = 1,
        .run = run_search,
};
