/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Git repositories as sources and contexts, checked out in a staging directory by the host's git. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/build.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "engine-build-work.h"

#define COMMIT_MAX 256
#define COMMIT_MIN 7 /* digits that --checksum may have */

typedef struct GitJob {
        BuildWork *work;
        BuildGit git;   /* owned */
        char *tree;     /* absolute; owned */
        const char *at; /* the same, below the staging directory */
        bool keep;
} GitJob;

static void git_job_clear(GitJob *job)
{
        build_git_clear(&job->git);
        free(job->tree);
}

/* In the directory that registry_git() made of it, and as nobody. */
static int describe(const GitJob *job, json_t **ret, Error *error)
{
        const char *within = job->git.subdirectory + strspn(job->git.subdirectory, "/");
        CLEANUP_FREE char *commit = NULL;
        CLEANUP_CLOSE int root_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        size_t size = 0;
        int r = root_fd < 0 ? -errno : file_read_at(root_fd, ".git/HEAD", COMMIT_MAX, &commit, &size);

        if (r < 0 || !commit)
                return r < 0 ? r : -ENOMEM;
        commit[strcspn(commit, "\n")] = 0;
        if (!job->keep)
                r = path_remove_tree_at(root_fd, ".git");
        CLEANUP_CLOSE int fd = r < 0 ? r : mount_path_open(root_fd, *within ? within : ".", O_PATH | O_DIRECTORY);
        if (r == 0 && fd < 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "error setting git context, \"%s\" not within git root: %s", within, strerror(-fd));
        *ret = json_pack("{ss so}", "Commit", commit, "Path",
                         json_sprintf("%s%s%s", job->at, *within ? "/" : "", within));
        return r < 0 ? r : *ret ? 0 : -EILSEQ;
}

static int run_git(void *userdata, int result_fd, json_t **ret, Error *error)
{
        GitJob *job = userdata;
        RegistryConfig config = engine_registry_config(job->work->build->engine);
        RegistryGit git = { .remote = job->git.remote, .ref = job->git.ref, .directory = job->tree };
        (void) result_fd;

        if (mkdir(job->tree, 0755) < 0)
                return -errno;
        int r = registry_git(&config, &git, error);
        return r == 0 ? describe(job, ret, error) : r;
}

int work_check_commit(const char *checksum, Error *error)
{
        size_t n = strspn(checksum, "0123456789abcdef");

        return n >= COMMIT_MIN && !checksum[n]
                       ? 0
                       : error_set(error, OUTCOME_BAD_REQUEST,
                                   "invalid checksum of a Git repository: %s (it is at least %d digits of a commit)",
                                   checksum, COMMIT_MIN);
}

int work_git(BuildWork *work, const char *source, const char *staging, const char *at, bool keep, const char *checksum,
             char **ret_path, Error *error)
{
        CLEANUP(git_job_clear)
        GitJob job = { .work = work, .tree = work_path(work, "staging/%s/%s", staging, at), .at = at, .keep = keep };
        CLEANUP_JSON json_t *result = NULL;
        int r = job.tree ? build_git_parse(source, &job.git, error) : -ENOMEM;

        if (r == 0)
                r = work_in_child(work, run_git, &job, &result, error);
        if (r != 0)
                return r;
        const char *commit = json_get_string_or(result, "Commit", "");
        if (checksum && !str_after_prefix(commit, checksum))
                return error_set(error, OUTCOME_FAILED, "expected checksum to match %s, got %s", checksum, commit);
        *ret_path = strdup(json_get_string_or(result, "Path", ""));
        return *ret_path ? 0 : -ENOMEM;
}
