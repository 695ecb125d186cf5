/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Docker's list filters, in both forms clients send. */
#include "berth/json.h"
#include "engine-private.h"

void filters_each(const json_t *filters, const char *key, void (*each)(const char *value, void *userdata),
                  void *userdata)
{
        json_t *values = json_object_get(filters, key), *value;
        const char *name;
        size_t i;

        if (json_is_array(values))
                json_array_foreach(values, i, value) {
                        if (json_is_string(value))
                                each(json_string_value(value), userdata);
                }
        else
                json_object_foreach(values, name, value) {
                        if (json_is_true(value))
                                each(name, userdata);
                }
}

int filters_check(const json_t *filters, const char *const *known, Error *error)
{
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) filters, key, value) {
                const char *const *k = known;
                while (*k && !str_equal(*k, key))
                        k++;
                if (!*k)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid filter '%s'", key);
                if (!json_is_array(value) && !json_is_object(value))
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid filter");
        }
        return 0;
}

bool filters_has(const json_t *filters, const char *key)
{
        const json_t *values = json_object_get(filters, key);

        return json_array_size(values) > 0 || json_object_size(values) > 0;
}

static void take_moment(const char *value, void *userdata)
{
        const char **taken = userdata;

        if (!taken[0])
                taken[0] = value;
        else
                taken[1] = value;
}

int filters_check_moment(const json_t *filters, const char *key, Error *error)
{
        const char *taken[2] = { NULL, NULL };
        int64_t ns;

        filters_each(filters, key, take_moment, taken);
        if (taken[1])
                return error_set(error, OUTCOME_BAD_REQUEST, "more than one %s filter specified", key);
        if (taken[0] && time_parse_query(taken[0], time_now_ns(), &ns) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "failed to parse value as time or duration: \"%s\"",
                                 taken[0]);
        return 0;
}

typedef struct Any {
        bool (*match)(const char *value, const void *userdata);
        const void *userdata;
        bool found;
} Any;

static void try_any(const char *value, void *userdata)
{
        Any *any = userdata;

        any->found = any->found || any->match(value, any->userdata);
}

bool filters_any(const json_t *filters, const char *key, bool (*match)(const char *value, const void *userdata),
                 const void *userdata)
{
        Any any = { match, userdata, false };

        if (!filters_has(filters, key))
                return true;
        filters_each(filters, key, try_any, &any);
        return any.found;
}

typedef struct Labels {
        const json_t *labels;
        bool all, any;
} Labels;

static void try_label(const char *value, void *userdata)
{
        Labels *wanted = userdata;
        CLEANUP_FREE char *key = strdup(value);
        char *equals = key ? strchr(key, '=') : NULL;

        if (equals)
                *equals = 0;
        const char *found = key ? json_get_string(wanted->labels, key) : NULL;
        if (!found || (equals && !str_equal(found, equals + 1)))
                wanted->all = false;
        else
                wanted->any = true;
}

bool filters_labels(const json_t *filters, const json_t *labels)
{
        Labels wanted = { labels, true, false }, unwanted = { labels, true, false };

        filters_each(filters, "label", try_label, &wanted);
        filters_each(filters, "label!", try_label, &unwanted);
        return wanted.all && !unwanted.any;
}
