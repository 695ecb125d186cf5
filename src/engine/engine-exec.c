/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Further processes in containers, as records: creation, finding, inspection, and how they are forgotten. Each has a
 * directory under the exec root, which dies with a reboot as they do. exec.json is what was asked for; state.json says
 * who runs and is written by the process that starts it; exit.json is the monitor's word, or that of a start that
 * failed. What is in memory follows the files. */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "berth/base64.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "engine-private.h"

#define EXEC_RECORD "exec.json"
/* There where its end was made known as an event. */
#define EXEC_TOLD "told"
/* One that has ended may go after the first, and goes after the second. */
#define KEPT_NS (INT64_C(300) * 1000000000)
#define GONE_NS (INT64_C(600) * 1000000000)
/* A process that was killed is gone sooner. */
#define SETTLE_MS 1000
#define KILLED_EXIT_CODE 137

char *exec_path(const Exec *exec, const char *name)
{
        return str_printf("%s/%s%s%s", exec->engine->exec_root, exec->id, name ? "/" : "", name ? name : "");
}

static Exec *exec_new(Engine *engine, const char *id)
{
        Exec *exec = calloc(1, sizeof(*exec));

        if (!exec)
                return NULL;
        exec->engine = engine;
        strncpy(exec->id, id, ID_LENGTH);
        exec->monitor_fd = -EBADF;
        LIST_INIT(&exec->resizes);
        LIST_INSERT_HEAD(&engine->execs, exec, link);
        return exec;
}

static void exec_free(Exec *exec)
{
        CLEANUP_ERROR Error error = { 0 };

        error_set(&error, OUTCOME_NOT_FOUND, "No such exec instance: %s", exec->id);
        exec_resizes_go_on(exec, OUTCOME_NOT_FOUND, &error);
        exec_launch_forget(exec);
        sd_event_source_disable_unref(exec->monitor_exit);
        engine_reap(exec->engine, exec->monitor_fd);
        LIST_REMOVE(exec, link);
        json_decref(exec->record);
        free(exec);
}

static void exec_remove(Exec *exec)
{
        CLEANUP_FREE char *path = exec_path(exec, NULL);

        if (path)
                path_remove_tree_at(AT_FDCWD, path);
        exec_free(exec);
}

void engine_execs_free(Engine *engine)
{
        while (!LIST_EMPTY(&engine->execs))
                exec_free(LIST_FIRST(&engine->execs));
}

/* --- What the files say ------------------------------------------------------------------------------------------- */

static int read_file(const Exec *exec, const char *name, json_t **ret)
{
        CLEANUP_FREE char *path = exec_path(exec, name);

        return path ? json_read_at(AT_FDCWD, path, ret) : -ENOMEM;
}

static bool read_exit(Exec *exec)
{
        CLEANUP_JSON json_t *record = NULL;
        const char *finished;

        if (read_file(exec, MONITOR_EXIT_RECORD, &record) < 0)
                return false;
        exec->exit_code = (int) json_get_int(record, "ExitCode", KILLED_EXIT_CODE);
        finished = json_get_string(record, "FinishedAt");
        if (!finished || time_parse_rfc3339(finished, &exec->finished_ns) < 0)
                exec->finished_ns = time_now_ns();
        exec->started = exec->ended = true;
        return true;
}

/* "exec_start: ls -l", with the command of those that begin. */
void exec_event_emit(Exec *exec, const char *action, json_t *more)
{
        CLEANUP_JSON json_t *owned = more;
        CLEANUP_BUFFER Buffer text = { 0 };
        Container *container = engine_container_by_id(exec->engine, exec->container);
        json_t *word;
        size_t i;

        if (!container || !container->record || buffer_append_string(&text, action) < 0)
                return;
        if (!more)
                json_array_foreach(json_object_get(exec->record, "Cmd"), i, word)
                        buffer_printf(&text, "%s%s", i == 0 ? ": " : " ", json_string_value(word));
        json_t *attributes = owned ? json_copy(owned) : json_object();
        if (attributes && json_set_string(attributes, "execID", exec->id) >= 0)
                container_event_emit(container, text.data, attributes);
}

