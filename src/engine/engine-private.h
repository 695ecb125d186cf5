/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the engine share.
 *
 * A Container is in memory as long as its directory is on disk; its record is read when it is first needed, so that
 * opening stays fast with thousands. The record (container.json) is durable: what was asked for,
 * and how the last run ended. What holds only while it runs is in the volatile state (state.json under the exec root),
 * which a reboot removes. exit.json is written by the monitor and belongs to the run whose number it carries. */
#pragma once

#include <limits.h>
#include <sys/queue.h>

#include "berth/engine.h"
#include "berth/journal.h"
#include "berth/network.h"
#include "berth/registry.h"
#include "berth/runtime.h"
#include "berth/signal.h"
#include "berth/store.h"
#include "berth/string.h"
#include "berth/unit.h"

#define CONTAINER_RECORD "container.json"
#define CONTAINER_STATE "state.json"

typedef enum ContainerStatus {
        CONTAINER_CREATED,
        CONTAINER_STARTING,
        CONTAINER_RUNNING,
        CONTAINER_EXITED,
        CONTAINER_REMOVING,
} ContainerStatus;

typedef enum WaitCondition {
        WAIT_NOT_RUNNING,
        WAIT_NEXT_EXIT,
        WAIT_REMOVED,
} WaitCondition;

typedef struct Start Start;
typedef struct Stop Stop;
typedef struct Waiter Waiter;
typedef struct PendingAttach PendingAttach;
typedef struct Worker Worker;
typedef struct Removal Removal;
typedef struct Endpoint Endpoint;
typedef struct PublishedPort PublishedPort;
typedef struct Drain Drain;
typedef struct Pull Pull;
typedef struct Resize Resize;
typedef struct ExecLaunch ExecLaunch;
typedef struct EventSender EventSender;
typedef struct Autostart Autostart;
typedef struct Spare Spare;
typedef struct Due Due;
typedef struct Update Update;

struct Container {
        LIST_ENTRY(Container) link;
        Engine *engine;
        char id[ID_LENGTH + 1];
        char *name;
        json_t *record; /* NULL until read: see container_ensure() */
        ContainerStatus status;
        int64_t created_ns;

        /* The run it is in, or was in last. */
        int64_t run;
        int64_t started_ns, finished_ns;
        int exit_code;
        bool oom_killed;
        pid_t pid; /* 0 while not running */
        uint64_t start_time;
        pid_t monitor_pid;
        uint64_t monitor_start_time;
        int monitor_fd; /* pidfd, watched; -EBADF while not running */
        sd_event_source *monitor_exit;
        LIST_HEAD(, Endpoint) endpoints;
        PublishedPort *ports;
        size_t n_ports;
        bool publish_all;       /* of the present start */
        char *joined_namespace; /* container whose network it shares */

        Start *start;                    /* while starting */
        bool removing, removing_volumes; /* with what was made for it alone */
        JournalCaller caller;            /* who asked for what is under way */

        /* See engine-restart.c. */
        bool restarting;        /* the run is over, and the next one due */
        bool restart_cancelled; /* the present run was stopped or killed by hand */
        bool scope_stopped;     /* how the last run ended: systemd stopped its scope */
        bool manually_stopped;  /* so was the last run that was, until a start by hand */
        int64_t restart_count, restart_pause_us;
        sd_event_source *restart_timer;
        bool paused;      /* see engine-pause.c */
        unsigned freezes; /* who holds it still: see container_freeze() */
        LIST_HEAD(, Stop) stops;
        LIST_HEAD(, Waiter) waiters;
        void (*on_end)(int exit_code, void *userdata); /* see container_on_end() */
        void *on_end_userdata;
        LIST_HEAD(, PendingAttach) attaches;
        LIST_HEAD(RemovalList, RemoveRequest) removals;
};

/* A further process in a container, from its creation until some time after its end. Its directory under the exec root
 * holds what was asked for (exec.json), the process (state.json) and its end (exit.json); the last two are written by
 * others, so that they are true whoever of the engine lives. */
