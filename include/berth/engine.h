/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Containers and images: the state machines behind the API, without HTTP.
 *
 * Single-threaded on one sd_event. Functions return 0, a positive Outcome with ERROR filled, or a negative errno. An
 * operation that has to wait takes a callback, which runs exactly once, from the loop or before the call returns.
 * JSON results are new references in the API's newest shape. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "berth/buffer.h"
#include "berth/config.h"
#include "berth/outcome.h"
#include "berth/stream.h"

typedef struct Engine Engine;
typedef struct Container Container;
typedef struct Network Network;

/* RESULT as above; ERROR is borrowed for the call and may be empty. */
typedef void (*EngineDone)(int result, const Error *error, void *userdata);
/* OBJECT and ERROR are borrowed for the call. */
typedef void (*EngineJsonDone)(int result, json_t *object, const Error *error, void *userdata);

/* Whether containers may have this log driver with these options (NULL: none); a refusal's words are the caller's. */
bool engine_log_config_check(const char *driver, const json_t *options, char **ret_message);

/* Opens the stores, reads the records and brings the truth of scopes and mounts and the records together. CONFIG is
 * borrowed for the engine's life. */
int engine_new(sd_event *event, const Config *config, Engine **ret_engine);
void engine_free(Engine *engine);
/* The process is about to end because nothing goes on: the next one will not look for requests that were cut off. */
void engine_rest(Engine *engine);

/* ACTIVITY runs whenever engine_busy() may have changed. */
void engine_set_activity(Engine *engine, void (*activity)(void *userdata), void *userdata);
/* True while a start, stop, removal, worker or waiting client needs the process. */
bool engine_busy(const Engine *engine);

/* A descriptor that systemd kept for the daemon, by the name it was stored under. Takes FD over. */
void engine_restore_kept(Engine *engine, const char *name, int fd);

/* A monitor has something to tell of its container: its end, or the end of its log. */
void engine_monitor_spoke(Engine *engine, const char *id);
/* Its container is "healthy" or "unhealthy" now. */
void engine_monitor_health(Engine *engine, const char *id, const char *status);

/* Until the next call, what happens is a request's of this process; pid 0: nobody's. */
void engine_set_caller(Engine *engine, uid_t uid, pid_t pid);

/* Waits until the containers that this boot starts are started. */
void engine_autostart_wait(Engine *engine, EngineDone done, void *userdata);

/* --- Events ------------------------------------------------------------------------------------------------------- */

typedef struct EventQuery {
        int64_t since_ns, until_ns; /* 0: not given */
        const json_t *filters;
} EventQuery;

/* A worker writes the events to the stream, which is taken over: those of the past that were asked for, and, unless the
 * end lies in the past, what comes. */
int engine_events_follow(Engine *engine, const EventQuery *query, Stream *stream);

json_t *engine_info(Engine *engine);
json_t *engine_version(const Engine *engine);
bool engine_is_experimental(const Engine *engine);

/* --- Containers --------------------------------------------------------------------------------------------------- */

/* By name, full ID or unambiguous prefix. "No such container: X". */
int engine_container_find(Engine *engine, const char *reference, Container **ret_container, Error *error);
const char *container_id(const Container *container);
const char *container_name(const Container *container);
bool container_has_terminal(const Container *container);

/* BODY is POST /containers/create's, NAME may be NULL. */
int engine_container_create(Engine *engine, const char *name, const json_t *body, json_t **ret_response, Error *error);

/* QUERY: all, limit, size, filters as parsed JSON ({"key": ["value"]} or {"key": {"value": true}}). */
typedef struct ContainerListQuery {
        bool all, size;
        int64_t limit;
        const json_t *filters;
} ContainerListQuery;
int engine_container_list(Engine *engine, const ContainerListQuery *query, json_t **ret_list, Error *error);

int container_inspect(Container *container, bool size, json_t **ret_object);
void container_start(Container *container, EngineDone done, void *userdata);
/* SIGNAL NULL and TIMEOUT INT64_MIN: the container's own. A negative timeout waits forever. */
void container_stop(Container *container, const char *signal, int64_t timeout, EngineDone done, void *userdata);
/* Done once every process is held. */
void container_pause(Container *container, EngineDone done, void *userdata);
int container_unpause(Container *container, Error *error);
/* A worker writes what it uses to the stream, which is taken over: each second with FOLLOW, else once; with PRIME after
 * a first reading that the processor's use can be reckoned from. */
