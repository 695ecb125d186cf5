/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-location.h"

#include <strings.h>
#include <time.h>

#include "berth/string.h"
#include "registry-host.h"

/* --- Locations ---------------------------------------------------------------------------------------------------- */

/* The size of "https://host:port"; 0 where there is none. */
static size_t authority_size(const char *url)
{
        const char *rest = str_after_prefix(url, "https://") ?: str_after_prefix(url, "http://");

        return rest ? (size_t) (rest - url) + strcspn(rest, "/?#") : 0;
}

static bool is_absolute(const char *location)
{
        size_t first = strcspn(location, ":/?#");

        return first > 0 && location[first] == ':' && strncmp(location + first, "://", 3) == 0;
}

static const char *port_of(const RegistryUrl *url)
{
        return url->port ?: url->tls ? "443" : "80";
}

static int resolve_absolute(const char *base, const char *location, char **ret)
{
        CLEANUP_REGISTRY_URL RegistryUrl from = { 0 }, to = { 0 };

        if (registry_url_parse(base, &from) < 0 || registry_url_parse(location, &to) < 0)
                return -EPROTO;
        bool same_host = strcasecmp(from.host, to.host) == 0, downgrade = from.tls && !to.tls;
        if (downgrade && !same_host)
                return -EPROTO;
        if (downgrade || (same_host && str_equal(port_of(&from), port_of(&to))))
                *ret = str_printf("%.*s%s", (int) authority_size(base), base, location + authority_size(location));
        else
                *ret = strdup(location);
        return *ret ? 0 : -ENOMEM;
}

static int resolve_relative(const char *base, const char *location, char **ret)
{
        size_t authority = authority_size(base), path = strcspn(base, "?#"), directory = path;

        while (directory > authority && base[directory - 1] != '/')
                directory--;
        if (*location == '/')
                *ret = str_printf("%.*s%s", (int) authority, base, location);
        else if (*location == '?')
                *ret = str_printf("%.*s%s", (int) path, base, location);
        else
                *ret = str_printf("%.*s%s%s", (int) directory, base, directory == authority ? "/" : "", location);
        return *ret ? 0 : -ENOMEM;
}

int registry_location_resolve(const char *base, const char *location, char **ret)
{
        CLEANUP_FREE char *copy = strdup(location), *whole = NULL;

        if (!copy)
                return -ENOMEM;
        copy[strcspn(copy, "#")] = 0;
        if (*copy == 0 || authority_size(base) == 0)
                return -EPROTO;
        for (const char *p = copy; *p; p++)
                if ((unsigned char) *p <= ' ' || *p == 0x7f)
                        return -EPROTO;
        if (strncmp(copy, "//", 2) == 0) {
                whole = str_printf("%.*s%s", (int) (strcspn(base, ":") + 1), base, copy);
                return whole ? resolve_absolute(base, whole, ret) : -ENOMEM;
        }
        return is_absolute(copy) ? resolve_absolute(base, copy, ret) : resolve_relative(base, copy, ret);
}

char *registry_location_with(const char *location, const char *name, const char *value)
{
        const char *query = strchr(location, '?');
        const char *joint = !query ? "?" : query[1] == 0 || location[strlen(location) - 1] == '&' ? "" : "&";

        return str_printf("%s%s%s=%s", location, joint, name, value);
}

/* --- Progress and patience ---------------------------------------------------------------------------------------- */

int registry_range_received(const char *range, int64_t *ret)
{
        const char *rest = range ? str_after_prefix(range, "bytes=") ?: str_after_prefix(range, "bytes ") ?: range
                                 : NULL;
        const char *last = rest ? str_after_prefix(rest, "0-") : NULL;
        int64_t end;

        if (!last || str_to_int64(last, 0, INT64_MAX - 1, &end) < 0)
                return -EPROTO;
        *ret = end == 0 ? 0 : end + 1;
        return 0;
}

int registry_retry_after(const char *value, int64_t now, unsigned max, unsigned *ret)
{
        struct tm when = { 0 };
        int64_t seconds;

        if (!value)
                return -ENOENT;
        if (str_to_int64(value, 0, INT64_MAX, &seconds) < 0) {
                const char *end = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &when);

                if (!end || *end)
                        return -EPROTO;
                seconds = (int64_t) timegm(&when) - now;
        }
        *ret = (unsigned) MIN(MAX(seconds, INT64_C(0)), (int64_t) max);
        return 0;
}
