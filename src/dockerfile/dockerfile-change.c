/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines of a Dockerfile applied to a configuration: text to lines, and each instruction's own rules by a table.
 * Comments and empty lines go, also between a line and its continuation. */
#include "berth/change.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <strings.h>

#include "berth/json.h"
#include "berth/signal.h"
#include "berth/string.h"
#include "dockerfile-private.h"

#define HEALTH_DURATION_MIN_NS 1000000

static int refuse(Error *error, const char *text)
{
        return error_set(error, OUTCOME_BAD_REQUEST, "%s", text);
}

/* --- What an instruction does ------------------------------------------------------------------------------------- */

static int expand(const Change *change, const char *word, Buffer *ret)
{
        return change_expand(word, change->escape, change->env, ret, change->error);
}

static int set_text(const Change *change, const char *key, const char *text)
{
        int r = json_set_string(change->config, key, text);

        return r == -EINVAL ? refuse(change->error, "invalid UTF-8 in an instruction") : r;
}

static json_t *object_of(const Change *change, const char *key)
{
        json_t *object = json_get_object(change->config, key);

        /* The container's own may be shared. */
        object = object ? json_deep_copy(object) : json_object();
        json_object_set_new(change->config, key, object);
        return object;
}

/* "NAME requires at least one argument", or exactly one. */
static int check_count(const Change *change, const ChangeInstruction *instruction, const char *what)
{
        CLEANUP_FREE char *name = str_upper(strdup(instruction->name));

        if (strv_length(instruction->words) > 0)
                return 0;
        return error_set(change->error, OUTCOME_BAD_REQUEST, "%s requires %s", name ?: "", what);
}

#define AT_LEAST_ONE "at least one argument"
#define EXACTLY_ONE "exactly one argument"

static json_t *command_words(const Change *change, const ChangeInstruction *instruction)
{
        json_t *words = json_from_strv(instruction->words), *shell = json_get_array(change->config, "Shell"), *command;

        if (instruction->json || !words)
                return words;
        command = json_array_size(shell) > 0 ? json_copy(shell) : json_pack("[ss]", "/bin/sh", "-c");
        json_array_extend(command, words);
        json_decref(words);
        return command;
}

static int apply_command(Change *change, const ChangeInstruction *instruction)
{
        change->command_set = change->command_set || strv_length(instruction->words) > 0;
        return json_object_set_new(change->config, "Cmd", command_words(change, instruction)) < 0 ? -ENOMEM : 0;
}

static int apply_entrypoint(Change *change, const ChangeInstruction *instruction)
{
        json_t *words = strv_length(instruction->words) > 0 ? command_words(change, instruction) : json_null();

        if (json_object_set_new(change->config, "Entrypoint", words) < 0)
                return -ENOMEM;
        if (!change->command_set)
                json_object_set_new(change->config, "Cmd", json_null());
        return 0;
}

static int set_variable(json_t *list, const char *name, const char *value)
{
        CLEANUP_FREE char *text = str_printf("%s=%s", name, value);
        size_t i, length = strlen(name);
        json_t *item, *string = text ? json_string(text) : NULL;

        if (!string)
                return text ? -EINVAL : -ENOMEM;
        json_array_foreach(list, i, item) {
                const char *other = json_string_value(item);
                if (other && strncmp(other, name, length) == 0 && (other[length] == '=' || !other[length]))
                        return json_array_set_new(list, i, string) < 0 ? -ENOMEM : 0;
        }
        return json_array_append_new(list, string) < 0 ? -ENOMEM : 0;
}

static int each_pair(Change *change, const ChangeInstruction *instruction, json_t *target,
                     int (*set)(json_t *target, const char *name, const char *value))
{
        char *const *words = instruction->words;

        for (size_t i = 0; words[i] && words[i + 1]; i += 2)
                if (!*words[i])
                        return error_set(change->error, OUTCOME_BAD_REQUEST, "%s names can not be blank",
                                         json_is_array(target) ? "ENV" : "LABEL");
        for (size_t i = 0; words[i] && words[i + 1]; i += 2) {
                CLEANUP_BUFFER Buffer name = { 0 }, value = { 0 };
                int r = expand(change, words[i], &name);

                if (r == 0)
                        r = expand(change, words[i + 1], &value);
                if (r == 0)
                        r = set(target, name.data, value.data);
                if (r == -EINVAL)
                        return refuse(change->error, "invalid UTF-8 in an instruction");
                if (r != 0)
                        return r;
        }
        return 0;
}

