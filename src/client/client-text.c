/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Formatting for people. Everything here is pure: strings in, strings out, owned by the caller. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "berth/string.h"
#include "client-text.h"

char *text_size(double bytes, int precision)
{
        static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB" };
        size_t i = 0;

        for (; bytes >= 1000 && i + 1 < ARRAY_SIZE(units); i++)
                bytes /= 1000;
        return str_printf("%.*g%s", precision, bytes, units[i]);
}

char *text_size_binary(double bytes)
{
        static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB" };
        size_t i = 0;

        for (; bytes >= 1024 && i + 1 < ARRAY_SIZE(units); i++)
                bytes /= 1024;
        return str_printf("%.4g%s", bytes, units[i]);
}

int text_parse_size(const char *s, int64_t *ret)
{
        static const char letters[] = "kmgtp";
        double factor = 1, value;
        const char *unit, *letter;
        char *end;

        if (strcmp(s, "-1") == 0) {
                *ret = -1;
                return 0;
        }
        if (!isdigit((unsigned char) *s) && *s != '.')
                return -EINVAL;
        /* No hexadecimal, no exponent: those are strtod's, not the user's. */
        if (strspn(s, "0123456789.") == 0)
                return -EINVAL;
        unit = s + strspn(s, "0123456789.");
        value = strtod(s, &end);
        if (end != unit)
                return -EINVAL;
        if (*unit == ' ')
                unit++;
        if (*unit && (letter = strchr(letters, tolower((unsigned char) *unit)))) {
                for (long i = letter - letters; i >= 0; i--)
                        factor *= 1024;
                unit++;
                if (tolower((unsigned char) *unit) == 'i')
                        unit++;
        }
        if (tolower((unsigned char) *unit) == 'b')
                unit++;
        if (*unit || value * factor >= 0x1p63)
                return -EINVAL;
        *ret = (int64_t) (value * factor);
        return 0;
}

int text_parse_nano(const char *s, int64_t *ret)
{
        size_t n = strspn(s, "0123456789.");
        double value;
        char *end;

        if (n == 0 || s[n])
                return -EINVAL;
        value = strtod(s, &end) * 1e9;
        if (*end || value >= 0x1p63)
                return -EINVAL;
        *ret = (int64_t) (value + 0.5);
        return 0;
}

size_t text_columns(const char *s, size_t size)
{
        size_t columns = 0;

        for (size_t i = 0; i < size; i++)
                columns += ((unsigned char) s[i] & 0xc0) != 0x80;
        return columns;
}

char *text_ellipsis(const char *s, size_t columns)
{
        size_t i = 0;

        if (text_columns(s, strlen(s)) <= columns)
                return strdup(s);
        for (size_t seen = 0; s[i]; i++)
                if (((unsigned char) s[i] & 0xc0) != 0x80 && seen++ == columns - 1)
                        break;
        return str_printf("%.*s…", (int) i, s);
}

int text_append_quoted(Buffer *buffer, const char *s)
{
        static const char plain[] = "\a\b\f\n\r\t\v\"\\", escaped[] = "abfnrtv\"\\";
        int r = buffer_append_string(buffer, "\"");

        for (; *s && r >= 0; s++) {
                const char *found = strchr(plain, *s);

                if (found)
                        r = buffer_printf(buffer, "\\%c", escaped[found - plain]);
                else if ((unsigned char) *s < 0x20 || *s == 0x7f)
                        r = buffer_printf(buffer, "\\x%02x", (unsigned char) *s);
                else
                        r = buffer_append(buffer, s, 1);
        }
        return r < 0 ? r : buffer_append_string(buffer, "\"");
}

/* --- tables --- */

/* The start of cell COLUMN in a line and its length, if the line has one that ends with a tab. */
static const char *find_cell(const char *line, size_t length, size_t column, size_t *ret_size)
{
        const char *end = line + length;

        for (;; column--) {
                const char *tab = memchr(line, '\t', end - line);

                if (!tab)
                        return NULL;
                if (column == 0) {
                        *ret_size = tab - line;
                        return line;
                }
                line = tab + 1;
        }
}

typedef struct TextLine {
        const char *start;
        size_t length;
} TextLine;

