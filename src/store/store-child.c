/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container's changes to an image: its upper directory is packed and unpacked again as any layer is, in one pass, so
 * that what is stored is what a reader of the tar would have. The configuration is the parent's with one more step. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "berth/json.h"
#include "berth/store.h"
#include "berth/string.h"
#include "store-pack.h"
#include "store-platform.h"
#include "store-stage.h"

/* Of the tar that holds nothing, for which there is no layer. */
#define EMPTY_DIFF_ID "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

static int stage_upper(const StoreInput *input, const StoreChild *child, json_t **ret_layer, Error *error)
{
        StorePackOptions options = {
                .root_fd = child->upper_fd, .upper = true, .bare = child->bare, .clone_fd = input->staging_fd
        };
        StorePack *pack CLEANUP_PACK = NULL;
        int r;

        r = store_pack_new(&options, &pack);
        return r < 0 ? r : store_stage_pack(pack, input, "layer-0", ret_layer, error);
}

static json_t *history_entry(const StoreChild *child, const char *created, bool empty)
{
        json_t *entry = child->entry ? json_deep_copy(child->entry) : json_pack("{s:s}", "created", created);

        if (child->entry || !entry)
                return entry;
        if (!str_empty(child->author))
                (void) json_set_string(entry, "author", child->author);
        if (!str_empty(child->created_by))
                (void) json_set_string(entry, "created_by", child->created_by);
        if (!str_empty(child->comment))
                (void) json_set_string(entry, "comment", child->comment);
        if (empty)
                (void) json_set_bool(entry, "empty_layer", true);
        return entry;
}

static json_t *array_of(const json_t *object, const char *key)
{
        json_t *array = json_get_array(object, key);

        return array ? json_deep_copy(array) : json_array();
}

/* What a child has of its parent, or of this machine. */
static int child_platform(json_t *config, const StoreChild *child, Error *error)
{
        static const char *const keys[] = { "architecture", "os", "variant", "os.version" };
        StorePlatform platform;
        json_t *features = json_get_array(child->parent, "os.features");
        int r;

        r = store_platform_parse(NULL, &platform, error);
        if (r != 0)
                return r;
        (void) json_set_string(config, "architecture", platform.architecture);
        (void) json_set_string(config, "os", platform.os);
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (json_get_string(child->parent, keys[i]))
                        (void) json_set_string(config, keys[i], json_get_string(child->parent, keys[i]));
        if (features)
                (void) json_object_set(config, "os.features", features);
        return 0;
}

static int child_config(const StoreChild *child, const char *diff_id, json_t **ret_config, Error *error)
{
        json_t *diff_ids = array_of(json_get_object(child->parent, "rootfs"), "diff_ids");
        json_t *history = array_of(child->parent, "history"), *config CLEANUP_JSON = NULL;
        char created[TIME_RFC3339_SIZE];
        int r;

        time_format_rfc3339(child->created_ns ? child->created_ns : time_now_ns(), created);
        if (json_get_string(child->entry, "created"))
                snprintf(created, sizeof(created), "%s", json_get_string(child->entry, "created"));
        if (diff_id && diff_ids)
                (void) json_array_append_new(diff_ids, json_string(diff_id));
        if (history)
                (void) json_array_append_new(history, history_entry(child, created, !diff_id));
        config = json_pack("{s:s, s:s, s:O, s:o, s:{s:s, s:o}}", "created", created, "docker_version", BERTH_VERSION,
                           "config", child->config, "history", history, "rootfs", "type", "layers", "diff_ids",
                           diff_ids);
        if (!config)
                return -ENOMEM;
        if (child->container_id)
                (void) json_set_string(config, "container", child->container_id);
        if (child->container_config)
                (void) json_object_set(config, "container_config", (json_t *) child->container_config);
        if (!str_empty(child->author))
                (void) json_set_string(config, "author", child->author);
        r = child_platform(config, child, error);
        if (r == 0)
                *ret_config = TAKE_PTR(config);
        return r;
}

/* Members in the order of their names, as dockerd writes them. */
static char *child_text(const json_t *config)
{
        static const char *const keys[] = {
                "architecture", "author", "config",      "container",  "container_config", "created", "docker_version",
                "history",      "os",     "os.features", "os.version", "rootfs",           "variant"
        };
        json_t *sorted CLEANUP_JSON = json_object();

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (json_object_get(config, keys[i]))
                        (void) json_object_set(sorted, keys[i], json_object_get(config, keys[i]));
        return json_dumps(sorted, JSON_COMPACT);
}

static int child_result(const StoreInput *input, const StoreChild *child, json_t *layer, json_t **ret_result,
                        Error *error)
{
        const char *diff_id = json_get_string(layer, "DiffID");
        json_t *config CLEANUP_JSON = NULL, *image CLEANUP_JSON = NULL, *blob;
        char *text CLEANUP_FREE = NULL;
        bool empty = !layer || str_equal(diff_id, EMPTY_DIFF_ID);
        int r;

        r = child_config(child, empty ? NULL : diff_id, &config, error);
        if (r != 0)
                return r;
        text = child_text(config);
        if (!text)
                return -ENOMEM;
        r = store_stage_blob(input->staging_fd, "config-0", text, strlen(text), &blob);
        if (r < 0)
                return r;
        image = json_pack("{s:o, s:[]}", "Config", blob, "References");
        if (!image)
                return -ENOMEM;
        if (child->reference) {
                (void) json_array_append_new(json_get_array(image, "References"), json_string(child->reference));
                (void) json_set_int(image, "Time", time_now_ns());
        }
        if (child->parent_id)
                (void) json_set_string(image, "Parent", child->parent_id);
        *ret_result = empty ? json_pack("{s:[], s:[O]}", "Layers", "Images", image)
                            : json_pack("{s:[O], s:[O]}", "Layers", layer, "Images", image);
        return *ret_result ? 0 : -ENOMEM;
}

int store_child(const StoreInput *input, const StoreChild *child, json_t **ret_result, Error *error)
{
        json_t *layer CLEANUP_JSON = NULL, *result CLEANUP_JSON = NULL;
        int r;

        r = child->upper_fd >= 0 ? stage_upper(input, child, &layer, error) : 0;
        if (r == 0)
                r = child_result(input, child, layer, &result, error);
        if (r == 0)
                r = layer ? store_stage_sync(input->staging_fd) : store_stage_sync_blob(input->staging_fd, "config-0");
        if (r == 0)
                *ret_result = TAKE_PTR(result);
        return r;
}

static int write_tar(const StorePackOptions *options, int (*write)(void *userdata, const void *data, size_t size),
                     void *userdata)
{
        StorePack *pack CLEANUP_PACK = NULL;
        int r;

        r = store_pack_new(options, &pack);
        while (r >= 0) {
                const uint8_t *data;
                ssize_t n = store_stream_take(store_pack_stream(pack), SIZE_MAX, &data);

                if (n <= 0)
                        return (int) n;
                r = write(userdata, data, (size_t) n);
        }
        return r;
}

int store_export(int root_fd, int (*write)(void *userdata, const void *data, size_t size), void *userdata)
{
        StorePackOptions options = { .root_fd = root_fd, .clone_fd = -EBADF };

        return write_tar(&options, write, userdata);
}

int store_export_name(int parent_fd, const char *name, const char *as,
                      int (*write)(void *userdata, const void *data, size_t size), void *userdata)
{
        StorePackOptions options = { .root_fd = parent_fd, .clone_fd = -EBADF, .only = name, .as = as };

        return write_tar(&options, write, userdata);
}
