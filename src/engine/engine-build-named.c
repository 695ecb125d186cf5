/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Contexts that have a name: images, directories that came with the context, repositories. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/build.h"
#include "berth/file.h"
#include "berth/json.h"
#include "engine-build-work.h"

static int refuse(const char *name, Error *error)
{
        return error_set(error, OUTCOME_BAD_REQUEST,
                         "build context %s is neither a directory, an image nor a repository", name);
}

/* A directory of the context leaves it: COPY is not to see it there. */
static int take_directory(BuildWork *work, int staging_fd, const char *name, const char *prefix, char **ret,
                          Error *error)
{
        CLEANUP_FREE char *path = str_printf("named-%s", prefix);

        if (!path)
                return -ENOMEM;
        if (strchr(prefix, '/') || *prefix != '.' || str_equal(prefix, ".") || str_equal(prefix, ".."))
                return refuse(name, error);
        CLEANUP_CLOSE int fd = openat(work->context_fd, prefix, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || renameat(work->context_fd, prefix, staging_fd, path) < 0)
                return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? refuse(name, error) : -errno;
        *ret = TAKE_PTR(path);
        return 0;
}

static int take_remote(BuildWork *work, size_t number, const char *name, const char *remote, char **ret, Error *error)
{
        char at[32];

        if (!build_is_git(remote))
                return refuse(name, error);
        snprintf(at, sizeof(at), "repository-%zu", number);
        return work_git(work, remote, work->build->context, at, false, NULL, ret, error);
}

int work_take_contexts(BuildWork *work, int staging_fd, Error *error)
{
        const json_t *contexts = json_get_object(work->options, "contexts");
        const char *name;
        json_t *value;
        size_t n = 0;

        json_object_foreach((json_t *) contexts, name, value) {
                const char *prefix = json_get_string(value, "Prefix"), *remote = json_get_string(value, "Remote");
                CLEANUP_FREE char *path = NULL;
                int r = 0;

                if (prefix)
                        r = take_directory(work, staging_fd, name, prefix, &path, error);
                else if (remote)
                        r = take_remote(work, n++, name, remote, &path, error);
                else if (!json_get_string(value, "Image"))
                        r = refuse(name, error);
                if (r == 0 && path)
                        r = json_set_string(work->contexts, name, path);
                if (r != 0)
                        return r;
        }
        return 0;
}

int work_find_context(BuildWork *work, const char *name, const char *platform, WorkState *ret, Error *error)
{
        const char *path = json_get_string(work->contexts, name);
        const json_t *value = json_object_get(json_get_object(work->options, "contexts"), name);

        if (!path)
                return work_resolve(work, json_get_string_or(value, "Image", ""), platform, ret, error);
        ret->directory = work_path(work, "staging/%s/%s", work->build->context, path);
        return ret->directory ? 0 : -ENOMEM;
}
