/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a worker staged becomes part of the store. The worker may have been taken over by what it unpacked, so its
 * result is checked: names stay within the staging directory, blobs are digested again, a configuration's layers must
 * all be staged or present. Only that an unpacked layer has the diff ID it claims is taken from the worker.
 *
 * Order: layers, blobs, records, references; each is synced before what names it is written. Whatever is cut off in
 * between leaves things nobody names, and a staging directory that tells the next start to collect them. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"
#include "store-stage.h"

typedef struct Commit {
        Store *store;
        int staging_fd; /* owned; the job's directory */
        const json_t *result;
        json_t *references; /* owned; as they are going to be */
        json_t *sizes;      /* owned; diff ID to size, of the staged layers */
        json_t *records;    /* owned; of the images, in their order */
        json_t *changed;    /* owned; those that are to be written, by ID */
        json_t *done;       /* owned; what is returned */
        Error *error;
} Commit;

static void commit_clear(Commit *commit)
{
        fd_close(commit->staging_fd);
        json_decref(commit->references);
        json_decref(commit->sizes);
        json_decref(commit->records);
        json_decref(commit->changed);
        json_decref(commit->done);
}

/* Words of lower-case letters and digits, joined by dashes: nothing that leads anywhere else. */
static bool staged_name_is_valid(const char *name)
{
        return !str_empty(name) && strlen(name) < 80 &&
               strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(name);
}

static int refuse(const Commit *commit, const char *what)
{
        return error_set(commit->error, OUTCOME_BAD_REQUEST, "invalid archive: %s", what);
}

