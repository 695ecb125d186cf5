/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a container: the child is forked, systemd makes its scope, the child is told to go on, and reports.
 *
 * A Start exists from the fork to the report. Its control socket ends with it: a child that finds it closed before it
 * was told to go undoes what it did. */
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/journal.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "berth/mount.h"
#include "berth/runtime.h"
#include "berth/spec.h"
#include "engine-cdi.h"
#include "engine-join.h"
#include "engine-runtime.h"
#include "engine-scope.h"
#include "engine-spare.h"
#include "engine-volume-private.h"

#define DEFAULT_OPEN_FILES 1024u
#define UNKNOWN_EXIT_CODE 128
/* The scope of the run before may take systemd a moment to forget. */
#define SCOPE_PAUSE_US (UINT64_C(10) * 1000)
#define SCOPE_TRIES_MAX 500u

struct Start {
        Container *container;
        EngineDone done;
        void *userdata;
        pid_t child;
        int control;
        sd_event_source *report;
        UnitJob *scope;
        sd_event_source *again; /* asks for the scope again */
        unsigned tries;
        int64_t told_ns; /* when the child was told to go on */
};

/* What the child needs; lives on the engine's stack across the fork. */
typedef struct StartPlan {
        Container *container;
        json_t *config;
        char **lower;
        char *upper, *work, *rootfs;
        char **monitor_argv;
        RuntimeHealth health;
        int listen_fd;
        int network_namespace;
        Joins joins;       /* other containers' namespaces */
        char *socket_path; /* the monitor's */
        char **program;    /* that starts it; NULL: this one */
} StartPlan;

static int request_scope(Start *start);

static void plan_clear(StartPlan *plan)
{
        json_decref(plan->config);
        strv_free(plan->lower);
        strv_free(plan->monitor_argv);
        strv_free(plan->health.argv);
        free(plan->upper);
        free(plan->work);
        free(plan->rootfs);
        free(plan->socket_path);
        fd_close(plan->listen_fd);
        fd_close(plan->network_namespace);
        joins_clear(&plan->joins);
        strv_free(plan->program);
}

void container_forget_start(Container *container)
{
        Start *start = container->start;

        if (!start)
                return;
        container->start = NULL;
        sd_event_source_disable_unref(start->report);
        sd_event_source_disable_unref(start->again);
        unit_job_forget(start->scope);
        fd_close(start->control);
        free(start);
        engine_job_end(container->engine);
}

/* The files of a build's step are synced when they have become a layer. */
static bool discards(const Container *container)
{
        return container_auto_remove(container) || container_is_step(container);
}

/* --- Before the fork ---------------------------------------------------------------------------------------------- */

/* A discarded overlay marks its work directory, which then can't be mounted again: a restart gets a new one. */
static int renew_work_directory(const StartPlan *plan)
{
        CLEANUP_FREE char *mark = path_join(plan->work, "work/incompat/volatile");

        if (!mark)
                return -ENOMEM;
        if (plan->container->run <= 1 || access(mark, F_OK) < 0)
                return 0;
        if (path_remove_tree_at(AT_FDCWD, plan->work) < 0 || mkdir(plan->work, 0700) < 0)
                return -EIO;
        return mount_quota_join(plan->work, plan->upper) < 0 ? -EIO : 0;
}

static int prepare_directories(StartPlan *plan)
{
        CLEANUP_FREE char *runtime = container_runtime_path(plan->container, NULL);

        plan->upper = container_path(plan->container, "upper");
        plan->work = container_path(plan->container, "work");
        plan->rootfs = container_runtime_path(plan->container, "rootfs");
        if (!runtime || !plan->upper || !plan->work || !plan->rootfs)
                return -ENOMEM;
        int r = renew_work_directory(plan);
        if (r < 0)
                return r;
        if ((mkdir(runtime, 0711) < 0 && errno != EEXIST) || (mkdir(plan->rootfs, 0755) < 0 && errno != EEXIST))
                return -errno;
        return 0;
}

static int join_network(StartPlan *plan, const char *id, Error *error)
{
        Container *target;
        char path[64];
        int r = engine_container_find(plan->container->engine, id, &target, error);

        if (r != 0)
                return r;
        if (!container_is_running(target))
                return error_set(error, OUTCOME_CONFLICT, "cannot join network of a non running container: %s",
                                 target->id);
        snprintf(path, sizeof(path), "/proc/%d/ns/net", (int) target->pid);
        plan->network_namespace = open(path, O_RDONLY | O_CLOEXEC);
        if (plan->network_namespace < 0)
                return -errno;
        free(plan->container->joined_namespace);
        plan->container->joined_namespace = strdup(target->id);
        return 0;
}

