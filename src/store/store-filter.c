/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The values of filters, in both forms that clients send: ["a", "b"] and {"a": true, "b": true}. */
#include <string.h>

#include "berth/buffer.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"

static int read_values(const json_t *values, bool all, char ***ret)
{
        char **result CLEANUP_STRV = calloc(1, sizeof(char *));
        const char *key;
        json_t *item;
        size_t i;

        if (!result)
                return -ENOMEM;
        if (json_is_array(values))
                json_array_foreach(values, i, item)
                        if (strv_append(&result, json_string_value(item) ?: "") < 0)
                                return -ENOMEM;
        json_object_foreach((json_t *) values, key, item)
                if ((all || json_is_true(item)) && strv_append(&result, key) < 0)
                        return -ENOMEM;
        *ret = TAKE_PTR(result);
        return 0;
}

int store_filter_values(const json_t *values, char ***ret)
{
        return read_values(values, false, ret);
}

int store_filter_bool(const char *name, const json_t *values, bool *ret, Error *error)
{
        char **given CLEANUP_STRV = NULL, **named CLEANUP_STRV = NULL;
        Buffer joined CLEANUP_BUFFER = {};
        int r = read_values(values, false, &given);

        if (r >= 0)
                r = read_values(values, true, &named);
        if (r < 0)
                return r;
        bool yes = strv_contains(given, "1") || strv_contains(given, "true"),
             no = strv_contains(given, "0") || strv_contains(given, "false");
        if (yes != no) {
                *ret = yes;
                return 0;
        }
        if (!*named)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid filter '%s'", name);
        for (size_t i = 0; named[i]; i++)
                if (buffer_printf(&joined, "%s%s", i > 0 ? " " : "", named[i]) < 0)
                        return -ENOMEM;
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid filter '%s=[%s]'", name, joined.data);
}
