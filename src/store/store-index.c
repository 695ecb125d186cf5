/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The images in memory: IDs from one directory listing, each record and the references when first asked for. What is
 * written to disk is written first and taken over in memory when it is durable. */
#include <fcntl.h>
#include <string.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"

#define RECORD_SUFFIX ".json"
#define SUFFIX_SIZE sizeof(STORE_REMOVED_SUFFIX)
#define STAGED_SUFFIX ".new"
#define STAGED_SIZE (sizeof(STAGED_SUFFIX) + 1)
/* Of more files than this all of the file system is synced. */
#define SYNC_EACH_MAX 8

static int image_compare(const void *a, const void *b)
{
        return strcmp(((const StoreImage *) a)->id, ((const StoreImage *) b)->id);
}

static void name_of(const char *id, const char *suffix, char ret_name[static ID_LENGTH + SUFFIX_SIZE])
{
        snprintf(ret_name, ID_LENGTH + SUFFIX_SIZE, "%.64s%s", store_digest_hex(id), suffix);
}

static bool is_hidden(const Store *store, const char *id)
{
        char name[ID_LENGTH + SUFFIX_SIZE];

        name_of(id, STORE_REMOVED_SUFFIX, name);
        return faccessat(store->record_fd, name, F_OK, 0) == 0;
}

/* Of an image whose removal was cut off behind its record. */
static void drop_lone_mark(const Store *store, const char *mark)
{
        char name[ID_LENGTH + sizeof(RECORD_SUFFIX)];

        snprintf(name, sizeof(name), "%.64s" RECORD_SUFFIX, mark);
        if (faccessat(store->record_fd, name, F_OK, 0) < 0 && errno == ENOENT)
                (void) unlinkat(store->record_fd, mark, 0);
}

