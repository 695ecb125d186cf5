/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GET /containers/json: which containers it shows, in which order, and each one's entry. */
#include <ctype.h>
#include <regex.h>
#include <string.h>

#include "berth/json.h"
#include "engine-private.h"

#define EXPRESSION_MAX 1024

static const char *health_text(const Container *container)
{
        const char *status = container_health_status(container);

        if (str_equal(status, "none"))
                return "";
        return str_equal(status, "starting")  ? " (health: starting)"
               : str_equal(status, "healthy") ? " (healthy)"
                                              : " (unhealthy)";
}

static char *status_text(const Container *container)
{
        int64_t now = time_now_ns();
        CLEANUP_FREE char *span = NULL;

        if (container->removing)
                return strdup("Removal In Progress");
        if (container_is_running(container)) {
                span = duration_words((now - container->started_ns) / 1000000000);
                return span ? str_printf("Up %s%s", span, container->paused ? " (Paused)" : health_text(container))
                            : NULL;
        }
        if (container->status != CONTAINER_EXITED)
                return strdup("Created");
        span = duration_words((now - container->finished_ns) / 1000000000);
        if (container->restarting)
                return span ? str_printf("Restarting (%d) %s ago", container->exit_code, span) : NULL;
        return span ? str_printf("Exited (%d) %s ago", container->exit_code, span) : NULL;
}

static char *command_text(const Container *container)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        json_t *argument;
        size_t i;

        buffer_append_string(&text, json_get_string_or(container->record, "Path", ""));
        json_array_foreach(json_object_get(container->record, "Args"), i, argument) {
                const char *s = json_string_value(argument);
                bool quote = strchr(s, ' ');
                buffer_printf(&text, quote ? " '%s'" : " %s", s);
        }
        return buffer_take(&text);
}

/* Its own and those by links, sorted. */
static json_t *all_names(const Container *container, const json_t *link_names)
{
        json_t *names = json_array(), *entry;
        size_t i, at;

        json_array_append_new(names, json_sprintf("/%s", container->name));
        json_array_foreach(json_object_get(link_names, container->id), i, entry) {
                for (at = 0; at < json_array_size(names) &&
                             strcmp(json_string_value(json_array_get(names, at)), json_string_value(entry)) < 0;)
                        at++;
                json_array_insert(names, at, entry);
        }
        return names;
}

static json_t *list_entry(const Container *container, const json_t *link_names, bool size)
{
        CLEANUP_FREE char *command = command_text(container), *status = status_text(container);
        CLEANUP_JSON json_t *network = container_network_settings(container), *mounts = NULL;

        if (!command || !status || container_mounts(container, &mounts) < 0)
                return NULL;
        json_t *entry = json_pack(
                "{ss so sO? sO? ss sI so sO? ss ss s{ss} s{sO?} sO}", "Id", container->id, "Names",
                all_names(container, link_names), "Image", json_object_get(container_config(container), "Image"),
                "ImageID", json_object_get(container->record, "Image"), "Command", command, "Created",
                (json_int_t) (container->created_ns / 1000000000), "Ports", container_ports_list(container), "Labels",
                json_object_get(container_config(container), "Labels"), "State", container_status_name(container),
                "Status", status, "HostConfig", "NetworkMode", container_network_mode(container), "NetworkSettings",
                "Networks", json_object_get(network, "Networks"), "Mounts", mounts);
        if (entry && size) {
                int64_t own = container_upper_size(container);
                if (own > 0)
                        json_set_int(entry, "SizeRw", own);
                json_set_int(entry, "SizeRootFs", own + container_image_size(container));
        }
        return entry;
}

/* Values of some filters are regular expressions, found anywhere. Those that could cost a lot are taken literally:
 * repetitions by number, which multiply, and references back. */
static bool match_expression(const char *expression, const char *text)
{
        regex_t compiled;
        const char *back = strchr(expression, '\\');

        if (strlen(expression) > EXPRESSION_MAX || strchr(expression, '{') || (back && strchr("123456789", back[1])) ||
            regcomp(&compiled, expression, REG_EXTENDED | REG_NOSUB) != 0)
                return strstr(text, expression) != NULL;
        bool found = regexec(&compiled, text, 0, NULL, 0) == 0;
        regfree(&compiled);
        return found;
}

static bool match_id(const char *value, const void *userdata)
{
        return match_expression(value, ((const Container *) userdata)->id);
}

static bool match_name(const char *value, const void *userdata)
{
        CLEANUP_FREE char *name = str_printf("/%s", ((const Container *) userdata)->name);

        return name && (match_expression(value, name) || match_expression(value, name + 1));
}

static bool match_status(const char *value, const void *userdata)
{
        return str_equal(value, container_status_name(userdata));
}

static bool match_exited(const char *value, const void *userdata)
{
        const Container *container = userdata;
        int64_t code;

        return container->status == CONTAINER_EXITED && !container->restarting &&
               str_to_int64(value, INT_MIN, INT_MAX, &code) >= 0 && code == container->exit_code;
}

