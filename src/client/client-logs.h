/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Times as people give them to logs and events. */
#pragma once

/* "42m" is a time before now; everything else goes to the daemon as it is. Owned by the caller; NULL for "". */
char *client_time_argument(const char *value);