struct Exec {
        LIST_ENTRY(Exec) link;
        Engine *engine;
        char id[ID_LENGTH + 1];
        char container[ID_LENGTH + 1];
        json_t *record;
        bool started, ended;
        int exit_code;
        int64_t finished_ns;
        pid_t pid, monitor_pid;
        uint64_t monitor_start_time;
        int monitor_fd; /* pidfd, watched; -EBADF while it does not run */
        sd_event_source *monitor_exit;
        ExecLaunch *launch; /* from the fork to the report */
        LIST_HEAD(, Resize) resizes;
};

struct Engine {
        sd_event *event;
        const Config *config;
        Store *store;
        UnitManager *units;
        char *container_root; /* <data root>/container */
        char *runtime_root;   /* <exec root>/container */
        char *name_root;      /* <data root>/name: symbolic links from names to IDs */
        LIST_HEAD(, Container) containers;
        char *volume_root;    /* <data root>/volume: see engine-volume-private.h */
        char *volume_state;   /* <exec root>/volume */
        bool volumes_settled; /* what runs is known, so that what nothing uses can be unmounted */
        char *spool_root;     /* <data root>/spool: log records on their way to the journal */
        char *exec_root;      /* <exec root>/exec: a directory for each */
        LIST_HEAD(, Exec) execs;
        LIST_HEAD(, Worker) workers;
        LIST_HEAD(, Removal) removals; /* see engine-remover.c */
        sd_event_source *settle;       /* owned; when images that were removed leave the disk */
        uint64_t settle_latest_us;
        LIST_HEAD(, Drain) drains;
        LIST_HEAD(, Pull) pulls;               /* under way, see engine-pull.c */
        LIST_HEAD(UpdateList, Update) updates; /* the newest first, see engine-update.c */
        LIST_HEAD(, Build) builds;
        uint64_t last_pull;
        EventSender *events;  /* see engine-event.c */
        Autostart *autostart; /* see engine-autostart.c; NULL but after a boot */
        json_t *last_seccomp; /* the profile seen last, and the file of its filter: see engine-start.c */
        char *last_seccomp_path;
        JournalCaller caller; /* whose request is being handled */
        bool booting;         /* the first look at the containers after a boot is under way */
        bool closing;         /* this process ends: what systemd keeps stays kept for the next */
        bool interrupted;     /* the process before this one did not end at rest: what it was asked may be lost */
        uint64_t opened_us;   /* CLOCK_MONOTONIC */
        size_t n_readers;     /* workers that read layers */
        size_t n_jobs;        /* starts, stops, workers, waiting clients: see engine_busy() */
        char *network_root;   /* <data root>/network */
        LIST_HEAD(, Network) networks;
        char **left_links; /* see engine-link.c */
        sd_event_source *link_look;
        uint32_t next_port; /* among those that are chosen */
        Spare *spare;       /* owned; see engine-spare.c */
        sd_event_source *spare_due;
        bool restoring;     /* the firewall's table */
        bool restore_again; /* it changed meanwhile */
        void (*activity)(void *userdata);
        void *activity_userdata;
};

/* engine.c */
void engine_job_begin(Engine *engine);
void engine_job_end(Engine *engine);

/* engine-event.c: what happened, for GET /events and the journal. ATTRIBUTES (strings, taken over, may be NULL) and ID
 * are the actor's; who asked for it is the present request's caller, or the container's that is given. */
