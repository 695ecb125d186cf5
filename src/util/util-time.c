/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Times and durations in the forms of Go's time package, which the API's texts come from. */
#include <ctype.h>
#include <limits.h>

#include "berth/string.h"

#define NS_PER_SECOND INT64_C(1000000000)
/* Keeps every product with NS_PER_SECOND inside 64 bits. */
#define SECONDS_MAX (INT64_MAX / NS_PER_SECOND - 1)

int64_t time_now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t) now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

int64_t time_monotonic_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t) now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

static void split_ns(int64_t ns, struct tm *ret_tm, int *ret_fraction)
{
        time_t seconds = (time_t) (ns / NS_PER_SECOND);
        int64_t fraction = ns % NS_PER_SECOND;

        if (fraction < 0) {
                fraction += NS_PER_SECOND;
                seconds--;
        }
        gmtime_r(&seconds, ret_tm);
        *ret_fraction = (int) fraction;
}

char *time_format_rfc3339_fixed(int64_t ns, char buffer[static TIME_RFC3339_SIZE])
{
        struct tm tm;
        int fraction;

        split_ns(ns, &tm, &fraction);
        size_t n = strftime(buffer, TIME_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(buffer + n, TIME_RFC3339_SIZE - n, ".%09dZ", fraction);
        return buffer;
}

char *time_format_rfc3339(int64_t ns, char buffer[static TIME_RFC3339_SIZE])
{
        time_format_rfc3339_fixed(ns, buffer);
        char *end = buffer + strlen(buffer) - 1; /* at the Z */
        while (end[-1] == '0')
                end--;
        if (end[-1] == '.')
                end--;
        strcpy(end, "Z");
        return buffer;
}

/* Up to nine digits of a fraction behind the point at *S; further digits are skipped. */
static int64_t parse_fraction(const char **s)
{
        int64_t value = 0, unit = NS_PER_SECOND / 10;

        for (; isdigit((unsigned char) **s); (*s)++) {
                value += (**s - '0') * unit;
                unit /= 10;
        }
        return value;
}

static int parse_zone(const char *s, int64_t *ret_offset_seconds)
{
        int hours, minutes, used = 0;

        if (str_equal(s, "Z")) {
                *ret_offset_seconds = 0;
                return 0;
        }
        if ((*s != '+' && *s != '-') || sscanf(s + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || used != 5 ||
            s[1 + used] || hours > 23 || minutes > 59 || hours < 0 || minutes < 0)
                return -EINVAL;
        int64_t offset = hours * 3600 + minutes * 60;
        *ret_offset_seconds = *s == '-' ? -offset : offset;
        return 0;
}

int time_parse_rfc3339(const char *s, int64_t *ret_ns)
{
        struct tm tm = { 0 };
        const char *rest = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
        int64_t fraction = 0, offset;

        if (!rest)
                return -EINVAL;
        if (*rest == '.') {
                rest++;
                fraction = parse_fraction(&rest);
        }
        if (parse_zone(rest, &offset) < 0)
                return -EINVAL;
        int64_t seconds = timegm(&tm) - offset;
        if (seconds > SECONDS_MAX || seconds < -SECONDS_MAX)
                return -EINVAL;
        *ret_ns = seconds * NS_PER_SECOND + fraction;
        return 0;
}

/* The shortened forms of RFC 3339 that Docker's clients send, without a zone: local time of the engine. */
static int parse_local(const char *s, int64_t *ret_ns)
{
        static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d" };

        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
                struct tm tm = { .tm_isdst = -1 };
                const char *rest = strptime(s, forms[i], &tm);
                int64_t fraction = 0;

                if (!rest)
                        continue;
                if (i == 0 && *rest == '.') {
                        rest++;
                        fraction = parse_fraction(&rest);
                }
                bool utc = str_equal(rest, "Z");
                if (*rest && !utc)
                        continue;
                int64_t seconds = utc ? timegm(&tm) : mktime(&tm);
                if (seconds > SECONDS_MAX || seconds < -SECONDS_MAX)
                        return -EINVAL;
                *ret_ns = seconds * NS_PER_SECOND + fraction;
                return 0;
        }
        return -EINVAL;
}

int time_parse_seconds(const char *s, int64_t *ret_ns)
{
        char *end = NULL;

        if (isspace((unsigned char) *s))
                return -EINVAL;
        errno = 0;
        long long seconds = strtoll(s, &end, 10);
        if (end == s)
                return -EINVAL;
        const bool too_large = errno == ERANGE;
        const char *rest = end;
        int64_t fraction = 0;
        if (*rest == '.') {
                rest++;
                fraction = parse_fraction(&rest);
        }
        if (*rest || too_large)
                return *rest ? -EINVAL : -ERANGE;
        seconds = MAX(MIN(seconds, SECONDS_MAX), -SECONDS_MAX);
        *ret_ns = seconds * NS_PER_SECOND + fraction;
        return 0;
}

int time_parse_query(const char *s, int64_t now_ns, int64_t *ret_ns)
{
        int64_t duration;

        if (str_empty(s))
                return -EINVAL;
        if ((*s != '-' && time_parse_seconds(s, ret_ns) == 0) || time_parse_rfc3339(s, ret_ns) == 0 ||
            parse_local(s, ret_ns) == 0)
                return 0;
        if (duration_parse(s, &duration) < 0)
                return -EINVAL;
        return __builtin_sub_overflow(now_ns, duration, ret_ns) ? -EINVAL : 0;
}

int duration_parse(const char *s, int64_t *ret_ns)
{
        static const struct {
                const char *name;
                int64_t ns;
        } units[] = { { "ns", 1 },
                      { "us", 1000 },
                      { "\xc2\xb5s", 1000 },
                      { "ms", 1000000 },
                      { "s", NS_PER_SECOND },
                      { "m", 60 * NS_PER_SECOND },
                      { "h", 3600 * NS_PER_SECOND } };
        bool negative = *s == '-';
        double total = 0;

        if (*s == '-' || *s == '+')
                s++;
        if (str_equal(s, "0")) {
                *ret_ns = 0;
                return 0;
        }
        if (!*s)
                return -EINVAL;
        while (*s) {
                size_t digits = strspn(s, "0123456789.");
                char *end = NULL;
                if (digits == 0)
                        return -EINVAL;
                double value = strtod(s, &end);
                if (end != s + digits)
                        return -EINVAL;
                size_t length = strcspn(end, "0123456789.");
                size_t i;
                for (i = 0; i < ARRAY_SIZE(units); i++)
                        if (strlen(units[i].name) == length && strncmp(units[i].name, end, length) == 0)
                                break;
                if (i == ARRAY_SIZE(units))
                        return -EINVAL;
                total += value * (double) units[i].ns;
                s = end + length;
        }
        if (total > (double) (INT64_MAX / 2))
                return -EINVAL;
        *ret_ns = negative ? -(int64_t) total : (int64_t) total;
        return 0;
}

char *duration_words(int64_t seconds)
{
        int64_t minutes = seconds / 60, hours = (seconds + 1800) / 3600;

        if (seconds < 1)
                return strdup("Less than a second");
        if (seconds == 1)
                return strdup("1 second");
        if (seconds < 60)
                return str_printf("%lld seconds", (long long) seconds);
        if (minutes == 1)
                return strdup("About a minute");
        if (minutes < 60)
                return str_printf("%lld minutes", (long long) minutes);
        if (hours == 1)
                return strdup("About an hour");
        if (hours < 48)
                return str_printf("%lld hours", (long long) hours);
        if (hours < 24 * 7 * 2)
                return str_printf("%lld days", (long long) hours / 24);
        if (hours < 24 * 30 * 2)
                return str_printf("%lld weeks", (long long) hours / 24 / 7);
        if (hours < 24 * 365 * 2)
                return str_printf("%lld months", (long long) hours / 24 / 30);
        return str_printf("%lld years", (long long) (seconds / 3600) / 24 / 365);
}
