/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Saving images. The documents are small and made first; then everything goes out in one pass, in the order of names:
 * blobs/ with configurations, manifests and layers, each once, then the documents. The layers are written from their
 * records as their tars were, and are not compressed: their blob's digest is the diff ID. */
#include <fcntl.h>
#include <string.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/store.h"
#include "berth/string.h"
#include "store-pack-header.h"
#include "store-platform.h"
#include "store-private.h"
#include "store-stage.h"

#define MEDIA_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_LAYER "application/vnd.oci.image.layer.v1.tar"
#define LAYOUT "{\"imageLayoutVersion\": \"1.0.0\"}"

/* --- The plan ----------------------------------------------------------------------------------------------------- */

int store_image_check_platform(Store *store, const char *id, const char *name, const char *text, Error *error)
{
        json_t *config CLEANUP_JSON = NULL;
        StorePlatform platform;
        int r;

        if (str_empty(text))
                return 0;
        r = store_platform_parse(text, &platform, error);
        if (r == 0)
                r = store_image_config(store, id, &config);
        if (r != 0 || store_platform_match(&platform, config) > 0)
                return r;
        return error_set(error, OUTCOME_NOT_FOUND,
                         "image with reference %s was found but does not provide the specified platform (%s)", name,
                         text);
}

static json_t *find_image(const json_t *images, const char *id)
{
        json_t *image;
        size_t i;

        json_array_foreach(images, i, image)
                if (str_equal(json_get_string(image, "ID"), id))
                        return image;
        return NULL;
}

static int plan_image(Store *store, json_t *images, const char *id, json_t **ret_image)
{
        char *data CLEANUP_FREE = NULL;
        json_t *record, *image = find_image(images, id);
        size_t size;
        int r;

        if (image) {
                *ret_image = image;
                return 0;
        }
        r = store_index_record(store, store_index_find(store, id), &record);
        if (r >= 0)
                r = file_read_at(store->blob_fd, store_digest_hex(id), STORE_BLOB_SIZE_MAX, &data, &size);
        if (r < 0)
                return r;
        image = json_pack("{s:s, s:o, s:O, s:[], s:O}", "ID", id, "Config", json_stringn(data, size), "Layers",
                          json_object_get(record, "Layers"), "References", "Created",
                          json_object_get(record, "Created"));
        if (!image || json_array_append_new(images, image) < 0)
                return image ? -ENOMEM : -EBADMSG;
        *ret_image = image;
        return 0;
}

/* KEY, if not NULL, is the name it goes by. */
static int plan_add(Store *store, json_t *images, const char *id, const char *key)
{
        json_t *image, *names, *item;
        size_t i;
        int r;

        r = plan_image(store, images, id, &image);
        if (r < 0 || !key || strchr(key, '@'))
                return r;
        names = json_get_array(image, "References");
        json_array_foreach(names, i, item)
                if (str_equal(json_string_value(item), key))
                        return 0;
        return json_array_append_new(names, json_string(key)) < 0 ? -ENOMEM : 0;
}

/* All tags of a name that was given without one. *ret_any where there is one. */
static int plan_tags(Store *store, json_t *images, const StoreReference *reference, bool *ret_any)
{
        char *name CLEANUP_FREE = store_reference_normal_name(reference);
        const char *key;
        json_t *value;
        int r = name ? 0 : -ENOMEM;

        *ret_any = false;
        json_object_foreach(store->references, key, value) {
                const char *rest = str_after_prefix(key, name);

                if (r < 0)
                        break;
                if (!rest || *rest != ':')
                        continue;
                *ret_any = true;
                r = plan_add(store, images, json_string_value(value), key);
        }
        return r;
}

