/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Contexts that stay when their build is over, so that a client sends only what changed since. The client keeps what it
 * sent, and names each state of its context, a generation, by a random number; what is kept here is one generation:
 *
 *   build/context/KEY/fs          its files
 *   build/context/KEY/keep.json   {"Generation","Boot","Description","Size","Created":ns,"Used":ns,"Count"}
 *   build/context/KEY/size.json   {"Size"} as it was measured later
 *
 * A build of the next generation takes the directory by renaming it into its staging directory, and gives it back when
 * it is over: nobody else sees it meanwhile, and what goes wrong on the way is discarded with the staging directory.
 * There is no keep.json while the files are no generation. Nothing is synced, so the boot is part of the name. */
#include <fcntl.h>
#include <sys/stat.h>
#include <systemd/sd-id128.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-build.h"

#define RECORD "keep.json"
#define SIZE_RECORD "size.json"
#define KEPT_MAX 8
/* Of what is smaller, all is sent each time. */
#define ENTRIES_MIN 500
#define SIZE_MIN (INT64_C(4) * 1024 * 1024)

const json_t *build_keep(const Build *build)
{
        const char *remote = json_get_string(build->options, "remote");

        return str_empty(remote) ? json_get_object(build->options, "keep") : NULL;
}

static int open_directory(const Engine *engine)
{
        return engine_build_open(engine, "context");
}

static json_t *read_record(int directory, const char *key, const char *name)
{
        CLEANUP_FREE char *path = path_join(key, name);
        json_t *record = NULL;

        return path && json_read_at(directory, path, &record) == 0 ? record : NULL;
}

static const char *this_boot(char text[static SD_ID128_STRING_MAX])
{
        sd_id128_t id;

        return sd_id128_get_boot(&id) < 0 ? "" : sd_id128_to_string(id, text);
}

int engine_build_kept(Engine *engine, const char *key, char **ret_generation)
{
        CLEANUP_CLOSE int directory = open_directory(engine);
        CLEANUP_JSON json_t *record =
                directory >= 0 && build_key_is_valid(key) ? read_record(directory, key, RECORD) : NULL;
        const char *generation = json_get_string(record, "Generation");
        char boot[SD_ID128_STRING_MAX];

        if (!generation || !str_equal(json_get_string(record, "Boot"), this_boot(boot)))
                return -ENOENT;
        *ret_generation = strdup(generation);
        return *ret_generation ? 0 : -ENOMEM;
}

int build_keep_take(Build *build, int staging_fd, Error *error)
{
        const json_t *keep = build_keep(build);
        const char *key = json_get_string(keep, "Key"), *base = json_get_string(keep, "Base");
        CLEANUP_FREE char *generation = NULL;

        if (!keep)
                return 0;
        if (!build_key_is_valid(key) || !build_key_is_valid(json_get_string(keep, "Next")))
                return error_set(error, OUTCOME_BAD_REQUEST, "error reading keep: no valid names");
        if (!base)
                return 0;
        CLEANUP_CLOSE int directory = open_directory(build->engine);
        if (engine_build_kept(build->engine, key, &generation) < 0 || !str_equal(generation, base) ||
            renameat(directory, key, staging_fd, BUILD_KEPT) < 0)
                return error_set(error, OUTCOME_CONFLICT, "the context is not kept as it was sent last");
        return 0;
}

/* --- In the worker ------------------------------------------------------------------------------------------------ */

int build_keep_begin(int staging_fd, json_t **ret_record)
{
        *ret_record = read_record(staging_fd, BUILD_KEPT, RECORD);
        if (!*ret_record)
                return -ENOENT;
        return unlinkat(staging_fd, BUILD_KEPT "/" RECORD, 0) < 0 ? -errno : 0;
}

bool build_keep_is_worth(const json_t *tree)
{
        return json_get_int(tree, "Entries", 0) >= ENTRIES_MIN || json_get_int(tree, "Size", 0) >= SIZE_MIN;
}