static int prepare_network(StartPlan *plan, Error *error)
{
        Container *container = plan->container;
        const char *mode = container_network_mode(container);
        const char *other = str_after_prefix(mode, "container:");
        int r = 0;

        if (other)
                r = join_network(plan, other, error);
        else
                r = container_join_networks(container, error);
        if (r == 0 && !other)
                r = container_publish(container, error);
        return r != 0 ? r : container_write_network_files(container);
}

/* A container that shares a pid namespace is not the first there, and has no use for it. */
static const char *container_init_path(const Container *container)
{
        const Config *config = container->engine->config;
        const json_t *host = container_host_config(container), *wanted = json_object_get(host, "Init");
        bool has = json_is_boolean(wanted) ? json_is_true(wanted) : config->init;

        return has && str_empty(json_get_string(host, "PidMode")) ? config->init_path : NULL;
}

static int prepare_config(StartPlan *plan, Error *error)
{
        Container *container = plan->container;
        CLEANUP_FREE char *hostname = container_path(container, "hostname");
        CLEANUP_FREE char *hosts = container_path(container, "hosts");
        CLEANUP_FREE char *resolv_conf = container_path(container, "resolv.conf");
        const char *mode = container_network_mode(container);
        SpecInput input = {
                .id = container->id,
                .record = container->record,
                .rootfs = plan->rootfs,
                .hostname_path = hostname,
                .hosts_path = hosts,
                .resolv_conf_path = resolv_conf,
                .init_path = container_init_path(container),
                .ipc_namespace_path = plan->joins.paths[JOINED_IPC][0] ? plan->joins.paths[JOINED_IPC] : NULL,
                .pid_namespace_path = plan->joins.paths[JOINED_PID][0] ? plan->joins.paths[JOINED_PID] : NULL,
                .shm_path = plan->joins.shared_memory,
                .network_namespace_path = str_equal(mode, "host") || plan->network_namespace >= 0 ? "" : NULL,
        };

        if (!hostname || !hosts || !resolv_conf)
                return -ENOMEM;
        CLEANUP_JSON json_t *volumes = NULL, *edits = NULL, *links = container_link_environment(container);
        int r = links ? container_spec_volumes(container, &volumes) : -ENOMEM;
        if (r == 0)
                r = cdi_resolve(container->engine->config->cdi_directories,
                                json_object_get(container_host_config(container), "DeviceRequests"), &edits, error);
        if (r != 0)
                return r;
        input.volumes = volumes;
        input.edits = edits;
        input.link_environment = links;
        r = spec_generate(&input, &plan->config, error);
        return r != 0 ? r : engine_prepare_seccomp(container->engine, plan->config, error);
}

static int prepare_monitor(StartPlan *plan)
{
        plan->socket_path = container_runtime_path(plan->container, MONITOR_SOCKET_NAME);
        if (!plan->socket_path)
                return -ENOMEM;
        plan->listen_fd = socket_listen_unix(plan->socket_path, SOCK_SEQPACKET, 0600);
        return plan->listen_fd < 0 ? plan->listen_fd
                                   : container_monitor_arguments(plan->container, plan->listen_fd, &plan->monitor_argv);
}

static int prepare(StartPlan *plan, Error *error)
{
        Container *container = plan->container;
        const char *image = json_get_string(container->record, "Image");
        int r = prepare_directories(plan);

        if (r >= 0)
                r = store_image_layers(container->engine->store, image, &plan->lower);
        if (r == -ENOENT)
                return error_set(error, OUTCOME_NOT_FOUND, "No such image: %s", image);
        /* A volume that was removed by hand is made again. */
        if (r == 0)
                r = mount_points_make(container->engine, json_object_get(container->record, "MountPoints"), error);
        if (r == 0)
                r = runtime_program(container->engine->config,
                                    json_get_string_or(container_host_config(container), "Runtime", ""), &plan->program,
                                    error);
        if (r == 0)
                r = joins_open(container, &plan->joins, error);
        if (r == 0)
                r = prepare_network(plan, error);
        if (r == 0)
                r = prepare_config(plan, error);
        if (r == 0)
                r = container_health_prepare(container, &plan->health);
        if (r == 0)
                r = prepare_monitor(plan);
        return r;
}

