/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth version and info. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "berth/json.h"
#include "client-format.h"
#include "client-list.h"
#include "client-text.h"
#include "client.h"

/* --- version --- */

static const char *machine(void)
{
#if defined(__x86_64__)
        return "amd64";
#elif defined(__aarch64__)
        return "arm64";
#elif defined(__i386__)
        return "386";
#elif defined(__arm__)
        return "arm";
#else
        static struct utsname names;

        return uname(&names) == 0 ? names.machine : "unknown";
#endif
}

static void add_line(Buffer *out, const char *indent, const char *name, const char *value)
{
        client_must_zero(buffer_printf(out, "%s%s:\t%s\n", indent, name, value));
}

static void add_engine(Buffer *out, const json_t *component)
{
        const json_t *details = json_get_object(component, "Details");
        CLEANUP_FREE char *built = client_must(text_build_time(json_get_string_or(details, "BuildTime", "")));
        static const struct {
                const char *name, *key;
        } lines[] = { { "Go version", "GoVersion" }, { "Git commit", "GitCommit" } };

        add_line(out, "  ", "Version", json_get_string_or(component, "Version", ""));
        client_must_zero(buffer_printf(out, "  API version:\t%s (minimum version %s)\n",
                                       json_get_string_or(details, "ApiVersion", ""),
                                       json_get_string_or(details, "MinAPIVersion", "")));
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                if (!str_empty(json_get_string(details, lines[i].key)))
                        add_line(out, "  ", lines[i].name, json_get_string(details, lines[i].key));
        if (*built)
                add_line(out, "  ", "Built", built);
        client_must_zero(buffer_printf(out, "  OS/Arch:\t%s/%s\n", json_get_string_or(details, "Os", ""),
                                       json_get_string_or(details, "Arch", "")));
        add_line(out, "  ", "Experimental", json_get_string_or(details, "Experimental", "false"));
}

static void add_component(Buffer *out, const json_t *component)
{
        const char *name = json_get_string_or(component, "Name", ""), *key;
        json_t *value;

        client_must_zero(buffer_printf(out, " %s:\n", name));
        if (strcmp(name, "Engine") == 0) {
                add_engine(out, component);
                return;
        }
        add_line(out, "  ", "Version", json_get_string_or(component, "Version", ""));
        json_object_foreach(json_get_object(component, "Details"), key, value) {
                add_line(out, "  ", key, json_string_value(value) ?: "");
        }
}

static json_t *client_side(void)
{
        return client_must(json_pack("{s:{s:s},s:s,s:s,s:s,s:s,s:s,s:s}", "Platform", "Name", "Berth", "Version",
                                     BERTH_VERSION, "ApiVersion", CLIENT_API_VERSION, "DefaultAPIVersion",
                                     CLIENT_API_VERSION, "Os", "linux", "Arch", machine(), "Context", "default"));
}

static void print_aligned(const Buffer *text, size_t minimum, size_t padding)
{
        CLEANUP_BUFFER Buffer aligned = {};

        client_must_zero(text_align(text->data ?: "", minimum, padding, &aligned));
        fwrite(aligned.data ?: "", 1, aligned.size, stdout);
}

static void print_version(const json_t *server)
{
        CLEANUP_BUFFER Buffer out = {};
        const char *platform = json_get_string_or(json_get_object(server, "Platform"), "Name", "");
        json_t *component;
        size_t i;

        client_must_zero(buffer_append_string(&out, "Client: Berth\n"));
        add_line(&out, " ", "Version", BERTH_VERSION);
        add_line(&out, " ", "API version", CLIENT_API_VERSION);
        client_must_zero(buffer_printf(&out, " OS/Arch:\tlinux/%s\n", machine()));
        if (server) {
                client_must_zero(buffer_printf(&out, "\nServer:%s%s\n", *platform ? " " : "", platform));
                json_array_foreach(json_get_array(server, "Components"), i, component) {
                        add_component(&out, component);
                }
        }
        print_aligned(&out, 20, 1);
}

static int run_version(Client *client, const ClientArguments *arguments)
{
        const char *format = client_string(arguments, "format");
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};
        int failed;

        failed = client_call(client, "GET", "/version", NULL, &reply, &error);
        if (*format) {
                CLEANUP_JSON json_t *both = client_must(json_pack("{s:o}", "Client", client_side()));

                client_must_zero(json_object_set_new(both, "Server", failed ? json_null() : json_incref(reply.json)));
                if (client_object_print(both, format) != 0)
                        return 1;
        } else {
                print_version(failed ? NULL : reply.json);
        }
        return failed ? client_fail(&error) : 0;
}

