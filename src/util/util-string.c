/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "berth/string.h"

#include <ctype.h>
#include <strings.h>
#include <sys/random.h>

const char *str_after_prefix(const char *s, const char *prefix)
{
        size_t n = strlen(prefix);

        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

bool str_has_suffix(const char *s, const char *suffix)
{
        size_t n = strlen(s), m = strlen(suffix);

        return n >= m && strcmp(s + n - m, suffix) == 0;
}

char *str_printf(const char *format, ...)
{
        char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        int n = vasprintf(&text, format, arguments);
        va_end(arguments);
        return n < 0 ? NULL : text;
}

int str_to_int64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
        char *end = NULL;

        if (str_empty(s) || isspace((unsigned char) *s))
                return -EINVAL;
        errno = 0;
        long long value = strtoll(s, &end, 10);
        if (*end)
                return -EINVAL;
        if (errno == ERANGE || value < min || value > max)
                return -ERANGE;
        *ret = value;
        return 0;
}

const char *str_number_problem(int r)
{
        return r == -ERANGE ? "value out of range" : "invalid syntax";
}

int str_to_size(const char *text, int64_t step, int64_t *ret)
{
        static const char units[] = "bkmgtp";
        char *end;
        double value = isdigit((unsigned char) *text) ? strtod(text, &end) : -1;
        const char *unit;

        if (value < 0)
                return -EINVAL;
        if (*end == ' ')
                end++;
        unit = *end ? strchr(units, tolower((unsigned char) *end)) : units;
        if (!unit)
                return -EINVAL;
        if (*end)
                end++;
        if (unit > units && tolower((unsigned char) end[0]) == 'i' && tolower((unsigned char) end[1]) == 'b')
                end++;
        if (unit > units && tolower((unsigned char) *end) == 'b')
                end++;
        for (; unit > units; unit--)
                value *= (double) step;
        if (*end || value >= 9e18)
                return -EINVAL;
        *ret = (int64_t) value;
        return 0;
}

char *str_upper(char *s)
{
        for (char *p = s; p && *p; p++)
                *p = (char) toupper((unsigned char) *p);
        return s;
}

bool str_to_bool(const char *s)
{
        static const char *const falses[] = { "", "0", "no", "false", "none" };

        if (!s)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(falses); i++)
                if (strcasecmp(s, falses[i]) == 0)
                        return false;
        return true;
}

void strv_free(char **strv)
{
        if (!strv)
                return;
        for (char **s = strv; *s; s++)
                free(*s);
        free(strv);
}

size_t strv_length(char *const *strv)
{
        size_t n = 0;

        while (strv && strv[n])
                n++;
        return n;
}

int strv_append(char ***strv, const char *s)
{
        size_t n = strv_length(*strv);
        char *copy = strdup(s);
        char **grown = copy ? reallocarray(*strv, n + 2, sizeof(char *)) : NULL;

        if (!grown) {
                free(copy);
                return -ENOMEM;
        }
        grown[n] = copy;
        grown[n + 1] = NULL;
        *strv = grown;
        return 0;
}

bool strv_contains(char *const *strv, const char *s)
{
        for (; strv && *strv; strv++)
                if (strcmp(*strv, s) == 0)
                        return true;
        return false;
}

int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void hex_encode(const uint8_t *data, size_t size, char *ret)
{
        static const char digits[] = "0123456789abcdef";

        for (size_t i = 0; i < size; i++) {
                ret[2 * i] = digits[data[i] >> 4];
                ret[2 * i + 1] = digits[data[i] & 15];
        }
        ret[2 * size] = 0;
}

int id_generate(char ret_id[static ID_LENGTH + 1])
{
        uint8_t bytes[ID_LENGTH / 2];

        do {
                if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes))
                        return errno > 0 ? -errno : -EIO;
                hex_encode(bytes, sizeof(bytes), ret_id);
        } while (strspn(ret_id, "0123456789") >= ID_SHORT_LENGTH);
        return 0;
}

bool id_is_prefix(const char *s)
{
        size_t n = strlen(s);

        return n >= 1 && n <= ID_LENGTH && strspn(s, "0123456789abcdef") == n;
}
