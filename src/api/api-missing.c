/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Documented routes that this version does not have: each answers 501 with its name. */
#include "api-private.h"

const ApiRoute api_missing_routes[] = {
        { "POST", "/session", NULL, false, false },
        { NULL, NULL, NULL, false, false },
};
