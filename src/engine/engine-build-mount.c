/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mounts of RUN: what HostConfig.Mounts of the step's container has for each.
 *
 * Files of the context are bound as they lie there, files of stages and images are mounts of type image; a copy of
 * either that may be written to lies in a staging directory. Secrets are files on the run-time directory's tmpfs, under
 * the build's name, which berthd removes with the build. Locks on cache mounts are this process's descriptors. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/base64.h"
#include "berth/digest.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "engine-build-work.h"

void work_mounts_clear(WorkMounts *mounts)
{
        json_decref(mounts->list);
        json_decref(mounts->env);
        json_decref(mounts->targets);
        for (size_t i = 0; i < mounts->n_locks; i++)
                fd_close(mounts->locks[i]);
        free(mounts->locks);
        *mounts = (WorkMounts) { 0 };
}

static int add(WorkMounts *mounts, json_t *mount)
{
        const char *target = json_get_string_or(mount, "Target", "/");

        if (mount && json_array_append_new(mounts->targets, json_string(target)) < 0) {
                json_decref(mount);
                return -ENOMEM;
        }
        return mount && json_array_append_new(mounts->list, mount) >= 0 ? 0 : -ENOMEM;
}

static int add_bind(WorkMounts *mounts, const char *source, const char *target, bool read_only)
{
        return add(mounts, json_pack("{ss ss ss sb}", "Type", "bind", "Source", source, "Target", target, "ReadOnly",
                                     read_only));
}

static int add_variable(WorkMounts *mounts, const char *name, const char *value)
{
        CLEANUP_FREE char *text = str_printf("%s=%s", name, value);

        return text && json_array_append_new(mounts->env, json_string(text)) >= 0 ? 0 : -ENOMEM;
}

/* --- bind --------------------------------------------------------------------------------------------------------- */

static int refuse_missing(const char *source, Error *error)
{
        return error_set(error, OUTCOME_BAD_REQUEST, "\"/%s\": not found", source + strspn(source, "/"));
}

/* Where PATH really is, inside the context. */
static int context_path(int root_fd, const char *path, char **ret, Error *error)
{
        CLEANUP_CLOSE int fd = mount_path_open(root_fd, *path ? path : ".", O_PATH);
        char link[64], real[4096];

        if (fd < 0)
                return fd == -ENOENT || fd == -ENOTDIR ? refuse_missing(path, error) : fd;
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, real, sizeof(real));
        if (n < 0 || n == sizeof(real))
                return n < 0 ? -errno : -ENAMETOOLONG;
        *ret = strndup(real, (size_t) n);
        return *ret ? 0 : -ENOMEM;
}

static int add_image(WorkMounts *mounts, const WorkState *state, const char *source, const char *target)
{
        source += strspn(source, "/");
        json_t *mount =
                json_pack("{ss ss ss sb}", "Type", "image", "Source", state->id, "Target", target, "ReadOnly", true);
        if (mount && *source && !str_equal(source, "."))
                json_object_set_new(mount, "ImageOptions", json_pack("{ss}", "Subpath", source));
        return add(mounts, mount);
}

static int mount_bind(BuildWork *work, const json_t *mount, WorkMounts *mounts, Error *error)
{
        const char *source = json_get_string_or(mount, "Source", ""), *target = json_get_string(mount, "Target");
        CLEANUP(work_state_clear) WorkState image = { 0 };
        CLEANUP_FREE char *real = NULL;
        const WorkState *state;
        int r = work_find_source(work, mount, &image, &state, error);

        if (r != 0)
                return r;
        bool writable = json_get_bool(mount, "ReadWrite") || json_is_false(json_object_get(mount, "ReadOnly"));
        bool directory = !state || state->directory;
        if (writable || (!directory && str_empty(state->id))) {
                r = work_copy_tree(work, state, source, &real, error);
                return r == 0 ? add_bind(mounts, real, target, !writable) : r;
        }
        if (!directory)
                return add_image(mounts, state, source, target);
        CLEANUP_CLOSE int named_fd = state ? open(state->directory, O_PATH | O_DIRECTORY | O_CLOEXEC) : -EBADF;
        r = context_path(state ? named_fd : work->context_fd, source, &real, error);
        return r == 0 ? add_bind(mounts, real, target, true) : r;
}

