/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The namespaces of other containers that a container is to be in. */
#pragma once

#include "berth/file.h"
#include "engine-private.h"

/* In the run-time directory of a container whose IPC others may join. */
#define STAGED_SHM "shm"

typedef enum Joined {
        JOINED_IPC,
        JOINED_PID,
        JOINED_COUNT,
} Joined;

typedef struct Joins {
        int fds[JOINED_COUNT];        /* owned; -EBADF where nothing is joined */
        char paths[JOINED_COUNT][32]; /* of FDS, for this process and its children; "" */
        char *shared_memory;          /* owned: the directory that is to be /dev/shm; NULL: a file system of its own */
} Joins;

#define JOINS_EMPTY                       \
        {                                 \
                .fds = { -EBADF, -EBADF } \
        }

/* At creation: whether there are such containers. */
int joins_check(Engine *engine, const json_t *host_config, Error *error);

/* At the start. OUTCOME_CONFLICT, OUTCOME_BAD_REQUEST with Docker's words. */
int joins_open(const Container *container, Joins *joins, Error *error);
void joins_clear(Joins *joins);

/* True where others may join its IPC namespace. */
bool container_shares_memory(const Container *container);
char *container_shared_memory(const Container *container);