static int index_append(Store *store, const char *id, json_t *record)
{
        if (store->n_images == store->allocated_images) {
                size_t want = MAX(store->allocated_images * 2, (size_t) 64);
                StoreImage *grown = reallocarray(store->images, want, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                store->images = grown;
                store->allocated_images = want;
        }
        store->images[store->n_images] = (StoreImage) { .record = record ? json_incref(record) : NULL };
        snprintf(store->images[store->n_images++].id, STORE_DIGEST_SIZE, "%s", id);
        return 0;
}

int store_index_load(Store *store)
{
        DIR *dir CLEANUP_CLOSEDIR = NULL;
        struct dirent *entry;
        bool hidden = false;
        int fd, r;

        if (store->indexed)
                return 0;
        fd = openat(store->record_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        dir = fd >= 0 ? fdopendir(fd) : NULL;
        if (!dir) {
                r = -errno;
                fd_close(fd);
                return r;
        }
        while ((entry = readdir(dir))) {
                char id[STORE_DIGEST_SIZE];

                if (str_has_suffix(entry->d_name, STORE_REMOVED_SUFFIX)) {
                        hidden = true;
                        drop_lone_mark(store, entry->d_name);
                        continue;
                }
                if (strlen(entry->d_name) != ID_LENGTH + sizeof(RECORD_SUFFIX) - 1 ||
                    !str_has_suffix(entry->d_name, RECORD_SUFFIX)) {
                        /* Staged by somebody who was cut off: the store has one writer, this process. */
                        if (*entry->d_name == '.' && strlen(entry->d_name) > ID_LENGTH)
                                (void) unlinkat(store->record_fd, entry->d_name, 0);
                        continue;
                }
                snprintf(id, sizeof(id), "%s%.64s", STORE_DIGEST_PREFIX, entry->d_name);
                if (!store_digest_is_valid(id))
                        continue;
                r = index_append(store, id, NULL);
                if (r < 0)
                        return r;
        }
        if (store->n_images > 0)
                qsort(store->images, store->n_images, sizeof(StoreImage), image_compare);
        for (size_t i = 0; hidden && i < store->n_images; i++)
                store->images[i].removed = is_hidden(store, store->images[i].id);
        store->indexed = true;
        return 0;
}

StoreImage *store_index_find(Store *store, const char *id)
{
        StoreImage key = {};

        if (store->n_images == 0 || !store_digest_is_valid(id))
                return NULL;
        snprintf(key.id, sizeof(key.id), "%s", id);
        return bsearch(&key, store->images, store->n_images, sizeof(key), image_compare);
}

static void record_name(const char *id, char ret_name[static ID_LENGTH + sizeof(RECORD_SUFFIX)])
{
        snprintf(ret_name, ID_LENGTH + sizeof(RECORD_SUFFIX), "%.64s" RECORD_SUFFIX, store_digest_hex(id));
}

int store_index_record(Store *store, StoreImage *image, json_t **ret_record)
{
        char name[ID_LENGTH + sizeof(RECORD_SUFFIX)];
        int r;

        if (!image->record) {
                record_name(image->id, name);
                r = json_read_at(store->record_fd, name, &image->record);
                if (r < 0)
                        return r;
        }
        *ret_record = image->record;
        return 0;
}

static int show(Store *store, StoreImage *image)
{
        char name[ID_LENGTH + SUFFIX_SIZE];

        if (!image->removed)
                return 0;
        name_of(image->id, STORE_REMOVED_SUFFIX, name);
        if (unlinkat(store->record_fd, name, 0) < 0 && errno != ENOENT)
                return -errno;
        image->removed = false;
        return fsync(store->record_fd) < 0 ? -errno : 0;
}

int store_index_hide(Store *store, StoreImage *image)
{
        char name[ID_LENGTH + SUFFIX_SIZE];

        name_of(image->id, STORE_REMOVED_SUFFIX, name);
        int fd = openat(store->record_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        fd_close(fd);
        image->removed = true;
        store_counts_drop(store);
        return fsync(store->record_fd) < 0 ? -errno : 0;
}

static void staged_name(const char *id, char ret_name[static ID_LENGTH + STAGED_SIZE])
{
        snprintf(ret_name, ID_LENGTH + STAGED_SIZE, ".%.64s" STAGED_SUFFIX, store_digest_hex(id));
}

static int sync_staged(const Store *store, const char *id)
{
        char staged[ID_LENGTH + STAGED_SIZE];

        staged_name(id, staged);
        return store_stage_sync_blob(store->record_fd, staged);
}

void store_index_unstage(const Store *store, const json_t *records)
{
        const char *id;
        json_t *record;

        json_object_foreach((json_t *) records, id, record) {
                char staged[ID_LENGTH + STAGED_SIZE];

                staged_name(id, staged);
                (void) unlinkat(store->record_fd, staged, 0);
        }
}

static int stage_records(const Store *store, const json_t *records)
{
        bool many = json_object_size(records) > SYNC_EACH_MAX;
        const char *id;
        json_t *record;
        int r;

        json_object_foreach((json_t *) records, id, record) {
                char staged[ID_LENGTH + STAGED_SIZE];

                staged_name(id, staged);
                r = json_write_volatile_at(store->record_fd, staged, record, 0600);
                if (r >= 0 && !many)
                        r = sync_staged(store, id);
                if (r < 0)
                        return r;
        }
        return many && syncfs(store->record_fd) < 0 ? -errno : 0;
}

int store_index_stage(Store *store, const json_t *records)
{
        int r = json_object_size(records) > 0 ? store_index_load(store) : 0;

        if (r >= 0)
                r = stage_records(store, records);
        if (r < 0)
                store_index_unstage(store, records);
        return r;
}

/* Gives a staged record its name, and puts it into the index, of which the first KNOWN are sorted. */
static int put_staged(Store *store, size_t known, const char *id, json_t *record)
{
        char staged[ID_LENGTH + STAGED_SIZE], name[ID_LENGTH + sizeof(RECORD_SUFFIX)];
        StoreImage key = {}, *image;

        staged_name(id, staged);
        record_name(id, name);
        if (renameat(store->record_fd, staged, store->record_fd, name) < 0)
                return -errno;
        snprintf(key.id, sizeof(key.id), "%s", id);
        image = known > 0 ? bsearch(&key, store->images, known, sizeof(key), image_compare) : NULL;
        if (!image)
                return index_append(store, id, record);
        json_incref(record);
        json_decref(image->record);
        image->record = record;
        return show(store, image);
}

int store_index_publish(Store *store, const json_t *records)
{
        const char *id;
        json_t *record;
        size_t known = store->n_images;
        int r = 0;

        if (json_object_size(records) == 0)
                return 0;
        store_counts_drop(store);
        json_object_foreach((json_t *) records, id, record) {
                if (r < 0)
                        break;
                r = put_staged(store, known, id, record);
        }
        if (r < 0)
                store_index_unstage(store, records);
        if (store->n_images > known)
                qsort(store->images, store->n_images, sizeof(StoreImage), image_compare);
        return r >= 0 && fsync(store->record_fd) < 0 ? -errno : r;
}

int store_index_put(Store *store, const json_t *records)
{
        int r = store_index_stage(store, records);

        return r < 0 ? r : store_index_publish(store, records);
}

void store_index_forget(Store *store, StoreImage *image)
{
        size_t at = (size_t) (image - store->images);

        if (image->record)
                store_counts_take(store, image->record, image->removed);
        json_decref(image->record);
        memmove(image, image + 1, (store->n_images - at - 1) * sizeof(*image));
        store->n_images--;
}

int store_index_unlink(const Store *store, const char *id)
{
        char name[ID_LENGTH + sizeof(RECORD_SUFFIX)], mark[ID_LENGTH + SUFFIX_SIZE];

        record_name(id, name);
        name_of(id, STORE_REMOVED_SUFFIX, mark);
        if (unlinkat(store->record_fd, name, 0) < 0 && errno != ENOENT)
                return -errno;
        return unlinkat(store->record_fd, mark, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int store_index_used(Store *store, const char *except_id, const char *member, json_t **ret_used)
{
        json_t *used CLEANUP_JSON = json_object();
        int r;

        if (!used)
                return -ENOMEM;
        r = store_index_load(store);
        for (size_t i = 0; r >= 0 && i < store->n_images; i++) {
                json_t *record, *item, *sizes;
                size_t at;

                if (str_equal(store->images[i].id, except_id))
                        continue;
                r = store_index_record(store, &store->images[i], &record);
                if (r < 0)
                        return r;
                sizes = str_equal(member, "Layers") ? json_get_array(record, "Sizes") : NULL;
                json_array_foreach(json_get_array(record, member), at, item) {
                        const char *digest = json_string_value(item);
                        json_t *size = json_array_get(sizes, at) ?: json_null();

                        if (!digest || json_object_set(used, digest, size) < 0)
                                return -ENOMEM;
                }
        }
        if (r < 0)
                return r;
        *ret_used = TAKE_PTR(used);
        return 0;
}

int store_references_load(Store *store)
{
        int r;

        if (store->references)
                return 0;
        r = json_read_at(store->image_fd, STORE_REFERENCES_NAME, &store->references);
        if (r == -ENOENT) {
                store->references = json_object();
                return store->references ? 0 : -ENOMEM;
        }
        return r;
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Sorted: in this order they are shown and go. */
static int sort_references(Store *store)
{
        size_t n = 0, count = json_object_size(store->references);
        const char **names CLEANUP_FREE = calloc(count + 1, sizeof(*names));
        json_t *by_image CLEANUP_JSON = json_object(), *value;
        const char *name;

        if (!names || !by_image)
                return -ENOMEM;
        json_object_foreach(store->references, name, value)
                names[n++] = name;
        qsort(names, n, sizeof(*names), compare_names);
        for (size_t i = 0; i < n; i++) {
                const char *id = json_get_string_or(store->references, names[i], "");
                json_t *list = json_object_get(by_image, id);

                if (!list) {
                        list = json_array();
                        if (json_object_set_new(by_image, id, list) < 0)
                                return -ENOMEM;
                }
                if (json_array_append_new(list, json_string(names[i])) < 0)
                        return -ENOMEM;
        }
        store->by_image = TAKE_PTR(by_image);
        return 0;
}

json_t *store_references_of(Store *store, const char *id)
{
        return store->by_image || sort_references(store) == 0 ? json_object_get(store->by_image, id) : NULL;
}

int store_references_replace(Store *store, json_t *references)
{
        json_t *owned CLEANUP_JSON = references;
        int r;

        r = json_write_at(store->image_fd, STORE_REFERENCES_NAME, owned, 0600);
        if (r < 0)
                return r;
        json_decref(store->references);
        json_decref(TAKE_PTR(store->by_image));
        store->references = TAKE_PTR(owned);
        return 0;
}

void store_layer_name(const char *diff_id, char ret_name[static STORE_LAYER_ID_LENGTH + 1])
{
        snprintf(ret_name, STORE_LAYER_ID_LENGTH + 1, "%.20s", store_digest_hex(diff_id));
}

int store_chain_id(const json_t *layers, size_t n, char ret_digest[static STORE_DIGEST_SIZE])
{
        char text[2 * STORE_DIGEST_SIZE], chain[STORE_DIGEST_SIZE] = "";

        for (size_t i = 0; i < n; i++) {
                const char *diff_id = json_string_value(json_array_get(layers, i));
                int r;

                if (!store_digest_is_valid(diff_id))
                        return -EBADMSG;
                if (i == 0) {
                        snprintf(chain, sizeof(chain), "%s", diff_id);
                        continue;
                }
                snprintf(text, sizeof(text), "%s %s", chain, diff_id);
                r = store_digest_data(text, strlen(text), chain);
                if (r < 0)
                        return r;
        }
        memcpy(ret_digest, chain, sizeof(chain));
        return 0;
}

char *store_familiar(const char *normal)
{
        StoreReference reference CLEANUP_REFERENCE = {};

        return store_reference_parse(normal, &reference, NULL) == 0 ? store_reference_familiar(&reference)
                                                                    : strdup(normal);
}

int store_metadata_load(Store *store)
{
        int r = store_references_load(store);

        return r < 0 ? r : store_index_load(store);
}