static int apply_env(Change *change, const ChangeInstruction *instruction)
{
        json_t *list = json_get_array(change->config, "Env");
        int r = check_count(change, instruction, AT_LEAST_ONE);

        if (r != 0)
                return r;
        list = list ? json_copy(list) : json_array();
        if (json_object_set_new(change->config, "Env", list) < 0)
                return -ENOMEM;
        return each_pair(change, instruction, list, set_variable);
}

static int apply_label(Change *change, const ChangeInstruction *instruction)
{
        int r = check_count(change, instruction, AT_LEAST_ONE);

        return r == 0 ? each_pair(change, instruction, object_of(change, "Labels"), json_set_string) : r;
}

static int parse_port(const char *text, int64_t *ret)
{
        return strspn(text, "0123456789") == strlen(text) ? str_to_int64(text, 0, 65535, ret) : -EINVAL;
}

static int parse_port_range(const char *text, int64_t *ret_first, int64_t *ret_last)
{
        CLEANUP_FREE char *copy = strdup(text);
        char *rest = copy, *first = strsep(&rest, "-"), *last = rest ? strsep(&rest, "-") : first;

        if (!copy)
                return -ENOMEM;
        if (parse_port(first, ret_first) < 0 || parse_port(last, ret_last) < 0 || *ret_last < *ret_first)
                return -EINVAL;
        return 0;
}

typedef struct PortSpec {
        const char *address, *host; /* NULL: not said */
        char *port, *protocol;
} PortSpec;

/* "[[IP:]HOST:]PORT[-PORT][/PROTOCOL]", in place. */
static PortSpec split_port(char *text)
{
        static char tcp[] = "tcp";
        PortSpec spec = { .protocol = tcp };
        char *colon = strrchr(text, ':'), *rest = text;

        if (colon) {
                *colon = 0;
                rest = colon + 1;
                spec.host = text;
                colon = strrchr(text, ':');
                if (colon) {
                        *colon = 0;
                        spec.host = colon + 1;
                        spec.address = text;
                }
        }
        spec.port = strsep(&rest, "/");
        char *protocol = rest ? strsep(&rest, "/") : NULL;
        if (!str_empty(protocol))
                spec.protocol = protocol;
        return spec;
}

static bool address_is_valid(const char *text)
{
        CLEANUP_FREE char *bare = strdup(*text == '[' ? text + 1 : text);
        struct in6_addr address;

        if (bare && *text == '[' && str_has_suffix(bare, "]"))
                bare[strlen(bare) - 1] = 0;
        return bare && (inet_pton(AF_INET, bare, &address) == 1 || inet_pton(AF_INET6, bare, &address) == 1);
}

