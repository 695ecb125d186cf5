/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Jobs with registries: what they have in common, and the small ones.
 *
 * A worker's report is {"Result":...} or {"Outcome","Message"}. While nothing was sent to the client a failure is the
 * answer's status; the worker says {"Begun":true} before it sends the first message. */
#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define SLOTS_MAX 64

/* 0 is Docker's word for no limit. */
static unsigned slots_of(uint32_t number)
{
        return number == 0 || number > SLOTS_MAX ? SLOTS_MAX : number;
}

RegistryConfig engine_registry_config(const Engine *engine)
{
        const Config *config = engine->config;

        return (RegistryConfig) { .insecure = config->insecure_registries,
                                  .mirrors = config->registry_mirrors,
                                  .http_proxy = config->http_proxy,
                                  .https_proxy = config->https_proxy,
                                  .no_proxy = config->no_proxy,
                                  .search_endpoint = config->search_endpoint,
                                  .downloads = slots_of(config->downloads),
                                  .uploads = slots_of(config->uploads),
                                  .attempts = config->download_attempts };
}

int registry_work_init(RegistryWork *work, Engine *engine, Stream *stream, const char *auth, RegistryRefuse refuse)
{
        *work = (RegistryWork) { .refuse = refuse, .result_fd = -EBADF, .config = engine_registry_config(engine) };
        stream_move(&work->stream, stream);
        /* As with Docker a header that makes no sense is nobody's. */
        CLEANUP_ERROR Error ignored = { 0 };
        int r = registry_auth_decode(auth, &work->auth, &ignored);
        return r < 0 ? r : 0;
}

void registry_work_clear(RegistryWork *work)
{
        stream_clear(&work->stream);
        registry_auth_clear(&work->auth);
}

int registry_work_send(RegistryWork *work, json_t *message)
{
        CLEANUP_JSON json_t *owned = message;
        CLEANUP_FREE char *text = json_dumps(owned, JSON_COMPACT);
        CLEANUP_BUFFER Buffer line = { 0 };

        if (!text || buffer_printf(&line, "%s\r\n", text) < 0)
                return -ENOMEM;
        work->begun = true;
        return stream_write(&work->stream, line.data, line.size);
}

void registry_work_fail(RegistryWork *work, int status, const Error *error)
{
        if (status == -ECANCELED)
                return;
        if (!work->begun) {
                work->refuse(&work->stream, status, error);
                return;
        }
        const char *text = error->message ?: strerror(abs(status));
        registry_work_send(work, json_pack("{s{ss} ss}", "errorDetail", "message", text, "error", text));
        stream_end(&work->stream);
}

bool registry_work_line(RegistryWork *work, const json_t *line)
{
        if (!json_get_bool(line, "Begun"))
                return false;
        work->begun = true;
        buffer_clear(&work->stream.head); /* the worker sends its copy */
        return true;
}

/* --- In the worker ------------------------------------------------------------------------------------------------ */

static int emit(void *userdata, json_t *message)
{
        static const char begun[] = "{\"Begun\":true}\n";
        RegistryWork *work = userdata;

        if (!work->begun && fd_write_all(work->result_fd, begun, sizeof(begun) - 1) < 0) {
                json_decref(message);
                return -ECANCELED;
        }
        /* Whatever is wrong with the connection, nobody is there to be told. */
        int r = registry_work_send(work, message);
        return r < 0 && r != -ENOMEM ? -ECANCELED : r;
}

RegistryJob registry_work_job(RegistryWork *work, int result_fd)
{
        work->result_fd = result_fd;
        return (RegistryJob) { .config = &work->config,
                               .auth = &work->auth,
                               .emit = emit,
                               .userdata = work,
                               .client_fd = work->stream.fd,
                               .control_fd = result_fd };
}

int registry_work_report(int result_fd, int status, json_t *result, const Error *error)
{
        CLEANUP_JSON json_t *report = status == 0 ? json_pack("{so}", "Result", result)
                                                  : json_pack("{si ss}", "Outcome", status, "Message",
                                                              error->message ?: strerror(abs(status)));
        CLEANUP_FREE char *text = report ? json_dumps(report, JSON_COMPACT) : NULL;

        return text ? fd_write_all(result_fd, text, strlen(text)) : -ENOMEM;
}

/* --- In the engine ------------------------------------------------------------------------------------------------ */

int registry_work_result(int status, const char *text, size_t size, json_t **ret_result, Error *error)
{
        CLEANUP_JSON json_t *report = size > 0 ? json_loadb(text, size, 0, NULL) : NULL;
        json_t *result = json_object_get(report, "Result");

        if (status == 0 && result) {
                *ret_result = json_incref(result);
                return 0;
        }
        int r = (int) json_get_int(report, "Outcome", 0);
        if (r == 0)
                return error_set(error, OUTCOME_FAILED, "the worker that spoke to the registry ended early");
        if (r == -ECANCELED)
                return -ECANCELED;
        /* A registry that is not there is no fault of this service's. */
        if (r < 0 || r == OUTCOME_UNAVAILABLE)
                r = OUTCOME_FAILED;
        return error_set(error, (Outcome) r, "%s", json_get_string_or(report, "Message", ""));
}

