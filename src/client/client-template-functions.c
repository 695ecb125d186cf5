/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What templates can call, and how values print. Arguments are borrowed; results are new references. */
#include <ctype.h>
#include <string.h>

#include "berth/json.h"
#include "berth/string.h"
#include "client-list.h"
#include "client-template-node.h"
#include "client-text.h"
#include "client.h"

/* --- printing --- */

static void put(Buffer *out, const char *s)
{
        client_must_zero(buffer_append_string(out, s));
}

/* A null stands for whatever type the engine's API declares there, and Go prints each in its own way. */
static const char *print_of_null(const char *key)
{
        static const char *const maps[] = { "Volumes", "ExposedPorts", "Labels",     "PortBindings",
                                            "Sysctls", "Tmpfs",        "DriverOpts", "Annotations",
                                            "Ports",   "Options",      "StorageOpt" };
        static const char *const pointers[] = { "PidsLimit", "OomKillDisable", "Init",        "MemorySwappiness",
                                                "Health",    "Healthcheck",    "StopTimeout", "IPAMConfig" };

        for (size_t i = 0; key && i < ARRAY_SIZE(maps); i++)
                if (strcmp(key, maps[i]) == 0)
                        return "map[]";
        for (size_t i = 0; key && i < ARRAY_SIZE(pointers); i++)
                if (strcmp(key, pointers[i]) == 0)
                        return "<nil>";
        return key ? "[]" : "<nil>";
}

static void print_json(Buffer *out, json_t *json, const char *key);

static void print_object(Buffer *out, json_t *object)
{
        CLEANUP_FREE const char **keys = client_sorted_keys(object);

        put(out, "map[");
        for (size_t i = 0; keys[i]; i++) {
                client_must_zero(buffer_printf(out, "%s%s:", i > 0 ? " " : "", keys[i]));
                print_json(out, json_object_get(object, keys[i]), keys[i]);
        }
        put(out, "]");
}

/* Objects in arrays are structures in the engine's API, of which Go prints the values alone. */
static void print_structure(Buffer *out, json_t *object)
{
        const char *key;
        json_t *value;
        bool first = true;

        put(out, "{");
        json_object_foreach(object, key, value) {
                put(out, first ? "" : " ");
                first = false;
                print_json(out, value, key);
        }
        put(out, "}");
}

static void print_json(Buffer *out, json_t *json, const char *key)
{
        switch (json_typeof(json)) {
        case JSON_OBJECT:
                print_object(out, json);
                break;
        case JSON_ARRAY:
                put(out, "[");
                for (size_t i = 0; i < json_array_size(json); i++) {
                        if (i > 0)
                                put(out, " ");
                        if (json_is_object(json_array_get(json, i)))
                                print_structure(out, json_array_get(json, i));
                        else
                                print_json(out, json_array_get(json, i), NULL);
                }
                put(out, "]");
                break;
        case JSON_STRING:
                client_must_zero(buffer_append(out, json_string_value(json), json_string_length(json)));
                break;
        case JSON_INTEGER:
                client_must_zero(buffer_printf(out, "%lld", (long long) json_integer_value(json)));
                break;
        case JSON_REAL: {
                char text[40];

                /* The shortest text that reads back as the same number. */
                if (json_real_value(json) > -1e15 && json_real_value(json) < 1e15 &&
                    json_real_value(json) == (double) (int64_t) json_real_value(json)) {
                        client_must_zero(buffer_printf(out, "%.0f", json_real_value(json)));
                        break;
                }
                for (int digits = 1; digits <= 17; digits++) {
                        snprintf(text, sizeof(text), "%.*g", digits, json_real_value(json));
                        if (strtod(text, NULL) == json_real_value(json))
                                break;
                }
                put(out, text);
                break;
        }
        case JSON_TRUE:
                put(out, "true");
                break;
        case JSON_FALSE:
                put(out, "false");
                break;
        default:
                put(out, print_of_null(key));
        }
}

