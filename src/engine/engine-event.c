/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happened, told: every event is one journal entry (berth/journal.h), which is where the past is read from, also
 * that of earlier processes and boots. Followers are workers (engine-events.c), which the engine wakes by a datagram to
 * the socket each has in a directory; journald alone would tell them with a quarter second's delay.
 *
 * Nothing here waits: what journald does not take at once stays in a queue that a timer empties, and which keeps the
 * process alive. The sender owns its socket, queue and timer. */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-login.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

#define RETRY_US (UINT64_C(20) * 1000)
#define QUEUE_MAX 10000u
/* Whoever wants to see all events waits no longer for those that journald does not take. */
#define PATIENCE_US (UINT64_C(2) * 1000 * 1000)
/* At the end of the process. */
#define FLUSH_TRIES 50
#define FLUSH_PAUSE_NS (20L * 1000 * 1000)

typedef struct QueuedEvent {
        STAILQ_ENTRY(QueuedEvent) link;
        Buffer entry;
} QueuedEvent;

typedef struct EventWait {
        STAILQ_ENTRY(EventWait) link;
        uint64_t deadline_us;
        void (*sent)(Engine *engine, void *userdata);
        void *userdata;
} EventWait;

struct EventSender {
        int fd; /* connected to journald; -EBADF where it is not there */
        char *directory;
        STAILQ_HEAD(, QueuedEvent) queue;
        size_t n;
        STAILQ_HEAD(, EventWait) waits;
        sd_event_source *retry;
};

/* --- Callers ------------------------------------------------------------------------------------------------------ */

static void name_caller(JournalCaller *caller)
{
        char path[32];
        CLEANUP_FREE char *name = NULL;
        size_t size;

        snprintf(path, sizeof(path), "/proc/%d/comm", (int) caller->pid);
        if (caller->pid <= 0 || *caller->command || file_read_at(AT_FDCWD, path, 64, &name, &size) < 0)
                return;
        snprintf(caller->command, sizeof(caller->command), "%.*s", (int) strcspn(name, "\n"), name);
}

void engine_set_caller(Engine *engine, uid_t uid, pid_t pid)
{
        engine->caller = (JournalCaller) { .uid = uid, .pid = pid };
}

void container_note_caller(Container *container)
{
        if (container->engine->caller.pid <= 0)
                return;
        name_caller(&container->engine->caller);
        container->caller = container->engine->caller;
}

void container_forget_caller(Container *container)
{
        container->caller = (JournalCaller) { 0 };
}

/* --- Sending ------------------------------------------------------------------------------------------------------ */

/* Tells each follower that there is something to read. */
static void wake_followers(const EventSender *sender, int fd)
{
        CLEANUP_CLOSEDIR DIR *directory = opendir(sender->directory);
        struct dirent *entry;

        while (directory && (entry = readdir(directory))) {
                struct sockaddr_un address = { .sun_family = AF_UNIX };

                if (entry->d_name[0] == '.' ||
                    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", sender->directory, entry->d_name) >=
                            (int) sizeof(address.sun_path))
                        continue;
                /* A full queue wakes it as well. A follower that was killed left its socket. */
                if (sendto(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *) &address, sizeof(address)) < 0 &&
                    errno == ECONNREFUSED)
                        (void) unlink(address.sun_path);
        }
}

static void wake(const EventSender *sender)
{
        CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd >= 0)
                wake_followers(sender, fd);
}

static int send_now(EventSender *sender, const Buffer *entry)
{
        int r;

        if (sender->fd < 0)
                sender->fd = journal_connect();
        r = sender->fd < 0 ? sender->fd : journal_send(sender->fd, entry);
        /* Its socket was made anew. */
        if (r == -ECONNREFUSED || r == -ENOTCONN || r == -ECONNRESET) {
                fd_close(sender->fd);
                sender->fd = journal_connect();
                r = sender->fd < 0 ? sender->fd : journal_send(sender->fd, entry);
        }
        return r;
}

static void drop_first(EventSender *sender)
{
        QueuedEvent *queued = STAILQ_FIRST(&sender->queue);

        STAILQ_REMOVE_HEAD(&sender->queue, link);
        buffer_clear(&queued->entry);
        free(queued);
        sender->n--;
}

