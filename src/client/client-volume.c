/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth volume create, ls and rm. */
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-config.h"
#include "client-list.h"
#include "client-lists.h"
#include "client-run.h"
#include "client-text.h"

/* --- create --- */

/* What a swarm's volumes have; there is none here. */
static const char *const cluster_options[] = { "availability",     "group", "limit-bytes",
                                               "required-bytes",   "scope", "secret",
                                               "sharing",          "type",  "topology-preferred",
                                               "topology-required" };

static int check_create(const ClientArguments *arguments, Error *error)
{
        for (size_t i = 0; i < ARRAY_SIZE(cluster_options); i++)
                if (client_value(arguments, cluster_options[i])->set)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "--%s is for cluster volumes, which need a swarm; Berth has none",
                                         cluster_options[i]);
        if (arguments->n_words > 0 && client_value(arguments, "name")->set)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "conflicting options: cannot specify a volume-name through both --name and as a "
                                 "positional arg");
        return 0;
}

static int run_create(Client *client, const ClientArguments *arguments)
{
        const char *name = arguments->n_words > 0 ? arguments->words[0] : client_string(arguments, "name");
        CLEANUP_JSON json_t *body = client_must(json_object());
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};

        if (check_create(arguments, &error) != 0)
                return client_fail(&error);
        client_run_set(body, "Name", json_string(name));
        client_run_set(body, "Driver", json_string(client_string(arguments, "driver")));
        client_run_set(body, "DriverOpts", client_list_object(client_value(arguments, "opt")->list));
        client_run_set(body, "Labels", client_list_object(client_value(arguments, "label")->list));
        if (client_call(client, "POST", "/volumes/create", body, &reply, &error) != 0)
                return client_fail(&error);
        puts(json_get_string_or(reply.json, "Name", ""));
        return 0;
}

#define CLUSTER(name, kind, label) { 0, name, kind, label, NULL, "Refused: for cluster volumes", NULL, NULL, true }

static const ClientOption create_options[] = {
        CLUSTER("availability", OPTION_STRING, "string"),
        { 'd', "driver", OPTION_STRING, "string", "local", "Volume driver", NULL, NULL, false },
        CLUSTER("group", OPTION_STRING, "string"),
        { 0, "label", OPTION_LIST, "list", NULL, "Set metadata for the volume", NULL, NULL, false },
        CLUSTER("limit-bytes", OPTION_BYTES, "bytes"),
        { 0, "name", OPTION_STRING, "string", NULL, "Old form of the argument", NULL, NULL, true },
        { 'o', "opt", OPTION_MAP, "map", NULL, "Set an option of the driver", NULL, NULL, false },
        CLUSTER("required-bytes", OPTION_BYTES, "bytes"),
        CLUSTER("scope", OPTION_STRING, "string"),
        CLUSTER("secret", OPTION_MAP, "map"),
        CLUSTER("sharing", OPTION_STRING, "string"),
        CLUSTER("topology-preferred", OPTION_LIST, "list"),
        CLUSTER("topology-required", OPTION_LIST, "list"),
        CLUSTER("type", OPTION_STRING, "string"),
        {},
};

const ClientCommand client_volume_create = {
        .usage = "[OPTIONS] [VOLUME]",
        .summary = "Create a volume",
        .options = create_options,
        .max_words = 1,
        .run = run_create,
};

/* --- ls --- */

void client_volume_list_add(ClientRows *rows, const json_t *volume)
{
        json_t *labels = json_get_object(volume, "Labels");
        const json_t *data = json_get_object(volume, "UsageData");
        CLEANUP_FREE char *list = client_list_labels(labels);
        CLEANUP_FREE char *links =
                client_must(data ? str_printf("%lld", (long long) json_get_int(data, "RefCount", 0)) : strdup("N/A"));
        CLEANUP_FREE char *size =
                client_must(data ? text_size((double) json_get_int(data, "Size", 0), 4) : strdup("N/A"));

        client_rows_add(rows,
                        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "Availability", "N/A", "Driver",
                                  json_get_string_or(volume, "Driver", ""), "Group", "N/A", "Labels", list, "Links",
                                  links, "Mountpoint", json_get_string_or(volume, "Mountpoint", ""), "Name",
                                  json_get_string_or(volume, "Name", ""), "Scope",
                                  json_get_string_or(volume, "Scope", ""), "Size", size, "Status", "N/A"),
                        json_pack("{s:o}", "Label", labels ? json_incref(labels) : json_object()));
}

