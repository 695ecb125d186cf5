/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Times as people give them to logs and events. */
#pragma once

#include "berth/outcome.h"

/* "42m" is a time before now; seconds go to the daemon as they are. RET is owned by the caller; NULL for "". Refuses
 * what is neither a time nor a duration. */
int client_time_argument(const char *value, char **ret, Error *error);
