/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is to be built. */
#pragma once

#include "client-build-context.h"
#include "client-build-keep.h"
#include "client-build-named.h"

/* The empty value is {}. */
typedef struct BuildSource {
        ClientContext context;
        char *directory, *dockerfile, *extra; /* owned */
        Buffer head;                          /* what was read of an archive on standard input */
        bool archive;                         /* standard input is the context */
        const char *remote;                   /* the daemon is to fetch it; borrowed */
        char *secrets;                        /* a header; owned */
        ClientNamed named;
        ClientKeep keep;
} BuildSource;

void build_source_clear(BuildSource *source);

/* WORD is the context of the command line, FILE its --file. */
int build_source_find(BuildSource *source, const char *word, const char *file, Error *error);
int build_source_add_named(BuildSource *source, char *const *texts, Error *error);

/* Only changes are to be sent of a directory that was sent before. An archive, and what goes with a context by another
 * name, is sent as it is; so is all without a cache. */
void build_source_find_kept(Client *client, const ClientArguments *arguments, BuildSource *source);

/* In a child, which ends: writes the archive. */
_Noreturn void build_source_send(const BuildSource *source, int fd);
