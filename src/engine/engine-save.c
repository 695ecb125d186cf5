/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images and containers as archives, written by workers straight to the client. What goes wrong once the archive has
 * begun ends the connection without the end of its body: the client knows that it has not all.
 *
 * A worker reads layers that may be removed meanwhile: trash is not emptied until it has ended. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "engine-private.h"

typedef struct Save {
        Engine *engine;
        Stream stream;
        json_t *plan;          /* of images */
        char *upper, **layers; /* of a container: relative to the layers' directory */
} Save;

static void save_free(Save *save)
{
        stream_clear(&save->stream);
        json_decref(save->plan);
        free(save->upper);
        strv_free(save->layers);
        free(save);
}

static int write_to_stream(void *userdata, const void *data, size_t size)
{
        return stream_write(userdata, data, size);
}

static int run_save(void *userdata, int result_fd)
{
        Save *save = userdata;
        (void) result_fd;

        engine_worker_raise_files();
        int r = store_save(store_layer_root(save->engine->store), save->plan, write_to_stream, &save->stream);
        return r < 0 ? r : stream_end(&save->stream);
}

/* The container's tree without what is mounted in it: its layers once more, on a mount that only this process sees. */
static int container_tree_open(const Save *save)
{
        const char *target = save->engine->config->exec_root;
        MountOverlay overlay = { .layer_root = store_layer_root(save->engine->store),
                                 .lower = save->layers,
                                 .target = target };

        if (strv_length(save->layers) > 1) {
                if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                        return -errno;
                int r = mount_overlay(&overlay, NULL);
                if (r < 0)
                        return r;
        } else
                target = save->upper;
        int fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int run_export(void *userdata, int result_fd)
{
        Save *save = userdata;
        CLEANUP_CLOSE int root = container_tree_open(save);
        (void) result_fd;

        if (root < 0)
                return root;
        engine_worker_raise_files();
        int r = store_export(root, write_to_stream, &save->stream);
        return r < 0 ? r : stream_end(&save->stream);
}

static void save_done(int status, const char *result, size_t size, void *userdata)
{
        Save *save = userdata;
        Engine *engine = save->engine;
        (void) status;
        (void) result;
        (void) size;

        save_free(save);
        engine->n_readers--;
        engine_sweep(engine);
}

static int start(Save *save, int (*run)(void *userdata, int result_fd))
{
        WorkerJob job = {
                .run = run, .done = save_done, .userdata = save, .keep_fds = &save->stream.fd, .n_keep_fds = 1
        };
        int r = engine_worker_start(save->engine, &job);

        if (r < 0)
                save_free(save);
        else
                save->engine->n_readers++;
        return r;
}

int engine_image_save_check(Engine *engine, char *const *names, const char *platform, json_t **ret_plan, Error *error)
{
        return store_save_plan(engine->store, names, platform, ret_plan, error);
}

int engine_image_save(Engine *engine, json_t *plan, Stream *stream)
{
        Save *save = calloc(1, sizeof(*save));
        json_t *image;
        size_t i;

        if (!save) {
                json_decref(plan);
                return -ENOMEM;
        }
        json_array_foreach(json_object_get(plan, "Images"), i, image) {
                const char *id = json_get_string_or(image, "ID", "");
                image_event_emit(engine, "save", id, id);
        }
        save->engine = engine;
        save->plan = plan;
        stream_move(&save->stream, stream);
        return start(save, run_save);
}

int container_export(Container *container, Stream *stream)
{
        Engine *engine = container->engine;
        CLEANUP_STRV char **layers = NULL;
        Save *save = calloc(1, sizeof(*save));
        int r = save ? store_image_layers(engine->store, json_get_string(container->record, "Image"), &layers)
                     : -ENOMEM;

        if (r < 0) {
                free(save);
                return r;
        }
        container_event_emit(container, "export", NULL);
        save->engine = engine;
        stream_move(&save->stream, stream);
        save->upper = container_path(container, "upper");
        r = save->upper ? strv_append(&save->layers, save->upper) : -ENOMEM;
        for (size_t i = 0; r >= 0 && layers[i]; i++)
                r = strv_append(&save->layers, layers[i]);
        if (r < 0) {
                save_free(save);
                return r;
        }
        return start(save, run_export);
}
