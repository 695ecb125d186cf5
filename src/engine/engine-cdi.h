/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HostConfig.DeviceRequests, by the Container Device Interface (CDI specification 0.8, JSON files). */
#pragma once

#include <jansson.h>

#include "berth/outcome.h"

/* The "containerEdits" of all that is asked for: a new array of objects, each once. OUTCOME_FAILED with Docker's words.
 */
int cdi_resolve(char *const *directories, const json_t *requests, json_t **ret_edits, Error *error);

/* Gives each request every member, as inspect shows them. */
int cdi_normalise(json_t *requests);
