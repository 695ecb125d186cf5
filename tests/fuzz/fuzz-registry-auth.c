/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* X-Registry-Auth, as clients send it, and the object in it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "berth/base64.h"
#include "berth/json.h"
#include "berth/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const char *header)
{
        CLEANUP_REGISTRY_AUTH RegistryAuth auth = { 0 };
        CLEANUP_ERROR Error error = { 0 };

        if (registry_auth_decode(header, &auth, &error) > 0 && !error.message)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_FREE char *text = strndup((const char *) data, size), *encoded = base64_encode(data, size, true);

        decode(text);
        decode(encoded);
        return 0;
}
