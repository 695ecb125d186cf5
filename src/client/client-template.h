/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of Go's text/template that --format is written in, over JSON values: fields and chains, variables, literals,
 * pipelines, if/else, range, with, and the functions listed in client-template-functions.c. */
#pragma once

#include <jansson.h>

#include "berth/buffer.h"
#include "berth/outcome.h"

typedef struct ClientTemplate ClientTemplate;

/* Errors read as Go's do, without "template parsing error: " in front. */
int client_template_parse(const char *text, ClientTemplate **ret, Error *error);
void client_template_free(ClientTemplate *template);
DEFINE_CLEANUP(cleanup_template_ptr, ClientTemplate *, client_template_free)
#define CLEANUP_TEMPLATE CLEANUP(cleanup_template_ptr)

/* Appends the text for DATA. METHODS (may be NULL) are fields that take one argument: an object is looked up by it, a
 * null stands for a table's heading, made of the argument itself. Neither appears in {{json .}}. */
int client_template_execute(const ClientTemplate *template, json_t *data, json_t *methods, Buffer *out, Error *error);