json_t *client_volume_headings(void)
{
        return client_must(json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "Availability", "AVAILABILITY",
                                     "Driver", "DRIVER", "Group", "GROUP", "Labels", "LABELS", "Links", "LINKS",
                                     "Mountpoint", "MOUNTPOINT", "Name", "VOLUME NAME", "Scope", "SCOPE", "Size",
                                     "SIZE", "Status", "STATUS"));
}

static int run_ls(Client *client, const ClientArguments *arguments)
{
        CLEANUP_FREE char *format = client_config_format(arguments, "volumesFormat");
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);
        CLEANUP_JSON json_t *headings = client_volume_headings();
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ROWS ClientRows rows = {};
        CLEANUP_ERROR Error error = {};
        json_t *volumes, *volume;
        size_t i;

        client_must_zero(buffer_append_string(&target, "/volumes"));
        target_add_filters(&target, filters);
        if (client_call(client, "GET", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        volumes = json_get_array(reply.json, "Volumes");
        client_sort_by_name(volumes);
        json_array_foreach(volumes, i, volume) {
                /* A volume of a cluster has a part of its own. */
                if (!client_flag(arguments, "cluster") || json_get_object(volume, "ClusterVolume"))
                        client_volume_list_add(&rows, volume);
        }
        if (client_flag(arguments, "quiet") && (!*format || strcmp(format, "table") == 0))
                return client_rows_print(&rows, "{{.Name}}", NULL, NULL);
        return client_rows_print(&rows, format,
                                 client_flag(arguments, "cluster")
                                         ? "{{.Name}}\t{{.Group}}\t{{.Driver}}\t{{.Availability}}\t{{.Status}}"
                                         : "{{.Driver}}\t{{.Name}}",
                                 headings);
}

static const ClientOption ls_options[] = {
        { 0, "cluster", OPTION_BOOL, NULL, NULL, "Show volumes of a swarm only", NULL, NULL, false },
        { 'f', "filter", OPTION_LIST, "filter", NULL, "Show only what matches (e.g. \"dangling=true\")", NULL,
          client_check_filter, false },
        { 0, "format", OPTION_STRING, "string", NULL, FORMAT_LIST_HELP, NULL, NULL, false },
        { 'q', "quiet", OPTION_BOOL, NULL, NULL, "Only display volume names", NULL, NULL, false },
        {},
};

const ClientCommand client_volume_ls = {
        .usage = "[OPTIONS]",
        .summary = "List volumes",
        .options = ls_options,
        .run = run_ls,
};

/* --- rm --- */

static int run_rm(Client *client, const ClientArguments *arguments)
{
        CLEANUP_BUFFER Buffer failures = {};

        for (size_t i = 0; i < arguments->n_words; i++) {
                CLEANUP_BUFFER Buffer target = target_make("volumes", arguments->words[i], "");
                CLEANUP_REPLY ClientReply reply = {};
                CLEANUP_ERROR Error error = {};

                target_add(&target, "force", client_flag(arguments, "force") ? "1" : NULL);
                if (client_call(client, "DELETE", target.data, NULL, &reply, &error) == 0)
                        puts(arguments->words[i]);
                else
                        client_must_zero(
                                buffer_printf(&failures, "%s%s", failures.size > 0 ? "\n" : "", error.message));
        }
        if (failures.size == 0)
                return 0;
        client_complain("%s", failures.data);
        return 1;
}

static const ClientOption rm_options[] = {
        { 'f', "force", OPTION_BOOL, NULL, NULL, "Remove by force; what is not there is no error", NULL, NULL, false },
        {},
};

const ClientCommand client_volume_rm = {
        .usage = "[OPTIONS] VOLUME [VOLUME...]",
        .summary = "Remove one or more volumes",
        .options = rm_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_rm,
};
