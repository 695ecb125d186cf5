/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running a template's tree over JSON. Values own their JSON; variables live in one stack that blocks cut back. */
#include <string.h>

#include "berth/string.h"
#include "client-list.h"
#include "client-template-node.h"
#include "client-text.h"
#include "client.h"

#define VARIABLES_MAX 64
#define ARGUMENTS_MAX 16

typedef struct Variable {
        const char *name; /* borrowed from the tree */
        Value value;
} Variable;

typedef enum Flow {
        FLOW_ON = 0,
        FLOW_BREAK = -1,
        FLOW_CONTINUE = -2,
} Flow;

typedef struct Run {
        const ClientTemplate *template;
        json_t *methods; /* borrowed, NULL: none */
        json_t *data;    /* borrowed: the dot methods belong to */
        Variable variables[VARIABLES_MAX];
        size_t n_variables;
        Buffer *out;
        Error *error;
} Run;

const char value_row_key[] = "";

void value_clear(Value *value)
{
        if (value->json)
                json_decref(value->json);
        *value = (Value) {};
}

Value value_of(json_t *json)
{
        return (Value) { .kind = VALUE_JSON, .json = client_must(json) };
}

Value value_borrow(json_t *json, const char *key)
{
        return (Value) { .kind = VALUE_JSON, .json = json_incref(json), .key = key };
}

static Value value_copy(const Value *value)
{
        Value copy = *value;

        if (copy.json)
                json_incref(copy.json);
        return copy;
}

bool value_true(const Value *value)
{
        if (value->kind != VALUE_JSON)
                return false;
        switch (json_typeof(value->json)) {
        case JSON_OBJECT:
                return json_object_size(value->json) > 0;
        case JSON_ARRAY:
                return json_array_size(value->json) > 0;
        case JSON_STRING:
                return json_string_length(value->json) > 0;
        case JSON_INTEGER:
                return json_integer_value(value->json) != 0;
        case JSON_REAL:
                return json_real_value(value->json) != 0;
        case JSON_TRUE:
                return true;
        default:
                return false;
        }
}

static void node_describe(const Node *node, Buffer *out)
{
        int r = 0;

        switch (node->kind) {
        case NODE_FIELD:
        case NODE_VARIABLE:
        case NODE_CHAIN:
                if (node->kind == NODE_CHAIN)
                        r = buffer_append_string(out, "(...)");
                for (char **name = node->names; name && *name && r >= 0; name++)
                        r = buffer_printf(out, "%s%s", **name == '$' ? "" : ".", *name);
                break;
        case NODE_FUNCTION:
                r = buffer_append_string(out, node->text);
                break;
        case NODE_DOT:
                r = buffer_append_string(out, ".");
                break;
        case NODE_LITERAL:
                if (json_is_string(node->literal))
                        r = text_append_quoted(out, json_string_value(node->literal));
                else
                        value_print(out, &(Value) { .kind = VALUE_JSON, .json = node->literal });
                break;
        default:
                for (size_t i = 0; i < node->n_children; i++) {
                        if (i > 0)
                                client_must_zero(buffer_append_string(out, node->kind == NODE_PIPE ? " | " : " "));
                        if (node->children[i])
                                node_describe(node->children[i], out);
                }
        }
        client_must_zero(r);
}