static void send_queue(EventSender *sender)
{
        bool sent = false;

        while (sender->n > 0 && send_now(sender, &STAILQ_FIRST(&sender->queue)->entry) >= 0) {
                drop_first(sender);
                sent = true;
        }
        if (sent)
                wake(sender);
}

/* Those that have waited long enough, in their order; all where nothing is queued any more. */
static void answer_waits(Engine *engine)
{
        EventSender *sender = engine->events;
        EventWait *wait;
        uint64_t now = 0;

        (void) sd_event_now(engine->event, CLOCK_MONOTONIC, &now);
        while ((wait = STAILQ_FIRST(&sender->waits)) && (sender->n == 0 || now >= wait->deadline_us)) {
                STAILQ_REMOVE_HEAD(&sender->waits, link);
                wait->sent(engine, wait->userdata);
                free(wait);
        }
}

int engine_events_when_sent(Engine *engine, void (*sent)(Engine *engine, void *userdata), void *userdata)
{
        EventSender *sender = engine->events;
        EventWait *wait = calloc(1, sizeof(*wait));
        uint64_t now = 0;

        if (!wait)
                return -ENOMEM;
        (void) sd_event_now(engine->event, CLOCK_MONOTONIC, &now);
        *wait = (EventWait) { .deadline_us = now + PATIENCE_US, .sent = sent, .userdata = userdata };
        STAILQ_INSERT_TAIL(&sender->waits, wait, link);
        send_queue(sender);
        answer_waits(engine);
        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
        Engine *engine = userdata;
        EventSender *sender = engine->events;
        (void) source;
        (void) usec;

        sender->retry = sd_event_source_disable_unref(sender->retry);
        send_queue(sender);
        answer_waits(engine);
        if (sender->n == 0 || sd_event_add_time_relative(engine->event, &sender->retry, CLOCK_MONOTONIC, RETRY_US, 0,
                                                         on_retry, engine) < 0)
                engine_job_end(engine);
        return 0;
}

/* Takes the entry over. */
static void enqueue(Engine *engine, Buffer *entry)
{
        EventSender *sender = engine->events;
        QueuedEvent *queued = sender->n < QUEUE_MAX ? calloc(1, sizeof(*queued)) : NULL;

        if (!queued) {
                log_warning("An event is lost: the journal takes nothing");
                return;
        }
        queued->entry = *entry;
        *entry = (Buffer) { 0 };
        STAILQ_INSERT_TAIL(&sender->queue, queued, link);
        sender->n++;
        if (!sender->retry && sd_event_add_time_relative(engine->event, &sender->retry, CLOCK_MONOTONIC, RETRY_US, 0,
                                                         on_retry, engine) >= 0)
                engine_job_begin(engine);
}

static void send_entry(Engine *engine, Buffer *entry)
{
        EventSender *sender = engine->events;

        if (sender->n > 0 || send_now(sender, entry) < 0)
                enqueue(engine, entry);
        else
                wake(sender);
}

/* --- The API's form ----------------------------------------------------------------------------------------------- */

/* In the order, and with the legacy members, that Docker has; one line. */
static char *event_text(const char *type, const char *action, const char *id, const json_t *attributes)
{
        int64_t now = time_now_ns();
        bool container = str_equal(type, "container");
        const char *image = container ? json_get_string(attributes, "image") : NULL;
        CLEANUP_JSON json_t *event = json_object();

        if (!event)
                return NULL;
        if (container || str_equal(type, "image")) {
                json_set_string(event, "status", action);
                json_set_string(event, "id", *id ? id : NULL);
                json_set_string(event, "from", str_empty(image) ? NULL : image);
        }
        CLEANUP_JSON json_t *rest = json_pack("{ss ss s{ss sO} ss sI sI}", "Type", type, "Action", action, "Actor",
                                              "ID", id, "Attributes", attributes, "scope", "local", "time",
                                              (json_int_t) (now / 1000000000), "timeNano", (json_int_t) now);
        if (!rest || json_object_update(event, rest) < 0)
                return NULL;
        return json_dumps(event, JSON_COMPACT);
}

