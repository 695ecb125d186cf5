/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A job's slots: processes that each do one task after the other, as many at a time as there are slots. A slot that
 * dies fails its task alone; whatever ends the job ends its slots and all their children. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

typedef struct RegistryPool {
        unsigned slots;
        int client_fd;  /* a hang-up ends the pool with -ECANCELED; negative: none */
        int control_fd; /* watched for CONTROL; negative: none */
        void *userdata;

        /* In a slot: once, and for each task. RET is a new reference; a slot whose START fails ends. */
        int (*start)(void *userdata, int socket);
        int (*work)(void *userdata, unsigned task, json_t **ret);

        /* In the job. What is not 0 ends the pool and is returned. */
        int (*next)(void *userdata);                                /* a task to do, negative: none at the moment */
        bool (*complete)(void *userdata);                           /* nothing is left to be done */
        int (*event)(void *userdata, unsigned task, json_t *event); /* borrowed; of registry_pool_tell() */
        int (*done)(void *userdata, unsigned task, json_t *result); /* borrowed; NULL: the slot died */
        int (*control)(void *userdata);
} RegistryPool;

int registry_pool_run(const RegistryPool *pool);

/* In a slot: passes an event (a new reference, may be NULL) to the job. */
int registry_pool_tell(json_t *event);

/* True when the other side of a connection has closed it. */
bool registry_client_gone(int fd);
