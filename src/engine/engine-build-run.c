/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RUN: a container of the state's image executes the command, and its upper directory becomes a layer. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/json.h"
#include "engine-build-work.h"

/* --- The container ------------------------------------------------------------------------------------------------ */

/* Limits and the like, that the build's options and a container's HostConfig have under two names. */
static const struct {
        const char *option, *key;
} limits[] = {
        { "memory", "Memory" },         { "memswap", "MemorySwap" },        { "cpushares", "CpuShares" },
        { "cpuperiod", "CpuPeriod" },   { "cpuquota", "CpuQuota" },         { "cpusetcpus", "CpusetCpus" },
        { "cpusetmems", "CpusetMems" }, { "cgroupparent", "CgroupParent" }, { "shmsize", "ShmSize" },
        { "ulimits", "Ulimits" },       { "extrahosts", "ExtraHosts" },     { "securityopt", "SecurityOpt" },
};

static json_t *host_config(const BuildWork *work, const json_t *step, const WorkMounts *mounts)
{
        const char *network = json_get_string_or(step, "Network", "default"),
                   *given = json_get_string(work->options, "networkmode");
        json_t *host = json_pack("{s{ss s{}} sO}", "LogConfig", "Type", "none", "Config", "Mounts", mounts->list);

        if (!str_equal(network, "default") || !str_empty(given))
                json_set_string(host, "NetworkMode", str_equal(network, "default") ? given : network);
        for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
                json_t *value = json_object_get(work->options, limits[i].option);
                if (value)
                        json_object_set(host, limits[i].key, value);
        }
        return host;
}

static json_t *container_body(const BuildWork *work, const json_t *step, const WorkState *state,
                              const WorkMounts *mounts)
{
        const json_t *config = json_get_object(step, "Config");
        json_t *env = json_copy(json_get_array(step, "Env"));

        if (!env || json_array_extend(env, mounts->env) < 0) {
                json_decref(env);
                return NULL;
        }
        return json_pack("{ss sO so s[s] ss ss s{s[s]} so}", "Image", state->id, "Cmd", json_get_array(step, "Argv"),
                         "Env", env, "Entrypoint", "", "WorkingDir", json_get_string_or(config, "WorkingDir", ""),
                         "User", json_get_string_or(config, "User", ""), "Healthcheck", "Test", "NONE", "HostConfig",
                         host_config(work, step, mounts));
}

/* --- Running ------------------------------------------------------------------------------------------------------ */

typedef struct LayerJob {
        BuildWork *work;
        const json_t *step;
        const WorkState *state;
        const char *upper, *container;
        const json_t *targets;
        int staging_fd;
} LayerJob;

static int run_layer(void *userdata, int result_fd, json_t **ret, Error *error)
{
        LayerJob *job = userdata;
        CLEANUP_CLOSE int upper_fd = open(job->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        StoreInput input = { .fd = -EBADF, .staging_fd = job->staging_fd };
        StoreChild child = work_child(job->work, job->state, job->step, json_get_string(job->step, "CreatedBy"));
        int keep[] = { upper_fd, job->staging_fd, result_fd };

        if (upper_fd < 0)
                return -errno;
        child.upper_fd = upper_fd;
        if (job->work->epoch_ns == 0) /* else nothing of an image is there by chance */
                child.container_id = job->container;
        engine_worker_raise_files();
        int r = store_worker_confine(job->staging_fd, keep, ARRAY_SIZE(keep));
        if (r < 0)
                return r;
        build_remove_stubs(upper_fd, job->targets);
        r = build_clamp_times(upper_fd, job->work->epoch_ns);
        if (r < 0)
                return r;
        return store_child(&input, &child, ret, error);
}

static int make_layer(BuildWork *work, const json_t *step, const json_t *started, const json_t *ended,
                      const json_t *targets, const char *key, WorkState *state, Error *error)
{
        const char *container = json_get_string_or(started, "Container", ""),
                   *upper = json_get_string_or(ended, "Upper", "");
        CLEANUP_CLOSE int staging_fd = -EBADF;
        CLEANUP_FREE char *name = NULL;
        CLEANUP_JSON json_t *result = NULL;
        int r = work_stage_directory(work, &name, &staging_fd, error);

        if (r != 0)
                return r;
        LayerJob job = { work, step, state, upper, container, targets, staging_fd };
        r = work_in_child(work, run_layer, &job, &result, error);
        return r == 0 ? work_commit(work, name, result, key, step, state, error) : r;
}

static int refuse_exit(BuildWork *work, const json_t *step, int code, Error *error)
{
        CLEANUP_BUFFER Buffer command = { 0 };
        json_t *word;
        size_t i;

        json_array_foreach(json_get_array(step, "Argv"), i, word)
                if (buffer_printf(&command, "%s%s", i > 0 ? " " : "", json_string_value(word)) < 0)
                        return -ENOMEM;
        work->failed_code = code;
        return error_set(error, OUTCOME_FAILED, "The command '%s' returned a non-zero code: %d", command.data ?: "",
                         code);
}

static int remove_container(BuildWork *work, const char *id, bool failed)
{
        bool keep = json_is_false(json_object_get(work->options, "rm")) && !json_get_bool(work->options, "forcerm");
        CLEANUP_JSON json_t *reply = NULL;
        CLEANUP_ERROR Error error = { 0 };
        int r = work_ask(work, json_pack("{ss ss sb}", "Op", "remove", "Container", id, "Keep", keep), &reply, &error);

        if (r == 0 && !keep && !failed)
                work_say(work, " ---> Removed intermediate container %.12s\n", id);
        return r;
}

int work_run(BuildWork *work, const json_t *step, const char *key, WorkState *state, Error *error)
{
        CLEANUP(work_mounts_clear) WorkMounts mounts = { 0 };
        CLEANUP_JSON json_t *started = NULL, *ended = NULL;
        int r = 0;

        if (str_equal(json_get_string(step, "Security"), "insecure"))
                r = error_set(error, OUTCOME_BAD_REQUEST, "security.insecure is not allowed");
        if (r == 0)
                r = work_mounts(work, step, &mounts, error);
        if (r == 0)
                r = work_ask(work,
                             json_pack("{ss so}", "Op", "run", "Body", container_body(work, step, state, &mounts)),
                             &started, error);
        if (r != 0)
                return r;
        const char *id = json_get_string_or(started, "Container", "");
        work_say(work, " ---> Running in %.12s\n", id);
        r = work_wait(work, &ended, error);
        int code = (int) json_get_int(ended, "Exit", 0);
        if (r == 0 && code != 0)
                r = refuse_exit(work, step, code, error);
        if (r == 0)
                r = make_layer(work, step, started, ended, mounts.targets, key, state, error);
        int removed = remove_container(work, id, r != 0);
        return r != 0 ? r : removed;
}
