/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sources by pattern, name by name down the tree. Links above the last name are followed inside the root. */
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include "berth/build.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "build-private.h"

#define MATCHES_MAX 100000

typedef struct Find {
        int root_fd;
        char **paths; /* owned */
        size_t n_paths;
} Find;

static int read_names(int root_fd, const char *path, char ***ret)
{
        CLEANUP_CLOSE int fd = mount_path_open(root_fd, *path ? path : ".", O_RDONLY | O_DIRECTORY);

        return fd < 0 ? fd : build_read_names(fd, ret);
}

static int find(Find *state, const char *above, const char *pattern);

/* The name at the front of PATTERN is NAME: goes on below it, or notes it. */
static int take_name(Find *state, const char *above, const char *name, const char *rest)
{
        CLEANUP_FREE char *path = *above ? str_printf("%s/%s", above, name) : strdup(name);

        if (!path)
                return -ENOMEM;
        if (*rest)
                return find(state, path, rest);
        CLEANUP_CLOSE int fd = mount_path_open(state->root_fd, path, O_PATH | O_NOFOLLOW);
        if (fd < 0)
                return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
        if (++state->n_paths > MATCHES_MAX)
                return -E2BIG;
        return strv_append(&state->paths, path);
}

static int find_below(Find *state, const char *above, const char *pattern, const char *name, const char *rest)
{
        CLEANUP_STRV char **names = NULL;
        int r = read_names(state->root_fd, above, &names);
        (void) pattern;

        if (r < 0)
                return r == -ENOENT || r == -ENOTDIR ? 0 : r;
        for (size_t i = 0; r == 0 && names[i]; i++)
                if (fnmatch(name, names[i], FNM_PATHNAME) == 0)
                        r = take_name(state, above, names[i], rest);
        return r;
}

static int find(Find *state, const char *above, const char *pattern)
{
        size_t n = strcspn(pattern, "/");
        CLEANUP_FREE char *name = strndup(pattern, n);
        const char *rest = pattern + n + strspn(pattern + n, "/");

        if (!name)
                return -ENOMEM;
        return strpbrk(name, "*?[\\") ? find_below(state, above, pattern, name, rest)
                                      : take_name(state, above, name, rest);
}

/* Without "." and "..", and never above the root. */
static char *clean(const char *text)
{
        CLEANUP_STRV char **parts = calloc(1, sizeof(char *));
        CLEANUP_FREE char *copy = strdup(text);
        CLEANUP_BUFFER Buffer path = { 0 };
        char *rest = copy, *name;
        size_t n = 0;

        while (parts && copy && (name = strsep(&rest, "/"))) {
                if (!*name || str_equal(name, "."))
                        continue;
                if (str_equal(name, "..")) {
                        if (n > 0)
                                free(TAKE_PTR(parts[--n]));
                        continue;
                }
                if (strv_append(&parts, name) < 0)
                        return NULL;
                n++;
        }
        for (size_t i = 0; i < n; i++)
                if (buffer_printf(&path, "%s%s", i > 0 ? "/" : "", parts[i]) < 0)
                        return NULL;
        return copy && parts && buffer_append_string(&path, "") >= 0 ? buffer_take(&path) : NULL;
}

int build_find_sources(int root_fd, const json_t *step, char ***ret_paths, Error *error)
{
        CLEANUP_STRV char **paths = calloc(1, sizeof(char *));
        json_t *source;
        size_t i;
        int r = paths ? 0 : -ENOMEM;

        json_array_foreach(json_get_array(step, "Sources"), i, source) {
                const char *text = json_string_value(source);
                bool fetched = json_object_get(json_get_object(step, "Fetched"), text);
                CLEANUP_FREE char *path = clean(text);
                Find state = { .root_fd = root_fd, .paths = TAKE_PTR(paths) };

                if (r == 0 && fetched)
                        r = strv_append(&state.paths, text);
                else if (r == 0)
                        r = !path ? -ENOMEM : *path ? find(&state, "", path) : strv_append(&state.paths, ".");
                bool found = fetched || !path || !*path || state.n_paths > 0;
                paths = state.paths;
                if (r == 0 && !found && !strpbrk(path, "*?["))
                        return error_set(
                                error, OUTCOME_BAD_REQUEST,
                                "%s failed: file not found in build context or excluded by .dockerignore: stat "
                                "%s: file does not exist",
                                json_get_bool(step, "Add") ? "ADD" : "COPY", text);
                if (r != 0)
                        return r;
        }
        if (r == 0 && !paths[0] && json_array_size(json_get_array(step, "Inline")) == 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "%s failed: no source files were specified",
                                 json_get_bool(step, "Add") ? "ADD" : "COPY");
        *ret_paths = TAKE_PTR(paths);
        return r;
}
