/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Imports of what an URL leads to: the worker, confined, unpacks what a process without privileges gets. */
#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define TELL_NS (INT64_C(100) * 1000000)

/* Shared by the worker (its copy after the fork) and the engine. */
typedef struct Fetch {
        Engine *engine;
        RegistryWork work;
        RegistryGet get; /* in the worker */
        char *url, *reference, *message, *platform, *staging;
        int staging_fd;
        json_t *config;
        RegistryJob job; /* in the worker, as what follows */
        int64_t received, told_ns;
} Fetch;

static void fetch_free(Fetch *fetch)
{
        if (fetch->staging)
                store_staging_discard(fetch->engine->store, fetch->staging);
        engine_sweep(fetch->engine);
        fd_close(fetch->staging_fd);
        registry_get_clear(&fetch->get);
        registry_work_clear(&fetch->work);
        free(fetch->url);
        free(fetch->reference);
        free(fetch->message);
        free(fetch->platform);
        free(fetch->staging);
        json_decref(fetch->config);
        free(fetch);
}

/* --- The worker --------------------------------------------------------------------------------------------------- */

static ssize_t read_fetched(void *userdata, void *buffer, size_t size)
{
        Fetch *fetch = userdata;
        int64_t now = time_now_ns();
        ssize_t n;

        do
                n = read(fetch->get.data_fd, buffer, size);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
                return n < 0 ? -errno : 0;
        fetch->received += n;
        if (now >= fetch->told_ns + TELL_NS) {
                json_t *detail = json_pack("{sI}", "current", (json_int_t) fetch->received);

                if (detail && fetch->get.length > 0)
                        json_set_int(detail, "total", fetch->get.length);
                fetch->told_ns = now;
                if (fetch->job.emit(fetch->job.userdata,
                                    json_pack("{ss so}", "status", "Importing", "progressDetail", detail)) < 0)
                        return -ECANCELED;
        }
        return n;
}

static int fetch_and_import(Fetch *fetch, int result_fd, json_t **ret, Error *error)
{
        StoreInput input = { .fd = -EBADF,
                             .read = read_fetched,
                             .staging_fd = fetch->staging_fd,
                             .platform = fetch->platform,
                             .userdata = fetch };
        StoreImport import = { .reference = fetch->reference, .message = fetch->message, .config = fetch->config };
        int r = registry_get_start(fetch->job.config, fetch->url, &fetch->get, error);
        int keep[] = { fetch->work.stream.fd, result_fd, fetch->staging_fd, fetch->get.data_fd, fetch->get.status_fd };

        if (r == 0) {
                CLEANUP_FREE char *text = str_printf("Downloading from %s", fetch->url);

                r = text ? fetch->job.emit(fetch->job.userdata, json_pack("{ss}", "status", text)) : -ENOMEM;
        }
        if (r == 0)
                r = store_worker_confine(fetch->staging_fd, keep, ARRAY_SIZE(keep));
        if (r < 0 || r > 0)
                return r;
        r = store_import(&input, &import, ret, error);
        /* An archive that broke off is no fault of its own. */
        CLEANUP_ERROR Error broken = { 0 };
        if (r != -ECANCELED && registry_get_finish(&fetch->get, &broken) != 0) {
                error_clear(error);
                *error = broken;
                broken = (Error) { 0 };
                r = OUTCOME_FAILED;
        }
        return r;
}

static int run_fetch(void *userdata, int result_fd)
{
        Fetch *fetch = userdata;
        CLEANUP_ERROR Error error = { 0 };
        json_t *result = NULL;

        fetch->job = registry_work_job(&fetch->work, result_fd);
        int r = fetch_and_import(fetch, result_fd, &result, &error);
        return registry_work_report(result_fd, r, result, &error);
}

/* --- The engine --------------------------------------------------------------------------------------------------- */

static void on_line(const char *text, size_t size, void *userdata)
{
        Fetch *fetch = userdata;
        CLEANUP_JSON json_t *line = json_loadb(text, size, 0, NULL);

        registry_work_line(&fetch->work, line);
}

static void fetch_done(int status, const char *text, size_t size, void *userdata)
{
        Fetch *fetch = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *result = NULL, *images = NULL;
        int r = registry_work_result(status, text, size, &result, &error);

        if (r == 0)
                r = store_commit(fetch->engine->store, fetch->staging, result, &images, &error);
        if (r == 0) {
                const char *id = json_get_string_or(json_array_get(images, 0), "ID", "");

                image_event_emit(fetch->engine, "import", id, id);
                registry_work_send(&fetch->work, json_pack("{ss}", "status", id));
                stream_end(&fetch->work.stream);
        } else
                registry_work_fail(&fetch->work, r, &error);
        fetch_free(fetch);
}

static int start_worker(Fetch *fetch)
{
        int r = store_staging_create(fetch->engine->store, &fetch->staging, &fetch->staging_fd);
        int keep[] = { fetch->work.stream.fd, fetch->staging_fd };
        WorkerJob job = { .run = run_fetch,
                          .done = fetch_done,
                          .line = on_line,
                          .userdata = fetch,
                          .keep_fds = keep,
                          .n_keep_fds = ARRAY_SIZE(keep) };

        return r < 0 ? r : engine_worker_start(fetch->engine, &job);
}

static char *copy_or_null(const char *text)
{
        return str_empty(text) ? NULL : strdup(text);
}

void engine_image_fetch(Engine *engine, Stream *stream, const ImageImport *import, const char *url,
                        RegistryRefuse refuse)
{
        CLEANUP_ERROR Error error = { 0 };
        Fetch *fetch = calloc(1, sizeof(*fetch));
        int r;

        if (!fetch) {
                refuse(stream, -ENOMEM, &error);
                return;
        }
        fetch->engine = engine;
        fetch->staging_fd = -EBADF;
        fetch->get = REGISTRY_GET_NONE;
        fetch->url = str_printf("%s%s", strstr(url, "://") ? "" : "http://", url);
        fetch->message = copy_or_null(import->message);
        fetch->platform = copy_or_null(import->platform);
        r = registry_work_init(&fetch->work, engine, stream, NULL, refuse);
        if (r == 0)
                r = engine_import_prepare(import, &fetch->reference, &fetch->config, &error);
        if (r == 0)
                r = fetch->url ? start_worker(fetch) : -ENOMEM;
        if (r == 0)
                return;
        registry_work_fail(&fetch->work, r, &error);
        fetch_free(fetch);
}