void value_print(Buffer *out, const Value *value)
{
        if (value->kind == VALUE_JSON)
                print_json(out, value->json, value->key);
        else if (value->kind == VALUE_ABSENT)
                put(out, "<no value>");
}

static char *value_text(const Value *value)
{
        CLEANUP_BUFFER Buffer text = {};

        value_print(&text, value);
        return client_must(buffer_take(&text));
}

static json_t *json_of(const Value *value)
{
        return value->kind == VALUE_JSON ? value->json : NULL;
}

static bool is_text(const Value *value)
{
        return value->kind == VALUE_ZERO || json_is_string(json_of(value));
}

static const char *text_of(const Value *value)
{
        return json_string_value(json_of(value)) ?: "";
}

/* --- functions --- */

typedef int (*TemplateFunction)(Value *a, size_t n, Value *ret, Error *error);

static int bad(Error *error, const char *function, const char *message)
{
        return error_set(error, OUTCOME_BAD_REQUEST, "error calling %s: %s", function, message);
}

static int give_text(Value *ret, Buffer *text)
{
        char *s = client_must(buffer_take(text));
        json_t *json = json_string(s);

        /* Cutting a string in two can leave half a character. */
        *ret = value_of(json ?: json_string(""));
        free(s);
        return 0;
}

static int function_json(Value *a, size_t n, Value *ret, Error *error)
{
        CLEANUP_FREE char *text = NULL;
        CLEANUP_BUFFER Buffer escaped = {};

        (void) n;
        (void) error;
        text = json_of(a) ? json_dumps(json_of(a), JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))
                          : strdup("null");
        client_must(text);
        if (a->key != value_row_key) {
                *ret = value_of(json_string(text));
                return 0;
        }
        for (const char *s = text; *s; s++)
                client_must_zero(strchr("<>&", *s) ? buffer_printf(&escaped, "\\u%04x", *s)
                                                   : buffer_append(&escaped, s, 1));
        return give_text(ret, &escaped);
}

static int function_join(Value *a, size_t n, Value *ret, Error *error)
{
        CLEANUP_BUFFER Buffer text = {};

        (void) n;
        if (json_of(a) && !json_is_array(a->json) && !json_is_null(a->json))
                return bad(error, "join", "wrong type for value; expected []string");
        for (size_t i = 0; json_of(a) && i < json_array_size(a->json); i++) {
                if (i > 0)
                        put(&text, text_of(&a[1]));
                print_json(&text, json_array_get(a->json, i), NULL);
        }
        return give_text(ret, &text);
}

static int function_split(Value *a, size_t n, Value *ret, Error *error)
{
        const char *s = text_of(a), *separator = text_of(&a[1]), *next;
        json_t *list = client_must(json_array());

        (void) n;
        (void) error;
        while (*separator && (next = strstr(s, separator))) {
                client_must_zero(json_array_append_new(list, json_stringn(s, next - s)));
                s = next + strlen(separator);
        }
        client_must_zero(json_array_append_new(list, json_string(s)));
        *ret = value_of(list);
        return 0;
}

static int change_case(Value *a, Value *ret, int (*convert)(int), bool first_only)
{
        CLEANUP_FREE char *text = value_text(a);
        bool start = true;

        for (char *c = text; *c; c++) {
                if (start || !first_only)
                        *c = (char) convert((unsigned char) *c);
                start = isspace((unsigned char) *c);
        }
        *ret = value_of(json_string(text));
        return 0;
}

static int function_lower(Value *a, size_t n, Value *ret, Error *error)
{
        (void) n;
        (void) error;
        return change_case(a, ret, tolower, false);
}

static int function_upper(Value *a, size_t n, Value *ret, Error *error)
{
        (void) n;
        (void) error;
        return change_case(a, ret, toupper, false);
}

static int function_title(Value *a, size_t n, Value *ret, Error *error)
{
        (void) n;
        (void) error;
        return change_case(a, ret, toupper, true);
}

