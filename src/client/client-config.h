/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The user's config.json, which Berth shares with the docker client: $DOCKER_CONFIG or ~/.docker. What Berth does not
 * know in it stays as it is. */
#pragma once

#include <jansson.h>

#include "berth/outcome.h"

typedef struct ClientConfig {
        char *path;   /* owned */
        json_t *root; /* an object, owned; empty where there is no file */
} ClientConfig;

/* Reads the file. Positive with ERROR set where it is there but makes no sense; CONFIG is empty but usable then, and
 * must not be saved. */
int client_config_load(ClientConfig *config, Error *error);

/* The same with a warning to the user in place of the error. */
void client_config_load_or_warn(ClientConfig *config);
void client_config_clear(ClientConfig *config);
#define CLEANUP_CONFIG CLEANUP(client_config_clear)

/* Checks the text of a config.json and gives it as an object. */
int client_config_parse(const char *text, size_t size, json_t **ret, Error *error);

/* Replaces the file, readable by its owner only; a symbolic link to it stays one. */
int client_config_save(const ClientConfig *config, Error *error);

/* A --format that the user gave for a kind of list ("psFormat"); "" where there is none. Owned by the caller. */
char *client_config_format(const char *key);
