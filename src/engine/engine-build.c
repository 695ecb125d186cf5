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

static void pull_stop(Build *build)
{
        build->pull_source = sd_event_source_disable_unref(build->pull_source);
        build->pull_fd = fd_close(build->pull_fd);
        buffer_clear(&build->pull_text);
        free(TAKE_PTR(build->pull_name));
        free(TAKE_PTR(build->pull_error));
}

static void build_free(Build *build)
{
        pull_stop(build);
        build_remove_all(build);
        for (size_t i = 0; build->stagings && build->stagings[i]; i++)
                store_staging_discard(build->engine->store, build->stagings[i]);
        if (build->context) {
                CLEANUP_FREE char *secrets = engine_build_secrets(build->engine, build->context);
                if (secrets)
                        path_remove_tree_at(AT_FDCWD, secrets);
                store_staging_discard(build->engine->store, build->context);
        }
        engine_sweep(build->engine);
        stream_clear(&build->stream);
        strv_free(build->stagings);
        json_decref(build->options);
        free(build->context);
        free(build->running);
        free(build);
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

void build_reply(Build *build, json_t *reply)
{
        build_reply_fd(build, reply, -EBADF);
}

void build_reply_fd(Build *build, json_t *reply, int fd)
{
        CLEANUP_JSON json_t *owned = reply;
        CLEANUP_FREE char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
        CLEANUP_FREE char *line = text ? str_printf("%s\n", text) : NULL;

        /* A worker that doesn't read is of no use any more. */
        if (build->worker && (!line || worker_send_fd(build->worker, line, fd) < 0))
                worker_kill(build->worker);
}

void build_fail(Build *build, int r, const Error *error)
{
        const char *text = error->message ? error->message : strerror(abs(r));

        build_reply(build, json_pack("{ss si}", "Failure", text, "Outcome", r > 0 ? r : (int) OUTCOME_FAILED));
}

void build_reply_image(Build *build, const char *id)
{
        CLEANUP_STRV char **layers = NULL;
        CLEANUP_JSON json_t *config = NULL;
        int r = store_image_config(build->engine->store, id, &config);

        if (r == 0)
                r = store_image_layers(build->engine->store, id, &layers);
        if (r < 0)
                build_fail(build, r, &(Error) { 0 });
        else
                build_reply(build,
                            json_pack("{ss sO so}", "Id", id, "Config", config, "Layers", json_from_strv(layers)));
}

/* --- Images ------------------------------------------------------------------------------------------------------- */

static void op_resolve(Build *build, const json_t *request)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_FREE char *id = NULL;
        int r = store_resolve(build->engine->store, json_get_string_or(request, "Name", ""), &id, &error);

        if (r == OUTCOME_NOT_FOUND)
                build_reply(build, json_pack("{sb}", "Missing", true));
        else if (r != 0)
                build_fail(build, r, &error);
        else
                build_reply_image(build, id);
}

static void op_image(Build *build, const json_t *request)
{
        build_reply_image(build, json_get_string_or(request, "Id", ""));
}

static void pull_line(Build *build, const char *text, size_t size)
{
        CLEANUP_JSON json_t *message = json_loadb(text, size, 0, NULL);
        const char *failure = json_get_string(json_get_object(message, "errorDetail"), "message");

        if (failure) {
                free(build->pull_error);
                build->pull_error = strdup(failure);
        } else if (message)
                build_reply(build, json_pack("{sO}", "Progress", message));
}

static void pull_end(Build *build)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_FREE char *id = NULL;
        int r = 0;

        if (build->pull_error)
                r = error_set(&error, OUTCOME_NOT_FOUND, "%s", build->pull_error);
        if (r == 0)
                r = store_resolve(build->engine->store, build->pull_name, &id, &error);
        pull_stop(build);
        if (r != 0)
                build_fail(build, r, &error);
        else
                build_reply_image(build, id);
}

static int on_pull(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        Build *build = userdata;
        ssize_t n = buffer_read(&build->pull_text, fd, 65536);
        char *end;
        (void) source;
        (void) revents;

        if (n == -EAGAIN || n == -EINTR)
                return 0;
        while (build->pull_text.size > 0 && (end = memchr(build->pull_text.data, '\n', build->pull_text.size))) {
                size_t size = (size_t) (end - build->pull_text.data);
                pull_line(build, build->pull_text.data, size);
                buffer_consume(&build->pull_text, size + 1);
        }
        if (n <= 0)
                pull_end(build);
        return 0;
}

/* A failure before the first message comes this way. */
static void pull_refused(Stream *stream, int result, const Error *error)
{
        const char *text = error->message ? error->message : strerror(abs(result));
        CLEANUP_JSON json_t *message = json_pack("{s{ss}}", "errorDetail", "message", text);
        CLEANUP_FREE char *line = json_dumps(message, JSON_COMPACT);

        if (line && stream_write(stream, line, strlen(line)) >= 0)
                (void) stream_write(stream, "\n", 1);
        stream_clear(stream);
}

