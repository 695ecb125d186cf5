/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signals: kill, stop with its deadline, restart. A Stop waits in its container's list for the end of the run. */
#include <signal.h>
#include <strings.h>
#include <sys/syscall.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

struct Stop {
        LIST_ENTRY(Stop) link;
        Container *container;
        sd_event_source *deadline;
        bool restart;
        int signal;
        EngineDone done;
        void *userdata;
};

int container_signal(Container *container, int signal)
{
        CLEANUP_CLOSE int fd = process_open(container->pid, container->start_time);

        char text[16];

        if (fd < 0)
                return fd;
        if (syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) < 0)
                return -errno;
        snprintf(text, sizeof(text), "%d", signal);
        container_event_emit(container, "kill", json_pack("{ss}", "signal", text));
        return 0;
}

char *container_scope_path(const Container *container)
{
        const char *parent = json_get_string(container_host_config(container), "CgroupParent");
        CLEANUP_FREE char *unit = container_unit_name(container);

        return unit ? unit_cgroup_path(str_empty(parent) ? container->engine->config->cgroup_parent : parent, unit)
                    : NULL;
}

int container_kill_cgroup(Container *container)
{
        CLEANUP_FREE char *group = container_scope_path(container);
        CLEANUP_FREE char *path = group ? path_join(group, "cgroup.kill") : NULL;

        return path ? file_write_kernel(path, "1") : -ENOMEM;
}

static int signal_read(const char *text, int *ret_signal, Error *error)
{
        int64_t number;

        if (signal_parse(text, ret_signal) >= 0)
                return 0;
        if (str_to_int64(text, INT64_MIN, INT64_MAX, &number) >= 0 && number != 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "the linux daemon does not support signal %s", text);
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid signal: %s", text);
}

/* Any signal by hand counts as a stop, unless the container names another one for that. */
static void note_kill(Container *container, int number)
{
        const char *own = json_get_string(container_config(container), "StopSignal");
        bool cancelled = container->restart_cancelled;
        int stop = 0;

        container_note_manual_stop(container);
        if (number != SIGKILL && !str_empty(own) && signal_parse(own, &stop) >= 0 && stop != number)
                container->restart_cancelled = cancelled;
}

int container_kill(Container *container, const char *signal, Error *error)
{
        int number = SIGKILL;
        int result = str_empty(signal) ? 0 : signal_read(signal, &number, error);

        if (result != 0)
                return result;
        if (!container_is_up(container))
                return container_not_running(container, error);
        note_kill(container, number);
        if (container->restarting) {
                container_restart_cancel(container);
                return 0;
        }
        int r = container_signal(container, number);
        if (container->restart_cancelled)
                container_pause_end(container);
        return r == -ESRCH ? 0 : r;
}

static void stop_free(Stop *stop)
{
        sd_event_source_disable_unref(stop->deadline);
        LIST_REMOVE(stop, link);
        free(stop);
}

bool container_restart_pending(const Container *container)
{
        const Stop *stop;

        LIST_FOREACH(stop, &container->stops, link)
                if (stop->restart)
                        return true;
        return false;
}

/* The second half of a restart. */
typedef struct RestartDone {
        Container *container;
        EngineDone done;
        void *userdata;
} RestartDone;

static void restart_done(int result, const Error *error, void *userdata)
{
        CLEANUP_FREE RestartDone *restart = userdata;

        if (result == 0)
                container_event_emit(restart->container, "restart", NULL);
        restart->done(result, error, restart->userdata);
}

static void start_for_restart(Container *container, EngineDone done, void *userdata)
{
        RestartDone *restart = calloc(1, sizeof(*restart));

        if (!restart) {
                done(-ENOMEM, &(Error) { 0 }, userdata);
                return;
        }
        *restart = (RestartDone) { container, done, userdata };
        container_restart_cancel(container);
        container_start(container, restart_done, restart);
}

