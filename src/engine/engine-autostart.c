/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* After a boot: the containers that their restart policies want are started once, by the first process that looks at
 * the containers. One waits until what it needs is there (engine-ready.c): the containers it joins or that its Compose
 * labels name, the mounts its binds lie on, the addresses its ports are published on. What is missing is looked for
 * once a second, for a limited time; then the start is tried all the same.
 *
 * A Due exists from the look at the policies to the end of its start, and holds the process. <data root>/autostart has
 * a link to each container with a policy, so that a boot without any needs no daemon. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

#define LOOK_AGAIN_US (UINT64_C(1000) * 1000)
#define AT_ONCE 8u

struct Due {
        LIST_ENTRY(Due) link;
        Engine *engine;
        char id[ID_LENGTH + 1];
        bool starting;
        uint64_t since_us;
};

typedef struct AutostartWait {
        LIST_ENTRY(AutostartWait) link;
        EngineDone done;
        void *userdata;
} AutostartWait;

struct Autostart {
        LIST_HEAD(DueList, Due) due;
        LIST_HEAD(, AutostartWait) waits;
        sd_event_source *look;
        unsigned starting, failed;
        bool entered; /* go_on() is on the stack */
};

/* --- The links ---------------------------------------------------------------------------------------------------- */

static char *link_path(const Container *container)
{
        return str_printf("%s/autostart/%s", container->engine->config->data_root, container->id);
}

void container_autostart_update(const Container *container, bool exists)
{
        CLEANUP_FREE char *path = link_path(container), *target = str_printf("../container/%s", container->id);
        CLEANUP_FREE char *directory = path_join(container->engine->config->data_root, "autostart");

        if (!path || !target || !directory)
                return;
        if (!exists || container_restart_policy(container) == RESTART_NO) {
                (void) unlink(path);
                return;
        }
        int r = symlink(target, path) < 0 ? -errno : 0;
        if (r == -ENOENT && path_make_directories(directory, 0700) >= 0)
                r = symlink(target, path) < 0 ? -errno : 0;
        if (r < 0 && r != -EEXIST)
                log_warning_errno(r, "Cannot write %s", path);
}

/* --- Starting ----------------------------------------------------------------------------------------------------- */

static void go_on(Engine *engine);

static void due_free(Due *due)
{
        Engine *engine = due->engine;

        LIST_REMOVE(due, link);
        free(due);
        engine_job_end(engine);
}

static void answer_waits(Engine *engine)
{
        Autostart *autostart = engine->autostart;
        AutostartWait *wait;

        while (LIST_EMPTY(&autostart->due) && (wait = LIST_FIRST(&autostart->waits))) {
                CLEANUP_ERROR Error error = { 0 };
                int r = 0;

                LIST_REMOVE(wait, link);
                if (autostart->failed > 0)
                        r = error_set(&error, OUTCOME_FAILED, "%u containers could not be started", autostart->failed);
                wait->done(r, &error, wait->userdata);
                free(wait);
        }
}

static void started(int result, const Error *error, void *userdata)
{
        Due *due = userdata;
        Engine *engine = due->engine;

        engine->autostart->starting--;
        if (result != 0 && result != OUTCOME_NOT_MODIFIED && !engine->closing) {
                engine->autostart->failed++;
                log_error("Container %s could not be started at boot: %s", due->id,
                          error->message ? error->message : strerror(abs(result)));
        }
        due_free(due);
        if (!engine->closing)
                go_on(engine);
}

static void start_due(Due *due, Container *container)
{
        due->starting = true;
        due->engine->autostart->starting++;
        container_start_again(container, started, due);
}

bool engine_is_due(const Engine *engine, const char *id)
{
        const Due *due;

        if (engine->autostart)
                LIST_FOREACH(due, &engine->autostart->due, link)
                        if (str_equal(due->id, id))
                                return true;
        return false;
}

/* Gone, or started by somebody else, meanwhile. */
static bool is_over(const Due *due, Container *container)
{
        return !due->starting && (!container || container->removing || container->start || container_is_up(container));
}

/* One look at all. True where something was begun or came to its end. Where all wait for one another, the first one
 * starts. */
