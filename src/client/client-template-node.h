/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tree of a template, shared by its parser, its evaluation and its functions. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "berth/buffer.h"
#include "berth/outcome.h"
#include "client-template.h"

typedef enum NodeKind {
        NODE_TEXT,   /* text */
        NODE_ACTION, /* children[0]: pipe */
        NODE_IF,     /* children: pipe, list, else list or NULL */
        NODE_RANGE,
        NODE_WITH,
        NODE_BREAK,
        NODE_CONTINUE,
        NODE_LIST,    /* children in order */
        NODE_PIPE,    /* names: variables assigned; children: commands */
        NODE_COMMAND, /* children: operands */
        NODE_DOT,
        NODE_NIL,
        NODE_FIELD,    /* names: the chain, from dot */
        NODE_VARIABLE, /* names: the variable with its $, then the chain */
        NODE_CHAIN,    /* children[0].names... */
        NODE_FUNCTION, /* text */
        NODE_LITERAL,  /* literal */
} NodeKind;

typedef struct Node Node;
struct Node {
        NodeKind kind;
        size_t position; /* in the template's text */
        char *text;      /* owned */
        char **names;    /* owned */
        json_t *literal; /* owned */
        bool declares;   /* pipe: `:=` rather than `=` */
        Node **children; /* owned; entries may be NULL */
        size_t n_children;
};

struct ClientTemplate {
        char *source; /* owned */
        Node *root;   /* owned */
};

/* What an expression is worth. JSON is owned; an absent member has none. */
typedef enum ValueKind {
        VALUE_ABSENT, /* a member that is not there: false, and an error when printed */
        VALUE_ZERO,   /* what index found nothing for: prints as nothing */
        VALUE_JSON,
} ValueKind;

typedef struct Value {
        ValueKind kind;
        json_t *json;    /* owned, with VALUE_JSON */
        const char *key; /* the member's name it came from, borrowed from the tree or the data; NULL: none */
} Value;

void value_clear(Value *value);
#define CLEANUP_VALUE CLEANUP(value_clear)
#define TAKE_VALUE(value)               \
        ({                              \
                Value _taken = (value); \
                (value) = (Value) {};   \
                _taken;                 \
        })
/* The key of a whole row of a list, which json shows with Go's escapes for HTML. */
extern const char value_row_key[];

Value value_of(json_t *json); /* takes the reference */
Value value_borrow(json_t *json, const char *key);
bool value_true(const Value *value);

/* As Go's print does. */
void value_print(Buffer *out, const Value *value);

/* Calls a function by name with N evaluated arguments. */
bool template_function_exists(const char *name);
int template_function_call(const char *name, Value *arguments, size_t n, Value *ret, Error *error);

void node_free(Node *node);