int container_stats(Container *container, bool follow, bool prime, Stream *stream);
/* [{"Path": ..., "Kind": 0 changed, 1 added, 2 deleted}, ...] against the image. */
void container_changes(Container *container, EngineJsonDone done, void *userdata);
/* {"Titles": [...], "Processes": [[...], ...]}, as the host's ps(1) shows them when run with ARGUMENTS ("": -ef). */
void container_top(Container *container, const char *arguments, EngineJsonDone done, void *userdata);
void container_restart(Container *container, const char *signal, int64_t timeout, EngineDone done, void *userdata);
int container_kill(Container *container, const char *signal, Error *error);
/* BODY is POST /containers/ID/update's; VERSION_MINOR of the API, whose older versions have other fields. Answers
 * {"Warnings"} once the limits hold. */
void engine_container_update(Engine *engine, const char *reference, const json_t *body, int version_minor,
                             EngineJsonDone done, void *userdata);
int container_rename(Container *container, const char *name, Error *error);
int container_resize(Container *container, int64_t rows, int64_t columns, Error *error);
void container_remove(Container *container, bool force, bool volumes, EngineDone done, void *userdata);
void engine_container_prune(Engine *engine, const json_t *filters, EngineJsonDone done, void *userdata);

#define DETACH_KEYS_MAX 64
#define DETACH_KEYS_DEFAULT "ctrl-p,ctrl-q"

typedef struct ContainerAttach {
        bool standard_input, standard_output, standard_error;
        bool stream; /* false: what was written before is all */
        bool logs;   /* what was written before comes first */
        bool multiplexed;
        char detach_keys[DETACH_KEYS_MAX]; /* the bytes */
        size_t n_detach_keys;
} ContainerAttach;

/* "ctrl-p,ctrl-q" to bytes. -EINVAL. */
int detach_keys_parse(const char *text, char ret_keys[static DETACH_KEYS_MAX], size_t *ret_n);

/* Takes back a link, "container/alias". The name of a container itself is refused. */
int engine_unlink(Engine *engine, const char *name, Error *error);

/* What keeps a client from being attached now. */
int container_attach_check(Container *container, Error *error);
/* Hands a raw stream to the container's monitor, or keeps it until the container starts. Takes FD and the bytes already
 * RECEIVED from it over, in any case. ANSWER is what the client is told first: no sooner than this process may end
 * without the client losing the stream, unless logs come first. */
int container_attach(Container *container, const ContainerAttach *attach, int fd, Buffer *received,
                     const Buffer *answer, Error *error);
/* The same for a stream of WebSocket frames: a process of its own translates, and goes on without this one. Output
 * comes as messages of text or of bytes. */
int container_attach_websocket(Container *container, const ContainerAttach *attach, bool text, int fd, Buffer *received,
                               const Buffer *answer, Error *error);

/* --- Exec: further processes in a running container --------------------------------------------------------------- */

typedef struct Exec Exec;

/* BODY is POST /containers/ID/exec's; REFERENCE is how the client named the container. Answers {"Id"}. */
int container_exec_create(Container *container, const char *reference, const json_t *body, json_t **ret_response,
                          Error *error);

/* By full ID. "No such exec instance: X". */
int engine_exec_find(Engine *engine, const char *id, Exec **ret_exec, Error *error);
int exec_inspect(Exec *exec, json_t **ret_object);

/* What keeps it from being started now, as far as its container goes. */
int exec_refusal(Exec *exec, Error *error);

typedef struct ExecStart {
        bool detach, terminal;
        int64_t rows, columns; /* 0: as it was created */
} ExecStart;

/* BODY is POST /exec/ID/start's. */
int exec_start_parse(const json_t *body, ExecStart *ret_start, Error *error);

/* FD is the client's raw stream, -EBADF for a detached start; taken over with the bytes already RECEIVED from it. A
 * failure is told on the stream, where there is one; then DONE may be NULL. */
void exec_start(Exec *exec, const ExecStart *start, int fd, Buffer *received, EngineDone done, void *userdata);

/* One that is not started yet is waited for. */
void exec_resize(Exec *exec, int64_t rows, int64_t columns, EngineDone done, void *userdata);

/* --- Networks -------------------------------------------------------------------------------------------------------
 */

/* By full ID, name or unambiguous prefix of the ID. "network X not found". */
int engine_network_find(Engine *engine, const char *reference, Network **ret_network, Error *error);
/* BODY is POST /networks/create's. */
int engine_network_create(Engine *engine, const json_t *body, json_t **ret_response, Error *error);
int engine_network_list(Engine *engine, const json_t *filters, json_t **ret_list, Error *error);
int network_inspect(Network *network, bool verbose, json_t **ret_object);
int network_remove(Network *network, Error *error);
int engine_network_prune(Engine *engine, const json_t *filters, json_t **ret_object, Error *error);
/* BODY is {"Container", "EndpointConfig"} or {"Container", "Force"}. */
void network_connect(Network *network, const json_t *body, EngineDone done, void *userdata);
void network_disconnect(Network *network, const json_t *body, EngineDone done, void *userdata);

