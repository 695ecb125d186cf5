/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth stats. One connection a container, all of them in one poll(2) loop with a connection for events, which tells of
 * containers that come and go; the table is drawn on a clock of its own. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/json.h"
#include "client-config.h"
#include "client-format.h"
#include "client-stats-sample.h"
#include "client-text.h"
#include "client.h"

#define FRAME_MS 500
/* The first table waits this long for those that are slow to answer. */
#define FIRST_MS 2500
#define SAMPLE_MAX (4u * 1024 * 1024)

typedef struct Item {
        char *name;       /* as it was asked for: an ID, or what the user wrote; owned */
        char *id, *title; /* from the first answer, owned; NULL before */
        HttpClient *http; /* owned; NULL once its stream has ended */
        bool counted;     /* there was an answer */
        StatsSample sample;
        char *failure; /* what the daemon refused it with, owned */
} Item;

typedef struct Stats {
        const Client *client;
        const ClientArguments *arguments;
        const char *format;
        bool once, all;
        Item *items; /* owned */
        size_t n;
        HttpClient *events; /* owned; NULL where the containers were named */
} Stats;

static void item_clear(Item *item)
{
        free(item->name);
        free(item->id);
        free(item->title);
        free(item->failure);
        http_client_free(item->http);
}

static void stats_clear(Stats *stats)
{
        for (size_t i = 0; i < stats->n; i++)
                item_clear(&stats->items[i]);
        free(stats->items);
        http_client_free(stats->events);
}

static int64_t now_ms(void)
{
        return time_monotonic_ns() / 1000000;
}

/* --- which containers --- */

static int add_item(Stats *stats, const char *name, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", name, "stats");
        Item item = {};
        int r;

        for (size_t i = 0; i < stats->n; i++)
                if (strcmp(stats->items[i].name, name) == 0)
                        return 0;
        target_add(&target, "stream", stats->once ? "0" : "1");
        r = client_connect(stats->client, &item.http, error);
        if (r == 0)
                r = client_send(item.http, "GET", target.data, NULL, false, error);
        if (r != 0) {
                http_client_free(item.http);
                return r;
        }
        item.name = client_must(strdup(name));
        stats->items = client_must(reallocarray(stats->items, stats->n + 1, sizeof(Item)));
        stats->items[stats->n++] = item;
        return 0;
}

static void remove_item(Stats *stats, size_t i)
{
        item_clear(&stats->items[i]);
        memmove(&stats->items[i], &stats->items[i + 1], (--stats->n - i) * sizeof(Item));
}

static int add_everything(Stats *stats, Client *client, Error *error)
{
        CLEANUP_REPLY ClientReply reply = {};
        json_t *container;
        size_t i;
        int r = client_call(client, "GET", stats->all ? "/containers/json?all=1" : "/containers/json", NULL, &reply,
                            error);

        json_array_foreach(reply.json, i, container) {
                if (r == 0)
                        r = add_item(stats, json_get_string_or(container, "Id", ""), error);
        }
        return r;
}

static int watch_events(Stats *stats, Error *error)
{
        HttpClientRequest request = { .method = "GET",
                                      .target = "/events?filters=%7B%22type%22%3A%7B%22container%22%3Atrue%7D%7D" };

        return client_open(stats->client, &request, &stats->events, error);
}

static void take_event(Stats *stats, const json_t *event)
{
        const char *action = json_get_string_or(event, "Action", "");
        const char *id = json_get_string_or(json_get_object(event, "Actor"), "ID", "");
        bool comes = strcmp(action, stats->all ? "create" : "start") == 0;
        bool goes = strcmp(action, stats->all ? "destroy" : "die") == 0;

        if (comes)
                add_item(stats, id, NULL);
        for (size_t i = 0; goes && i < stats->n; i++)
                if (strcmp(stats->items[i].name, id) == 0)
                        remove_item(stats, i);
}

/* --- what they say --- */

static void take_sample(Item *item, const json_t *json)
{
        const char *name = json_get_string_or(json, "name", ""), *id = json_get_string_or(json, "id", "");

        if (!item->id) {
                item->id = client_must(strdup(id));
                item->title = client_must(strdup(name + (*name == '/')));
        }
        item->sample = stats_sample_read(json);
        item->counted = true;
}

/* Takes the whole JSON values from the front of BODY. */
static void take_values(Buffer *body, Stats *stats, size_t i)
{
        size_t used = 0;

        while (used < body->size) {
                json_error_t reason;
                CLEANUP_JSON json_t *json =
                        json_loadb(body->data + used, body->size - used, JSON_DISABLE_EOF_CHECK, &reason);

                if (!json)
                        break;
                used += reason.position;
                if (i < stats->n)
                        take_sample(&stats->items[i], json);
                else
                        take_event(stats, json);
        }
        buffer_consume(body, used);
}

