/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-detach.h. */
#include <errno.h>
#include <string.h>

#include "berth/string.h"
#include "monitor-detach.h"

int monitor_detach_parse(MonitorDetach *detach, const char *hex)
{
        MonitorDetach parsed = {};
        size_t length = strlen(hex);

        if (strcmp(hex, "-") == 0) {
                *detach = parsed;
                return 0;
        }
        if (length == 0 || length % 2 != 0 || length / 2 > MONITOR_DETACH_MAX)
                return -EINVAL;
        for (size_t i = 0; i < length; i += 2) {
                int high = hex_digit(hex[i]), low = hex_digit(hex[i + 1]);

                if (high < 0 || low < 0)
                        return -EINVAL;
                parsed.keys[parsed.n_keys++] = (uint8_t) (high << 4 | low);
        }
        *detach = parsed;
        return 0;
}

int monitor_detach_feed(MonitorDetach *detach, const uint8_t *data, size_t size, Buffer *output)
{
        int r;

        if (detach->n_keys == 0)
                return buffer_append(output, data, size);
        for (size_t i = 0; i < size; i++) {
                /* The sequence broke: pass on as little as leaves a beginning of the sequence again. */
                while (detach->held > 0 && detach->keys[detach->held] != data[i]) {
                        size_t skip = 1;

                        while (skip < detach->held &&
                               memcmp(detach->keys, detach->keys + skip, detach->held - skip) != 0)
                                skip++;
                        r = buffer_append(output, detach->keys, skip);
                        if (r < 0)
                                return r;
                        detach->held -= skip;
                }
                if (detach->keys[detach->held] != data[i]) {
                        r = buffer_append(output, data + i, 1);
                        if (r < 0)
                                return r;
                } else if (++detach->held == detach->n_keys) {
                        detach->held = 0;
                        return 1;
                }
        }
        return 0;
}

int monitor_detach_end(MonitorDetach *detach, Buffer *output)
{
        size_t held = detach->held;

        detach->held = 0;
        return buffer_append(output, detach->keys, held);
}
