/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What else a build's result becomes: --output. */
#pragma once

#include "client.h"

typedef enum BuildOutputKind {
        BUILD_OUTPUT_IMAGE, /* nothing else */
        BUILD_OUTPUT_LOCAL, /* its files, in a directory */
        BUILD_OUTPUT_TAR,   /* its files, as an archive */
        BUILD_OUTPUT_DOCKER /* the image, as an archive that is for loading */
} BuildOutputKind;

/* The empty value is {}. */
typedef struct BuildOutput {
        BuildOutputKind kind;
        char *destination; /* owned; "-": standard output; NULL: none */
} BuildOutput;

void client_build_output_clear(BuildOutput *output);
/* "DIRECTORY", "-", "type=local,dest=DIRECTORY" and so on; "" for none. */
int client_build_output_parse(const char *text, BuildOutput *ret, Error *error);
bool client_build_output_is_stdout(const BuildOutput *output);
int client_build_output_write(Client *client, const BuildOutput *output, const char *image, Error *error);
