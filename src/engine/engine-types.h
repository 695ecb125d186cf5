/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The types that the members of a request's body have to have, however deep they are. */
#pragma once

#include <jansson.h>

#include "berth/outcome.h"

/* TYPE is "container.ContainerConfigWrapper" or "container.UpdateConfig". The first member that is of another type is
 * refused in the words of Go's decoder, which clients show. */
int types_check(const char *type, const json_t *body, Error *error);
