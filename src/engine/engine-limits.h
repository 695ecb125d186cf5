/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The limits of HostConfig, checked against the host. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "berth/outcome.h"

/* Refuses what makes no sense (OUTCOME_BAD_REQUEST, OUTCOME_FAILED); what this host cannot do is taken out of
 * HOST_CONFIG, with a text added to WARNINGS. With UPDATE, members are changes to a container that is there. */
int limits_check(json_t *host_config, bool update, json_t *warnings, Error *error);
