/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth events: one line an event, until the daemon ends the stream or the user this process. */
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-list.h"
#include "client-logs.h"
#include "client-template.h"
#include "client-text.h"
#include "client.h"

/* An event longer than this is none. */
#define EVENT_MAX (16u * 1024 * 1024)

typedef struct Format {
        const ClientTemplate *template; /* NULL: a line of text */
        bool whole;                     /* it prints the event as it is */
} Format;

/* "2006-01-02T15:04:05.000000000Z container start ID (image=busybox, name=web)" */
static void add_line(Buffer *out, const json_t *event)
{
        const json_t *actor = json_get_object(event, "Actor");
        json_t *attributes = json_get_object(actor, "Attributes");
        CLEANUP_FREE const char **keys = client_sorted_keys(attributes);
        int64_t ns = json_get_int(event, "timeNano", 0);
        CLEANUP_FREE char *when = client_must(text_time_nano(ns ?: json_get_int(event, "time", 0) * 1000000000));

        client_must_zero(buffer_printf(out, "%s %s %s %s", when, json_get_string_or(event, "Type", ""),
                                       json_get_string_or(event, "Action", ""), json_get_string_or(actor, "ID", "")));
        for (size_t i = 0; keys[i]; i++)
                client_must_zero(buffer_printf(out, "%s%s=%s", i == 0 ? " (" : ", ", keys[i],
                                               json_get_string_or(attributes, keys[i], "")));
        client_must_zero(buffer_append_string(out, keys[0] ? ")\n" : "\n"));
}

/* Names of fields in Go that are others in JSON, for templates that do not print all there is. */
static void add_names(json_t *event)
{
        static const struct {
                const char *name, *member;
        } names[] = { { "ID", "id" }, { "Status", "status" }, { "From", "from" }, { "Scope", "scope" } };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                client_must_zero(json_object_set_new(event, names[i].name,
                                                     json_string(json_get_string_or(event, names[i].member, ""))));
        client_must_zero(json_object_set_new(event, "Time", json_integer(json_get_int(event, "time", 0))));
        client_must_zero(json_object_set_new(event, "TimeNano", json_integer(json_get_int(event, "timeNano", 0))));
}

static int show_event(json_t *event, const Format *format, Error *error)
{
        CLEANUP_BUFFER Buffer out = {};

        if (format->template) {
                int r;

                if (!format->whole)
                        add_names(event);
                r = client_template_execute(format->template, event, NULL, &out, error);
                if (r != 0)
                        return r;
                client_must_zero(buffer_append_string(&out, "\n"));
        } else {
                add_line(&out, event);
        }
        fwrite(out.data, 1, out.size, stdout);
        return 0;
}

/* Events follow one another without a separator that could be relied on. */
static int show_events(Buffer *body, const Format *format, Error *error)
{
        size_t used = 0;
        int r = 0;

        while (r == 0 && used < body->size) {
                json_error_t reason;
                CLEANUP_JSON json_t *event =
                        json_loadb(body->data + used, body->size - used, JSON_DISABLE_EOF_CHECK, &reason);

                if (!event)
                        break;
                used += reason.position;
                r = show_event(event, format, error);
        }
        fflush(stdout);
        buffer_consume(body, used);
        if (r == 0 && body->size > EVENT_MAX)
                r = error_set(error, OUTCOME_FAILED, "the daemon's answer is not readable");
        return r;
}

static int follow(const Client *client, HttpClient *http, const Format *format, Error *error)
{
        for (;;) {
                int r = show_events(http_client_body(http), format, error);

                if (r != 0 || http_client_complete(http))
                        return r;
                r = http_client_step(http);
                if (r < 0)
                        return client_transport_error(client, r, error);
        }
}

static int run_events(Client *client, const ClientArguments *arguments)
{
        const char *format = client_string(arguments, "format");
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);
        CLEANUP_FREE char *since = NULL, *until = NULL;
        CLEANUP_TEMPLATE ClientTemplate *template = NULL;
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_ERROR Error error = {};
        HttpClientRequest request = { .method = "GET" };
        Format shown;

        if (*format &&
            client_template_parse(strcmp(format, "json") == 0 ? "{{json .}}" : format, &template, &error) != 0) {
                client_complain("Error parsing format: %s", error.message);
                return 64;
        }
        shown = (Format) { template, strcmp(format, "json") == 0 || strstr(format, "json .}}") };
        if (client_time_argument(client_string(arguments, "since"), &since, &error) != 0 ||
            client_time_argument(client_string(arguments, "until"), &until, &error) != 0)
                return client_fail(&error);
        client_must_zero(buffer_append_string(&target, "/events"));
        target_add(&target, "since", since);
        target_add(&target, "until", until);
        target_add_filters(&target, filters);
        request.target = target.data;
        if (client_open(client, &request, &http, &error) != 0 || follow(client, http, &shown, &error) != 0)
                return client_fail(&error);
        return 0;
}

static const ClientOption events_options[] = {
        { 'f', "filter", OPTION_LIST, "filter", NULL, "Show only what matches (name=value)", NULL, client_check_filter,
          false },
        { 0, "format", OPTION_STRING, "string", NULL,
          "'json':     Print in JSON format\n'TEMPLATE': Print output using the given Go template", NULL, NULL, false },
        { 0, "since", OPTION_STRING, "string", NULL, "Show events since this time", NULL, NULL, false },
        { 0, "until", OPTION_STRING, "string", NULL, "End at this time", NULL, NULL, false },
        {},
};

const ClientCommand client_events = {
        .usage = "[OPTIONS]",
        .summary = "Get real time events from the server",
        .options = events_options,
        .run = run_events,
};