static int function_pad(Value *a, size_t n, Value *ret, Error *error)
{
        CLEANUP_BUFFER Buffer text = {};

        (void) n;
        (void) error;
        if (*text_of(a))
                client_must_zero(buffer_printf(&text, "%*s%s%*s", (int) json_integer_value(json_of(&a[1])), "",
                                               text_of(a), (int) json_integer_value(json_of(&a[2])), ""));
        return give_text(ret, &text);
}

static int function_truncate(Value *a, size_t n, Value *ret, Error *error)
{
        CLEANUP_BUFFER Buffer text = {};
        size_t length = json_integer_value(json_of(&a[1]));

        (void) n;
        (void) error;
        client_must_zero(buffer_append(&text, text_of(a), MIN(strlen(text_of(a)), length)));
        return give_text(ret, &text);
}

static int print_all(Value *a, size_t n, bool line, Value *ret)
{
        CLEANUP_BUFFER Buffer text = {};

        for (size_t i = 0; i < n; i++) {
                /* print puts blanks only between neighbours of which neither is a string. */
                if (i > 0 && (line || (!is_text(&a[i - 1]) && !is_text(&a[i]))))
                        put(&text, " ");
                value_print(&text, &a[i]);
        }
        if (line)
                put(&text, "\n");
        return give_text(ret, &text);
}

static int function_print(Value *a, size_t n, Value *ret, Error *error)
{
        (void) error;
        return print_all(a, n, false, ret);
}

static int function_println(Value *a, size_t n, Value *ret, Error *error)
{
        (void) error;
        return print_all(a, n, true, ret);
}

/* One conversion of printf; SPEC is its flags, width and precision, "%-10.3". */
static void format_value(Buffer *out, const char *spec, char verb, const Value *value)
{
        CLEANUP_FREE char *text = NULL, *format = NULL;
        json_t *json = json_of(value);
        int r;

        if (strchr("dxXocb", verb) && json_is_integer(json)) {
                format = client_must(str_printf("%sll%c", spec, verb == 'b' ? 'd' : verb));
                if (verb == 'c')
                        r = buffer_printf(out, "%c", (int) json_integer_value(json));
                else
                        r = buffer_printf(out, format, (long long) json_integer_value(json));
        } else if (strchr("eEfFgG", verb) && json_is_real(json)) {
                format = client_must(str_printf("%s%c", spec, verb));
                r = buffer_printf(out, format, json_real_value(json));
        } else if (verb == 'q' && is_text(value)) {
                CLEANUP_BUFFER Buffer quoted = {};

                client_must_zero(text_append_quoted(&quoted, text_of(value)));
                format = client_must(str_printf("%ss", spec));
                r = buffer_printf(out, format, quoted.data);
        } else if (verb == 'v' || (verb == 's' && !json_is_number(json) && !json_is_boolean(json)) ||
                   (verb == 't' && json_is_boolean(json))) {
                text = value_text(value);
                format = client_must(str_printf("%ss", spec));
                r = buffer_printf(out, format, text);
        } else {
                text = value_text(value);
                r = buffer_printf(out, "%%!%c(%s=%s)", verb,
                                  json_is_string(json)    ? "string"
                                  : json_is_integer(json) ? "int"
                                  : json_is_boolean(json) ? "bool"
                                                          : "float64",
                                  text);
        }
        client_must_zero(r);
}

static int function_printf(Value *a, size_t n, Value *ret, Error *error)
{
        CLEANUP_BUFFER Buffer out = {};
        size_t used = 1;

        if (!is_text(a))
                return bad(error, "printf", "wrong type for value; expected string");
        for (const char *s = text_of(a); *s;) {
                size_t literal = strcspn(s, "%"), flags;
                char spec[32] = "";

                client_must_zero(buffer_append(&out, s, literal));
                s += literal;
                if (!*s)
                        break;
                flags = 1 + strspn(s + 1, "+-# 0123456789.");
                if (!s[flags]) {
                        put(&out, "%!(NOVERB)");
                        break;
                }
                if (s[flags] == '%') {
                        put(&out, "%");
                } else if (used >= n) {
                        client_must_zero(buffer_printf(&out, "%%!%c(MISSING)", s[flags]));
                } else {
                        /* "%+v" is Go's own; C would see a sign. */
                        size_t skip = s[1] == '+' && s[flags] == 'v' ? 1 : 0;

                        snprintf(spec, sizeof(spec), "%%%.*s", (int) MIN(flags - 1 - skip, sizeof(spec) - 2),
                                 s + 1 + skip);
                        format_value(&out, spec, s[flags], &a[used++]);
                }
                s += flags + 1;
        }
        return give_text(ret, &out);
}

