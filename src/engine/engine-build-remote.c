/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an ADD has from elsewhere. A process without privileges gets an URL; a confined one writes what comes of it to a
 * staging directory, N/NAME for the source of number N, from where it is copied as if it were in the context. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "berth/build.h"
#include "berth/digest.h"
#include "berth/file.h"
#include "berth/json.h"
#include "engine-build-work.h"

#define UNNAMED "__unnamed__"
#define PIECE_SIZE (256u * 1024)
#define TELL_NS (INT64_C(200) * 1000000)

typedef struct FetchJob {
        BuildWork *work;
        const char *url, *target;
        char directory[24]; /* in the staging directory */
        int staging_fd;     /* borrowed */
        int64_t told_ns;
} FetchJob;

static void tell(FetchJob *job, const RegistryGet *get, int64_t received)
{
        int64_t now = time_now_ns();

        if (job->work->quiet || now < job->told_ns + TELL_NS)
                return;
        json_t *detail = json_pack("{sI}", "current", (json_int_t) received);
        if (detail && get->length > 0)
                json_set_int(detail, "total", get->length);
        job->told_ns = now;
        work_send(job->work, json_pack("{ss so}", "status", "Downloading", "progressDetail", detail));
}

static int write_file(FetchJob *job, RegistryGet *get, int fd, char ret_digest[static STORE_DIGEST_SIZE])
{
        CLEANUP_HASHER StoreHasher *hasher = NULL;
        CLEANUP_FREE char *piece = malloc(PIECE_SIZE);
        int64_t received = 0;
        int r = piece ? store_hasher_new(false, &hasher) : -ENOMEM;

        while (r >= 0) {
                ssize_t n = read(get->data_fd, piece, PIECE_SIZE);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : store_hasher_finish(hasher, ret_digest);
                r = fd_write_all(fd, piece, (size_t) n);
                if (r >= 0)
                        r = store_hasher_update(hasher, piece, (size_t) n);
                received += n;
                tell(job, get, received);
        }
        return r;
}

/* As Last-Modified says; where it says nothing, the epoch, so that the layer depends on nothing but what was got. */
static int set_time(int fd, const char *modified)
{
        struct tm parts = { 0 };
        const char *end = modified ? strptime(modified, "%a, %d %b %Y %H:%M:%S GMT", &parts) : NULL;
        struct timespec times[2] = { { .tv_sec = end && !*end ? timegm(&parts) : 0 } };

        times[1] = times[0];
        return futimens(fd, times) < 0 ? -errno : 0;
}

