/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A registry's headers about an upload: two lines, the URL that was asked and the Location; the rest is taken for a
 * Range and a Retry-After. What a location leads to is an URL again, and never leaves TLS for a host in clear. */
#include <stdint.h>
#include <stdlib.h>

#include "berth/string.h"
#include "registry-host.h"
#include "registry-location.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_location(const char *base, const char *location)
{
        CLEANUP_REGISTRY_URL RegistryUrl from = { 0 }, to = { 0 };
        CLEANUP_FREE char *found = NULL, *whole = NULL;

        /* What was asked was an URL. */
        if (registry_url_parse(base, &from) < 0 || strpbrk(base, " \t\r\n"))
                return;
        if (registry_location_resolve(base, location, &found) != 0)
                return;
        if (registry_url_parse(found, &to) < 0 || (from.tls && !to.tls) || strpbrk(found, " \t\r\n#"))
                abort();
        whole = registry_location_with(found, "digest", "sha256:0");
        if (!whole || !str_after_prefix(whole, found) || !strchr(whole, '?'))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_FREE char *text = strndup((const char *) data, size);
        char *location = strchr(text, '\n'), *rest = location ? strchr(location + 1, '\n') : NULL;
        int64_t received = 0;
        unsigned seconds = 0;

        if (!location)
                return 0;
        *location++ = 0;
        if (rest)
                *rest++ = 0;
        check_location(text, location);
        if (rest && registry_range_received(rest, &received) == 0 && received < 0)
                abort();
        if (rest && registry_retry_after(rest, 1000000, 60, &seconds) == 0 && seconds > 60)
                abort();
        return 0;
}