static int function_len(Value *a, size_t n, Value *ret, Error *error)
{
        json_t *json = json_of(a);

        (void) n;
        if (json_is_number(json) || json_is_boolean(json))
                return bad(error, "len", "len of type that has none");
        *ret = value_of(json_integer(json_is_object(json)   ? json_object_size(json)
                                     : json_is_array(json)  ? json_array_size(json)
                                     : json_is_string(json) ? json_string_length(json)
                                                            : 0));
        return 0;
}

static int function_index(Value *a, size_t n, Value *ret, Error *error)
{
        json_t *json = json_of(a);

        for (size_t i = 1; i < n; i++) {
                if (!json || (json_is_null(json) && !json_is_string(json_of(&a[i]))))
                        return bad(error, "index", "index of untyped nil");
                if (json_is_object(json) || json_is_null(json)) {
                        if (!is_text(&a[i]))
                                return bad(error, "index", "value has type int; should be string");
                        json = json_object_get(json, text_of(&a[i]));
                } else if (json_is_array(json) && json_is_integer(json_of(&a[i]))) {
                        json_int_t at = json_integer_value(a[i].json);

                        if (at < 0 || (size_t) at >= json_array_size(json))
                                return error_set(error, OUTCOME_BAD_REQUEST,
                                                 "error calling index: reflect: slice index out of range");
                        json = json_array_get(json, at);
                } else if (json_is_string(json) && json_is_integer(json_of(&a[i]))) {
                        json_int_t at = json_integer_value(a[i].json);

                        if (at < 0 || (size_t) at >= json_string_length(json))
                                return bad(error, "index", "index out of range");
                        *ret = value_of(json_integer((unsigned char) json_string_value(json)[at]));
                        return 0;
                } else {
                        return bad(error, "index", "can't index item");
                }
        }
        *ret = json ? value_borrow(json, NULL) : (Value) { .kind = VALUE_ZERO };
        return 0;
}

static int function_slice(Value *a, size_t n, Value *ret, Error *error)
{
        json_t *json = json_of(a);
        size_t length = json_is_array(json) ? json_array_size(json) : strlen(text_of(a));
        size_t from = n > 1 ? (size_t) json_integer_value(json_of(&a[1])) : 0;
        size_t to = n > 2 ? (size_t) json_integer_value(json_of(&a[2])) : length;

        if (!json_is_array(json) && !is_text(a))
                return bad(error, "slice", "can't slice item");
        if (from > to || to > length)
                return bad(error, "slice", "index out of range");
        if (json_is_array(json)) {
                json_t *part = client_must(json_array());

                for (size_t i = from; i < to; i++)
                        client_must_zero(json_array_append(part, json_array_get(json, i)));
                *ret = value_of(part);
        } else {
                CLEANUP_BUFFER Buffer text = {};

                client_must_zero(buffer_append(&text, text_of(a) + from, to - from));
                return give_text(ret, &text);
        }
        return 0;
}

static int function_not(Value *a, size_t n, Value *ret, Error *error)
{
        (void) n;
        (void) error;
        *ret = value_of(json_boolean(!value_true(a)));
        return 0;
}

static bool is_nothing(const Value *value)
{
        return value->kind == VALUE_ABSENT || (value->kind == VALUE_JSON && json_is_null(value->json));
}

