/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One image in full: the API's ImageInspect, and its history. */
#include <string.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"
#include "store-tree.h"

static int load(Store *store, const char *image_id, json_t **ret_record, json_t **ret_config)
{
        StoreImage *image;
        int r;

        r = store_metadata_load(store);
        if (r < 0)
                return r;
        image = store_index_find(store, image_id);
        if (!image)
                return -ENOENT;
        r = store_index_record(store, image, ret_record);
        return r < 0 ? r : store_image_config(store, image_id, ret_config);
}

static int split_references(Store *store, const char *image_id, json_t *tags, json_t *digests)
{
        json_t *item;
        size_t i;

        json_array_foreach(store_references_of(store, image_id), i, item) {
                const char *normal = json_string_value(item);
                char *familiar CLEANUP_FREE = store_familiar(normal);

                if (!familiar || json_array_append_new(strchr(normal, '@') ? digests : tags, json_string(familiar)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* The layers' directories in the words of Docker's overlay2 driver. */
static int graph_driver(Store *store, const char *image_id, json_t **ret)
{
        char **layers CLEANUP_STRV = NULL;
        Buffer lower CLEANUP_BUFFER = {};
        json_t *data CLEANUP_JSON = json_object();
        int r;

        r = store_image_layers(store, image_id, &layers);
        if (r < 0)
                return r;
        for (size_t i = 1; layers[0] && layers[i]; i++) {
                r = buffer_printf(&lower, "%s%s/%s", i > 1 ? ":" : "", store_layer_root(store), layers[i]);
                if (r < 0)
                        return r;
        }
        if (lower.size > 0 && json_set_string(data, "LowerDir", lower.data) < 0)
                return -ENOMEM;
        if (layers[0]) {
                char *upper CLEANUP_FREE = path_join(store_layer_root(store), layers[0]);

                if (!upper || json_set_string(data, "UpperDir", upper) < 0)
                        return -ENOMEM;
        }
        *ret = json_pack("{s:O, s:s}", "Data", data, "Name", "overlay2");
        return *ret ? 0 : -ENOMEM;
}

static json_t *root_fs(const json_t *record)
{
        json_t *layers = json_get_array(record, "Layers");

        return json_pack("{s:s, s:O*}", "Type", "layers", "Layers", json_array_size(layers) > 0 ? layers : NULL);
}

static const char *comment_of(const json_t *config)
{
        json_t *history = json_get_array(config, "history");
        const char *comment = json_get_string(config, "comment");

        if (str_empty(comment) && json_array_size(history) > 0)
                comment = json_get_string(json_array_get(history, json_array_size(history) - 1), "comment");
        return comment ?: "";
}

/* Members that are only there where the image says something. */
static int add_optional(json_t *inspect, const json_t *config, const json_t *record)
{
        static const struct {
                const char *name, *member;
        } optional[] = { { "Created", "created" },
                         { "Variant", "variant" },
                         { "OsVersion", "os.version" },
                         { "Container", "container" } };
        int64_t tagged = json_get_int(record, "LastTagTime", 0);
        char text[TIME_RFC3339_SIZE];
        json_t *metadata = json_object();

        for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
                if (!str_empty(json_get_string(config, optional[i].member)) &&
                    json_set_string(inspect, optional[i].name, json_get_string(config, optional[i].member)) < 0)
                        return -ENOMEM;
        if (json_is_object(json_object_get(config, "container_config")) &&
            json_object_set(inspect, "ContainerConfig", json_object_get(config, "container_config")) < 0)
                return -ENOMEM;
        if (!metadata || json_object_set_new(inspect, "Metadata", metadata) < 0)
                return -ENOMEM;
        return json_set_string(metadata, "LastTagTime",
                               tagged > 0 ? time_format_rfc3339(tagged, text) : "0001-01-01T00:00:00Z");
}

int store_image_inspect(Store *store, const char *image_id, json_t **ret_inspect)
{
        json_t *record, *config CLEANUP_JSON = NULL, *inspect CLEANUP_JSON = NULL, *driver CLEANUP_JSON = NULL;
        json_t *tags CLEANUP_JSON = json_array(), *digests CLEANUP_JSON = json_array(), *root CLEANUP_JSON = NULL;
        int r;

        if (!tags || !digests)
                return -ENOMEM;
        r = load(store, image_id, &record, &config);
        if (r >= 0)
                r = split_references(store, image_id, tags, digests);
        if (r >= 0)
                r = graph_driver(store, image_id, &driver);
        if (r < 0)
                return r;
        root = root_fs(record);
        inspect = json_pack(
                "{s:s, s:O, s:O, s:s, s:s, s:s, s:s, s:O?, s:s, s:s, s:I, s:O, s:O}", "Id", image_id, "RepoTags", tags,
                "RepoDigests", digests, "Parent", json_get_string_or(record, "Parent", ""), "Comment",
                comment_of(config), "DockerVersion", json_get_string_or(config, "docker_version", ""), "Author",
                json_get_string_or(config, "author", ""), "Config", json_get_object(config, "config"), "Architecture",
                json_get_string_or(config, "architecture", ""), "Os", json_get_string_or(config, "os", "linux"), "Size",
                (json_int_t) json_get_int(record, "Size", 0), "GraphDriver", driver, "RootFS", root);
        if (!inspect)
                return -ENOMEM;
        r = add_optional(inspect, config, record);
        if (r < 0)
                return r;
        *ret_inspect = TAKE_PTR(inspect);
        return 0;
}

static int add_step(json_t *steps, const json_t *history, int64_t size)
{
        const char *created_text = json_get_string(history, "created");
        int64_t created = 0;
        json_t *step;

        if (created_text)
                (void) time_parse_rfc3339(created_text, &created);
        step = json_pack("{s:s, s:I, s:s, s:n, s:I, s:s}", "Id", "<missing>", "Created",
                         (json_int_t) (created / 1000000000), "CreatedBy",
                         json_get_string_or(history, "created_by", ""), "Tags", "Size", (json_int_t) size, "Comment",
                         json_get_string_or(history, "comment", ""));
        return step && json_array_insert_new(steps, 0, step) >= 0 ? 0 : -ENOMEM;
}

/* Names the steps that are images of their own: the image, and the parents it was built from here. */
static int name_steps(Store *store, json_t *steps, const char *image_id)
{
        char id[STORE_DIGEST_SIZE];
        json_t *step, *item;
        size_t i, at;

        snprintf(id, sizeof(id), "%s", image_id);
        json_array_foreach(steps, i, step) {
                StoreImage *image = store_index_find(store, id);
                json_t *record, *tags CLEANUP_JSON = NULL;
                int r;

                if (!image || image->removed)
                        break;
                r = store_index_record(store, image, &record);
                if (r < 0)
                        return r;
                if (json_set_string(step, "Id", id) < 0)
                        return -ENOMEM;
                json_array_foreach(store_references_of(store, id), at, item) {
                        char *familiar CLEANUP_FREE = store_familiar(json_string_value(item));

                        if (strchr(json_string_value(item), '@'))
                                continue;
                        if (!tags)
                                tags = json_array();
                        if (!familiar || json_array_append_new(tags, json_string(familiar)) < 0)
                                return -ENOMEM;
                }
                if (tags && json_object_set(step, "Tags", tags) < 0)
                        return -ENOMEM;
                snprintf(id, sizeof(id), "%s", json_get_string_or(record, "Parent", ""));
        }
        return 0;
}

int store_image_history(Store *store, const char *image_id, json_t **ret_history)
{
        json_t *record, *config CLEANUP_JSON = NULL, *steps CLEANUP_JSON = json_array(), *item, *sizes;
        size_t i, used = 0;
        int r;

        if (!steps)
                return -ENOMEM;
        r = load(store, image_id, &record, &config);
        if (r < 0)
                return r;
        sizes = json_get_array(record, "Sizes");
        json_array_foreach(json_get_array(config, "history"), i, item) {
                int64_t size = 0;

                if (!json_get_bool(item, "empty_layer"))
                        size = json_integer_value(json_array_get(sizes, used++));
                r = add_step(steps, item, size);
                if (r < 0)
                        return r;
        }
        r = name_steps(store, steps, image_id);
        if (r < 0)
                return r;
        *ret_history = TAKE_PTR(steps);
        return 0;
}