void engine_event_emit(Engine *engine, const char *type, const char *action, const char *id, json_t *attributes);
/* Of type "container", with the container's labels, image and name beside MORE (taken over, may be NULL). */
void container_event_emit(Container *container, const char *action, json_t *more);
/* Of type "image": NAME is the reference it is about; the image's labels come with it where ID can be resolved. */
void image_event_emit(Engine *engine, const char *action, const char *id, const char *name);
/* The same about a reference, pulled or pushed. */
void reference_event_emit(Engine *engine, const char *action, const StoreReference *reference);
/* The end of a prune: "reclaimed" bytes. */
void engine_event_pruned(Engine *engine, const char *type, int64_t reclaimed);
/* What goes on with the container from now on is the present caller's doing; or again nobody's. */
void container_note_caller(Container *container);
void container_forget_caller(Container *container);
int engine_events_open(Engine *engine);
void engine_events_free(Engine *engine);
/* Calls SENT, once and perhaps at once, when journald has got all events there were, or does not take them. */
int engine_events_when_sent(Engine *engine, void (*sent)(Engine *engine, void *userdata), void *userdata);

/* engine-restart.c: policies */
typedef enum RestartPolicy {
        RESTART_NO,
        RESTART_ALWAYS,
        RESTART_UNLESS_STOPPED,
        RESTART_ON_FAILURE,
} RestartPolicy;
RestartPolicy container_restart_policy(const Container *container);
/* Refuses a HostConfig.RestartPolicy as Docker does. */
int restart_policy_check(const json_t *policy, Error *error);
/* What the policy says of the last end. */
bool container_policy_wants(const Container *container);
/* The run has ended: true where the container is restarting now. */
bool container_restart_decide(Container *container);
/* A stop, kill or removal by hand: no further start; and that it was one is kept. */
void container_restart_cancel(Container *container);
void container_note_manual_stop(Container *container);
/* It is about to start, by hand or by its policy; it has started or never will. */
void container_restart_reset(Container *container, bool by_hand);
void container_restart_settled(Container *container);
void container_restart_forget(Container *container);
/* Docker's refusal of what needs a running container. */
int container_restarting_refusal(const Container *container, Error *error);
/* A start by the policy has come to its end, but was taken back meanwhile: it is stopped. engine-stop.c */
bool container_start_cancelled(Container *container);
/* What an earlier process owes. */
int engine_load_restarts(Engine *engine);

/* engine-autostart.c: what a boot starts */
int engine_autostart_begin(Engine *engine);
void engine_autostart_free(Engine *engine);
/* True where the container is still to be started by this boot. */
bool engine_is_due(const Engine *engine, const char *id);
/* The container's link follows its policy; to be called when that has changed. */
void container_autostart_update(const Container *container, bool exists);

/* engine-ready.c: whether what it needs at boot is there. WAITED_US: how long it was not. */
typedef enum Readiness {
        READY,
        READY_AFTER_DUE,   /* after another container of this boot */
        READY_AFTER_OTHER, /* a mount, an address, the health of a container that runs */
} Readiness;
Readiness container_readiness(Container *container, uint64_t waited_us);

/* engine-health.c */
/* "none", "starting", "healthy" or "unhealthy". */
const char *container_health_status(const Container *container);
/* State.Health, a new reference; NULL where there is none. */
json_t *container_health(const Container *container);
bool container_is_checked(const Container *container);
/* The run has ended; its run-time directory is still there. */
void container_health_settle(Container *container);
/* Config.Healthcheck, filled up from the image's; its values, refused as Docker does. */
void health_merge(json_t *config, const json_t *image_config);
int health_check(const json_t *config, Error *error);
/* What the monitor is to do; argv, owned by the caller, is NULL where that is nothing. */
int container_health_prepare(const Container *container, RuntimeHealth *ret_health);

/* engine-update.c */
void engine_updates_free(Engine *engine);
/* Limits that an earlier process may have changed in part are set again. */
void engine_load_updates(Engine *engine);

/* engine-machine.c: makes it known to systemd-machined */
void container_register_machine(const Container *container);

/* engine-start.c: as container_start(), by its policy rather than by a user */
void container_start_again(Container *container, EngineDone done, void *userdata);