/* Below, at or above zero as a is to b; an error where they do not compare. */
static int compare(const Value *a, const Value *b, const char *function, int *ret, Error *error)
{
        json_t *x = json_of(a), *y = json_of(b);

        if (is_nothing(a) || is_nothing(b))
                *ret = is_nothing(a) && is_nothing(b) ? 0 : 1;
        else if (is_text(a) && is_text(b))
                *ret = strcmp(text_of(a), text_of(b));
        else if (json_is_integer(x) && json_is_integer(y))
                *ret = json_integer_value(x) < json_integer_value(y)   ? -1
                       : json_integer_value(x) > json_integer_value(y) ? 1
                                                                       : 0;
        else if (json_is_number(x) && json_is_number(y))
                *ret = json_number_value(x) < json_number_value(y)   ? -1
                       : json_number_value(x) > json_number_value(y) ? 1
                                                                     : 0;
        else if (json_is_boolean(x) && json_is_boolean(y))
                *ret = json_is_true(x) - json_is_true(y);
        else if (a->kind == VALUE_ZERO || b->kind == VALUE_ZERO)
                *ret = 1;
        else
                return bad(error, function, "incompatible types for comparison");
        return 0;
}

static int function_eq(Value *a, size_t n, Value *ret, Error *error)
{
        bool equal = false;

        for (size_t i = 1; i < n && !equal; i++) {
                int order, r = compare(a, &a[i], "eq", &order, error);

                if (r != 0)
                        return r;
                equal = order == 0;
        }
        *ret = value_of(json_boolean(equal));
        return 0;
}

#define DEFINE_COMPARISON(name, test)                                            \
        static int function_##name(Value *a, size_t n, Value *ret, Error *error) \
        {                                                                        \
                int order, r = compare(a, &a[1], #name, &order, error);          \
                                                                                 \
                (void) n;                                                        \
                if (r == 0)                                                      \
                        *ret = value_of(json_boolean(order test 0));             \
                return r;                                                        \
        }
DEFINE_COMPARISON(ne, !=)
DEFINE_COMPARISON(lt, <)
DEFINE_COMPARISON(le, <=)
DEFINE_COMPARISON(gt, >)
DEFINE_COMPARISON(ge, >=)

static const struct {
        const char *name;
        TemplateFunction call; /* NULL: evaluated by client-template-eval.c */
        size_t min, max;
} functions[] = {
        { "and", NULL, 1, 16 },
        { "eq", function_eq, 2, 16 },
        { "ge", function_ge, 2, 2 },
        { "gt", function_gt, 2, 2 },
        { "index", function_index, 1, 16 },
        { "join", function_join, 2, 2 },
        { "json", function_json, 1, 1 },
        { "le", function_le, 2, 2 },
        { "len", function_len, 1, 1 },
        { "lower", function_lower, 1, 1 },
        { "lt", function_lt, 2, 2 },
        { "ne", function_ne, 2, 2 },
        { "not", function_not, 1, 1 },
        { "or", NULL, 1, 16 },
        { "pad", function_pad, 3, 3 },
        { "print", function_print, 0, 16 },
        { "printf", function_printf, 1, 16 },
        { "println", function_println, 0, 16 },
        { "slice", function_slice, 1, 3 },
        { "split", function_split, 2, 2 },
        { "title", function_title, 1, 1 },
        { "truncate", function_truncate, 2, 2 },
        { "upper", function_upper, 1, 1 },
};

bool template_function_exists(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
                if (strcmp(functions[i].name, name) == 0)
                        return true;
        return false;
}

int template_function_call(const char *name, Value *arguments, size_t n, Value *ret, Error *error)
{
        for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
                if (strcmp(functions[i].name, name) != 0)
                        continue;
                if (!functions[i].call || n < functions[i].min || n > functions[i].max)
                        return error_set(error, OUTCOME_BAD_REQUEST, "wrong number of args for %s: want %s%zu got %zu",
                                         name, functions[i].min == functions[i].max ? "" : "at least ",
                                         functions[i].min, n);
                return functions[i].call(arguments, n, ret, error);
        }
        return error_set(error, OUTCOME_BAD_REQUEST, "function \"%s\" not defined", name);
}
