/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a token server answers: a token that is taken can be put into a header. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "berth/string.h"
#include "registry-session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_REGISTRY_TOKEN RegistryToken token = { 0 };

        if (registry_token_parse(data, size, &token) == 0 &&
            (str_empty(token.token) || strpbrk(token.token, "\r\n") || token.seconds < 60))
                abort();
        return 0;
}
