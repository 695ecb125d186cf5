/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where cache mounts lie between builds. A record is written when its directory is used, and when the worker that used
 * it has ended its build, with the size; a directory without one is as good, and a record without a directory says
 * nothing. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-build.h"

#define SUFFIX ".json"

static int open_directory(const Engine *engine)
{
        CLEANUP_FREE char *path = engine_build_path(engine, "mount");
        int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

        return fd < 0 ? -errno : fd;
}

char *engine_build_secrets(const Engine *engine, const char *context)
{
        return str_printf("%s/build/%s", engine->config->exec_root, context);
}

int build_lock(int fd, int how)
{
        int operation = how & BUILD_LOCK_ALONE ? LOCK_EX : LOCK_SH;

        return flock(fd, operation | (how & BUILD_LOCK_TRY ? LOCK_NB : 0)) < 0 ? -errno : 0;
}

static int open_entry(int directory, const char *name)
{
        return openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool is_used(int directory, const char *name)
{
        CLEANUP_CLOSE int fd = open_entry(directory, name);

        return fd >= 0 && build_lock(fd, BUILD_LOCK_ALONE | BUILD_LOCK_TRY) < 0;
}

static void write_record(int directory, const char *name, const json_t *record)
{
        CLEANUP_FREE char *file = str_printf("%s" SUFFIX, name);

        if (file && record)
                json_write_volatile_at(directory, file, record, 0600);
}

static json_t *read_record(int directory, const char *name)
{
        CLEANUP_FREE char *file = str_printf("%s" SUFFIX, name);
        json_t *record = NULL;

        return file && json_read_at(directory, file, &record) == 0 ? record : NULL;
}

void build_mount_note(const Engine *engine, const char *name, const char *id, const char *description)
{
        CLEANUP_CLOSE int directory = open_directory(engine);
        CLEANUP_JSON json_t *record = directory < 0 ? NULL : read_record(directory, name);
        int64_t now = time_now_ns();

        if (directory < 0)
                return;
        if (!record)
                record = json_pack("{ss sI sI si}", "Id", id, "Created", (json_int_t) now, "Size", (json_int_t) 0,
                                   "Count", 0);
        json_set_string(record, "Description", description);
        json_set_int(record, "Used", now);
        json_set_int(record, "Count", json_get_int(record, "Count", 0) + 1);
        write_record(directory, name, record);
}

void build_mount_measure(const Engine *engine, const char *name)
{
        CLEANUP_CLOSE int directory = open_directory(engine);
        CLEANUP_JSON json_t *record = directory < 0 ? NULL : read_record(directory, name);

        if (!record)
                return;
        json_set_int(record, "Size", path_tree_size_at(directory, name));
        json_set_int(record, "Used", time_now_ns());
        write_record(directory, name, record);
}

void build_mount_list(const Engine *engine, json_t *list)
{
        CLEANUP_CLOSE int directory = open_directory(engine);
        int own = directory < 0 ? -1 : open_entry(directory, ".");
        CLEANUP_CLOSEDIR DIR *entries = own < 0 ? NULL : fdopendir(own);
        struct dirent *item;

        while (entries && (item = readdir(entries))) {
                CLEANUP_JSON json_t *record = NULL;

                if (item->d_type != DT_DIR || *item->d_name == '.' || str_after_prefix(item->d_name, BUILD_MOUNT_NEW))
                        continue;
                record = read_record(directory, item->d_name) ?: json_object();
                json_set_string(record, "ID", item->d_name);
                json_set_string(record, "Type", "exec.cachemount");
                json_set_bool(record, "InUse", is_used(directory, item->d_name));
                json_array_append(list, record);
        }
}

/* To a staging directory, which is discarded at once. */
int build_give_up(Engine *engine, int directory, const char *name)
{
        CLEANUP_FREE char *staging = NULL;
        CLEANUP_CLOSE int staging_fd = -EBADF;
        int r = store_staging_create(engine->store, &staging, &staging_fd);

        if (r < 0)
                return r;
        if (renameat(directory, name, staging_fd, "given-up") < 0)
                r = -errno;
        int discarded = store_staging_discard(engine->store, staging);
        return r < 0 ? r : discarded;
}

bool build_mount_remove(Engine *engine, const char *name)
{
        CLEANUP_FREE char *file = str_printf("%s" SUFFIX, name);
        CLEANUP_CLOSE int directory = open_directory(engine), fd = directory < 0 ? -1 : open_entry(directory, name);

        if (fd < 0 || !file || build_lock(fd, BUILD_LOCK_ALONE | BUILD_LOCK_TRY) < 0)
                return false;
        if (build_give_up(engine, directory, name) < 0)
                return false;
        unlinkat(directory, file, 0);
        return true;
}

void build_mount_leftovers(Engine *engine)
{
        CLEANUP_FREE char *secrets = engine_build_secrets(engine, "");
        CLEANUP_CLOSE int directory = open_directory(engine);
        int own = directory < 0 ? -1 : open_entry(directory, ".");
        CLEANUP_CLOSEDIR DIR *entries = own < 0 ? NULL : fdopendir(own);
        struct dirent *item;

        if (secrets)
                path_remove_tree_at(AT_FDCWD, secrets);
        while (entries && (item = readdir(entries)))
                if (str_after_prefix(item->d_name, BUILD_MOUNT_NEW))
                        (void) build_give_up(engine, directory, item->d_name);
}