static int refuse(const Run *run, const Node *node, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int refuse(const Run *run, const Node *node, const char *format, ...)
{
        CLEANUP_BUFFER Buffer where = {};
        CLEANUP_FREE char *text = NULL;
        va_list arguments;
        size_t line = 1, column = 0;

        va_start(arguments, format);
        if (vasprintf(&text, format, arguments) < 0)
                text = NULL;
        va_end(arguments);
        for (size_t i = 0; i < node->position; i++, column++)
                if (run->template->source[i] == '\n') {
                        line++;
                        column = -1;
                }
        node_describe(node, &where);
        return error_set(run->error, OUTCOME_BAD_REQUEST, "template: :%zu:%zu: executing \"\" at <%s>: %s", line,
                         column, where.data ?: "", (char *) client_must(text));
}

static int eval_pipe(Run *run, const Node *pipe, const Value *dot, Value *ret);

/* A member of FROM. Absent members stay quiet until somebody needs them. */
static int eval_member(Run *run, const Node *node, const Value *from, const char *name, Value *ret)
{
        json_t *member;

        if (from->kind == VALUE_ABSENT)
                return refuse(run, node, "map has no entry for key \"%s\"", from->key ?: name);
        if (from->kind == VALUE_ZERO || json_is_null(from->json))
                return refuse(run, node, "nil pointer evaluating interface {}.%s", name);
        if (!json_is_object(from->json))
                return refuse(run, node, "can't evaluate field %s in type %s", name,
                              json_is_string(from->json)  ? "string"
                              : json_is_array(from->json) ? "[]interface {}"
                                                          : "interface {}");
        member = json_object_get(from->json, name);
        if (member) {
                *ret = value_borrow(member, name);
                return 0;
        }
        if (run->methods && from->json == run->data) {
                if (json_object_get(run->methods, name))
                        return refuse(run, node, "wrong number of args for %s: want 1 got 0", name);
                return refuse(run, node, "can't evaluate field %s", name);
        }
        *ret = (Value) { .kind = VALUE_ABSENT, .key = name };
        return 0;
}

static int eval_chain(Run *run, const Node *node, Value *start, char **names, Value *ret)
{
        CLEANUP_VALUE Value value = value_copy(start);

        for (; names && *names; names++) {
                Value next = {};
                int r = eval_member(run, node, &value, *names, &next);

                if (r != 0)
                        return r;
                value_clear(&value);
                value = next;
        }
        *ret = TAKE_VALUE(value);
        return 0;
}

static int eval_variable(Run *run, const Node *node, Value *ret)
{
        for (size_t i = run->n_variables; i-- > 0;)
                if (strcmp(run->variables[i].name, node->names[0]) == 0)
                        return eval_chain(run, node, &run->variables[i].value, node->names + 1, ret);
        return refuse(run, node, "undefined variable \"%s\"", node->names[0]);
}

static int eval_operand(Run *run, const Node *node, const Value *dot, Value *ret)
{
        CLEANUP_VALUE Value value = {};
        int r;

        switch (node->kind) {
        case NODE_DOT:
                *ret = value_copy(dot);
                return 0;
        case NODE_NIL:
                *ret = value_of(json_null());
                return 0;
        case NODE_LITERAL:
                *ret = value_borrow(node->literal, NULL);
                return 0;
        case NODE_FIELD:
                value = value_copy(dot);
                return eval_chain(run, node, &value, node->names, ret);
        case NODE_VARIABLE:
                return eval_variable(run, node, ret);
        case NODE_CHAIN:
                r = eval_pipe(run, node->children[0], dot, &value);
                return r != 0 ? r : eval_chain(run, node, &value, node->names, ret);
        case NODE_PIPE:
                return eval_pipe(run, node, dot, ret);
        case NODE_FUNCTION:
                r = template_function_call(node->text, NULL, 0, ret, run->error);
                if (r != 0) {
                        CLEANUP_ERROR Error reason = *run->error;

                        *run->error = (Error) {};
                        return refuse(run, node, "%s", reason.message);
                }
                return 0;
        default:
                return refuse(run, node, "unexpected expression");
        }
}

/* `and` and `or` look no further than they must. */
static int eval_logic(Run *run, const Node *command, const Value *dot, const Value *piped, Value *ret)
{
        bool stop_at = command->children[0]->text[0] == 'o';
        size_t n = command->n_children - 1 + (piped != NULL);
        CLEANUP_VALUE Value value = {};

        if (n == 0)
                return refuse(run, command->children[0], "wrong number of args for %s: want at least 1 got 0",
                              command->children[0]->text);
        for (size_t i = 0; i < n; i++) {
                int r = 0;

                value_clear(&value);
                if (i + 1 < command->n_children)
                        r = eval_operand(run, command->children[i + 1], dot, &value);
                else
                        value = value_copy(piped);
                if (r != 0)
                        return r;
                if (value_true(&value) == stop_at)
                        break;
        }
        *ret = TAKE_VALUE(value);
        return 0;
}

static int eval_function(Run *run, const Node *command, const Value *dot, const Value *piped, Value *ret)
{
        const Node *name = command->children[0];
        Value arguments[ARGUMENTS_MAX] = {};
        size_t n = 0;
        int r = 0;

        if (str_equal(name->text, "and") || str_equal(name->text, "or"))
                return eval_logic(run, command, dot, piped, ret);
        if (command->n_children + 1 > ARGUMENTS_MAX)
                return refuse(run, name, "too many arguments");
        for (size_t i = 1; i < command->n_children && r == 0; i++) {
                r = eval_operand(run, command->children[i], dot, &arguments[n]);
                n += r == 0;
        }
        if (r == 0 && piped)
                arguments[n++] = value_copy(piped);
        if (r == 0) {
                CLEANUP_ERROR Error reason = {};

                r = template_function_call(name->text, arguments, n, ret, &reason);
                if (r != 0)
                        r = refuse(run, command, "%s", reason.message);
        }
        for (size_t i = 0; i < n; i++)
                value_clear(&arguments[i]);
        return r;
}

/* A field with an argument: one of the methods. */
static int eval_method(Run *run, const Node *command, const Value *dot, Value *ret)
{
        const Node *field = command->children[0];
        CLEANUP_VALUE Value argument = {};
        json_t *method, *found;
        int r;

        method = run->methods && strv_length(field->names) == 1 ? json_object_get(run->methods, field->names[0]) : NULL;
        if (!method || command->n_children != 2)
                return refuse(run, field, "%s has arguments but cannot be invoked as function", field->names[0]);
        r = eval_operand(run, command->children[1], dot, &argument);
        if (r != 0)
                return r;
        if (argument.kind != VALUE_JSON || !json_is_string(argument.json))
                return refuse(run, field, "wrong type for value; expected string");
        if (json_is_null(method)) {
                const char *name = json_string_value(argument.json), *dotted = strrchr(name, '.');
                CLEANUP_FREE char *heading = client_must(strdup(dotted ? dotted + 1 : name));

                for (char *c = heading; *c; c++)
                        if (*c == '-' || *c == '_')
                                *c = ' ';
                *ret = value_of(json_string(heading));
                return 0;
        }
        found = json_object_get(method, json_string_value(argument.json));
        *ret = found ? value_borrow(found, NULL) : value_of(json_string(""));
        return 0;
}

static int eval_command(Run *run, const Node *command, const Value *dot, const Value *piped, Value *ret)
{
        const Node *first = command->children[0];

        if (first->kind == NODE_FUNCTION)
                return eval_function(run, command, dot, piped, ret);
        if (command->n_children > 1 && first->kind == NODE_FIELD)
                return eval_method(run, command, dot, ret);
        if (command->n_children > 1 || piped)
                return refuse(run, first, "can't give argument to non-function");
        return eval_operand(run, first, dot, ret);
}

static int push_variable(Run *run, const Node *node, const char *name, const Value *value)
{
        if (run->n_variables == VARIABLES_MAX)
                return refuse(run, node, "too many variables");
        run->variables[run->n_variables++] = (Variable) { name, value_copy(value) };
        return 0;
}

static void cut_variables(Run *run, size_t n)
{
        while (run->n_variables > n)
                value_clear(&run->variables[--run->n_variables].value);
}

static int assign_variable(Run *run, const Node *pipe, const char *name, const Value *value)
{
        if (pipe->declares)
                return push_variable(run, pipe, name, value);
        for (size_t i = run->n_variables; i-- > 0;)
                if (strcmp(run->variables[i].name, name) == 0) {
                        value_clear(&run->variables[i].value);
                        run->variables[i].value = value_copy(value);
                        return 0;
                }
        return refuse(run, pipe, "undefined variable \"%s\"", name);
}

static int eval_commands(Run *run, const Node *pipe, const Value *dot, Value *ret)
{
        CLEANUP_VALUE Value value = {};

        for (size_t i = 0; i < pipe->n_children; i++) {
                Value next = {};
                int r = eval_command(run, pipe->children[i], dot, i > 0 ? &value : NULL, &next);

                if (r != 0)
                        return r;
                value_clear(&value);
                value = next;
        }
        *ret = TAKE_VALUE(value);
        return 0;
}

static int eval_pipe(Run *run, const Node *pipe, const Value *dot, Value *ret)
{
        int r = eval_commands(run, pipe, dot, ret);

        if (r == 0 && pipe->names)
                r = assign_variable(run, pipe, pipe->names[0], ret);
        return r;
}

static int run_list(Run *run, const Node *list, const Value *dot);

static int run_action(Run *run, const Node *node, const Value *dot)
{
        CLEANUP_VALUE Value value = {};
        const Node *pipe = node->children[0];
        int r = eval_pipe(run, pipe, dot, &value);

        if (r != 0 || pipe->names)
                return r;
        if (value.kind == VALUE_ABSENT) {
                const Node *last = pipe->children[pipe->n_children - 1];

                return refuse(run, last->n_children == 1 ? last->children[0] : last, "map has no entry for key \"%s\"",
                              value.key);
        }
        value_print(run->out, &value);
        return 0;
}

static int run_if(Run *run, const Node *node, const Value *dot)
{
        CLEANUP_VALUE Value value = {};
        size_t mark = run->n_variables;
        int r = eval_pipe(run, node->children[0], dot, &value);

        if (r == 0 && value_true(&value))
                r = run_list(run, node->children[1], node->kind == NODE_WITH ? &value : dot);
        else if (r == 0 && node->n_children > 2) {
                const Node *other = node->children[2];

                r = other->kind == NODE_LIST ? run_list(run, other, dot) : run_if(run, other, dot);
        }
        cut_variables(run, mark);
        return r;
}

/* One turn of a range. */
static int run_turn(Run *run, const Node *node, json_t *key, json_t *element)
{
        const Node *pipe = node->children[0];
        size_t mark = run->n_variables, n = strv_length(pipe->names);
        CLEANUP_VALUE Value index = value_of(key), value = value_borrow(element, NULL);
        int r = 0;

        if (n == 2)
                r = assign_variable(run, pipe, pipe->names[0], &index);
        if (r == 0 && n > 0)
                r = assign_variable(run, pipe, pipe->names[n - 1], &value);
        if (r == 0)
                r = run_list(run, node->children[1], &value);
        cut_variables(run, mark);
        return r;
}

static int range_object(Run *run, const Node *node, json_t *object)
{
        CLEANUP_FREE const char **keys = client_sorted_keys(object);
        int r = 0;

        for (size_t i = 0; keys[i] && (r == FLOW_ON || r == FLOW_CONTINUE); i++)
                r = run_turn(run, node, json_string(keys[i]), json_object_get(object, keys[i]));
        return r < 0 ? 0 : r;
}

static int run_range(Run *run, const Node *node, const Value *dot)
{
        CLEANUP_VALUE Value value = {};
        int r = eval_commands(run, node->children[0], dot, &value);

        if (r != 0)
                return r;
        if (!value_true(&value))
                return node->n_children > 2 ? run_list(run, node->children[2], dot) : 0;
        if (json_is_object(value.json))
                return range_object(run, node, value.json);
        if (!json_is_array(value.json))
                return refuse(run, node->children[0], "range can't iterate over a single value");
        for (size_t i = 0; i < json_array_size(value.json) && (r == FLOW_ON || r == FLOW_CONTINUE); i++)
                r = run_turn(run, node, json_integer(i), json_array_get(value.json, i));
        return r < 0 ? 0 : r;
}

static int run_list(Run *run, const Node *list, const Value *dot)
{
        for (size_t i = 0; i < list->n_children; i++) {
                const Node *node = list->children[i];
                int r = 0;

                switch (node->kind) {
                case NODE_TEXT:
                        client_must_zero(buffer_append_string(run->out, node->text));
                        break;
                case NODE_ACTION:
                        r = run_action(run, node, dot);
                        break;
                case NODE_RANGE:
                        r = run_range(run, node, dot);
                        break;
                case NODE_BREAK:
                        r = FLOW_BREAK;
                        break;
                case NODE_CONTINUE:
                        r = FLOW_CONTINUE;
                        break;
                default:
                        r = run_if(run, node, dot);
                }
                if (r != 0)
                        return r;
        }
        return 0;
}

int client_template_execute(const ClientTemplate *template, json_t *data, json_t *methods, Buffer *out, Error *error)
{
        CLEANUP_ERROR Error local = {};
        Run run = { .template = template, .methods = methods, .data = data, .out = out, .error = error ?: &local };
        CLEANUP_VALUE Value dot = value_borrow(data, methods ? value_row_key : NULL);
        int r;

        client_must_zero(push_variable(&run, template->root, "$", &dot));
        r = run_list(&run, template->root, &dot);
        cut_variables(&run, 0);
        return r < 0 ? 0 : r;
}
