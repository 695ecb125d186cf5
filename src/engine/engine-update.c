/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POST /containers/ID/update. The record has the new values first, durably; where the container runs, systemd then
 * changes its scope, and a worker the files of its payload's group, as lowering a limit may take the kernel a while.
 * Where one of them refuses, record, scope and files go back to what they were.
 *
 * An Update lives in the engine's list from the check of its values to the answer; those of one container wait for each
 * other, and for a start that is under way. Before the record is written an empty file <exec root>/updating/ID is made,
 * which goes with the answer: the next process sets the limits of the record again where it finds one. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/spec.h"
#include "engine-private.h"
#include "engine-scope.h"
#include "engine-update.h"

#define LOOK_AGAIN_US (UINT64_C(5) * 1000)
#define FILE_MAX 4096u

struct Update {
        LIST_ENTRY(Update) link;
        Engine *engine;
        char id[ID_LENGTH + 1];
        json_t *changes; /* NULL: what the record says is set again */
        json_t *warnings;
        json_t *before; /* HostConfig, while it can still go back there */
        json_t *resources;
        char *group; /* the payload's directory */
        sd_event_source *wait;
        JournalCaller caller;
        EngineJsonDone done; /* NULL: nobody asked */
        void *userdata;
};

static void update_free(Update *update)
{
        LIST_REMOVE(update, link);
        sd_event_source_disable_unref(update->wait);
        json_decref(update->changes);
        json_decref(update->warnings);
        json_decref(update->before);
        json_decref(update->resources);
        free(update->group);
        free(update);
}

void engine_updates_free(Engine *engine)
{
        while (!LIST_EMPTY(&engine->updates))
                update_free(LIST_FIRST(&engine->updates));
}

/* --- The mark on the disk ----------------------------------------------------------------------------------------- */

static char *mark_directory(const Engine *engine)
{
        return path_join(engine->config->exec_root, "updating");
}

static int set_mark(const Update *update, bool there)
{
        CLEANUP_FREE char *directory = mark_directory(update->engine);
        CLEANUP_FREE char *path = directory ? path_join(directory, update->id) : NULL;

        if (!path)
                return -ENOMEM;
        if (!there)
                return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
        if (mkdir(directory, 0700) < 0 && errno != EEXIST)
                return -errno;
        CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        return fd < 0 ? -errno : 0;
}

/* --- The end ------------------------------------------------------------------------------------------------------ */

static int set_host_config(Container *container, json_t *host)
{
        if (json_object_set(container->record, "HostConfig", host) < 0)
                return -ENOMEM;
        int r = container_save(container, true);
        container_autostart_update(container, true);
        return r;
}

static void finish(Update *update, int result, Error *error)
{
        Engine *engine = update->engine;
        Container *container = engine_container_by_id(engine, update->id);

        if (result != 0 && update->before && container && container_ensure(container) &&
            set_host_config(container, update->before) < 0)
                log_warning("Container %s keeps the record of an update that failed", update->id);
        set_mark(update, false);
        if (result == 0 && update->done && container) {
                engine->caller = update->caller;
                container_event_emit(container, "update", NULL);
                engine_set_caller(engine, 0, 0);
        }
        if (update->done) {
                CLEANUP_FREE char *text = str_printf("Cannot update container %s", update->id);
                CLEANUP_JSON json_t *answer = json_pack("{sO}", "Warnings", update->warnings);

                if (result > OUTCOME_OK && result != OUTCOME_NOT_FOUND && text)
                        error_prefix(error, text);
                update->done(result, answer, error, update->userdata);
        } else if (result != 0)
                log_warning("The limits of container %s could not be set again: %s", update->id,
                            error->message ? error->message : strerror(abs(result)));
        update_free(update);
        engine_job_end(engine);
}

/* --- The files, in a worker --------------------------------------------------------------------------------------- */

static const char *const files[] = { "memory.max",  "memory.swap.max", "memory.low", "cpu.max",  "cpu.weight",
                                     "cpuset.cpus", "cpuset.mems",     "io.weight",  "pids.max", "io.max" };

/* A line each, as the kernel takes one device at a time. */
static void write_back(int group, const char *file, const char *text)
{
        for (const char *line = text, *end; *line; line = end) {
                CLEANUP_CLOSE int fd = openat(group, file, O_WRONLY | O_CLOEXEC);

                end = strchrnul(line, '\n');
                end += *end ? 1 : 0;
                if (fd >= 0)
                        (void) !write(fd, line, (size_t) (end - line));
        }
}

