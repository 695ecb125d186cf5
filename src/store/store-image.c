/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding images by what people call them, and reading what an image is made of. */
#include <fcntl.h>
#include <string.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"
#include "store-stage.h"
#include "store-tree.h"

/* The one image whose ID begins so; NULL where there is none, or more than one. */
static const StoreImage *find_prefix(Store *store, const char *name)
{
        const char *hex = str_after_prefix(name, STORE_DIGEST_PREFIX) ?: name;
        size_t low = 0, high = store->n_images, size = strlen(hex);

        if (!id_is_prefix(hex))
                return NULL;
        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(store_digest_hex(store->images[middle].id), hex) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        const StoreImage *found = NULL;
        for (; low < store->n_images && strncmp(store_digest_hex(store->images[low].id), hex, size) == 0; low++) {
                if (store->images[low].removed)
                        continue;
                if (found)
                        return NULL;
                found = &store->images[low];
        }
        return found;
}

/* A digest rules where there is one: the tag beside it is mere decoration. */
static const char *find_reference(Store *store, StoreReference *reference)
{
        char *key CLEANUP_FREE = NULL, *tag = NULL;

        if (reference->digest)
                tag = TAKE_PTR(reference->tag);
        key = store_reference_normal(reference);
        if (tag)
                reference->tag = tag;
        return key ? json_get_string(store->references, key) : NULL;
}

bool store_image_exists(Store *store, const char *image_id)
{
        const StoreImage *image = store_index_load(store) >= 0 ? store_index_find(store, image_id) : NULL;

        return image && !image->removed;
}

static int resolve_id(Store *store, const char *hex, char **ret_id, Error *error)
{
        char id[STORE_DIGEST_SIZE];
        char *copy;

        snprintf(id, sizeof(id), "%s%.64s", STORE_DIGEST_PREFIX, hex);
        if (!store_image_exists(store, id))
                return error_set(error, OUTCOME_NOT_FOUND, STORE_NO_IMAGE, id);
        copy = strdup(id);
        if (!copy)
                return -ENOMEM;
        *ret_id = copy;
        return 0;
}

int store_resolve(Store *store, const char *name, char **ret_id, Error *error)
{
        StoreReference reference CLEANUP_REFERENCE = {};
        const char *hex = str_after_prefix(name, STORE_DIGEST_PREFIX) ?: name, *id;
        char *familiar CLEANUP_FREE = NULL, *copy;
        int r;

        r = store_metadata_load(store);
        if (r < 0)
                return r;
        if (strlen(hex) == ID_LENGTH && id_is_prefix(hex))
                return resolve_id(store, hex, ret_id, error);
        r = store_reference_parse(name, &reference, error);
        if (r == 0)
                r = store_reference_default_tag(&reference);
        if (r != 0)
                return r;
        id = find_reference(store, &reference);
        if (!id) {
                const StoreImage *image = find_prefix(store, name);

                id = image ? image->id : NULL;
        }
        if (!id) {
                familiar = store_reference_familiar(&reference);
                return error_set(error, OUTCOME_NOT_FOUND, STORE_NO_IMAGE, familiar ?: name);
        }
        copy = strdup(id);
        if (!copy)
                return -ENOMEM;
        *ret_id = copy;
        return 0;
}

int store_image_config(Store *store, const char *image_id, json_t **ret_config)
{
        char *data CLEANUP_FREE = NULL;
        json_t *config;
        size_t size;
        int r;

        if (!store_digest_is_valid(image_id))
                return -ENOENT;
        r = file_read_at(store->blob_fd, store_digest_hex(image_id), STORE_BLOB_SIZE_MAX, &data, &size);
        if (r < 0)
                return r;
        config = json_loadb(data, size, 0, NULL);
        if (!json_is_object(config)) {
                json_decref(config);
                return -EBADMSG;
        }
        *ret_config = config;
        return 0;
}

int store_image_config_text(Store *store, const char *image_id, char **ret_text)
{
        return store_digest_is_valid(image_id)
                       ? file_read_at(store->blob_fd, store_digest_hex(image_id), STORE_BLOB_SIZE_MAX, ret_text, NULL)
                       : -ENOENT;
}

static int image_record(Store *store, const char *image_id, json_t **ret_record)
{
        StoreImage *image;
        int r;

        r = store_index_load(store);
        if (r < 0)
                return r;
        image = store_index_find(store, image_id);
        return image ? store_index_record(store, image, ret_record) : -ENOENT;
}

int store_image_layers(Store *store, const char *image_id, char ***ret_layers)
{
        char **layers CLEANUP_STRV = calloc(1, sizeof(*layers));
        json_t *record, *items;
        int r;

        if (!layers)
                return -ENOMEM;
        r = image_record(store, image_id, &record);
        if (r < 0)
                return r;
        items = json_get_array(record, "Layers");
        for (size_t i = json_array_size(items); i-- > 0;) {
                const char *diff_id = json_string_value(json_array_get(items, i));
                char name[STORE_LAYER_ID_LENGTH + 1], path[STORE_LAYER_ID_LENGTH + 8];

                if (!store_digest_is_valid(diff_id))
                        return -EBADMSG;
                store_layer_name(diff_id, name);
                snprintf(path, sizeof(path), "%s/%s", name, STORE_TREE_FS);
                if (strv_contains(layers, path))
                        continue;
                r = strv_append(&layers, path);
                if (r < 0)
                        return r;
        }
        *ret_layers = TAKE_PTR(layers);
        return 0;
}

