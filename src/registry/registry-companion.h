/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A process beside one that has the network: it has none, works in one directory, and gets its orders over a socket,
 * each with one end of a pipe. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* The empty value is all zero but for the socket, which is negative. */
typedef struct RegistryCompanion {
        int socket;        /* owned */
        int64_t *consumed; /* shared with it: bytes of the layer at hand so far; mapped, owned */
} RegistryCompanion;

typedef enum RegistryPipe {
        REGISTRY_PIPE_TO_IT,
        REGISTRY_PIPE_FROM_IT,
} RegistryPipe;

/* Starts it, as a child of this process that ends with it and runs MAIN. DIRECTORY_FD is borrowed. */
int registry_companion_start(RegistryCompanion *companion,
                             void (*main)(int socket, int directory_fd, int64_t *consumed), int directory_fd);
void registry_companion_clear(RegistryCompanion *companion);

/* Sends an order with its end of a new pipe; *ret_fd is the other end. */
int registry_companion_order(RegistryCompanion *companion, const void *order, size_t size, RegistryPipe direction,
                             int *ret_fd);
