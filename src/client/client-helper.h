/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Credential helpers: the program docker-credential-NAME is run with the name of an action, takes its question on
 * standard input and answers on standard output; its standard error is the user's. */
#pragma once

#include <jansson.h>

#include "berth/outcome.h"

/* ret: {"ServerURL", "Username", "Secret"}, owned by the caller; NULL where the helper knows none. */
int client_helper_get(const char *name, const char *server, json_t **ret, Error *error);
int client_helper_store(const char *name, const char *server, const char *user, const char *secret, Error *error);

/* That there is nothing to erase is success. */
int client_helper_erase(const char *name, const char *server, Error *error);
