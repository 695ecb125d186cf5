/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The build cache: under build/cache, a record for each step that was done, named by a digest of all that its result
 * depends on. What it stands for is an image of the store; a record whose image is gone says nothing.
 *
 *   build/cache/HEX.json   {"Image","Parent","Type","Description","Size","Created":ns,"Used":ns,"Count"} */
#include <fcntl.h>
#include <stdint.h>

#include "berth/digest.h"
#include "berth/file.h"
#include "berth/json.h"
#include "engine-build.h"

char *engine_build_path(const Engine *engine, const char *name)
{
        return str_printf("%s/build/%s", engine->config->data_root, name);
}

int engine_build_open(const Engine *engine, const char *name)
{
        CLEANUP_FREE char *path = engine_build_path(engine, name);

        if (!path)
                return -ENOMEM;
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT) {
                int r = path_make_directories(path, 0700);
                if (r < 0)
                        return r;
                fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        return fd < 0 ? -errno : fd;
}

bool build_key_is_valid(const char *key)
{
        return key && strlen(key) == ID_LENGTH && id_is_prefix(key);
}

int build_cache_find(Engine *engine, const char *key, char **ret_image)
{
        CLEANUP_CLOSE int fd = engine_build_open(engine, "cache");
        CLEANUP_JSON json_t *record = NULL;
        char name[ID_LENGTH + sizeof(".json")];

        if (fd < 0 || !build_key_is_valid(key))
                return -ENOENT;
        snprintf(name, sizeof(name), "%s.json", key);
        if (json_read_at(fd, name, &record) < 0)
                return -ENOENT;
        if (!store_image_exists(engine->store, json_get_string_or(record, "Image", ""))) {
                unlinkat(fd, name, 0);
                return -ENOENT;
        }
        json_set_int(record, "Used", time_now_ns());
        json_set_int(record, "Count", json_get_int(record, "Count", 0) + 1);
        json_rewrite_at(fd, name, record);
        *ret_image = strdup(json_get_string(record, "Image"));
        return *ret_image ? 0 : -ENOMEM;
}

/* Not synced: a record that a power cut takes costs a step done again. */
int build_cache_add(Engine *engine, const json_t *cache, const char *image)
{
        CLEANUP_CLOSE int fd = engine_build_open(engine, "cache");
        CLEANUP_JSON json_t *record = json_deep_copy(cache);
        const char *key = json_get_string_or(cache, "Key", "");
        char name[ID_LENGTH + sizeof(".json")];
        int64_t now = time_now_ns();

        if (fd < 0 || !record || !build_key_is_valid(key))
                return fd < 0 ? fd : -EINVAL;
        snprintf(name, sizeof(name), "%s.json", key);
        json_object_del(record, "Key");
        json_set_string(record, "Image", image);
        json_set_int(record, "Created", now);
        json_set_int(record, "Used", now);
        json_set_int(record, "Count", 1);
        return json_write_volatile_at(fd, name, record, 0600);
}