static int open_file(const FetchJob *job, const char *name)
{
        if (mkdirat(job->staging_fd, job->directory, 0755) < 0)
                return -errno;
        CLEANUP_CLOSE int above = openat(job->staging_fd, job->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int fd = above < 0 ? -1 : openat(above, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        return fd < 0 ? -errno : fd;
}

static int choose_name(const FetchJob *job, const RegistryGet *get, char **ret, Error *error)
{
        CLEANUP_FREE char *name = NULL;
        int r = build_url_name(job->url, get->disposition, &name);

        if (r == 0 && !*name) {
                if (str_has_suffix(job->target, "/"))
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "ADD failed: cannot determine filename for source %s", job->url);
                free(name);
                name = strdup(UNNAMED);
        }
        *ret = TAKE_PTR(name);
        return r < 0 ? r : *ret ? 0 : -ENOMEM;
}

static int run_fetch(void *userdata, int result_fd, json_t **ret, Error *error)
{
        FetchJob *job = userdata;
        RegistryConfig config = engine_registry_config(job->work->build->engine);
        CLEANUP(registry_get_clear) RegistryGet get = REGISTRY_GET_NONE;
        CLEANUP_FREE char *name = NULL;
        char digest[STORE_DIGEST_SIZE];
        int r = registry_get_start(&config, job->url, &get, error);
        int keep[] = { job->work->build->stream.fd, job->staging_fd, result_fd, get.data_fd, get.status_fd };

        if (r > 0) {
                CLEANUP_ERROR Error plain = *error;
                *error = (Error) { 0 };
                return error_set(error, plain.outcome, "ADD failed: %s", plain.message);
        }
        if (r == 0)
                r = choose_name(job, &get, &name, error);
        if (r == 0)
                r = store_worker_confine(job->staging_fd, keep, ARRAY_SIZE(keep));
        CLEANUP_CLOSE int fd = r == 0 ? open_file(job, name) : -EBADF;
        if (r != 0 || fd < 0)
                return r != 0 ? r : fd;
        r = write_file(job, &get, fd, digest);
        if (r == 0)
                r = registry_get_finish(&get, error);
        if (r == 0)
                r = set_time(fd, get.modified);
        if (r != 0)
                return r;
        *ret = json_pack("{ss so}", "Digest", digest, "Path", json_sprintf("%s/%s", job->directory, name));
        return *ret ? 0 : -EILSEQ;
}

/* --- What may be asked for ---------------------------------------------------------------------------------------- */

static bool is_elsewhere(const char *source)
{
        return build_is_git(source) || build_is_url(source);
}

static int check_checksum(const json_t *step, Error *error)
{
        const json_t *sources = json_get_array(step, "Sources");
        const char *checksum = json_get_string(step, "Checksum"),
                   *first = json_string_value(json_array_get(sources, 0)) ?: "";

        if (!checksum)
                return 0;
        if (build_is_git(first) && json_array_size(sources) == 1)
                return work_check_commit(checksum, error);
        if (!strchr(checksum, ':'))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid checksum digest format");
        if (!str_after_prefix(checksum, STORE_DIGEST_PREFIX))
                return error_set(error, OUTCOME_BAD_REQUEST, "unsupported digest algorithm");
        if (!store_digest_is_valid(checksum))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid checksum digest length");
        if (json_array_size(sources) + json_array_size(json_get_array(step, "Inline")) != 1)
                return error_set(error, OUTCOME_BAD_REQUEST, "checksum can't be specified for multiple sources");
        if (!build_is_url(first))
                return error_set(error, OUTCOME_BAD_REQUEST, "checksum can't be specified for non-HTTP(S) sources");
        return 0;
}

static int check_sources(BuildWork *work, const json_t *step, size_t *ret_elsewhere, Error *error)
{
        bool add = json_get_bool(step, "Add"), repository = false;
        json_t *source;
        size_t i;

        json_array_foreach(json_get_array(step, "Sources"), i, source) {
                const char *text = json_string_value(source);

                if (!add && build_is_url(text))
                        return error_set(error, OUTCOME_BAD_REQUEST, "source can't be a URL for COPY");
                *ret_elsewhere += add && is_elsewhere(text);
                repository = repository || (add && build_is_git(text));
        }
        if (json_get_bool(step, "KeepGit") && !repository)
                work_say(work, "[Warning] --keep-git-dir has no effect: no source is a Git repository\n");
        return check_checksum(step, error);
}

static int fetch_url(FetchJob *job, const char *checksum, char **ret_path, Error *error)
{
        CLEANUP_JSON json_t *result = NULL;
        int r = work_in_child(job->work, run_fetch, job, &result, error);

        if (r != 0)
                return r;
        const char *digest = json_get_string_or(result, "Digest", "");
        if (checksum && !str_equal(digest, checksum))
                return error_set(error, OUTCOME_FAILED, "digest mismatch %s: %s", digest, checksum);
        *ret_path = strdup(json_get_string_or(result, "Path", ""));
        return *ret_path ? 0 : -ENOMEM;
}

static int fetch(FetchJob *job, const json_t *step, const char *staging, json_t *fetched, Error *error)
{
        const char *checksum = json_get_string(step, "Checksum");
        CLEANUP_FREE char *path = NULL;
        int r;

        if (json_object_get(fetched, job->url))
                return 0;
        r = build_is_git(job->url) ? work_git(job->work, job->url, staging, job->directory,
                                              json_get_bool(step, "KeepGit"), checksum, &path, error)
                                   : fetch_url(job, checksum, &path, error);
        return r == 0 ? json_set_string(fetched, job->url, path) : r;
}

int work_fetch_sources(BuildWork *work, const json_t *step, json_t **ret_step, int *ret_fd, Error *error)
{
        CLEANUP_JSON json_t *own = json_copy((json_t *) step), *fetched = json_object();
        CLEANUP_CLOSE int staging_fd = -EBADF;
        CLEANUP_FREE char *name = NULL;
        size_t i, n = 0;
        json_t *source;
        int r = own && fetched ? check_sources(work, step, &n, error) : -ENOMEM;

        if (r == 0 && n > 0)
                r = work_stage_directory(work, &name, &staging_fd, error);
        json_array_foreach(json_get_array(step, "Sources"), i, source) {
                FetchJob job = { .work = work,
                                 .url = json_string_value(source),
                                 .target = json_get_string_or(step, "Target", "/"),
                                 .staging_fd = staging_fd };

                snprintf(job.directory, sizeof(job.directory), "%zu", i);
                if (r == 0 && n > 0 && is_elsewhere(job.url))
                        r = fetch(&job, step, name, fetched, error);
        }
        if (r == 0 && n > 0 && json_object_set(own, "Fetched", fetched) < 0)
                r = -ENOMEM;
        if (r != 0)
                return r;
        *ret_step = TAKE_PTR(own);
        *ret_fd = TAKE_FD(staging_fd);
        return 0;
}
