/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of images: whatever is accepted must be accepted again in its normal and familiar forms, and mean the same. */
#include <stdint.h>

#include "berth/store.h"
#include "berth/string.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_again(const char *text, const char *normal)
{
        StoreReference reference CLEANUP_REFERENCE = {};
        char *again CLEANUP_FREE = NULL;

        /* A path of 64 digits is an ID when it stands alone, and no name. */
        if (strlen(text) == ID_LENGTH && id_is_prefix(text))
                return;
        if (store_reference_parse(text, &reference, NULL) != 0)
                abort();
        again = store_reference_normal(&reference);
        if (!str_equal(again, normal))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *text CLEANUP_FREE = strndup((const char *) data, size), *normal CLEANUP_FREE = NULL,
                   *familiar CLEANUP_FREE = NULL;
        StoreReference reference CLEANUP_REFERENCE = {};
        Error error CLEANUP_ERROR = {};

        if (store_reference_parse(text, &reference, &error) != 0)
                return 0;
        normal = store_reference_normal(&reference);
        familiar = store_reference_familiar(&reference);
        same_again(normal, normal);
        same_again(familiar, normal);
        return 0;
}