/* --- The child ---------------------------------------------------------------------------------------------------- */

/* The sockets of the container's name server wait for the monitor that this process becomes. */
static int set_up_resolver(const StartPlan *plan, int namespace_fd, Error *error)
{
        static const char request[] = "resolver - -";
        CLEANUP_CLOSE int udp = -EBADF, tcp = -EBADF;
        int r = network_resolver_open(namespace_fd, &udp, &tcp);

        if (r >= 0)
                r = monitor_request_send_fds(plan->socket_path, request, strlen(request), (int[]) { udp, tcp }, 2);
        fd_close(r);
        return r >= 0 ? 0
                      : error_set(error, OUTCOME_FAILED, "failed to set up the container's name server: %s",
                                  strerror(-r));
}

static int setup_network(int namespace_fd, void *userdata, Error *error)
{
        const StartPlan *plan = userdata;
        int r = container_set_up_networks(plan->container, namespace_fd, error);

        return r == 0 && container_needs_resolver(plan->container) ? set_up_resolver(plan, namespace_fd, error) : r;
}

static int prepare_mounts(const char *root, void *userdata, Error *error)
{
        const StartPlan *plan = userdata;

        int r = volumes_prepare(plan->container, root, error);
        return r < 0 ? r : shared_memory_prepare(plan->container, error);
}

/* The daemon's own limit is high; a container gets what a service manager gives by default. */
void engine_limit_files(void)
{
        struct rlimit files;

        if (getrlimit(RLIMIT_NOFILE, &files) < 0)
                return;
        files.rlim_cur = MIN(files.rlim_max, DEFAULT_OPEN_FILES);
        setrlimit(RLIMIT_NOFILE, &files);
}

static _Noreturn void run_child(StartPlan *plan, int control)
{
        const json_t *size = json_object_get(container_host_config(plan->container), "ConsoleSize");
        RuntimeStart start = {
                .id = plan->container->id,
                .config = plan->config,
                .layer_root = store_layer_root(plan->container->engine->store),
                .lower = plan->lower,
                .upper = plan->upper,
                .work = plan->work,
                .discard = discards(plan->container),
                .network_namespace = plan->network_namespace,
                .control = control,
                .terminal_rows = (int) json_integer_value(json_array_get(size, 0)),
                .terminal_columns = (int) json_integer_value(json_array_get(size, 1)),
                .open_stdin = json_get_bool(container_config(plan->container), "OpenStdin"),
                .monitor_argv = plan->monitor_argv,
                .health = plan->health.argv ? &plan->health : NULL,
                .keep_fds = &plan->listen_fd,
                .n_keep_fds = 1,
                .open_fds = plan->joins.fds,
                .n_open_fds = JOINED_COUNT,
                .program = plan->program,
                .setup_network = setup_network,
                .prepare_mounts = prepare_mounts,
                .userdata = plan,
        };

        engine_limit_files();
        container_tree_wait(plan->upper);
        runtime_container_main(&start);
}

/* --- The end of a start ------------------------------------------------------------------------------------------- */

static void finish(Start *start, int result, Error *error)
{
        EngineDone done = start->done;
        void *userdata = start->userdata;

        container_forget_start(start->container);
        done(result, error, userdata);
}

/* Docker's exit code of a container that could not be started. */
static int failure_exit_code(int error)
{
        if (error == ENOENT)
                return 127;
        return error == EACCES || error == EISDIR || error == EPERM ? 126 : UNKNOWN_EXIT_CODE;
}

static void fail(Start *start, int errnum, const char *text)
{
        Container *container = start->container;
        CLEANUP_ERROR Error error = { 0 };
        pid_t child = start->child;

        error_set(&error, OUTCOME_FAILED, "%s", text);
        if (errnum == ENOENT || errnum == EACCES || errnum == EISDIR)
                error.outcome = OUTCOME_BAD_REQUEST;
        CLEANUP_FREE char *unit = container_unit_name(container);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        container_kill_cgroup(container);
        /* A scope whose only process died before it was moved there would never end by itself. */
        if (unit)
                unit_stop(container->engine->units, unit);
        container_clean_runtime(container);
        container_drop_attaches(container);
        container->status = container_status_at_rest(container);
        container->exit_code = failure_exit_code(errnum);
        json_set_string(container->record, "Error", text);
        container_save(container, false);
        finish(start, error.outcome, &error);
        engine_drain_check(container->engine, container->id);
        container_stops_done(container);
        if (container->removing)
                container_removals_go_on(container);
        else if (container_auto_remove(container))
                container_remove_unattended(container);
}

