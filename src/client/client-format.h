/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --format of the commands that list things. */
#pragma once

#include <jansson.h>

#include "berth/buffer.h"

#include "berth/outcome.h"

#define FORMAT_HELP                                                                          \
        "Format output using a custom template:\n'json':             Print in JSON format\n" \
        "'TEMPLATE':         Print output using the given Go template"
#define FORMAT_LIST_HELP                                                                           \
        "Format output using a custom template:\n'table':            Print a table with headings " \
        "(default)\n'table TEMPLATE':   Print a table of the given Go template's cells\n"          \
        "'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template"

typedef struct ClientRow {
        json_t *fields;  /* what the template sees, in alphabetical order; owned */
        json_t *methods; /* see client_template_execute(); owned, may be NULL */
} ClientRow;

typedef struct ClientRows {
        ClientRow *rows; /* owned */
        size_t n;
} ClientRows;
void client_rows_clear(ClientRows *rows);
#define CLEANUP_ROWS CLEANUP(client_rows_clear)
void client_rows_add(ClientRows *rows, json_t *fields, json_t *methods);

/* Prints rows as FORMAT (empty: "table") says. TABLE is the template of the plain table, HEADINGS what its fields are
 * called. 0, or 1 with a message printed. */
int client_rows_print(const ClientRows *rows, const char *format, const char *table, json_t *headings);

/* The same into OUT. */
int client_rows_format(const ClientRows *rows, const char *format, const char *table, json_t *headings, Buffer *out);

/* Prints one object by a template or "json", with a newline. 0, or 1 with a message printed. */
int client_object_print(json_t *object, const char *format);
