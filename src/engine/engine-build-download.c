/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Contexts that are elsewhere: what an URL leads to is an archive, or a Dockerfile without any context; and Git
 * repositories. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/build.h"
#include "berth/file.h"
#include "berth/json.h"
#include "engine-build-work.h"

#define HEAD_SIZE 512
#define DOCKERFILE_MAX (16u * 1024 * 1024)
#define TREE "git"

typedef struct Download {
        BuildWork *work;
        const char *url;
        int staging_fd; /* owned */
        RegistryGet get;
        Buffer head; /* what was read to see what it is */
} Download;

static void download_clear(Download *download)
{
        fd_close(download->staging_fd);
        registry_get_clear(&download->get);
        buffer_clear(&download->head);
}

/* As browsers tell: what has none of these bytes at its beginning is text. */
static bool is_text(const Buffer *head)
{
        for (size_t i = 0; i < MIN(head->size, (size_t) HEAD_SIZE); i++) {
                unsigned char c = (unsigned char) head->data[i];

                if (c <= 8 || c == 0x0b || (c >= 0x0e && c <= 0x1a) || (c >= 0x1c && c <= 0x1f))
                        return false;
        }
        return true;
}

static ssize_t read_on(void *userdata, void *buffer, size_t size)
{
        Download *download = userdata;
        size_t n = MIN(size, download->head.size);
        ssize_t got;

        if (n > 0) {
                memcpy(buffer, download->head.data, n);
                buffer_consume(&download->head, n);
                return (ssize_t) n;
        }
        do
                got = read(download->get.data_fd, buffer, size);
        while (got < 0 && errno == EINTR);
        return got < 0 ? -errno : got;
}

static int read_head(Download *download, size_t enough)
{
        ssize_t n = 1;

        while (download->head.size < enough && (n > 0 || n == -EINTR))
                n = buffer_read(&download->head, download->get.data_fd, 65536);
        return n < 0 && n != -EINTR ? (int) n : 0;
}

/* The context is empty then. */
static int take_text(Download *download, json_t **ret, Error *error)
{
        int r = read_head(download, DOCKERFILE_MAX + 1);

        if (r < 0)
                return r;
        if (download->head.size > DOCKERFILE_MAX)
                return error_set(error, OUTCOME_BAD_REQUEST, "the Dockerfile is too large");
        if (mkdirat(download->staging_fd, "layer-0", 0755) < 0 || mkdirat(download->staging_fd, "layer-0/fs", 0755) < 0)
                return -errno;
        *ret = json_pack("{so}", "Dockerfile", json_stringn(download->head.data ?: "", download->head.size));
        return *ret ? 0 : error_set(error, OUTCOME_BAD_REQUEST, "the Dockerfile at %s is no UTF-8 text", download->url);
}

static int run_download(void *userdata, int result_fd, json_t **ret, Error *error)
{
        Download *download = userdata;
        RegistryConfig config = engine_registry_config(download->work->build->engine);
        StoreInput input = {
                .fd = -EBADF, .read = read_on, .staging_fd = download->staging_fd, .plain = true, .userdata = download
        };
        int r = registry_get_start(&config, download->url, &download->get, error);
        int keep[] = { download->staging_fd, result_fd, download->get.data_fd, download->get.status_fd };

        if (r != 0)
                return r;
        engine_worker_raise_files();
        r = store_worker_confine(download->staging_fd, keep, ARRAY_SIZE(keep));
        if (r >= 0)
                r = read_head(download, HEAD_SIZE);
        if (r < 0)
                return r;
        r = is_text(&download->head) ? take_text(download, ret, error)
                                     : store_stage_layer(&input, "layer-0", NULL, NULL, ret, error);
        /* What broke off is no fault of its own. */
        CLEANUP_ERROR Error broken = { 0 };
        if (registry_get_finish(&download->get, &broken) != 0) {
                error_clear(error);
                *error = broken;
                broken = (Error) { 0 };
                r = OUTCOME_FAILED;
        }
        return r;
}

static int download_context(BuildWork *work, const char *url, json_t **ret, Error *error)
{
        CLEANUP_FREE char *path = work_path(work, "staging/%s", work->build->context);
        CLEANUP(download_clear)
        Download download = { .work = work,
                              .url = url,
                              .staging_fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -ENOMEM,
                              .get = REGISTRY_GET_NONE };
        CLEANUP_ERROR Error plain = { 0 };
        int r = download.staging_fd < 0 ? -errno : work_in_child(work, run_download, &download, ret, &plain);

        if (r > 0)
                return error_set(error, (Outcome) r, "error downloading remote context %s: %s", url,
                                 plain.message ?: "");
        return r;
}

/* As BuildKit's: the history is left out unless it is asked for. */
static bool keeps_git(const BuildWork *work)
{
        const char *text = json_get_string(work->dockerfile.arguments, "BUILDKIT_CONTEXT_KEEP_GIT_DIR");

        return text && str_to_bool(text);
}

int work_remote_context(BuildWork *work, const char *remote, json_t **ret, Error *error)
{
        CLEANUP_FREE char *path = NULL;
        int r;

        if (!build_is_git(remote) && !build_is_url(remote))
                return error_set(error, OUTCOME_BAD_REQUEST, "remoteURL (%s) could not be recognized as URL", remote);
        if (!build_is_git(remote))
                return download_context(work, remote, ret, error);
        r = work_git(work, remote, work->build->context, TREE, keeps_git(work), NULL, &path, error);
        if (r != 0)
                return r;
        *ret = json_pack("{ss}", "Path", path);
        return *ret ? 0 : -ENOMEM;
}
