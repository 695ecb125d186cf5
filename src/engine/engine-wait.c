/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients that wait for a container's end. Each holds a streamed answer whose head is sent; the descriptor is also in
 * systemd's store, under a name that says everything a later process needs to answer it. */
#include <sys/epoll.h>

#include "berth/file.h"
#include "engine-private.h"

/* How long after a process that was cut off a start may still arrive, and what is said when it does not. */
#define START_PATIENCE_US (UINT64_C(5) * 1000 * 1000)
#define START_LOST_EXIT_CODE 125

struct Waiter {
        LIST_ENTRY(Waiter) link;
        Container *container;
        WaitCondition condition;
        Stream stream;
        sd_event_source *hangup;
        sd_event_source *given_up;
        char *kept;
};

static void waiter_free(Waiter *waiter)
{
        Engine *engine = waiter->container->engine;

        sd_event_source_disable_unref(waiter->hangup);
        sd_event_source_disable_unref(waiter->given_up);
        if (waiter->kept && !engine->closing)
                keep_remove(waiter->kept);
        stream_clear(&waiter->stream);
        LIST_REMOVE(waiter, link);
        free(waiter->kept);
        free(waiter);
        engine_job_end(engine);
}

void container_waiters_drop(Container *container)
{
        while (!LIST_EMPTY(&container->waiters))
                waiter_free(LIST_FIRST(&container->waiters));
}

static void answer(Stream *stream, int exit_code)
{
        CLEANUP_FREE char *line = str_printf("{\"StatusCode\":%d}\n", exit_code);

        if (line && stream_write(stream, line, strlen(line)) >= 0)
                stream_end(stream);
}

int container_on_end(Container *container, void (*ended)(int exit_code, void *userdata), void *userdata)
{
        if (container->on_end)
                return -EBUSY;
        if (!container_is_running(container)) {
                ended(container->exit_code, userdata);
                return 0;
        }
        container->on_end = ended;
        container->on_end_userdata = userdata;
        engine_job_begin(container->engine);
        return 0;
}

void container_cancel_on_end(Container *container)
{
        if (!container->on_end)
                return;
        container->on_end = NULL;
        engine_job_end(container->engine);
}

void container_tell_end(Container *container)
{
        void (*ended)(int exit_code, void *userdata) = container->on_end;

        if (!ended)
                return;
        container_cancel_on_end(container);
        ended(container->exit_code, container->on_end_userdata);
}

void container_waiters_notify(Container *container, WaitCondition reached)
{
        Waiter *waiter = LIST_FIRST(&container->waiters);

        while (waiter) {
                Waiter *next = LIST_NEXT(waiter, link);
                if ((waiter->condition == WAIT_REMOVED) == (reached == WAIT_REMOVED)) {
                        answer(&waiter->stream, container->exit_code);
                        waiter_free(waiter);
                }
                waiter = next;
        }
}

int container_wait_condition_parse(const char *name, int *ret_condition, Error *error)
{
        static const char *const names[] = { "not-running", "next-exit", "removed" };

        if (str_empty(name)) {
                *ret_condition = WAIT_NOT_RUNNING;
                return 0;
        }
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_equal(names[i], name)) {
                        *ret_condition = (int) i;
                        return 0;
                }
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid condition: \"%s\"", name);
}

static int on_hangup(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        (void) source;
        (void) fd;
        (void) revents;
        waiter_free(userdata);
        return 0;
}

/* The run whose end answers: the present one, or the next. */
static int64_t awaited_run(const Container *container)
{
        return container_is_running(container) || container->start ? container->run : container->run + 1;
}

/* The client waits for the end of a container whose start went down with an earlier process: as any start that fails,
 * that removes it. */
static int on_start_given_up(sd_event_source *source, uint64_t usec, void *userdata)
{
        Container *container = ((Waiter *) userdata)->container;
        (void) source;
        (void) usec;

        if (container->status == CONTAINER_CREATED && !container->start && !container->removing) {
                container->exit_code = START_LOST_EXIT_CODE;
                container_remove_unattended(container);
        }
        return 0;
}