/* Once, whichever process of the engine's sees it first. */
static void emit_end(Exec *exec)
{
        CLEANUP_FREE char *path = exec_path(exec, EXEC_TOLD);
        CLEANUP_CLOSE int fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -EBADF;
        char code[16];

        if (fd < 0)
                return;
        snprintf(code, sizeof(code), "%d", exec->exit_code);
        exec_event_emit(exec, "exec_die", json_pack("{ss}", "exitCode", code));
}

static void exec_ended(Exec *exec)
{
        exec->monitor_exit = sd_event_source_disable_unref(exec->monitor_exit);
        engine_reap(exec->engine, TAKE_FD(exec->monitor_fd));
        if (!read_exit(exec)) {
                /* Its monitor was killed, and the process with it. */
                exec->ended = true;
                exec->exit_code = KILLED_EXIT_CODE;
                exec->finished_ns = time_now_ns();
        }
        emit_end(exec);
}

static int on_monitor_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        (void) source;
        (void) fd;
        (void) revents;
        exec_ended(userdata);
        return 0;
}

static void watch_monitor(Exec *exec)
{
        exec->monitor_fd = process_open(exec->monitor_pid, exec->monitor_start_time);
        if (exec->monitor_fd < 0 || sd_event_add_io(exec->engine->event, &exec->monitor_exit, exec->monitor_fd, EPOLLIN,
                                                    on_monitor_exit, exec) < 0)
                exec_ended(exec);
}

static void read_state(Exec *exec)
{
        CLEANUP_JSON json_t *state = NULL;

        if (read_file(exec, CONTAINER_STATE, &state) < 0)
                return;
        exec->started = true;
        exec->pid = (pid_t) json_get_int(state, "Pid", 0);
        exec->monitor_pid = (pid_t) json_get_int(state, "MonitorPid", 0);
        exec->monitor_start_time = (uint64_t) json_get_int(state, "MonitorStartTime", 0);
}

void exec_refresh(Exec *exec)
{
        if (exec->ended)
                return;
        if (!exec->started)
                read_state(exec);
        /* A client that has just seen the end of the output asks for the exit code. */
        if (read_exit(exec))
                emit_end(exec);
        else if (exec->started && exec->monitor_fd < 0)
                watch_monitor(exec);
}

/* --- Finding and forgetting --------------------------------------------------------------------------------------- */

static void forget_old(Engine *engine)
{
        Exec *exec = LIST_FIRST(&engine->execs);
        int64_t now = time_now_ns();

        while (exec) {
                Exec *next = LIST_NEXT(exec, link);
                if (exec->ended && exec->monitor_fd < 0 && now - exec->finished_ns > GONE_NS)
                        exec_remove(exec);
                exec = next;
        }
}

int engine_exec_find(Engine *engine, const char *id, Exec **ret_exec, Error *error)
{
        Exec *exec;

        forget_old(engine);
        LIST_FOREACH(exec, &engine->execs, link)
                if (str_equal(exec->id, id)) {
                        exec_refresh(exec);
                        *ret_exec = exec;
                        return 0;
                }
        return error_set(error, OUTCOME_NOT_FOUND, "No such exec instance: %s", id);
}

static int load_one(Engine *engine, const char *id)
{
        Exec *exec = exec_new(engine, id);
        const char *owner;
        Container *container;

        if (!exec)
                return -ENOMEM;
        owner = read_file(exec, EXEC_RECORD, &exec->record) < 0 ? NULL : json_get_string(exec->record, "ContainerID");
        container = owner ? engine_container_by_id(engine, owner) : NULL;
        if (!container) {
                exec_remove(exec);
                return 0;
        }
        strncpy(exec->container, owner, ID_LENGTH);
        exec_refresh(exec);
        if (!exec->started && !container_is_running(container))
                exec_remove(exec);
        return 0;
}

int engine_load_execs(Engine *engine)
{
        CLEANUP_CLOSEDIR DIR *directory = opendir(engine->exec_root);
        struct dirent *entry;

        if (!directory)
                return -errno;
        while ((entry = readdir(directory))) {
                if (strlen(entry->d_name) != ID_LENGTH || !id_is_prefix(entry->d_name))
                        continue;
                int r = load_one(engine, entry->d_name);
                if (r < 0)
                        return r;
        }
        forget_old(engine);
        return 0;
}

