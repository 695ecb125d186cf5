/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runtimes by name. */
#pragma once

#include "berth/config.h"
#include "berth/outcome.h"

/* The program and its first arguments for a name, owned by the caller; NULL for Berth's own ("" and "berth").
 * OUTCOME_BAD_REQUEST "unknown or invalid runtime name: X". */
int runtime_program(const Config *config, const char *name, char ***ret_program, Error *error);

/* All of them as GET /info shows them, a new reference. */
json_t *runtime_list(const Config *config);
