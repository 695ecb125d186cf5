/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth top, port and diff: what a container does, listens to and has changed. */
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-list.h"
#include "client-text.h"
#include "client.h"

/* --- top --- */

static void add_cells(Buffer *out, const json_t *cells)
{
        json_t *cell;
        size_t i;

        json_array_foreach(cells, i, cell) {
                client_must_zero(buffer_printf(out, "%s%s", i > 0 ? "\t" : "", json_string_value(cell) ?: ""));
        }
        client_must_zero(buffer_append_string(out, "\n"));
}

static int run_top(Client *client, const ClientArguments *arguments)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", arguments->words[0], "top"), options = {};
        CLEANUP_BUFFER Buffer out = {}, aligned = {};
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};
        json_t *process;
        size_t i;

        for (i = 1; i < arguments->n_words; i++)
                client_must_zero(buffer_printf(&options, "%s%s", i > 1 ? " " : "", arguments->words[i]));
        target_add(&target, "ps_args", options.data);
        if (client_call(client, "GET", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        add_cells(&out, json_get_array(reply.json, "Titles"));
        json_array_foreach(json_get_array(reply.json, "Processes"), i, process) {
                add_cells(&out, process);
        }
        client_must_zero(text_align(out.data, 20, 3, &aligned));
        fwrite(aligned.data, 1, aligned.size, stdout);
        return 0;
}

const ClientCommand client_top = {
        .usage = "CONTAINER [ps OPTIONS]",
        .summary = "Display the running processes of a container",
        .min_words = 1,
        .max_words = -1,
        .stops_at_word = true,
        .run = run_top,
};

/* --- port --- */

/* The addresses behind PORT, each with the port's name in front unless there is only one port of interest. */
static void add_bindings(char ***lines, const char *port, const json_t *bindings)
{
        json_t *binding;
        size_t i;

        json_array_foreach(bindings, i, binding) {
                const char *address = json_get_string_or(binding, "HostIp", "");
                bool v6 = strchr(address, ':') != NULL;
                CLEANUP_FREE char *line =
                        client_must(str_printf("%s%s%s%s%s:%s", port ?: "", port ? " -> " : "", v6 ? "[" : "", address,
                                               v6 ? "]" : "", json_get_string_or(binding, "HostPort", "")));

                client_must_zero(strv_append(lines, line));
        }
}

static int one_port(const json_t *ports, const ClientArguments *arguments, char ***lines, Error *error)
{
        const char *wanted = arguments->words[1], *slash = strchr(wanted, '/');
        CLEANUP_FREE char *number = client_must(strndup(wanted, strcspn(wanted, "/")));
        CLEANUP_FREE char *key = client_must(str_printf("%s/%s", number, slash && slash[1] ? slash + 1 : "tcp"));
        json_t *bindings;
        int64_t value;
        int r = str_to_int64(number, 0, UINT16_MAX, &value);

        if (r < 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "Error: invalid port (%s): strconv.ParseUint: parsing \"%s\": %s", number, number,
                                 str_number_problem(r));
        bindings = json_object_get(ports, key);
        if (!json_is_array(bindings))
                return error_set(error, OUTCOME_NOT_FOUND, "Error: No public port '%s' published for %s", wanted,
                                 arguments->words[0]);
        add_bindings(lines, NULL, bindings);
        return 0;
}

static int run_port(Client *client, const ClientArguments *arguments)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", arguments->words[0], "json");
        CLEANUP_STRV char **lines = NULL;
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};
        json_t *ports, *bindings;
        const char *port;

        if (client_call(client, "GET", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        ports = json_get_object(json_get_object(reply.json, "NetworkSettings"), "Ports");
        if (arguments->n_words > 1 && *arguments->words[1]) {
                if (one_port(ports, arguments, &lines, &error) != 0)
                        return client_fail(&error);
        } else {
                json_object_foreach(ports, port, bindings) {
                        add_bindings(&lines, port, bindings);
                }
        }
        if (lines)
                qsort(lines, strv_length(lines), sizeof(char *), client_compare_natural);
        for (char **line = lines; line && *line; line++)
                puts(*line);
        return 0;
}

const ClientCommand client_port = {
        .usage = "CONTAINER [PRIVATE_PORT[/PROTO]]",
        .summary = "List port mappings or a specific mapping for the container",
        .min_words = 1,
        .max_words = 2,
        .run = run_port,
};

/* --- diff --- */

static int run_diff(Client *client, const ClientArguments *arguments)
{
        static const char kinds[] = "CAD";
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};
        json_t *change;
        size_t i;

        if (!*arguments->words[0]) {
                client_complain("Container name cannot be empty");
                return 1;
        }
        target = target_make("containers", arguments->words[0], "changes");
        if (client_call(client, "GET", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        json_array_foreach(reply.json, i, change) {
                int64_t kind = json_get_int(change, "Kind", 0);

                printf("%c %s\n", kind >= 0 && kind < 3 ? kinds[kind] : '?', json_get_string_or(change, "Path", ""));
        }
        return 0;
}

const ClientCommand client_diff = {
        .usage = "CONTAINER",
        .summary = "Inspect changes to files or directories on a container's filesystem",
        .min_words = 1,
        .max_words = 1,
        .run = run_diff,
};
