/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth unit: what systemd and its tools know containers by. */
#include <stdio.h>

#include "berth/json.h"
#include "client.h"

static int print_unit(Client *client, const char *name, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", name, "json");
        CLEANUP_REPLY ClientReply reply = {};

        int r = client_call(client, "GET", target.data, NULL, &reply, error);
        if (r == 0)
                printf("berth-%s.scope\n", json_get_string_or(reply.json, "Id", ""));
        return r;
}

static int run_unit(Client *client, const ClientArguments *arguments)
{
        int status = 0;

        for (int i = 0; i < (int) arguments->n_words; i++) {
                CLEANUP_ERROR Error error = {};
                if (print_unit(client, arguments->words[i], &error) != 0)
                        status = client_fail(&error);
        }
        return status;
}

static const ClientOption unit_options[] = {
        {},
};

const ClientCommand client_unit = {
        .usage = "CONTAINER [CONTAINER...]",
        .summary = "Print the systemd units of containers",
        .options = unit_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_unit,
};