/* Somebody has changed the host's packet filter: what is missing of ours is made again. */
void engine_firewall_changed(Engine *engine);

/* --- Waiting and logs --------------------------------------------------------------------------------------------- */

/* Docker's wait: "not-running" (default), "next-exit", "removed". Takes the streamed response over and writes the
 * result to it when the time has come, also in a later process of this daemon. */
int container_wait_condition_parse(const char *name, int *ret_condition, Error *error);
void container_wait(Container *container, int condition, Stream *stream);

typedef struct ContainerLogs {
        bool follow, standard_output, standard_error, timestamps, details;
        bool raw; /* never multiplexed */
        int64_t since_ns, until_ns, tail;
} ContainerLogs;

typedef struct ContainerCommit {
        const char *container;        /* name or ID */
        const char *repository, *tag; /* may be NULL or empty */
        const char *comment, *author; /* may be NULL */
        bool pause;                   /* hold it still meanwhile */
        char *const *changes;         /* lines of a Dockerfile; may be NULL */
} ContainerCommit;

/* BODY is a ContainerConfig that takes the place of the container's; NULL: none. Answers {"Id": image}. */
void engine_container_commit(Engine *engine, const ContainerCommit *request, const json_t *body, EngineJsonDone done,
                             void *userdata);

/* A worker writes the container's tree as a tar to the stream, which is taken over. */
int container_export(Container *container, Stream *stream);

/* docker cp. Strings are borrowed. */
typedef struct ContainerArchive {
        const char *name; /* of the container, as the client wrote it */
        const char *path; /* in the container */
        bool keep_kinds;  /* nothing but a directory replaces a directory, nor it anything else */
        bool own;         /* what arrives belongs to the container's user */
        /* Answers a stream that nothing was sent on; called in a worker. */
        void (*refuse)(Stream *stream, int result, const Error *error);
} ContainerArchive;

#define ARCHIVE_STAT_HEADER "X-Docker-Container-Path-Stat"

/* The result's "Stat" is the value of the header. */
void container_archive_stat(Container *container, const ContainerArchive *archive, EngineJsonDone done, void *userdata);
/* Workers write what is at the path to the stream, or unpack what comes from it. The stream is taken over. */
void container_archive_get(Container *container, const ContainerArchive *archive, Stream *stream);
void container_archive_put(Container *container, const ContainerArchive *archive, Stream *stream);

/* A worker writes the log to the stream, which is taken over. */
int container_logs_check(Container *container, Error *error);
int container_logs(Container *container, const ContainerLogs *logs, Stream *stream);
/* The container's log so far as a WebSocket's frames; see container_attach_websocket(). */
int container_logs_websocket(Container *container, const ContainerLogs *logs, bool text, int fd, Buffer *received,
                             const Buffer *answer);

/* --- Images ------------------------------------------------------------------------------------------------------- */

typedef struct ImageList {
        bool all;
        bool shared_size; /* work out what an image's layers share with other images */
        bool containers;  /* count the containers of each */
        const json_t *filters;
} ImageList;
int engine_image_list(Engine *engine, const ImageList *list, json_t **ret_list, Error *error);
/* OUTCOME_NOT_FOUND where the image is not of PLATFORM, "os/architecture[/variant]"; NULL is any. */
int engine_image_check_platform(Engine *engine, const char *name, const char *platform, Error *error);
int engine_image_inspect(Engine *engine, const char *name, json_t **ret_object, Error *error);
int engine_image_history(Engine *engine, const char *name, json_t **ret_list, Error *error);
int engine_image_tag(Engine *engine, const char *name, const char *repository, const char *tag, Error *error);
int engine_image_remove(Engine *engine, const char *name, bool force, bool no_prune, json_t **ret_list, Error *error);

/* The archive is the body of a request, taken over with its connection; progress and result are written to it as
 * Docker's JSON messages. PLATFORM as "os/architecture/variant", or NULL: of an index the image for it is taken, and
 * other images must be of it. */
int engine_image_load(Engine *engine, Stream *stream, bool quiet, const char *platform);
typedef struct ImageImport {
        const char *repository, *tag, *message, *platform;
        char *const *changes;
} ImageImport;
/* Whether names and changes are right, before the stream is taken. */
int engine_image_import_check(const ImageImport *import, Error *error);
int engine_image_import(Engine *engine, Stream *stream, const ImageImport *import, Error *error);