static void succeed(Start *start, const RuntimeReport *report)
{
        Container *container = start->container;

        container->pid = report->pid;
        container->start_time = report->start_time;
        container->monitor_pid = start->child;
        container->monitor_start_time = report->monitor_start_time;
        /* Not now: what the program wrote first is not to be older than its start. */
        container->started_ns = start->told_ns;
        container->finished_ns = 0;
        container->exit_code = 0;
        container->oom_killed = false;
        container->status = CONTAINER_RUNNING;
        json_object_del(container->record, "Error");
        container_tell_names(container);
        int r = container_save_state(container);
        if (r >= 0)
                r = container_watch_monitor(container);
        if (container->engine->config->register_machines)
                container_register_machine(container);
        container_restart_settled(container);
        container_volume_events(container, true);
        container_event_emit(container, "start", NULL);
        container_forget_caller(container);
        engine_spare_want(container->engine, false);
        finish(start, 0, &(Error) { 0 });
        if (r < 0 && r != -ESRCH)
                log_error_errno(r, "Cannot follow container %s", container->id);
        /* After the answer: only a power cut before this is on disk makes the container one that never ran. */
        if (r >= 0)
                container_save(container, !container_is_transient(container));
        if (r == -ESRCH)
                container_ended(container);
        else
                container_start_cancelled(container);
}

static int on_report(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        Start *start = userdata;
        char text[RUNTIME_REPORT_TEXT_MAX + 1];
        RuntimeReport report;
        (void) source;
        (void) revents;

        int r = runtime_report_receive(fd, &report, text);
        if (r == -EAGAIN)
                return 0;
        if (r < 0)
                fail(start, -r, "the container's monitor ended before it started the container");
        else if (report.error != 0)
                fail(start, report.error, text);
        else
                succeed(start, &report);
        return 0;
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
        Start *start = userdata;
        (void) source;
        (void) usec;

        start->again = sd_event_source_disable_unref(start->again);
        int r = request_scope(start);
        if (r < 0)
                fail(start, -r, "systemd cannot be asked for the container's scope");
        return 0;
}

/* The child is in its scope. */
static void tell_to_go(Start *start)
{
        static const char go = RUNTIME_GO;

        start->told_ns = time_now_ns();
        send(start->control, &go, 1, MSG_NOSIGNAL);
}

static void on_scope(int error, const char *text, void *userdata)
{
        Start *start = userdata;

        start->scope = NULL;
        if (error == -EEXIST && start->tries++ < SCOPE_TRIES_MAX &&
            sd_event_add_time_relative(start->container->engine->event, &start->again, CLOCK_MONOTONIC, SCOPE_PAUSE_US,
                                       1, on_again, start) >= 0)
                return;
        if (error < 0) {
                CLEANUP_FREE char *message =
                        str_printf("systemd did not start the container's scope: %s", text ? text : strerror(-error));
                fail(start, EIO, message ? message : "out of memory");
                return;
        }
        tell_to_go(start);
}

static char *describe(const Container *container)
{
        return str_printf("Container %s (%s)", container->name,
                          json_get_string_or(container_config(container), "Image", ""));
}

static int request_scope(Start *start)
{
        Container *container = start->container;
        CLEANUP_FREE char *unit = container_unit_name(container);
        CLEANUP_FREE char *description = describe(container);
        const char *parent = json_get_string(container_host_config(container), "CgroupParent");
        UnitScope scope = UNIT_SCOPE_INIT;

        if (!unit || !description)
                return -ENOMEM;
        scope_describe(container_config(container), container_host_config(container), &scope);
        CLEANUP_FREE UnitDeviceLimit *limits =
                scope_device_limits(container_host_config(container), &scope.n_device_limits);
        scope.device_limits = limits;
        scope.name = unit;
        scope.description = description;
        scope.slice = str_empty(parent) ? container->engine->config->cgroup_parent : parent;
        scope.pid = start->child;
        return unit_scope_start(container->engine->units, &scope, on_scope, start, &start->scope);
}

