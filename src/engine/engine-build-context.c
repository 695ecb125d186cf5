/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The context: the request's body is unpacked by a confined child into a staging directory, where it stays as long as
 * the build. */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "engine-build-work.h"

#define DOCKERFILE_MAX (16u * 1024 * 1024)

char *work_path(const BuildWork *work, const char *format, ...)
{
        char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        int n = vasprintf(&text, format, arguments);
        va_end(arguments);
        CLEANUP_FREE char *below = n < 0 ? NULL : text;
        return below ? path_join(work->build->engine->config->data_root, below) : NULL;
}

static ssize_t read_body(void *userdata, void *buffer, size_t size)
{
        BuildWork *work = userdata;

        return stream_read(&work->build->stream, buffer, size);
}

/* What changed goes upon what was sent before. */
static int unpack_changes(const BuildWork *work, int staging_fd, int tree_fd, json_t **ret, Error *error)
{
        CLEANUP_JSON json_t *before = NULL;
        StoreExtract extract = {
                .root_fd = tree_fd, .path = "/", .read = read_body, .userdata = (void *) work, .removals = true
        };
        int r = build_keep_begin(staging_fd, &before);

        if (r == 0)
                r = store_extract(&extract, error);
        if (r == 0)
                r = build_keep_end(work->build, staging_fd, before, json_get_int(before, "Size", 0));
        if (r == 0)
                *ret = json_pack("{ss}", "Path", BUILD_KEPT "/fs");
        return r != 0 ? r : *ret ? 0 : -ENOMEM;
}

static int unpack_whole(const BuildWork *work, const StoreInput *input, json_t **ret, Error *error)
{
        if (!build_keep(work->build))
                return store_stage_layer(input, "layer-0", NULL, NULL, ret, error);
        CLEANUP_JSON json_t *tree = NULL;
        int r = store_stage_layer(input, BUILD_KEPT, NULL, NULL, &tree, error);
        if (r == 0 && build_keep_is_worth(tree))
                r = build_keep_end(work->build, input->staging_fd, NULL, json_get_int(tree, "Size", 0));
        if (r == 0)
                *ret = json_pack("{ss}", "Path", BUILD_KEPT "/fs");
        return r != 0 ? r : *ret ? 0 : -ENOMEM;
}

static int unpack_context(void *userdata, int result_fd, json_t **ret, Error *error)
{
        BuildWork *work = userdata;
        CLEANUP_FREE char *path = work_path(work, "staging/%s", work->build->context);
        CLEANUP_CLOSE int staging_fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        StoreInput input = {
                .fd = -EBADF, .read = read_body, .staging_fd = staging_fd, .plain = true, .userdata = work
        };
        bool whole = !json_get_string(build_keep(work->build), "Base");

        if (staging_fd < 0)
                return -errno;
        CLEANUP_CLOSE int tree_fd =
                openat(staging_fd, whole ? "." : BUILD_KEPT "/fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (tree_fd < 0)
                return -errno;
        int keep[] = { work->build->stream.fd, staging_fd, tree_fd, result_fd };
        engine_worker_raise_files();
        int r = store_worker_confine(staging_fd, keep, ARRAY_SIZE(keep));
        if (r < 0)
                return r;
        return whole ? unpack_whole(work, &input, ret, error) : unpack_changes(work, staging_fd, tree_fd, ret, error);
}

/* Reads a file of the context; "" is a missing one. */
static int read_file(const BuildWork *work, const char *name, char **ret, size_t *ret_size)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        CLEANUP_CLOSE int fd = mount_path_open(work->context_fd, name, O_PATH);
        struct stat st;
        ssize_t n = 0;

        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return -EISDIR;
        fd_close(fd);
        fd = mount_path_open(work->context_fd, name, O_RDONLY);
        if (fd < 0)
                return fd;
        while (text.size <= DOCKERFILE_MAX && (n = buffer_read(&text, fd, 65536)) > 0)
                ;
        if (n < 0)
                return (int) n;
        *ret_size = text.size;
        *ret = text.size > 0 ? buffer_take(&text) : strdup("");
        return *ret ? 0 : -ENOMEM;
}

