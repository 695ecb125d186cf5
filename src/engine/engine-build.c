/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POST /build in berthd: the worker is started, and what it asks for is done. Nothing here waits. */
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "engine-build.h"

static void build_free(Build *build)
{
        build_lanes_clear(build);
        for (size_t i = 0; build->stagings && build->stagings[i]; i++)
                store_staging_discard(build->engine->store, build->stagings[i]);
        if (build->context) {
                CLEANUP_FREE char *secrets = engine_build_secrets(build->engine, build->context);
                if (secrets)
                        path_remove_tree_at(AT_FDCWD, secrets);
                build_keep_give_back(build);
                store_staging_discard(build->engine->store, build->context);
        }
        engine_sweep(build->engine);
        stream_clear(&build->stream);
        strv_free(build->stagings);
        json_decref(build->options);
        free(build->context);
        free(build);
}

void build_reply_image(BuildLane *lane, const char *id)
{
        CLEANUP_STRV char **layers = NULL;
        CLEANUP_JSON json_t *config = NULL;
        int r = store_image_config(lane->build->engine->store, id, &config);

        if (r == 0)
                r = store_image_layers(lane->build->engine->store, id, &layers);
        if (r < 0)
                build_fail(lane, r, &(Error) { 0 });
        else
                build_reply(lane,
                            json_pack("{ss sO so}", "Id", id, "Config", config, "Layers", json_from_strv(layers)));
}

/* --- Images ------------------------------------------------------------------------------------------------------- */

static void op_resolve(BuildLane *lane, const json_t *request)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_FREE char *id = NULL;
        int r = store_resolve(lane->build->engine->store, json_get_string_or(request, "Name", ""), &id, &error);

        if (r == OUTCOME_NOT_FOUND)
                build_reply(lane, json_pack("{sb}", "Missing", true));
        else if (r != 0)
                build_fail(lane, r, &error);
        else
                build_reply_image(lane, id);
}

static void op_image(BuildLane *lane, const json_t *request)
{
        build_reply_image(lane, json_get_string_or(request, "Id", ""));
}

static void op_tag(BuildLane *lane, const json_t *request)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = store_tag(lane->build->engine->store, json_get_string_or(request, "Id", ""),
                          json_get_string_or(request, "Name", ""), &error);

        if (r != 0)
                build_fail(lane, r, &error);
        else
                build_reply(lane, json_object());
}

static void op_end(BuildLane *lane, const json_t *request)
{
        (void) request;
        lane->build->ended = true;
        build_keep_give_back(lane->build);
        build_reply(lane, json_object());
}

/* --- Layers and cache --------------------------------------------------------------------------------------------- */

static void op_stage(BuildLane *lane, const json_t *request)
{
        CLEANUP_FREE char *name = NULL;
        CLEANUP_CLOSE int fd = -EBADF;
        int r = store_staging_create(lane->build->engine->store, &name, &fd);
        (void) request;

        if (r >= 0)
                r = strv_append(&lane->build->stagings, name);
        if (r < 0)
                build_fail(lane, r, &(Error) { 0 });
        else
                build_reply(lane, json_pack("{ss}", "Staging", name));
}

static bool forget_staging(Build *build, const char *name)
{
        for (size_t i = 0; build->stagings && build->stagings[i]; i++) {
                if (!str_equal(build->stagings[i], name))
                        continue;
                free(build->stagings[i]);
                for (; build->stagings[i]; i++)
                        build->stagings[i] = build->stagings[i + 1];
                return true;
        }
        return false;
}

static void op_commit(BuildLane *lane, const json_t *request)
{
        const char *staging = json_get_string_or(request, "Staging", "");
        CLEANUP_FREE char *name = strdup(staging);
        CLEANUP_JSON json_t *images = NULL;
        CLEANUP_ERROR Error error = { 0 };
        int r = name && forget_staging(lane->build, staging) ? 0 : -EINVAL;

        if (r == 0)
                r = store_commit(lane->build->engine->store, name, json_get_object(request, "Result"), &images, &error);
        const char *id = json_get_string_or(json_array_get(images, 0), "ID", "");
        if (r == 0 && json_get_object(request, "Cache"))
                r = build_cache_add(lane->build->engine, json_get_object(request, "Cache"), id);
        if (r != 0)
                build_fail(lane, r, &error);
        else
                build_reply_image(lane, id);
}