static bool match_network(const char *value, const void *userdata)
{
        const Container *container = userdata;
        json_t *settings;
        const char *name;

        json_object_foreach(container_networks(container), name, settings) {
                if (str_equal(name, value) || str_equal(json_get_string(settings, "NetworkID"), value))
                        return true;
        }
        return false;
}

static bool match_ancestor(const char *value, const void *userdata)
{
        const Container *container = userdata;
        CLEANUP_FREE char *id = NULL;

        return store_resolve(container->engine->store, value, &id, NULL) == 0 &&
               str_equal(id, json_get_string(container->record, "Image"));
}

static bool match_health(const char *value, const void *userdata)
{
        return str_equal(value, container_health_status(userdata));
}

/* Containers of a swarm's tasks; there is no swarm. */
static bool match_task(const char *value, const void *userdata)
{
        (void) userdata;
        return !str_to_bool(value);
}

static bool match_volume(const char *value, const void *userdata)
{
        CLEANUP_JSON json_t *mounts = NULL;
        json_t *mount;
        size_t i;

        if (container_mounts(userdata, &mounts) < 0)
                return false;
        json_array_foreach(mounts, i, mount) {
                if (str_equal(value, json_get_string(mount, "Destination")) ||
                    str_equal(value, json_get_string(mount, "Source")) ||
                    str_equal(value, json_get_string(mount, "Name")))
                        return true;
        }
        return false;
}

/* "80", "80/udp" or "80-90/tcp". Where it is none of these, *ret_problem, owned by the caller, says why. */
static int parse_ports(const char *value, int64_t *ret_low, int64_t *ret_high, char **ret_problem)
{
        CLEANUP_FREE char *range = strndup(value, strcspn(value, "/"));
        char *dash = range ? strchr(range, '-') : NULL;
        const char *ends[2];
        int64_t numbers[2];

        if (!range)
                return -ENOMEM;
        if (dash)
                *dash++ = 0;
        ends[0] = range;
        ends[1] = dash ? dash : range;
        for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
                int r = isdigit((unsigned char) *ends[i]) ? str_to_int64(ends[i], 0, UINT16_MAX, &numbers[i]) : -EINVAL;
                if (r < 0) {
                        *ret_problem = !*range && !dash ? strdup("Empty string specified for ports.")
                                                        : str_printf("strconv.ParseUint: parsing \"%s\": %s", ends[i],
                                                                     str_number_problem(r));
                        return -EINVAL;
                }
        }
        if (numbers[1] < numbers[0]) {
                *ret_problem = str_printf("Invalid range specified for the Port: %s-%s", ends[0], ends[1]);
                return -EINVAL;
        }
        *ret_low = numbers[0];
        *ret_high = numbers[1];
        return 0;
}

/* PORTS has "80/tcp" as keys. */
static bool match_port(const char *value, const json_t *ports)
{
        CLEANUP_FREE char *problem = NULL;
        const char *protocol = strchr(value, '/'), *port;
        int64_t low = 0, high = 0;
        json_t *ignored;

        if (parse_ports(value, &low, &high, &problem) < 0)
                return false;
        json_object_foreach((json_t *) ports, port, ignored) {
                const char *slash = strchr(port, '/');
                long number = strtol(port, NULL, 10);
                if (number >= low && number <= high && str_equal(slash ? slash : "/tcp", protocol ? protocol : "/tcp"))
                        return true;
        }
        return false;
}

static bool match_publish(const char *value, const void *userdata)
{
        return match_port(value, json_get_object(container_host_config(userdata), "PortBindings"));
}

static bool match_expose(const char *value, const void *userdata)
{
        return match_port(value, json_get_object(container_config(userdata), "ExposedPorts")) ||
               match_publish(value, userdata);
}

static bool wants_stopped(const ContainerListQuery *query)
{
        return query->all || query->limit > 0 || filters_has(query->filters, "status");
}

static bool is_wanted(const Container *container, const ContainerListQuery *query)
{
        static const struct {
                const char *key;
                bool (*match)(const char *value, const void *userdata);
        } rules[] = {
                { "id", match_id },           { "name", match_name },       { "status", match_status },
                { "exited", match_exited },   { "network", match_network }, { "ancestor", match_ancestor },
                { "health", match_health },   { "is-task", match_task },    { "volume", match_volume },
                { "publish", match_publish }, { "expose", match_expose },
        };

        if (!wants_stopped(query) && !container_is_up(container))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
                if (!filters_any(query->filters, rules[i].key, rules[i].match, container))
                        return false;
        return filters_labels(query->filters, json_object_get(container_config(container), "Labels"));
}

static int newest_first(const void *a, const void *b)
{
        const Container *x = *(Container *const *) a, *y = *(Container *const *) b;

        return (x->created_ns < y->created_ns) - (x->created_ns > y->created_ns);
}