void container_stops_done(Container *container)
{
        Stop *stop;

        while ((stop = LIST_FIRST(&container->stops))) {
                Engine *engine = container->engine;
                EngineDone done = stop->done;
                void *userdata = stop->userdata;
                bool restart = stop->restart;
                stop_free(stop);
                if (engine->closing) {
                        CLEANUP_ERROR Error error = { 0 };
                        int r = error_set(&error, OUTCOME_UNAVAILABLE,
                                          "the daemon is being restarted, please ask again");
                        done(r, &error, userdata);
                } else if (restart && !container->removing) {
                        container_event_emit(container, "stop", NULL);
                        start_for_restart(container, done, userdata);
                } else {
                        container_event_emit(container, "stop", NULL);
                        done(0, &(Error) { 0 }, userdata);
                }
                engine_job_end(engine);
        }
}

bool container_start_cancelled(Container *container)
{
        Stop *stop;

        if (!container->restart_cancelled && !container->removing)
                return false;
        if (container->removing || LIST_EMPTY(&container->stops))
                container_signal(container, SIGKILL);
        else
                LIST_FOREACH(stop, &container->stops, link)
                        container_signal(container, stop->signal);
        return true;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
        Stop *stop = userdata;
        (void) source;
        (void) usec;

        container_signal(stop->container, SIGKILL);
        return 0;
}

static int stop_signal(const Container *container, const char *signal, int *ret_number, Error *error)
{
        if (str_empty(signal))
                signal = json_get_string(container_config(container), "StopSignal");
        if (str_empty(signal))
                signal = "SIGTERM";
        return signal_read(signal, ret_number, error);
}

static int begin_stop(Container *container, int number, int64_t timeout, bool restart, EngineDone done, void *userdata)
{
        Stop *stop = calloc(1, sizeof(*stop));
        int r = 0;

        if (!stop)
                return -ENOMEM;
        if (timeout == INT64_MIN)
                timeout = json_get_int(container_config(container), "StopTimeout", 10);
        container_note_caller(container);
        *stop = (Stop) {
                .container = container, .restart = restart, .signal = number, .done = done, .userdata = userdata
        };
        LIST_INSERT_HEAD(&container->stops, stop, link);
        if (timeout >= 0)
                r = sd_event_add_time_relative(container->engine->event, &stop->deadline, CLOCK_MONOTONIC,
                                               (uint64_t) timeout * 1000000, 0, on_deadline, stop);
        if (r >= 0 && !container->start)
                r = container_signal(container, number);
        if (r < 0 && r != -ESRCH) {
                stop_free(stop);
                return r;
        }
        container_pause_end(container);
        container_note_manual_stop(container);
        engine_job_begin(container->engine);
        return 0;
}

static void stop_or_restart(Container *container, const char *signal, int64_t timeout, bool restart, EngineDone done,
                            void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        bool is_up = container_is_running(container) || (container->restarting && container->start);
        int number = SIGTERM;
        int r = is_up ? stop_signal(container, signal, &number, &error) : 0;

        if (r > 0) {
                CLEANUP_FREE char *text = str_printf(
                        restart ? "Cannot restart container %s" : "cannot stop container: %s", container->name);
                r = text ? error_prefix(&error, text) : r;
        }
        if (r == 0 && container->restarting && container->start) {
                container_restart_cancel(container);
                r = begin_stop(container, number, timeout, restart, done, userdata);
                if (r == 0)
                        return;
        }
        if (r == 0 && !container_is_running(container)) {
                if (restart) {
                        start_for_restart(container, done, userdata);
                        return;
                }
                if (container->restarting) {
                        container_note_manual_stop(container);
                        container_restart_cancel(container);
                        container_event_emit(container, "stop", NULL);
                        done(0, &error, userdata);
                        return;
                }
                r = error_set(&error, OUTCOME_NOT_MODIFIED, "container already stopped");
        }
        if (r == 0)
                r = begin_stop(container, number, timeout, restart, done, userdata);
        if (r != 0)
                done(r, &error, userdata);
}

void container_stop(Container *container, const char *signal, int64_t timeout, EngineDone done, void *userdata)
{
        stop_or_restart(container, signal, timeout, false, done, userdata);
}

void container_restart(Container *container, const char *signal, int64_t timeout, EngineDone done, void *userdata)
{
        stop_or_restart(container, signal, timeout, true, done, userdata);
}
