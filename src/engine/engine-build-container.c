/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The containers of build steps. Each is an ordinary container; a marker named like it is made before and removed after
 * it, so that the next berthd finds what one that was killed has left. */
#include <fcntl.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-build.h"
#include "engine-spare.h"

#define MARKER_DIRECTORY "container"
#define NAME_PREFIX "build-"

static void container_forget(BuildContainer *step)
{
        if (step->marker)
                unlink(step->marker);
        LIST_REMOVE(step, link);
        free(TAKE_PTR(step->marker));
        step->forgotten = true;
        if (!step->starting)
                free(step);
}

static int make_marker(Engine *engine, char name[static 32], char **ret_path)
{
        CLEANUP_FREE char *directory = engine_build_path(engine, MARKER_DIRECTORY);
        char id[ID_LENGTH + 1];
        int r = directory ? path_make_directories(directory, 0700) : -ENOMEM;

        if (r >= 0)
                r = id_generate(id);
        if (r < 0)
                return r;
        snprintf(name, 32, NAME_PREFIX "%.12s", id);
        CLEANUP_FREE char *path = path_join(directory, name);
        if (!path)
                return -ENOMEM;
        CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        *ret_path = TAKE_PTR(path);
        return 0;
}

static void run_ended(int exit_code, void *userdata)
{
        BuildContainer *step = userdata;
        BuildLane *lane = step->lane;
        Container *container = engine_container_by_id(lane->build->engine, step->id);
        CLEANUP_FREE char *upper = container ? container_path(container, "upper") : NULL;

        if (upper)
                build_reply(lane, json_pack("{si ss}", "Exit", exit_code, "Upper", upper));
        else
                build_fail(lane, -ENOENT, &(Error) { 0 });
}

static void run_started(int result, const Error *error, void *userdata)
{
        BuildContainer *step = userdata;

        step->starting = false;
        if (step->forgotten) {
                free(step);
                return;
        }
        Container *container = engine_container_by_id(step->lane->build->engine, step->id);
        if (result == 0)
                engine_spare_want(step->lane->build->engine, true);
        if (result != 0)
                build_fail(step->lane, result, error);
        else if (!container || container_on_end(container, run_ended, step) < 0)
                build_fail(step->lane, -ENOMEM, &(Error) { 0 });
}

/* The monitor gets one end and shuts it down in the end; the worker gets the other. */
static int attach_output(Container *container, int *ret_fd, Error *error)
{
        ContainerAttach attach = { .standard_output = true, .standard_error = true, .multiplexed = true };
        CLEANUP_BUFFER Buffer nothing = { 0 };
        int fds[2], r = socket_pair(SOCK_STREAM, fds);

        if (r < 0)
                return r;
        CLEANUP_CLOSE int theirs = fds[1];
        r = container_attach(container, &attach, fds[0], &nothing, &nothing, error);
        if (r == 0)
                *ret_fd = TAKE_FD(theirs);
        return r;
}

void build_run(BuildLane *lane, const json_t *request)
{
        BuildContainer *step = calloc(1, sizeof(*step));
        CLEANUP_JSON json_t *created = NULL;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_CLOSE int output = -EBADF;
        Container *container = NULL;
        char name[32] = "";

        if (!step) {
                build_fail(lane, -ENOMEM, &error);
                return;
        }
        step->lane = lane;
        LIST_INSERT_HEAD(&lane->containers, step, link);
        int r = make_marker(lane->build->engine, name, &step->marker);
        if (r == 0)
                r = engine_step_create(lane->build->engine, name, json_get_object(request, "Body"), &created, &error);
        if (r == 0) {
                snprintf(step->id, sizeof(step->id), "%s", json_get_string_or(created, "Id", ""));
                container = engine_container_by_id(lane->build->engine, step->id);
                r = container ? attach_output(container, &output, &error) : -ENOENT;
        }
        if (r != 0) {
                build_fail(lane, r, &error);
                return;
        }
        build_reply_fd(lane, json_pack("{ss}", "Container", step->id), output);
        step->starting = true;
        container_start(container, run_started, step);
}

/* --- Removal ------------------------------------------------------------------------------------------------------ */

/* Of a marker, which outlives the build that made it. */
static void removed(int result, const Error *error, void *userdata)
{
        CLEANUP_FREE char *marker = userdata;
        (void) error;

        if (result == 0)
                unlink(marker);
}

static void remove_step(BuildContainer *step)
{
        Container *container = *step->id ? engine_container_by_id(step->lane->build->engine, step->id) : NULL;

        if (container && !container->removing) {
                container_cancel_on_end(container);
                container_remove(container, true, true, removed, TAKE_PTR(step->marker));
        }
        container_forget(step);
}

/* From now on it is a container like any other. */
static void keep(BuildContainer *step)
{
        Container *container = engine_container_by_id(step->lane->build->engine, step->id);

        if (container && json_object_del(container->record, "Step") == 0)
                (void) container_save(container, true);
        container_forget(step);
}

void build_remove(BuildLane *lane, const json_t *request)
{
        const char *id = json_get_string_or(request, "Container", "");
        BuildContainer *step;

        LIST_FOREACH(step, &lane->containers, link)
                if (str_equal(step->id, id))
                        break;
        if (step && json_get_bool(request, "Keep"))
                keep(step);
        else if (step)
                remove_step(step);
        build_reply(lane, json_object());
}

void build_remove_all(BuildLane *lane)
{
        while (!LIST_EMPTY(&lane->containers))
                remove_step(LIST_FIRST(&lane->containers));
}

void engine_build_leftovers(Engine *engine)
{
        CLEANUP_FREE char *directory = engine_build_path(engine, MARKER_DIRECTORY);
        CLEANUP_CLOSEDIR DIR *markers = directory ? opendir(directory) : NULL;
        struct dirent *item;

        build_mount_leftovers(engine);
        while (markers && (item = readdir(markers))) {
                CLEANUP_FREE char *path = path_join(directory, item->d_name);
                Container *container;

                if (!path || !str_after_prefix(item->d_name, NAME_PREFIX))
                        continue;
                if (engine_container_find(engine, item->d_name, &container, NULL) == 0)
                        container_remove(container, true, true, removed, TAKE_PTR(path));
                else
                        unlink(path);
        }
}
