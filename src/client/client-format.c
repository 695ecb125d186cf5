/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows to text: a template a row, tables aligned at the end. */
#include <stdio.h>
#include <string.h>

#include "client-format.h"
#include "client-template.h"
#include "client-text.h"
#include "client.h"

#define CELL_MINIMUM 10
#define CELL_PADDING 3

void client_rows_clear(ClientRows *rows)
{
        for (size_t i = 0; i < rows->n; i++) {
                json_decref(rows->rows[i].fields);
                if (rows->rows[i].methods)
                        json_decref(rows->rows[i].methods);
        }
        free(rows->rows);
        *rows = (ClientRows) {};
}

void client_rows_add(ClientRows *rows, json_t *fields, json_t *methods)
{
        rows->rows = client_must(reallocarray(rows->rows, rows->n + 1, sizeof(ClientRow)));
        rows->rows[rows->n++] = (ClientRow) { client_must(fields), methods };
}

/* The escapes a shell user types for tabs and line ends. */
static char *unescape(const char *format)
{
        char *text = client_must(strdup(format)), *to = text;

        for (const char *from = text; *from; from++) {
                if (from[0] == '\\' && (from[1] == 't' || from[1] == 'n'))
                        *to++ = *++from == 't' ? '\t' : '\n';
                else
                        *to++ = *from;
        }
        *to = 0;
        return text;
}

static int fail(Error *error)
{
        client_complain("template parsing error: %s", error->message);
        return 1;
}

static int add_template(const ClientRows *rows, const char *text, json_t *headings, Buffer *ret)
{
        CLEANUP_TEMPLATE ClientTemplate *template = NULL;
        CLEANUP_JSON json_t *heading_methods = NULL;
        CLEANUP_BUFFER Buffer out = {};
        CLEANUP_ERROR Error error = {};

        if (client_template_parse(text, &template, &error) != 0)
                return fail(&error);
        if (headings) {
                heading_methods = client_must(json_pack("{s:n}", "Label"));
                if (client_template_execute(template, headings, heading_methods, &out, &error) != 0)
                        return fail(&error);
                client_must_zero(buffer_append_string(&out, "\n"));
        }
        for (size_t i = 0; i < rows->n; i++) {
                if (client_template_execute(template, rows->rows[i].fields, rows->rows[i].methods, &out, &error) != 0)
                        return fail(&error);
                client_must_zero(buffer_append_string(&out, "\n"));
        }
        if (headings)
                client_must_zero(text_align(out.data, CELL_MINIMUM, CELL_PADDING, ret));
        else
                client_must_zero(buffer_append(ret, out.data ?: "", out.size));
        return 0;
}

int client_rows_format(const ClientRows *rows, const char *format, const char *table, json_t *headings, Buffer *out)
{
        CLEANUP_FREE char *text = NULL;
        const char *cells;

        if (str_empty(format) || strcmp(format, "table") == 0)
                return add_template(rows, table, headings, out);
        if (strcmp(format, "json") == 0)
                return add_template(rows, "{{json .}}", NULL, out);
        text = unescape(format);
        cells = str_after_prefix(text, "table ");
        return cells ? add_template(rows, cells + strspn(cells, " "), headings, out)
                     : add_template(rows, text, NULL, out);
}

int client_rows_print(const ClientRows *rows, const char *format, const char *table, json_t *headings)
{
        CLEANUP_BUFFER Buffer out = {};
        int r = client_rows_format(rows, format, table, headings, &out);

        if (r == 0)
                fwrite(out.data ?: "", 1, out.size, stdout);
        return r;
}

int client_object_print(json_t *object, const char *format)
{
        ClientRow row = { object, NULL };

        CLEANUP_BUFFER Buffer out = {};
        int r = add_template(&(ClientRows) { &row, 1 }, strcmp(format, "json") == 0 ? "{{json .}}" : format, NULL,
                             &out);

        if (r == 0)
                fwrite(out.data ?: "", 1, out.size, stdout);
        return r;
}
