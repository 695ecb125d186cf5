/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth system df. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-lists.h"
#include "client-text.h"
#include "client.h"

/* One line of the summary. */
typedef struct Usage {
        const char *type;
        int64_t total, active;
        int64_t size, reclaimable;
        bool percent;
} Usage;

static Usage image_usage(const json_t *answer)
{
        Usage usage = { .type = "Images", .size = json_get_int(answer, "LayersSize", 0), .percent = true };
        json_t *image;
        size_t i;

        usage.reclaimable = usage.size;
        json_array_foreach(json_get_array(answer, "Images"), i, image) {
                int64_t size = json_get_int(image, "Size", 0), shared = json_get_int(image, "SharedSize", -1);

                usage.total++;
                usage.active += json_get_int(image, "Containers", 0) > 0;
                if (json_get_int(image, "Containers", 0) != 0 && size != -1 && shared != -1)
                        usage.reclaimable -= size - shared;
        }
        return usage;
}

static Usage container_usage(const json_t *answer)
{
        Usage usage = { .type = "Containers", .percent = true };
        json_t *container;
        size_t i;

        json_array_foreach(json_get_array(answer, "Containers"), i, container) {
                const char *state = json_get_string_or(container, "State", "");
                bool active = strcmp(state, "running") == 0 || strcmp(state, "paused") == 0 ||
                              strcmp(state, "restarting") == 0;
                int64_t size = json_get_int(container, "SizeRw", 0);

                usage.total++;
                usage.active += active;
                usage.size += size;
                usage.reclaimable += active ? 0 : size;
        }
        return usage;
}

static Usage volume_usage(const json_t *answer)
{
        Usage usage = { .type = "Local Volumes", .percent = true };
        json_t *volume;
        size_t i;

        json_array_foreach(json_get_array(answer, "Volumes"), i, volume) {
                const json_t *data = json_get_object(volume, "UsageData");
                int64_t size = json_get_int(data, "Size", 0), references = json_get_int(data, "RefCount", 0);

                usage.total++;
                usage.active += references > 0;
                usage.size += size != -1 ? size : 0;
                usage.reclaimable += size != -1 && references == 0 ? size : 0;
        }
        return usage;
}

static Usage cache_usage(const json_t *answer)
{
        Usage usage = { .type = "Build Cache" };
        json_t *record;
        size_t i;

        json_array_foreach(json_get_array(answer, "BuildCache"), i, record) {
                int64_t size = json_get_bool(record, "Shared") ? 0 : json_get_int(record, "Size", 0);

                usage.total++;
                usage.active += json_get_bool(record, "InUse");
                usage.size += size;
                usage.reclaimable += json_get_bool(record, "InUse") ? 0 : size;
        }
        return usage;
}

static void add_usage(ClientRows *rows, Usage usage)
{
        CLEANUP_FREE char *total = client_must(str_printf("%lld", (long long) usage.total));
        CLEANUP_FREE char *active = client_must(str_printf("%lld", (long long) usage.active));
        CLEANUP_FREE char *size = client_must(text_size((double) usage.size, 4));
        CLEANUP_FREE char *bytes = client_must(text_size((double) usage.reclaimable, 4));
        CLEANUP_FREE char *reclaimable = client_must(
                usage.percent && usage.size > 0
                        ? str_printf("%s (%lld%%)", bytes, (long long) (usage.reclaimable * 100 / usage.size))
                        : strdup(bytes));

        client_rows_add(rows,
                        json_pack("{s:s,s:s,s:s,s:s,s:s}", "Active", active, "Reclaimable", reclaimable, "Size", size,
                                  "TotalCount", total, "Type", usage.type),
                        json_object());
}

static int show_summary(const json_t *answer, const char *format)
{
        CLEANUP_JSON json_t *headings =
                client_must(json_pack("{s:s,s:s,s:s,s:s,s:s}", "Active", "ACTIVE", "Reclaimable", "RECLAIMABLE", "Size",
                                      "SIZE", "TotalCount", "TOTAL", "Type", "TYPE"));
        CLEANUP_ROWS ClientRows rows = {};

        add_usage(&rows, image_usage(answer));
        add_usage(&rows, container_usage(answer));
        add_usage(&rows, volume_usage(answer));
        add_usage(&rows, cache_usage(answer));
        return client_rows_print(&rows, format, "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
                                 headings);
}

/* --- verbose --- */

static char *age_text(const char *rfc3339)
{
        CLEANUP_FREE char *age = NULL;
        int64_t ns;

        if (time_parse_rfc3339(rfc3339, &ns) < 0)
                return client_must(strdup(""));
        age = client_must(duration_words(time(NULL) - ns / 1000000000));
        return client_must(str_printf("%s ago", age));
}

static void add_cache(ClientRows *rows, const json_t *record, bool truncate)
{
        const char *id = json_get_string_or(record, "ID", "");
        CLEANUP_FREE char *shown = client_must(str_printf("%.*s%s", truncate ? ID_SHORT_LENGTH : INT_MAX, id,
                                                          json_get_bool(record, "InUse") ? "*" : ""));
        CLEANUP_FREE char *created = age_text(json_get_string_or(record, "CreatedAt", ""));
        CLEANUP_FREE char *used = age_text(json_get_string_or(record, "LastUsedAt", ""));
        CLEANUP_FREE char *size = client_must(text_size((double) json_get_int(record, "Size", 0), 3));
        CLEANUP_FREE char *count = client_must(str_printf("%lld", (long long) json_get_int(record, "UsageCount", 0)));

        client_rows_add(rows,
                        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "CacheType",
                                  json_get_string_or(record, "Type", ""), "CreatedSince", created, "Description",
                                  json_get_string_or(record, "Description", ""), "ID", shown, "InUse",
                                  json_get_bool(record, "InUse") ? "true" : "false", "LastUsedSince", used, "Parent",
                                  json_get_string_or(record, "Parent", ""), "Shared",
                                  json_get_bool(record, "Shared") ? "true" : "false", "Size", size, "UsageCount",
                                  count),
                        json_object());
}

