/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An image whose layers above its base's are one. The history keeps a line for each step that went into it, and has one
 * more for the layer, as Docker's has. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/digest.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "engine-build-work.h"

typedef struct SquashJob {
        BuildWork *work;
        const WorkState *base, *state;
        json_t *parent; /* owned: what the new layer is put upon */
        char *staging;  /* owned: its path */
        char *comment;  /* owned */
        int staging_fd; /* owned */
} SquashJob;

static void job_clear(SquashJob *job)
{
        json_decref(job->parent);
        free(job->staging);
        free(job->comment);
        fd_close(job->staging_fd);
}

/* The directory of a layer of the state's. */
static const char *find_layer(const WorkState *state, const char *diff_id)
{
        json_t *layer;
        size_t i;

        json_array_foreach(state->layers, i, layer) {
                const char *name = json_string_value(layer);
                size_t n = strcspn(name, "/");
                if (strncmp(name, store_digest_hex(diff_id), n) == 0)
                        return name;
        }
        return NULL;
}

static int merge_layers(const SquashJob *job, int upper_fd, int base_fd)
{
        const json_t *all = store_config_layers(job->state->image);
        CLEANUP_CLOSE int root_fd =
                open(store_layer_root(job->work->build->engine->store), O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = root_fd < 0 ? -errno : 0;

        for (size_t i = json_array_size(store_config_layers(job->base->image)); r == 0 && i < json_array_size(all);
             i++) {
                const char *name = find_layer(job->state, json_string_value(json_array_get(all, i)));
                CLEANUP_CLOSE int fd = name ? openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
                r = fd < 0 ? -ENOENT : build_merge(upper_fd, fd, base_fd);
        }
        return r;
}

static int run_squash(void *userdata, int result_fd, json_t **ret, Error *error)
{
        SquashJob *job = userdata;
        CLEANUP_CLOSE int base_fd = -EBADF, upper_fd = -EBADF;
        int r = mount_namespace_enter(0);

        if (r >= 0)
                r = base_fd = work_open_image(job->work, job->staging, job->base, "base", error);
        if (r < 0)
                return r;
        /* By its path: links are made within one mount only, and this namespace has mounts of its own. */
        CLEANUP_FREE char *upper = path_join(job->staging, "upper");
        if (!upper || mkdir(upper, 0755) < 0)
                return upper ? -errno : -ENOMEM;
        upper_fd = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (upper_fd < 0)
                return -errno;
        engine_worker_raise_files();
        r = merge_layers(job, upper_fd, base_fd);
        if (r < 0)
                return r;
        int keep[] = { upper_fd, result_fd };
        r = store_worker_confine(job->staging_fd, keep, ARRAY_SIZE(keep));
        if (r < 0)
                return r;
        StoreInput input = { .fd = -EBADF, .staging_fd = job->staging_fd };
        StoreChild child = { .upper_fd = upper_fd,
                             .bare = true,
                             .parent = job->parent,
                             .parent_id = str_empty(job->base->id) ? NULL : job->base->id,
                             .config = json_get_object(job->state->image, "config"),
                             .author = json_get_string(job->state->image, "author"),
                             .comment = job->comment,
                             .created_ns = job->work->epoch_ns };
        return store_child(&input, &child, ret, error);
}

/* The image as it would be had none of its steps made a layer. */
static int make_parent(SquashJob *job)
{
        json_t *base_ids = store_config_layers(job->base->image), *entry;
        size_t known = json_array_size(json_get_array(job->base->image, "history")), i;

        job->parent = json_deep_copy(job->state->image);
        json_t *rootfs = json_get_object(job->parent, "rootfs");
        if (!rootfs || json_object_set_new(rootfs, "diff_ids", base_ids ? json_deep_copy(base_ids) : json_array()) < 0)
                return -ENOMEM;
        json_array_foreach(json_get_array(job->parent, "history"), i, entry)
                if (i >= known && json_set_bool(entry, "empty_layer", true) < 0)
                        return -ENOMEM;
        job->comment = str_empty(job->base->id) ? str_printf("create new from %s", job->state->id)
                                                : str_printf("merge %s to %s", job->state->id, job->base->id);
        return job->comment ? 0 : -ENOMEM;
}

int work_squash(BuildWork *work, const WorkState *base, WorkState *state, Error *error)
{
        CLEANUP(job_clear) SquashJob job = { .work = work, .base = base, .state = state, .staging_fd = -EBADF };
        CLEANUP_JSON json_t *result = NULL, *reply = NULL;
        CLEANUP_FREE char *name = NULL;
        int r = make_parent(&job);

        if (r == 0)
                r = work_stage_directory(work, &name, &job.staging_fd, error);
        if (r == 0)
                job.staging = work_path(work, "staging/%s", name);
        if (r == 0 && !job.staging)
                r = -ENOMEM;
        if (r == 0)
                r = work_in_child(work, run_squash, &job, &result, error);
        if (r == 0)
                r = work_ask(work, json_pack("{ss ss sO}", "Op", "commit", "Staging", name, "Result", result), &reply,
                             error);
        return r == 0 ? work_state_set(state, reply) : r;
}
