/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GET /events: a worker of its own reads the journal and writes what the filters let through, and lives as long as its
 * client listens, whatever becomes of the daemon. Its socket in <exec root>/events is what engine-event.c wakes it by;
 * it is bound before the journal is read, so that nothing is missed, and removed at the end. */
#include <sys/socket.h>
#include <sys/un.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

typedef struct EventJob {
        Stream stream;
        JournalEventQuery query;
        json_t *filters; /* owned */
        int64_t since_ns;
        char path[sizeof(((struct sockaddr_un *) 0)->sun_path)];
} EventJob;

/* --- Filters, which match as dockerd's do ------------------------------------------------------------------------- */

/* What one filter looks at: any of the texts, whole or as far as the value goes. */
typedef struct Texts {
        const char *texts[4];
        bool prefix;
} Texts;

static bool match_texts(const char *value, const void *userdata)
{
        const Texts *texts = userdata;

        for (size_t i = 0; i < ARRAY_SIZE(texts->texts); i++) {
                const char *text = texts->texts[i];
                if (text && (texts->prefix ? str_after_prefix(text, value) != NULL : str_equal(text, value)))
                        return true;
        }
        return false;
}

static bool match_open_action(const char *value, const void *userdata)
{
        (void) userdata;
        return str_equal(value, "health_status") || str_equal(value, "exec_create") || str_equal(value, "exec_start");
}

/* Actions that carry something behind a colon are found without it. */
static bool action_passes(const json_t *filters, const char *action)
{
        bool open = filters_has(filters, "event") && filters_any(filters, "event", match_open_action, NULL);
        Texts texts = { { action }, open };

        return filters_any(filters, "event", match_texts, &texts);
}

/* The reference without its tag, in the short form. */
static char *strip_tag(const char *name)
{
        char *copy = strdup(name), *slash = copy ? strrchr(copy, '/') : NULL;
        char *end = copy ? strpbrk(slash ? slash : copy, "@:") : NULL;

        if (end && !str_after_prefix(name, "sha256:"))
                *end = 0;
        return copy;
}

static bool image_passes(const json_t *filters, const char *type, const char *id, const json_t *attributes)
{
        const char *name = json_get_string_or(attributes, str_equal(type, "image") ? "name" : "image", "");
        CLEANUP_FREE char *bare_id = strip_tag(id), *bare_name = strip_tag(name);
        Texts texts = { { id, name, bare_id, bare_name }, false };

        return filters_any(filters, "image", match_texts, &texts);
}

static bool event_passes(const json_t *filters, const json_t *event)
{
        static const char *const actors[] = { "daemon",  "container", "plugin", "volume", "network",
                                              "service", "node",      "secret", "config" };
        const json_t *actor = json_object_get(event, "Actor"), *attributes = json_object_get(actor, "Attributes");
        const char *type = json_get_string_or(event, "Type", ""), *id = json_get_string_or(actor, "ID", "");
        Texts types = { { type }, false }, scopes = { { json_get_string_or(event, "scope", "") }, false };
        Texts names = { { id, json_get_string_or(attributes, "name", "") }, true };

        if (!action_passes(filters, json_get_string_or(event, "Action", "")) ||
            !filters_any(filters, "type", match_texts, &types) || !filters_any(filters, "scope", match_texts, &scopes))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(actors); i++)
                if (!filters_any(filters, actors[i], match_texts, &names))
                        return false;
        return image_passes(filters, type, id, attributes) &&
               (!filters_has(filters, "label") || filters_labels(filters, attributes));
}

/* --- The worker --------------------------------------------------------------------------------------------------- */

static int write_event(const char *json, size_t size, void *userdata)
{
        EventJob *job = userdata;
        CLEANUP_JSON json_t *event = json_loadb(json, size, 0, NULL);
        CLEANUP_BUFFER Buffer line = { 0 };
        int64_t time_ns = json_get_int(event, "timeNano", 0);

        if (!event || time_ns < job->since_ns || (job->query.until_ns > 0 && time_ns > job->query.until_ns) ||
            !event_passes(job->filters, event))
                return 0;
        int r = buffer_append(&line, json, size);
        if (r >= 0)
                r = buffer_append(&line, "\n", 1);
        return r < 0 ? r : stream_write(&job->stream, line.data, line.size);
}

static int listen_for_wakes(const EventJob *job)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        memcpy(address.sun_path, job->path, sizeof(address.sun_path));
        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static int run_events(void *userdata, int result_fd)
{
        EventJob *job = userdata;
        CLEANUP_CLOSE int wake_fd = job->query.follow ? listen_for_wakes(job) : -EBADF;
        int r = job->query.follow ? MIN(wake_fd, 0) : 0;
        (void) result_fd;

        job->query.wake_fd = wake_fd;
        if (r >= 0)
                r = stream_begin(&job->stream);
        if (r >= 0)
                r = journal_read_events(&job->query, write_event, job);
        if (r >= 0)
                r = stream_end(&job->stream);
        if (wake_fd >= 0)
                (void) unlink(job->path);
        return r;
}

static void job_free(EventJob *job)
{
        stream_clear(&job->stream);
        json_decref(job->filters);
        free(job);
}

DEFINE_CLEANUP(cleanup_job_ptr, EventJob *, job_free)

static void start(Engine *engine, void *userdata)
{
        CLEANUP(cleanup_job_ptr) EventJob *job = userdata;
        const WorkerJob worker = {
                .run = run_events, .userdata = job, .keep_fds = &job->stream.fd, .n_keep_fds = 1, .detached = true
        };
        int r = engine_worker_start(engine, &worker);

        if (r < 0)
                log_debug("cannot start a reader of events: %s", strerror(-r));
}

/* What the engine still holds because journald was slow is in the past too. */
int engine_events_follow(Engine *engine, const EventQuery *query, Stream *stream)
{
        static unsigned counter;
        int64_t now = time_now_ns();
        bool past = query->since_ns > 0 || query->until_ns > 0;
        CLEANUP(cleanup_job_ptr) EventJob *job = calloc(1, sizeof(*job));

        if (!job) {
                stream_clear(stream);
                return -ENOMEM;
        }
        stream_move(&job->stream, stream);
        job->filters = json_incref((json_t *) query->filters);
        job->since_ns = past ? query->since_ns : now;
        job->query = (JournalEventQuery) { .since_ns = job->since_ns,
                                           .until_ns = query->until_ns,
                                           .follow = query->until_ns == 0 || query->until_ns > now,
                                           .wake_fd = -EBADF,
                                           .client_fd = job->stream.fd };
        if (snprintf(job->path, sizeof(job->path), "%s/events/%d-%u", engine->config->exec_root, (int) getpid(),
                     counter++) >= (int) sizeof(job->path))
                return -ENAMETOOLONG;
        int r = engine_events_when_sent(engine, start, job);
        if (r >= 0)
                TAKE_PTR(job);
        return r;
}
