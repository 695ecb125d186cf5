/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Everything that is called prune: a table says what each kind removes and how it tells. */
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-prompt.h"
#include "client-text.h"
#include "client.h"

typedef struct Kind {
        const char *target;  /* of the request */
        const char *list;    /* member of the answer; its elements are IDs, or objects */
        const char *heading; /* above what was removed */
        bool sized;          /* the answer tells how much space it was */
} Kind;

static const Kind containers = { "/containers/prune", "ContainersDeleted", "Deleted Containers:", true };
static const Kind networks = { "/networks/prune", "NetworksDeleted", "Deleted Networks:", false };
static const Kind volumes = { "/volumes/prune", "VolumesDeleted", "Deleted Volumes:", true };
static const Kind images = { "/images/prune", "ImagesDeleted", "Deleted Images:", true };
static const Kind cache = { "/build/prune", "CachesDeleted", "Deleted build cache objects:", true };

static void print_item(const json_t *item)
{
        if (json_is_string(item))
                puts(json_string_value(item));
        else if (json_get_string(item, "Untagged"))
                printf("untagged: %s\n", json_get_string(item, "Untagged"));
        else
                printf("deleted: %s\n", json_get_string_or(item, "Deleted", ""));
}

typedef struct Request {
        const Kind *kind;
        const json_t *filters;
        /* The build cache's. */
        bool all;
        const char *keep_storage;
} Request;

/* Asks for it, prints what is gone and adds what that made free to ret_space. */
static int prune(Client *client, const Request *request, int64_t *ret_space, Error *error)
{
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_REPLY ClientReply reply = {};
        json_t *list, *item;
        size_t i;
        int r;

        client_must_zero(buffer_append_string(&target, request->kind->target));
        target_add(&target, "all", request->all ? "1" : NULL);
        target_add(&target, "keep-storage", request->keep_storage);
        target_add_filters(&target, request->filters);
        r = client_call(client, "POST", target.data, NULL, &reply, error);
        if (r != 0)
                return r;
        list = json_get_array(reply.json, request->kind->list);
        if (json_array_size(list) > 0) {
                puts(request->kind->heading);
                json_array_foreach(list, i, item) {
                        print_item(item);
                }
                puts("");
        }
        *ret_space += json_get_int(reply.json, "SpaceReclaimed", 0);
        fflush(stdout);
        return 0;
}

static void print_space(int64_t space)
{
        CLEANUP_FREE char *size = client_must(text_size((double) space, 4));

        printf("Total reclaimed space: %s\n", size);
}

static void set_filter(json_t **filters, const char *key, const char *value)
{
        if (!*filters)
                *filters = client_must(json_object());
        client_must_zero(json_object_set_new(*filters, key, json_pack("{s:b}", value, 1)));
}

/* One kind, after a question. */
static int run_one(Client *client, const ClientArguments *arguments, const Request *request, const char *warning)
{
        CLEANUP_ERROR Error error = {};
        int64_t space = 0;

        if (!client_flag(arguments, "force") && !client_prompt_confirm(warning))
                return 0;
        if (prune(client, request, &space, &error) != 0)
                return client_fail(&error);
        if (request->kind->sized)
                print_space(space);
        return 0;
}

#define OPTION_FILTER                                                           \
        { 0,           "filter",                                                \
          OPTION_LIST, "filter",                                                \
          NULL,        "Remove only what matches (e.g. \"until=<timestamp>\")", \
          NULL,        client_check_filter,                                     \
          false }
#define OPTION_FORCE { 'f', "force", OPTION_BOOL, NULL, NULL, "Do not ask for confirmation", NULL, NULL, false }

/* --- container prune, network prune --- */

static int run_prune_containers(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);

        return run_one(client, arguments, &(Request) { .kind = &containers, .filters = filters },
                       "WARNING! This will remove all stopped containers.");
}

static int run_prune_networks(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);

        return run_one(client, arguments, &(Request) { .kind = &networks, .filters = filters },
                       "WARNING! This will remove all custom networks not used by at least one container.");
}

static const ClientOption prune_options[] = { OPTION_FILTER, OPTION_FORCE, {} };

const ClientCommand client_prune = {
        .usage = "[OPTIONS]",
        .summary = "Remove all stopped containers",
        .options = prune_options,
        .run = run_prune_containers,
};

const ClientCommand client_network_prune = {
        .usage = "[OPTIONS]",
        .summary = "Remove all unused networks",
        .options = prune_options,
        .run = run_prune_networks,
};

/* --- image prune --- */

static int run_prune_images(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);
        bool all = client_flag(arguments, "all");

        set_filter(&filters, "dangling", all ? "false" : "true");
        return run_one(client, arguments, &(Request) { .kind = &images, .filters = filters },
                       all ? "WARNING! This will remove all images without at least one container associated to them."
                           : "WARNING! This will remove all dangling images.");
}

static const ClientOption image_options[] = {
        { 'a', "all", OPTION_BOOL, NULL, NULL, "Remove all images that no container uses, not just those without a tag",
          NULL, NULL, false },
        OPTION_FILTER,
        OPTION_FORCE,
        {},
};

const ClientCommand client_image_prune = {
        .usage = "[OPTIONS]",
        .summary = "Remove unused images",
        .options = image_options,
        .run = run_prune_images,
};

