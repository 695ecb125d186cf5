/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a further process in a container. The client's stream is sent to the monitor's socket before there is a
 * monitor; the forked child starts the process, writes down what came of it, reports, and becomes that monitor. An
 * ExecLaunch exists from the fork to the report; it keeps a copy of the stream, on which a failure is told. */
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "berth/runtime.h"
#include "berth/spec.h"
#include "engine-private.h"

#define FAILED_EXIT_CODE 126
#define RESIZE_PATIENCE_US (UINT64_C(10) * 1000 * 1000)

struct ExecLaunch {
        Exec *exec;
        EngineDone done;
        void *userdata;
        pid_t child;
        int control;
        int client; /* the stream; -EBADF when detached */
        bool framed;
        sd_event_source *report;
};

struct Resize {
        LIST_ENTRY(Resize) link;
        Exec *exec;
        int64_t rows, columns;
        EngineDone done;
        void *userdata;
        sd_event_source *timeout;
};

/* What the child needs; lives on the engine's stack across the fork. */
typedef struct ExecPlan {
        Exec *exec;
        Container *container;
        const ExecStart *start;
        json_t *config;
        char *directory, *socket_path, *scope;
        int listen_fd, container_fd;
} ExecPlan;

static void plan_clear(ExecPlan *plan)
{
        json_decref(plan->config);
        free(plan->directory);
        free(plan->socket_path);
        free(plan->scope);
        fd_close(plan->listen_fd);
        fd_close(plan->container_fd);
}

void exec_launch_forget(Exec *exec)
{
        ExecLaunch *launch = exec->launch;

        if (!launch)
                return;
        exec->launch = NULL;
        /* Its files may tell the end before anybody has watched the process. */
        if (launch->child > 0)
                engine_reap(exec->engine, (int) syscall(SYS_pidfd_open, launch->child, 0));
        sd_event_source_disable_unref(launch->report);
        fd_close(launch->control);
        fd_close(launch->client);
        free(launch);
        engine_job_end(exec->engine);
}

/* --- The configuration -------------------------------------------------------------------------------------------- */

/* The container's own record with the exec's words in it. */
static json_t *exec_container_record(const Exec *exec, const Container *container)
{
        CLEANUP_JSON json_t *config = json_copy((json_t *) container_config(container));
        CLEANUP_JSON json_t *environment = json_array(), *arguments = json_copy(json_object_get(exec->record, "Cmd"));
        const json_t *own = json_object_get(container_config(container), "Env");
        const json_t *more = json_object_get(exec->record, "Env");

        if (!config || !environment || !arguments)
                return NULL;
        if (json_is_array(own))
                json_array_extend(environment, (json_t *) own);
        if (json_is_array(more))
                json_array_extend(environment, (json_t *) more);
        json_object_set(config, "Env", environment);
        json_set_bool(config, "Tty", json_get_bool(exec->record, "Tty"));
        json_object_set(config, "User", json_object_get(exec->record, "User"));
        json_array_remove(arguments, 0);
        return json_pack("{sO sO sO sO}", "Config", config, "HostConfig", container_host_config(container), "Path",
                         json_array_get(json_object_get(exec->record, "Cmd"), 0), "Args", arguments);
}

/* The seccomp filter stays the container's. */
static void grant_all(json_t *process)
{
        CLEANUP_JSON json_t *all = json_array();

        spec_all_capabilities(all);
        json_object_set_new(process, "capabilities",
                            json_pack("{sO sO sO}", "bounding", all, "effective", all, "permitted", all));
        json_object_del(process, "apparmorProfile");
}

static int prepare_config(ExecPlan *plan, Error *error)
{
        CLEANUP_JSON json_t *record = exec_container_record(plan->exec, plan->container);
        const char *directory = json_get_string(plan->exec->record, "WorkingDir");
        CLEANUP_JSON json_t *links = container_link_environment(plan->container);
        SpecInput input = { .id = plan->container->id,
                            .record = record,
                            .rootfs = "/",
                            .link_environment = links,
                            .check_only = true };

        if (!record || !links)
                return -ENOMEM;
        if (!str_empty(directory) && directory[0] != '/')
                return error_set(error, OUTCOME_FAILED,
                                 "OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown");
        int r = spec_generate(&input, &plan->config, error);
        if (r != 0)
                return r;
        json_t *process = json_object_get(plan->config, "process");
        json_set_string(process, "cwd", str_empty(directory) ? "/" : directory);
        if (json_get_bool(plan->exec->record, "Privileged"))
                grant_all(process);
        return engine_prepare_seccomp(plan->exec->engine, plan->config, error);
}

