/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker cp: what is at a path in a container, as an archive, and archives unpacked there. Workers do it, and answer
 * the client themselves.
 *
 * A running container is reached through its first process's root, so that all it has mounted is seen. Of one that does
 * not run, the worker mounts the overlay, and on it the volumes and binds, where only it sees them. One overlay must
 * not be mounted twice: such workers take turns by a lock on the upper directory, and a start waits until none of them
 * has its shared lock on the directory above. Locks go with the processes. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "berth/build.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "engine-private.h"

/* What is read of a body that was refused, so that the client gets to read why. */
#define DRAIN_MAX (INT64_C(256) << 20)

typedef enum ArchiveVerb {
        ARCHIVE_STAT,
        ARCHIVE_GET,
        ARCHIVE_PUT,
} ArchiveVerb;

/* Shared by the worker (its copy after the fork) and the engine. */
typedef struct Archive {
        Engine *engine;
        ArchiveVerb verb;
        ContainerArchive request; /* its strings are owned */
        char *id;
        Stream stream;
        int root_fd; /* of a running container */
        int hold_fd; /* of one that does not run: no start meanwhile */
        char *upper, *work, **lower;
        json_t *points; /* what it mounts */
        char *user;     /* the container's, where what arrives is to be its own; else NULL */
        bool read_only;
        EngineJsonDone done; /* of a stat */
        void *userdata;
} Archive;

static void archive_free(Archive *archive)
{
        stream_clear(&archive->stream);
        free((char *) archive->request.name);
        free((char *) archive->request.path);
        free(archive->id);
        fd_close(archive->root_fd);
        fd_close(archive->hold_fd);
        free(archive->upper);
        free(archive->work);
        free(archive->user);
        strv_free(archive->lower);
        json_decref(archive->points);
        free(archive);
}

DEFINE_CLEANUP(cleanup_archive_ptr, Archive *, archive_free)

/* --- The tree ----------------------------------------------------------------------------------------------------- */

void container_tree_wait(const char *upper)
{
        CLEANUP_FREE char *above = str_printf("%s/..", upper);
        CLEANUP_CLOSE int fd = above ? open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;

        if (fd >= 0)
                while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
                        ;
}

/* Before the overlay hides where it is mounted: sources may lie there. What is gone is left out. */
static void open_points(const Archive *archive, MountEntry *entries)
{
        json_t *point;
        size_t i;

        json_array_foreach(archive->points, i, point) {
                entries[i] = (MountEntry) {
                        .source = json_get_string_or(point, "Source", ""),
                        .destination = json_get_string_or(point, "Destination", ""),
                        .type = "bind",
                        .bind = true,
                        .recursive = true,
                        .set = json_get_bool(point, "RW") ? 0 : MOUNT_ATTR_RDONLY,
                        .tree_fd = -EBADF,
                };
                if (*entries[i].source != '/' || mount_entry_open(&entries[i], NULL) < 0)
                        entries[i].destination = NULL;
        }
}

