/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include <string.h>

#include "client-path.h"
#include "client.h"

char *client_path_clean(const char *path)
{
        CLEANUP_BUFFER Buffer out = {};
        bool rooted = *path == '/';

        while (*path) {
                size_t n = strcspn(path, "/");
                const char *last = out.size > 0 ? strrchr(out.data, '/') : NULL;
                const char *tail = last ? last + 1 : out.data ?: "";

                if (n == 2 && strncmp(path, "..", 2) == 0 && out.size > 0 && strcmp(tail, "..") != 0) {
                        out.size = last ? (size_t) (last - out.data) : 0;
                        out.data[out.size] = 0;
                } else if (n > 0 && !(n == 1 && *path == '.') && !(rooted && n == 2 && strncmp(path, "..", 2) == 0)) {
                        client_must_zero(
                                buffer_printf(&out, "%s%.*s", rooted || out.size > 0 ? "/" : "", (int) n, path));
                }
                path += n + (path[n] == '/');
        }
        if (out.size == 0)
                return client_must(strdup(rooted ? "/" : "."));
        return client_must(buffer_take(&out));
}

static const char *last_part(const char *path, size_t *ret_size)
{
        size_t n = strlen(path);
        const char *start;

        while (n > 1 && path[n - 1] == '/')
                n--;
        for (start = path + n; start > path && start[-1] != '/';)
                start--;
        *ret_size = path + n - start;
        return start;
}

bool client_path_says_current(const char *path)
{
        size_t n = strlen(path);

        return n == 0 || (path[n - 1] == '.' && (n == 1 || path[n - 2] == '/'));
}

bool client_path_says_directory(const char *path)
{
        return client_path_says_current(path) || str_has_suffix(path, "/");
}

char *client_path_base(const char *path)
{
        CLEANUP_FREE char *clean = NULL;
        const char *start;
        size_t n;

        if (client_path_says_current(path))
                return client_must(strdup("."));
        clean = client_path_clean(path);
        start = last_part(clean, &n);
        return client_must(n > 0 ? strndup(start, n) : strdup("/"));
}

char *client_path_parent(const char *path)
{
        CLEANUP_FREE char *clean = client_path_clean(path);
        char *slash;

        if (client_path_says_current(path))
                return TAKE_PTR(clean);
        slash = strrchr(clean, '/');
        if (!slash)
                return client_must(strdup("."));
        slash[slash == clean] = 0;
        return TAKE_PTR(clean);
}

char *client_path_absolute(const char *path)
{
        CLEANUP_FREE char *here = *path == '/' ? client_must(strdup("")) : client_must(getcwd(NULL, 0));
        CLEANUP_FREE char *joined = client_must(str_printf("%s/%s", here, path)), *clean = client_path_clean(joined);
        const char *slash = str_has_suffix(clean, "/") ? "" : "/";

        if (client_path_says_current(path))
                return client_must(str_printf("%s%s.", clean, slash));
        if (str_has_suffix(path, "/"))
                return client_must(str_printf("%s%s", clean, slash));
        return TAKE_PTR(clean);
}
