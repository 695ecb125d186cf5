/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the builder share.
 *
 * A build is a worker that reads the context, plans, looks files up and copies them, and speaks to the client. What
 * touches metadata or containers it asks berthd for, a line of JSON each way over its result socket, one at a time:
 *   {"Op":"lane"}                            {} with a descriptor: a socket to ask over as over this one
 *   {"Op":"resolve","Name"}                  {"Id","Config","Layers":[directories]} or {"Missing":true}
 *   {"Op":"pull","Name","Platform"}          {"Progress":message}..., then as resolve
 *   {"Op":"image","Id"}                      as resolve
 *   {"Op":"lookup","Key"}                    {"Id"} or {}
 *   {"Op":"stage"}                           {"Staging"}
 *   {"Op":"commit","Staging","Result","Cache":{"Key","Description",...}}   {"Id"}
 *   {"Op":"run","Body"}                      {"Container"} with a descriptor, the framed output; {"Exit","Upper"}
 *   {"Op":"remove","Container"}              {}
 *   {"Op":"tag","Id","Name"}                 {}
 * Each may be answered by {"Failure","Outcome"} instead. All of a container's output is there before {"Exit"} is. When
 * the worker ends, however it does, its containers and staging directories go; when the other end of a lane is closed,
 * the containers that were asked for there. */
#pragma once

#include "engine-private.h"

typedef struct BuildContainer {
        LIST_ENTRY(BuildContainer) link;
        struct BuildLane *lane;
        char id[ID_LENGTH + 1];
        char *marker;             /* owned: a file that is there as long as the container may be */
        bool starting, forgotten; /* forgotten while it starts: freed when that is over */
} BuildContainer;

/* Where requests come from: the worker, or a process of its that builds one stage. */
typedef struct BuildLane {
        LIST_ENTRY(BuildLane) link;
        struct Build *build;
        int fd; /* owned; negative: the worker's result socket */
        sd_event_source *source;
        Buffer in;
        LIST_HEAD(, BuildContainer) containers;
        sd_event_source *pull_source;
        int pull_fd;
        Buffer pull_text;
        char *pull_name, *pull_error;
} BuildLane;

typedef struct Build {
        LIST_ENTRY(Build) link;
        Engine *engine;
        int64_t started_ns;
        Stream stream;
        json_t *options;
        RegistryRefuse refuse;
        Worker *worker;
        char *context;   /* staging directory of the context */
        char **stagings; /* others that the worker was given */
        BuildLane own;   /* the worker's */
        LIST_HEAD(, BuildLane) lanes;
        bool cancelled, ended; /* ended: but for the last bytes to the client */
        bool given_back;       /* the context that is kept */
} Build;

/* engine-build.c */
void build_request(BuildLane *lane, const char *text, size_t size);
void build_reply_image(BuildLane *lane, const char *id);

/* engine-build-lane.c */
void build_lane_init(BuildLane *lane, Build *build);
void build_lane_clear(BuildLane *lane);
void build_lanes_clear(Build *build);
/* Makes another and answers with the other end of it. */
void build_lane(BuildLane *lane, const json_t *request);
void build_reply(BuildLane *lane, json_t *reply);
/* With a descriptor, which stays the caller's. */
void build_reply_fd(BuildLane *lane, json_t *reply, int fd);
/* One that need not arrive. */
void build_tell(BuildLane *lane, json_t *message);
void build_fail(BuildLane *lane, int r, const Error *error);

/* engine-build-pull.c */
void build_pull(BuildLane *lane, const json_t *request);
void build_pull_stop(BuildLane *lane);

/* engine-build-container.c */
void build_run(BuildLane *lane, const json_t *request);
void build_remove(BuildLane *lane, const json_t *request);
void build_remove_all(BuildLane *lane);
void engine_build_leftovers(Engine *engine);

/* engine-build-cache.c */
int build_cache_find(Engine *engine, const char *key, char **ret_image);
int build_cache_add(Engine *engine, const json_t *cache, const char *image);
char *engine_build_path(const Engine *engine, const char *name);
/* The same, open, and made where it is missing. A descriptor or negative errno. */
int engine_build_open(const Engine *engine, const char *name);
/* What names a record: as an ID. KEY may be NULL. */
bool build_key_is_valid(const char *key);

/* engine-build-cache-mount.c: build/mount, where cache mounts lie: a directory each, NAME or NAME.n, and NAME.json
 * {"Id","Description","Size","Created":ns,"Used":ns,"Count"}. Who uses one holds a lock on its directory. */
#define BUILD_MOUNT_NEW "new-" /* being made */
#define BUILD_LOCK_SHARED 1
#define BUILD_LOCK_ALONE 2
#define BUILD_LOCK_TRY 4
/* Without waiting: -EWOULDBLOCK where others hold it. */
int build_lock(int fd, int how);
/* In the worker: it is being used; and how large it is now. */
void build_mount_note(const Engine *engine, const char *name, const char *id, const char *description);
void build_mount_measure(const Engine *engine, const char *name);
/* Records as those of the cache, each with its "ID" and "InUse". */
void build_mount_list(const Engine *engine, json_t *list);
/* False where it is in use. */
bool build_mount_remove(Engine *engine, const char *name);
/* What was being made when a worker ended. */
void build_mount_leftovers(Engine *engine);

/* Whatever NAME is goes to the trash: a large one takes its time to be removed. */
int build_give_up(Engine *engine, int directory, const char *name);

/* engine-build-keep.c */
#define BUILD_KEPT "kept" /* in the context's staging directory */
#define BUILD_KEEP_TYPE "source.local"
/* What the client asks to be kept; NULL: nothing. */
const json_t *build_keep(const Build *build);
/* Checks what is asked for, and takes what is kept to STAGING_FD where the client sends changes only.
 * OUTCOME_CONFLICT. */
int build_keep_take(Build *build, int staging_fd, Error *error);
void build_keep_give_back(Build *build);
/* In the worker: the files are changed from now on / are what the client calls the next generation. */
int build_keep_begin(int staging_fd, json_t **ret_record);
int build_keep_end(const Build *build, int staging_fd, const json_t *before, int64_t size);
bool build_keep_is_worth(const json_t *tree);
void build_keep_measure(int kept_fd);
/* Records as those of the cache, each with its "ID". */
void build_keep_list(const Engine *engine, json_t *list);
bool build_keep_remove(Engine *engine, const char *key);

/* Where the secrets of a build are, by its context's name; all builds' for "". */
char *engine_build_secrets(const Engine *engine, const char *context);

/* engine-build-worker.c: never returns before the build is over; its exit status */
int build_worker(Build *build, int result_fd);