static const ClientOption version_options[] = {
        { 'f', "format", OPTION_STRING, "string", NULL, FORMAT_HELP, NULL, NULL, false },
        {},
};

const ClientCommand client_version = {
        .usage = "[OPTIONS]",
        .summary = "Show the client's and the daemon's versions",
        .options = version_options,
        .run = run_version,
};

/* --- info --- */

typedef enum InfoForm {
        INFO_STRING, /* left out when empty */
        INFO_NUMBER,
        INFO_BOOL,
        INFO_MEMORY,
        INFO_CALL, /* a function prints it */
} InfoForm;

static void show_driver_status(const json_t *info)
{
        json_t *pair;
        size_t i;

        json_array_foreach(json_get_array(info, "DriverStatus"), i, pair) {
                printf("  %s: %s\n", json_string_value(json_array_get(pair, 0)) ?: "",
                       json_string_value(json_array_get(pair, 1)) ?: "");
        }
}

static void show_plugins(const json_t *info)
{
        static const char *const kinds[] = { "Volume", "Network", "Authorization", "Log" };

        puts(" Plugins:");
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                json_t *list = json_get_array(json_get_object(info, "Plugins"), kinds[i]), *name;
                size_t j;

                if (json_array_size(list) == 0 && strcmp(kinds[i], "Authorization") == 0)
                        continue;
                printf("  %s:", kinds[i]);
                json_array_foreach(list, j, name) {
                        printf(" %s", json_string_value(name) ?: "");
                }
                puts("");
        }
}

static void show_list(const json_t *info, const char *key, const char *title)
{
        json_t *list = json_get_array(info, key), *item;
        size_t i;

        if (json_array_size(list) == 0)
                return;
        printf(" %s:\n", title);
        json_array_foreach(list, i, item) {
                printf("  %s\n", json_string_value(item) ?: "");
        }
}

static void show_cdi(const json_t *info)
{
        show_list(info, "CDISpecDirs", "CDI spec directories");
}

static void show_labels(const json_t *info)
{
        show_list(info, "Labels", "Labels");
}

static void show_swarm(const json_t *info)
{
        printf(" Swarm: %s\n", json_get_string_or(json_get_object(info, "Swarm"), "LocalNodeState", "inactive"));
}

static void show_runtimes(const json_t *info)
{
        json_t *runtimes = json_get_object(info, "Runtimes");
        CLEANUP_FREE const char **names = client_sorted_keys(runtimes);

        if (json_object_size(runtimes) == 0)
                return;
        printf(" Runtimes:");
        for (size_t i = 0; names[i]; i++)
                printf(" %s", names[i]);
        puts("");
}

static void show_commits(const json_t *info)
{
        static const struct {
                const char *key, *title;
        } commits[] = { { "ContainerdCommit", "containerd version" },
                        { "RuncCommit", "runc version" },
                        { "InitCommit", "init version" } };

        for (size_t i = 0; i < ARRAY_SIZE(commits); i++) {
                const char *id = json_get_string(json_get_object(info, commits[i].key), "ID");

                if (!str_empty(id) && strcmp(id, "N/A") != 0)
                        printf(" %s: %s\n", commits[i].title, id);
        }
}

/* "name=seccomp,profile=builtin" */
static void show_security(const json_t *info)
{
        json_t *list = json_get_array(info, "SecurityOptions"), *option;
        size_t i;

        if (json_array_size(list) == 0)
                return;
        puts(" Security Options:");
        json_array_foreach(list, i, option) {
                CLEANUP_FREE char *copy = client_must(strdup(json_string_value(option) ?: ""));
                char *rest = copy, *field;

                while ((field = strsep(&rest, ","))) {
                        char *value = strchr(field, '=');

                        if (!value)
                                continue;
                        *value++ = 0;
                        if (strcmp(field, "name") == 0)
                                printf("  %s\n", value);
                        else
                                printf("   %c%s: %s\n", *field >= 'a' && *field <= 'z' ? *field - 32 : *field,
                                       field + 1, value);
                }
        }
}

static void show_registries(const json_t *info)
{
        const json_t *config = json_get_object(info, "RegistryConfig");

        show_list(config, "InsecureRegistryCIDRs", "Insecure Registries");
        show_list(config, "Mirrors", "Registry Mirrors");
}

