/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The build context: a directory as an archive, less what .dockerignore leaves out. */
#pragma once

#include "berth/ignore.h"
#include "berth/outcome.h"
#include "client-build-keep.h"

/* A directory besides the context, which goes into the archive under a name that no file has. */
typedef struct ClientNamedContext {
        char *directory, *prefix; /* owned */
        DockerIgnore *ignore;     /* owned; may be NULL */
} ClientNamedContext;

typedef struct ClientContext {
        const char *directory;  /* NULL: none, only the extra file */
        const char *dockerfile; /* its name in the archive */
        const char *extra;    /* content of a Dockerfile from elsewhere, in the archive under that name; may be NULL */
        DockerIgnore *ignore; /* may be NULL; owned by the caller */
        const ClientNamedContext *named; /* borrowed */
        size_t n_named;
        ClientKeep *keep; /* borrowed; NULL: all is sent */
} ClientContext;

/* Reads the ignore file: "DOCKERFILE.dockerignore" beside the Dockerfile, or .dockerignore. NULL where there is none.
 */
int client_context_ignore(const char *directory, const char *dockerfile, DockerIgnore **ret, Error *error);

/* Writes the archive to FD, with KEEP of what the daemon does not have. Owners and the mode's group and other bits for
 * writing go as Docker's client has it. */
int client_context_send(const ClientContext *context, int fd, Error *error);