static int commit_layer(Commit *commit, const json_t *layer)
{
        const char *staged = json_get_string(layer, "Staged"), *diff_id = json_get_string(layer, "DiffID");
        int fd CLEANUP_CLOSE = -EBADF;
        int present CLEANUP_CLOSE = -EBADF;
        json_t *record CLEANUP_JSON = NULL;
        char name[STORE_LAYER_ID_LENGTH + 1];
        int r;

        if (!staged_name_is_valid(staged) || !store_digest_is_valid(diff_id))
                return refuse(commit, "a staged layer has no name");
        if (json_set_int(commit->sizes, diff_id, json_get_int(layer, "Size", 0)) < 0)
                return -ENOMEM;
        present = store_layer_open(commit->store->layer_root, diff_id);
        if (present >= 0)
                return 0;
        if (present != -ENOENT)
                return present;
        fd = openat(commit->staging_fd, staged, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = fd < 0 ? -errno : json_read_at(fd, STORE_LAYER_RECORD, &record);
        if (r < 0)
                return r;
        if (!str_equal(json_get_string(record, "DiffID"), diff_id))
                return refuse(commit, "a staged layer is not what it claims");
        store_layer_name(diff_id, name);
        return renameat2(commit->staging_fd, staged, commit->store->layer_fd, name, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

static int commit_layers(Commit *commit)
{
        json_t *layer;
        size_t i;
        int r;

        json_array_foreach(json_get_array(commit->result, "Layers"), i, layer) {
                r = commit_layer(commit, layer);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* Reads a staged blob, if it is what it claims to be. */
static int read_blob(const Commit *commit, const json_t *blob, char **ret_data, size_t *ret_size)
{
        const char *staged = json_get_string(blob, "Staged"), *digest = json_get_string(blob, "Digest");
        char *data CLEANUP_FREE = NULL, found[STORE_DIGEST_SIZE];
        struct stat st;
        int r;

        if (!staged_name_is_valid(staged) || !store_digest_is_valid(digest) ||
            fstatat(commit->staging_fd, staged, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                return refuse(commit, "a staged blob is missing");
        r = file_read_at(commit->staging_fd, staged, STORE_BLOB_SIZE_MAX, &data, ret_size);
        if (r >= 0)
                r = store_digest_data(data, *ret_size, found);
        if (r < 0)
                return r;
        if (!str_equal(found, digest))
                return refuse(commit, "a staged blob is not what it claims");
        *ret_data = TAKE_PTR(data);
        return 0;
}

static int move_blob(const Commit *commit, const json_t *blob)
{
        if (renameat(commit->staging_fd, json_get_string(blob, "Staged"), commit->store->blob_fd,
                     store_digest_hex(json_get_string(blob, "Digest"))) < 0)
                return -errno;
        return 0;
}

/* The configuration's layers with their sizes, the lowest first. */
static int image_layers(const Commit *commit, const json_t *config, json_t **ret_layers, json_t **ret_sizes,
                        int64_t *ret_size)
{
        json_t *layers CLEANUP_JSON = json_array(), *sizes CLEANUP_JSON = json_array(), *diff_id;
        int64_t total = 0;
        size_t i;

        if (!layers || !sizes)
                return -ENOMEM;
        json_array_foreach(store_config_layers(config), i, diff_id) {
                const char *digest = json_string_value(diff_id);
                json_t *size = digest ? json_object_get(commit->sizes, digest) : NULL, *record CLEANUP_JSON = NULL;
                int fd CLEANUP_CLOSE = -EBADF;
                int64_t bytes;

                if (!store_digest_is_valid(digest))
                        return refuse(commit, "invalid diff ID in configuration");
                if (!size) {
                        fd = store_layer_open(commit->store->layer_root, digest);
                        if (fd < 0)
                                return error_set(commit->error, OUTCOME_BAD_REQUEST,
                                                 "invalid archive: layer %s is missing", digest);
                        if (json_read_at(fd, STORE_LAYER_RECORD, &record) < 0)
                                return refuse(commit, "a layer has no record");
                }
                bytes = size ? json_integer_value(size) : json_get_int(record, "Size", 0);
                total += bytes;
                if (json_array_append(layers, diff_id) < 0 || json_array_append_new(sizes, json_integer(bytes)) < 0)
                        return -ENOMEM;
        }
        *ret_layers = TAKE_PTR(layers);
        *ret_sizes = TAKE_PTR(sizes);
        *ret_size = total;
        return 0;
}

static int make_record(const Commit *commit, const json_t *image, const json_t *config, json_t **ret_record)
{
        json_t *layers CLEANUP_JSON = NULL, *sizes CLEANUP_JSON = NULL,
                       *labels = json_get_object(json_get_object(config, "config"), "Labels"), *blob;
        json_t *blobs CLEANUP_JSON = json_pack("[s]", json_get_string(json_get_object(image, "Config"), "Digest"));
        const char *created_text = json_get_string(config, "created"), *parent = json_get_string(image, "Parent");
        int64_t created = 0, size = 0, tagged = json_get_int(image, "Time", 0);
        json_t *record;
        size_t i;
        int r;

        r = image_layers(commit, config, &layers, &sizes, &size);
        if (r != 0)
                return r;
        if (created_text)
                (void) time_parse_rfc3339(created_text, &created);
        json_array_foreach(json_get_array(image, "Blobs"), i, blob)
                if (json_array_append(blobs, json_object_get(blob, "Digest")) < 0)
                        return -ENOMEM;
        record = json_pack("{s:I, s:I, s:O, s:O, s:O}", "Created", (json_int_t) created, "Size", (json_int_t) size,
                           "Layers", layers, "Sizes", sizes, "Blobs", blobs);
        if (!record)
                return -ENOMEM;
        if (labels)
                (void) json_object_set(record, "Labels", labels);
        if (store_digest_is_valid(parent))
                (void) json_set_string(record, "Parent", parent);
        if (tagged > 0)
                (void) json_set_int(record, "LastTagTime", tagged);
        *ret_record = record;
        return 0;
}

/* Points the references at the image, and notes whom they leave. */
static int image_references(Commit *commit, const json_t *image, const char *id, json_t *done)
{
        json_t *familiar_list = json_get_array(done, "References"), *replaced = json_get_array(done, "Replaced"), *item;
        size_t i;

        json_array_foreach(json_get_array(image, "References"), i, item) {
                StoreReference reference CLEANUP_REFERENCE = {};
                char *normal CLEANUP_FREE = NULL, *familiar CLEANUP_FREE = NULL;
                const char *before;
                int r;

                r = store_reference_parse(json_string_value(item) ?: "", &reference, commit->error);
                if (r == 0)
                        r = store_reference_default_tag(&reference);
                if (r != 0)
                        return r;
                if (reference.digest)
                        free(TAKE_PTR(reference.tag));
                normal = store_reference_normal(&reference);
                familiar = store_reference_familiar(&reference);
                if (!normal || !familiar)
                        return -ENOMEM;
                before = json_get_string(commit->references, normal);
                if (before && !str_equal(before, id) &&
                    json_array_append_new(replaced, json_pack("{s:s, s:s}", "Reference", familiar, "ID", before)) < 0)
                        return -ENOMEM;
                if (json_set_string(commit->references, normal, id) < 0 ||
                    json_array_append_new(familiar_list, json_string(familiar)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int image_blobs(const Commit *commit, const json_t *image)
{
        json_t *blob;
        size_t i;
        int r;

        json_array_foreach(json_get_array(image, "Blobs"), i, blob) {
                char *data CLEANUP_FREE = NULL;
                size_t size;

                r = read_blob(commit, blob, &data, &size);
                if (r == 0)
                        r = move_blob(commit, blob);
                if (r != 0)
                        return r;
        }
        return move_blob(commit, json_get_object(image, "Config"));
}

static bool array_has(const json_t *array, const json_t *value)
{
        json_t *item;
        size_t i;

        json_array_foreach(array, i, item)
                if (json_equal(item, value))
                        return true;
        return false;
}

/* An image that is there already keeps what its record says, and gains what the new one says more. */
static int commit_record(const Commit *commit, const char *id, json_t *record)
{
        StoreImage *image = store_index_find(commit->store, id);
        json_t *present = json_object_get(commit->changed, id), *merged CLEANUP_JSON = NULL, *digest;
        size_t i;
        int r = 0;

        if (!image && !present)
                return json_object_set(commit->changed, id, record) < 0 ? -ENOMEM : 0;
        if (!present)
                r = store_index_record(commit->store, image, &present);
        if (r < 0)
                return r;
        merged = json_deep_copy(present);
        if (!merged || json_object_update_missing(merged, record) < 0)
                return -ENOMEM;
        json_array_foreach(json_get_array(record, "Blobs"), i, digest)
                if (!array_has(json_get_array(merged, "Blobs"), digest) &&
                    json_array_append(json_get_array(merged, "Blobs"), digest) < 0)
                        return -ENOMEM;
        if (json_object_get(record, "LastTagTime"))
                (void) json_object_set(merged, "LastTagTime", json_object_get(record, "LastTagTime"));
        if (json_equal(merged, present) && !(image && image->removed))
                return 0;
        return json_object_set(commit->changed, id, merged) < 0 ? -ENOMEM : 0;
}

/* Moves an image's blobs in, and works its record out. */
static int prepare_image(Commit *commit, const json_t *image)
{
        json_t *config CLEANUP_JSON = NULL, *record CLEANUP_JSON = NULL;
        char *data CLEANUP_FREE = NULL;
        size_t size;
        int r;

        r = read_blob(commit, json_get_object(image, "Config"), &data, &size);
        if (r != 0)
                return r;
        config = json_loadb(data, size, 0, NULL);
        if (!json_is_object(config))
                return refuse(commit, "the configuration is not JSON");
        r = make_record(commit, image, config, &record);
        if (r == 0)
                r = image_blobs(commit, image);
        if (r != 0)
                return r;
        return json_array_append(commit->records, record) < 0 ? -ENOMEM : 0;
}

static int commit_image(Commit *commit, const json_t *image, json_t *record)
{
        const char *id = json_get_string(json_get_object(image, "Config"), "Digest");
        json_t *done;
        int r;

        r = commit_record(commit, id, record);
        if (r < 0)
                return r;
        done = json_pack("{s:s, s:[], s:[]}", "ID", id, "References", "Replaced");
        if (!done || json_array_append_new(commit->done, done) < 0)
                return -ENOMEM;
        return image_references(commit, image, id, done);
}

/* What the records tell of is durable before they have their names. They are staged first: where the file system has
 * one journal, what makes them durable takes the rest along. */
static int put_records(Commit *commit)
{
        bool layers = json_array_size(json_get_array(commit->result, "Layers")) > 0;
        int r = store_index_stage(commit->store, commit->changed);

        if (r < 0)
                return r;
        if ((layers && fsync(commit->store->layer_fd) < 0) || fsync(commit->store->blob_fd) < 0) {
                r = -errno;
                store_index_unstage(commit->store, commit->changed);
                return r;
        }
        return store_index_publish(commit->store, commit->changed);
}

static int commit_all(Commit *commit)
{
        json_t *images = json_get_array(commit->result, "Images"), *image;
        size_t i;
        int r;

        r = commit_layers(commit);
        json_array_foreach(images, i, image) {
                if (r != 0)
                        return r;
                r = prepare_image(commit, image);
        }
        json_array_foreach(images, i, image) {
                if (r != 0)
                        return r;
                r = commit_image(commit, image, json_array_get(commit->records, i));
        }
        if (r == 0)
                r = put_records(commit);
        if (r != 0 || json_equal(commit->references, commit->store->references))
                return r;
        return store_references_replace(commit->store, TAKE_PTR(commit->references));
}

int store_commit(Store *store, const char *staging_name, const json_t *result, json_t **ret_images, Error *error)
{
        Commit commit CLEANUP(
                commit_clear) = { .store = store, .staging_fd = -EBADF, .result = result, .error = error };
        int r;

        if (!staged_name_is_valid(staging_name))
                return -EINVAL;
        r = store_settle(store);
        if (r >= 0)
                r = store_metadata_load(store);
        if (r < 0)
                return r;
        commit.references = json_copy(store->references);
        commit.sizes = json_object();
        commit.records = json_array();
        commit.changed = json_object();
        commit.done = json_array();
        if (!commit.references || !commit.sizes || !commit.records || !commit.changed || !commit.done)
                return -ENOMEM;
        commit.staging_fd = openat(store->staging_fd, staging_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        /* Before anything leaves it, its name has to be where the start after a power cut sees it. */
        if (commit.staging_fd < 0 || fsync(store->staging_fd) < 0)
                return -errno;
        r = commit_all(&commit);
        (void) store_staging_discard(store, staging_name);
        if (r != 0) {
                /* Layers and blobs that were moved in before the refusal have no image. */
                (void) store_collect(store);
                return r;
        }
        *ret_images = TAKE_PTR(commit.done);
        return 0;
}
