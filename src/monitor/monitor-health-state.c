/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the results of checks mean, and the state as JSON. A check's output may be any bytes: those that are no UTF-8,
 * and zero, become U+FFFD, as in Go. */
#include <string.h>

#include "berth/string.h"
#include "monitor-health.h"

void monitor_health_judge(MonitorHealth *health, int exit_code, int64_t start_ns)
{
        if (exit_code == 0) {
                health->streak = 0;
                health->status = MONITOR_HEALTH_HEALTHY;
                return;
        }
        /* A container that was never healthy has its time to become so. */
        if (health->status == MONITOR_HEALTH_STARTING && start_ns - health->started_ns < health->timing.start_period_ns)
                return;
        health->streak++;
        if (health->streak >= health->timing.retries)
                health->status = MONITOR_HEALTH_UNHEALTHY;
}

/* The length of the UTF-8 sequence that begins here; 0 where there is none. */
static size_t sequence(const unsigned char *data, size_t size)
{
        unsigned char c = data[0];
        size_t length = c < 0x80                ? 1
                        : c >= 0xc2 && c < 0xe0 ? 2
                        : c >= 0xe0 && c < 0xf0 ? 3
                        : c >= 0xf0 && c < 0xf5 ? 4
                                                : 0;

        if (length == 0 || length > size)
                return 0;
        for (size_t i = 1; i < length; i++)
                if ((data[i] & 0xc0) != 0x80)
                        return 0;
        /* Overlong forms, surrogates, and what lies beyond Unicode. */
        if ((c == 0xe0 && data[1] < 0xa0) || (c == 0xed && data[1] >= 0xa0) || (c == 0xf0 && data[1] < 0x90) ||
            (c == 0xf4 && data[1] >= 0x90))
                return 0;
        return length;
}

static int append_character(Buffer *text, const unsigned char *data, size_t length)
{
        if (length == 0 || data[0] == 0)
                return buffer_append_string(text, "\\ufffd");
        if (data[0] == '"' || data[0] == '\\')
                return buffer_printf(text, "\\%c", data[0]);
        if (data[0] < 0x20)
                return buffer_printf(text, "\\u%04x", data[0]);
        return buffer_append(text, data, length);
}

static int append_string(Buffer *text, const Buffer *string)
{
        const unsigned char *data = (const unsigned char *) string->data;
        int r = buffer_append(text, "\"", 1);

        for (size_t i = 0; r >= 0 && i < string->size;) {
                size_t length = sequence(data + i, string->size - i);

                r = append_character(text, data + i, length);
                i += length > 0 ? length : 1;
        }
        return r < 0 ? r : buffer_append(text, "\"", 1);
}

static int append_result(Buffer *text, const MonitorHealthResult *result)
{
        char start[TIME_RFC3339_SIZE], end[TIME_RFC3339_SIZE];
        int r = buffer_printf(text, "{\"Start\":\"%s\",\"End\":\"%s\",\"ExitCode\":%d,\"Output\":",
                              time_format_rfc3339(result->start_ns, start), time_format_rfc3339(result->end_ns, end),
                              result->exit_code);

        if (r >= 0)
                r = append_string(text, &result->output);
        return r < 0 ? r : buffer_append(text, "}", 1);
}

int monitor_health_format(const MonitorHealth *health, Buffer *ret_text)
{
        static const char *const names[] = { "starting", "healthy", "unhealthy" };
        CLEANUP_BUFFER Buffer text = {};
        int r = buffer_printf(&text, "{\"Status\":\"%s\",\"FailingStreak\":%u,\"Log\":[", names[health->status],
                              (unsigned) health->streak);

        for (size_t i = 0; r >= 0 && i < health->n_log; i++) {
                if (i > 0)
                        r = buffer_append(&text, ",", 1);
                if (r >= 0)
                        r = append_result(&text, &health->log[i]);
        }
        if (r >= 0)
                r = buffer_append(&text, "]}\n", 3);
        if (r < 0)
                return r;
        *ret_text = text;
        text = (Buffer) {};
        return 0;
}