/* engine-container.c: records and names */
/* Running as clients see it: also while it is restarting. */
bool container_is_up(const Container *container);
Container *container_new(Engine *engine, const char *id);
void container_free(Container *container);
int engine_load_containers(Engine *engine);
Container *engine_container_by_id(Engine *engine, const char *id);
/* Reads the record if it isn't there; false where it can't be read. */
bool container_ensure(Container *container);
ContainerStatus container_status_at_rest(const Container *container);
void engine_ensure_all(Engine *engine);
/* The name's link, made before a record says the name and removed after none does. */
int container_claim_name(Container *container, const char *name);
void container_release_name(Container *container, const char *name);
char *container_path(const Container *container, const char *name);         /* below the durable directory */
char *container_runtime_path(const Container *container, const char *name); /* below the volatile directory */
char *container_unit_name(const Container *container);
int container_save(Container *container, bool durable);
/* The first time. One that is transient is not waited for on the disk. */
int container_save_new(Container *container);
int container_save_state(Container *container);
const json_t *container_config(const Container *container);
const json_t *container_host_config(const Container *container);
bool container_is_running(const Container *container);
/* engine-pause.c: the pause of a run that goes on in this daemon's life */
void container_pause_restore(Container *container);
bool container_is_paused(const Container *container);
/* OUTCOME_CONFLICT: what is asked for wants a container that runs. */
int container_not_running(const Container *container, Error *error);
/* As a signal does: says so in an event. */
void container_pause_end(Container *container);
bool container_auto_remove(const Container *container);
/* It executes a step of a build, and ends with the daemon. */
bool container_is_step(const Container *container);
/* Nobody misses it after a power cut: one with AutoRemove, or a step. */
bool container_is_transient(const Container *container);
/* As engine_container_create(), for a step of a build. */
int engine_step_create(Engine *engine, const char *name, const json_t *body, json_t **ret_response, Error *error);
const char *container_network_mode(const Container *container);
int container_choose_name(Engine *engine, const char *wanted, char **ret_name, Error *error);
const char *container_status_name(const Container *container);

/* engine-fields.c: the fields of Config and HostConfig, their types and defaults */
/* The refusal of a value of the wrong type, as encoding/json words it: FIELD is the path in Go's structures, TYPE the
 * type there. Returns the outcome. */
int fields_refuse(const json_t *value, const char *field, const char *type, Error *error);
/* "object", "array", "string", "number", "null" or "bool". */
const char *json_type_name(const json_t *value);
/* The size of the container's image; 0 where it is gone. */
int64_t container_image_size(const Container *container);
int port_bindings_check(const json_t *ports, Error *error);
/* Names match without regard to case, as in Go. */
json_t *fields_member(const json_t *object, const char *name);
int fields_normalise(const char *object_name, const json_t *given, json_t **ret_normal, Error *error);

/* engine-exit.c */
int container_watch_monitor(Container *container);
void container_ended(Container *container);
void container_clean_runtime(Container *container);
/* True where the monitor has written how the present run ended. */
bool container_has_exit_record(const Container *container);
void container_forget_start(Container *container);

/* engine-drain.c: what is left of a run's log */
char *engine_spool_path(const Engine *engine, const char *id);
bool engine_has_spool(const Engine *engine, const char *id);
/* Sees to the spool of a container that does not run, or is no more: watched, drained, or removed. */
void engine_drain_check(Engine *engine, const char *id);
bool engine_is_draining(const Engine *engine, const char *id);
bool container_is_drained_by_monitor(const Container *container);
/* True where the start has to wait for the drain; it goes on by itself. */
bool container_hold_start(Container *container, EngineDone done, void *userdata);
void container_drop_held_starts(Container *container);
void engine_drains_free(Engine *engine);

/* engine-stop.c */
void container_stops_done(Container *container);
bool container_restart_pending(const Container *container);
int container_signal(Container *container, int signal);
int container_kill_cgroup(Container *container);

/* engine-wait.c */
/* Calls ENDED once the present run is over and its output is with those that are attached; one at a time. */
int container_on_end(Container *container, void (*ended)(int exit_code, void *userdata), void *userdata);
void container_cancel_on_end(Container *container);
void container_tell_end(Container *container);
void container_waiters_notify(Container *container, WaitCondition reached);
void container_waiters_drop(Container *container);
void wait_restore(Engine *engine, const char *arguments, int fd);

