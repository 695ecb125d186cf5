/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Containers as records: reading them at the start, writing them, finding them by name or ID. */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

Container *container_new(Engine *engine, const char *id)
{
        Container *container = calloc(1, sizeof(*container));

        if (!container)
                return NULL;
        container->engine = engine;
        strncpy(container->id, id, ID_LENGTH);
        container->monitor_fd = -EBADF;
        LIST_INIT(&container->endpoints);
        LIST_INIT(&container->stops);
        LIST_INIT(&container->waiters);
        LIST_INIT(&container->attaches);
        LIST_INIT(&container->removals);
        LIST_INSERT_HEAD(&engine->containers, container, link);
        return container;
}

void container_free(Container *container)
{
        container_forget_start(container);
        container_restart_forget(container);
        container_drop_held_starts(container);
        container_waiters_drop(container);
        container_drop_attaches(container);
        container_stops_done(container);
        sd_event_source_disable_unref(container->monitor_exit);
        engine_reap(container->engine, container->monitor_fd);
        while (!LIST_EMPTY(&container->endpoints))
                endpoint_free(LIST_FIRST(&container->endpoints));
        free(container->ports);
        LIST_REMOVE(container, link);
        json_decref(container->record);
        free(container->joined_namespace);
        free(container->name);
        free(container);
}

const char *container_id(const Container *container)
{
        return container->id;
}

const char *container_name(const Container *container)
{
        return container->name;
}

const json_t *container_config(const Container *container)
{
        return json_object_get(container->record, "Config");
}

const json_t *container_host_config(const Container *container)
{
        return json_object_get(container->record, "HostConfig");
}

bool container_has_terminal(const Container *container)
{
        return json_get_bool(container_config(container), "Tty");
}

bool container_is_running(const Container *container)
{
        return container->status == CONTAINER_RUNNING;
}

int container_not_running(const Container *container, Error *error)
{
        return error_set(error, OUTCOME_CONFLICT, "container %s is not running", container->id);
}

bool container_is_up(const Container *container)
{
        return container_is_running(container) || container->restarting;
}

bool container_auto_remove(const Container *container)
{
        return json_get_bool(container_host_config(container), "AutoRemove");
}

bool container_is_step(const Container *container)
{
        return json_get_bool(container->record, "Step");
}

bool container_is_transient(const Container *container)
{
        const json_t *points = json_object_get(container->record, "MountPoints");
        json_t *point;
        size_t i;

        json_array_foreach((json_t *) points, i, point)
                if (json_get_bool(point, "Anonymous")) /* that volume is durable, and goes with its record */
                        return false;
        return container_auto_remove(container) || container_is_step(container);
}

const char *container_network_mode(const Container *container)
{
        return json_get_string_or(container_host_config(container), "NetworkMode", "bridge");
}

const char *container_status_name(const Container *container)
{
        if (container->removing || container->status == CONTAINER_REMOVING)
                return "removing";
        if (container->restarting)
                return "restarting";
        switch (container->status) {
        case CONTAINER_RUNNING:
                return container->paused ? "paused" : "running";
        case CONTAINER_EXITED:
                return "exited";
        default:
                return "created";
        }
}

char *container_path(const Container *container, const char *name)
{
        return str_printf("%s/%s%s%s", container->engine->container_root, container->id, name ? "/" : "",
                          name ? name : "");
}

char *container_runtime_path(const Container *container, const char *name)
{
        return str_printf("%s/%s%s%s", container->engine->runtime_root, container->id, name ? "/" : "",
                          name ? name : "");
}