void container_execs_stop(Container *container)
{
        CLEANUP_FREE char *scope = container_scope_path(container);
        CLEANUP_FREE char *kill = scope ? path_join(scope, "payload/cgroup.kill") : NULL;
        Exec *exec = LIST_FIRST(&container->engine->execs);
        bool running = false;

        while (exec) {
                Exec *next = LIST_NEXT(exec, link);
                if (str_equal(exec->container, container->id)) {
                        running = running || (exec->started && !exec->ended);
                        if (!exec->started && !exec->launch)
                                exec_remove(exec);
                }
                exec = next;
        }
        /* In a pid namespace of its own they have gone with the first process. */
        if (running && kill)
                (void) file_write_kernel(kill, "1");
}

void container_execs_settle(Container *container)
{
        Exec *exec;

        LIST_FOREACH(exec, &container->engine->execs, link) {
                struct pollfd gone = { .fd = exec->monitor_fd, .events = POLLIN };

                if (exec->monitor_fd < 0 || !str_equal(exec->container, container->id))
                        continue;
                (void) syscall(SYS_pidfd_send_signal, exec->monitor_fd, SIGKILL, NULL, 0);
                (void) poll(&gone, 1, SETTLE_MS);
                exec_ended(exec);
        }
}

void container_execs_remove(Container *container)
{
        Exec *exec = LIST_FIRST(&container->engine->execs);

        while (exec) {
                Exec *next = LIST_NEXT(exec, link);
                if (str_equal(exec->container, container->id))
                        exec_remove(exec);
                exec = next;
        }
}

/* --- Creation ----------------------------------------------------------------------------------------------------- */

/* REFERENCE is what the caller names it by. */
static int container_refusal(const Container *container, const char *reference, Error *error)
{
        if (container->restarting)
                return container_restarting_refusal(container, error);
        if (!container_is_running(container))
                return container_not_running(container, error);
        return container_is_paused(container)
                       ? error_set(error, OUTCOME_CONFLICT, "Container %s is paused, unpause the container before exec",
                                   reference)
                       : 0;
}

int exec_refusal(Exec *exec, Error *error)
{
        Container *container = engine_container_by_id(exec->engine, exec->container);

        if (!container || !container_ensure(container))
                return error_set(error, OUTCOME_NOT_FOUND, "No such exec instance: %s", exec->id);
        return container_refusal(container, container->id, error);
}

static int check_console_size(const json_t *size, const char *path, Error *error)
{
        CLEANUP_FREE char *name = str_printf("%s.ConsoleSize", path);
        json_t *number;
        size_t i;

        if (!name)
                return -ENOMEM;
        json_array_foreach((json_t *) size, i, number) {
                if (!json_is_integer(number))
                        return fields_refuse(number, name, "uint", error);
                if (json_integer_value(number) < 0)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "invalid JSON: json: cannot unmarshal number %lld into Go struct field %s of "
                                         "type uint",
                                         (long long) json_integer_value(number), name);
        }
        return 0;
}

/* What the request leaves open is the container's. */
static void inherit(json_t *record, const Container *container, const char *key)
{
        if (str_empty(json_get_string(record, key)))
                json_set_string(record, key, json_get_string_or(container_config(container), key, ""));
}

static int make_record(const Container *container, const json_t *body, json_t **ret_record, Error *error)
{
        CLEANUP_JSON json_t *record = NULL, *nothing = json_object();
        char keys[DETACH_KEYS_MAX];
        size_t n;
        int r = fields_normalise("ExecConfig", json_is_object(body) ? body : nothing, &record, error);

        if (r != 0)
                return r;
        r = check_console_size(json_object_get(record, "ConsoleSize"), "ExecConfig", error);
        if (r != 0)
                return r;
        if (json_array_size(json_object_get(record, "Cmd")) == 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "No exec command specified");
        const char *given = json_get_string(record, "DetachKeys");
        if (!str_empty(given) && detach_keys_parse(given, keys, &n) < 0)
                return error_set(error, OUTCOME_FAILED, "Invalid escape keys (%s) provided", given);
        inherit(record, container, "User");
        inherit(record, container, "WorkingDir");
        r = json_set_string(record, "ContainerID", container->id);
        if (r >= 0)
                *ret_record = TAKE_PTR(record);
        return r;
}

static int exec_save(const Exec *exec)
{
        CLEANUP_FREE char *directory = exec_path(exec, NULL), *path = exec_path(exec, EXEC_RECORD);

        if (!directory || !path)
                return -ENOMEM;
        if (mkdir(directory, 0700) < 0)
                return -errno;
        return json_write_volatile_at(AT_FDCWD, path, exec->record, 0600);
}