/* The width of COLUMN in the run of lines around I that have it. */
static size_t column_width(const TextLine *lines, size_t n, size_t i, size_t column, size_t minimum, size_t padding)
{
        size_t size, width = minimum, first = i;
        const char *cell;

        while (first > 0 && find_cell(lines[first - 1].start, lines[first - 1].length, column, &size))
                first--;
        for (; first < n && (cell = find_cell(lines[first].start, lines[first].length, column, &size)); first++)
                width = MAX(width, text_columns(cell, size) + padding);
        return width;
}

static int align_line(const TextLine *lines, size_t n, size_t i, size_t *widths, size_t *run_end, size_t minimum,
                      size_t padding, Buffer *out)
{
        const char *rest = lines[i].start;
        int r = 0;

        for (size_t column = 0, size; r >= 0 && find_cell(lines[i].start, lines[i].length, column, &size); column++) {
                /* Widths are worked out once for the run a line begins. */
                size_t end = i;

                if (column < 64 && i < run_end[column]) {
                        r = buffer_append(out, rest, size);
                } else {
                        size_t ignored;

                        if (column >= 64)
                                return -E2BIG;
                        while (end < n && find_cell(lines[end].start, lines[end].length, column, &ignored))
                                end++;
                        run_end[column] = end;
                        widths[column] = column_width(lines, n, i, column, minimum, padding);
                        r = buffer_append(out, rest, size);
                }
                if (r >= 0)
                        r = buffer_printf(out, "%*s", (int) (widths[column] - text_columns(rest, size)), "");
                rest += size + 1;
        }
        return r < 0 ? r : buffer_append(out, rest, lines[i].start + lines[i].length - rest);
}

int text_align(const char *text, size_t minimum, size_t padding, Buffer *out)
{
        size_t n = 0, capacity = 16, widths[64] = {}, run_end[64] = {};
        CLEANUP_FREE TextLine *lines = malloc(capacity * sizeof(TextLine));
        int r = 0;

        if (!lines)
                return -ENOMEM;
        while (*text) {
                size_t length = strcspn(text, "\n");

                if (n == capacity) {
                        TextLine *more = reallocarray(lines, capacity *= 2, sizeof(TextLine));

                        if (!more)
                                return -ENOMEM;
                        lines = more;
                }
                lines[n++] = (TextLine) { text, length };
                text += length + (text[length] == '\n');
        }
        for (size_t i = 0; i < n && r >= 0; i++) {
                r = align_line(lines, n, i, widths, run_end, minimum, padding, out);
                if (r >= 0)
                        r = buffer_append_string(out, "\n");
        }
        return r;
}

char *text_time(int64_t seconds)
{
        time_t t = seconds;
        struct tm tm;
        char buffer[64];

        if (!localtime_r(&t, &tm) || strftime(buffer, sizeof(buffer), "%Y-%m-%d %H:%M:%S %z %Z", &tm) == 0)
                return strdup("");
        return strdup(buffer);
}

/* "2006-01-02T15:04:05", FRACTION and the offset from UTC, "Z" for none. */
static char *local_time(int64_t seconds, const char *fraction)
{
        time_t t = seconds;
        struct tm tm;
        char buffer[64];
        long minutes;

        if (!localtime_r(&t, &tm) || strftime(buffer, sizeof(buffer), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
                return strdup("");
        minutes = tm.tm_gmtoff / 60;
        if (minutes == 0)
                return str_printf("%s%sZ", buffer, fraction);
        return str_printf("%s%s%c%02ld:%02ld", buffer, fraction, minutes < 0 ? '-' : '+', labs(minutes) / 60,
                          labs(minutes) % 60);
}

char *text_time_rfc3339(int64_t seconds)
{
        return local_time(seconds, "");
}

char *text_time_nano(int64_t ns)
{
        char fraction[16];

        snprintf(fraction, sizeof(fraction), ".%09lld", (long long) (ns % 1000000000));
        return local_time(ns / 1000000000, fraction);
}

char *text_build_time(const char *rfc3339)
{
        int64_t ns;
        time_t t;
        struct tm tm;
        char buffer[64];

        if (time_parse_rfc3339(rfc3339, &ns) < 0)
                return strdup(rfc3339);
        t = ns / 1000000000;
        if (!gmtime_r(&t, &tm) || strftime(buffer, sizeof(buffer), "%a %b %e %H:%M:%S %Y", &tm) == 0)
                return strdup(rfc3339);
        return strdup(buffer);
}