static void use_spare(Start *start, const char *unit)
{
        CLEANUP_FREE char *description = describe(start->container);

        tell_to_go(start);
        if (description)
                (void) unit_describe(start->container->engine->units, unit, description);
}

static int launch(StartPlan *plan, Start *start)
{
        Container *container = plan->container;
        CLEANUP_FREE char *unit = container_unit_name(container);
        int fds[2];

        if (!unit)
                return -ENOMEM;
        int r = socket_pair(SOCK_SEQPACKET, fds);
        if (r < 0)
                return r;
        CLEANUP_CLOSE int theirs = fds[1];
        start->control = fds[0];
        journal_lift_rate_limit(unit);
        r = container_send_attaches(container);
        if (r >= 0)
                r = container_send_ports(container);
        if (r < 0)
                return r;

        runtime_warm_up(plan->config);
        start->child = container_spare_fork(container);
        bool spare = start->child >= 0;
        if (!spare)
                start->child = fork();
        if (start->child < 0)
                return -errno;
        if (start->child == 0)
                run_child(plan, theirs);
        r = spare ? 0 : request_scope(start);
        if (r >= 0)
                r = sd_event_add_io(container->engine->event, &start->report, start->control, EPOLLIN, on_report,
                                    start);
        if (r >= 0 && spare)
                use_spare(start, unit);
        if (r < 0) {
                kill(start->child, SIGKILL);
                waitpid(start->child, NULL, 0);
        }
        return r;
}

static int start_refusal(Container *container, bool by_hand, Error *error)
{
        if (container->removing)
                return error_set(error, OUTCOME_CONFLICT, "container is marked for removal and cannot be started");
        if (container_is_paused(container))
                return error_set(error, OUTCOME_CONFLICT, "cannot start a paused container, try unpause instead");
        if (container_is_running(container) || (container->restarting && by_hand))
                return error_set(error, OUTCOME_NOT_MODIFIED, "container already started");
        if (container->start)
                return error_set(error, OUTCOME_CONFLICT, "container %s is already being started", container->id);
        return 0;
}

/* A start that failed before there was a process: what it says stays with the container, as with dockerd. */
static void note_failure(Container *container, int r, const Error *error)
{
        json_set_string(container->record, "Error", error->message ? error->message : strerror(abs(r)));
        if (container->exit_code == 0)
                container->exit_code = UNKNOWN_EXIT_CODE;
        container_save(container, false);
}

static void start_container(Container *container, bool by_hand, EngineDone done, void *userdata)
{
        CLEANUP(plan_clear)
        StartPlan plan = {
                .container = container, .listen_fd = -EBADF, .network_namespace = -EBADF, .joins = JOINS_EMPTY
        };
        CLEANUP_ERROR Error error = { 0 };
        Start *start = NULL;
        bool tried = false;
        int r = start_refusal(container, by_hand, &error);

        if (r == 0 && container_hold_start(container, done, userdata))
                return;
        if (r == 0) {
                tried = true;
                if (!container_has_spare(container))
                        engine_reap(container->engine, runtime_cgroup_warm_up());
                container_execs_settle(container);
                container_note_caller(container);
                container_restart_reset(container, by_hand);
                container->run++;
                r = prepare(&plan, &error);
                start = r == 0 ? calloc(1, sizeof(*start)) : NULL;
                if (r == 0 && !start)
                        r = -ENOMEM;
                if (start) {
                        *start = (Start) {
                                .container = container, .done = done, .userdata = userdata, .control = -EBADF
                        };
                        container->start = start;
                        engine_job_begin(container->engine);
                        r = launch(&plan, start);
                }
                if (r != 0) {
                        container_forget_start(container);
                        container_clean_runtime(container);
                        container->run--;
                        note_failure(container, r, &error);
                        engine_drain_check(container->engine, container->id);
                }
        }
        if (r != 0) {
                if (r < 0)
                        log_error_errno(r, "Cannot start container %s", container->id);
                done(r, &error, userdata);
                if (tried && container_auto_remove(container))
                        container_remove_unattended(container);
        }
}

void container_start(Container *container, EngineDone done, void *userdata)
{
        start_container(container, true, done, userdata);
}

void container_start_again(Container *container, EngineDone done, void *userdata)
{
        start_container(container, false, done, userdata);
}
