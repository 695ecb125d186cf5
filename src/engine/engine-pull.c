/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pulls: a worker fetches into a staging directory, and the engine commits.
 *
 * Two pulls of one layer share the work: each claims its layers before it fetches them, and what an older pull has
 * claimed waits for that one's end, after which it is in the store or nobody's. Waiting is for older pulls only, so
 * that no two can wait for each other. */
#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

struct Pull {
        LIST_ENTRY(Pull) link;
        Engine *engine;
        RegistryWork work;
        StoreReference reference;
        char *platform;
        char *staging;
        int staging_fd;
        Worker *worker;
        uint64_t number;
        json_t *claims;  /* diff IDs it will fetch or has fetched */
        json_t *waiting; /* those of its diff IDs that an older pull has claimed */
        bool again;      /* it was started a second time */
};

static void pull_free(Pull *pull)
{
        if (pull->staging)
                store_staging_discard(pull->engine->store, pull->staging);
        fd_close(pull->staging_fd);
        free(pull->staging);
        registry_work_clear(&pull->work);
        store_reference_clear(&pull->reference);
        free(pull->platform);
        json_decref(pull->claims);
        json_decref(pull->waiting);
        free(pull);
}

/* --- Sharing ------------------------------------------------------------------------------------------------------ */

static bool held_by_older(const Pull *pull, const char *diff_id)
{
        const Pull *other;

        LIST_FOREACH(other, &pull->engine->pulls, link)
                if (other->number < pull->number && json_object_get(other->claims, diff_id))
                        return true;
        return false;
}

static void send_go(Pull *pull, const json_t *diff_ids)
{
        CLEANUP_JSON json_t *message = json_pack("{sO}", "Go", diff_ids);
        CLEANUP_FREE char *line = json_line(message);

        if (json_array_size(diff_ids) > 0 && line)
                worker_send(pull->worker, line);
}

static void claim(Pull *pull, const json_t *diff_ids)
{
        CLEANUP_JSON json_t *go = json_array();
        json_t *item;
        size_t i;

        json_array_foreach((json_t *) diff_ids, i, item) {
                const char *diff_id = json_string_value(item);

                if (!diff_id)
                        continue;
                if (held_by_older(pull, diff_id))
                        json_set_bool(pull->waiting, diff_id, true);
                else
                        json_array_append(go, item);
                json_set_bool(pull->claims, diff_id, true);
        }
        send_go(pull, go);
}

/* After a pull has ended: what others waited for may be free. */
static void let_others_go(Engine *engine)
{
        Pull *pull;

        LIST_FOREACH(pull, &engine->pulls, link) {
                CLEANUP_JSON json_t *go = json_array();
                const char *diff_id;
                json_t *value;
                void *next;

                json_object_foreach_safe(pull->waiting, next, diff_id, value)
                {
                        if (held_by_older(pull, diff_id))
                                continue;
                        json_array_append_new(go, json_string(diff_id));
                        json_object_del(pull->waiting, diff_id);
                }
                send_go(pull, go);
        }
}

static void on_line(const char *text, size_t size, void *userdata)
{
        Pull *pull = userdata;
        CLEANUP_JSON json_t *line = json_loadb(text, size, 0, NULL);

        if (!registry_work_line(&pull->work, line))
                claim(pull, json_get_array(line, "Claim"));
}

/* --- The worker --------------------------------------------------------------------------------------------------- */

static int run_pull(void *userdata, int result_fd)
{
        Pull *pull = userdata;
        CLEANUP_ERROR Error error = { 0 };
        json_t *result = NULL;
        RegistryPull request = { .job = registry_work_job(&pull->work, result_fd),
                                 .reference = &pull->reference,
                                 .platform = pull->platform,
                                 .root = pull->engine->config->data_root,
                                 .staging_fd = pull->staging_fd };

        fd_set_nonblock(result_fd, false);
        int r = registry_pull(&request, &result, &error);
        return registry_work_report(result_fd, r, result, &error);
}

static void pull_done(int status, const char *text, size_t size, void *userdata);

static int start_worker(Pull *pull)
{
        int keep[] = { pull->work.stream.fd, pull->staging_fd };
        WorkerJob job = { .run = run_pull,
                          .done = pull_done,
                          .line = on_line,
                          .userdata = pull,
                          .keep_fds = keep,
                          .n_keep_fds = ARRAY_SIZE(keep),
                          .ret_worker = &pull->worker };

        return engine_worker_start(pull->engine, &job);
}

/* --- The end ------------------------------------------------------------------------------------------------------ */

/* Whether every reference named its image already. */
static bool is_up_to_date(Pull *pull, const json_t *result)
{
        json_t *pulled;
        size_t i;

        json_array_foreach(json_get_array(result, "Pulled"), i, pulled) {
                CLEANUP_ERROR Error ignored = { 0 };
                CLEANUP_FREE char *id = NULL;

                if (store_resolve(pull->engine->store, json_get_string_or(pulled, "Reference", ""), &id, &ignored) !=
                            0 ||
                    !str_equal(id, json_get_string(pulled, "ID")))
                        return false;
        }
        return true;
}

