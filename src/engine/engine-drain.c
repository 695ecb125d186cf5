/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Logs that outlive their containers' runs. A monitor whose spool (include/berth/spool.h) is not empty when its
 * container ends goes on in the container's scope until it is; one that was killed leaves the spool to a new process in
 * a new scope of the same name. Either is a Drain here, as long as this process watches it, by its pidfd; nothing needs
 * this process for it to go on. The spool file is the durable truth: the lock on it names who drains, and the file and
 * the scope's rate limit links are removed here, after all is done.
 *
 * A start of the same container has to wait until the drain has let go of the spool, which it is asked for. */
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/journal.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "berth/spool.h"
#include "engine-private.h"

/* The scope of the process before may take a moment to go. */
#define TRY_PAUSE_US (UINT64_C(100) * 1000)
#define TRIES_MAX 50u

typedef struct HeldStart {
        LIST_ENTRY(HeldStart) link;
        Container *container;
        EngineDone done;
        void *userdata;
} HeldStart;

typedef LIST_HEAD(HeldStartList, HeldStart) HeldStartList;

struct Drain {
        LIST_ENTRY(Drain) link;
        Engine *engine;
        char id[ID_LENGTH + 1];
        int pidfd; /* of who drains; -EBADF between two tries */
        sd_event_source *exit;
        HeldStartList held;

        /* Of one that is started here. */
        pid_t child;
        int control; /* closed by the child's exec */
        sd_event_source *started, *again;
        UnitJob *scope;
        unsigned tries;
        uint64_t sent; /* how far the one before had come */
};

static void try_start(Drain *drain);

char *engine_spool_path(const Engine *engine, const char *id)
{
        return path_join(engine->spool_root, id);
}

bool engine_has_spool(const Engine *engine, const char *id)
{
        CLEANUP_FREE char *path = engine_spool_path(engine, id);

        return path && access(path, F_OK) == 0;
}

static Drain *find_drain(const Engine *engine, const char *id)
{
        Drain *drain;

        LIST_FOREACH(drain, &engine->drains, link)
                if (str_equal(drain->id, id))
                        return drain;
        return NULL;
}

bool engine_is_draining(const Engine *engine, const char *id)
{
        return find_drain(engine, id) != NULL;
}

static Drain *drain_new(Engine *engine, const char *id)
{
        Drain *drain = calloc(1, sizeof(*drain));

        if (!drain)
                return NULL;
        drain->engine = engine;
        memcpy(drain->id, id, ID_LENGTH);
        drain->pidfd = drain->control = -EBADF;
        LIST_INIT(&drain->held);
        LIST_INSERT_HEAD(&engine->drains, drain, link);
        return drain;
}

/* The process that was started here is on its way, or did not get there. */
static void end_try(Drain *drain)
{
        if (drain->control < 0)
                return;
        drain->started = sd_event_source_disable_unref(drain->started);
        unit_job_forget(TAKE_PTR(drain->scope));
        drain->control = fd_close(drain->control);
        engine_job_end(drain->engine);
}

static void forget_process(Drain *drain)
{
        end_try(drain);
        drain->exit = sd_event_source_disable_unref(drain->exit);
        engine_reap(drain->engine, TAKE_FD(drain->pidfd));
}

static void drain_free(Drain *drain)
{
        forget_process(drain);
        sd_event_source_disable_unref(drain->again);
        LIST_REMOVE(drain, link);
        free(drain);
}

/* --- Starts that wait --------------------------------------------------------------------------------------------- */

static void answer_held(Engine *engine, HeldStart *held, bool go)
{
        CLEANUP_ERROR Error error = { 0 };

        LIST_REMOVE(held, link);
        if (go) {
                if (held->container->restarting)
                        container_start_again(held->container, held->done, held->userdata);
                else
                        container_start(held->container, held->done, held->userdata);
        } else {
                int r = engine->closing ? error_set(&error, OUTCOME_UNAVAILABLE,
                                                    "the daemon is being restarted, please ask again")
                                        : error_set(&error, OUTCOME_CONFLICT,
                                                    "container is marked for removal and cannot be started");
                held->done(r, &error, held->userdata);
        }
        free(held);
        engine_job_end(engine);
}

void container_drop_held_starts(Container *container)
{
        Drain *drain = find_drain(container->engine, container->id);

        while (drain && !LIST_EMPTY(&drain->held))
                answer_held(container->engine, LIST_FIRST(&drain->held), false);
}

/* Who drains ends at its next chance, the rest stays in the spool. */
static void ask_to_leave(const Drain *drain)
{
        if (drain->pidfd >= 0)
                syscall(SYS_pidfd_send_signal, drain->pidfd, MONITOR_LEAVE_SIGNAL, NULL, 0);
}

