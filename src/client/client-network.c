/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth network ls, rm, connect and disconnect. */
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-config.h"
#include "client-format.h"
#include "client-list.h"
#include "client-run.h"
#include "client-text.h"

/* --- ls --- */

/* The time as Go prints it, "2006-01-02 15:04:05.123 +0000 UTC". */
static char *created_text(const char *rfc3339)
{
        size_t clock = strcspn(rfc3339, "T"), offset = strcspn(rfc3339, "Zz+");
        const char *zone = rfc3339 + offset;
        CLEANUP_FREE char *hours = NULL;

        if (!rfc3339[clock] || !*zone)
                return client_must(strdup(rfc3339));
        hours = client_must(*zone == '+' && strlen(zone) == 6
                                    ? str_printf("+%.2s%.2s +%.2s%.2s", zone + 1, zone + 4, zone + 1, zone + 4)
                                    : strdup("+0000 UTC"));
        return client_must(str_printf("%.*s %.*s %s", (int) clock, rfc3339, (int) (offset - clock - 1),
                                      rfc3339 + clock + 1, hours));
}

static const char *truth(const json_t *object, const char *key, bool fallback)
{
        const json_t *value = json_object_get(object, key);

        return (json_is_boolean(value) ? json_is_true(value) : fallback) ? "true" : "false";
}

static void add_row(ClientRows *rows, const json_t *network, bool truncate)
{
        const char *id = json_get_string_or(network, "Id", "");
        CLEANUP_FREE char *shown = client_must(truncate ? strndup(id, ID_SHORT_LENGTH) : strdup(id));
        CLEANUP_FREE char *created = created_text(json_get_string_or(network, "Created", ""));
        json_t *labels = json_get_object(network, "Labels");
        CLEANUP_FREE char *list = client_list_labels(labels);

        client_rows_add(rows,
                        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "CreatedAt", created, "Driver",
                                  json_get_string_or(network, "Driver", ""), "ID", shown, "IPv4",
                                  truth(network, "EnableIPv4", true), "IPv6", truth(network, "EnableIPv6", false),
                                  "Internal", truth(network, "Internal", false), "Labels", list, "Name",
                                  json_get_string_or(network, "Name", ""), "Scope",
                                  json_get_string_or(network, "Scope", "")),
                        json_pack("{s:o}", "Label", labels ? json_incref(labels) : json_object()));
}

static int run_ls(Client *client, const ClientArguments *arguments)
{
        CLEANUP_FREE char *format = client_config_format(arguments, "networksFormat");
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);
        CLEANUP_JSON json_t *headings =
                client_must(json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "CreatedAt", "CREATED AT", "Driver",
                                      "DRIVER", "ID", "NETWORK ID", "IPv4", "IPV4", "IPv6", "IPV6", "Internal",
                                      "INTERNAL", "Labels", "LABELS", "Name", "NAME", "Scope", "SCOPE"));
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ROWS ClientRows rows = {};
        CLEANUP_ERROR Error error = {};
        json_t *network;
        size_t i;

        client_must_zero(buffer_append_string(&target, "/networks"));
        target_add_filters(&target, filters);
        if (client_call(client, "GET", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        client_sort_by_name(reply.json);
        json_array_foreach(reply.json, i, network) {
                add_row(&rows, network, !client_flag(arguments, "no-trunc"));
        }
        if (client_flag(arguments, "quiet") && (!*format || strcmp(format, "table") == 0))
                return client_rows_print(&rows, "{{.ID}}", NULL, NULL);
        return client_rows_print(&rows, format, "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", headings);
}

static const ClientOption ls_options[] = {
        { 'f', "filter", OPTION_LIST, "filter", NULL, "Show only what matches (e.g. \"driver=bridge\")", NULL,
          client_check_filter, false },
        { 0, "format", OPTION_STRING, "string", NULL, FORMAT_LIST_HELP, NULL, NULL, false },
        { 0, "no-trunc", OPTION_BOOL, NULL, NULL, "Don't shorten anything", NULL, NULL, false },
        { 'q', "quiet", OPTION_BOOL, NULL, NULL, "Only display network IDs", NULL, NULL, false },
        {},
};

const ClientCommand client_network_ls = {
        .usage = "[OPTIONS]",
        .summary = "List networks",
        .options = ls_options,
        .run = run_ls,
};

/* --- rm --- */

static int run_rm(Client *client, const ClientArguments *arguments)
{
        int failed = 0;

        for (size_t i = 0; i < arguments->n_words; i++) {
                CLEANUP_BUFFER Buffer target = target_make("networks", arguments->words[i], "");
                CLEANUP_REPLY ClientReply reply = {};
                CLEANUP_ERROR Error error = {};

                if (client_call(client, "DELETE", target.data, NULL, &reply, &error) == 0) {
                        puts(arguments->words[i]);
                        continue;
                }
                if (client_flag(arguments, "force") && reply.status == 404)
                        continue;
                failed |= client_fail(&error);
        }
        return failed;
}

static const ClientOption rm_options[] = {
        { 'f', "force", OPTION_BOOL, NULL, NULL, "A network that is not there is no error", NULL, NULL, false },
        {},
};

const ClientCommand client_network_rm = {
        .usage = "NETWORK [NETWORK...]",
        .summary = "Remove one or more networks",
        .options = rm_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_rm,
};

/* --- connect and disconnect --- */

static int post(Client *client, const ClientArguments *arguments, const char *verb, const json_t *body)
{
        CLEANUP_BUFFER Buffer target = target_make("networks", arguments->words[0], verb);
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};

        return client_call(client, "POST", target.data, body, &reply, &error) != 0 ? client_fail(&error) : 0;
}

