/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The create request of `run` and `create`: which option goes where. */
#pragma once

#include <jansson.h>

#include "client.h"

extern const ClientOption client_run_options[], client_create_options[];

/* Builds the body of POST /containers/create. 0, or positive with ERROR set. */
int client_run_request(const Client *client, const ClientArguments *arguments, json_t **ret_body, Error *error);

/* Puts VALUE (whose reference is taken) at a dotted path of BODY, making the objects on the way. */
void client_run_set(json_t *body, const char *path, json_t *value);

/* Puts every option that was given and is one field of the request there. */
void client_run_set_fields(const ClientArguments *arguments, json_t *body);

/* A list of options as an array, and one of "key=value" as an object; owned by the caller. */
json_t *client_list_array(char *const *list);
json_t *client_list_object(char *const *list);

/* A restart policy, "on-failure:3". */
int client_restart_parse(const char *policy, json_t **ret, Error *error);

/* The object at a path, made if need be; borrowed. */
json_t *client_run_object(json_t *body, const char *path);

/* The parts that are more than one value put in one place. Each takes what it knows from ARGUMENTS into BODY. */
int client_run_environment(const ClientArguments *arguments, json_t *body, Error *error);
int client_run_labels(const ClientArguments *arguments, json_t *body, Error *error);
int client_run_health(const ClientArguments *arguments, json_t *body, Error *error);
int client_run_limits(const ClientArguments *arguments, json_t *body, Error *error);
int client_run_devices(const ClientArguments *arguments, json_t *body, Error *error);
int client_run_security(const ClientArguments *arguments, json_t *body, Error *error);
int client_run_restart(const ClientArguments *arguments, json_t *body, Error *error);
int client_run_volumes(const ClientArguments *arguments, json_t *body, Error *error);
int client_run_ports(const ClientArguments *arguments, json_t *body, Error *error);
int client_run_networks(const ClientArguments *arguments, json_t *body, Error *error);
int client_run_streams(const ClientArguments *arguments, json_t *body, Error *error);

/* What options check while they are parsed. */
int client_check_attach(const char *value, Error *error);
int client_check_env(const char *value, Error *error);
int client_check_host(const char *value, Error *error);
int client_check_address(const char *value, Error *error);
int client_check_ulimit(const char *value, Error *error);
int client_check_mount(const char *value, Error *error);
int client_check_link(const char *value, Error *error);
int client_check_throttle(const char *value, Error *error);
int client_check_rate(const char *value, Error *error);
int client_check_gpus(const char *value, Error *error);

/* --mount, one specification. */
int client_mount_parse(const char *value, json_t **ret_mount, Error *error);

/* The next of comma-separated fields, unquoted in place; one in double quotes may hold commas. NULL after the last. */
char *client_csv_next(char **rest);
