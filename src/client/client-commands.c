/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every name a command answers to. A command has one description and one implementation, whatever it is called by. */
#include <stdio.h>
#include <string.h>

#include "client.h"

static int check_log_level(const char *value, Error *error)
{
        static const char *const levels[] = { "debug", "info", "warn", "error", "fatal" };

        for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
                if (strcmp(value, levels[i]) == 0)
                        return 0;
        return error_set(error, OUTCOME_BAD_REQUEST, "unable to parse logging level: %s", value);
}

const ClientOption client_global_options[] = {
        { 'D', "debug", OPTION_BOOL, NULL, NULL, "Accepted for compatibility", NULL, NULL, false },
        { 'H', "host", OPTION_LIST, "list", NULL, "Socket of the daemon (unix:///PATH)", NULL, NULL, false },
        { 'l', "log-level", OPTION_STRING, "string", "info",
          "Accepted for compatibility (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")", NULL, check_log_level,
          false },
        { 'v', "version", OPTION_BOOL, NULL, NULL, "Print the client's version and quit", NULL, NULL, false },
        { 'h', "help", OPTION_BOOL, NULL, NULL, "Print this help", NULL, NULL, true },
        {},
};

typedef struct CommandName {
        const char *group; /* NULL: a command of its own */
        const char *name;
        const ClientCommand *command;
        bool alias; /* not listed */
} CommandName;

static const CommandName names[] = {
        { "builder", "build", &client_build, false },
        { "builder", "prune", &client_builder_prune, false },
        { "container", "attach", &client_attach, false },
        { "container", "commit", &client_commit, false },
        { "container", "cp", &client_cp, false },
        { "container", "create", &client_create, false },
        { "container", "diff", &client_diff, false },
        { "container", "exec", &client_exec, false },
        { "container", "export", &client_export, false },
        { "container", "inspect", &client_inspect_container, false },
        { "container", "kill", &client_kill, false },
        { "container", "logs", &client_logs, false },
        { "container", "ls", &client_ps, false },
        { "container", "list", &client_ps, true },
        { "container", "ps", &client_ps, true },
        { "container", "pause", &client_pause, false },
        { "container", "port", &client_port, false },
        { "container", "prune", &client_prune, false },
        { "container", "rename", &client_rename, false },
        { "container", "restart", &client_restart, false },
        { "container", "rm", &client_rm, false },
        { "container", "remove", &client_rm, true },
        { "container", "run", &client_run, false },
        { "container", "start", &client_start, false },
        { "container", "stats", &client_stats, false },
        { "container", "stop", &client_stop, false },
        { "container", "top", &client_top, false },
        { "container", "unit", &client_unit, false },
        { "container", "unpause", &client_unpause, false },
        { "container", "update", &client_update, false },
        { "container", "wait", &client_wait, false },
        { "image", "build", &client_build, false },
        { "image", "history", &client_history, false },
        { "image", "import", &client_import, false },
        { "image", "inspect", &client_inspect_image, false },
        { "image", "load", &client_load, false },
        { "image", "ls", &client_images, false },
        { "image", "list", &client_images, true },
        { "image", "prune", &client_image_prune, false },
        { "image", "pull", &client_pull_command, false },
        { "image", "push", &client_push_command, false },
        { "image", "rm", &client_rmi, false },
        { "image", "remove", &client_rmi, true },
        { "image", "save", &client_save, false },
        { "image", "tag", &client_tag, false },
        { "network", "connect", &client_network_connect, false },
        { "network", "create", &client_network_create, false },
        { "network", "disconnect", &client_network_disconnect, false },
        { "network", "inspect", &client_inspect_network, false },
        { "network", "ls", &client_network_ls, false },
        { "network", "list", &client_network_ls, true },
        { "network", "prune", &client_network_prune, false },
        { "network", "rm", &client_network_rm, false },
        { "network", "remove", &client_network_rm, true },
        { "system", "df", &client_df, false },
        { "system", "events", &client_events, false },
        { "system", "info", &client_info, false },
        { "system", "prune", &client_system_prune, false },
        { "volume", "create", &client_volume_create, false },
        { "volume", "inspect", &client_inspect_volume, false },
        { "volume", "ls", &client_volume_ls, false },
        { "volume", "list", &client_volume_ls, true },
        { "volume", "prune", &client_volume_prune, false },
        { "volume", "rm", &client_volume_rm, false },
        { "volume", "remove", &client_volume_rm, true },
        { NULL, "attach", &client_attach, false },
        { NULL, "build", &client_build, false },
        { NULL, "commit", &client_commit, false },
        { NULL, "cp", &client_cp, false },
        { NULL, "create", &client_create, false },
        { NULL, "diff", &client_diff, false },
        { NULL, "events", &client_events, false },
        { NULL, "exec", &client_exec, false },
        { NULL, "export", &client_export, false },
        { NULL, "history", &client_history, false },
        { NULL, "images", &client_images, false },
        { NULL, "import", &client_import, false },
        { NULL, "info", &client_info, false },
        { NULL, "inspect", &client_inspect, false },
        { NULL, "kill", &client_kill, false },
        { NULL, "load", &client_load, false },
        { NULL, "login", &client_login, false },
        { NULL, "logout", &client_logout, false },
        { NULL, "logs", &client_logs, false },
        { NULL, "pause", &client_pause, false },
        { NULL, "port", &client_port, false },
        { NULL, "ps", &client_ps, false },
        { NULL, "pull", &client_pull_command, false },
        { NULL, "push", &client_push_command, false },
        { NULL, "rename", &client_rename, false },
        { NULL, "restart", &client_restart, false },
        { NULL, "rm", &client_rm, false },
        { NULL, "rmi", &client_rmi, false },
        { NULL, "run", &client_run, false },
        { NULL, "save", &client_save, false },
        { NULL, "search", &client_search, false },
        { NULL, "start", &client_start, false },
        { NULL, "stats", &client_stats, false },
        { NULL, "stop", &client_stop, false },
        { NULL, "tag", &client_tag, false },
        { NULL, "top", &client_top, false },
        { NULL, "unit", &client_unit, false },
        { NULL, "unpause", &client_unpause, false },
        { NULL, "update", &client_update, false },
        { NULL, "version", &client_version, false },
        { NULL, "wait", &client_wait, false },
};

