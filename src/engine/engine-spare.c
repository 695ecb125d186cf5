/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A scope made ahead, for the next container. Most of a start's time is what systemd and the kernel take to make a
 * scope and to move a process there (see runtime-cgroup-warm.c). So, a moment after a start, the next scope is made,
 * with a process that holds it: berth-monitor --hold-scope. It has the name of a container to come, which is created
 * with that ID; its child is born in the scope, and the holder goes. It goes as well when this process ends, and
 * systemd forgets the scope: a host where nothing is started has none.
 *
 * Only a container that is limited and stopped like any other gets it; the others wait for a scope of their own. */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/runtime.h"
#include "engine-scope.h"
#include "engine-spare.h"

/* In a sequence of starts without a pause the next one is not to wait for the making of a spare scope. */
#define PAUSE_US (UINT64_C(50) * 1000)
#define PATIENCE_NS (INT64_C(5) * 1000000000)
#define DESCRIPTION "Room for the next container"

struct Spare {
        Engine *engine;
        char id[ID_LENGTH + 1];
        pid_t pid;
        int pidfd;   /* owned */
        int control; /* owned; the holder goes when it is closed */
        sd_event_source *answer;
        UnitJob *job;
        bool ready;
        int64_t taken_ns; /* CLOCK_MONOTONIC, when a container was created with its ID; 0: not yet */
};

static char *unit_name(const Spare *spare)
{
        return str_printf("berth-%s.scope", spare->id);
}

/* The holder ends by itself. */
static void let_go(Engine *engine)
{
        Spare *spare = TAKE_PTR(engine->spare);

        if (!spare)
                return;
        sd_event_source_disable_unref(spare->answer);
        unit_job_forget(spare->job);
        fd_close(spare->control);
        if (engine->closing)
                fd_close(spare->pidfd);
        else
                engine_reap(engine, spare->pidfd);
        free(spare);
}

/* Also what systemd may not have moved yet: a scope whose only process died before that would never end by itself. */
static void drop(Engine *engine)
{
        const Spare *spare = engine->spare;
        CLEANUP_FREE char *name = spare ? unit_name(spare) : NULL;

        if (spare && spare->pid > 0) {
                kill(spare->pid, SIGKILL);
                if (spare->pidfd < 0)
                        waitpid(spare->pid, NULL, 0);
                if (!spare->ready && name)
                        unit_stop(engine->units, name);
        }
        let_go(engine);
}

void engine_spare_free(Engine *engine)
{
        engine->spare_due = sd_event_source_disable_unref(engine->spare_due);
        drop(engine);
}

/* --- Making it ---------------------------------------------------------------------------------------------------- */

static int on_answer(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        Spare *spare = userdata;
        char byte;
        (void) source;
        (void) revents;

        if (recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
                spare->ready = true;
        else
                drop(spare->engine);
        return 0;
}

static void on_scope(int error, const char *text, void *userdata)
{
        static const char go = RUNTIME_GO;
        Spare *spare = userdata;

        spare->job = NULL;
        if (error < 0) {
                log_debug("No scope is made ahead: %s", text ? text : strerror(-error));
                drop(spare->engine);
        } else
                send(spare->control, &go, 1, MSG_NOSIGNAL);
}

static _Noreturn void run_holder(const Config *config, pid_t parent, int control)
{
        sigset_t none;
        char number[16];

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || fd_set_cloexec(control, false) < 0)
                _exit(1);
        snprintf(number, sizeof(number), "%d", control);
        execl(config->monitor_path, config->monitor_path, "--hold-scope", number, NULL);
        _exit(127);
}

static int start_holder(Spare *spare)
{
        int fds[2], r = socket_pair(SOCK_SEQPACKET, fds);
        if (r < 0)
                return r;
        CLEANUP_CLOSE int theirs = fds[1];
        pid_t parent = getpid();

        spare->control = fds[0];
        spare->pid = fork();
        if (spare->pid == 0)
                run_holder(spare->engine->config, parent, theirs);
        if (spare->pid < 0)
                return -errno;
        spare->pidfd = (int) syscall(SYS_pidfd_open, spare->pid, 0);
        return spare->pidfd < 0 ? -errno : 0;
}

