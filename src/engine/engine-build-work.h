/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A build's worker. It is straight-line code that may block: what it cannot do itself it asks berthd for. */
#pragma once

#include "berth/build.h"
#include "berth/dockerfile.h"
#include "engine-build.h"

/* Where a stage is: an image of the store. */
typedef struct WorkState {
        char *id;        /* "" for scratch; all owned */
        json_t *image;   /* the image's configuration; NULL for scratch */
        json_t *layers;  /* directories, topmost first */
        char *directory; /* where files are that are no image's, and nothing else is set; NULL: an image's */
} WorkState;

typedef struct WorkStage {
        bool done, running;
        WorkState base, state;
        json_t *result; /* of dockerfile_stage(); owned */
} WorkStage;

typedef struct BuildWork {
        Build *build;
        const json_t *options; /* borrowed */
        int rpc_fd;            /* borrowed */
        int tell_fd;           /* borrowed: of a stage's process, to the one that speaks to the client; else negative */
        Buffer rpc_in;
        int output_fd;    /* owned; of the container that runs, negative while none does */
        Buffer output_in; /* framed output of it */
        Buffer silent;    /* what would have been said, with "q" */
        bool quiet, begun;
        int context_fd; /* owned; the context's root */
        Dockerfile file;
        DockerfileOptions dockerfile;
        json_t *arguments, *labels; /* owned: of the options */
        json_t *plan;               /* owned */
        WorkStage *stages;          /* owned */
        size_t n_stages;
        size_t step, total;
        int failed_code; /* of a command that failed */
        int64_t epoch_ns;
        json_t *contexts;   /* owned: {"NAME": path below the context's staging directory} of those that are no image */
        json_t *sources;    /* owned: configurations of the images that steps may come from */
        json_t *caches;     /* owned: {"NAME": true} of the cache mounts that were used */
        unsigned n_secrets; /* files that were made of them */
} BuildWork;

void work_state_clear(WorkState *state);
int work_state_copy(const WorkState *from, WorkState *ret);
/* From a reply that describes an image. */
int work_state_set(WorkState *state, const json_t *reply);