bool container_hold_start(Container *container, EngineDone done, void *userdata)
{
        Drain *drain = find_drain(container->engine, container->id);
        HeldStart *held = drain ? calloc(1, sizeof(*held)) : NULL;

        if (!held)
                return false;
        *held = (HeldStart) { .container = container, .done = done, .userdata = userdata };
        LIST_INSERT_HEAD(&drain->held, held, link);
        engine_job_begin(container->engine);
        ask_to_leave(drain);
        return true;
}

/* --- The end of a drain ------------------------------------------------------------------------------------------- */

/* All is with the journal: the last of the container goes. */
static void clean_up(const char *id, const char *path)
{
        CLEANUP_FREE char *unit = str_printf("berth-%s.scope", id);

        if (unit)
                journal_restore_rate_limit(unit);
        if (unlink(path) < 0 && errno != ENOENT)
                log_warning_errno(errno, "Cannot remove %s", path);
}

static void drain_ended(Drain *drain)
{
        Engine *engine = drain->engine;
        CLEANUP_FREE char *path = engine_spool_path(engine, drain->id);
        HeldStartList held;
        SpoolStatus status = { 0 };
        int r = path ? spool_status(path, &status) : -ENOMEM;
        bool drained = r < 0 || spool_is_drained(&status);

        forget_process(drain);
        if (!drained && (LIST_EMPTY(&drain->held) || !status.header.exact)) {
                drain->tries = status.header.sent > drain->sent ? 0 : drain->tries + 1;
                drain->sent = status.header.sent;
                if (drain->tries < TRIES_MAX) {
                        try_start(drain);
                        return;
                }
                log_error("The log of container %s cannot be drained; it stays in %s", drain->id, path);
        }
        if (r >= 0 && drained)
                clean_up(drain->id, path);
        held = drain->held;
        if (LIST_FIRST(&held))
                LIST_FIRST(&held)->link.le_prev = &held.lh_first;
        drain_free(drain);
        while (!LIST_EMPTY(&held))
                answer_held(engine, LIST_FIRST(&held), true);
}

static int on_exit_event(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        (void) source;
        (void) fd;
        (void) revents;
        drain_ended(userdata);
        return 0;
}

static int watch(Drain *drain, pid_t pid)
{
        drain->pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        if (drain->pidfd < 0)
                return -errno;
        int r = sd_event_add_io(drain->engine->event, &drain->exit, drain->pidfd, EPOLLIN, on_exit_event, drain);
        if (r >= 0 && !LIST_EMPTY(&drain->held))
                ask_to_leave(drain);
        return r;
}

/* --- A new process for it ----------------------------------------------------------------------------------------- */

/* In the child, in its scope: finds out how much the one before had sent, and becomes the monitor. */
static int become_drain(const Engine *engine, const char *id)
{
        CLEANUP_FREE char *path = engine_spool_path(engine, id);
        CLEANUP_FREE char *skip = NULL;
        SpoolStatus status;
        uint64_t sent = 0;
        int r = path ? spool_status(path, &status) : -ENOMEM;

        if (r >= 0 && !status.header.exact && !spool_is_drained(&status))
                r = journal_count_since(id, status.header.before_us, &sent);
        if (r < 0)
                return r;
        skip = str_printf("%llu", (unsigned long long) sent);
        if (!skip)
                return -ENOMEM;
        execl(engine->config->monitor_path, engine->config->monitor_path, "--drain", "1", "--id", id, "--spool", path,
              "--skip", skip, "--notify", engine->config->notify_socket, (char *) NULL);
        return -errno;
}

static _Noreturn void run_child(const Engine *engine, const char *id, int control)
{
        sigset_t held;
        char go;

        /* Whoever asks it to leave may do so before it listens. */
        sigemptyset(&held);
        sigaddset(&held, MONITOR_LEAVE_SIGNAL);
        sigprocmask(SIG_SETMASK, &held, NULL);
        if (dup2(control, 3) < 0 || fd_set_cloexec(3, true) < 0 || syscall(SYS_close_range, 4, UINT_MAX, 0) < 0)
                _exit(1);
        if (recv(3, &go, 1, 0) != 1)
                _exit(1);
        int r = become_drain(engine, id);
        log_error_errno(r, "Cannot drain the log of container %s", id);
        _exit(1);
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
        Drain *drain = userdata;
        (void) source;
        (void) usec;

        drain->again = sd_event_source_disable_unref(drain->again);
        try_start(drain);
        return 0;
}