static int plan_name(Store *store, json_t *images, const char *name, const char *platform, Error *error)
{
        StoreReference reference CLEANUP_REFERENCE = {};
        char *id CLEANUP_FREE = NULL, *key CLEANUP_FREE = NULL;
        const char *found;
        bool any = false;
        int r;

        r = store_reference_parse(name, &reference, NULL);
        if (r == 0 && !reference.tag && !reference.digest)
                r = plan_tags(store, images, &reference, &any);
        if (r < 0 || any)
                return r;
        if (r == 0 && (reference.tag || reference.digest)) {
                if (reference.digest)
                        free(TAKE_PTR(reference.tag));
                key = store_reference_normal(&reference);
                found = key ? json_get_string(store->references, key) : NULL;
                if (found) {
                        r = store_image_check_platform(store, found, name, platform, error);
                        return r == 0 ? plan_add(store, images, found, key) : r;
                }
        }
        r = store_resolve(store, name, &id, error);
        if (r == OUTCOME_NOT_FOUND && (reference.tag || reference.digest)) {
                error_clear(error);
                return error_set(error, OUTCOME_NOT_FOUND,
                                 str_after_prefix(name, "sha256:") ? STORE_NO_IMAGE : "reference does not exist", name);
        }
        if (r == OUTCOME_NOT_FOUND) {
                error_clear(error);
                return error_set(error, OUTCOME_NOT_FOUND, STORE_NO_IMAGE, name);
        }
        if (r == 0)
                r = store_image_check_platform(store, id, name, platform, error);
        return r == 0 ? plan_add(store, images, id, NULL) : r;
}

int store_save_plan(Store *store, char *const *names, const char *platform, json_t **ret_plan, Error *error)
{
        json_t *plan CLEANUP_JSON = json_pack("{s:[]}", "Images");
        int r;

        if (!plan)
                return -ENOMEM;
        r = store_metadata_load(store);
        for (size_t i = 0; r == 0 && names && names[i]; i++)
                r = plan_name(store, json_get_array(plan, "Images"), names[i], platform, error);
        if (r == 0)
                *ret_plan = TAKE_PTR(plan);
        return r;
}

/* --- The archive -------------------------------------------------------------------------------------------------- */

typedef struct SaveBlob {
        char digest[STORE_DIGEST_SIZE];
        char *data; /* owned; NULL for a layer */
        int64_t size;
        int layer_fd; /* owned; negative for a document */
        int64_t time;
} SaveBlob;

typedef struct Save {
        const char *layer_root;
        int (*write)(void *userdata, const void *data, size_t size);
        void *userdata;
        SaveBlob *blobs; /* owned */
        size_t count, allocated;
        json_t *index, *manifest, *repositories; /* owned */
        int64_t written;                         /* of the entry at hand */
} Save;

static void save_clear(Save *save)
{
        for (size_t i = 0; i < save->count; i++) {
                free(save->blobs[i].data);
                fd_close(save->blobs[i].layer_fd);
        }
        free(save->blobs);
        json_decref(save->index);
        json_decref(save->manifest);
        json_decref(save->repositories);
}

static SaveBlob *find_blob(const Save *save, const char *digest)
{
        for (size_t i = 0; i < save->count; i++)
                if (str_equal(save->blobs[i].digest, digest))
                        return &save->blobs[i];
        return NULL;
}