/* What it would be published as is of no interest here, but has to be right. */
static int expose(const Change *change, json_t *ports, const char *text)
{
        static const char *const protocols[] = { "tcp", "udp", "sctp" };
        CLEANUP_FREE char *copy = strdup(text);
        int64_t first, last, host_first, host_last;
        PortSpec spec = copy ? split_port(copy) : (PortSpec) { 0 };
        size_t i = 0;

        if (!copy)
                return -ENOMEM;
        if (!str_empty(spec.address) && !address_is_valid(spec.address))
                return error_set(change->error, OUTCOME_BAD_REQUEST, "Invalid ip address: %s", spec.address);
        if (!*spec.port)
                return error_set(change->error, OUTCOME_BAD_REQUEST, "No port specified: %s<empty>", text);
        if (parse_port_range(spec.port, &first, &last) < 0)
                return error_set(change->error, OUTCOME_BAD_REQUEST, "Invalid containerPort: %s", spec.port);
        if (!str_empty(spec.host) && parse_port_range(spec.host, &host_first, &host_last) < 0)
                return error_set(change->error, OUTCOME_BAD_REQUEST, "Invalid hostPort: %s", spec.host);
        if (!str_empty(spec.host) && last > first && last - first != host_last - host_first)
                return error_set(change->error, OUTCOME_BAD_REQUEST,
                                 "Invalid ranges specified for container and host Ports: %s and %s", spec.port,
                                 spec.host);
        while (i < ARRAY_SIZE(protocols) && strcasecmp(protocols[i], spec.protocol) != 0)
                i++;
        if (i == ARRAY_SIZE(protocols))
                return error_set(change->error, OUTCOME_BAD_REQUEST, "Invalid proto: %s", spec.protocol);
        for (; first <= last; first++) {
                char key[32];

                snprintf(key, sizeof(key), "%lld/%s", (long long) first, protocols[i]);
                if (json_object_set_new(ports, key, json_object()) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int apply_expose(Change *change, const ChangeInstruction *instruction)
{
        json_t *ports = NULL;
        int r = check_count(change, instruction, AT_LEAST_ONE);

        if (r == 0)
                ports = object_of(change, "ExposedPorts");
        for (size_t i = 0; r == 0 && instruction->words[i]; i++) {
                CLEANUP_BUFFER Buffer text = { 0 };

                r = expand(change, instruction->words[i], &text);
                /* A variable may stand for several. */
                for (char *rest = text.data, *word; r == 0 && (word = strsep(&rest, BLANKS "\n"));)
                        if (*word)
                                r = expose(change, ports, word);
        }
        return r;
}

static int apply_volume(Change *change, const ChangeInstruction *instruction)
{
        json_t *volumes = NULL;
        int r = check_count(change, instruction, AT_LEAST_ONE);

        if (r == 0)
                volumes = object_of(change, "Volumes");
        for (size_t i = 0; r == 0 && instruction->words[i]; i++) {
                CLEANUP_BUFFER Buffer text = { 0 };

                r = expand(change, instruction->words[i], &text);
                if (r == 0 && !*text.data)
                        return refuse(change->error, "VOLUME specified can not be an empty string");
                if (r == 0 && json_object_set_new(volumes, text.data, json_object()) < 0)
                        return refuse(change->error, "invalid UTF-8 in an instruction");
        }
        return r;
}

static int expand_single(Change *change, const ChangeInstruction *instruction, Buffer *ret)
{
        int r = check_count(change, instruction, EXACTLY_ONE);

        return r == 0 ? expand(change, instruction->words[0], ret) : r;
}

static int apply_user(Change *change, const ChangeInstruction *instruction)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        int r = expand_single(change, instruction, &text);

        return r == 0 ? set_text(change, "User", text.data) : r;
}

int change_clean_path(const char *path, Buffer *ret)
{
        CLEANUP_FREE char *copy = strdup(path);
        char *rest = copy;
        int r = copy ? buffer_append_string(ret, "") : -ENOMEM;

        for (char *name; r >= 0 && (name = strsep(&rest, "/"));) {
                if (!*name || str_equal(name, "."))
                        continue;
                if (!str_equal(name, "..")) {
                        r = buffer_printf(ret, "/%s", name);
                        continue;
                }
                while (ret->size > 0 && ret->data[--ret->size] != '/')
                        ;
                ret->data[ret->size] = 0;
        }
        return r >= 0 && ret->size == 0 ? buffer_append_string(ret, "/") : r;
}

static int apply_workdir(Change *change, const ChangeInstruction *instruction)
{
        CLEANUP_BUFFER Buffer text = { 0 }, path = { 0 };
        CLEANUP_FREE char *joined = NULL;
        int r = expand_single(change, instruction, &text);

        if (r != 0)
                return r;
        if (!*text.data)
                return refuse(change->error, "cannot normalize nothing");
        joined = *text.data == '/'
                         ? strdup(text.data)
                         : str_printf("%s/%s", json_get_string_or(change->config, "WorkingDir", ""), text.data);
        r = joined ? change_clean_path(joined, &path) : -ENOMEM;
        return r < 0 ? r : set_text(change, "WorkingDir", path.data);
}

static int apply_signal(Change *change, const ChangeInstruction *instruction)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        int r = expand_single(change, instruction, &text), number;
        int64_t value;

        /* Any number may be one of this or another kernel's, but 0. */
        if (r == 0 &&
            (str_to_int64(text.data, INT32_MIN, INT32_MAX, &value) >= 0 ? value == 0
                                                                        : signal_parse(text.data, &number) < 0))
                return error_set(change->error, OUTCOME_BAD_REQUEST, "invalid signal: %s", text.data);
        return r == 0 ? set_text(change, "StopSignal", text.data) : r;
}

static int apply_trigger(Change *change, const ChangeInstruction *instruction)
{
        const char *text = instruction->original + strlen(instruction->name);
        json_t *list = json_get_array(change->config, "OnBuild");
        int r = check_count(change, instruction, AT_LEAST_ONE);

        if (r != 0)
                return r;
        if (strcasecmp(instruction->words[0], "ONBUILD") == 0)
                return refuse(change->error, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
        for (size_t i = 0; i < 2; i++) {
                const char *name = i == 0 ? "MAINTAINER" : "FROM";
                if (strcasecmp(instruction->words[0], name) == 0)
                        return error_set(change->error, OUTCOME_BAD_REQUEST, "%s isn't allowed as an ONBUILD trigger",
                                         name);
        }
        list = list ? json_copy(list) : json_array();
        if (json_object_set_new(change->config, "OnBuild", list) < 0)
                return -ENOMEM;
        if (json_array_append_new(list, json_string(text + strspn(text, BLANKS))) < 0)
                return refuse(change->error, "invalid UTF-8 in an instruction");
        return 0;
}

/* --- HEALTHCHECK -------------------------------------------------------------------------------------------------- */

static const struct {
        const char *flag, *key;
} health_flags[] = {
        { "interval", "Interval" },        { "timeout", "Timeout" },
        { "start-period", "StartPeriod" }, { "start-interval", "StartInterval" },
        { "retries", "Retries" },
};

/* A number without a unit, with one that nobody knows, or no number. */
static int refuse_duration(const Change *change, const char *text)
{
        static const char *const units[] = { "ns", "us", "µs", "μs", "ms", "s", "m", "h" };
        const char *p = text + strspn(text, "+-"), *unit = p + strspn(p, "0123456789.");
        size_t size = strcspn(unit, "0123456789."), i = 0;

        if (unit > p && size == 0)
                return error_set(change->error, OUTCOME_BAD_REQUEST, "time: missing unit in duration \"%s\"", text);
        while (i < ARRAY_SIZE(units) && (strlen(units[i]) != size || strncmp(unit, units[i], size) != 0))
                i++;
        if (unit > p && i == ARRAY_SIZE(units))
                return error_set(change->error, OUTCOME_BAD_REQUEST, "time: unknown unit \"%.*s\" in duration \"%s\"",
                                 (int) size, unit, text);
        return error_set(change->error, OUTCOME_BAD_REQUEST, "time: invalid duration \"%s\"", text);
}

static int set_duration(const Change *change, json_t *health, size_t flag, const char *text)
{
        int64_t ns;

        if (duration_parse(text, &ns) < 0)
                return refuse_duration(change, text);
        if (ns != 0 && ns < HEALTH_DURATION_MIN_NS)
                return error_set(change->error, OUTCOME_BAD_REQUEST, "Interval \"%s\" cannot be less than 1ms",
                                 health_flags[flag].flag);
        return ns == 0 ? 0 : json_set_int(health, health_flags[flag].key, ns);
}

static int set_retries(const Change *change, json_t *health, const char *text)
{
        int64_t number;
        int r = str_to_int64(text, INT32_MIN, INT32_MAX, &number);

        if (r < 0)
                return error_set(change->error, OUTCOME_BAD_REQUEST, "strconv.ParseInt: parsing \"%s\": %s", text,
                                 str_number_problem(r));
        if (number < 0)
                return error_set(change->error, OUTCOME_BAD_REQUEST, "--retries cannot be negative (%lld)",
                                 (long long) number);
        return number == 0 ? 0 : json_set_int(health, "Retries", number);
}

/* Which of the known flags the text is, and its value. */
static int read_flag(const Change *change, const char *text, unsigned *seen, size_t *ret_flag, const char **ret_value)
{
        const char *name = text + 2, *equals = strchr(name, '=');
        size_t length = equals ? (size_t) (equals - name) : strlen(name), i = 0;

        while (i < ARRAY_SIZE(health_flags) &&
               (strlen(health_flags[i].flag) != length || strncmp(health_flags[i].flag, name, length) != 0))
                i++;
        if (i == ARRAY_SIZE(health_flags))
                return error_set(change->error, OUTCOME_BAD_REQUEST, "unknown flag: %.*s", (int) length, name);
        if (*seen & 1U << i)
                return error_set(change->error, OUTCOME_BAD_REQUEST, "duplicate flag specified: %s",
                                 health_flags[i].flag);
        if (!equals)
                return error_set(change->error, OUTCOME_BAD_REQUEST, "missing a value on flag: %s",
                                 health_flags[i].flag);
        *seen |= 1U << i;
        *ret_flag = i;
        *ret_value = equals + 1;
        return 0;
}

static int check_health_command(const Change *change, const ChangeInstruction *instruction)
{
        char *const *words = instruction->words;
        CLEANUP_FREE char *type = str_upper(strdup(words[0]));

        if (!str_equal(type, "CMD"))
                return error_set(change->error, OUTCOME_BAD_REQUEST, "Unknown type \"%s\" in HEALTHCHECK (try CMD)",
                                 type ?: "");
        return words[1] ? 0 : refuse(change->error, "Missing command after HEALTHCHECK CMD");
}

static int make_health(const Change *change, const ChangeInstruction *instruction, json_t *health)
{
        const char *values[ARRAY_SIZE(health_flags)] = { NULL }, *value = NULL;
        json_t *test;
        unsigned seen = 0;
        size_t flag = 0;
        int r = 0;

        for (size_t i = 0; r == 0 && instruction->flags[i]; i++) {
                r = read_flag(change, instruction->flags[i], &seen, &flag, &value);
                if (r == 0)
                        values[flag] = value;
        }
        if (r == 0)
                r = check_health_command(change, instruction);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(health_flags); i++)
                if (!str_empty(values[i]))
                        r = str_equal(health_flags[i].flag, "retries") ? set_retries(change, health, values[i])
                                                                       : set_duration(change, health, i, values[i]);
        if (r != 0)
                return r;
        test = json_from_strv(instruction->words);
        json_array_set_new(test, 0, json_string(instruction->json ? "CMD" : "CMD-SHELL"));
        return json_object_set_new(health, "Test", test) < 0 ? -ENOMEM : 0;
}

static int apply_health(Change *change, const ChangeInstruction *instruction)
{
        int r = check_count(change, instruction, AT_LEAST_ONE);

        if (r != 0)
                return r;
        if (strcasecmp(instruction->words[0], "NONE") == 0) {
                if (instruction->words[1])
                        return refuse(change->error, "HEALTHCHECK NONE takes no arguments");
                return json_object_set_new(change->config, "Healthcheck", json_pack("{s[s]}", "Test", "NONE"));
        }
        CLEANUP_JSON json_t *health = json_object();
        r = make_health(change, instruction, health);
        return r == 0 ? json_object_set(change->config, "Healthcheck", health) : r;
}

/* --- All together ------------------------------------------------------------------------------------------------- */

static const struct {
        const char *name;
        int (*apply)(Change *change, const ChangeInstruction *instruction);
} changes_known[] = {
        { "CMD", apply_command },     { "ENTRYPOINT", apply_entrypoint }, { "ENV", apply_env },
        { "EXPOSE", apply_expose },   { "HEALTHCHECK", apply_health },    { "LABEL", apply_label },
        { "ONBUILD", apply_trigger }, { "STOPSIGNAL", apply_signal },     { "USER", apply_user },
        { "VOLUME", apply_volume },   { "WORKDIR", apply_workdir },
};

static size_t find_change(const char *name)
{
        size_t i = 0;

        while (i < ARRAY_SIZE(changes_known) && strcasecmp(changes_known[i].name, name) != 0)
                i++;
        return i;
}

bool change_is_known(const char *name)
{
        return find_change(name) < ARRAY_SIZE(changes_known);
}

int change_take_environment(Change *change)
{
        json_t *own = json_get_array(change->config, "Env"), *env = own ? json_deep_copy(own) : json_array();

        if (!env || (change->arguments && json_array_extend(env, (json_t *) change->arguments) < 0)) {
                json_decref(env);
                return -ENOMEM;
        }
        json_decref(change->env);
        change->env = env;
        return 0;
}

int change_apply_instruction(Change *change, const ChangeInstruction *instruction)
{
        size_t i = find_change(instruction->name);
        bool health = str_equal(changes_known[i].name, "HEALTHCHECK");

        if (!health && instruction->flags[0]) {
                const char *name = instruction->flags[0] + 2;
                return error_set(change->error, OUTCOME_BAD_REQUEST, "unknown flag: %.*s", (int) strcspn(name, "="),
                                 name);
        }
        int r = change_take_environment(change);
        return r < 0 ? r : changes_known[i].apply(change, instruction);
}

static char *join_lines(char *const *changes)
{
        CLEANUP_BUFFER Buffer text = { 0 };

        for (size_t i = 0; changes[i]; i++)
                if (buffer_printf(&text, "%s\n", changes[i]) < 0)
                        return NULL;
        return buffer_take(&text);
}

typedef struct Instructions {
        ChangeInstruction *items; /* owned */
        size_t count;
} Instructions;

static void instructions_clear(Instructions *list)
{
        for (size_t i = 0; i < list->count; i++)
                change_instruction_clear(&list->items[i]);
        free(list->items);
}

static int read_instructions(char *text, char escape, Instructions *list, Error *error)
{
        CLEANUP_BUFFER Buffer line = { 0 };
        LineReader reader = { .rest = text, .escape = escape };
        unsigned first;
        int r;

        while ((r = line_reader_next(&reader, &line, &first)) > 0) {
                ChangeInstruction *grown = reallocarray(list->items, list->count + 1, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                list->items = grown;
                grown[list->count] = (ChangeInstruction) { 0 };
                r = change_parse_line(line.data ?: "", escape, &grown[list->count], error);
                if (r != 0)
                        return r;
                list->count++;
        }
        return r;
}

int change_apply(json_t *config, char *const *changes, Error *error)
{
        CLEANUP(instructions_clear) Instructions list = { 0 };
        CLEANUP_FREE char *text = NULL;
        Change change = { .config = config, .escape = '\\', .error = error };
        int r;

        if (strv_length(changes) == 0)
                return 0;
        text = join_lines(changes);
        CLEANUP_JSON json_t *checked = text ? json_string(text) : NULL;
        if (text && !checked)
                return refuse(error, "invalid UTF-8 in an instruction");
        r = text ? read_instructions(text, change.escape, &list, error) : -ENOMEM;
        if (r == 0 && list.count == 0)
                return refuse(error, "file with no instructions");
        for (size_t i = 0; r == 0 && i < list.count; i++)
                if (find_change(list.items[i].name) == ARRAY_SIZE(changes_known))
                        return error_set(error, OUTCOME_BAD_REQUEST, "%s is not a valid change command",
                                         list.items[i].name);
        for (size_t i = 0; r == 0 && i < list.count; i++)
                r = change_apply_instruction(&change, &list.items[i]);
        json_decref(change.env);
        return r;
}
