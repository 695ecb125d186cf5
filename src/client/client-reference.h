/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of images as people type them. */
#pragma once

#include <stdbool.h>

#include "berth/outcome.h"

/* The repository without tag and digest, in its short form ("docker.io/library/" left out). Owned by the caller. */
char *client_reference_name(const char *reference);

/* Refuses what is no reference. */
int client_reference_check(const char *reference, Error *error);

/* Name as the API wants it ("docker.io/library/busybox") and tag or digest; "latest" where there is neither. */
void client_reference_split(const char *reference, char **ret_name, char **ret_tag);

/* The short form with its tag, "busybox:latest". NULL for an image ID. */
char *client_reference_familiar(const char *reference);

/* True for a repository's name alone, without tag and digest. */
bool client_reference_is_bare(const char *reference);