static int mount_tree(const Archive *archive)
{
        const char *target = archive->engine->config->exec_root;
        size_t n = json_array_size(archive->points);
        CLEANUP_FREE MountEntry *entries = calloc(n + 1, sizeof(*entries));
        MountOverlay overlay = { .layer_root = store_layer_root(archive->engine->store),
                                 .lower = archive->lower,
                                 .upper = archive->upper,
                                 .work = archive->work,
                                 .target = target };
        int turn = open(archive->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* kept until the end of the process */

        if (!entries || turn < 0)
                return entries ? -errno : -ENOMEM;
        while (flock(turn, LOCK_EX) < 0)
                if (errno != EINTR)
                        return -errno;
        int r = mount_namespace_enter(0);
        if (r >= 0) {
                open_points(archive, entries);
                r = mount_overlay(&overlay, NULL);
        }
        int fd = r < 0 ? r : open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (size_t i = 0; fd >= 0 && i < n; i++)
                if (entries[i].destination)
                        (void) mount_entry_apply(&entries[i], fd, NULL);
        for (size_t i = 0; i < n; i++)
                mount_entry_clear(&entries[i]);
        return r >= 0 && fd < 0 ? -errno : fd;
}

static int tree_open(const Archive *archive)
{
        engine_worker_raise_files();
        return archive->root_fd >= 0 ? fcntl(archive->root_fd, F_DUPFD_CLOEXEC, 3) : mount_tree(archive);
}

/* --- In the worker ------------------------------------------------------------------------------------------------ */

static int path_error(const Archive *archive, int r, Error *error)
{
        const char *path = archive->request.path;

        if (r >= 0)
                return r;
        if (r == -ENOENT)
                return error_set(error, OUTCOME_NOT_FOUND, "Could not find the file %s in container %s", path,
                                 archive->request.name);
        (void) mount_error(error, -r, "lstat %s", path);
        return OUTCOME_FAILED;
}

static int run_stat(void *userdata, int result_fd)
{
        Archive *archive = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_FREE char *path = path_in_root(archive->request.path), *text = NULL;
        CLEANUP_CLOSE int root = tree_open(archive);
        mode_t mode;
        int r = root < 0 ? root : path ? path_describe(root, path, &text, &mode) : -ENOMEM;

        r = path_error(archive, r, &error);
        CLEANUP_JSON json_t *result = r == 0 ? json_pack("{ss}", "Stat", text) : NULL;
        return engine_worker_answer(result_fd, r, result, &error);
}

static int write_to_stream(void *userdata, const void *data, size_t size)
{
        return stream_write(userdata, data, size);
}

/* Puts a line before the end of the answer's head, which is not sent yet. */
static int add_header(Stream *stream, const char *name, const char *value)
{
        if (stream->head.size < 2)
                return -EINVAL;
        stream->head.size -= 2;
        return buffer_printf(&stream->head, "%s: %s\r\n\r\n", name, value);
}

static int send_tree(Archive *archive, int root, const char *path, mode_t mode)
{
        CLEANUP_FREE char *base = path_last(path), *above = NULL;
        const char *name = ".";

        if (S_ISDIR(mode))
                above = strdup(path);
        else {
                above = strndup(path, (size_t) (strrchr(path, '/') - path) + 1);
                name = base;
        }
        if (!base || !above)
                return -ENOMEM;
        CLEANUP_CLOSE int fd = mount_path_open(root, above, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return fd;
        return store_export_name(fd, name, str_equal(base, "/") ? "" : base, write_to_stream, &archive->stream);
}

static int run_get(void *userdata, int result_fd)
{
        Archive *archive = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_FREE char *path = path_in_root(archive->request.path), *text = NULL;
        CLEANUP_CLOSE int root = tree_open(archive);
        mode_t mode = 0;
        int r = root < 0 ? root : path ? path_describe(root, path, &text, &mode) : -ENOMEM;
        (void) result_fd;

        r = path_error(archive, r, &error);
        if (r == 0)
                r = add_header(&archive->stream, ARCHIVE_STAT_HEADER, text);
        if (r != 0) {
                archive->request.refuse(&archive->stream, r, &error);
                return -EIO;
        }
        r = send_tree(archive, root, path, mode);
        return r < 0 ? r : stream_end(&archive->stream);
}

/* A volume's own word holds for what is in it, the container's for the rest. */
static int writable_refusal(const Archive *archive, const char *resolved, Error *error)
{
        json_t *point;
        size_t i;

        json_array_foreach(archive->points, i, point) {
                if (!mount_path_is_below(resolved, json_get_string_or(point, "Destination", "/")))
                        continue;
                if (!json_get_bool(point, "RW"))
                        return error_set(error, OUTCOME_BAD_REQUEST, "mounted volume is marked read-only");
                return 0;
        }
        return archive->read_only ? error_set(error, OUTCOME_BAD_REQUEST, "container rootfs is marked read-only") : 0;
}

/* A number alone stands for no group of its own. */
static int find_owner(const Archive *archive, int root, StoreExtract *extract, Error *error)
{
        int64_t number;
        bool alone = str_to_int64(archive->user, 0, UINT32_MAX - 1, &number) >= 0;
        CLEANUP_FREE char *owner = str_printf("%s%s", archive->user, alone ? ":0" : "");

        extract->set_owner = true;
        return owner ? build_parse_owner(root, owner, &extract->uid, &extract->gid, error) : -ENOMEM;
}

static ssize_t read_from_stream(void *userdata, void *data, size_t size)
{
        return stream_read(userdata, data, size);
}

static int take_archive(Archive *archive, Error *error)
{
        CLEANUP_FREE char *path = path_in_root(archive->request.path), *resolved = NULL;
        CLEANUP_CLOSE int root = tree_open(archive), fd = -EBADF;
        struct stat st;

        if (root < 0 || !path)
                return root < 0 ? root : -ENOMEM;
        fd = mount_path_open(root, path, O_PATH);
        if (fd == -ENOTDIR || (fd >= 0 && fstat(fd, &st) >= 0 && !S_ISDIR(st.st_mode)))
                return error_set(error, OUTCOME_BAD_REQUEST, "extraction point is not a directory");
        if (fd < 0)
                return path_error(archive, fd, error);
        resolved = path_resolve(root, path);
        int r = resolved ? writable_refusal(archive, resolved, error) : -ENOMEM;
        StoreExtract extract = {
                .root_fd = root,
                .path = resolved,
                .read = read_from_stream,
                .userdata = &archive->stream,
                .keep_kinds = archive->request.keep_kinds,
        };
        if (r == 0 && archive->user)
                r = find_owner(archive, root, &extract, error);
        return r == 0 ? store_extract(&extract, error) : r;
}

static int run_put(void *userdata, int result_fd)
{
        Archive *archive = userdata;
        CLEANUP_ERROR Error error = { 0 };
        int r = take_archive(archive, &error);
        char rest[16384];
        ssize_t n;
        (void) result_fd;

        for (int64_t left = DRAIN_MAX; left > 0; left -= n)
                if ((n = stream_read(&archive->stream, rest, sizeof(rest))) <= 0)
                        break;
        if (r == 0)
                return stream_end(&archive->stream);
        archive->request.refuse(&archive->stream, r, &error);
        return -EIO;
}

/* --- In the engine ------------------------------------------------------------------------------------------------ */

static void archive_done(int status, const char *text, size_t size, void *userdata)
{
        static const char *const events[] = { [ARCHIVE_GET] = "archive-path", [ARCHIVE_PUT] = "extract-to-dir" };
        CLEANUP(cleanup_archive_ptr) Archive *archive = userdata;
        Engine *engine = archive->engine;
        Container *container = engine_container_by_id(engine, archive->id);
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *result = NULL;

        engine->n_readers--;
        engine_sweep(engine);
        if (archive->verb == ARCHIVE_STAT) {
                int r = engine_worker_result(status, text, size, &result, &error);
                archive->done(r, result, &error, archive->userdata);
        } else if (status == 0 && container && container->record)
                container_event_emit(container, events[archive->verb], NULL);
}

/* Opened first, checked then: what was opened is the container's if it still runs. */
static int open_root(const Container *container)
{
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/root", (int) container->pid);
        CLEANUP_CLOSE int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        CLEANUP_CLOSE int process = process_open(container->pid, container->start_time);
        return process < 0 ? process : TAKE_FD(fd);
}

static int hold_tree(Archive *archive, const Container *container)
{
        const char *image = json_get_string_or(container->record, "Image", "");
        CLEANUP_FREE char *path = container_path(container, NULL);

        archive->upper = container_path(container, "upper");
        archive->work = container_path(container, "work");
        if (!path || !archive->upper || !archive->work)
                return -ENOMEM;
        archive->hold_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (archive->hold_fd < 0 || flock(archive->hold_fd, LOCK_SH | LOCK_NB) < 0)
                return -errno;
        return store_image_layers(container->engine->store, image, &archive->lower);
}

static int prepare(Archive *archive, Container *container, Error *error)
{
        if (container->removing)
                return error_set(error, OUTCOME_CONFLICT, "container %s is marked for removal and cannot be read",
                                 container->id);
        if (container->start)
                return error_set(error, OUTCOME_CONFLICT, "container %s is being started", container->id);
        archive->id = strdup(container->id);
        archive->request.name = strdup(archive->request.name);
        archive->request.path = strdup(archive->request.path);
        archive->points = json_incref(json_object_get(container->record, "MountPoints"));
        archive->read_only = json_get_bool(container_host_config(container), "ReadonlyRootfs");
        const char *user = json_get_string(container_config(container), "User");
        bool own = archive->request.own && !str_empty(user);
        archive->user = own ? strdup(user) : NULL;
        if (!archive->id || !archive->request.name || !archive->request.path || (own && !archive->user))
                return -ENOMEM;
        if (!container_is_running(container))
                return hold_tree(archive, container);
        archive->root_fd = open_root(container);
        return MIN(archive->root_fd, 0);
}

static int begin(Archive *archive, Container *container, Error *error)
{
        static int (*const runs[])(void *userdata, int result_fd) = {
                [ARCHIVE_STAT] = run_stat, [ARCHIVE_GET] = run_get, [ARCHIVE_PUT] = run_put
        };
        int r = prepare(archive, container, error);

        if (r != 0)
                return r;
        int keep[] = { archive->stream.fd, archive->root_fd, archive->hold_fd };
        WorkerJob job = { .run = runs[archive->verb],
                          .done = archive_done,
                          .userdata = archive,
                          .keep_fds = keep,
                          .n_keep_fds = ARRAY_SIZE(keep) };
        r = engine_worker_start(archive->engine, &job);
        if (r < 0)
                return r;
        /* The worker's copies alone count: its end releases them. */
        archive->hold_fd = fd_close(archive->hold_fd);
        archive->root_fd = fd_close(archive->root_fd);
        archive->engine->n_readers++;
        return 0;
}

static Archive *archive_new(Container *container, const ContainerArchive *request, ArchiveVerb verb)
{
        Archive *archive = calloc(1, sizeof(*archive));

        if (archive)
                *archive = (Archive) { .engine = container->engine,
                                       .verb = verb,
                                       .request = *request,
                                       .stream = STREAM_INIT,
                                       .root_fd = -EBADF,
                                       .hold_fd = -EBADF };
        return archive;
}

/* What failed before its strings were its own. */
static void abandon(Archive *archive)
{
        if (!archive->id)
                archive->request = (ContainerArchive) {};
        archive_free(archive);
}

void container_archive_stat(Container *container, const ContainerArchive *request, EngineJsonDone done, void *userdata)
{
        Archive *archive = archive_new(container, request, ARCHIVE_STAT);
        CLEANUP_ERROR Error error = { 0 };
        int r = -ENOMEM;

        if (archive) {
                archive->done = done;
                archive->userdata = userdata;
                r = begin(archive, container, &error);
        }
        if (r == 0)
                return;
        if (archive)
                abandon(archive);
        done(r, NULL, &error, userdata);
}

static void begin_stream(Container *container, const ContainerArchive *request, ArchiveVerb verb, Stream *stream)
{
        Archive *archive = archive_new(container, request, verb);
        CLEANUP_ERROR Error error = { 0 };
        int r = -ENOMEM;

        if (archive) {
                stream_move(&archive->stream, stream);
                r = begin(archive, container, &error);
                if (r != 0)
                        request->refuse(&archive->stream, r, &error);
        }
        if (r != 0 && archive)
                abandon(archive);
}

void container_archive_get(Container *container, const ContainerArchive *request, Stream *stream)
{
        begin_stream(container, request, ARCHIVE_GET, stream);
}

void container_archive_put(Container *container, const ContainerArchive *request, Stream *stream)
{
        begin_stream(container, request, ARCHIVE_PUT, stream);
}