static void op_lookup(BuildLane *lane, const json_t *request)
{
        CLEANUP_FREE char *image = NULL;

        if (build_cache_find(lane->build->engine, json_get_string_or(request, "Key", ""), &image) < 0)
                build_reply(lane, json_object());
        else
                build_reply_image(lane, image);
}

/* --- The worker --------------------------------------------------------------------------------------------------- */

void build_request(BuildLane *lane, const char *text, size_t size)
{
        static const struct {
                const char *name;
                void (*run)(BuildLane *lane, const json_t *request);
        } ops[] = {
                { "resolve", op_resolve },  { "image", op_image },   { "pull", build_pull },  { "tag", op_tag },
                { "stage", op_stage },      { "commit", op_commit }, { "lookup", op_lookup }, { "run", build_run },
                { "remove", build_remove }, { "end", op_end },       { "lane", build_lane },
        };
        CLEANUP_JSON json_t *request = json_loadb(text, size, 0, NULL);
        const char *op = json_get_string(request, "Op");

        for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
                if (str_equal(ops[i].name, op)) {
                        ops[i].run(lane, request);
                        return;
                }
        worker_kill(lane->build->worker);
}

static void on_line(const char *text, size_t size, void *userdata)
{
        Build *build = userdata;

        build_request(&build->own, text, size);
}

static int run_build(void *userdata, int result_fd)
{
        Build *build = userdata;

        fd_set_nonblock(result_fd, false);
        return build_worker(build, result_fd);
}

static void build_done(int status, const char *text, size_t size, void *userdata)
{
        Build *build = userdata;
        (void) text;
        (void) size;

        build->worker = NULL;
        if (status < 0 && !build->cancelled)
                log_debug("A build ended early: %s", strerror(-status));
        LIST_REMOVE(build, link);
        build_free(build);
}

static int start_worker(Build *build, Error *error)
{
        CLEANUP_CLOSE int context_fd = -EBADF;
        int r = store_staging_create(build->engine->store, &build->context, &context_fd);

        (void) store_worker_prepare(); /* a build confines many children */
        if (r >= 0)
                r = build_keep_take(build, context_fd, error);
        if (r != 0)
                return r;
        int keep[] = { build->stream.fd };
        WorkerJob job = { .run = run_build,
                          .done = build_done,
                          .line = on_line,
                          .userdata = build,
                          .keep_fds = keep,
                          .n_keep_fds = ARRAY_SIZE(keep),
                          .ret_worker = &build->worker };
        r = engine_worker_start(build->engine, &job);
        if (r >= 0)
                build->stream.fd = fd_close(build->stream.fd);
        return r;
}

void engine_build(Engine *engine, Stream *stream, json_t *options, RegistryRefuse refuse)
{
        CLEANUP_JSON json_t *owned = options;
        CLEANUP_ERROR Error error = { 0 };
        Build *build = calloc(1, sizeof(*build));

        if (!build) {
                refuse(stream, -ENOMEM, &(Error) { 0 });
                return;
        }
        *build = (Build) { .engine = engine, .stream = STREAM_INIT, .options = TAKE_PTR(owned), .refuse = refuse };
        LIST_INIT(&build->lanes);
        build_lane_init(&build->own, build);
        stream_move(&build->stream, stream);
        int r = start_worker(build, &error);
        if (r != 0) {
                refuse(&build->stream, r, &error);
                build_free(build);
                return;
        }
        build->started_ns = time_now_ns();
        LIST_INSERT_HEAD(&engine->builds, build, link);
}

int engine_build_cancel(Engine *engine, const char *id, Error *error)
{
        Build *build;

        LIST_FOREACH(build, &engine->builds, link)
                if (!str_empty(id) && str_equal(json_get_string(build->options, "buildid"), id)) {
                        build->cancelled = true;
                        worker_kill(build->worker);
                        return 0;
                }
        return error_set(error, OUTCOME_NOT_FOUND, "no such build: %s", id);
}