/* engine-replay.c */
/* A worker gives the client FD, which is taken over, the log, and then what comes by a stream. That stream is the
 * monitor's, *RET_STREAM_FD then negative, or the caller's, to be attached when the container starts. 0 or negative
 * errno. */
int replay_start(Container *container, const ContainerAttach *attach, int fd, const Buffer *received,
                 int *ret_stream_fd);

/* engine-attach.c */
int container_send_attaches(Container *container);
void container_drop_attaches(Container *container);
/* The one that FD was kept for, if there is one. */
void container_forget_attach(Container *container, int fd);
void attach_restore(Engine *engine, const char *arguments, int fd);

/* The monitor's request for it, owned by the caller. */
char *attach_request(const ContainerAttach *attach);
/* The same with what the client had sent before it was attached. */
int attach_message(const char *request, const Buffer *early, Buffer *message);
/* Opens a connection to the monitor's socket and sends one request, with FD where there is one. The connection, on
 * which the answer comes, is returned. */
int monitor_request_send(const char *path, const void *request, size_t size, int fd);
int monitor_request_send_fds(const char *path, const void *request, size_t size, const int *fds, size_t n_fds);

/* engine-exec.c */
/* MORE (taken over) where it is not about the command. */
void exec_event_emit(Exec *exec, const char *action, json_t *more);
int engine_load_execs(Engine *engine);
void engine_execs_free(Engine *engine);
/* The IDs of those that have not ended; null where there is none. */
json_t *container_exec_ids(const Container *container);
/* The container's run has ended: what never ran is forgotten, what outlives the first process is ended. */
void container_execs_stop(Container *container);
/* Before the next run: no monitor of the last one is left in the scope. */
void container_execs_settle(Container *container);
void container_execs_remove(Container *container);

/* engine-start.c: compiles the seccomp filter that the configuration wants, once for each, and names the file in it. */
int engine_prepare_seccomp(Engine *engine, json_t *config, Error *error);
/* Drops what it keeps of the last profile. */
void engine_seccomp_forget(Engine *engine);

/* Takes over the descriptor of a child's process, which is reaped when it ends. Negative: nothing to do. */
void engine_reap(Engine *engine, int pidfd);
/* What a container's processes may open unless their limit says otherwise. */
void engine_limit_files(void);

/* engine-exec-start.c */
char *exec_path(const Exec *exec, const char *name);
/* Looks at what the exec's directory says, and watches its monitor. */
void exec_refresh(Exec *exec);
void exec_launch_forget(Exec *exec);
void exec_resizes_go_on(Exec *exec, int result, const Error *error);
/* The cgroup directory of the container's scope, owned by the caller. */
char *container_scope_path(const Container *container);

/* engine-keep.c: descriptors in systemd's care */
void keep_store(const char *name, int fd);
void keep_remove(const char *name);

/* engine-remove.c */
/* Nobody waits for the answer: AutoRemove. A failure is logged. */
void container_remove_unattended(Container *container);
void container_removals_go_on(Container *container);

/* engine-endpoint.c */
json_t *container_network_settings(const Container *container);
char *mac_text(const uint8_t mac[static 6], char ret_text[static 18]);

#include "engine-network.h"

/* engine-inspect.c */
int64_t container_upper_size(const Container *container);

/* engine-mount-point.c: as inspect shows them */
int container_mounts(const Container *container, json_t **ret_mounts);
/* The events of its volumes, at the start and the end of a run. */
void container_volume_events(const Container *container, bool mounted);
bool container_mounts_image(const Container *container, const char *image_id);

/* engine-build-prune.c: an array of the API's BuildCache */
json_t *engine_build_usage(Engine *engine);

