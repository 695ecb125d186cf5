/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RUN: a container of the state's image executes the command, and its upper directory becomes a layer. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
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

static json_t *host_config(const BuildWork *work, const json_t *step, json_t *mounts)
{
        const char *network = json_get_string_or(step, "Network", "default"),
                   *given = json_get_string(work->options, "networkmode");
        json_t *host = json_pack("{s{ss s{}} sO}", "LogConfig", "Type", "none", "Config", "Mounts", mounts);

        if (!str_equal(network, "default") || !str_empty(given))
                json_set_string(host, "NetworkMode", str_equal(network, "default") ? given : network);
        for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
                json_t *value = json_object_get(work->options, limits[i].option);
                if (value)
                        json_object_set(host, limits[i].key, value);
        }
        return host;
}

static json_t *container_body(const BuildWork *work, const json_t *step, const WorkState *state, json_t *mounts)
{
        const json_t *config = json_get_object(step, "Config");

        return json_pack("{ss sO sO s[s] ss ss s{s[s]} so}", "Image", state->id, "Cmd", json_get_array(step, "Argv"),
                         "Env", json_get_array(step, "Env"), "Entrypoint", "", "WorkingDir",
                         json_get_string_or(config, "WorkingDir", ""), "User", json_get_string_or(config, "User", ""),
                         "Healthcheck", "Test", "NONE", "HostConfig", host_config(work, step, mounts));
}

/* --- Mounts ------------------------------------------------------------------------------------------------------- */

static int add_bind(json_t *mounts, const char *source, const char *target, bool read_only)
{
        json_t *mount =
                json_pack("{ss ss ss sb}", "Type", "bind", "Source", source, "Target", target, "ReadOnly", read_only);

        return mount && json_array_append_new(mounts, mount) >= 0 ? 0 : -ENOMEM;
}

/* A file or directory of the context. Its path has to be a real one: nothing in it may be a link. */
static int mount_context(BuildWork *work, const json_t *mount, json_t *mounts, Error *error)
{
        const char *source = json_get_string_or(mount, "Source", ""), *target = json_get_string(mount, "Target");
        CLEANUP_FREE char *root = work_path(work, "staging/%s/layer-0/fs", work->build->context);
        CLEANUP_FREE char *joined = root ? str_printf("%s/%s", root, source) : NULL;
        CLEANUP_FREE char *real = joined ? realpath(joined, NULL) : NULL;

        if (json_object_get(mount, "FromStage") || json_object_get(mount, "From"))
                return error_set(error, OUTCOME_NOT_IMPLEMENTED,
                                 "mounts of type bind from a stage or an image are not supported by this version of "
                                 "berth");
        if (json_get_bool(mount, "ReadWrite"))
                return error_set(error, OUTCOME_NOT_IMPLEMENTED,
                                 "mounts of type bind that can be written to are not supported by this version of "
                                 "berth");
        size_t length = strlen(root ?: "");
        if (!real || strncmp(real, root, length) != 0 || (real[length] && real[length] != '/'))
                return error_set(error, OUTCOME_BAD_REQUEST, "\"/%s\": not found", source);
        return add_bind(mounts, real, target, true);
}

static void hash_name(const char *text, char ret[static 17])
{
        uint64_t hash = UINT64_C(1469598103934665603);

        for (const char *p = text; *p; p++)
                hash = (hash ^ (unsigned char) *p) * UINT64_C(1099511628211);
        snprintf(ret, 17, "%016llx", (unsigned long long) hash);
}

/* build/mount/HEX, by the mount's ID: shared by all builds and kept. */
static int mount_cache(BuildWork *work, const json_t *mount, json_t *mounts)
{
        const char *target = json_get_string_or(mount, "Target", "/"), *id = json_get_string_or(mount, "Id", target);
        char name[17];

        hash_name(id, name);
        CLEANUP_FREE char *above = work_path(work, "build/mount"), *path = work_path(work, "build/mount/%s", name);
        int r = above && path ? path_make_directories(above, 0711) : -ENOMEM;
        if (r < 0)
                return r;
        if (mkdir(path, 0755) == 0) {
                mode_t mode = (mode_t) json_get_int(mount, "Mode", 0755);
                if (chown(path, (uid_t) json_get_int(mount, "Uid", 0), (gid_t) json_get_int(mount, "Gid", 0)) < 0 ||
                    chmod(path, mode & 07777) < 0)
                        return -errno;
        } else if (errno != EEXIST)
                return -errno;
        return add_bind(mounts, path, target, json_get_bool(mount, "ReadOnly"));
}

