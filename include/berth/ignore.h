/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The patterns of .dockerignore. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "berth/cleanup.h"
#include "berth/outcome.h"

typedef struct DockerIgnore DockerIgnore;

/* TEXT is the file's. OUTCOME_BAD_REQUEST for a pattern that is none. */
int dockerignore_parse(const char *text, size_t size, DockerIgnore **ret, Error *error);
void dockerignore_free(DockerIgnore *ignore);
DEFINE_CLEANUP(cleanup_dockerignore_ptr, DockerIgnore *, dockerignore_free)
#define CLEANUP_DOCKERIGNORE CLEANUP(cleanup_dockerignore_ptr)

/* Whether the path ("a/b", without a leading slash) is left out: the last pattern that it or a directory above it
 * matches decides. */
bool dockerignore_match(const DockerIgnore *ignore, const char *path);

/* Whether something below a directory that is left out may be in all the same. */
bool dockerignore_may_include_below(const DockerIgnore *ignore, const char *directory);