int store_image_references(Store *store, const char *image_id, char ***ret_references)
{
        char **references;
        int r;

        r = store_references_load(store);
        if (r < 0)
                return r;
        references = json_to_strv(store_references_of(store, image_id));
        if (!references)
                return -ENOMEM;
        *ret_references = references;
        return 0;
}

int store_layers_size(Store *store, int64_t *ret_size)
{
        json_t *used CLEANUP_JSON = NULL, *size;
        const char *diff_id;
        int64_t total = 0;
        int r;

        r = store_index_used(store, NULL, "Layers", &used);
        if (r < 0)
                return r;
        json_object_foreach(used, diff_id, size)
                total += json_integer_value(size);
        *ret_size = total;
        return 0;
}

int store_layer_open(const char *layer_root, const char *diff_id)
{
        char name[STORE_LAYER_ID_LENGTH + 1];
        char *path CLEANUP_FREE = NULL;
        json_t *record CLEANUP_JSON = NULL;
        int fd, r;

        if (!store_digest_is_valid(diff_id))
                return -EINVAL;
        store_layer_name(diff_id, name);
        path = path_join(layer_root, name);
        if (!path)
                return -ENOMEM;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        r = json_read_at(fd, STORE_LAYER_RECORD, &record);
        if (r >= 0 && !str_equal(json_get_string(record, "DiffID"), diff_id))
                r = -EBADMSG;
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        return fd;
}

int store_layer_tar_size(const char *layer_root, const char *diff_id, int64_t *ret_size)
{
        int fd CLEANUP_CLOSE = store_layer_open(layer_root, diff_id);
        json_t *record CLEANUP_JSON = NULL;
        int r = fd < 0 ? fd : json_read_at(fd, STORE_LAYER_RECORD, &record);

        if (r < 0)
                return r;
        *ret_size = json_get_int(record, "TarSize", 0);
        return 0;
}

int store_tag(Store *store, const char *image_id, const char *text, Error *error)
{
        StoreReference reference CLEANUP_REFERENCE = {};
        char *normal CLEANUP_FREE = NULL, *familiar CLEANUP_FREE = NULL;
        json_t *record, *changed CLEANUP_JSON = NULL, *references CLEANUP_JSON = NULL, *records CLEANUP_JSON = NULL;
        int r;

        r = store_reference_parse(text, &reference, error);
        if (r != 0)
                return r;
        if (reference.digest)
                return error_set(error, OUTCOME_BAD_REQUEST, "cannot import digest reference");
        familiar = store_reference_familiar_name(&reference);
        if (str_equal(familiar, "sha256"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "refusing to create an ambiguous tag using digest algorithm as name");
        if (!familiar || store_reference_default_tag(&reference) < 0)
                return -ENOMEM;
        normal = store_reference_normal(&reference);
        r = store_settle(store);
        if (r >= 0)
                r = store_references_load(store);
        if (r >= 0)
                r = image_record(store, image_id, &record);
        if (r == -ENOENT)
                return error_set(error, OUTCOME_NOT_FOUND, STORE_NO_IMAGE, image_id);
        if (r < 0)
                return r;
        changed = json_copy(record);
        if (!normal || !changed || json_set_int(changed, "LastTagTime", time_now_ns()) < 0)
                return -ENOMEM;
        records = json_pack("{s:O}", image_id, changed);
        if (!records)
                return -ENOMEM;
        /* A build of what is cached gives the image the name that it has. */
        if (!str_equal(json_get_string(store->references, normal), image_id)) {
                references = json_copy(store->references);
                if (!references || json_set_string(references, normal, image_id) < 0)
                        return -ENOMEM;
                r = store_references_replace(store, TAKE_PTR(references));
        }
        return r < 0 ? r : store_index_put(store, records);
}

int store_image_manifests(Store *store, const char *image_id, json_t **ret_texts)
{
        json_t *texts CLEANUP_JSON = json_array(), *record, *item;
        size_t i;
        int r;

        if (!texts)
                return -ENOMEM;
        r = image_record(store, image_id, &record);
        if (r < 0)
                return r;
        json_array_foreach(json_get_array(record, "Blobs"), i, item) {
                const char *digest = json_string_value(item);
                char *text CLEANUP_FREE = NULL;
                json_t *manifest CLEANUP_JSON = NULL;

                if (!store_digest_is_valid(digest) || str_equal(digest, image_id) ||
                    file_read_at(store->blob_fd, store_digest_hex(digest), STORE_BLOB_SIZE_MAX, &text, NULL) < 0)
                        continue;
                manifest = json_loads(text, 0, NULL);
                if (!str_equal(json_get_string(json_get_object(manifest, "config"), "digest"), image_id))
                        continue;
                if (json_array_append_new(texts, json_string(text)) < 0)
                        return -ENOMEM;
        }
        *ret_texts = TAKE_PTR(texts);
        return 0;
}

int store_repository_tags(Store *store, const char *name, json_t **ret_tags)
{
        json_t *tags CLEANUP_JSON = json_object(), *id;
        const char *reference;
        int r;

        if (!tags)
                return -ENOMEM;
        r = store_references_load(store);
        if (r < 0)
                return r;
        json_object_foreach(store->references, reference, id) {
                const char *rest = str_after_prefix(reference, name);

                if (rest && *rest == ':' && !strchr(rest, '/') && json_object_set(tags, rest + 1, id) < 0)
                        return -ENOMEM;
        }
        *ret_tags = TAKE_PTR(tags);
        return 0;
}

json_t *store_config_layers(const json_t *config)
{
        return json_get_array(json_get_object(config, "rootfs"), "diff_ids");
}
