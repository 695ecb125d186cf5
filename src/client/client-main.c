/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth: the command line client. This file reads the options before the command and hands over. */
#include <stdio.h>
#include <string.h>

#include "client.h"

static int show_version(void)
{
        printf("Berth version %s\n", BERTH_VERSION);
        return 0;
}

int main(int argc, char *argv[])
{
        CLEANUP_ERROR Error error = {};
        static const ClientCommand itself = { .options = client_global_options };
        CLEANUP_ARGUMENTS ClientArguments global = { .command = &itself };
        CLEANUP(client_clear) Client client = {};
        size_t used, n = argc > 0 ? argc - 1 : 0;

        global.values = client_must(calloc(client_options_count(itself.options), sizeof(ClientValue)));
        if (client_options_parse(itself.options, global.values, argv + 1, n, true, NULL, NULL, &used, &error) != 0) {
                client_complain("%s\n\nUsage:  berth [OPTIONS] COMMAND [ARG...]\n\nRun 'berth --help' for more "
                                "information",
                                error.message);
                return CLIENT_EXIT_FAILURE;
        }
        argv += 1 + used;
        n -= used;
        if (client_flag(&global, "version"))
                return show_version();
        if (client_flag(&global, "help") || n == 0) {
                client_commands_print_help(stdout);
                return 0;
        }
        if (strcmp(argv[0], "help") == 0)
                return client_commands_help(argv + 1, n - 1);
        if (client_init(&client, client_value(&global, "host")->string, &error) != 0)
                return client_fail(&error);
        return client_commands_run(&client, argv, n);
}