static void emit(Engine *engine, const char *type, const char *action, const char *id, json_t *attributes,
                 JournalCaller *caller)
{
        CLEANUP_JSON json_t *owned = attributes ? attributes : json_object(), *sorted = json_sorted(owned);
        CLEANUP_FREE char *text = sorted ? event_text(type, action, id, sorted) : NULL;
        CLEANUP_BUFFER Buffer entry = { 0 };

        if (!engine->events || engine->closing || !text)
                return;
        if (caller->pid > 0)
                name_caller(caller);
        JournalEvent event = { .type = type, .action = action, .id = id, .json = text, .caller = *caller };
        if (journal_event_format(&event, &entry) >= 0)
                send_entry(engine, &entry);
}

void engine_event_emit(Engine *engine, const char *type, const char *action, const char *id, json_t *attributes)
{
        emit(engine, type, action, id, attributes, &engine->caller);
}

void container_event_emit(Container *container, const char *action, json_t *more)
{
        CLEANUP_JSON json_t *owned = more;
        Engine *engine = container->engine;
        const json_t *labels = json_object_get(container_config(container), "Labels");
        json_t *attributes = json_is_object(labels) ? json_copy((json_t *) labels) : json_object();
        const char *image = json_get_string(container_config(container), "Image");

        if (!attributes)
                return;
        if (!str_empty(image))
                json_set_string(attributes, "image", image);
        json_set_string(attributes, "name", container->name);
        if (owned)
                json_object_update(attributes, owned);
        emit(engine, "container", action, container->id, attributes,
             engine->caller.pid > 0 ? &engine->caller : &container->caller);
}

void image_event_emit(Engine *engine, const char *action, const char *id, const char *name)
{
        CLEANUP_JSON json_t *image = NULL;
        CLEANUP_FREE char *resolved = NULL;
        const json_t *labels = NULL;

        if (store_resolve(engine->store, id, &resolved, NULL) == 0 &&
            store_image_inspect(engine->store, resolved, &image) >= 0)
                labels = json_object_get(json_object_get(image, "Config"), "Labels");
        json_t *attributes = json_is_object(labels) ? json_copy((json_t *) labels) : json_object();
        if (attributes && !str_empty(name))
                json_set_string(attributes, "name", name);
        engine_event_emit(engine, "image", action, id, attributes);
}

void reference_event_emit(Engine *engine, const char *action, const StoreReference *reference)
{
        CLEANUP_FREE char *familiar = store_reference_familiar(reference),
                          *name = store_reference_familiar_name(reference);

        if (familiar && name)
                image_event_emit(engine, action, familiar, name);
}

void engine_event_pruned(Engine *engine, const char *type, int64_t reclaimed)
{
        char text[24];

        snprintf(text, sizeof(text), "%lld", (long long) reclaimed);
        engine_event_emit(engine, type, "prune", "", json_pack("{ss}", "reclaimed", text));
}

/* --- Opening and closing ------------------------------------------------------------------------------------------ */

/* Many events in a short time are no reason to leave some out. */
static void lift_rate_limit(void)
{
        CLEANUP_FREE char *unit = NULL;

        if (sd_pid_get_unit(0, &unit) >= 0)
                (void) journal_lift_rate_limit(unit);
}

int engine_events_open(Engine *engine)
{
        EventSender *sender = calloc(1, sizeof(*sender));

        if (!sender)
                return -ENOMEM;
        sender->fd = -EBADF;
        STAILQ_INIT(&sender->queue);
        STAILQ_INIT(&sender->waits);
        engine->events = sender;
        sender->directory = path_join(engine->config->exec_root, "events");
        lift_rate_limit();
        return sender->directory ? path_make_directories(sender->directory, 0700) : -ENOMEM;
}

void engine_events_free(Engine *engine)
{
        EventSender *sender = engine->events;

        if (!sender)
                return;
        for (int i = 0; sender->n > 0 && i < FLUSH_TRIES; i++) {
                send_queue(sender);
                if (sender->n > 0)
                        nanosleep(&(struct timespec) { .tv_nsec = FLUSH_PAUSE_NS }, NULL);
        }
        while (sender->n > 0)
                drop_first(sender);
        answer_waits(engine);
        engine->events = NULL;
        sd_event_source_disable_unref(sender->retry);
        fd_close(sender->fd);
        free(sender->directory);
        free(sender);
}