static int apply(int group, const json_t *resources, Error *error)
{
        char *texts[ARRAY_SIZE(files)] = { NULL };

        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                (void) file_read_at(group, files[i], FILE_MAX, &texts[i], NULL);
        int r = runtime_cgroup_apply(group, resources, error);
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                if (r != 0 && texts[i])
                        write_back(group, files[i], texts[i]);
                free(texts[i]);
        }
        return r;
}

static int run_worker(void *userdata, int result_fd)
{
        const Update *update = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *nothing = json_object();
        CLEANUP_CLOSE int group = open(update->group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = group >= 0 ? apply(group, update->resources, &error) : -errno;

        if (r == -ENOENT || r == -ENODEV) { /* it has ended meanwhile */
                error_clear(&error);
                r = 0;
        }
        if (r < 0 && error.message)
                r = error.outcome > 0 ? (int) error.outcome : OUTCOME_FAILED;
        return engine_worker_answer(result_fd, r, nothing, &error);
}

/* --- Scope and files ---------------------------------------------------------------------------------------------- */

typedef struct Scope {
        UnitScope scope;
        UnitDeviceLimit *devices; /* owned */
} Scope;

static void scope_clear(Scope *scope)
{
        free(scope->devices);
}

static void describe(const Container *container, const json_t *host, Scope *scope)
{
        scope->scope = (UnitScope) UNIT_SCOPE_INIT;
        scope_describe(container_config(container), host, &scope->scope);
        scope->devices = scope_device_limits(host, &scope->scope.n_device_limits);
        scope->scope.device_limits = scope->devices;
}

/* BEFORE NULL: whatever the scope has. */
static int change_scope(const Container *container, const json_t *before, const json_t *after,
                        void (*done)(int error, const char *text, void *userdata), void *userdata)
{
        CLEANUP_FREE char *unit = container_unit_name(container);
        CLEANUP(scope_clear) Scope from = { .devices = NULL }, to = { .devices = NULL };

        if (!unit)
                return -ENOMEM;
        if (before)
                describe(container, before, &from);
        else if (!json_is_integer(json_object_get(after, "PidsLimit")))
                from.scope.tasks_max = UNIT_UNSET; /* never changed: systemd's own default is not ours to take away */
        describe(container, after, &to);
        to.scope.name = unit;
        return unit_scope_update(container->engine->units, &from.scope, &to.scope, done, userdata);
}

static void on_undone(int error, const char *text, void *userdata)
{
        (void) userdata;
        if (error < 0 && error != -ENOENT)
                log_warning("A scope could not be given its limits back: %s", text ? text : strerror(-error));
}

static void files_done(int status, const char *text, size_t size, void *userdata)
{
        Update *update = userdata;
        Container *container = engine_container_by_id(update->engine, update->id);
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *nothing = NULL;
        int r = engine_worker_result(status, text, size, &nothing, &error);

        if (r != 0 && update->before && container)
                (void) change_scope(container, container_host_config(container), update->before, on_undone, NULL);
        finish(update, r, &error);
}

static void change_files(Update *update)
{
        WorkerJob job = { .run = run_worker, .done = files_done, .userdata = update };

        update->engine->caller = update->caller;
        int r = engine_worker_start(update->engine, &job);
        engine_set_caller(update->engine, 0, 0);
        if (r < 0) {
                CLEANUP_ERROR Error error = { 0 };
                finish(update, error_set(&error, OUTCOME_FAILED, "%s", strerror(-r)), &error);
        }
}

static void on_scope(int error, const char *text, void *userdata)
{
        Update *update = userdata;

        if (error == 0 || error == -ENOENT) {
                change_files(update);
                return;
        }
        CLEANUP_ERROR Error failure = { 0 };
        int r = error_set(&failure, OUTCOME_FAILED, "systemd refused: %s", text ? text : strerror(-error));
        finish(update, r, &failure);
}

/* --- Its turn ----------------------------------------------------------------------------------------------------- */

static bool must_wait(const Update *update, const Container *container)
{
        const Update *other;

        if (container->start)
                return true;
        for (other = LIST_NEXT(update, link); other; other = LIST_NEXT(other, link))
                if (str_equal(other->id, update->id))
                        return true;
        return false;
}

static int commit(Update *update, Container *container, Error *error)
{
        CLEANUP_JSON json_t *merged = NULL;
        json_t *host = json_object_get(container->record, "HostConfig");

        if (!update->changes)
                return 0;
        if (container->removing)
                return error_set(error, OUTCOME_FAILED, "container is marked for removal and cannot be \"update\"");
        int r = update_merge(host, update->changes, &merged, error);
        if (r == 0 && container_is_running(container))
                r = update_resources(merged, &update->resources, error);
        if (r == 0)
                r = set_mark(update, true);
        if (r != 0)
                return r;
        update->before = json_incref(host);
        return set_host_config(container, merged);
}

static int live(Update *update, Container *container, Error *error)
{
        CLEANUP_FREE char *scope = container_scope_path(container);
        int r = 0;

        update->group = scope ? path_join(scope, "payload") : NULL;
        if (!update->group)
                return -ENOMEM;
        if (!update->resources)
                r = update_resources(container_host_config(container), &update->resources, error);
        if (r != 0)
                return r;
        r = change_scope(container, update->before, container_host_config(container), on_scope, update);
        if (r == 0)
                change_files(update);
        return MIN(r, 0);
}

static int go_on(Update *update, bool *ret_waits, Error *error);

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
        Update *update = userdata;
        CLEANUP_ERROR Error error = { 0 };
        bool waits = false;
        (void) source;
        (void) usec;

        update->wait = sd_event_source_disable_unref(update->wait);
        int r = go_on(update, &waits, &error);
        if (!waits)
                finish(update, r, &error);
        return 0;
}