static int add_blob(Save *save, SaveBlob *blob)
{
        if (save->count == save->allocated) {
                size_t want = MAX(save->allocated * 2, (size_t) 16);
                SaveBlob *grown = reallocarray(save->blobs, want, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                save->blobs = grown;
                save->allocated = want;
        }
        save->blobs[save->count++] = *blob;
        return 0;
}

static int add_document(Save *save, const char *text, int64_t time, json_t **ret_descriptor, const char *media)
{
        SaveBlob blob = { .size = (int64_t) strlen(text), .layer_fd = -EBADF, .time = time };
        int r;

        r = store_digest_data(text, strlen(text), blob.digest);
        if (r < 0)
                return r;
        if (!find_blob(save, blob.digest)) {
                blob.data = strdup(text);
                r = blob.data ? add_blob(save, &blob) : -ENOMEM;
                if (r < 0) {
                        free(blob.data);
                        return r;
                }
        }
        *ret_descriptor = json_pack("{s:s, s:s, s:I}", "mediaType", media, "digest", blob.digest, "size",
                                    (json_int_t) strlen(text));
        return *ret_descriptor ? 0 : -ENOMEM;
}

static int add_layer(Save *save, const char *diff_id, int64_t time, json_t **ret_descriptor)
{
        SaveBlob *present = find_blob(save, diff_id), blob = { .time = time };
        json_t *record CLEANUP_JSON = NULL;
        int r = 0;

        if (!present) {
                blob.layer_fd = store_layer_open(save->layer_root, diff_id);
                if (blob.layer_fd < 0)
                        return blob.layer_fd;
                snprintf(blob.digest, sizeof(blob.digest), "%s", diff_id);
                r = json_read_at(blob.layer_fd, STORE_LAYER_RECORD, &record);
                blob.size = json_get_int(record, "TarSize", -1);
                if (r >= 0 && blob.size < 0)
                        r = -EBADMSG;
                if (r >= 0)
                        r = add_blob(save, &blob);
                if (r < 0) {
                        fd_close(blob.layer_fd);
                        return r;
                }
                present = &blob;
        }
        *ret_descriptor = json_pack("{s:s, s:s, s:I}", "mediaType", MEDIA_LAYER, "digest", diff_id, "size",
                                    (json_int_t) present->size);
        return *ret_descriptor ? 0 : -ENOMEM;
}

/* One entry of the index for each name; one without names where there is none. */
static int index_image(Save *save, const json_t *image, json_t *descriptor)
{
        json_t *list = json_get_array(save->index, "manifests"), *names = json_get_array(image, "References"), *item;
        size_t i;

        if (json_array_size(names) == 0)
                return json_array_append(list, descriptor) < 0 ? -ENOMEM : 0;
        json_array_foreach(names, i, item) {
                const char *name = json_string_value(item), *tag = strrchr(name, ':');
                json_t *entry = json_copy(descriptor);

                if (!entry ||
                    json_object_set_new(entry, "annotations",
                                        json_pack("{s:s, s:s}", "io.containerd.image.name", name,
                                                  "org.opencontainers.image.ref.name", tag ? tag + 1 : "")) < 0 ||
                    json_array_append_new(list, entry) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static char *blob_path(const char *digest)
{
        return str_printf("blobs/sha256/%s", store_digest_hex(digest));
}

/* The image's entry of manifest.json, and its names in "repositories". */
static int list_image(Save *save, const json_t *image, const json_t *layers)
{
        json_t *entry, *paths = json_array(), *sources = json_object(), *tags = json_array(), *item, *names;
        char *config CLEANUP_FREE = blob_path(json_get_string(image, "ID"));
        const char *top = NULL;
        size_t i;

        json_array_foreach((json_t *) layers, i, item) {
                char *path CLEANUP_FREE = blob_path(json_get_string(item, "digest"));

                top = json_get_string(item, "digest");
                (void) json_array_append_new(paths, json_string(path ?: ""));
                (void) json_object_set(sources, top, item);
        }
        names = json_get_array(image, "References");
        json_array_foreach(names, i, item) {
                char *familiar CLEANUP_FREE = store_familiar(json_string_value(item));
                char *colon = familiar ? strrchr(familiar, ':') : NULL;
                json_t *repository;

                if (!colon)
                        continue;
                (void) json_array_append_new(tags, json_string(familiar));
                *colon = 0;
                if (!top)
                        continue;
                repository = json_object_get(save->repositories, familiar);
                if (!repository) {
                        repository = json_object();
                        (void) json_object_set_new(save->repositories, familiar, repository);
                }
                (void) json_set_string(repository, colon + 1, store_digest_hex(top));
        }
        if (json_array_size(tags) == 0) {
                json_decref(tags);
                tags = json_null();
        }
        entry = json_pack("{s:s, s:o, s:o, s:o}", "Config", config ?: "", "RepoTags", tags, "Layers", paths,
                          "LayerSources", sources);
        return entry && json_array_append_new(save->manifest, entry) >= 0 ? 0 : -ENOMEM;
}

static int save_image(Save *save, const json_t *image)
{
        json_t *config CLEANUP_JSON = NULL, *layers CLEANUP_JSON = json_array(), *descriptor CLEANUP_JSON = NULL,
                       *manifest CLEANUP_JSON = NULL, *item;
        int64_t time = json_get_int(image, "Created", 0) / 1000000000;
        char *text CLEANUP_FREE = NULL;
        size_t i;
        int r;

        r = add_document(save, json_get_string_or(image, "Config", ""), time, &config, MEDIA_CONFIG);
        json_array_foreach(json_get_array(image, "Layers"), i, item) {
                json_t *layer;

                if (r < 0)
                        return r;
                r = add_layer(save, json_string_value(item), time, &layer);
                if (r >= 0 && json_array_append_new(layers, layer) < 0)
                        r = -ENOMEM;
        }
        if (r < 0)
                return r;
        manifest = json_pack("{s:i, s:s, s:O, s:O}", "schemaVersion", 2, "mediaType", MEDIA_MANIFEST, "config", config,
                             "layers", layers);
        text = manifest ? json_dumps(manifest, JSON_COMPACT) : NULL;
        r = text ? add_document(save, text, 0, &descriptor, MEDIA_MANIFEST) : -ENOMEM;
        if (r >= 0)
                r = index_image(save, image, descriptor);
        return r < 0 ? r : list_image(save, image, layers);
}

static int write_header(const Save *save, char type, const char *path, int64_t size, int64_t time)
{
        StoreTarEntry entry = { .type = type, .path = (char *) path, .mode = type == '5' ? 0755 : 0644, .size = size };
        Buffer header CLEANUP_BUFFER = {};
        int r;

        entry.mtime.tv_sec = MAX(time, 0);
        r = store_pack_header(&header, &entry);
        return r < 0 ? r : save->write(save->userdata, header.data, header.size);
}

static int write_padding(const Save *save, int64_t size)
{
        static const char zero[STORE_TAR_BLOCK];
        size_t padding = store_pack_padding(size);

        return padding > 0 ? save->write(save->userdata, zero, padding) : 0;
}

static int write_counted(void *userdata, const void *data, size_t size)
{
        Save *save = userdata;

        save->written += (int64_t) size;
        return save->write(save->userdata, data, size);
}

static int write_blob(Save *save, const SaveBlob *blob)
{
        char *path CLEANUP_FREE = blob_path(blob->digest);
        int r;

        r = path ? write_header(save, '0', path, blob->size, blob->time) : -ENOMEM;
        if (r < 0)
                return r;
        save->written = 0;
        r = blob->data ? write_counted(save, blob->data, (size_t) blob->size)
                       : store_layer_write_tar(blob->layer_fd, write_counted, save);
        if (r >= 0 && save->written != blob->size)
                r = -EBADMSG;
        return r < 0 ? r : write_padding(save, blob->size);
}

static int write_document(const Save *save, const char *name, const char *text)
{
        size_t size = text ? strlen(text) : 0;
        int r;

        if (!text)
                return -ENOMEM;
        r = write_header(save, '0', name, (int64_t) size, 0);
        if (r >= 0)
                r = save->write(save->userdata, text, size);
        return r < 0 ? r : write_padding(save, (int64_t) size);
}

static int write_documents(const Save *save)
{
        static const char end[2 * STORE_TAR_BLOCK];
        char *index CLEANUP_FREE = json_dumps(save->index, JSON_COMPACT),
                    *manifest CLEANUP_FREE = json_dumps(save->manifest, JSON_COMPACT),
                    *repositories CLEANUP_FREE = json_dumps(save->repositories, JSON_COMPACT);
        int r;

        r = write_document(save, "index.json", index);
        if (r >= 0)
                r = write_document(save, "manifest.json", manifest);
        if (r >= 0)
                r = write_document(save, "oci-layout", LAYOUT);
        if (r >= 0 && json_object_size(save->repositories) > 0)
                r = write_document(save, "repositories", repositories);
        return r < 0 ? r : save->write(save->userdata, end, sizeof(end));
}

static int compare_blobs(const void *a, const void *b)
{
        return strcmp(((const SaveBlob *) a)->digest, ((const SaveBlob *) b)->digest);
}

static int write_blobs(Save *save)
{
        int r;

        if (save->count == 0)
                return 0;
        qsort(save->blobs, save->count, sizeof(SaveBlob), compare_blobs);
        r = write_header(save, '5', "blobs/", 0, 0);
        if (r >= 0)
                r = write_header(save, '5', "blobs/sha256/", 0, 0);
        for (size_t i = 0; r >= 0 && i < save->count; i++)
                r = write_blob(save, &save->blobs[i]);
        return r;
}

int store_save(const char *layer_root, const json_t *plan, int (*write)(void *userdata, const void *data, size_t size),
               void *userdata)
{
        Save save CLEANUP(save_clear) = { .layer_root = layer_root, .write = write, .userdata = userdata };
        json_t *image;
        size_t i;
        int r = 0;

        save.index = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", MEDIA_INDEX, "manifests");
        save.manifest = json_array();
        save.repositories = json_object();
        if (!save.index || !save.manifest || !save.repositories)
                return -ENOMEM;
        json_array_foreach(json_get_array(plan, "Images"), i, image) {
                r = save_image(&save, image);
                if (r < 0)
                        return r;
        }
        r = write_blobs(&save);
        return r < 0 ? r : write_documents(&save);
}