/* --- Registries --------------------------------------------------------------------------------------------------- */

/* Answers a stream that nothing was sent on yet with a failure, and ends it. */
typedef void (*RegistryRefuse)(Stream *stream, int result, const Error *error);

/* An import of what an URL leads to ("http://" goes without saying); the stream is taken over. */
void engine_image_fetch(Engine *engine, Stream *stream, const ImageImport *import, const char *url,
                        RegistryRefuse refuse);

/* AUTH is the X-Registry-Auth header, or NULL. The stream is taken over; progress and result are written to it. */
typedef struct ImagePull {
        const char *image, *tag, *platform, *auth;
        RegistryRefuse refuse;
} ImagePull;
void engine_image_pull(Engine *engine, Stream *stream, const ImagePull *pull);

/* TAG NULL or "": all tags; PLATFORM: "os/architecture[/variant]", or NULL. */
typedef struct ImagePush {
        const char *name, *tag, *platform, *auth;
        RegistryRefuse refuse;
} ImagePush;
void engine_image_push(Engine *engine, Stream *stream, const ImagePush *push);

/* One question to a registry, in a worker. */
void engine_login(Engine *engine, const json_t *auth, EngineJsonDone done, void *userdata);
void engine_distribution_inspect(Engine *engine, const char *name, const char *auth, EngineJsonDone done,
                                 void *userdata);
void engine_image_search(Engine *engine, const char *term, int64_t limit, const json_t *filters, const char *auth,
                         EngineJsonDone done, void *userdata);

/* Works out what to save, or says why not; then a worker writes the archive to the stream. PLAN and stream are taken
 * over. */
int engine_image_save_check(Engine *engine, char *const *names, const char *platform, json_t **ret_plan, Error *error);
int engine_image_save(Engine *engine, json_t *plan, Stream *stream);

/* Removes images by the filters, one at a time. Answers {"ImagesDeleted", "SpaceReclaimed"}. */
void engine_image_prune(Engine *engine, const json_t *filters, EngineJsonDone done, void *userdata);

/* --- Volumes ------------------------------------------------------------------------------------------------------ */

/* BODY is POST /volumes/create's, and may be NULL. */
int engine_volume_create(Engine *engine, const json_t *body, json_t **ret_object, Error *error);
/* "get NAME: no such volume" */
int engine_volume_inspect(Engine *engine, const char *name, json_t **ret_object, Error *error);
/* With FORCE, one that isn't there is removed already. "remove NAME: volume is in use - [IDs]" */
int engine_volume_remove(Engine *engine, const char *name, bool force, Error *error);
/* Answers {"Volumes", "Warnings"}. Filters: dangling, driver, label, name. */
int engine_volume_list(Engine *engine, const json_t *filters, json_t **ret_object, Error *error);
/* Removes what no container names: anonymous volumes, or with "all" every one without driver options. Answers
 * {"VolumesDeleted", "SpaceReclaimed"}. */
void engine_volume_prune(Engine *engine, const json_t *filters, EngineJsonDone done, void *userdata);

/* --- Space -------------------------------------------------------------------------------------------------------- */

enum {
        ENGINE_USAGE_IMAGES = 1 << 0,
        ENGINE_USAGE_CONTAINERS = 1 << 1,
        ENGINE_USAGE_VOLUMES = 1 << 2,
        ENGINE_USAGE_BUILD_CACHE = 1 << 3,
        ENGINE_USAGE_ALL = 15,
};

/* GET /system/df. */
void engine_usage(Engine *engine, unsigned what, EngineJsonDone done, void *userdata);

/* --- Building ----------------------------------------------------------------------------------------------------- */

/* OPTIONS holds what POST /build was asked for, by the names of its query parameters: "t" and "cachefrom" are arrays,
 * "buildargs", "labels", "ulimits", "extrahosts" and "secrets" as they are, "registry" of X-Registry-Config. Taken
 * over, as is the stream, whose body is the context and which gets Docker's JSON messages. */
void engine_build(Engine *engine, Stream *stream, json_t *options, RegistryRefuse refuse);

/* The generation of the context that is kept under the key ("keep" of POST /build), owned by the caller. -ENOENT. */
int engine_build_kept(Engine *engine, const char *key, char **ret_generation);

/* "No such build" for an ID that none under way was given. */
int engine_build_cancel(Engine *engine, const char *id, Error *error);

/* Answers {"CachesDeleted", "SpaceReclaimed"}. KEEP_STORAGE: bytes that may stay, 0 for none. */
void engine_build_prune(Engine *engine, const json_t *filters, int64_t keep_storage, bool all, EngineJsonDone done,
                        void *userdata);