/* RET_WAITS says that it goes on by itself; what is returned counts only otherwise. */
static int go_on(Update *update, bool *ret_waits, Error *error)
{
        Container *container = engine_container_by_id(update->engine, update->id);
        int r;

        if (!container || !container_ensure(container))
                return error_set(error, OUTCOME_NOT_FOUND, "No such container: %s", update->id);
        if (must_wait(update, container)) {
                r = sd_event_add_time_relative(update->engine->event, &update->wait, CLOCK_MONOTONIC, LOOK_AGAIN_US, 0,
                                               on_look, update);
                *ret_waits = r >= 0;
                return MIN(r, 0);
        }
        r = commit(update, container, error);
        if (r != 0 || !container_is_running(container))
                return r;
        r = live(update, container, error);
        *ret_waits = r == 0;
        return r;
}

static Update *update_new(Engine *engine, const char *id)
{
        Update *update = calloc(1, sizeof(*update));

        if (!update)
                return NULL;
        update->engine = engine;
        snprintf(update->id, sizeof(update->id), "%s", id);
        update->caller = engine->caller;
        LIST_INSERT_HEAD(&engine->updates, update, link);
        engine_job_begin(engine);
        return update;
}

static void begin(Update *update)
{
        CLEANUP_ERROR Error error = { 0 };
        bool waits = false;
        int r = go_on(update, &waits, &error);

        if (!waits)
                finish(update, r, &error);
}

void engine_container_update(Engine *engine, const char *reference, const json_t *body, int version_minor,
                             EngineJsonDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *changes = NULL, *warnings = json_array();
        Container *container = NULL;
        int r = warnings ? update_check(body, version_minor, warnings, &changes, &error) : -ENOMEM;

        if (r == 0)
                r = engine_container_find(engine, reference, &container, &error);
        Update *update = r == 0 ? update_new(engine, container->id) : NULL;
        if (!update) {
                done(r != 0 ? r : -ENOMEM, NULL, &error, userdata);
                return;
        }
        update->changes = TAKE_PTR(changes);
        update->warnings = json_array_size(warnings) > 0 ? json_incref(warnings) : json_null();
        update->done = done;
        update->userdata = userdata;
        begin(update);
}

void engine_load_updates(Engine *engine)
{
        CLEANUP_FREE char *path = mark_directory(engine);
        CLEANUP_CLOSEDIR DIR *directory = path ? opendir(path) : NULL;
        struct dirent *entry;

        while (directory && (entry = readdir(directory))) {
                Container *container = engine_container_by_id(engine, entry->d_name);

                if (entry->d_name[0] == '.')
                        continue;
                Update *update = container && container_ensure(container) && container_is_running(container)
                                         ? update_new(engine, container->id)
                                         : NULL;
                if (update)
                        begin(update);
                else
                        (void) unlinkat(dirfd(directory), entry->d_name, 0);
        }
}