/* engine-filter.c: {"key": ["value", ...]} and {"key": {"value": true}} alike */
int filters_check(const json_t *filters, const char *const *known, Error *error);
/* KEY has one value at most, and that is a time (time_parse_query). */
int filters_check_moment(const json_t *filters, const char *key, Error *error);
bool filters_has(const json_t *filters, const char *key);
/* True where KEY isn't given or one of its values is accepted. */
bool filters_any(const json_t *filters, const char *key, bool (*match)(const char *value, const void *userdata),
                 const void *userdata);
/* True where every "key" or "key=value" of label filters holds. */
bool filters_labels(const json_t *filters, const json_t *labels);
/* Calls EACH for every value of KEY. */
void filters_each(const json_t *filters, const char *key, void (*each)(const char *value, void *userdata),
                  void *userdata);

/* engine-worker.c: a forked process for one long job */
typedef struct WorkerJob {
        /* In the child: whatever it returns becomes its exit status; RESULT_FD takes the result's bytes. */
        int (*run)(void *userdata, int result_fd);
        /* In the engine, once the child has ended: STATUS is what run() returned or -EIO where it died of a signal. */
        void (*done)(int status, const char *result, size_t size, void *userdata);
        /* If set, takes each whole line of the result as it comes, without its end; DONE gets the rest. */
        void (*line)(const char *line, size_t size, void *userdata);
        Worker **ret_worker; /* if set, the worker, valid until DONE returns; for worker_send() */
        void *userdata;
        const int *keep_fds; /* descriptors the child needs */
        size_t n_keep_fds;
        bool detached;   /* goes on without this process, and does not keep it alive; DONE is NULL */
        int *ret_end_fd; /* of a detached one, if set: gives what it writes to RESULT_FD; for the caller to close */
} WorkerJob;
int engine_worker_start(Engine *engine, const WorkerJob *job);
/* Ends it with SIGKILL; DONE runs as ever. */
void worker_kill(Worker *worker);
/* A short text for the child to read from its RESULT_FD. */
int worker_send(Worker *worker, const char *text);
/* The same with a descriptor, which stays the caller's; a negative one is none. */
int worker_send_fd(Worker *worker, const char *text, int fd);

/* A worker's result as JSON, or how it failed (R as of any function), and back. */
int engine_worker_answer(int result_fd, int r, const json_t *result, const Error *error);
int engine_worker_result(int status, const char *text, size_t size, json_t **ret_result, Error *error);

/* engine-archive.c. In a start's child: waits until nobody has the container's tree mounted elsewhere. */
void container_tree_wait(const char *upper);

/* engine-path.c: a path in a container, as Go's functions see it. All results are owned by the caller. */
/* "/a/b" of any path, by its text alone; with the "/" or "/." that it ended in. */
char *path_in_root(const char *path);
/* The last part: "/" of the root, "." of what ends in it. */
char *path_last(const char *path);
/* Where links lead to in the end; of what is not there, as far as it is. */
char *path_resolve(int root_fd, const char *path);
/* Base64 of {"name","size","mode","mtime","linkTarget"}. */
int path_describe(int root_fd, const char *path, char **ret_text, mode_t *ret_mode);

/* In a worker that walks trees: as many open directories as may be. */
void engine_worker_raise_files(void);

/* engine-volume.c */
int engine_volumes_open(Engine *engine);
/* Once it is known what runs: unmounts what nothing uses. */
void engine_volumes_settle(Engine *engine);
/* The container does not run any more, or its start failed: what only it used is unmounted. */
void container_release_volumes(const Container *container);
/* engine-volume-mount.c: takes away what was mounted in its run-time directory. */
void container_unstage_mounts(const Container *container);

/* engine-volume-list.c: a worker's measure of volumes, for engine_usage() */
int volumes_usage(Engine *engine, json_t **ret_volumes);

/* engine-freeze.c: a running container is held still until engine_thaw() with the GROUP that this returned. */
int container_freeze(Container *container, char **ret_group);
void engine_thaw(Engine *engine, const char *id, const char *group);
/* In a worker: waits until the group is frozen. -ETIMEDOUT. */
int freeze_wait(const char *group, int timeout_ms);
/* Ends what a process that was killed had begun. */
void engine_thaw_leftovers(Engine *engine);