static void send_status(Pull *pull, bool up_to_date, const char *mismatch)
{
        CLEANUP_FREE char *name = pull->reference.tag || pull->reference.digest
                                          ? store_reference_familiar(&pull->reference)
                                          : store_reference_familiar_name(&pull->reference);
        CLEANUP_FREE char *line =
                str_printf(up_to_date ? "Status: Image is up to date for %s" : "Status: Downloaded newer image for %s",
                           name ?: "");

        registry_work_send(&pull->work, json_pack("{ss}", "status", line ?: ""));
        if (mismatch)
                registry_work_fail(&pull->work, OUTCOME_NOT_FOUND, &(Error) { OUTCOME_NOT_FOUND, (char *) mismatch });
        else
                stream_end(&pull->work.stream);
}

static int commit(Pull *pull, const json_t *result, bool *ret_up_to_date, Error *error)
{
        CLEANUP_JSON json_t *images = NULL;
        bool up_to_date = is_up_to_date(pull, result);
        int r = store_commit(pull->engine->store, pull->staging, result, &images, error);

        if (r != 0)
                return r;
        registry_add_sources(pull->engine, result);
        *ret_up_to_date = up_to_date;
        return 0;
}

/* A layer that was there may have been removed meanwhile: then the pull is done once more. */
static bool try_again(Pull *pull, int status)
{
        if (status != OUTCOME_BAD_REQUEST || pull->again)
                return false;
        pull->again = true;
        store_staging_discard(pull->engine->store, pull->staging);
        free(TAKE_PTR(pull->staging));
        pull->staging_fd = fd_close(pull->staging_fd);
        json_object_clear(pull->claims);
        json_object_clear(pull->waiting);
        return store_staging_create(pull->engine->store, &pull->staging, &pull->staging_fd) >= 0 &&
               start_worker(pull) >= 0;
}

static void pull_done(int status, const char *text, size_t size, void *userdata)
{
        Pull *pull = userdata;
        Engine *engine = pull->engine;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *result = NULL;
        bool up_to_date = false;
        int r = registry_work_result(status, text, size, &result, &error);

        if (r == 0) {
                r = commit(pull, result, &up_to_date, &error);
                if (try_again(pull, r))
                        return;
        }
        if (r == 0)
                reference_event_emit(engine, "pull", &pull->reference);
        if (r == 0)
                send_status(pull, up_to_date, json_get_string(result, "Mismatch"));
        else
                registry_work_fail(&pull->work, r, &error);
        LIST_REMOVE(pull, link);
        pull_free(pull);
        let_others_go(engine);
        engine_sweep(engine);
}

/* --- The beginning ------------------------------------------------------------------------------------------------ */

/* A digest in the name wins, then TAG, then the name's own tag. */
static int parse_reference(const ImagePull *request, StoreReference *ret, Error *error)
{
        CLEANUP_REFERENCE StoreReference reference = { 0 };
        int r = store_reference_parse(request->image, &reference, error);

        if (r == 0 && !reference.digest && !str_empty(request->tag)) {
                CLEANUP_FREE char *name = store_reference_normal_name(&reference);

                store_reference_clear(&reference);
                r = name ? store_reference_from_query(name, request->tag, &reference, error) : -ENOMEM;
        }
        if (r != 0)
                return r;
        CLEANUP_FREE char *familiar = store_reference_familiar_name(&reference);
        if (str_equal(familiar, "scratch"))
                return error_set(error, OUTCOME_FORBIDDEN, "'scratch' is a reserved name");
        if (reference.digest)
                free(TAKE_PTR(reference.tag));
        *ret = reference;
        reference = (StoreReference) { 0 };
        return 0;
}

void engine_image_pull(Engine *engine, Stream *stream, const ImagePull *request)
{
        CLEANUP_ERROR Error error = { 0 };
        Pull *pull = calloc(1, sizeof(*pull));
        int r;

        if (!pull) {
                request->refuse(stream, -ENOMEM, &error);
                return;
        }
        pull->engine = engine;
        pull->staging_fd = -EBADF;
        pull->number = ++engine->last_pull;
        pull->claims = json_object();
        pull->waiting = json_object();
        pull->platform = str_empty(request->platform) ? NULL : strdup(request->platform);
        r = registry_work_init(&pull->work, engine, stream, request->auth, request->refuse);
        if (r == 0)
                r = parse_reference(request, &pull->reference, &error);
        if (r == 0)
                r = store_staging_create(engine->store, &pull->staging, &pull->staging_fd);
        if (r == 0)
                r = start_worker(pull);
        if (r != 0) {
                registry_work_fail(&pull->work, r, &error);
                pull_free(pull);
                return;
        }
        LIST_INSERT_HEAD(&engine->pulls, pull, link);
}
