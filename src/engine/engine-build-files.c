/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Steps that change files without a container: COPY, ADD, WORKDIR. A child mounts the state's files in a mount
 * namespace of its own, with an upper directory in staging, confines itself, copies, and makes a layer of what is in
 * the upper directory then. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "engine-build-work.h"

typedef struct FilesJob {
        BuildWork *work;
        const json_t *step, *paths;
        const char *created_by;
        const WorkState *state, *source; /* source NULL: the context */
        int fetched_fd;                  /* borrowed; negative: nothing was */
        bool link;
        char *staging;  /* its path; owned */
        int staging_fd; /* owned */
} FilesJob;

static void files_clear(FilesJob *job)
{
        free(job->staging);
        fd_close(job->staging_fd);
}

static int make_directory(const FilesJob *job, const char *name, mode_t mode, char **ret_path)
{
        if (mkdirat(job->staging_fd, name, mode) < 0 && errno != EEXIST)
                return -errno;
        *ret_path = path_join(job->staging, name);
        return *ret_path ? 0 : -ENOMEM;
}

int work_open_image(const BuildWork *work, const char *staging, const WorkState *state, const char *name, Error *error)
{
        const char *root = store_layer_root(work->build->engine->store);
        CLEANUP_STRV char **lower = json_to_strv(state->layers);
        CLEANUP_FREE char *target = path_join(staging, name);
        int r = 0;

        if (state->directory) {
                int directory_fd = open(state->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                return directory_fd < 0 ? -errno : directory_fd;
        }
        if (!lower || !target)
                return -ENOMEM;
        if (strv_length(lower) == 1) {
                free(target);
                target = path_join(root, lower[0]);
        } else if (mkdir(target, 0755) < 0 && errno != EEXIST)
                return -errno;
        else if (lower[0]) {
                MountOverlay overlay = { .layer_root = root, .lower = lower, .target = target };
                r = mount_overlay(&overlay, error);
        }
        if (r != 0)
                return r;
        int fd = target ? open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        return fd < 0 ? -errno : fd;
}

/* The files of the state, to be changed, and the directory that the changes are in. With --link those are made as if
 * there was nothing below: links and owners of directories there do not count. */
static int open_changed(const FilesJob *job, int *ret_root, int *ret_upper, Error *error)
{
        CLEANUP_STRV char **lower = json_to_strv(job->link ? NULL : job->state->layers);
        CLEANUP_FREE char *upper = NULL, *work = NULL, *target = NULL;
        int r = lower ? make_directory(job, "upper", 0755, &upper) : -ENOMEM;

        if (r == 0)
                r = make_directory(job, "work", 0700, &work);
        if (r == 0)
                r = make_directory(job, "root", 0755, &target);
        if (r == 0 && lower[0]) {
                MountOverlay overlay = { .layer_root = store_layer_root(job->work->build->engine->store),
                                         .lower = lower,
                                         .upper = upper,
                                         .work = work,
                                         .target = target,
                                         .discard = true };
                r = mount_overlay(&overlay, error);
        }
        if (r != 0 || !upper || !target)
                return r != 0 ? r : -ENOMEM;
        *ret_upper = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        *ret_root = open(lower[0] ? target : upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return *ret_upper < 0 || *ret_root < 0 ? -errno : 0;
}

static int change_files(const FilesJob *job, int source_fd, int root_fd, int owner_fd, Error *error)
{
        if (str_equal(json_get_string(job->step, "Kind"), "workdir"))
                return build_make_directory(root_fd, json_get_string_or(job->step, "Path", "/"),
                                            json_get_string(json_get_object(job->step, "Config"), "User"), error);
        CLEANUP_STRV char **paths = json_to_strv(job->paths);
        BuildCopy copy = { .source_fd = source_fd,
                           .fetched_fd = job->fetched_fd,
                           .root_fd = root_fd,
                           .staging_fd = job->staging_fd,
                           .owner_fd = owner_fd,
                           .paths = paths,
                           .step = job->step,
                           .keep_owner = job->source && !job->source->directory,
                           .epoch_ns = job->work->epoch_ns };
        return paths ? build_copy(&copy, error) : -ENOMEM;
}

static int run_files(void *userdata, int result_fd, json_t **ret, Error *error)
{
        FilesJob *job = userdata;
        CLEANUP_CLOSE int root_fd = -EBADF, upper_fd = -EBADF, own_source = -EBADF, base_fd = -EBADF;
        int source_fd = job->work->context_fd, r = mount_namespace_enter(0);

        if (r >= 0 && job->source) {
                own_source = work_open_image(job->work, job->staging, job->source, "source", error);
                r = own_source;
                source_fd = own_source;
        }
        if (r >= 0 && job->link && json_get_string(job->step, "Owner"))
                r = base_fd = work_open_image(job->work, job->staging, job->state, "base", error);
        if (r >= 0)
                r = open_changed(job, &root_fd, &upper_fd, error);
        if (r != 0)
                return r;
        int owner_fd = base_fd >= 0 ? base_fd : root_fd;
        int keep[] = { source_fd, root_fd,   upper_fd,
                       owner_fd,  result_fd, job->fetched_fd >= 0 ? job->fetched_fd : result_fd };
        engine_worker_raise_files();
        r = store_worker_confine(job->staging_fd, keep, ARRAY_SIZE(keep));
        if (r >= 0)
                r = change_files(job, source_fd, root_fd, owner_fd, error);
        if (r != 0)
                return r;
        r = build_clamp_times(upper_fd, job->work->epoch_ns);
        if (r < 0)
                return r;
        StoreInput input = { .fd = -EBADF, .staging_fd = job->staging_fd };
        StoreChild child = work_child(job->work, job->state, job->step, job->created_by);
        child.upper_fd = upper_fd;
        child.bare = true;
        return store_child(&input, &child, ret, error);
}

/* --- What is copied ----------------------------------------------------------------------------------------------- */

static int sum_of(int source_fd, int fetched_fd, const json_t *step, json_t **ret, Error *error)
{
        CLEANUP_STRV char **paths = NULL;
        CLEANUP_FREE char *sum = NULL;
        int r = build_find_sources(source_fd, step, &paths, error);

        if (r == 0)
                r = build_sum_sources(source_fd, fetched_fd, paths, step, &sum, error);
        if (r != 0)
                return r;
        *ret = json_pack("{ss so}", "Sum", sum, "Paths", json_from_strv(paths));
        return *ret ? 0 : -ENOMEM;
}

static int run_sum(void *userdata, int result_fd, json_t **ret, Error *error)
{
        FilesJob *job = userdata;
        (void) result_fd;

        int r = mount_namespace_enter(0);
        if (r < 0)
                return r;
        CLEANUP_CLOSE int source_fd = work_open_image(job->work, job->staging, job->source, "source", error);
        return source_fd < 0 ? source_fd : sum_of(source_fd, job->fetched_fd, job->step, ret, error);
}

int work_find_source(BuildWork *work, const json_t *object, WorkState *image, const WorkState **ret, Error *error)
{
        int64_t stage = json_get_int(object, "FromStage", -1);
        const char *from = json_get_string(object, "From"), *context = json_get_string(object, "Context");
        int r = 0;

        *ret = NULL;
        if (stage >= 0) {
                r = work_stage(work, (size_t) stage, error);
                *ret = r == 0 ? &work->stages[stage].state : NULL;
        } else if (from) {
                r = work_resolve(work, from, NULL, image, error);
                *ret = image;
        } else if (context) {
                r = work_find_context(work, context, NULL, image, error);
                *ret = image;
        }
        return r;
}

static int job_prepare(FilesJob *job, char **ret_name, Error *error)
{
        int r = work_stage_directory(job->work, ret_name, &job->staging_fd, error);

        if (r == 0)
                job->staging = work_path(job->work, "staging/%s", *ret_name);
        return r != 0 ? r : job->staging ? 0 : -ENOMEM;
}

int work_copy_sum(BuildWork *work, const json_t *step, int fetched_fd, json_t **ret_sum, Error *error)
{
        CLEANUP(files_clear)
        FilesJob job = { .work = work, .step = step, .fetched_fd = fetched_fd, .staging_fd = -EBADF };
        CLEANUP(work_state_clear) WorkState image = { 0 };
        CLEANUP_FREE char *name = NULL;
        int r = work_find_source(work, step, &image, &job.source, error);

        if (r != 0 || !job.source)
                return r != 0 ? r : sum_of(work->context_fd, fetched_fd, step, ret_sum, error);
        r = job_prepare(&job, &name, error);
        return r == 0 ? work_in_child(work, run_sum, &job, ret_sum, error) : r;
}

int work_files(BuildWork *work, const json_t *step, const json_t *paths, int fetched_fd, const char *created_by,
               const char *key, WorkState *state, Error *error)
{
        CLEANUP(files_clear)
        FilesJob job = { .work = work,
                         .step = step,
                         .paths = paths,
                         .fetched_fd = fetched_fd,
                         .created_by = created_by,
                         .state = state,
                         .link = json_get_bool(step, "Link"),
                         .staging_fd = -EBADF };
        CLEANUP(work_state_clear) WorkState image = { 0 };
        CLEANUP_JSON json_t *result = NULL;
        CLEANUP_FREE char *name = NULL;
        int r = work_find_source(work, step, &image, &job.source, error);

        if (r == 0)
                r = job_prepare(&job, &name, error);
        if (r == 0)
                r = work_in_child(work, run_files, &job, &result, error);
        return r == 0 ? work_commit(work, name, result, key, step, state, error) : r;
}

/* --- Copies that are no layer ------------------------------------------------------------------------------------- */

static int run_tree(void *userdata, int result_fd, json_t **ret, Error *error)
{
        FilesJob *job = userdata;
        CLEANUP_STRV char **paths = NULL;
        CLEANUP_CLOSE int own_source = -EBADF, root_fd = -EBADF;
        int source_fd = job->work->context_fd, r = mount_namespace_enter(0);

        if (r >= 0 && job->source) {
                own_source = work_open_image(job->work, job->staging, job->source, "source", error);
                r = own_source;
                source_fd = own_source;
        }
        if (r >= 0 && mkdirat(job->staging_fd, "tree", 0755) < 0)
                r = -errno;
        root_fd = r < 0 ? -EBADF : openat(job->staging_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (r < 0 || root_fd < 0)
                return r < 0 ? r : -errno;
        int keep[] = { source_fd, root_fd, result_fd };
        engine_worker_raise_files();
        r = store_worker_confine(job->staging_fd, keep, ARRAY_SIZE(keep));
        if (r >= 0)
                r = build_find_sources(source_fd, job->step, &paths, error);
        BuildCopy copy = { .source_fd = source_fd,
                           .fetched_fd = -EBADF,
                           .root_fd = root_fd,
                           .staging_fd = job->staging_fd,
                           .owner_fd = root_fd,
                           .paths = paths,
                           .step = job->step,
                           .keep_owner = true };
        if (r == 0)
                r = build_copy(&copy, error);
        CLEANUP_CLOSE int fd = r == 0 && paths[0] ? mount_path_open(source_fd, paths[0], O_PATH) : -EBADF;
        struct stat st;
        if (r != 0 || fd < 0 || fstat(fd, &st) < 0)
                return r != 0 ? r : fd < 0 ? fd : -errno;
        *ret = json_pack("{sb}", "Directory", S_ISDIR(st.st_mode));
        return *ret ? 0 : -ENOMEM;
}

/* A directory's content becomes the tree; a file is in it, under its name. */
int work_copy_tree(BuildWork *work, const WorkState *source, const char *path, char **ret_path, Error *error)
{
        CLEANUP_JSON json_t *step = json_pack("{ss sb s[s] s[] s[] ss}", "Kind", "copy", "Add", 0, "Sources", path,
                                              "Inline", "Exclude", "Target", "/");
        CLEANUP(files_clear)
        FilesJob job = { .work = work, .step = step, .source = source, .fetched_fd = -EBADF, .staging_fd = -EBADF };
        CLEANUP_FREE char *name = NULL, *tree = NULL;
        const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        CLEANUP_JSON json_t *result = NULL;
        int r = step ? job_prepare(&job, &name, error) : -ENOMEM;

        if (r == 0)
                r = work_in_child(work, run_tree, &job, &result, error);
        if (r != 0)
                return r;
        tree = path_join(job.staging, "tree");
        *ret_path = !tree || json_get_bool(result, "Directory") ? TAKE_PTR(tree) : path_join(tree, base);
        return *ret_path ? 0 : -ENOMEM;
}