/* --- cache -------------------------------------------------------------------------------------------------------- */

/* A name for the mount's ID and what it begins with. */
static int cache_name(const json_t *mount, const WorkState *from, char ret[static 24])
{
        const char *target = json_get_string_or(mount, "Target", "/");
        CLEANUP_FREE char *text =
                str_printf("%s\n%s\n%s", json_get_string_or(mount, "Id", target), from ? from->id ?: "" : "",
                           from ? json_get_string_or(mount, "Source", "") : "");
        char digest[STORE_DIGEST_SIZE];
        int r = text ? store_digest_data(text, strlen(text), digest) : -ENOMEM;

        if (r == 0)
                snprintf(ret, 24, "%.20s", store_digest_hex(digest));
        return r;
}

/* Makes the directory aside, with its owner and mode, and gives it its name, unless another was first. */
static int cache_make(BuildWork *work, const json_t *mount, const WorkState *from, const char *path, Error *error)
{
        CLEANUP_FREE char *above = work_path(work, "build/mount"), *fresh = NULL, *tree = NULL;
        mode_t mode = (mode_t) json_get_int(mount, "Mode", 0755) & 07777;
        char id[ID_LENGTH + 1];
        int r = above ? path_make_directories(above, 0711) : -ENOMEM;

        if (r >= 0)
                r = id_generate(id);
        if (r >= 0)
                r = from ? work_copy_tree(work, from, json_get_string_or(mount, "Source", ""), &tree, error) : 0;
        if (r != 0)
                return r;
        fresh = str_printf("%s/" BUILD_MOUNT_NEW "%.20s", above, id);
        if (!fresh)
                return -ENOMEM;
        if ((tree ? rename(tree, fresh) : mkdir(fresh, 0700)) < 0)
                return -errno;
        if (chown(fresh, (uid_t) json_get_int(mount, "Uid", 0), (gid_t) json_get_int(mount, "Gid", 0)) < 0 ||
            chmod(fresh, mode) < 0)
                return -errno;
        if (renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
                return 0;
        r = errno == EEXIST ? 0 : -errno;
        path_remove_tree_at(AT_FDCWD, fresh);
        return r;
}

static bool is_same(int fd, const char *path)
{
        struct stat held, named;

        return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
               held.st_ino == named.st_ino;
}

/* Opens and locks it: 1 where others have it and WAIT is not set. One that was pruned meanwhile is made again. */
static int cache_lock(BuildWork *work, const json_t *mount, const WorkState *from, const char *path, int how,
                      int *ret_fd, Error *error)
{
        for (bool said = false;;) {
                CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                if (fd < 0 && errno != ENOENT)
                        return -errno;
                if (fd < 0) {
                        int r = cache_make(work, mount, from, path, error);
                        if (r != 0)
                                return r;
                        continue;
                }
                if (build_lock(fd, how | BUILD_LOCK_TRY) == 0) {
                        if (!is_same(fd, path))
                                continue;
                        *ret_fd = TAKE_FD(fd);
                        return 0;
                }
                if (how & BUILD_LOCK_TRY)
                        return OUTCOME_CONFLICT;
                if (!said)
                        work_say(work, " ---> Waiting for the cache mount of another build\n");
                said = true;
                work_pause(work, 50);
        }
}

static int keep_lock(WorkMounts *mounts, int fd)
{
        int *grown = reallocarray(mounts->locks, mounts->n_locks + 1, sizeof(int));

        if (!grown) {
                fd_close(fd);
                return -ENOMEM;
        }
        mounts->locks = grown;
        grown[mounts->n_locks++] = fd;
        return 0;
}

/* build/mount/HEX; those that are private and in use have another beside them, HEX.1 and so on. */
static int mount_cache(BuildWork *work, const json_t *mount, const char *command, WorkMounts *mounts, Error *error)
{
        const char *target = json_get_string_or(mount, "Target", "/"),
                   *sharing = json_get_string_or(mount, "Sharing", "shared");
        bool is_private = strcasecmp(sharing, "private") == 0, locked = strcasecmp(sharing, "locked") == 0;
        CLEANUP(work_state_clear) WorkState image = { 0 };
        CLEANUP_FREE char *path = NULL, *name = NULL;
        const WorkState *from = NULL;
        char hex[24];
        int fd = -EBADF, r = work_find_source(work, mount, &image, &from, error);

        if (r == 0)
                r = cache_name(mount, from, hex);
        for (unsigned n = 0; r == 0; n++) {
                free(path);
                free(name);
                name = n == 0 ? strdup(hex) : str_printf("%s.%u", hex, n);
                path = name ? work_path(work, "build/mount/%s", name) : NULL;
                if (!path)
                        return -ENOMEM;
                r = cache_lock(work, mount, from, path,
                               locked       ? BUILD_LOCK_ALONE
                               : is_private ? BUILD_LOCK_ALONE | BUILD_LOCK_TRY
                                            : BUILD_LOCK_SHARED,
                               &fd, error);
                if (r != OUTCOME_CONFLICT || !is_private)
                        break;
                r = 0;
        }
        if (r == 0)
                r = keep_lock(mounts, fd);
        if (r != 0)
                return r;
        CLEANUP_FREE char *description = str_printf("cached mount %s from exec %s", target, command);
        build_mount_note(work->build->engine, name, json_get_string_or(mount, "Id", target), description ?: "");
        json_object_set_new(work->caches, name, json_true());
        return add_bind(mounts, path, target, json_get_bool(mount, "ReadOnly"));
}

/* --- secret, ssh -------------------------------------------------------------------------------------------------- */

/* One that nobody gave is no mistake unless it is required. */
static int mount_missing(BuildWork *work, const json_t *mount, const char *what, const char *id, Error *error)
{
        if (json_get_bool(mount, "Required"))
                return error_set(error, OUTCOME_BAD_REQUEST, "%s %s: not found", what, id);
        work_say(work, "[Warning] %s %s was not given with this build; the step runs without it\n", what, id);
        return 0;
}

static int write_secret(BuildWork *work, const json_t *mount, const char *data, size_t size, char **ret_path)
{
        CLEANUP_FREE char *directory = engine_build_secrets(work->build->engine, work->build->context);
        int r = directory ? path_make_directories(directory, 0700) : -ENOMEM;

        if (r < 0)
                return r;
        CLEANUP_FREE char *path = str_printf("%s/%d-%u", directory, getpid(), work->n_secrets++);
        CLEANUP_CLOSE int fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
        if (fd < 0)
                return path ? -errno : -ENOMEM;
        r = fd_write_all(fd, data, size);
        if (r >= 0 && (fchown(fd, (uid_t) json_get_int(mount, "Uid", 0), (gid_t) json_get_int(mount, "Gid", 0)) < 0 ||
                       fchmod(fd, (mode_t) json_get_int(mount, "Mode", 0400) & 07777) < 0))
                r = -errno;
        if (r >= 0)
                *ret_path = TAKE_PTR(path);
        return MIN(r, 0);
}

static const char *base_name(const char *path)
{
        return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

static int mount_secret(BuildWork *work, const json_t *mount, WorkMounts *mounts, Error *error)
{
        const char *target = json_get_string(mount, "Target"), *env = json_get_string(mount, "Env");
        const char *id = json_get_string(mount, "Source") ?: json_get_string(mount, "Id");
        CLEANUP_FREE char *data = NULL, *path = NULL, *standard = NULL;
        size_t size = 0;
        int r = 0;

        id = !str_empty(id) ? id : base_name(target ?: "");
        if (!*id)
                return error_set(error, OUTCOME_BAD_REQUEST, "one of source, target required");
        const char *text = json_get_string(json_get_object(work->options, "secrets"), id);
        if (!text)
                return mount_missing(work, mount, "secret", id, error);
        if (base64_decode(text, &data, &size) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "secret %s cannot be decoded", id);
        standard = str_printf("/run/secrets/%s", base_name(id));
        if (!standard)
                return -ENOMEM;
        if (env)
                r = add_variable(mounts, env, data);
        if (r == 0 && (target || !env)) {
                r = write_secret(work, mount, data, size, &path);
                if (r == 0)
                        r = add_bind(mounts, path, target ?: standard, true);
        }
        explicit_bzero(data, size);
        return r;
}

/* The agent's socket on this machine. The first one is what SSH_AUTH_SOCK names. */
static int mount_agent(BuildWork *work, const json_t *mount, WorkMounts *mounts, Error *error)
{
        const char *id = json_get_string_or(mount, "Id", "default"), *target = json_get_string(mount, "Target");
        const char *socket = json_get_string(json_get_object(work->options, "ssh"), id);
        CLEANUP_FREE char *standard = str_printf("/run/buildkit/ssh_agent.%u", mounts->n_agents);
        struct stat st;
        int r;

        if (!standard)
                return -ENOMEM;
        if (!socket)
                return mount_missing(work, mount, "ssh", id, error);
        if (*socket != '/' || stat(socket, &st) < 0 || !S_ISSOCK(st.st_mode))
                return error_set(error, OUTCOME_BAD_REQUEST, "ssh %s: %s is no socket on this machine", id, socket);
        target = target ?: standard;
        r = mounts->n_agents++ == 0 ? add_variable(mounts, "SSH_AUTH_SOCK", target) : 0;
        return r == 0 ? add_bind(mounts, socket, target, false) : r;
}

/* --- All of them -------------------------------------------------------------------------------------------------- */

/* A here-document with an interpreter line is a program, mounted where the shell is told to find it. */
static int add_script(BuildWork *work, const json_t *step, WorkMounts *mounts)
{
        const char *script = json_get_string(step, "Script");
        CLEANUP_FREE char *path = work_path(work, "staging/%s/script-%d", work->build->context, getpid());

        if (!script)
                return 0;
        if (!path)
                return -ENOMEM;
        int r = file_replace_volatile_at(AT_FDCWD, path, script, strlen(script), 0755);
        return r < 0 ? r : add_bind(mounts, path, json_get_string_or(step, "ScriptPath", "/dev/pipes/script"), true);
}

static int add_tmpfs(const json_t *mount, WorkMounts *mounts)
{
        json_int_t size = (json_int_t) json_get_int(mount, "Size", 0);

        return add(mounts, json_pack("{ss ss s{sI}}", "Type", "tmpfs", "Target",
                                     json_get_string_or(mount, "Target", "/"), "TmpfsOptions", "SizeBytes", size));
}

static int add_mount(BuildWork *work, const json_t *step, const json_t *mount, WorkMounts *mounts, Error *error)
{
        const char *type = json_get_string_or(mount, "Type", "bind");

        if (str_equal(type, "cache"))
                return mount_cache(work, mount, json_get_string_or(step, "CreatedBy", ""), mounts, error);
        if (str_equal(type, "secret"))
                return mount_secret(work, mount, mounts, error);
        if (str_equal(type, "ssh"))
                return mount_agent(work, mount, mounts, error);
        if (str_equal(type, "tmpfs"))
                return add_tmpfs(mount, mounts);
        return mount_bind(work, mount, mounts, error);
}

int work_mounts(BuildWork *work, const json_t *step, WorkMounts *ret, Error *error)
{
        CLEANUP(work_mounts_clear)
        WorkMounts mounts = { .list = json_array(), .env = json_array(), .targets = json_array() };
        json_t *mount;
        size_t i;
        int r = mounts.list && mounts.env && mounts.targets ? add_script(work, step, &mounts) : -ENOMEM;

        json_array_foreach(json_get_array(step, "Mounts"), i, mount)
                r = r == 0 ? add_mount(work, step, mount, &mounts, error) : r;
        if (r != 0)
                return r;
        *ret = mounts;
        mounts = (WorkMounts) { 0 };
        return 0;
}