static int prepare(ExecPlan *plan, Error *error)
{
        int r = prepare_config(plan, error);

        if (r != 0)
                return r;
        plan->directory = exec_path(plan->exec, NULL);
        plan->socket_path = exec_path(plan->exec, MONITOR_SOCKET_NAME);
        plan->scope = container_scope_path(plan->container);
        if (!plan->directory || !plan->socket_path || !plan->scope)
                return -ENOMEM;
        plan->container_fd = process_open(plan->container->pid, plan->container->start_time);
        if (plan->container_fd == -ESRCH)
                return container_not_running(plan->container, error);
        if (plan->container_fd < 0)
                return plan->container_fd;
        plan->listen_fd = socket_listen_unix(plan->socket_path, SOCK_SEQPACKET, 0600);
        return MIN(plan->listen_fd, 0);
}

/* --- The child ---------------------------------------------------------------------------------------------------- */

/* Runs in the child: the truth for whoever of the engine comes next. */
static void on_started(const RuntimeReport *report, const char *text, void *userdata)
{
        const ExecPlan *plan = userdata;
        CLEANUP_JSON json_t *value = NULL;
        CLEANUP_FREE char *path = exec_path(plan->exec, report->error == 0 ? CONTAINER_STATE : MONITOR_EXIT_RECORD);
        char finished[TIME_RFC3339_SIZE];

        if (report->error == 0)
                value = json_pack("{si sI si sI}", "Pid", (int) report->pid, "StartTime",
                                  (json_int_t) report->start_time, "MonitorPid", (int) getpid(), "MonitorStartTime",
                                  (json_int_t) report->monitor_start_time);
        else
                value = json_pack("{si ss ss*}", "ExitCode", FAILED_EXIT_CODE, "FinishedAt",
                                  time_format_rfc3339(time_now_ns(), finished), "Error", text);
        if (path && value)
                (void) json_write_volatile_at(AT_FDCWD, path, value, 0600);
}

static _Noreturn void run_child(ExecPlan *plan, int control)
{
        const json_t *size = json_object_get(plan->exec->record, "ConsoleSize");
        char listen_text[16];
        char *argv[] = {
                plan->exec->engine->config->monitor_path,
                "--id",
                plan->exec->id,
                "--directory",
                plan->directory,
                "--listen",
                listen_text,
                "--log-driver",
                "none",
                "--stdin-once",
                "1",
                NULL,
        };
        RuntimeExec exec = {
                .start = { .id = plan->container->id,
                           .config = plan->config,
                           .network_namespace = -EBADF,
                           .control = control,
                           .open_stdin = json_get_bool(plan->exec->record, "AttachStdin"),
                           .monitor_argv = argv,
                           .keep_fds = &plan->listen_fd,
                           .n_keep_fds = 1 },
                .container = plan->container_fd,
                .pid = plan->container->pid,
                .scope = plan->scope,
                .started = on_started,
                .userdata = plan,
        };
        int64_t rows = plan->start->rows, columns = plan->start->columns;

        if (rows == 0 || columns == 0) {
                rows = json_integer_value(json_array_get(size, 0));
                columns = json_integer_value(json_array_get(size, 1));
        }
        exec.start.terminal_rows = (int) MIN(rows, UINT16_MAX);
        exec.start.terminal_columns = (int) MIN(columns, UINT16_MAX);
        snprintf(listen_text, sizeof(listen_text), "%d", plan->listen_fd);
        engine_limit_files();
        runtime_exec_main(&exec);
}

/* --- The end of a start ------------------------------------------------------------------------------------------- */

