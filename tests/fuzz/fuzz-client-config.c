/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A config.json of the user's: taken or refused with a message; what is taken answers every question about credentials,
 * and what "auth" holds is base64 that comes out again as it went in. */
#include <stdint.h>
#include <stdlib.h>

#include "berth/base64.h"
#include "berth/json.h"
#include "berth/string.h"
#include "client-auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_base64(const uint8_t *data, size_t size)
{
        CLEANUP_FREE char *text = base64_encode(data, size, false), *back = NULL;
        size_t back_size;

        if (!text || base64_decode(text, &back, &back_size) < 0 || back_size != size || memcmp(back, data, size) != 0)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        ClientConfig config = {};
        CLEANUP_ERROR Error error = {};
        const char *key;
        json_t *entry;

        check_base64(data, size);
        if (client_config_parse((const char *) data, size, &config.root, &error) != 0) {
                if (!error.message || config.root)
                        abort();
                return 0;
        }
        /* Helpers are programs of this machine: none is to run. */
        json_object_del(config.root, "credsStore");
        json_object_del(config.root, "credHelpers");
        json_object_foreach(json_get_object(config.root, "auths"), key, entry) {
                CLEANUP_JSON json_t *auth = NULL;
                CLEANUP_ERROR Error reason = {};
                CLEANUP_FREE char *host = client_auth_hostname(key);

                if ((client_auth_get(&config, key, &auth, &reason) == 0) != (auth != NULL) || !host)
                        abort();
        }
        client_config_clear(&config);
        return 0;
}