char *container_unit_name(const Container *container)
{
        return str_printf("berth-%s.scope", container->id);
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

/* Of a record that was written once. */
#define NEW_RECORD_MODE 0400

static int write_json(char *path, const char *name, const json_t *value, mode_t mode,
                      int (*write_at)(int dirfd, const char *name, const json_t *value, mode_t mode))
{
        CLEANUP_FREE char *owned = path;
        if (!path)
                return -ENOMEM;
        CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return write_at(fd, name, value, mode);
}

static int save(Container *container, mode_t mode,
                int (*write_at)(int dirfd, const char *name, const json_t *value, mode_t mode))
{
        CLEANUP_JSON json_t *state = json_pack(
                "{sI sI sI si sb sb sb sI sI}", "Run", (json_int_t) container->run, "StartedAt",
                (json_int_t) container->started_ns, "FinishedAt", (json_int_t) container->finished_ns, "ExitCode",
                container->exit_code, "OOMKilled", container->oom_killed, "Running",
                container->status == CONTAINER_RUNNING, "ManuallyStopped", container->manually_stopped, "RestartCount",
                (json_int_t) container->restart_count, "RestartPause", (json_int_t) container->restart_pause_us);

        if (!state || json_object_set(container->record, "State", state) < 0)
                return -ENOMEM;
        int r = write_json(container_path(container, NULL), CONTAINER_RECORD, container->record, mode, write_at);
        if (r < 0)
                log_error_errno(r, "Cannot write the record of container %s", container->id);
        return r;
}

int container_save(Container *container, bool durable)
{
        return save(container, 0600, durable ? json_write_at : json_write_volatile_at);
}

int container_save_new(Container *container)
{
        return save(container, NEW_RECORD_MODE,
                    container_is_transient(container) ? json_write_volatile_at : json_create_at);
}

int container_save_state(Container *container)
{
        CLEANUP_JSON json_t *state =
                json_pack("{sI sI sI sI sI sI so so sb ss*}", "Run", (json_int_t) container->run, "StartedAt",
                          (json_int_t) container->started_ns, "Pid", (json_int_t) container->pid, "StartTime",
                          (json_int_t) container->start_time, "MonitorPid", (json_int_t) container->monitor_pid,
                          "MonitorStartTime", (json_int_t) container->monitor_start_time, "Endpoints",
                          container_endpoints_state(container), "Ports", container_ports_state(container), "Paused",
                          container->paused, "JoinedNamespace", container->joined_namespace);

        return state ? write_json(container_runtime_path(container, NULL), CONTAINER_STATE, state, 0600,
                                  json_write_volatile_at)
                     : -ENOMEM;
}

static int container_set_record_name(Container *container, const char *name)
{
        char *copy = strdup(name);

        if (!copy || json_set_string(container->record, "Name", name) < 0) {
                free(copy);
                return -ENOMEM;
        }
        free(container->name);
        container->name = copy;
        return 0;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* A container whose every start failed has still never run. */
ContainerStatus container_status_at_rest(const Container *container)
{
        return container->started_ns != 0 ? CONTAINER_EXITED : CONTAINER_CREATED;
}

static void read_last_run(Container *container)
{
        const json_t *state = json_object_get(container->record, "State");

        container->run = json_get_int(state, "Run", 0);
        container->started_ns = json_get_int(state, "StartedAt", 0);
        container->finished_ns = json_get_int(state, "FinishedAt", 0);
        container->exit_code = (int) json_get_int(state, "ExitCode", 0);
        container->oom_killed = json_get_bool(state, "OOMKilled");
        container->manually_stopped = json_get_bool(state, "ManuallyStopped");
        container->restart_count = json_get_int(state, "RestartCount", 0);
        container->restart_pause_us = json_get_int(state, "RestartPause", 0);
        container->status = container_status_at_rest(container);
}

/* True where the volatile state names a run. */
static bool read_state(Container *container)
{
        CLEANUP_FREE char *path = container_runtime_path(container, CONTAINER_STATE);
        CLEANUP_JSON json_t *state = NULL;

        if (!path || json_read_at(AT_FDCWD, path, &state) < 0)
                return false;
        container->run = json_get_int(state, "Run", container->run);
        container->started_ns = json_get_int(state, "StartedAt", 0);
        container->pid = (pid_t) json_get_int(state, "Pid", 0);
        container->start_time = (uint64_t) json_get_int(state, "StartTime", 0);
        container->monitor_pid = (pid_t) json_get_int(state, "MonitorPid", 0);
        container->monitor_start_time = (uint64_t) json_get_int(state, "MonitorStartTime", 0);
        container_read_endpoints(container, json_object_get(state, "Endpoints"));
        container_read_ports(container, json_object_get(state, "Ports"));
        container->paused = json_get_bool(state, "Paused");
        const char *joined = json_get_string(state, "JoinedNamespace");
        container->joined_namespace = joined ? strdup(joined) : NULL;
        return true;
}

/* A scope without a state is a start that the daemon did not live to acknowledge: whoever asked for it never heard
 * of success, so it is undone. */
static bool undo_unacknowledged_start(Container *container)
{
        CLEANUP_FREE char *directory = container_runtime_path(container, NULL);

        if (!directory || access(directory, F_OK) < 0)
                return false;
        container_kill_cgroup(container);
        container_clean_runtime(container);
        return true;
}

static void removed(int result, const Error *error, void *userdata)
{
        (void) userdata;
        if (result != 0)
                log_warning("A container that could not be started is not removed: %s",
                            error->message ? error->message : strerror(abs(result)));
}

/* Finds out what became of the last run while no daemon was watching. */
static void reconcile(Container *container)
{
        const json_t *state = json_object_get(container->record, "State");
        bool was_running = json_get_bool(state, "Running");

        if (!read_state(container)) {
                bool undone = undo_unacknowledged_start(container);
                if (was_running) { /* the host went down with it */
                        container->status = CONTAINER_RUNNING;
                        container->exit_code = 255;
                        container_ended(container);
                } else if (undone &&
                           container_auto_remove(container)) /* as after any failed start: its client waits for it */
                        container_remove(container, true, true, removed, NULL);
                return;
        }
        container->status = CONTAINER_RUNNING;
        /* A monitor that goes on with the log is not one that guards a container. */
        if ((container_has_exit_record(container) && container_is_drained_by_monitor(container)) ||
            container_watch_monitor(container) < 0)
                container_ended(container);
        else
                container_pause_restore(container);
}

bool container_ensure(Container *container)
{
        CLEANUP_FREE char *path = container_path(container, CONTAINER_RECORD);
        CLEANUP_JSON json_t *record = NULL;

        if (container->record)
                return true;
        if (!path || json_read_at(AT_FDCWD, path, &record) < 0 || !json_get_string(record, "Name")) {
                log_error("The record of container %s cannot be read; the container is left out", container->id);
                return false;
        }
        container->name = strdup(json_get_string(record, "Name"));
        if (!container->name)
                return false;
        container->record = TAKE_PTR(record);
        container->created_ns = json_get_int(container->record, "CreatedNs", 0);
        read_last_run(container);
        return true;
}

void engine_ensure_all(Engine *engine)
{
        Container *container = LIST_FIRST(&engine->containers);

        while (container) {
                Container *next = LIST_NEXT(container, link);
                if (!container_ensure(container))
                        container_free(container);
                container = next;
        }
}

static bool is_full_id(const char *name)
{
        return strlen(name) == ID_LENGTH && id_is_prefix(name);
}

/* What a crash left: directories whose record was never written or already removed. */
static void purge_orphan(const char *root, const char *id)
{
        CLEANUP_CLOSE int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CLEANUP_FREE char *rootfs = str_printf("%s/%s/rootfs", root, id);

        if (rootfs)
                umount2(rootfs, MNT_DETACH);
        int r = path_remove_tree_at(fd, id);
        if (r < 0)
                log_warning_errno(r, "Cannot remove what is left of container %s in %s", id, root);
}

Container *engine_container_by_id(Engine *engine, const char *id)
{
        Container *container;

        LIST_FOREACH(container, &engine->containers, link)
                if (str_equal(container->id, id))
                        return container;
        return NULL;
}

static int for_each_id(const char *root, int (*each)(Engine *engine, const char *id), Engine *engine)
{
        CLEANUP_CLOSEDIR DIR *directory = opendir(root);
        struct dirent *entry;

        if (!directory)
                return -errno;
        while ((entry = readdir(directory))) {
                if (!is_full_id(entry->d_name))
                        continue;
                int r = each(engine, entry->d_name);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A record that a power cut took when it was written first is empty: nobody heard of the container, or it was to go
 * with its end. */
static int add_or_purge(Engine *engine, const char *id)
{
        CLEANUP_FREE char *record = str_printf("%s/%s/%s", engine->container_root, id, CONTAINER_RECORD);
        struct stat st;

        if (!record)
                return -ENOMEM;
        if (stat(record, &st) == 0 && (st.st_size > 0 || (st.st_mode & 0777) != NEW_RECORD_MODE))
                return container_new(engine, id) ? 0 : -ENOMEM;
        purge_orphan(engine->container_root, id);
        return 0;
}

static int purge_unknown_runtime(Engine *engine, const char *id)
{
        if (engine_container_by_id(engine, id))
                return 0;
        Container *container = container_new(engine, id);
        if (!container)
                return -ENOMEM;
        container_kill_cgroup(container);
        container_clean_runtime(container);
        container_free(container);
        return 0;
}

static bool has_runtime_directory(const Container *container)
{
        CLEANUP_FREE char *path = container_runtime_path(container, NULL);

        return path && access(path, F_OK) == 0;
}

/* After a boot every record is looked at once, for what ran when the host went down; later only what runs or ran when
 * the daemon was last here, which is what has a run-time directory. */
static int reconcile_all(Engine *engine)
{
        CLEANUP_FREE char *marker = path_join(engine->config->exec_root, "reconciled");
        if (!marker)
                return -ENOMEM;
        bool first = access(marker, F_OK) < 0;

        engine->booting = first;
        if (first)
                engine_ensure_all(engine);
        Container *container = LIST_FIRST(&engine->containers);
        while (container) {
                Container *next = LIST_NEXT(container, link);
                if ((first || has_runtime_directory(container)) && container_ensure(container))
                        reconcile(container);
                container = next;
        }
        engine->booting = false;
        if (!first)
                return 0;
        int r = engine_autostart_begin(engine);
        if (r < 0)
                return r;
        CLEANUP_CLOSE int fd = open(marker, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        return fd < 0 ? -errno : 0;
}

/* A scope without a running container is what is left of a start that was cut off before the scope had its process. */
static int stop_orphan_scopes(Engine *engine)
{
        CLEANUP_FREE char *slice = unit_cgroup_path(engine->config->cgroup_parent, "");
        CLEANUP_CLOSEDIR DIR *directory = slice ? opendir(slice) : NULL;
        struct dirent *entry;

        while (directory && (entry = readdir(directory))) {
                char id[ID_LENGTH + 1];
                if (sscanf(entry->d_name, "berth-%64[0-9a-f].scope", id) != 1 ||
                    !str_has_suffix(entry->d_name, ".scope"))
                        continue;
                const Container *container = engine_container_by_id(engine, id);
                if ((container && container_is_running(container)) || engine_is_draining(engine, id))
                        continue;
                int r = unit_stop(engine->units, entry->d_name);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int check_drain(Engine *engine, const char *id)
{
        engine_drain_check(engine, id);
        return 0;
}

int engine_load_containers(Engine *engine)
{
        int r = for_each_id(engine->container_root, add_or_purge, engine);

        if (r >= 0)
                r = for_each_id(engine->runtime_root, purge_unknown_runtime, engine);
        if (r >= 0)
                r = reconcile_all(engine);
        if (r >= 0)
                r = engine_load_restarts(engine);
        if (r >= 0)
                r = for_each_id(engine->spool_root, check_drain, engine);
        if (r >= 0 && stop_orphan_scopes(engine) < 0)
                log_warning("Scopes that nothing runs in could not be stopped");
        return r;
}

/* --- Names -------------------------------------------------------------------------------------------------------- */

int container_claim_name(Container *container, const char *name)
{
        CLEANUP_FREE char *link = path_join(container->engine->name_root, name);
        CLEANUP_FREE char *staged = str_printf("%s/.%s", container->engine->name_root, container->id);

        if (!link || !staged)
                return -ENOMEM;
        if ((unlink(staged) < 0 && errno != ENOENT) || symlink(container->id, staged) < 0 || rename(staged, link) < 0)
                return -errno;
        return 0;
}

void container_release_name(Container *container, const char *name)
{
        CLEANUP_FREE char *link = path_join(container->engine->name_root, name);

        if (link)
                unlink(link);
}

static Container *find_by_name(Engine *engine, const char *name)
{
        CLEANUP_FREE char *link = path_join(engine->name_root, name);
        char id[ID_LENGTH + 1] = { 0 };

        if (strchr(name, '/'))
                return legacy_link_find(engine, name);
        if (!link || readlink(link, id, ID_LENGTH) != ID_LENGTH)
                return NULL;
        Container *container = engine_container_by_id(engine, id);
        return container && container_ensure(container) && str_equal(container->name, name) ? container : NULL;
}

/* --- Finding ------------------------------------------------------------------------------------------------------ */

int engine_container_find(Engine *engine, const char *reference, Container **ret_container, Error *error)
{
        size_t length = strlen(reference);
        Container *container, *found;

        if (length == 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "container name cannot be empty");
        found = engine_container_by_id(engine, reference);
        if (!found)
                found = find_by_name(engine, reference[0] == '/' ? reference + 1 : reference);
        if (!found)
                LIST_FOREACH(container, &engine->containers, link) {
                        if (strncmp(container->id, reference, length) != 0)
                                continue;
                        if (found)
                                return error_set(error, OUTCOME_BAD_REQUEST,
                                                 "multiple IDs found with provided prefix: %s", reference);
                        found = container;
                }
        if (!found || !container_ensure(found))
                return error_set(error, OUTCOME_NOT_FOUND, "No such container: %s", reference);
        *ret_container = found;
        return 0;
}

static bool name_is_valid(const char *name)
{
        static const char alphanumeric[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        size_t length = strlen(name);

        return length >= 2 && strchr(alphanumeric, name[0]) &&
               strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == length;
}

/* A name nobody has, for a container that was given none. */
static char *generate_name(Engine *engine)
{
        static const char *const qualities[] = {
                "agile", "amber",  "balmy", "bold",   "brisk",  "calm",   "candid", "clever", "cosy",    "crisp",
                "deft",  "eager",  "fair",  "fresh",  "gentle", "glad",   "hardy",  "hearty", "jolly",   "keen",
                "kind",  "lively", "lucid", "mellow", "merry",  "mild",   "neat",   "nimble", "patient", "placid",
                "proud", "quick",  "quiet", "ready",  "salty",  "serene", "sharp",  "sleek",  "spry",    "stable",
                "stout", "sunny",  "swift", "tidy",   "trusty", "vivid",  "warm",   "windy",  "wise",    "zesty",
        };
        static const char *const vessels[] = {
                "anchor",  "barge", "beacon",  "bow",     "brig",     "buoy",   "canoe",    "capstan", "caravel",
                "clipper", "coble", "cog",     "compass", "corvette", "cutter", "dhow",     "dinghy",  "dock",
                "dory",    "ferry", "frigate", "galleon", "harbor",   "helm",   "hull",     "jetty",   "junk",
                "kayak",   "keel",  "ketch",   "lagoon",  "lantern",  "launch", "lugger",   "mast",    "packet",
                "pier",    "pilot", "pinnace", "prow",    "quay",     "rudder", "schooner", "sextant", "skiff",
                "sloop",   "spar",  "trawler", "tug",     "yawl",
        };

        for (unsigned attempt = 0;; attempt++) {
                char id[ID_LENGTH + 1];
                if (id_generate(id) < 0)
                        return NULL;
                unsigned long random = strtoul((char[]) { id[0], id[1], id[2], id[3], id[4], id[5], 0 }, NULL, 16);
                const char *quality = qualities[random % ARRAY_SIZE(qualities)];
                const char *vessel = vessels[random / ARRAY_SIZE(qualities) % ARRAY_SIZE(vessels)];
                char *name = attempt < 4 ? str_printf("%s_%s", quality, vessel)
                                         : str_printf("%s_%s%lu", quality, vessel, random % 10000);
                if (!name || !find_by_name(engine, name))
                        return name;
                free(name);
        }
}

int container_choose_name(Engine *engine, const char *wanted, char **ret_name, Error *error)
{
        if (str_empty(wanted)) {
                *ret_name = generate_name(engine);
                return *ret_name ? 0 : -ENOMEM;
        }

        const char *bare = wanted[0] == '/' ? wanted + 1 : wanted;
        if (!name_is_valid(bare))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", wanted);
        const Container *other = find_by_name(engine, bare);
        if (other)
                return error_set(
                        error, OUTCOME_CONFLICT,
                        "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to "
                        "remove (or rename) that container to be able to reuse that name.",
                        bare, other->id);
        *ret_name = strdup(bare);
        return *ret_name ? 0 : -ENOMEM;
}

int container_rename(Container *container, const char *name, Error *error)
{
        CLEANUP_FREE char *chosen = NULL, *old = strdup(container->name);

        if (str_empty(name) || str_equal(name, "/"))
                return error_set(error, OUTCOME_BAD_REQUEST, "Neither old nor new names may be empty");
        if (str_equal(name[0] == '/' ? name + 1 : name, container->name))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "Renaming a container with the same name as its current name");
        CLEANUP_FREE char *wanted = str_printf("%s%s", name[0] == '/' ? "" : "/", name);
        int r = wanted ? container_choose_name(container->engine, wanted, &chosen, error) : -ENOMEM;
        if (r > 0)
                return error_prefix(error, "Error when allocating new name");
        if (r < 0)
                return r;
        r = old ? container_claim_name(container, chosen) : -ENOMEM;
        if (r >= 0)
                r = container_set_record_name(container, chosen);
        if (r >= 0)
                r = container_save(container, true);
        if (r >= 0) {
                container_release_name(container, old);
                CLEANUP_FREE char *shown = str_printf("/%s", old);
                container_event_emit(container, "rename", json_pack("{ss*}", "oldName", shown));
                return 0;
        }
        if (old)
                container_set_record_name(container, old);
        container_release_name(container, chosen);
        return r;
}