static void end_item(Item *item)
{
        http_client_free(item->http);
        item->http = NULL;
}

static void read_item(Stats *stats, size_t i)
{
        Item *item = &stats->items[i];
        int r = http_client_step(item->http);

        if (http_client_status(item->http) >= 400) {
                CLEANUP_ERROR Error error = {};

                client_refusal(item->http, &error);
                item->failure = client_must(strdup(error.message));
                end_item(item);
                return;
        }
        if (http_client_status(item->http) > 0)
                take_values(http_client_body(item->http), stats, i);
        if (r > 0 || (r < 0 && r != -EAGAIN) || http_client_body(item->http)->size > SAMPLE_MAX)
                end_item(item);
}

static void read_events(Stats *stats)
{
        int r = http_client_step(stats->events);

        take_values(http_client_body(stats->events), stats, SIZE_MAX);
        if (r > 0 || (r < 0 && r != -EAGAIN)) {
                http_client_free(stats->events);
                stats->events = NULL;
        }
}

/* Reads what comes within TIMEOUT milliseconds, once. */
static int read_some(Stats *stats, int timeout)
{
        CLEANUP_FREE struct pollfd *set = client_must(calloc(stats->n + 1, sizeof(struct pollfd)));
        size_t n = stats->n;

        for (size_t i = 0; i < n; i++)
                set[i] =
                        (struct pollfd) { stats->items[i].http ? http_client_fd(stats->items[i].http) : -1, POLLIN, 0 };
        set[n] = (struct pollfd) { stats->events ? http_client_fd(stats->events) : -1, POLLIN, 0 };
        if (poll(set, n + 1, timeout) < 0)
                return errno == EINTR ? 0 : -errno;
        for (size_t i = 0; i < n; i++)
                if (set[i].revents)
                        read_item(stats, i);
        /* Last, as it changes which item is where. */
        if (set[n].revents)
                read_events(stats);
        return 0;
}

/* --- the table --- */

static char *pair(double a, double b, bool counted, char *(*text)(double bytes))
{
        CLEANUP_FREE char *first = NULL, *second = NULL;

        if (!counted)
                return client_must(strdup("-- / --"));
        first = client_must(text(a));
        second = client_must(text(b));
        return client_must(str_printf("%s / %s", first, second));
}

static char *decimal(double bytes)
{
        return text_size(bytes, 3);
}

static char *percent(double value, bool counted)
{
        return client_must(counted ? str_printf("%.2f%%", value) : strdup("--"));
}

static void add_row(ClientRows *rows, const Item *item, bool truncate)
{
        const StatsSample *sample = &item->sample;
        const char *id = item->id ?: "";
        CLEANUP_FREE char *block = pair(sample->read, sample->written, item->counted, decimal);
        CLEANUP_FREE char *network = pair(sample->received, sample->sent, item->counted, decimal);
        CLEANUP_FREE char *memory = pair(sample->memory, sample->limit, item->counted, text_size_binary);
        CLEANUP_FREE char *cpu = percent(sample->cpu, item->counted);
        CLEANUP_FREE char *share = percent(sample->limit > 0 ? sample->memory / sample->limit * 100 : 0, item->counted);
        CLEANUP_FREE char *pids = client_must(item->counted ? str_printf("%lld", sample->pids) : strdup("--"));
        CLEANUP_FREE char *shown = client_must(truncate ? strndup(id, ID_SHORT_LENGTH) : strdup(id));

        client_rows_add(rows,
                        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "BlockIO", block, "CPUPerc", cpu,
                                  "Container", item->name, "ID", shown, "MemPerc", share, "MemUsage", memory, "Name",
                                  item->title ?: "--", "NetIO", network, "PIDs", pids),
                        json_object());
}

/* The screen is written over from the top; what is left of older lines is wiped. */
static void put_screen(const Buffer *table)
{
        CLEANUP_BUFFER Buffer screen = {};
        const char *line = table->data ?: "";

        client_must_zero(buffer_append_string(&screen, "\033[H"));
        while (*line) {
                size_t n = strcspn(line, "\n");

                client_must_zero(buffer_printf(&screen, "%.*s\033[K\n", (int) n, line));
                line += n + (line[n] == '\n');
        }
        client_must_zero(buffer_append_string(&screen, "\033[J"));
        fwrite(screen.data, 1, screen.size, stdout);
}