/* --- volume prune --- */

static int run_prune_volumes(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);

        if (client_flag(arguments, "all")) {
                if (json_object_get(filters, "all")) {
                        client_complain("conflicting options: cannot specify both --all and --filter all=1");
                        return 1;
                }
                set_filter(&filters, "all", "true");
                return run_one(client, arguments, &(Request) { .kind = &volumes, .filters = filters },
                               "WARNING! This will remove all local volumes not used by at least one container.");
        }
        return run_one(client, arguments, &(Request) { .kind = &volumes, .filters = filters },
                       "WARNING! This will remove anonymous local volumes not used by at least one container.");
}

static const ClientOption volume_options[] = {
        { 'a', "all", OPTION_BOOL, NULL, NULL, "Remove all unused volumes, not just anonymous ones", NULL, NULL,
          false },
        OPTION_FILTER,
        OPTION_FORCE,
        {},
};

const ClientCommand client_volume_prune = {
        .usage = "[OPTIONS]",
        .summary = "Remove unused local volumes",
        .options = volume_options,
        .run = run_prune_volumes,
};

/* --- builder prune --- */

static int run_prune_cache(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);
        CLEANUP_FREE char *keep =
                client_must(str_printf("%lld", (long long) client_value(arguments, "keep-storage")->number));
        bool all = client_flag(arguments, "all");

        return run_one(client, arguments,
                       &(Request) { .kind = &cache, .filters = filters, .all = all, .keep_storage = keep },
                       all ? "WARNING! This will remove all build cache."
                           : "WARNING! This will remove all dangling build cache.");
}

static const ClientOption cache_options[] = {
        { 'a', "all", OPTION_BOOL, NULL, NULL, "Accepted for compatibility: nothing is kept without it either", NULL,
          NULL, false },
        OPTION_FILTER,
        OPTION_FORCE,
        { 0, "keep-storage", OPTION_BYTES, "bytes", NULL, "How much of the cache to keep", NULL, NULL, false },
        {},
};

const ClientCommand client_builder_prune = {
        .usage = "[OPTIONS]",
        .summary = "Remove build cache",
        .options = cache_options,
        .run = run_prune_cache,
};

/* --- system prune --- */

static char *system_warning(const ClientArguments *arguments)
{
        bool all = client_flag(arguments, "all");
        char *const *filter = client_value(arguments, "filter")->list;
        CLEANUP_BUFFER Buffer text = {};

        client_must_zero(buffer_printf(
                &text,
                "WARNING! This will remove:\n  - all stopped containers\n"
                "  - all networks not used by at least one container\n%s  - %s\n  - %s\n",
                client_flag(arguments, "volumes") ? "  - all anonymous volumes not used by at least one container\n"
                                                  : "",
                all ? "all images without at least one container associated to them" : "all dangling images",
                all ? "all build cache" : "unused build cache"));
        for (size_t i = 0; filter && filter[i]; i++)
                client_must_zero(buffer_printf(&text, "%s  - %s\n",
                                               i == 0 ? "\n  Items to be pruned will be filtered with:\n" : "",
                                               filter[i]));
        return client_must(buffer_take(&text));
}

static int prune_system(Client *client, const ClientArguments *arguments, json_t *filters, int64_t *ret_space,
                        Error *error)
{
        bool all = client_flag(arguments, "all");
        CLEANUP_JSON json_t *for_images = filters ? client_must(json_deep_copy(filters)) : NULL;
        int r;

        set_filter(&for_images, "dangling", all ? "false" : "true");
        r = prune(client, &(Request) { .kind = &containers, .filters = filters }, ret_space, error);
        if (r == 0)
                r = prune(client, &(Request) { .kind = &networks, .filters = filters }, ret_space, error);
        if (r == 0 && client_flag(arguments, "volumes"))
                r = prune(client, &(Request) { .kind = &volumes, .filters = filters }, ret_space, error);
        if (r == 0)
                r = prune(client, &(Request) { .kind = &images, .filters = for_images }, ret_space, error);
        if (r == 0)
                r = prune(client, &(Request) { .kind = &cache, .filters = filters, .all = all }, ret_space, error);
        return r;
}

static int run_system_prune(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);
        CLEANUP_FREE char *warning = system_warning(arguments);
        CLEANUP_ERROR Error error = {};
        int64_t space = 0;

        if (client_flag(arguments, "volumes") && json_object_get(filters, "until")) {
                client_complain("ERROR: The \"until\" filter is not supported with \"--volumes\"");
                return 1;
        }
        if (!client_flag(arguments, "force") && !client_prompt_confirm(warning))
                return 0;
        if (prune_system(client, arguments, filters, &space, &error) != 0)
                return client_fail(&error);
        print_space(space);
        return 0;
}

static const ClientOption system_options[] = {
        { 'a', "all", OPTION_BOOL, NULL, NULL, "Remove all unused images, not just those without a tag", NULL, NULL,
          false },
        OPTION_FILTER,
        OPTION_FORCE,
        { 0, "volumes", OPTION_BOOL, NULL, NULL, "Remove anonymous volumes too", NULL, NULL, false },
        {},
};

const ClientCommand client_system_prune = {
        .usage = "[OPTIONS]",
        .summary = "Remove unused data",
        .options = system_options,
        .run = run_system_prune,
};