static bool look(Engine *engine, bool force)
{
        Autostart *autostart = engine->autostart;
        Due *due = LIST_FIRST(&autostart->due), *first = NULL;
        uint64_t now = 0;
        bool moved = false, circle = autostart->starting == 0;

        sd_event_now(engine->event, CLOCK_MONOTONIC, &now);
        while (due && autostart->starting < AT_ONCE) {
                Due *next = LIST_NEXT(due, link);
                Container *container = engine_container_by_id(engine, due->id);

                if (is_over(due, container)) {
                        due_free(due);
                        moved = true;
                } else if (!due->starting) {
                        Readiness readiness = force ? READY : container_readiness(container, now - due->since_us);
                        if (readiness == READY) {
                                start_due(due, container);
                                /* The list may be another one after this. */
                                return true;
                        }
                        first = due;
                        circle = circle && readiness == READY_AFTER_DUE;
                }
                due = next;
        }
        if (!moved && circle && first) {
                start_due(first, engine_container_by_id(engine, first->id));
                return true;
        }
        return moved;
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
        Engine *engine = userdata;
        (void) source;
        (void) usec;

        engine->autostart->look = sd_event_source_disable_unref(engine->autostart->look);
        go_on(engine);
        return 0;
}

static void go_on(Engine *engine)
{
        Autostart *autostart = engine->autostart;

        if (autostart->entered)
                return;
        autostart->entered = true;
        while (look(engine, false))
                ;
        autostart->entered = false;
        answer_waits(engine);
        if (!LIST_EMPTY(&autostart->due) && !autostart->look &&
            sd_event_add_time_relative(engine->event, &autostart->look, CLOCK_MONOTONIC, LOOK_AGAIN_US, 0, on_look,
                                       engine) < 0)
                look(engine, true);
}

/* --- The boot ----------------------------------------------------------------------------------------------------- */

static int add_due(Engine *engine, const Container *container)
{
        Due *due = calloc(1, sizeof(*due));

        if (!due)
                return -ENOMEM;
        due->engine = engine;
        memcpy(due->id, container->id, sizeof(due->id));
        sd_event_now(engine->event, CLOCK_MONOTONIC, &due->since_us);
        LIST_INSERT_HEAD(&engine->autostart->due, due, link);
        engine_job_begin(engine);
        return 0;
}

static int on_begin(sd_event_source *source, uint64_t usec, void *userdata)
{
        return on_look(source, usec, userdata);
}

int engine_autostart_begin(Engine *engine)
{
        const Container *container;
        int r = 0;

        engine->autostart = calloc(1, sizeof(*engine->autostart));
        if (!engine->autostart)
                return -ENOMEM;
        LIST_INIT(&engine->autostart->due);
        LIST_INIT(&engine->autostart->waits);
        LIST_FOREACH(container, &engine->containers, link)
                if (r >= 0 && container->record && container->started_ns > 0 && !container_is_up(container) &&
                    !container->removing && container_policy_wants(container))
                        r = add_due(engine, container);
        /* From the loop, when all else is open. */
        if (r >= 0 && !LIST_EMPTY(&engine->autostart->due))
                r = sd_event_add_time_relative(engine->event, &engine->autostart->look, CLOCK_MONOTONIC, 0, 0, on_begin,
                                               engine);
        return r < 0 ? r : 0;
}

void engine_autostart_wait(Engine *engine, EngineDone done, void *userdata)
{
        Autostart *autostart = engine->autostart;
        AutostartWait *wait = autostart && !LIST_EMPTY(&autostart->due) ? calloc(1, sizeof(*wait)) : NULL;

        if (!wait) {
                done(0, &(Error) { 0 }, userdata);
                return;
        }
        *wait = (AutostartWait) { .done = done, .userdata = userdata };
        LIST_INSERT_HEAD(&autostart->waits, wait, link);
}

void engine_autostart_free(Engine *engine)
{
        Autostart *autostart = engine->autostart;

        if (!autostart)
                return;
        while (!LIST_EMPTY(&autostart->due))
                due_free(LIST_FIRST(&autostart->due));
        answer_waits(engine);
        sd_event_source_disable_unref(autostart->look);
        free(autostart);
        engine->autostart = NULL;
}