static int show(const Stats *stats)
{
        CLEANUP_JSON json_t *headings = client_must(
                json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "BlockIO", "BLOCK I/O", "CPUPerc", "CPU %",
                          "Container", "CONTAINER", "ID", "CONTAINER ID", "MemPerc", "MEM %", "MemUsage",
                          "MEM USAGE / LIMIT", "Name", "NAME", "NetIO", "NET I/O", "PIDs", "PIDS"));
        CLEANUP_BUFFER Buffer table = {};
        CLEANUP_ROWS ClientRows rows = {};
        bool truncate = !client_flag(stats->arguments, "no-trunc");

        for (size_t i = 0; i < stats->n; i++)
                if (!stats->items[i].failure)
                        add_row(&rows, &stats->items[i], truncate);
        if (client_rows_format(
                    &rows, stats->format,
                    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t"
                    "{{.PIDs}}",
                    headings, &table) != 0)
                return 1;
        if (!stats->once && isatty(STDOUT_FILENO))
                put_screen(&table);
        else
                fwrite(table.data ?: "", 1, table.size, stdout);
        fflush(stdout);
        return ferror(stdout) ? 1 : 0;
}

static bool all_counted(const Stats *stats)
{
        for (size_t i = 0; i < stats->n; i++)
                if (!stats->items[i].counted && stats->items[i].http)
                        return false;
        return true;
}

/* Named containers that are not there are told about before anything is shown. */
static int report_failures(Stats *stats, bool named)
{
        CLEANUP_BUFFER Buffer text = {};

        for (size_t i = 0; i < stats->n; i++)
                if (named && stats->items[i].failure)
                        client_must_zero(
                                buffer_printf(&text, "%s%s", text.size > 0 ? "\n" : "", stats->items[i].failure));
        if (text.size == 0)
                return 0;
        client_complain("%s", text.data);
        return 1;
}

static bool anything_left(const Stats *stats)
{
        if (stats->events)
                return true;
        for (size_t i = 0; i < stats->n; i++)
                if (stats->items[i].http)
                        return true;
        return false;
}

static int run_loop(Stats *stats, bool named)
{
        int64_t begin = now_ms(), next = begin;

        while (!all_counted(stats) && (stats->once || now_ms() - begin < FIRST_MS))
                if (read_some(stats, FRAME_MS) < 0)
                        return 1;
        if (report_failures(stats, named) != 0)
                return 1;
        if (stats->once)
                return show(stats);
        if (isatty(STDOUT_FILENO))
                fputs("\033[2J", stdout);
        for (;;) {
                int64_t now = now_ms();

                if (now >= next) {
                        if (show(stats) != 0)
                                return 1;
                        next = now + FRAME_MS;
                }
                if (!anything_left(stats))
                        return 0;
                if (read_some(stats, (int) (next - now_ms() > 0 ? next - now_ms() : 0)) < 0)
                        return 1;
        }
}

static int run_stats(Client *client, const ClientArguments *arguments)
{
        CLEANUP_FREE char *format = client_config_format(arguments, "statsFormat");
        CLEANUP(stats_clear)
        Stats stats = {
                .client = client,
                .arguments = arguments,
                .format = format,
                .once = client_flag(arguments, "no-stream"),
                .all = client_flag(arguments, "all"),
        };
        CLEANUP_ERROR Error error = {};
        int r = 0;

        if (arguments->n_words == 0) {
                if (!stats.once)
                        r = watch_events(&stats, &error);
                if (r == 0)
                        r = add_everything(&stats, client, &error);
        }
        for (size_t i = 0; r == 0 && i < arguments->n_words; i++)
                r = add_item(&stats, arguments->words[i], &error);
        return r != 0 ? client_fail(&error) : run_loop(&stats, arguments->n_words > 0);
}

static const ClientOption stats_options[] = {
        { 'a', "all", OPTION_BOOL, NULL, NULL, "Show every container, not just the running ones", NULL, NULL, false },
        { 0, "format", OPTION_STRING, "string", NULL, FORMAT_LIST_HELP, NULL, NULL, false },
        { 0, "no-stream", OPTION_BOOL, NULL, NULL, "Show the first values only", NULL, NULL, false },
        { 0, "no-trunc", OPTION_BOOL, NULL, NULL, "Don't shorten anything", NULL, NULL, false },
        {},
};

const ClientCommand client_stats = {
        .usage = "[OPTIONS] [CONTAINER...]",
        .summary = "Display a live stream of container(s) resource usage statistics",
        .options = stats_options,
        .max_words = -1,
        .run = run_stats,
};