static int request_scope(Spare *spare)
{
        CLEANUP_FREE char *name = unit_name(spare);
        UnitScope scope = UNIT_SCOPE_INIT;

        if (!name)
                return -ENOMEM;
        scope_describe(NULL, NULL, &scope);
        scope.name = name;
        scope.description = DESCRIPTION;
        scope.slice = spare->engine->config->cgroup_parent;
        scope.pid = spare->pid;
        return unit_scope_start(spare->engine->units, &scope, on_scope, spare, &spare->job);
}

static int make(Engine *engine)
{
        Spare *spare = calloc(1, sizeof(*spare));
        int r = spare ? id_generate(spare->id) : -ENOMEM;

        if (r < 0) {
                free(spare);
                return r;
        }
        spare->engine = engine;
        spare->control = spare->pidfd = -EBADF;
        engine->spare = spare;
        r = start_holder(spare);
        if (r >= 0)
                r = sd_event_add_io(engine->event, &spare->answer, spare->control, EPOLLIN, on_answer, spare);
        if (r >= 0)
                r = request_scope(spare);
        if (r < 0)
                drop(engine);
        return r;
}

/* Its container was removed unstarted, as an ID is not given twice, or is not started soon. */
static bool is_in_the_way(Engine *engine, const Spare *spare)
{
        return spare->taken_ns > 0 &&
               (!engine_container_by_id(engine, spare->id) || time_monotonic_ns() - spare->taken_ns > PATIENCE_NS);
}

static int on_due(sd_event_source *source, uint64_t usec, void *userdata)
{
        Engine *engine = userdata;
        (void) source;
        (void) usec;

        engine->spare_due = sd_event_source_disable_unref(engine->spare_due);
        if (engine->spare && is_in_the_way(engine, engine->spare))
                drop(engine);
        int r = engine->spare ? 0 : make(engine);
        if (r < 0)
                log_debug("No scope is made ahead: %s", strerror(-r));
        return 0;
}

void engine_spare_want(Engine *engine, bool at_once)
{
        if (engine->closing)
                return;
        engine->spare_due = sd_event_source_disable_unref(engine->spare_due);
        (void) sd_event_add_time_relative(engine->event, &engine->spare_due, CLOCK_MONOTONIC, at_once ? 0 : PAUSE_US, 1,
                                          on_due, engine);
}

/* --- Using it ----------------------------------------------------------------------------------------------------- */

static bool fits(const Engine *engine, const json_t *config, const json_t *host)
{
        const char *parent = json_get_string(host, "CgroupParent");
        UnitScope usual = UNIT_SCOPE_INIT, wanted = UNIT_SCOPE_INIT;

        usual.slice = engine->config->cgroup_parent;
        wanted.slice = str_empty(parent) ? usual.slice : parent;
        scope_describe(NULL, NULL, &usual);
        scope_describe(config, host, &wanted);
        CLEANUP_FREE UnitDeviceLimit *limits = scope_device_limits(host, &wanted.n_device_limits);
        return unit_scope_is_alike(&usual, &wanted);
}

bool engine_spare_is_ready(const Engine *engine)
{
        return engine->spare && engine->spare->ready && engine->spare->taken_ns == 0;
}

const char *engine_spare_offer(const Engine *engine, const json_t *config, const json_t *host)
{
        return engine_spare_is_ready(engine) && fits(engine, config, host) ? engine->spare->id : NULL;
}

void engine_spare_take(Engine *engine, const char *id)
{
        if (engine->spare && str_equal(engine->spare->id, id))
                engine->spare->taken_ns = time_monotonic_ns();
}

bool container_has_spare(const Container *container)
{
        const Spare *spare = container->engine->spare;

        return spare && spare->taken_ns > 0 && str_equal(spare->id, container->id);
}

pid_t container_spare_fork(Container *container)
{
        Engine *engine = container->engine;
        CLEANUP_FREE char *group = NULL;

        if (!container_has_spare(container))
                return -ENOENT;
        if (!fits(engine, container_config(container), container_host_config(container))) {
                drop(engine); /* it was updated meanwhile */
                return -ENOENT;
        }
        group = container_scope_path(container);
        pid_t pid = group ? runtime_exec_fork(group) : -ENOMEM;
        if (pid != 0)
                let_go(engine);
        return pid;
}
