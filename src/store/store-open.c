/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening and closing, and what becomes of leftovers. A directory in staging whose name does not say that it is trash
 * belongs to a job of the process that opened the store; at the time of opening there is none, so what is found was cut
 * off: the job may have been committing or removing, and what no record names is collected. So the directory is on disk
 * before the job changes anything, and goes when all that it did is. Trash is moved aside at once and removed by a
 * worker at leisure. */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/string.h"
#include "store-private.h"

static int open_directory(int dirfd, const char *path, int *ret_fd)
{
        int fd;

        if (mkdirat(dirfd, path, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

/* Jobs have nothing to do with each other: ext4 is to give each its own part of the disk, and not to look for room amid
 * what was removed a moment ago. Only a hint, which other file systems refuse. */
static void spread_jobs(int staging_fd)
{
        int flags;

        if (ioctl(staging_fd, FS_IOC_GETFLAGS, &flags) < 0 || (flags & FS_TOPDIR_FL))
                return;
        flags |= FS_TOPDIR_FL;
        (void) ioctl(staging_fd, FS_IOC_SETFLAGS, &flags);
}

int store_staging_name(const char *prefix, char **ret_name)
{
        char id[ID_LENGTH + 1];
        int r = id_generate(id);

        if (r < 0)
                return r;
        *ret_name = str_printf("%s%.16s", prefix, id);
        return *ret_name ? 0 : -ENOMEM;
}

int store_staging_make(const Store *store, const char *prefix, char **ret_name)
{
        char *name CLEANUP_FREE = NULL;
        int r = store_staging_name(prefix, &name);

        if (r < 0)
                return r;
        if (mkdirat(store->staging_fd, name, 0700) < 0)
                return -errno;
        *ret_name = TAKE_PTR(name);
        return 0;
}

int store_trash(const Store *store, int dirfd, const char *name)
{
        char *trash CLEANUP_FREE = NULL;
        int r = store_staging_name(STORE_TRASH_PREFIX, &trash);

        if (r < 0)
                return r;
        return renameat(dirfd, name, store->staging_fd, trash) < 0 ? -errno : 0;
}

/* Calls FUNC for each name in the directory. */
static int for_each_name(int dirfd, int (*func)(Store *store, const char *name), Store *store)
{
        int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        DIR *dir CLEANUP_CLOSEDIR = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *entry;

        if (!dir) {
                r = -errno;
                fd_close(fd);
                return r;
        }
        while (r >= 0 && (entry = readdir(dir)))
                if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
                        r = func(store, entry->d_name);
        return r;
}

static int is_interrupted(Store *store, const char *name)
{
        (void) store;
        return str_after_prefix(name, STORE_TRASH_PREFIX) ? 0 : -EEXIST;
}

static int trash_leftover(Store *store, const char *name)
{
        return str_after_prefix(name, STORE_TRASH_PREFIX) ? 0 : store_trash(store, store->staging_fd, name);
}

/* Staged copies of references.json that were not renamed in time. */
static int drop_staged_file(Store *store, const char *name)
{
        if (*name == '.')
                (void) unlinkat(store->image_fd, name, 0);
        return 0;
}

static int recover(Store *store)
{
        bool interrupted = for_each_name(store->staging_fd, is_interrupted, NULL) == -EEXIST;
        int r;

        r = for_each_name(store->image_fd, drop_staged_file, store);
        if (r >= 0)
                r = store_removals_recover(store);
        if (r < 0 || !interrupted)
                return r;
        /* Collecting first: were it cut off, too, the leftovers would still tell. */
        r = store_collect(store);
        return r < 0 ? r : for_each_name(store->staging_fd, trash_leftover, store);
}

int store_open(const char *root, Store **ret_store)
{
        Store *store = calloc(1, sizeof(*store));
        int blobs_fd CLEANUP_CLOSE = -EBADF;
        int r;

        if (!store)
                return -ENOMEM;
        store->root_fd = store->image_fd = store->record_fd = store->blob_fd = store->layer_fd = store->staging_fd =
                store->removal_fd = -EBADF;
        store->root = strdup(root);
        store->layer_root = path_join(root, "layer");
        r = store->root && store->layer_root ? path_make_directories(root, 0700) : -ENOMEM;
        if (r >= 0)
                r = open_directory(AT_FDCWD, root, &store->root_fd);
        if (r >= 0)
                r = open_directory(store->root_fd, "image", &store->image_fd);
        if (r >= 0)
                r = open_directory(store->image_fd, "record", &store->record_fd);
        if (r >= 0)
                r = open_directory(store->image_fd, "blobs", &blobs_fd);
        if (r >= 0)
                r = open_directory(blobs_fd, "sha256", &store->blob_fd);
        if (r >= 0)
                r = open_directory(store->root_fd, "layer", &store->layer_fd);
        if (r >= 0)
                r = open_directory(store->root_fd, "staging", &store->staging_fd);
        if (r >= 0) {
                spread_jobs(store->staging_fd);
                r = recover(store);
        }
        if (r < 0) {
                store_free(store);
                return r;
        }
        *ret_store = store;
        return 0;
}

void store_free(Store *store)
{
        if (!store)
                return;
        (void) store_settle(store); /* or the next start does */
        store_counts_drop(store);
        for (size_t i = 0; i < store->n_images; i++)
                json_decref(store->images[i].record);
        free(store->images);
        json_decref(store->references);
        json_decref(store->by_image);
        json_decref(store->removed);
        fd_close(store->removal_fd);
        fd_close(store->staging_fd);
        fd_close(store->layer_fd);
        fd_close(store->blob_fd);
        fd_close(store->record_fd);
        fd_close(store->image_fd);
        fd_close(store->root_fd);
        free(store->layer_root);
        free(store->root);
        free(store);
}

const char *store_layer_root(const Store *store)
{
        return store->layer_root;
}

int store_staging_create(Store *store, char **ret_name, int *ret_fd)
{
        char *name CLEANUP_FREE = NULL;
        int fd, r;

        /* The job may look for layers, and is to find none that are about to go. */
        r = store_settle(store);
        if (r >= 0)
                r = store_staging_make(store, STORE_JOB_PREFIX, &name);
        if (r < 0 || !name)
                return r;
        fd = openat(store->staging_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_name = TAKE_PTR(name);
        *ret_fd = fd;
        return 0;
}

int store_staging_discard(Store *store, const char *name)
{
        if (strchr(name, '/') || *name == '.')
                return -EINVAL;
        /* An empty directory, as after a commit that took all, is no work. */
        if (unlinkat(store->staging_fd, name, AT_REMOVEDIR) >= 0)
                return 0;
        return errno == ENOENT ? 0 : store_trash(store, store->staging_fd, name);
}

int store_trash_paths(const Store *store, char ***ret_paths)
{
        char **paths CLEANUP_STRV = NULL, *root CLEANUP_FREE = path_join(store->root, "staging");
        DIR *dir CLEANUP_CLOSEDIR = root ? opendir(root) : NULL;
        struct dirent *entry;

        if (!root)
                return -ENOMEM;
        if (!dir)
                return -errno;
        while ((entry = readdir(dir))) {
                char *path CLEANUP_FREE = path_join(root, entry->d_name);
                bool trash = str_after_prefix(entry->d_name, STORE_TRASH_PREFIX);

                if (!path || (trash && strv_append(&paths, path) < 0))
                        return -ENOMEM;
        }
        *ret_paths = TAKE_PTR(paths);
        return 0;
}

static int collect_layers(Store *store, const json_t *used)
{
        json_t *names CLEANUP_JSON = json_object(), *value;
        int fd = openat(store->layer_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir CLEANUP_CLOSEDIR = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *entry;
        const char *diff_id;
        int r = 0;

        if (!dir) {
                fd_close(fd);
                return -errno;
        }
        json_object_foreach((json_t *) used, diff_id, value) {
                char name[STORE_LAYER_ID_LENGTH + 1];

                store_layer_name(diff_id, name);
                if (json_object_set(names, name, value) < 0)
                        return -ENOMEM;
        }
        while (r >= 0 && (entry = readdir(dir)))
                if (*entry->d_name != '.' && !json_object_get(names, entry->d_name))
                        r = store_trash(store, store->layer_fd, entry->d_name);
        return r;
}

static int collect_blobs(Store *store, const json_t *used)
{
        int fd = openat(store->blob_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir CLEANUP_CLOSEDIR = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *entry;

        if (!dir) {
                fd_close(fd);
                return -errno;
        }
        while ((entry = readdir(dir))) {
                char digest[STORE_DIGEST_SIZE];

                if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
                        continue;
                snprintf(digest, sizeof(digest), "%s%.64s", STORE_DIGEST_PREFIX, entry->d_name);
                if (!json_object_get(used, digest) && unlinkat(store->blob_fd, entry->d_name, 0) < 0)
                        return -errno;
        }
        return 0;
}

int store_collect(Store *store)
{
        json_t *layers CLEANUP_JSON = NULL, *blobs CLEANUP_JSON = NULL;
        int r;

        r = store_index_used(store, NULL, "Layers", &layers);
        if (r >= 0)
                r = store_index_used(store, NULL, "Blobs", &blobs);
        if (r >= 0)
                r = collect_layers(store, layers);
        if (r >= 0)
                r = collect_blobs(store, blobs);
        if (r >= 0 && (fsync(store->layer_fd) < 0 || fsync(store->blob_fd) < 0))
                r = -errno;
        return r;
}
