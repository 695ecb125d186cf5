/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines of a Dockerfile that change an image's configuration: whatever they say, the configuration stays one, and a
 * refusal has a message. */
#include <stdint.h>
#include <string.h>

#include "berth/change.h"
#include "berth/json.h"
#include "berth/string.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        json_t *config CLEANUP_JSON =
                json_pack("{s:[s,s], s:n, s:s}", "Env", "PATH=/usr/bin:/bin", "A=b", "Cmd", "WorkingDir", "/w");
        char *text CLEANUP_FREE = strndup((const char *) data, size);
        char *changes[] = { text, NULL };
        Error error CLEANUP_ERROR = {};
        int r = change_apply(config, changes, &error);

        if (r < 0 || (r > 0 && !error.message) || !json_is_object(config))
                abort();
        return 0;
}
