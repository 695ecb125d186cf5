/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Credentials of registries: in config.json itself, or with a helper program, docker-credential-NAME. Credentials are
 * objects as the API's AuthConfig: "username" and "password", or "identitytoken", and "serveraddress"; what is not
 * known is left out. */
#pragma once

#include <stdbool.h>

#include "client-config.h"

/* What the credentials of Docker Hub are kept under; every other registry's are under its host name. */
#define CLIENT_AUTH_HUB "https://index.docker.io/v1/"

/* The key of the registry that REFERENCE is in; owned by the caller. */
char *client_auth_key(const char *reference);

/* The host name in a key, "https://x.y:5000/v2/" as "x.y:5000"; owned by the caller. */
char *client_auth_hostname(const char *key);

/* Looks credentials up; an empty object where there are none. */
int client_auth_get(const ClientConfig *config, const char *key, json_t **ret, Error *error);

/* Keeps AUTH under its "serveraddress". ret_plain: a password lies in the file now that did not
 * before. The file is saved where that changes it. */
int client_auth_store(ClientConfig *config, const json_t *auth, bool *ret_plain, Error *error);

/* Forgets what is kept under KEY. */
int client_auth_erase(ClientConfig *config, const char *key, Error *error);

/* True if the file or a helper's index has an entry for KEY. */
bool client_auth_known(const ClientConfig *config, const char *key);

/* The header line "X-Registry-Auth: ...\r\n" for the registry of REFERENCE, owned by the caller. Credentials that
 * cannot be had are warned about and left out. */
char *client_auth_header(const char *reference);