static const struct {
        const char *title, *key;
        InfoForm form;
        void (*call)(const json_t *info);
} info_lines[] = {
        { " Containers", "Containers", INFO_NUMBER, NULL },
        { "  Running", "ContainersRunning", INFO_NUMBER, NULL },
        { "  Paused", "ContainersPaused", INFO_NUMBER, NULL },
        { "  Stopped", "ContainersStopped", INFO_NUMBER, NULL },
        { " Images", "Images", INFO_NUMBER, NULL },
        { " Server Version", "ServerVersion", INFO_STRING, NULL },
        { " Storage Driver", "Driver", INFO_STRING, NULL },
        { NULL, NULL, INFO_CALL, show_driver_status },
        { " Logging Driver", "LoggingDriver", INFO_STRING, NULL },
        { " Cgroup Driver", "CgroupDriver", INFO_STRING, NULL },
        { " Cgroup Version", "CgroupVersion", INFO_STRING, NULL },
        { NULL, NULL, INFO_CALL, show_plugins },
        { NULL, NULL, INFO_CALL, show_cdi },
        { NULL, NULL, INFO_CALL, show_swarm },
        { NULL, NULL, INFO_CALL, show_runtimes },
        { " Default Runtime", "DefaultRuntime", INFO_STRING, NULL },
        { " Init Binary", "InitBinary", INFO_STRING, NULL },
        { NULL, NULL, INFO_CALL, show_commits },
        { NULL, NULL, INFO_CALL, show_security },
        { " Kernel Version", "KernelVersion", INFO_STRING, NULL },
        { " Operating System", "OperatingSystem", INFO_STRING, NULL },
        { " OSType", "OSType", INFO_STRING, NULL },
        { " Architecture", "Architecture", INFO_STRING, NULL },
        { " CPUs", "NCPU", INFO_NUMBER, NULL },
        { " Total Memory", "MemTotal", INFO_MEMORY, NULL },
        { " Name", "Name", INFO_STRING, NULL },
        { " ID", "ID", INFO_STRING, NULL },
        { " Docker Root Dir", "DockerRootDir", INFO_STRING, NULL },
        { " Debug Mode", "Debug", INFO_BOOL, NULL },
        { " HTTP Proxy", "HttpProxy", INFO_STRING, NULL },
        { " HTTPS Proxy", "HttpsProxy", INFO_STRING, NULL },
        { " No Proxy", "NoProxy", INFO_STRING, NULL },
        { NULL, NULL, INFO_CALL, show_labels },
        { " Experimental", "ExperimentalBuild", INFO_BOOL, NULL },
        { NULL, NULL, INFO_CALL, show_registries },
        { " Live Restore Enabled", "LiveRestoreEnabled", INFO_BOOL, NULL },
        { " Product License", "ProductLicense", INFO_STRING, NULL },
};

static void print_line(const json_t *info, size_t i)
{
        const char *title = info_lines[i].title, *key = info_lines[i].key;

        switch (info_lines[i].form) {
        case INFO_STRING:
                if (!str_empty(json_get_string(info, key)))
                        printf("%s: %s\n", title, json_get_string(info, key));
                break;
        case INFO_NUMBER:
                printf("%s: %lld\n", title, (long long) json_get_int(info, key, 0));
                break;
        case INFO_BOOL:
                printf("%s: %s\n", title, json_get_bool(info, key) ? "true" : "false");
                break;
        case INFO_MEMORY: {
                CLEANUP_FREE char *size = client_must(text_size_binary(json_get_int(info, key, 0)));

                printf("%s: %s\n", title, size);
                break;
        }
        case INFO_CALL:
                info_lines[i].call(info);
        }
}

static void print_info(const json_t *info)
{
        json_t *warning;
        size_t i;

        printf("Client: Berth\n Version:    %s\n Context:    default\n Debug Mode: false\n\nServer:\n", BERTH_VERSION);
        if (!info)
                return;
        for (i = 0; i < ARRAY_SIZE(info_lines); i++)
                print_line(info, i);
        puts("");
        json_array_foreach(json_get_array(info, "Warnings"), i, warning) {
                client_complain("%s", json_string_value(warning) ?: "");
        }
}

static int run_info(Client *client, const ClientArguments *arguments)
{
        const char *format = client_string(arguments, "format");
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};

        if (client_call(client, "GET", "/info", NULL, &reply, &error) != 0) {
                if (!*format)
                        print_info(NULL);
                client_complain("%s", error.message);
                if (!*format)
                        client_complain("errors pretty printing info");
                return 1;
        }
        if (!*format) {
                print_info(reply.json);
                return 0;
        }
        client_must_zero(json_object_set_new(reply.json, "ClientInfo", client_side()));
        return client_object_print(reply.json, format);
}

static const ClientOption info_options[] = {
        { 'f', "format", OPTION_STRING, "string", NULL, FORMAT_HELP, NULL, NULL, false },
        {},
};

const ClientCommand client_info = {
        .usage = "[OPTIONS]",
        .summary = "Display system-wide information",
        .options = info_options,
        .run = run_info,
};