typedef struct Details {
        ClientImageList images;
        ClientRows containers, volumes, cache;
} Details;

static void details_clear(Details *details)
{
        client_rows_clear(&details->images.rows);
        client_rows_clear(&details->containers);
        client_rows_clear(&details->volumes);
        client_rows_clear(&details->cache);
}

/* Never used first, then the longest ago; the smaller one where that is the same. */
static int compare_caches(const void *a, const void *b)
{
        const json_t *p = *(json_t *const *) a, *q = *(json_t *const *) b;
        int64_t p_ns = INT64_MIN, q_ns = INT64_MIN;

        time_parse_rfc3339(json_get_string_or(p, "LastUsedAt", ""), &p_ns);
        time_parse_rfc3339(json_get_string_or(q, "LastUsedAt", ""), &q_ns);
        if (p_ns == q_ns) {
                p_ns = json_get_int(p, "Size", 0);
                q_ns = json_get_int(q, "Size", 0);
        }
        return (p_ns > q_ns) - (p_ns < q_ns);
}

static void add_caches(ClientRows *rows, const json_t *list)
{
        size_t n = json_array_size(list);
        CLEANUP_FREE const json_t **sorted = client_must(calloc(n + 1, sizeof(json_t *)));

        for (size_t i = 0; i < n; i++)
                sorted[i] = json_array_get(list, i);
        qsort(sorted, n, sizeof(json_t *), compare_caches);
        for (size_t i = 0; i < n; i++)
                add_cache(rows, sorted[i], true);
}

static void read_details(const json_t *answer, Details *details)
{
        json_t *item;
        size_t i;

        json_array_foreach(json_get_array(answer, "Images"), i, item) {
                client_image_list_add_first(&details->images, item);
        }
        json_array_foreach(json_get_array(answer, "Containers"), i, item) {
                /* The image's share of it is not the container's. */
                json_object_del(item, "SizeRootFs");
                client_container_list_add(&details->containers, item, true);
        }
        json_array_foreach(json_get_array(answer, "Volumes"), i, item) {
                client_volume_list_add(&details->volumes, item);
        }
        add_caches(&details->cache, json_get_array(answer, "BuildCache"));
}

static int show_tables(const json_t *answer, const Details *details)
{
        CLEANUP_JSON json_t *images = client_image_headings(), *containers = client_container_headings();
        CLEANUP_JSON json_t *volumes = client_volume_headings();
        CLEANUP_JSON json_t *cache = client_must(json_pack(
                "{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "ID", "CACHE ID", "CacheType", "CACHE TYPE", "Size", "SIZE",
                "CreatedSince", "CREATED", "LastUsedSince", "LAST USED", "UsageCount", "USAGE", "Shared", "SHARED"));
        CLEANUP_FREE char *cache_size = client_must(text_size((double) cache_usage(answer).size, 4));

        puts("Images space usage:\n");
        if (client_rows_print(&details->images.rows, "",
                              "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t"
                              "{{.UniqueSize}}\t{{.Containers}}",
                              images) != 0)
                return 1;
        puts("\nContainers space usage:\n");
        if (client_rows_print(&details->containers, "",
                              "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t"
                              "{{.Status}}\t{{.Names}}",
                              containers) != 0)
                return 1;
        puts("\nLocal Volumes space usage:\n");
        if (client_rows_print(&details->volumes, "", "{{.Name}}\t{{.Links}}\t{{.Size}}", volumes) != 0)
                return 1;
        printf("\nBuild cache usage: %s\n\n", cache_size);
        return client_rows_print(&details->cache, "",
                                 "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t"
                                 "{{.UsageCount}}\t{{.Shared}}",
                                 cache);
}

static json_t *rows_array(const ClientRows *rows)
{
        json_t *array = client_must(json_array());

        for (size_t i = 0; i < rows->n; i++)
                client_must_zero(json_array_append(array, rows->rows[i].fields));
        return array;
}

static int show_verbose(const json_t *answer, const char *format)
{
        CLEANUP(details_clear) Details details = { .images.truncate = true };
        CLEANUP_JSON json_t *all = NULL;

        read_details(answer, &details);
        if (!*format || strcmp(format, "table") == 0)
                return show_tables(answer, &details);
        all = client_must(json_pack("{s:o,s:o,s:o,s:o}", "Images", rows_array(&details.images.rows), "Containers",
                                    rows_array(&details.containers), "Volumes", rows_array(&details.volumes),
                                    "BuildCache", rows_array(&details.cache)));
        return client_object_print(all, format);
}

static int run_df(Client *client, const ClientArguments *arguments)
{
        const char *format = client_string(arguments, "format");
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};

        if (client_call(client, "GET", "/system/df", NULL, &reply, &error) != 0)
                return client_fail(&error);
        return client_flag(arguments, "verbose") ? show_verbose(reply.json, format) : show_summary(reply.json, format);
}

static const ClientOption df_options[] = {
        { 0, "format", OPTION_STRING, "string", NULL, FORMAT_LIST_HELP, NULL, NULL, false },
        { 'v', "verbose", OPTION_BOOL, NULL, NULL, "Show every object", NULL, NULL, false },
        {},
};

const ClientCommand client_df = {
        .usage = "[OPTIONS]",
        .summary = "Show disk usage",
        .options = df_options,
        .run = run_df,
};