/* One that nobody gave is no mistake unless it is required. */
static int mount_missing(const json_t *mount, const char *what, Error *error)
{
        if (!json_get_bool(mount, "Required"))
                return 0;
        return error_set(error, OUTCOME_BAD_REQUEST, "%s %s: not found", what,
                         json_get_string_or(mount, "Id", json_get_string_or(mount, "Source", "default")));
}

static int add_mount(BuildWork *work, const json_t *mount, json_t *mounts, Error *error)
{
        const char *type = json_get_string_or(mount, "Type", "bind");

        if (str_equal(type, "cache"))
                return mount_cache(work, mount, mounts);
        if (str_equal(type, "secret") || str_equal(type, "ssh"))
                return mount_missing(mount, type, error);
        if (str_equal(type, "bind"))
                return mount_context(work, mount, mounts, error);
        json_t *tmpfs = json_pack("{ss ss s{sI}}", "Type", "tmpfs", "Target", json_get_string_or(mount, "Target", "/"),
                                  "TmpfsOptions", "SizeBytes", (json_int_t) json_get_int(mount, "Size", 0));
        return tmpfs && json_array_append_new(mounts, tmpfs) >= 0 ? 0 : -ENOMEM;
}

/* A here-document with an interpreter line is a program, mounted where the shell is told to find it. */
static int add_script(BuildWork *work, const json_t *step, json_t *mounts)
{
        const char *script = json_get_string(step, "Script");
        CLEANUP_FREE char *path = work_path(work, "staging/%s/script", work->build->context);

        if (!script)
                return 0;
        if (!path)
                return -ENOMEM;
        int r = file_replace_volatile_at(AT_FDCWD, path, script, strlen(script), 0755);
        return r < 0 ? r : add_bind(mounts, path, json_get_string_or(step, "ScriptPath", "/dev/pipes/script"), true);
}

/* --- Running ------------------------------------------------------------------------------------------------------ */

typedef struct LayerJob {
        BuildWork *work;
        const json_t *step;
        const WorkState *state;
        const char *upper, *container;
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
        child.container_id = job->container;
        engine_worker_raise_files();
        int r = store_worker_confine(job->staging_fd, keep, ARRAY_SIZE(keep));
        return r < 0 ? r : store_child(&input, &child, ret, error);
}

static int make_layer(BuildWork *work, const json_t *step, const char *container, const char *upper, const char *key,
                      WorkState *state, Error *error)
{
        CLEANUP_CLOSE int staging_fd = -EBADF;
        CLEANUP_FREE char *name = NULL;
        CLEANUP_JSON json_t *result = NULL;
        int r = work_stage_directory(work, &name, &staging_fd, error);

        if (r != 0)
                return r;
        LayerJob job = { work, step, state, upper, container, staging_fd };
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
        CLEANUP_JSON json_t *mounts = json_array(), *started = NULL, *ended = NULL;
        json_t *mount;
        size_t i;
        int r = mounts ? add_script(work, step, mounts) : -ENOMEM;

        if (r == 0 && str_equal(json_get_string(step, "Security"), "insecure"))
                r = error_set(error, OUTCOME_BAD_REQUEST, "security.insecure is not allowed");
        json_array_foreach(json_get_array(step, "Mounts"), i, mount)
                r = r == 0 ? add_mount(work, mount, mounts, error) : r;
        if (r == 0)
                r = work_ask(work, json_pack("{ss so}", "Op", "run", "Body", container_body(work, step, state, mounts)),
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
                r = make_layer(work, step, id, json_get_string_or(ended, "Upper", ""), key, state, error);
        int removed = remove_container(work, id, r != 0);
        return r != 0 ? r : removed;
}
