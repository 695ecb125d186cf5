/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What berth build gives to RUN steps and to no layer: secrets, and the sockets of SSH agents. */
#pragma once

#include "berth/outcome.h"

/* The header that carries them, with its line end, owned by the caller and to be wiped; NULL where there are none.
 * SECRETS are "id=ID[,src=FILE|,env=NAME]" or "FILE", AGENTS "default", "ID" or "ID=SOCKET". */
int client_build_secrets(char *const *secrets, char *const *agents, char **ret_header, Error *error);
