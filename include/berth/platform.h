/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Platforms as images name them: "linux/amd64", "linux/arm/v7". */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "berth/outcome.h"

typedef struct StorePlatform {
        char os[32], architecture[32], variant[16]; /* variant empty where there is none, or any will do */
} StorePlatform;

/* TEXT, or this machine's for NULL and "". OUTCOME_BAD_REQUEST where it is none. */
int store_platform_parse(const char *text, StorePlatform *ret, Error *error);

/* How well an OCI platform object (or a configuration) fits: 0 not at all, higher is better. */
int store_platform_match(const StorePlatform *want, const json_t *platform);
