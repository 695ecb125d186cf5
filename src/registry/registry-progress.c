/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-progress.h"

#include <stdarg.h>

#include "berth/digest.h"
#include "berth/string.h"

#define BAR_WIDTH 50

RegistryShortId registry_short_id(const char *digest)
{
        RegistryShortId id = { "" };

        if (store_digest_is_valid(digest))
                snprintf(id.text, sizeof(id.text), "%.12s", store_digest_hex(digest));
        return id;
}

json_t *registry_message(const char *id, const char *status)
{
        return id ? json_pack("{ss s{} ss}", "status", status, "progressDetail", "id", id)
                  : json_pack("{ss}", "status", status);
}

json_t *registry_message_printf(const char *id, const char *format, ...)
{
        char text[1024];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        return registry_message(id, text);
}

static void format_size(int64_t bytes, char *ret, size_t size)
{
        static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
        double value = (double) bytes;
        size_t unit = 0;

        for (; value >= 1000 && unit + 1 < ARRAY_SIZE(units); unit++)
                value /= 1000;
        snprintf(ret, size, "%.4g%s", value, units[unit]);
}

json_t *registry_message_progress(const char *id, const char *status, int64_t current, int64_t total)
{
        static const char bar[] = "==================================================";
        char now[32], whole[32], text[160];

        format_size(current, now, sizeof(now));
        if (total <= 0) {
                snprintf(text, sizeof(text), "%8s", now);
                return json_pack("{ss s{sI} ss ss*}", "status", status, "progressDetail", "current",
                                 (json_int_t) current, "progress", text, "id", id);
        }
        int done = (int) (MIN(current, total) * BAR_WIDTH / total);
        format_size(total, whole, sizeof(whole));
        snprintf(text, sizeof(text), "[%.*s>%*s]  %8s/%s", done, bar, BAR_WIDTH - done, "", now, whole);
        return json_pack("{ss s{sI sI} ss ss*}", "status", status, "progressDetail", "current", (json_int_t) current,
                         "total", (json_int_t) total, "progress", text, "id", id);
}
