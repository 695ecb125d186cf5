/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container has changed of its image: its upper directory, read by a worker and held against the layers below.
 * Paths lead through no symbolic link, and the container may go on changing them. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "berth/buffer.h"
#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

/* As the API numbers them. */
typedef enum ChangeKind {
        CHANGE_MODIFIED,
        CHANGE_ADDED,
        CHANGE_DELETED,
} ChangeKind;

typedef struct Changes {
        char *upper, **layers; /* owned; the uppermost layer first */
        int *layer_fds;        /* in the worker */
        json_t *list;          /* borrowed; in the worker */
        EngineJsonDone done;
        void *userdata;
} Changes;

static void changes_free(Changes *changes)
{
        free(changes->upper);
        strv_free(changes->layers);
        free(changes);
}

static int stat_below(int root_fd, const char *path, struct stat *ret)
{
        struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
        CLEANUP_CLOSE int fd = (int) syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

        return fd < 0 || fstat(fd, ret) < 0 ? -errno : 0;
}

/* What the image has there, if anything. */
static bool find_below(const Changes *changes, const char *path, struct stat *ret)
{
        for (size_t i = 0; changes->layers[i]; i++)
                if (stat_below(changes->layer_fds[i], path + 1, ret) >= 0)
                        return !store_is_whiteout(ret);
        return false;
}

static bool same_directory(const struct stat *a, const struct stat *b)
{
        return S_ISDIR(a->st_mode) && S_ISDIR(b->st_mode) && a->st_mode == b->st_mode &&
               a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int add_change(const Changes *changes, size_t at, const char *path, ChangeKind kind)
{
        CLEANUP_JSON json_t *name = json_stringn_nocheck(path, strlen(path));

        return json_array_insert_new(changes->list, at, json_pack("{sO si}", "Path", name, "Kind", (int) kind)) < 0
                       ? -ENOMEM
                       : 0;
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static int read_names(int fd, char ***ret_names)
{
        CLEANUP_STRV char **names = NULL;
        CLEANUP_CLOSEDIR DIR *directory = fdopendir(dup(fd));
        struct dirent *entry;

        if (!directory)
                return -errno;
        while ((entry = readdir(directory))) {
                if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
                        continue;
                int r = strv_append(&names, entry->d_name);
                if (r < 0)
                        return r;
        }
        if (names)
                qsort(names, strv_length(names), sizeof(*names), compare_names);
        *ret_names = TAKE_PTR(names);
        return 0;
}

static int walk(const Changes *changes, int parent, const char *name, const char *path);

/* A directory is told of where it is itself another, or where anything in it is. */
static int visit(const Changes *changes, int parent, const char *name, const char *path)
{
        size_t before = json_array_size(changes->list);
        struct stat st, below;

        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (store_is_whiteout(&st))
                return add_change(changes, before, path, CHANGE_DELETED);
        bool existed = find_below(changes, path, &below);
        if (!existed && store_is_placeholder(parent, name, path + 1))
                return 0;
        int r = S_ISDIR(st.st_mode) ? walk(changes, parent, name, path) : 0;
        if (r < 0 || (existed && same_directory(&st, &below) && json_array_size(changes->list) == before))
                return r;
        return add_change(changes, before, path, existed ? CHANGE_MODIFIED : CHANGE_ADDED);
}

static int walk(const Changes *changes, int parent, const char *name, const char *path)
{
        CLEANUP_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        CLEANUP_STRV char **names = NULL;

        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        int r = read_names(fd, &names);
        for (size_t i = 0; r >= 0 && names && names[i]; i++) {
                CLEANUP_FREE char *child = str_printf("%s/%s", path, names[i]);
                r = child ? visit(changes, fd, names[i], child) : -ENOMEM;
        }
        return r;
}

static int run_changes(void *userdata, int result_fd)
{
        Changes *changes = userdata;
        CLEANUP_JSON json_t *list = json_array();
        CLEANUP_FREE int *fds = calloc(strv_length(changes->layers) + 1, sizeof(*fds));
        int r = fds && list ? 0 : -ENOMEM;

        engine_worker_raise_files();
        for (size_t i = 0; r >= 0 && changes->layers[i]; i++) {
                fds[i] = open(changes->layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
                r = fds[i] < 0 ? -errno : 0;
        }
        changes->layer_fds = fds;
        changes->list = list;
        if (r >= 0)
                r = walk(changes, AT_FDCWD, changes->upper, "");
        return engine_worker_answer(result_fd, r, list, NULL);
}

static void changes_done(int status, const char *text, size_t size, void *userdata)
{
        Changes *changes = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *list = NULL;
        int r = engine_worker_result(status, text, size, &list, &error);

        changes->done(r, list, &error, changes->userdata);
        changes_free(changes);
}

static int prepare(const Container *container, Changes *changes)
{
        Store *store = container->engine->store;
        const char *image = json_get_string(container->record, "Image");
        CLEANUP_STRV char **names = NULL;
        int r = image ? store_image_layers(store, image, &names) : 0;

        changes->upper = container_path(container, "upper");
        changes->layers = calloc(1, sizeof(char *));
        for (size_t i = 0; r >= 0 && names && names[i]; i++) {
                CLEANUP_FREE char *path = path_join(store_layer_root(store), names[i]);
                r = path ? strv_append(&changes->layers, path) : -ENOMEM;
        }
        return r < 0 ? r : changes->upper && changes->layers ? 0 : -ENOMEM;
}

void container_changes(Container *container, EngineJsonDone done, void *userdata)
{
        Changes *changes = calloc(1, sizeof(*changes));
        int r = changes ? prepare(container, changes) : -ENOMEM;

        if (r >= 0) {
                changes->done = done;
                changes->userdata = userdata;
                WorkerJob job = { .run = run_changes, .done = changes_done, .userdata = changes };
                r = engine_worker_start(container->engine, &job);
        }
        if (r >= 0)
                return;
        if (changes)
                changes_free(changes);
        done(r, NULL, &(Error) { 0 }, userdata);
}
