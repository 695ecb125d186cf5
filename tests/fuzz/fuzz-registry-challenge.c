/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* WWW-Authenticate: whatever it says, what comes out can be put into a request. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "berth/string.h"
#include "registry-challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
        for (; text && *text; text++)
                if ((unsigned char) *text < ' ')
                        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_FREE char *text = strndup((const char *) data, size);
        CLEANUP_REGISTRY_CHALLENGE RegistryChallenge challenge = { 0 };

        if (registry_challenge_parse(text, &challenge) < 0)
                return 0;
        if (challenge.scheme == REGISTRY_BEARER && str_empty(challenge.realm))
                abort();
        check_text(challenge.realm);
        check_text(challenge.service);
        check_text(challenge.scope);
        return 0;
}
