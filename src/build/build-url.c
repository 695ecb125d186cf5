/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sources that are elsewhere: which they are, and what their files are called here. */
#include <ctype.h>
#include <limits.h>
#include <strings.h>

#include "berth/json.h"
#include "build-private.h"

bool build_is_url(const char *source)
{
        return str_after_prefix(source, "http://") || str_after_prefix(source, "https://");
}

int build_source_root(const json_t *step, int root_fd, int fetched_fd, const char *source, const char **ret_path)
{
        const char *fetched = json_get_string(json_get_object(step, "Fetched"), source);

        *ret_path = fetched ?: source;
        return fetched ? fetched_fd : root_fd;
}

/* "%41" to "A"; what is no such escape stays. */
static char *decode(const char *text, size_t size)
{
        char *decoded = malloc(size + 1), *to = decoded;

        for (size_t i = 0; decoded && i < size; i++) {
                int high = i + 2 < size && text[i] == '%' ? hex_digit(text[i + 1]) : -1;
                int low = high >= 0 ? hex_digit(text[i + 2]) : -1;

                *to++ = low >= 0 ? (char) (high * 16 + low) : text[i];
                i += low >= 0 ? 2 : 0;
        }
        if (decoded)
                *to = 0;
        return decoded;
}

/* The last name, where it may be one of a file: an escape may have stood for anything. */
static char *last_name(const char *path)
{
        const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

        if (str_equal(name, ".") || str_equal(name, "..") || strlen(name) > NAME_MAX)
                return strdup("");
        for (const char *p = name; *p; p++)
                if (iscntrl((unsigned char) *p))
                        return strdup("");
        return strdup(name);
}

/* The value of a parameter "filename", quoted or not. */
static char *disposition_name(const char *header)
{
        const char *p = header + strcspn(header, ";");
        CLEANUP_FREE char *value = calloc(1, strlen(header) + 1);
        char *to = value;

        while (value && *p == ';') {
                p += 1 + strspn(p + 1, " \t");
                bool wanted = strncasecmp(p, "filename", 8) == 0;
                p += wanted ? 8 : 0;
                wanted = wanted && p[strspn(p, " \t")] == '=';
                p += strcspn(p, "=;");
                p += *p == '=';
                p += strspn(p, " \t");
                bool quoted = *p == '"';
                for (p += quoted; *p && (quoted ? *p != '"' : !strchr("; \t", *p)); p++) {
                        p += quoted && *p == '\\' && p[1];
                        if (wanted)
                                *to++ = *p;
                }
                if (wanted)
                        break;
                p += strcspn(p, ";");
        }
        return value ? last_name(value) : NULL;
}

int build_url_name(const char *url, const char *disposition, char **ret_name)
{
        const char *host = strstr(url, "://") ? strstr(url, "://") + 3 : url, *path = host + strcspn(host, "/?#");
        CLEANUP_FREE char *decoded = decode(path, strcspn(path, "?#"));
        char *name = decoded ? last_name(decoded) : NULL;

        if (name && !*name && disposition) {
                free(name);
                name = disposition_name(disposition);
        }
        if (!name)
                return -ENOMEM;
        *ret_name = name;
        return 0;
}