static void remove_file(const BuildWork *work, const char *name)
{
        const char *slash = strrchr(name, '/');
        CLEANUP_FREE char *above = slash ? strndup(name, (size_t) (slash - name)) : strdup(".");
        CLEANUP_CLOSE int fd = above ? mount_path_open(work->context_fd, above, O_PATH | O_DIRECTORY) : -1;

        if (fd >= 0)
                unlinkat(fd, slash ? slash + 1 : name, 0);
}

/* Under such a name clients send a Dockerfile that is not in the directory. */
static bool is_hidden(const char *dockerfile)
{
        const char *digits = str_after_prefix(dockerfile, ".dockerfile.");

        return digits && strlen(digits) == 20 && strspn(digits, "0123456789abcdef") == 20;
}

/* Clients send the Dockerfile and .dockerignore in any case; where a pattern leaves them out, COPY is not to see them.
 */
static int hide_own_files(const BuildWork *work, const char *dockerfile, Error *error)
{
        CLEANUP_DOCKERIGNORE DockerIgnore *ignore = NULL;
        CLEANUP_FREE char *text = NULL;
        size_t size;
        int r = read_file(work, ".dockerignore", &text, &size);

        if (is_hidden(dockerfile))
                remove_file(work, dockerfile);
        if (r < 0)
                return 0;
        r = dockerignore_parse(text, size, &ignore, error);
        if (r != 0)
                return r;
        if (dockerignore_match(ignore, ".dockerignore"))
                remove_file(work, ".dockerignore");
        if (dockerignore_match(ignore, dockerfile))
                remove_file(work, dockerfile);
        return 0;
}

static int read_dockerfile(BuildWork *work, Error *error)
{
        const char *given = json_get_string(work->options, "dockerfile"),
                   *name = str_empty(given) ? "Dockerfile" : given;
        CLEANUP_FREE char *text = NULL;
        size_t size = 0;
        int r;

        name += strspn(name, "/");
        while (str_after_prefix(name, "./"))
                name += 2;
        r = read_file(work, name, &text, &size);
        if (r == -ENOENT && str_equal(name, "Dockerfile")) {
                r = read_file(work, "dockerfile", &text, &size);
                if (r == 0)
                        name = "dockerfile";
        }
        if (r == -ENOENT || r == -ENOTDIR)
                return error_set(error, OUTCOME_FAILED, "Cannot locate specified Dockerfile: %s", name);
        if (r < 0)
                return error_set(error, OUTCOME_FAILED, "cannot read the Dockerfile (%s): %s", name, strerror(-r));
        if (size == 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "the Dockerfile (%s) cannot be empty", name);
        r = dockerfile_parse(text, size, &work->file, error);
        return r == 0 ? hide_own_files(work, name, error) : r;
}

static int parse_text(BuildWork *work, const char *text, Error *error)
{
        return *text ? dockerfile_parse(text, strlen(text), &work->file, error)
                     : error_set(error, OUTCOME_BAD_REQUEST, "the Dockerfile (Dockerfile) cannot be empty");
}

int work_read_context(BuildWork *work, Error *error)
{
        const char *remote = json_get_string(work->options, "remote");
        CLEANUP_FREE char *path = work_path(work, "staging/%s", work->build->context);
        CLEANUP_CLOSE int staging_fd = -EBADF;
        CLEANUP_JSON json_t *context = NULL;
        int r = !path ? -ENOMEM
                : str_empty(remote) || str_equal(remote, "client-session")
                        ? work_in_child(work, unpack_context, work, &context, error)
                        : work_remote_context(work, remote, &context, error);

        if (r != 0)
                return r;
        staging_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (staging_fd < 0)
                return -errno;
        const char *text = json_get_string(context, "Dockerfile");
        work->context_fd =
                mount_path_open(staging_fd, json_get_string_or(context, "Path", "layer-0/fs"), O_RDONLY | O_DIRECTORY);
        if (work->context_fd < 0)
                return work->context_fd;
        r = work_take_contexts(work, staging_fd, error);
        if (r != 0)
                return r;
        return text ? parse_text(work, text, error) : read_dockerfile(work, error);
}
