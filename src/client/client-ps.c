/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth ps. */
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-config.h"
#include "client-list.h"
#include "client-lists.h"
#include "client-text.h"
#include "client.h"

#define COMMAND_COLUMNS 20
#define MOUNT_COLUMNS 15

static char *list_names(const json_t *container, bool truncate)
{
        CLEANUP_BUFFER Buffer list = {};
        json_t *name;
        size_t i;

        json_array_foreach(json_get_array(container, "Names"), i, name) {
                const char *s = json_string_value(name) ?: "";

                s += *s == '/';
                /* Names given by a link have the other container's in front. */
                if (truncate && strchr(s, '/'))
                        continue;
                client_must_zero(buffer_printf(&list, "%s%s", list.size > 0 ? "," : "", s));
        }
        return client_must(buffer_take(&list));
}

static char *list_image(const json_t *container, bool truncate)
{
        const char *image = json_get_string_or(container, "Image", "");
        const char *id = json_get_string_or(container, "ImageID", "");
        const char *familiar = image;
        const char *at, *digest;

        if (!*image)
                return client_must(strdup("<no image>"));
        if (!truncate)
                return client_must(strdup(image));
        id = str_after_prefix(id, "sha256:") ?: id;
        digest = str_after_prefix(image, "sha256:") ?: image;
        if (strlen(id) >= ID_SHORT_LENGTH && strncmp(id, digest, ID_SHORT_LENGTH) == 0)
                return client_must(strndup(id, ID_SHORT_LENGTH));
        if (digest != image)
                return client_must(strdup(image));
        familiar = str_after_prefix(familiar, "docker.io/") ?: familiar;
        familiar = str_after_prefix(familiar, "library/") ?: familiar;
        at = strchr(familiar, '@');
        return client_must(at ? strndup(familiar, at - familiar) : strdup(familiar));
}

static char *list_command(const json_t *container, bool truncate)
{
        CLEANUP_BUFFER Buffer quoted = {};
        const char *command = json_get_string_or(container, "Command", "");
        CLEANUP_FREE char *cut = client_must(truncate ? text_ellipsis(command, COMMAND_COLUMNS) : strdup(command));

        client_must_zero(text_append_quoted(&quoted, cut));
        return client_must(buffer_take(&quoted));
}

static char *list_mounts(const json_t *container, bool truncate, int64_t *ret_local)
{
        CLEANUP_BUFFER Buffer list = {};
        json_t *mount;
        size_t i;

        *ret_local = 0;
        json_array_foreach(json_get_array(container, "Mounts"), i, mount) {
                const char *name = json_get_string_or(mount, "Name", "");
                CLEANUP_FREE char *cut = NULL;

                if (!*name)
                        name = json_get_string_or(mount, "Source", "");
                *ret_local += str_equal(json_get_string(mount, "Driver"), "local");
                cut = client_must(truncate ? text_ellipsis(name, MOUNT_COLUMNS) : strdup(name));
                client_must_zero(buffer_printf(&list, "%s%s", i > 0 ? "," : "", cut));
        }
        return client_must(buffer_take(&list));
}

static char *list_networks(const json_t *container)
{
        CLEANUP_BUFFER Buffer list = {};
        const char *name;
        json_t *network;

        json_object_foreach(json_get_object(json_get_object(container, "NetworkSettings"), "Networks"), name, network) {
                client_must_zero(buffer_printf(&list, "%s%s", list.size > 0 ? "," : "", name));
        }
        return client_must(buffer_take(&list));
}

static char *list_size(const json_t *container)
{
        CLEANUP_FREE char *own = client_must(text_size(json_get_int(container, "SizeRw", 0), 3));
        int64_t all = json_get_int(container, "SizeRootFs", 0);
        CLEANUP_FREE char *virtual = client_must(text_size(all, 3));

        if (all <= 0)
                return TAKE_PTR(own);
        return client_must(str_printf("%s (virtual %s)", own, virtual));
}