typedef struct Bounds {
        Engine *engine;
        int64_t after_ns, before_ns;
        Error *error;
        int result;
} Bounds;

static void read_bound(const char *value, Bounds *bounds, int64_t *ret_ns)
{
        Container *container;
        int r = engine_container_find(bounds->engine, value, &container, bounds->error);

        if (r == 0)
                *ret_ns = container->created_ns;
        else
                bounds->result = r;
}

static void read_since(const char *value, void *userdata)
{
        Bounds *bounds = userdata;

        read_bound(value, bounds, &bounds->after_ns);
}

static void read_before(const char *value, void *userdata)
{
        Bounds *bounds = userdata;

        read_bound(value, bounds, &bounds->before_ns);
}

typedef struct ValueCheck {
        const char *key;
        const char *allowed; /* words between blanks; NULL: an integer */
        Error *error;
        int result;
} ValueCheck;

static void check_value(const char *value, void *userdata)
{
        ValueCheck *check = userdata;
        CLEANUP_FREE char *word = str_printf(" %s ", value);
        int64_t number;
        bool good = check->allowed ? word && strstr(check->allowed, word)
                                   : str_to_int64(value, INT_MIN, INT_MAX, &number) >= 0;

        if (good)
                return;
        if (!check->allowed)
                check->result = error_set(check->error, OUTCOME_BAD_REQUEST,
                                          "invalid filter '%s=%s': strconv.Atoi: parsing \"%s\": invalid syntax",
                                          check->key, value, value);
        else if (str_equal(check->key, "health"))
                check->result =
                        error_set(check->error, OUTCOME_BAD_REQUEST, "unrecognized filter value for health: %s", value);
        else
                check->result =
                        error_set(check->error, OUTCOME_BAD_REQUEST, "invalid filter '%s=%s'", check->key, value);
}

static void check_ports(const char *value, void *userdata)
{
        ValueCheck *check = userdata;
        CLEANUP_FREE char *problem = NULL;
        int64_t low, high;

        if (parse_ports(value, &low, &high, &problem) < 0)
                check->result = error_set(check->error, OUTCOME_BAD_REQUEST, "error while looking up for %s %s: %s",
                                          check->key, value, problem ? problem : "out of memory");
}

static int check_filter_values(const json_t *filters, Error *error)
{
        static const char *const ports[] = { "expose", "publish" };
        static const struct {
                const char *key, *allowed;
        } rules[] = { { "status", " created restarting running removing paused exited dead " },
                      { "health", " none starting healthy unhealthy " },
                      { "exited", NULL } };

        for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
                ValueCheck check = { rules[i].key, rules[i].allowed, error, 0 };
                filters_each(filters, rules[i].key, check_value, &check);
                if (check.result != 0)
                        return check.result;
        }
        for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
                ValueCheck check = { ports[i], NULL, error, 0 };
                filters_each(filters, ports[i], check_ports, &check);
                if (check.result != 0)
                        return check.result;
        }
        return 0;
}

int engine_container_list(Engine *engine, const ContainerListQuery *query, json_t **ret_list, Error *error)
{
        static const char *const known[] = { "ancestor",  "before",  "expose", "exited", "health",  "id",
                                             "isolation", "is-task", "label",  "name",   "network", "publish",
                                             "since",     "status",  "volume", NULL };
        Bounds bounds = { engine, INT64_MIN, INT64_MAX, error, 0 };
        Container *container;
        size_t n = 0, taken = 0;
        int r = filters_check(query->filters, known, error);

        if (r == 0)
                r = check_filter_values(query->filters, error);
        if (r != 0)
                return r;
        filters_each(query->filters, "since", read_since, &bounds);
        filters_each(query->filters, "before", read_before, &bounds);
        if (bounds.result != 0)
                return bounds.result;
        if (wants_stopped(query))
                engine_ensure_all(engine);
        LIST_FOREACH(container, &engine->containers, link)
                n++;
        CLEANUP_FREE Container **sorted = calloc(n + 1, sizeof(Container *));
        CLEANUP_JSON json_t *list = json_array(), *names = legacy_link_names(engine, wants_stopped(query));
        if (!sorted || !list || !names)
                return -ENOMEM;
        n = 0;
        LIST_FOREACH(container, &engine->containers, link)
                if (container->record && container->created_ns > bounds.after_ns &&
                    container->created_ns < bounds.before_ns)
                        sorted[n++] = container;
        qsort(sorted, n, sizeof(*sorted), newest_first);
        for (size_t i = 0; i < n && (query->limit <= 0 || (int64_t) taken < query->limit); i++) {
                if (!is_wanted(sorted[i], query))
                        continue;
                if (json_array_append_new(list, list_entry(sorted[i], names, query->size)) < 0)
                        return -ENOMEM;
                taken++;
        }
        *ret_list = TAKE_PTR(list);
        return 0;
}