static void try_again(Drain *drain)
{
        if (drain->pidfd >= 0)
                syscall(SYS_pidfd_send_signal, drain->pidfd, SIGKILL, NULL, 0);
        if (drain->pidfd >= 0 && drain->child > 0)
                waitpid(drain->child, NULL, 0);
        forget_process(drain);
        if (++drain->tries < TRIES_MAX &&
            sd_event_add_time_relative(drain->engine->event, &drain->again, CLOCK_MONOTONIC, TRY_PAUSE_US, 0, on_again,
                                       drain) >= 0)
                return;
        drain_ended(drain);
}

static void on_scope(int error, const char *text, void *userdata)
{
        Drain *drain = userdata;

        drain->scope = NULL;
        if (error < 0) {
                log_debug("no scope for the drain of %s: %s", drain->id, text ? text : strerror(-error));
                try_again(drain);
                return;
        }
        send(drain->control, "", 1, MSG_NOSIGNAL);
}

/* The other end was closed: by the exec, or by its end, which the pidfd tells. */
static int on_started(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        (void) source;
        (void) fd;
        (void) revents;
        end_try(userdata);
        return 0;
}

static int launch(Drain *drain)
{
        Engine *engine = drain->engine;
        CLEANUP_FREE char *unit = str_printf("berth-%s.scope", drain->id);
        CLEANUP_FREE char *description = str_printf("Log of container %.*s", ID_SHORT_LENGTH, drain->id);
        UnitScope scope = UNIT_SCOPE_INIT;
        int fds[2];

        if (!unit || !description)
                return -ENOMEM;
        int r = socket_pair(SOCK_STREAM, fds);
        if (r < 0)
                return r;
        CLEANUP_CLOSE int theirs = fds[1];
        drain->control = fds[0];
        engine_job_begin(engine);
        journal_lift_rate_limit(unit);
        drain->child = fork();
        if (drain->child < 0)
                return -errno;
        if (drain->child == 0)
                run_child(engine, drain->id, theirs);
        scope.name = unit;
        scope.description = description;
        scope.slice = engine->config->cgroup_parent;
        scope.pid = drain->child;
        r = watch(drain, drain->child);
        if (r >= 0)
                r = sd_event_add_io(engine->event, &drain->started, drain->control, EPOLLIN, on_started, drain);
        return r < 0 ? r : unit_scope_start(engine->units, &scope, on_scope, drain, &drain->scope);
}

static void try_start(Drain *drain)
{
        drain->child = 0;
        int r = launch(drain);
        if (r < 0) {
                log_debug("cannot start a drain for %s: %s", drain->id, strerror(-r));
                try_again(drain);
        }
}

/* --- Finding them ------------------------------------------------------------------------------------------------- */

void engine_drain_check(Engine *engine, const char *id)
{
        CLEANUP_FREE char *path = engine_spool_path(engine, id);
        Container *container = engine_container_by_id(engine, id);
        SpoolStatus status;

        /* While it runs or is being started, the spool is its monitor's. */
        if (!path || find_drain(engine, id) || (container && (container_is_running(container) || container->start)))
                return;
        int r = spool_status(path, &status);
        if (r == -ENOENT)
                return;
        if (r < 0) {
                log_warning_errno(r, "Cannot read %s", path);
                return;
        }
        if (status.owner == 0 && spool_is_drained(&status)) {
                clean_up(id, path);
                return;
        }
        Drain *drain = drain_new(engine, id);
        if (!drain)
                return;
        if (status.owner == 0)
                try_start(drain);
        else if (watch(drain, status.owner) < 0) /* it ended just now */
                drain_ended(drain);
}

bool container_is_drained_by_monitor(const Container *container)
{
        CLEANUP_FREE char *path = engine_spool_path(container->engine, container->id);
        SpoolStatus status;

        return path && spool_status(path, &status) >= 0 && status.owner == container->monitor_pid;
}

void engine_monitor_spoke(Engine *engine, const char *id)
{
        Container *container = engine_container_by_id(engine, id);

        if (strlen(id) != ID_LENGTH || !id_is_prefix(id))
                return;
        if (container && container_ensure(container) && container_is_running(container) &&
            container_is_drained_by_monitor(container) && container_has_exit_record(container))
                container_ended(container);
        else
                engine_drain_check(engine, id);
}

void engine_drains_free(Engine *engine)
{
        while (!LIST_EMPTY(&engine->drains)) {
                Drain *drain = LIST_FIRST(&engine->drains);

                while (!LIST_EMPTY(&drain->held))
                        answer_held(engine, LIST_FIRST(&drain->held), false);
                drain_free(drain);
        }
}