void registry_add_sources(Engine *engine, const json_t *result)
{
        json_t *source;
        size_t i;

        json_array_foreach(json_get_array(result, "Sources"), i, source)
                store_source_add(engine->store, json_get_string(source, "DiffID"), json_get_string(source, "Digest"),
                                 json_get_int(source, "Size", 0), json_get_string_or(source, "MediaType", ""),
                                 json_get_string_or(source, "Repository", ""));
}

/* --- Questions ---------------------------------------------------------------------------------------------------- */

/* One that waits for a registry's answer; the worker has its copy after the fork. */
typedef struct Question {
        RegistryWork work;
        StoreReference reference;
        char *term;
        json_t *filters;
        int64_t limit;
        int (*ask)(struct Question *question, json_t **ret, Error *error);
        EngineJsonDone done;
        void *userdata;
} Question;

static void question_free(Question *question)
{
        registry_work_clear(&question->work);
        store_reference_clear(&question->reference);
        free(question->term);
        json_decref(question->filters);
        free(question);
}

static int run_question(void *userdata, int result_fd)
{
        Question *question = userdata;
        CLEANUP_ERROR Error error = { 0 };
        json_t *answer = NULL;
        int r = question->ask(question, &answer, &error);

        return registry_work_report(result_fd, r, answer, &error);
}

static void finish_question(Question *question, int r, json_t *answer, const Error *error)
{
        question->done(r, answer, error, question->userdata);
        json_decref(answer);
        question_free(question);
}

static void question_done(int status, const char *text, size_t size, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        json_t *answer = NULL;
        int r = registry_work_result(status, text, size, &answer, &error);

        finish_question(userdata, r, answer, &error);
}

/* Starts it, or ends it with R where that is not 0. */
static void start_question(Engine *engine, Question *question, int r, const Error *error)
{
        WorkerJob job = { .run = run_question, .done = question_done, .userdata = question };

        if (r == 0)
                r = engine_worker_start(engine, &job);
        if (r != 0)
                finish_question(question, r, NULL, error);
}

static Question *question_new(Engine *engine, const char *auth, EngineJsonDone done, void *userdata, int *ret_status,
                              Error *error)
{
        Stream none = STREAM_INIT;
        Question *question = calloc(1, sizeof(*question));

        if (!question) {
                done(-ENOMEM, NULL, error, userdata);
                return NULL;
        }
        *ret_status = registry_work_init(&question->work, engine, &none, auth, NULL);
        question->done = done;
        question->userdata = userdata;
        return question;
}

static int ask_login(Question *question, json_t **ret, Error *error)
{
        return registry_login(&question->work.config, &question->work.auth, ret, error);
}

void engine_login(Engine *engine, const json_t *auth, EngineJsonDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = 0;
        Question *question = question_new(engine, NULL, done, userdata, &r, &error);

        if (!question)
                return;
        question->ask = ask_login;
        if (auth)
                r = registry_auth_parse(auth, &question->work.auth, &error);
        start_question(engine, question, r, &error);
}

static int ask_inspect(Question *question, json_t **ret, Error *error)
{
        return registry_inspect(&question->work.config, &question->work.auth, &question->reference, ret, error);
}

void engine_distribution_inspect(Engine *engine, const char *name, const char *auth, EngineJsonDone done,
                                 void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = 0;
        Question *question = question_new(engine, auth, done, userdata, &r, &error);

        if (!question)
                return;
        question->ask = ask_inspect;
        if (r == 0)
                r = store_reference_parse(name, &question->reference, &error);
        if (r == 0)
                r = store_reference_default_tag(&question->reference);
        start_question(engine, question, r, &error);
}

static int ask_search(Question *question, json_t **ret, Error *error)
{
        return registry_search(&question->work.config, &question->work.auth, question->term, question->limit,
                               question->filters, ret, error);
}

void engine_image_search(Engine *engine, const char *term, int64_t limit, const json_t *filters, const char *auth,
                         EngineJsonDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        int r = 0;
        Question *question = question_new(engine, auth, done, userdata, &r, &error);

        if (!question)
                return;
        question->ask = ask_search;
        question->term = strdup(term);
        question->filters = json_deep_copy(filters);
        question->limit = limit;
        if (r == 0 && (!question->term || (filters && !question->filters)))
                r = -ENOMEM;
        if (r == 0)
                r = registry_search_check(term, filters, &error);
        start_question(engine, question, r, &error);
}
