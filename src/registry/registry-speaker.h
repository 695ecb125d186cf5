/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A process that speaks HTTP for one that may not: what strangers send is parsed by nobody, without capabilities, and
 * comes back as a few texts and bytes. */
#pragma once

#include "registry-http.h"

typedef struct RegistrySpeaker {
        pid_t pid;  /* 0: there is none */
        int socket; /* owned; negative: none */
} RegistrySpeaker;

#define REGISTRY_SPEAKER_NONE ((RegistrySpeaker) { .socket = -EBADF })

/* Starts it, as a child of this process that ends with it. CLIENT, the child's copy of which does the work, has read
 * all that takes privileges. */
int registry_speaker_start(RegistryClient *client, RegistrySpeaker *ret);

/* Ends it, unless it belongs to another process (a parent of this one): then its socket alone is closed. */
void registry_speaker_stop(RegistrySpeaker *speaker);

/* As registry_client_send(), for requests without callbacks but for their tick. */
int registry_speaker_send(RegistrySpeaker *speaker, const RegistryRequest *request, RegistryResponse *ret,
                          Error *error);

/* As registry_host_is_insecure(), whose look-up of a name is a stranger's answer, too. */
bool registry_speaker_host_is_insecure(RegistrySpeaker *speaker, const char *name);