int build_keep_end(const Build *build, int staging_fd, const json_t *before, int64_t size)
{
        const json_t *keep = build_keep(build);
        int64_t now = time_now_ns();
        char boot[SD_ID128_STRING_MAX];
        CLEANUP_JSON json_t *record =
                json_pack("{sO ss ss sI sI sI sI}", "Generation", json_object_get(keep, "Next"), "Boot",
                          this_boot(boot), "Description", json_get_string_or(keep, "Description", ""), "Size",
                          (json_int_t) size, "Created", (json_int_t) json_get_int(before, "Created", now), "Used",
                          (json_int_t) now, "Count", (json_int_t) json_get_int(before, "Count", 0) + 1);

        return record ? json_write_volatile_at(staging_fd, BUILD_KEPT "/" RECORD, record, 0600) : -ENOMEM;
}

void build_keep_measure(int kept_fd)
{
        CLEANUP_JSON json_t *record = json_pack("{sI}", "Size", (json_int_t) path_tree_size_at(kept_fd, "fs"));

        if (record)
                json_write_volatile_at(kept_fd, SIZE_RECORD, record, 0600);
}

/* --- Between builds ----------------------------------------------------------------------------------------------- */

void build_keep_list(const Engine *engine, json_t *list)
{
        CLEANUP_CLOSE int directory = open_directory(engine);
        int own = directory < 0 ? -1 : openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CLEANUP_CLOSEDIR DIR *entries = own < 0 ? NULL : fdopendir(own);
        struct dirent *item;

        while (entries && (item = readdir(entries))) {
                if (!build_key_is_valid(item->d_name))
                        continue;
                CLEANUP_JSON json_t *record = read_record(directory, item->d_name, RECORD) ?: json_object();
                CLEANUP_JSON json_t *measured = read_record(directory, item->d_name, SIZE_RECORD);

                if (measured)
                        json_set_int(record, "Size", json_get_int(measured, "Size", 0));
                json_set_string(record, "ID", item->d_name);
                json_set_string(record, "Type", BUILD_KEEP_TYPE);
                json_array_append(list, record);
        }
}

bool build_keep_remove(Engine *engine, const char *key)
{
        CLEANUP_CLOSE int directory = open_directory(engine);

        return directory >= 0 && build_key_is_valid(key) && build_give_up(engine, directory, key) >= 0;
}

/* The one that was used the longest ago goes where there are many. */
static void make_room(Engine *engine, const char *key)
{
        CLEANUP_JSON json_t *list = json_array();
        json_t *record, *oldest = NULL;
        size_t i, n = 0;

        build_keep_list(engine, list);
        json_array_foreach(list, i, record) {
                if (str_equal(json_get_string(record, "ID"), key))
                        continue;
                n++;
                if (!oldest || json_get_int(record, "Used", 0) < json_get_int(oldest, "Used", 0))
                        oldest = record;
        }
        if (n >= KEPT_MAX)
                build_keep_remove(engine, json_get_string(oldest, "ID"));
}

/* Another build of the same context may have been faster; what it gave back goes with the staging directory. */
void build_keep_give_back(Build *build)
{
        const json_t *keep = build_keep(build);
        CLEANUP_FREE char *path =
                keep ? str_printf("%s/staging/%s", build->engine->config->data_root, build->context) : NULL;
        CLEANUP_CLOSE int staging_fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
        CLEANUP_CLOSE int directory = staging_fd < 0 ? -EBADF : open_directory(build->engine);
        const char *key = json_get_string(keep, "Key");

        if (build->given_back || directory < 0 || faccessat(staging_fd, BUILD_KEPT "/" RECORD, F_OK, 0) < 0)
                return;
        build->given_back = true;
        make_room(build->engine, key);
        if (renameat2(staging_fd, BUILD_KEPT, directory, key, RENAME_EXCHANGE) < 0)
                (void) renameat(staging_fd, BUILD_KEPT, directory, key);
}
