/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a container's raw stream; shared by run, start and attach. */
#pragma once

#include "client.h"

typedef struct ClientAttach {
        bool input, output, errors, logs;
        const char *detach_keys; /* NULL or empty: the default */
} ClientAttach;

/* Sends the request on a connection of its own, without waiting for the answer. */
int client_attach_send(const Client *client, const char *id, const ClientAttach *attach, HttpClient **ret,
                       Error *error);

/* Reads the answer's head, and takes the socket over. */
int client_attach_take(const Client *client, HttpClient *http, int *ret_socket, Buffer *early, Error *error);