static int run_connect(Client *client, const ClientArguments *arguments)
{
        char *const *option = client_value(arguments, "driver-opt")->list;
        CLEANUP_JSON json_t *body = client_must(json_object());

        for (char *const *o = option; o && *o; o++) {
                if (!strchr(*o, '=')) {
                        client_complain("invalid key/value pair format in driver options");
                        return 1;
                }
        }
        client_run_set(body, "Container", json_string(arguments->words[1]));
        client_run_object(body, "EndpointConfig");
        client_run_set_fields(arguments, body);
        if (option)
                client_run_set(body, "EndpointConfig.DriverOpts", client_list_object(option));
        return post(client, arguments, "connect", body);
}

static const ClientOption connect_options[] = {
        { 0, "alias", OPTION_COMMA, "strings", NULL, "Another name of the container on the network",
          "EndpointConfig.Aliases", NULL, false },
        { 0, "driver-opt", OPTION_COMMA, "strings", NULL, "Option of the network's driver", NULL, NULL, false },
        { 0, "gw-priority", OPTION_INT, "int", NULL, "Priority as the default gateway; the highest one wins",
          "EndpointConfig.GwPriority", NULL, false },
        { 0, "ip", OPTION_STRING, "string", NULL, "IPv4 address (e.g., \"172.30.100.104\")",
          "EndpointConfig.IPAMConfig.IPv4Address", NULL, false },
        { 0, "ip6", OPTION_STRING, "string", NULL, "IPv6 address (e.g., \"2001:db8::33\")",
          "EndpointConfig.IPAMConfig.IPv6Address", NULL, false },
        { 0, "link", OPTION_LIST, "list", NULL, "Add a link to another container", "EndpointConfig.Links",
          client_check_link, false },
        { 0, "link-local-ip", OPTION_COMMA, "strings", NULL, "Add a link-local address",
          "EndpointConfig.IPAMConfig.LinkLocalIPs", NULL, false },
        {},
};

const ClientCommand client_network_connect = {
        .usage = "[OPTIONS] NETWORK CONTAINER",
        .summary = "Connect a container to a network",
        .options = connect_options,
        .min_words = 2,
        .max_words = 2,
        .run = run_connect,
};

static int run_disconnect(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *body = client_must(
                json_pack("{s:s,s:b}", "Container", arguments->words[1], "Force", client_flag(arguments, "force")));

        return post(client, arguments, "disconnect", body);
}

static const ClientOption disconnect_options[] = {
        { 'f', "force", OPTION_BOOL, NULL, NULL, "Disconnect by force", NULL, NULL, false },
        {},
};

const ClientCommand client_network_disconnect = {
        .usage = "[OPTIONS] NETWORK CONTAINER",
        .summary = "Disconnect a container from a network",
        .options = disconnect_options,
        .min_words = 2,
        .max_words = 2,
        .run = run_disconnect,
};
