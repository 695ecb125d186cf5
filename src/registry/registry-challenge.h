/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* WWW-Authenticate (RFC 9110, 11.6.1): what a server wants to see. */
#pragma once

#include "berth/cleanup.h"

typedef enum RegistryScheme {
        REGISTRY_NO_SCHEME,
        REGISTRY_BASIC,
        REGISTRY_BEARER,
} RegistryScheme;

/* The empty value is {}. */
typedef struct RegistryChallenge {
        RegistryScheme scheme;
        char *realm, *service, *scope; /* owned; NULL where not said */
} RegistryChallenge;

void registry_challenge_clear(RegistryChallenge *challenge);
#define CLEANUP_REGISTRY_CHALLENGE CLEANUP(registry_challenge_clear)

/* Takes the best challenge of a header's value, which may hold several: Bearer before Basic; others, and malformed
 * ones, are passed over. *RET gets the empty value where none is left. Lines of several headers are joined by line
 * feeds. */
int registry_challenge_parse(const char *value, RegistryChallenge *ret);
