/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the options of `run` to the body of the create request. Options that are one field go there by their table; the
 * rest is done by the parts listed below, in order. */
#include <ctype.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client-config.h"
#include "client-reference.h"
#include "client-run.h"

void client_run_set(json_t *body, const char *path, json_t *value)
{
        const char *dot = strrchr(path, '.');
        json_t *object = body;

        if (dot) {
                CLEANUP_FREE char *parent = client_must(strndup(path, dot - path));

                object = client_run_object(body, parent);
        }
        client_must_zero(json_object_set_new(object, dot ? dot + 1 : path, client_must(value)));
}

json_t *client_run_object(json_t *body, const char *path)
{
        while (*path) {
                size_t n = strcspn(path, ".");
                CLEANUP_FREE char *name = client_must(strndup(path, n));
                json_t *next = json_object_get(body, name);

                if (!next) {
                        next = client_must(json_object());
                        client_must_zero(json_object_set_new(body, name, next));
                }
                body = next;
                path += n + (path[n] == '.');
        }
        return body;
}

json_t *client_list_array(char *const *list)
{
        json_t *array = client_must(json_array());

        for (; list && *list; list++)
                client_must_zero(json_array_append_new(array, json_string(*list)));
        return array;
}

json_t *client_list_object(char *const *list)
{
        json_t *object = client_must(json_object());

        for (; list && *list; list++) {
                const char *equal = strchr(*list, '=');
                CLEANUP_FREE char *key = client_must(equal ? strndup(*list, equal - *list) : strdup(*list));

                client_must_zero(json_object_set_new(object, key, json_string(equal ? equal + 1 : "")));
        }
        return object;
}

static json_t *option_to_json(const ClientOption *option, const ClientValue *value)
{
        switch (option->kind) {
        case OPTION_BOOL:
                return json_boolean(value->flag);
        case OPTION_STRING:
                return json_string(value->string);
        case OPTION_LIST:
        case OPTION_COMMA:
                return client_list_array(value->list);
        case OPTION_MAP:
                return client_list_object(value->list);
        default:
                return json_integer(value->number);
        }
}

void client_run_set_fields(const ClientArguments *arguments, json_t *body)
{
        const ClientOption *options = arguments->command->options;

        for (size_t i = 0; options[i].name; i++)
                if (options[i].field && arguments->values[i].set)
                        client_run_set(body, options[i].field, option_to_json(&options[i], &arguments->values[i]));
}

/* Modes of namespaces that make sense without the daemon being asked. */
static int check_modes(const ClientArguments *arguments, Error *error)
{
        static const struct {
                const char *option, *kind;
                const char *allowed[3];
                bool container; /* or "container:NAME" */
        } modes[] = {
                { "pid", "PID", { "", "host" }, true },
                { "uts", "UTS", { "", "host" }, false },
                { "userns", "USER", { "", "host" }, false },
                { "cgroupns", "CGROUP", { "", "host", "private" }, false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
                const char *value = client_string(arguments, modes[i].option);
                bool known = modes[i].container && str_after_prefix(value, "container:") && value[10];

                for (size_t j = 0; j < ARRAY_SIZE(modes[i].allowed); j++)
                        known |= modes[i].allowed[j] && strcmp(value, modes[i].allowed[j]) == 0;
                if (!known)
                        return error_set(error, OUTCOME_BAD_REQUEST, "--%s: invalid %s mode", modes[i].option,
                                         modes[i].kind);
        }
        return 0;
}

static int check_values(const ClientArguments *arguments, Error *error)
{
        int64_t swappiness = client_value(arguments, "memory-swappiness")->number;
        const char *pull = client_string(arguments, "pull"), *mac = client_string(arguments, "mac-address");
        char *const *storage = client_value(arguments, "storage-opt")->list;

        if (swappiness != -1 && (swappiness < 0 || swappiness > 100))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid value: %lld. Valid memory swappiness range is 0-100", (long long) swappiness);
        if (strcmp(pull, "always") != 0 && strcmp(pull, "missing") != 0 && strcmp(pull, "never") != 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid pull option: '%s': must be one of \"always\", \"missing\" or \"never\"",
                                 pull);
        for (size_t i = 0; *mac && (i < 17 || mac[i]); i++)
                if (i >= 17 || (i % 3 == 2 ? mac[i] != ':' && mac[i] != '-' : !isxdigit((unsigned char) mac[i])))
                        return error_set(error, OUTCOME_BAD_REQUEST, "%s is not a valid mac address", mac);
        for (; storage && *storage; storage++)
                if (!strchr(*storage, '='))
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid storage option");
        return check_modes(arguments, error);
}

static void set_program(const ClientArguments *arguments, json_t *body)
{
        const ClientValue *entrypoint = client_value(arguments, "entrypoint");

        client_run_set(body, "Image", json_string(arguments->words[0]));
        if (arguments->n_words > 1)
                client_run_set(body, "Cmd", client_list_array(arguments->words + 1));
        /* An empty entrypoint takes the image's away. */
        if (entrypoint->set)
                client_run_set(body, "Entrypoint", json_pack("[s]", entrypoint->string));
}

static void set_terminal(json_t *body)
{
        struct winsize size = {};

        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
                client_run_set(body, "HostConfig.ConsoleSize", json_pack("[i,i]", size.ws_row, size.ws_col));
}

/* What is not asked for is shown by inspect as it is sent: an empty list where Docker's own client sends one. */
static void set_empty(json_t *body)
{
        static const char *const lists[] = {
                "HostConfig.BlkioWeightDevice",
                "HostConfig.BlkioDeviceReadBps",
                "HostConfig.BlkioDeviceReadIOps",
                "HostConfig.BlkioDeviceWriteBps",
                "HostConfig.BlkioDeviceWriteIOps",
                "HostConfig.Devices",
                "HostConfig.Dns",
                "HostConfig.DnsOptions",
                "HostConfig.DnsSearch",
                "HostConfig.Ulimits",
        };

        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                client_run_set(body, lists[i], json_array());
        client_run_object(body, "HostConfig.PortBindings");
        client_run_set(body, "HostConfig.NetworkMode", json_string("default"));
}

typedef int (*RequestPart)(const ClientArguments *arguments, json_t *body, Error *error);

static const RequestPart parts[] = {
        client_run_streams, client_run_environment, client_run_labels,   client_run_health,
        client_run_limits,  client_run_devices,     client_run_security, client_run_restart,
        client_run_volumes, client_run_ports,       client_run_networks,
};

static void add_proxies(const Client *client, json_t *body)
{
        CLEANUP_JSON json_t *list = json_incref(json_object_get(body, "Env"));

        if (!list)
                list = client_must(json_array());
        client_config_add_proxies(client->host, list);
        if (json_array_size(list) > 0)
                client_run_set(body, "Env", json_incref(list));
}

int client_run_request(const Client *client, const ClientArguments *arguments, json_t **ret_body, Error *error)
{
        CLEANUP_JSON json_t *body = client_must(json_object());
        int r;

        r = client_reference_check(arguments->words[0], error);
        if (r == 0)
                r = check_values(arguments, error);
        if (r != 0)
                return r;
        set_program(arguments, body);
        set_terminal(body);
        set_empty(body);
        client_run_set_fields(arguments, body);
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                r = parts[i](arguments, body, error);
                if (r != 0)
                        return r;
        }
        add_proxies(client, body);
        *ret_body = TAKE_PTR(body);
        return 0;
}
