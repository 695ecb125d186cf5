/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The user's config.json, which Berth shares with the docker client: $DOCKER_CONFIG or ~/.docker. What Berth does not
 * know in it stays as it is. */
#pragma once

#include <jansson.h>

#include "berth/outcome.h"
#include "client.h"

typedef struct ClientConfig {
        char *path;   /* owned */
        json_t *root; /* an object, owned; empty where there is no file */
} ClientConfig;

/* The path of what is BELOW the user's home directory, owned by the caller. */
char *client_home(const char *below);

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

/* --- what is taken where no option says otherwise; the results are owned by the caller --- */

/* The value of --format, else the KEY of the file ("psFormat") unless --quiet was given; "" where there is neither. */
char *client_config_format(const ClientArguments *arguments, const char *key);

/* The value of --detach-keys, else "detachKeys"; "" where there is neither. */
char *client_config_detach_keys(const ClientArguments *arguments);

/* Adds the proxies that the file has for the daemon at HOST ("unix:///run/berth.sock"), or for any, to the list of a
 * container's environment, in both spellings; a variable that is in it stays as it is. */
void client_config_add_proxies(const char *host, json_t *environment);
