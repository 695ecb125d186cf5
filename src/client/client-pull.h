/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pulling, as its command and as `run` do it. */
#pragma once

#include "client-progress.h"
#include "client.h"

/* Pulls REFERENCE, or every tag of its repository. PLATFORM may be empty. 0, or positive with ERROR set. */
int client_pull(Client *client, const char *reference, bool all, const char *platform, ClientProgress *progress,
                Error *error);

/* "os/arch/variant" as the JSON that some calls want; owned by the caller. Refuses what is none. */
int client_platform_parse(const char *text, char **ret, Error *error);

/* Signatures of content trust cannot be checked: a user who demands them is refused. */
int client_check_trust(const ClientArguments *arguments, Error *error);