void client_container_list_add(ClientRows *rows, const json_t *container, bool truncate)
{
        const char *id = json_get_string_or(container, "Id", "");
        int64_t created = json_get_int(container, "Created", 0), local;
        CLEANUP_FREE char *short_id = client_must(truncate ? strndup(id, ID_SHORT_LENGTH) : strdup(id));
        CLEANUP_FREE char *command = list_command(container, truncate);
        CLEANUP_FREE char *created_at = client_must(text_time(created));
        CLEANUP_FREE char *image = list_image(container, truncate);
        CLEANUP_FREE char *labels = client_list_labels(json_get_object(container, "Labels"));
        CLEANUP_FREE char *mounts = list_mounts(container, truncate, &local);
        CLEANUP_FREE char *names = list_names(container, truncate);
        CLEANUP_FREE char *networks = list_networks(container);
        CLEANUP_FREE char *ports = client_list_ports(json_get_array(container, "Ports"));
        CLEANUP_FREE char *age = client_must(duration_words(time(NULL) - created));
        CLEANUP_FREE char *ago = client_must(str_printf("%s ago", age));
        CLEANUP_FREE char *size = list_size(container);
        CLEANUP_FREE char *volumes = client_must(str_printf("%lld", (long long) local));
        json_t *label_map = json_get_object(container, "Labels");
        json_t *no_labels = label_map ? json_incref(label_map) : json_object();

        client_rows_add(rows,
                        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:n,s:s,s:s,s:s,s:s,s:s}", "Command", command,
                                  "CreatedAt", created_at, "ID", short_id, "Image", image, "Labels", labels,
                                  "LocalVolumes", volumes, "Mounts", mounts, "Names", names, "Networks", networks,
                                  "Platform", "Ports", ports, "RunningFor", ago, "Size", size, "State",
                                  json_get_string_or(container, "State", ""), "Status",
                                  json_get_string_or(container, "Status", "")),
                        json_pack("{s:o}", "Label", no_labels));
}

json_t *client_container_headings(void)
{
        return client_must(json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "Command",
                                     "COMMAND", "CreatedAt", "CREATED AT", "ID", "CONTAINER ID", "Image", "IMAGE",
                                     "Labels", "LABELS", "LocalVolumes", "LOCAL VOLUMES", "Mounts", "MOUNTS", "Names",
                                     "NAMES", "Networks", "NETWORKS", "Platform", "PLATFORM", "Ports", "PORTS",
                                     "RunningFor", "CREATED", "Size", "SIZE", "State", "STATE", "Status", "STATUS"));
}

static Buffer make_target(const ClientArguments *arguments, bool size)
{
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);
        CLEANUP_FREE char *limit = NULL;
        int64_t last = client_flag(arguments, "latest") ? 1 : client_value(arguments, "last")->number;
        Buffer target = {};

        client_must_zero(buffer_append_string(&target, "/containers/json"));
        if (last > 0)
                limit = client_must(str_printf("%lld", (long long) last));
        target_add(&target, "all", client_flag(arguments, "all") ? "1" : NULL);
        target_add(&target, "limit", limit);
        target_add(&target, "size", size ? "1" : NULL);
        target_add_filters(&target, filters);
        return target;
}

static int run_ps(Client *client, const ClientArguments *arguments)
{
        CLEANUP_FREE char *format = client_config_format(arguments, "psFormat");
        bool quiet = client_flag(arguments, "quiet"), truncate = !client_flag(arguments, "no-trunc");
        bool size = client_flag(arguments, "size");
        CLEANUP_BUFFER Buffer target =
                make_target(arguments, size || strstr(format, ".Size") || strstr(format, "json .}}"));
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ROWS ClientRows rows = {};
        CLEANUP_ERROR Error error = {};
        CLEANUP_JSON json_t *headings = client_container_headings();
        const char *table = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
        json_t *container;
        size_t i;

        if (client_call(client, "GET", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        json_array_foreach(reply.json, i, container) {
                client_container_list_add(&rows, container, truncate);
        }
        if (quiet && (!*format || strcmp(format, "table") == 0))
                return client_rows_print(&rows, "{{.ID}}", NULL, NULL);
        if (size)
                table = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t"
                        "{{.Size}}";
        return client_rows_print(&rows, format, table, headings);
}

static const ClientOption ps_options[] = {
        { 'a', "all", OPTION_BOOL, NULL, NULL, "Show every container, not just the running ones", NULL, NULL, false },
        { 'f', "filter", OPTION_LIST, "filter", NULL, "Show only what matches (name=value)", NULL, client_check_filter,
          false },
        { 0, "format", OPTION_STRING, "string", NULL, FORMAT_LIST_HELP, NULL, NULL, false },
        { 'n', "last", OPTION_INT, "int", "-1", "Show the last n created containers, in any state", NULL, NULL, false },
        { 'l', "latest", OPTION_BOOL, NULL, NULL, "Show the last created container, in any state", NULL, NULL, false },
        { 0, "no-trunc", OPTION_BOOL, NULL, NULL, "Don't shorten anything", NULL, NULL, false },
        { 'q', "quiet", OPTION_BOOL, NULL, NULL, "Only display container IDs", NULL, NULL, false },
        { 's', "size", OPTION_BOOL, NULL, NULL, "Display file sizes", NULL, NULL, false },
        {},
};

const ClientCommand client_ps = {
        .usage = "[OPTIONS]",
        .summary = "List containers",
        .options = ps_options,
        .run = run_ps,
};