/* "run --rm" asks for the start and waits for the removal at once, on two connections: either may reach the process
 * that is cut off and the other its successor. */
static bool start_may_be_lost(const Container *container, WaitCondition condition)
{
        return condition == WAIT_REMOVED && container->status == CONTAINER_CREATED && !container->start &&
               container_auto_remove(container);
}

/* Until when a new client's start may arrive; 0: for ever. */
static uint64_t patience_end(const Container *container, WaitCondition condition)
{
        const Engine *engine = container->engine;
        uint64_t now = 0;

        sd_event_now(engine->event, CLOCK_MONOTONIC, &now);
        return engine->interrupted && now - engine->opened_us < START_PATIENCE_US &&
                               start_may_be_lost(container, condition)
                       ? now + START_PATIENCE_US
                       : 0;
}

/* PATIENCE_END_US: CLOCK_MONOTONIC, 0 for none. It is the same for all processes that hold the client in turn. */
static void hold(Container *container, WaitCondition condition, uint64_t patience_end_us, Stream *stream)
{
        static unsigned counter;
        Waiter *waiter = calloc(1, sizeof(*waiter));
        if (!waiter) {
                stream_clear(stream);
                return;
        }

        waiter->container = container;
        waiter->condition = condition;
        stream_move(&waiter->stream, stream);
        waiter->kept = str_printf("wait-%s-%d-%lld-%d-%llu-%d-%u", container->id, (int) condition,
                                  (long long) awaited_run(container), waiter->stream.chunked,
                                  (unsigned long long) patience_end_us, (int) getpid(), counter++);
        LIST_INSERT_HEAD(&container->waiters, waiter, link);
        engine_job_begin(container->engine);
        if (!waiter->kept || sd_event_add_io(container->engine->event, &waiter->hangup, waiter->stream.fd, EPOLLRDHUP,
                                             on_hangup, waiter) < 0) {
                waiter_free(waiter);
                return;
        }
        if (patience_end_us != 0)
                sd_event_add_time(container->engine->event, &waiter->given_up, CLOCK_MONOTONIC, patience_end_us, 0,
                                  on_start_given_up, waiter);
        keep_store(waiter->kept, waiter->stream.fd);
}

void container_wait(Container *container, int condition, Stream *stream)
{
        if (stream_begin(stream) < 0) {
                stream_clear(stream);
                return;
        }
        if (condition == WAIT_NOT_RUNNING && !container_is_up(container) && !container->start) {
                answer(stream, container->exit_code);
                stream_clear(stream);
                return;
        }
        hold(container, (WaitCondition) condition, patience_end(container, (WaitCondition) condition), stream);
}

void wait_restore(Engine *engine, const char *arguments, int fd)
{
        CLEANUP_STREAM Stream stream = { .fd = fd };
        char id[ID_LENGTH + 1];
        int condition, chunked;
        long long run;
        unsigned long long patience_end_us;
        Container *container;

        if (sscanf(arguments, "%64[0-9a-f]-%d-%lld-%d-%llu", id, &condition, &run, &chunked, &patience_end_us) != 5)
                return;
        stream.chunked = chunked;
        if (engine_container_find(engine, id, &container, NULL) != 0) {
                /* Removed while nobody was there to say so; how it ended went with it. */
                if (condition == WAIT_REMOVED)
                        answer(&stream, 0);
                return;
        }
        bool over = !container_is_running(container) && container->run >= run;
        if (condition != WAIT_REMOVED && over) {
                answer(&stream, container->exit_code);
                return;
        }
        if (patience_end_us == 0)
                patience_end_us = patience_end(container, (WaitCondition) condition);
        hold(container, (WaitCondition) condition, patience_end_us, &stream);
}
