/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an update asks for: engine-update-change.c. */
#pragma once

#include <jansson.h>

#include "berth/outcome.h"

/* The fields of BODY that are there, checked; a new reference. What this host or an update cannot do is said in
 * WARNINGS. */
int update_check(const json_t *body, int version_minor, json_t *warnings, json_t **ret_changes, Error *error);

/* A HostConfig with the changes, a new reference; refused where HOST says that they may not be made. */
int update_merge(const json_t *host, const json_t *changes, json_t **ret_merged, Error *error);

/* An OCI linux.resources object that sets all of HOST's limits, also those that are none. */
int update_resources(const json_t *host, json_t **ret_resources, Error *error);