/* As the first and only words of a stream whose peer waits for them: they fit the socket's buffer. */
static void tell_client(int client, bool framed, const char *text)
{
        size_t size = strlen(text) + 2;
        const unsigned char header[8] = { 1,
                                          0,
                                          0,
                                          0,
                                          (unsigned char) (size >> 24),
                                          (unsigned char) (size >> 16),
                                          (unsigned char) (size >> 8),
                                          (unsigned char) size };

        if (framed && send(client, header, sizeof(header), MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE) < 0)
                return;
        if (send(client, text, size - 2, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE) >= 0)
                (void) send(client, "\r\n", 2, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The client's end of file, whoever else holds the descriptor. */
static void end_client(int client)
{
        char discarded[4096];

        if (client < 0)
                return;
        shutdown(client, SHUT_RDWR);
        for (size_t i = 0; i < 64 && recv(client, discarded, sizeof(discarded), MSG_DONTWAIT) > 0; i++)
                ;
}

/* Docker's status for what could not be started. */
static Outcome failure_outcome(int errnum)
{
        switch (errnum) {
        case ENOENT:
        case EACCES:
        case EISDIR:
        case ENOTDIR:
                return OUTCOME_BAD_REQUEST;
        default:
                return OUTCOME_FAILED;
        }
}

static void launch_failed(ExecLaunch *launch, int errnum, const char *text)
{
        Exec *exec = launch->exec;
        CLEANUP_ERROR Error error = { 0 };
        EngineDone done = launch->done;
        void *userdata = launch->userdata;
        int result = error_set(&error, failure_outcome(errnum), "%s", text);

        kill(launch->child, SIGKILL);
        waitpid(launch->child, NULL, 0);
        launch->child = 0;
        exec->started = exec->ended = true;
        exec->exit_code = FAILED_EXIT_CODE;
        exec->finished_ns = time_now_ns();
        if (launch->client >= 0) {
                tell_client(launch->client, launch->framed, text);
                end_client(launch->client);
        }
        exec_launch_forget(exec);
        exec_resizes_go_on(exec, result, &error);
        if (done)
                done(result, &error, userdata);
}

static void launch_succeeded(ExecLaunch *launch)
{
        Exec *exec = launch->exec;
        EngineDone done = launch->done;
        void *userdata = launch->userdata;
        bool attached = json_get_bool(exec->record, "AttachStdin") || json_get_bool(exec->record, "AttachStdout") ||
                        json_get_bool(exec->record, "AttachStderr");

        if (!attached)
                end_client(launch->client);
        exec_launch_forget(exec);
        exec_event_emit(exec, "exec_start", NULL);
        exec_refresh(exec);
        exec_resizes_go_on(exec, 0, &(Error) { 0 });
        if (done)
                done(0, &(Error) { 0 }, userdata);
}

static int on_report(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        ExecLaunch *launch = userdata;
        char text[RUNTIME_REPORT_TEXT_MAX + 1];
        RuntimeReport report;
        (void) source;
        (void) revents;

        int r = runtime_report_receive(fd, &report, text);
        if (r == -EAGAIN)
                return 0;
        if (r < 0)
                launch_failed(launch, -r, "the monitor ended before it started the process");
        else if (report.error != 0)
                launch_failed(launch, report.error, text);
        else
                launch_succeeded(launch);
        return 0;
}

/* --- The start ---------------------------------------------------------------------------------------------------- */

static int send_client(const ExecPlan *plan, int fd, const Buffer *received)
{
        const json_t *record = plan->exec->record;
        const char *keys = json_get_string(record, "DetachKeys");
        ContainerAttach attach = {
                .standard_input = json_get_bool(record, "AttachStdin"),
                .standard_output = json_get_bool(record, "AttachStdout"),
                .standard_error = json_get_bool(record, "AttachStderr"),
                .multiplexed = !plan->start->terminal,
        };
        CLEANUP_BUFFER Buffer message = { 0 };
        int r;

        if (fd < 0 || !(attach.standard_input || attach.standard_output || attach.standard_error))
                return 0;
        r = detach_keys_parse(str_empty(keys) ? DETACH_KEYS_DEFAULT : keys, attach.detach_keys, &attach.n_detach_keys);
        if (r < 0)
                return r;
        CLEANUP_FREE char *request = attach_request(&attach);
        r = request ? attach_message(request, received, &message) : -ENOMEM;
        if (r >= 0)
                r = monitor_request_send(plan->socket_path, message.data, message.size, fd);
        if (r >= 0)
                fd_close(r); /* the request waits in the monitor's queue */
        return MIN(r, 0);
}

static int launch(ExecPlan *plan, ExecLaunch *launch, Error *error)
{
        int fds[2];
        int r = socket_pair(SOCK_SEQPACKET, fds);

        if (r < 0)
                return r;
        CLEANUP_CLOSE int theirs = fds[1];
        launch->control = fds[0];
        r = sd_event_add_io(plan->exec->engine->event, &launch->report, launch->control, EPOLLIN, on_report, launch);
        if (r < 0)
                return r;
        launch->child = runtime_exec_fork(plan->scope);
        if (launch->child == 0)
                run_child(plan, theirs);
        if (launch->child == -ENOENT || launch->child == -ENODEV)
                return container_not_running(plan->container, error);
        return MIN(launch->child, 0);
}

static int start_refusal(const Exec *exec, Error *error)
{
        if (exec->launch || (exec->started && !exec->ended))
                return error_set(error, OUTCOME_CONFLICT, "Error: Exec command %s is already running", exec->id);
        if (exec->ended)
                return error_set(error, OUTCOME_CONFLICT, "Error: Exec command %s has already run", exec->id);
        return exec_refusal((Exec *) exec, error);
}

static int begin(ExecPlan *plan, int *fd, const Buffer *received, EngineDone done, void *userdata, Error *error)
{
        Exec *exec = plan->exec;
        ExecLaunch *new_launch;
        int r = prepare(plan, error);

        if (r == 0)
                r = send_client(plan, *fd, received);
        if (r != 0)
                return r;
        new_launch = calloc(1, sizeof(*new_launch));
        if (!new_launch)
                return -ENOMEM;
        *new_launch = (ExecLaunch) {
                .exec = exec,
                .done = done,
                .userdata = userdata,
                .control = -EBADF,
                .client = -EBADF,
                .framed = !plan->start->terminal,
        };
        exec->launch = new_launch;
        engine_job_begin(exec->engine);
        r = launch(plan, new_launch, error);
        if (r != 0)
                exec_launch_forget(exec);
        else
                new_launch->client = TAKE_FD(*fd);
        return r;
}

void exec_start(Exec *exec, const ExecStart *start, int fd, Buffer *received, EngineDone done, void *userdata)
{
        CLEANUP_CLOSE int client = fd;
        CLEANUP_BUFFER Buffer early = received ? *received : (Buffer) { 0 };
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP(plan_clear)
        ExecPlan plan = { .exec = exec, .start = start, .listen_fd = -EBADF, .container_fd = -EBADF };
        int r = start_refusal(exec, &error);
        bool refused = r != 0;

        if (received)
                *received = (Buffer) { 0 };
        if (r == 0) {
                plan.container = engine_container_by_id(exec->engine, exec->container);
                r = begin(&plan, &client, &early, done, userdata, &error);
        }
        if (r == 0)
                return;
        if (r < 0)
                log_error_errno(r, "Cannot start a process in container %s", exec->container);
        if (!refused) {
                exec->started = exec->ended = true;
                exec->exit_code = FAILED_EXIT_CODE;
                exec->finished_ns = time_now_ns();
        }
        if (client >= 0) {
                tell_client(client, !start->terminal, error.message ? error.message : strerror(abs(r)));
                end_client(client);
        }
        if (done)
                done(r, &error, userdata);
}

/* --- Resizing ----------------------------------------------------------------------------------------------------- */

static void resize_now(Exec *exec, int64_t rows, int64_t columns, EngineDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_FREE char *path = exec_path(exec, MONITOR_SOCKET_NAME);
        char request[64];
        int r;

        if (exec->ended) {
                r = error_set(&error, OUTCOME_NOT_FOUND, "process does not exist %s: not found", exec->id);
        } else {
                snprintf(request, sizeof(request), "resize %lld %lld", (long long) rows, (long long) columns);
                r = path ? monitor_request_send(path, request, strlen(request), -EBADF) : -ENOMEM;
                if (r >= 0)
                        fd_close(r);
                if (r == -ECONNREFUSED || r == -ENOENT) /* it ends just now */
                        r = error_set(&error, OUTCOME_NOT_FOUND, "process does not exist %s: not found", exec->id);
        }
        done(error.message || r < 0 ? r : 0, &error, userdata);
}

static void resize_free(Resize *resize)
{
        sd_event_source_disable_unref(resize->timeout);
        LIST_REMOVE(resize, link);
        engine_job_end(resize->exec->engine);
        free(resize);
}

void exec_resizes_go_on(Exec *exec, int result, const Error *error)
{
        Resize *resize;

        while ((resize = LIST_FIRST(&exec->resizes))) {
                Resize copy = *resize;

                resize_free(resize);
                if (result == 0)
                        resize_now(exec, copy.rows, copy.columns, copy.done, copy.userdata);
                else
                        copy.done(result, error, copy.userdata);
        }
}

static int on_resize_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
        Resize *resize = userdata;
        CLEANUP_ERROR Error error = { 0 };
        EngineDone done = resize->done;
        void *done_userdata = resize->userdata;
        (void) source;
        (void) usec;

        resize_free(resize);
        int r = error_set(&error, OUTCOME_FAILED, "timeout waiting for exec session ready");
        done(r, &error, done_userdata);
        return 0;
}

void exec_resize(Exec *exec, int64_t rows, int64_t columns, EngineDone done, void *userdata)
{
        Resize *resize;

        if (exec->started) {
                resize_now(exec, rows, columns, done, userdata);
                return;
        }
        resize = calloc(1, sizeof(*resize));
        if (!resize) {
                done(-ENOMEM, &(Error) { 0 }, userdata);
                return;
        }
        *resize = (Resize) { .exec = exec, .rows = rows, .columns = columns, .done = done, .userdata = userdata };
        LIST_INSERT_HEAD(&exec->resizes, resize, link);
        engine_job_begin(exec->engine);
        int r = sd_event_add_time_relative(exec->engine->event, &resize->timeout, CLOCK_MONOTONIC, RESIZE_PATIENCE_US,
                                           0, on_resize_timeout, resize);
        if (r < 0) {
                resize_free(resize);
                done(r, &(Error) { 0 }, userdata);
        }
}