static void op_pull(Build *build, const json_t *request)
{
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        int fds[2], r = build->pull_source ? -EBUSY : socket_pair(SOCK_STREAM, fds);

        if (r < 0) {
                build_fail(build, r, &(Error) { 0 });
                return;
        }
        build->pull_fd = fds[0];
        stream.fd = fds[1];
        fd_set_nonblock(build->pull_fd, true);
        build->pull_name = strdup(json_get_string_or(request, "Name", ""));
        r = build->pull_name ? sd_event_add_io(build->engine->event, &build->pull_source, build->pull_fd, EPOLLIN,
                                               on_pull, build)
                             : -ENOMEM;
        if (r < 0) {
                pull_stop(build);
                build_fail(build, r, &(Error) { 0 });
                return;
        }
        ImagePull pull = { json_get_string(request, "Name"), "latest", json_get_string(request, "Platform"),
                           json_get_string(request, "Auth"), pull_refused };
        if (strchr(strrchr(pull.image, '/') ?: pull.image, ':') || strchr(pull.image, '@'))
                pull.tag = NULL;
        engine_image_pull(build->engine, &stream, &pull);
}

static void op_tag(Build *build, const json_t *request)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = store_tag(build->engine->store, json_get_string_or(request, "Id", ""),
                          json_get_string_or(request, "Name", ""), &error);

        if (r != 0)
                build_fail(build, r, &error);
        else
                build_reply(build, json_object());
}

static void op_end(Build *build, const json_t *request)
{
        (void) request;
        build->ended = true;
        build_reply(build, json_object());
}

/* --- Layers and cache --------------------------------------------------------------------------------------------- */

static void op_stage(Build *build, const json_t *request)
{
        CLEANUP_FREE char *name = NULL;
        CLEANUP_CLOSE int fd = -EBADF;
        int r = store_staging_create(build->engine->store, &name, &fd);
        (void) request;

        if (r >= 0)
                r = strv_append(&build->stagings, name);
        if (r < 0)
                build_fail(build, r, &(Error) { 0 });
        else
                build_reply(build, json_pack("{ss}", "Staging", name));
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

static void op_commit(Build *build, const json_t *request)
{
        const char *staging = json_get_string_or(request, "Staging", "");
        CLEANUP_FREE char *name = strdup(staging);
        CLEANUP_JSON json_t *images = NULL;
        CLEANUP_ERROR Error error = { 0 };
        int r = name && forget_staging(build, staging) ? 0 : -EINVAL;

        if (r == 0)
                r = store_commit(build->engine->store, name, json_get_object(request, "Result"), &images, &error);
        const char *id = json_get_string_or(json_array_get(images, 0), "ID", "");
        if (r == 0 && json_get_object(request, "Cache"))
                r = build_cache_add(build->engine, json_get_object(request, "Cache"), id);
        if (r != 0)
                build_fail(build, r, &error);
        else
                build_reply_image(build, id);
}

static void op_lookup(Build *build, const json_t *request)
{
        CLEANUP_FREE char *image = NULL;

        if (build_cache_find(build->engine, json_get_string_or(request, "Key", ""), &image) < 0)
                build_reply(build, json_object());
        else
                build_reply_image(build, image);
}

/* --- The worker --------------------------------------------------------------------------------------------------- */

static void on_line(const char *text, size_t size, void *userdata)
{
        static const struct {
                const char *name;
                void (*run)(Build *build, const json_t *request);
        } ops[] = {
                { "resolve", op_resolve },  { "image", op_image },   { "pull", op_pull },     { "tag", op_tag },
                { "stage", op_stage },      { "commit", op_commit }, { "lookup", op_lookup }, { "run", build_run },
                { "remove", build_remove }, { "end", op_end },
        };
        Build *build = userdata;
        CLEANUP_JSON json_t *request = json_loadb(text, size, 0, NULL);
        const char *op = json_get_string(request, "Op");

        for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
                if (str_equal(ops[i].name, op)) {
                        ops[i].run(build, request);
                        return;
                }
        worker_kill(build->worker);
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

static int start_worker(Build *build)
{
        CLEANUP_CLOSE int context_fd = -EBADF;
        int r = store_staging_create(build->engine->store, &build->context, &context_fd);

        if (r < 0)
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
        Build *build = calloc(1, sizeof(*build));

        if (!build) {
                refuse(stream, -ENOMEM, &(Error) { 0 });
                return;
        }
        *build = (Build) {
                .engine = engine, .stream = STREAM_INIT, .options = TAKE_PTR(owned), .refuse = refuse, .pull_fd = -EBADF
        };
        LIST_INIT(&build->containers);
        stream_move(&build->stream, stream);
        int r = start_worker(build);
        if (r < 0) {
                refuse(&build->stream, r, &(Error) { 0 });
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