/* engine-build-talk.c */
/* Asks berthd; output of a container and progress of a pull are passed on meanwhile. */
int work_ask(BuildWork *work, json_t *request, json_t **ret_reply, Error *error);
/* The next reply to the request before. */
int work_wait(BuildWork *work, json_t **ret_reply, Error *error);
/* Another socket to berthd, the caller's. */
int work_lane(BuildWork *work, int *ret_fd, Error *error);
/* Docker's JSON messages. The client's going away ends the process. */
void work_send(BuildWork *work, json_t *message);
void work_say_text(BuildWork *work, const char *text, size_t size);
void work_say(BuildWork *work, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line to whom TELL_FD leads to. */
void work_tell(BuildWork *work, json_t *line);
/* Waits until something is to be read of FDS, which it says in READY, unless the client or berthd goes. */
void work_poll(BuildWork *work, const int *fds, bool *ready, size_t n);
/* Waits so many milliseconds, unless the client or berthd goes. */
void work_pause(BuildWork *work, int ms);
/* Runs in a process of its own and takes its result. */
int work_in_child(BuildWork *work, int (*run)(void *userdata, int result_fd, json_t **ret, Error *error),
                  void *userdata, json_t **ret, Error *error);

/* engine-build-context.c: reads the context, and the Dockerfile of it */
int work_read_context(BuildWork *work, Error *error);

/* engine-build-step.c */
int work_step(BuildWork *work, const json_t *step, WorkState *state, Error *error);
/* Makes sure that the stage is built. */
int work_stage(BuildWork *work, size_t index, Error *error);
int work_resolve(BuildWork *work, const char *name, const char *platform, WorkState *ret, Error *error);
/* The same, but that it is only pulled where it is missing. */
int work_find_image(BuildWork *work, const char *name, const char *platform, WorkState *ret, Error *error);

/* A directory of the data root, owned by the caller. */
char *work_path(const BuildWork *work, const char *format, ...) __attribute__((format(printf, 2, 3)));
int work_stage_directory(BuildWork *work, char **ret_name, int *ret_fd, Error *error);
/* The staged result becomes the state. KEY NULL: not for the cache. */
int work_commit(BuildWork *work, const char *staging, const json_t *result, const char *key, const json_t *step,
                WorkState *state, Error *error);
/* Where the state's files are, or are to be changed. */
StoreChild work_child(const BuildWork *work, const WorkState *state, const json_t *step, const char *created_by);

/* engine-build-cache-from.c: looks for the images of "cachefrom" */
int work_cache_sources(BuildWork *work);
/* Sets "Comment" of a step that is made of more than its history would tell. */
int work_comment(json_t *step);
/* 1 where one of them has the step, and the state is what it led to; else 0. */
int work_cache_from(BuildWork *work, const json_t *step, const char *created_by, const char *key, WorkState *state,
                    Error *error);

/* engine-build-graph.c: builds all stages that the target needs, and the target */
int work_stages(BuildWork *work, Error *error);

/* engine-build-files.c: COPY, ADD and WORKDIR */
/* FETCHED_FD, which may be negative, has what "Fetched" of the step names. */
int work_copy_sum(BuildWork *work, const json_t *step, int fetched_fd, json_t **ret_sum, Error *error);
int work_files(BuildWork *work, const json_t *step, const json_t *paths, int fetched_fd, const char *created_by,
               const char *key, WorkState *state, Error *error);

/* The stage, image or named context that "FromStage", "From" or "Context" of a step or mount names; NULL for the
 * context. IMAGE keeps it. */
int work_find_source(BuildWork *work, const json_t *object, WorkState *image, const WorkState **ret, Error *error);
/* The files of an image, to be read, in a process with a mount namespace of its own. One layer alone is no overlay, and
 * no layer an empty directory; else they are mounted on NAME in STAGING. */
int work_open_image(const BuildWork *work, const char *staging, const WorkState *state, const char *name, Error *error);
/* Copies PATH of that to a directory or file of the staging area, whose path the caller owns. */
int work_copy_tree(BuildWork *work, const WorkState *source, const char *path, char **ret_path, Error *error);

/* engine-build-named.c: gets the named contexts, and finds one of them */
int work_take_contexts(BuildWork *work, int staging_fd, Error *error);
int work_find_context(BuildWork *work, const char *name, const char *platform, WorkState *ret, Error *error);

/* engine-build-squash.c: what the state has above the base becomes one layer */
int work_squash(BuildWork *work, const WorkState *base, WorkState *state, Error *error);

/* engine-build-remote.c */
/* What an ADD names that is not in the context: fetched to a directory, with "Fetched" in the step of RET_STEP, both
 * owned by the caller. Where there is nothing of that kind RET_FD is -EBADF. */
int work_fetch_sources(BuildWork *work, const json_t *step, json_t **ret_step, int *ret_fd, Error *error);

/* engine-build-git.c: checks a repository out at AT of a staging directory; the result's path, owned by the caller,
 * begins with AT. CHECKSUM, which may be NULL, begins its commit. */
int work_git(BuildWork *work, const char *source, const char *staging, const char *at, bool keep, const char *checksum,
             char **ret_path, Error *error);
int work_check_commit(const char *checksum, Error *error);

/* engine-build-download.c: gets the context that REMOTE names. {"Path"} is where it is below its staging directory, if
 * not where an archive's is; {"Dockerfile"} its text, where that is all there is. */
int work_remote_context(BuildWork *work, const char *remote, json_t **ret, Error *error);

/* engine-build-mount.c: the mounts of a RUN. The empty value is {}. */
typedef struct WorkMounts {
        json_t *list;    /* HostConfig.Mounts; all owned */
        json_t *env;     /* "NAME=value" that come with them */
        json_t *targets; /* where they are */
        int *locks;      /* of cache mounts, while the step runs */
        size_t n_locks;
        unsigned n_agents;
} WorkMounts;

void work_mounts_clear(WorkMounts *mounts);
int work_mounts(BuildWork *work, const json_t *step, WorkMounts *ret, Error *error);

/* engine-build-run.c */
int work_run(BuildWork *work, const json_t *step, const char *key, WorkState *state, Error *error);