int container_exec_create(Container *container, const char *reference, const json_t *body, json_t **ret_response,
                          Error *error)
{
        CLEANUP_JSON json_t *record = NULL;
        char id[ID_LENGTH + 1];
        Exec *exec;
        int r = make_record(container, body, &record, error);

        if (r == 0)
                r = container_refusal(container, reference, error);
        if (r == 0)
                r = id_generate(id);
        if (r != 0)
                return r;
        forget_old(container->engine);
        exec = exec_new(container->engine, id);
        if (!exec)
                return -ENOMEM;
        memcpy(exec->container, container->id, sizeof(exec->container));
        exec->record = TAKE_PTR(record);
        r = exec_save(exec);
        if (r >= 0)
                exec_event_emit(exec, "exec_create", NULL);
        *ret_response = r < 0 ? NULL : json_pack("{ss}", "Id", id);
        if (*ret_response)
                return 0;
        exec_remove(exec);
        return r < 0 ? r : -ENOMEM;
}

/* --- Inspection --------------------------------------------------------------------------------------------------- */

json_t *container_exec_ids(const Container *container)
{
        CLEANUP_JSON json_t *ids = json_array();
        Exec *exec;

        LIST_FOREACH(exec, &container->engine->execs, link) {
                if (!str_equal(exec->container, container->id))
                        continue;
                exec_refresh(exec);
                if (!exec->ended)
                        json_array_insert_new(ids, 0, json_string(exec->id));
        }
        return json_array_size(ids) > 0 ? TAKE_PTR(ids) : json_null();
}

static json_t *process_config(const Exec *exec)
{
        const json_t *command = json_object_get(exec->record, "Cmd");
        CLEANUP_JSON json_t *arguments = json_copy((json_t *) command);
        const char *user = json_get_string(exec->record, "User");

        json_array_remove(arguments, 0);
        return json_pack("{sb ss sO sb ss*}", "tty", json_get_bool(exec->record, "Tty"), "entrypoint",
                         json_string_value(json_array_get(command, 0)), "arguments", arguments, "privileged",
                         json_get_bool(exec->record, "Privileged"), "user", str_empty(user) ? NULL : user);
}

int exec_inspect(Exec *exec, json_t **ret_object)
{
        char keys[DETACH_KEYS_MAX];
        size_t n = 0;
        const char *given = json_get_string(exec->record, "DetachKeys");

        if (!str_empty(given))
                (void) detach_keys_parse(given, keys, &n);
        CLEANUP_FREE char *encoded = base64_encode(keys, n, false);
        json_t *object = json_pack(
                "{ss sb so so sb sb sb sb ss ss si}", "ID", exec->id, "Running", exec->started && !exec->ended,
                "ExitCode", exec->ended ? json_integer(exec->exit_code) : json_null(), "ProcessConfig",
                process_config(exec), "OpenStdin", json_get_bool(exec->record, "AttachStdin"), "OpenStderr",
                json_get_bool(exec->record, "AttachStderr"), "OpenStdout", json_get_bool(exec->record, "AttachStdout"),
                "CanRemove", exec->ended && time_now_ns() - exec->finished_ns > KEPT_NS, "ContainerID", exec->container,
                "DetachKeys", encoded ? encoded : "", "Pid", (int) exec->pid);

        *ret_object = object;
        return object ? 0 : -ENOMEM;
}

int exec_start_parse(const json_t *body, ExecStart *ret_start, Error *error)
{
        CLEANUP_JSON json_t *fields = NULL, *nothing = json_object();
        int r = fields_normalise("ExecStartCheck", json_is_object(body) ? body : nothing, &fields, error);
        const json_t *size = json_object_get(fields, "ConsoleSize");

        if (r == 0)
                r = check_console_size(size, "ExecStartCheck", error);
        if (r != 0)
                return r;
        *ret_start =
                (ExecStart) { .detach = json_get_bool(fields, "Detach"), .terminal = json_get_bool(fields, "Tty") };
        if (ret_start->terminal) {
                ret_start->rows = json_integer_value(json_array_get(size, 0));
                ret_start->columns = json_integer_value(json_array_get(size, 1));
        }
        return 0;
}