static const struct {
        const char *name, *summary;
} groups[] = {
        { "builder", "Manage builds" },   { "container", "Manage containers" },          { "image", "Manage images" },
        { "network", "Manage networks" }, { "system", "Look at the engine as a whole" }, { "volume", "Manage volumes" },
};

static const CommandName *find_name(const char *group, const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_equal(names[i].group, group) && strcmp(names[i].name, name) == 0)
                        return &names[i];
        return NULL;
}

static bool is_group(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
                if (strcmp(groups[i].name, name) == 0)
                        return true;
        return false;
}

static void print_names(FILE *file, const char *group)
{
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (!names[i].alias && str_equal(names[i].group, group))
                        fprintf(file, "  %-11s %s\n", names[i].name, names[i].command->summary);
}

void client_commands_print_help(FILE *file)
{
        fputs("Usage:  berth [OPTIONS] COMMAND\n\nContainers for systemd hosts\n\nManagement Commands:\n", file);
        for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
                fprintf(file, "  %-11s %s\n", groups[i].name, groups[i].summary);
        fputs("\nCommands:\n", file);
        print_names(file, NULL);
        client_options_print(file, "Global Options", client_global_options);
        fputs("\nRun 'berth COMMAND --help' for more information on a command.\n", file);
}

static void print_group_help(FILE *file, const char *group)
{
        fprintf(file, "Usage:  berth %s COMMAND\n", group);
        for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
                if (strcmp(groups[i].name, group) == 0)
                        fprintf(file, "\n%s\n\nCommands:\n", groups[i].summary);
        print_names(file, group);
        fprintf(file, "\nRun 'berth %s COMMAND --help' for more information on a command.\n", group);
}

char *client_command_aliases(const ClientCommand *command)
{
        CLEANUP_BUFFER Buffer list = {};
        size_t n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (names[i].command != command)
                        continue;
                client_must_zero(buffer_printf(&list, "%sberth %s%s%s", n > 0 ? ", " : "", names[i].group ?: "",
                                               names[i].group ? " " : "", names[i].name));
                n++;
        }
        return n > 1 ? client_must(buffer_take(&list)) : NULL;
}

void client_command_print_help(FILE *file, const ClientCommand *command, const char *path)
{
        CLEANUP_FREE char *aliases = client_command_aliases(command);

        fprintf(file, "Usage:  %s%s%s\n\n%s\n", path, *command->usage ? " " : "", command->usage, command->summary);
        if (aliases)
                fprintf(file, "\nAliases:\n  %s\n", aliases);
        client_options_print(file, "Options", command->options);
}

/* Finds the command ARGV begins with. 0 and how many words its name has; else an exit status + 1, or 1 after the help
 * of a group was shown. */
static int resolve(char **argv, size_t n, const ClientCommand **ret_command, char **ret_path, size_t *ret_used)
{
        const CommandName *name;
        const char *group = NULL;

        if (is_group(argv[0])) {
                group = argv[0];
                if (n < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
                        print_group_help(n < 2 ? stderr : stdout, group);
                        return 1;
                }
                name = find_name(group, argv[1]);
                if (!name) {
                        client_complain("berth: unknown command: berth %s %s\n\nUsage:  berth %s\n\nRun 'berth %s "
                                        "--help' for more information",
                                        group, argv[1], group, group);
                        return 2;
                }
        } else {
                name = find_name(NULL, argv[0]);
                if (!name) {
                        client_complain("berth: unknown command: berth %s\n\nRun 'berth --help' for more information",
                                        argv[0]);
                        return 2;
                }
        }
        *ret_command = name->command;
        *ret_path =
                client_must(group ? str_printf("berth %s %s", group, name->name) : str_printf("berth %s", name->name));
        *ret_used = group ? 2 : 1;
        return 0;
}

int client_commands_run(Client *client, char **argv, size_t n)
{
        CLEANUP_ARGUMENTS ClientArguments arguments = {};
        const ClientCommand *command;
        size_t used;
        int r;

        r = resolve(argv, n, &command, &arguments.path, &used);
        if (r != 0)
                return r - 1;
        r = client_arguments_parse(&arguments, command, argv + used, n - used);
        if (r == CLIENT_HELP_EXIT) {
                client_command_print_help(stdout, command, arguments.path);
                return 0;
        }
        return r != 0 ? r - 1 : command->run(client, &arguments);
}

int client_commands_help(char **argv, size_t n)
{
        CLEANUP_FREE char *path = NULL;
        const ClientCommand *command;
        size_t used;

        if (n == 0) {
                client_commands_print_help(stdout);
                return 0;
        }
        if (!is_group(argv[0]) && !find_name(NULL, argv[0])) {
                client_complain("unknown help topic: %s", argv[0]);
                return 1;
        }
        int r = resolve(argv, n, &command, &path, &used);
        if (r != 0)
                return r - 1;
        client_command_print_help(stdout, command, path);
        return 0;
}