/* engine-image.c: an import's name (NULL: none) and configuration, both owned by the caller */
int engine_import_prepare(const ImageImport *import, char **ret_reference, json_t **ret_config, Error *error);

/* engine-image.c: what the store may ask of containers / with the events of a removal */
StoreUsers engine_image_users(Engine *engine);
StoreUsers engine_image_removal(Engine *engine);
/* Removes the rest of images that were removed by force, once no container is made of them. */
void engine_forget_images(Engine *engine);

/* engine-remover.c: trees, by absolute path, are removed by a process of their own, another one if that is killed;
 * returns at once. PATHS is taken over. */
int engine_remove_trees(Engine *engine, char **paths);
/* The same for one, which is removed here and now if it is small. */
int engine_remove_tree(Engine *engine, const char *path);
/* Empties what the store has as trash so, unless a worker reads layers: then once that has ended. Where images were
 * removed a moment ago, what they leave becomes trash first, a moment later. / Does so at once, as the engine ends. */
void engine_sweep(Engine *engine);
void engine_settle_free(Engine *engine);
void engine_removals_free(Engine *engine);
void engine_workers_free(Engine *engine);

/* engine-registry.c: what jobs with registries have in common */
typedef struct RegistryWork {
        Stream stream; /* to the client */
        RegistryRefuse refuse;
        RegistryConfig config; /* of borrowed strings */
        RegistryAuth auth;
        bool begun;    /* something was sent: what fails from now on is a message of the stream */
        int result_fd; /* in the worker */
} RegistryWork;
/* Of borrowed strings. */
RegistryConfig engine_registry_config(const Engine *engine);
int registry_work_init(RegistryWork *work, Engine *engine, Stream *stream, const char *auth, RegistryRefuse refuse);
void registry_work_clear(RegistryWork *work);
/* In the worker: the job's common part, and its result or failure. */
RegistryJob registry_work_job(RegistryWork *work, int result_fd);
int registry_work_report(int result_fd, int status, json_t *result, const Error *error);
/* In the engine: one message; a failure, in whatever way is still possible. */
int registry_work_send(RegistryWork *work, json_t *message);
void registry_work_fail(RegistryWork *work, int status, const Error *error);
/* A line of the worker's that says that something was sent; false for any other. */
bool registry_work_line(RegistryWork *work, const json_t *line);
/* What the worker reported: 0 with the result, or the failure. */
int registry_work_result(int status, const char *text, size_t size, json_t **ret_result, Error *error);
void registry_add_sources(Engine *engine, const json_t *result);

/* --- Log drivers (engine-log-options.c, engine-log-attributes.c) -------------------------------------------------- */

typedef struct ContainerLogFiles {
        int64_t size;  /* of one; 0: it grows */
        int64_t files; /* how many there may be */
        bool compress; /* the older ones */
} ContainerLogFiles;

/* Whether a container may have this LogConfig; Docker's words where not. Adds to WARNINGS what has no effect. */
int container_log_check(const json_t *log, json_t *warnings, Error *error);
int log_attributes_check(const json_t *options, Error *error);
int container_log_files(const json_t *log, ContainerLogFiles *ret, Error *error);
/* How many bytes may wait for the log before lines are dropped; -1: none is, the container waits. */
int64_t container_log_buffer(const json_t *log);

/* The file that its log is in, the caller's; NULL: it is in none. */
char *container_log_path(const Container *container);

/* The tag of its records, the caller's; "" where it has none. */
char *container_log_tag(const Container *container);
/* The labels and variables that its options choose, a new reference. */
json_t *container_log_attributes(const Container *container);
/* What the monitor is to add to each record, the caller's: "attrs" of a file, or fields of the journal, each a line. */
char *container_log_extra(const Container *container);

/* The monitor's command line, NULL-terminated; it answers requests on LISTEN_FD. Makes the log file's directory. */
int container_monitor_arguments(const Container *container, int listen_fd, char ***ret_argv);
