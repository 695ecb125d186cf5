/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Laying JSON out without understanding it: only strings, brackets, commas and colons matter. */
#include <string.h>

#include "client-indent.h"

static int new_line(Buffer *out, int level)
{
        if (level < 0)
                return 0;
        return buffer_printf(out, "\n%*s", level * 4, "");
}

static size_t string_end(const char *data, size_t size, size_t i)
{
        for (i++; i < size && data[i] != '"'; i++)
                i += data[i] == '\\';
        return i < size ? i + 1 : size;
}

static bool closes_at_once(const char *data, size_t size, size_t i, size_t *ret_end)
{
        size_t next = i + 1;

        while (next < size && strchr(" \t\r\n", data[next]))
                next++;
        *ret_end = next;
        return next < size && (data[next] == ']' || data[next] == '}');
}

int client_indent(const char *data, size_t size, int level, Buffer *out)
{
        size_t i = 0, end;
        int r = 0;

        while (i < size && r >= 0) {
                char c = data[i];

                if (c == '"') {
                        end = string_end(data, size, i);
                        r = buffer_append(out, data + i, end - i);
                        i = end;
                        continue;
                }
                i++;
                if (c == '{' || c == '[') {
                        r = buffer_append(out, &c, 1);
                        if (r >= 0 && closes_at_once(data, size, i - 1, &end)) {
                                r = buffer_append(out, &data[end], 1);
                                i = end + 1;
                        } else if (r >= 0) {
                                r = new_line(out, level < 0 ? level : ++level);
                        }
                } else if (c == '}' || c == ']') {
                        r = new_line(out, level > 0 ? --level : level);
                        if (r >= 0)
                                r = buffer_append(out, &c, 1);
                } else if (c == ',') {
                        r = buffer_append(out, &c, 1);
                        if (r >= 0)
                                r = new_line(out, level);
                } else if (c == ':') {
                        r = buffer_append(out, ": ", level < 0 ? 1 : 2);
                } else if (!strchr(" \t\r\n", c)) {
                        r = buffer_append(out, &c, 1);
                }
        }
        return r;
}
