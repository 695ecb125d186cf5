/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Contexts besides the one of the command line: --build-context NAME=VALUE. */
#pragma once

#include <jansson.h>

#include "client-build-context.h"

/* The empty value is {}. */
typedef struct ClientNamed {
        ClientNamedContext *list; /* of directories; owned */
        size_t count;
        json_t *query; /* {"NAME": {"Prefix"} or {"Image"} or {"Remote"}}; owned; NULL: none */
} ClientNamed;

void client_named_clear(ClientNamed *named);
int client_named_parse(char *const *texts, ClientNamed *ret, Error *error);
