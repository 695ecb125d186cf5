/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Removals, many of which may follow each other. Each is written to image/removals, a line of JSON, and done in memory.
 * The rest follows for all of them at once: the note is synced, records, layers and blobs go, the references are
 * written, and then the note goes. Before anything is added to the store there is no note; a start that finds one does
 * what it says, again if need be. So a killed process takes no removal back; a power cut may, of those since the last
 * sync, and then the image is there as it was. */
#include <fcntl.h>
#include <string.h>

#include "berth/buffer.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"

#define NOTE_SIZE_MAX (256u * 1024 * 1024)

/* --- The note ----------------------------------------------------------------------------------------------------- */

static int open_note(Store *store)
{
        if (store->removal_fd >= 0)
                return 0;
        store->removal_fd =
                openat(store->image_fd, STORE_REMOVALS_NAME, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        return store->removal_fd < 0 || fsync(store->image_fd) < 0 ? -errno : 0;
}

static int write_note(Store *store, const char *id, bool image, const json_t *names)
{
        json_t *note CLEANUP_JSON =
                json_pack("{s:s, s:b, s:O}", "ID", id, "Image", (int) image, "Names", (json_t *) names);
        char *text CLEANUP_FREE = note ? json_dumps(note, JSON_COMPACT) : NULL;
        /* What a full disk cut off before is a line of its own, which tells nothing. */
        char *line CLEANUP_FREE = text ? str_printf("\n%s\n", text) : NULL;

        return line ? fd_write_all(store->removal_fd, line, strlen(line)) : -ENOMEM;
}

/* --- In memory ---------------------------------------------------------------------------------------------------- */

static void forget_name(Store *store, const char *id, const char *name)
{
        json_t *list = store->by_image ? json_object_get(store->by_image, id) : NULL, *item;
        size_t i;

        if (!str_equal(json_get_string(store->references, name), id))
                return;
        (void) json_object_del(store->references, name);
        json_array_foreach(list, i, item)
                if (str_equal(json_string_value(item), name)) {
                        (void) json_array_remove(list, i);
                        return;
                }
}

static void forget(Store *store, StoreImage *image, const char *id, const json_t *names)
{
        json_t *name;
        size_t i;

        json_array_foreach((json_t *) names, i, name)
                forget_name(store, id, json_string_value(name));
        if (image)
                store_index_forget(store, image);
}

/* Keeps what has to be known of the image to remove what it is made of. */
static int keep_record(Store *store, StoreImage *image)
{
        json_t *record;
        int r = store_index_record(store, image, &record);

        return r < 0 ? r : json_object_set(store->removed, image->id, record) < 0 ? -ENOMEM : 0;
}

int store_removal_note(Store *store, const char *id, bool image, const json_t *names)
{
        StoreImage *found = image ? store_index_find(store, id) : NULL;
        int r;

        if (image && !found)
                return -ENOENT;
        if (!store->removed)
                store->removed = json_object();
        r = store->removed ? open_note(store) : -ENOMEM;
        if (r >= 0 && found)
                r = keep_record(store, found);
        if (r < 0)
                return r;
        r = write_note(store, id, image, names);
        if (r < 0) {
                if (found)
                        (void) json_object_del(store->removed, id);
                return r;
        }
        forget(store, found, id, names);
        return 0;
}

/* --- On disk ------------------------------------------------------------------------------------------------------ */

static int drop_records(const Store *store)
{
        const char *id;
        json_t *record;

        json_object_foreach(store->removed, id, record) {
                int r = store_index_unlink(store, id);

                if (r < 0)
                        return r;
        }
        return fsync(store->record_fd) < 0 ? -errno : 0;
}

static int drop_layer(const Store *store, const char *diff_id)
{
        char name[STORE_LAYER_ID_LENGTH + 1];
        int r;

        store_layer_name(diff_id, name);
        r = store_trash(store, store->layer_fd, name);
        return r == -ENOENT ? 0 : r;
}

static int drop_blob(const Store *store, const char *digest)
{
        return unlinkat(store->blob_fd, store_digest_hex(digest), 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* What the removed images have, and no other does. */
static int drop_unused(Store *store, const char *member, int (*drop)(const Store *store, const char *digest),
                       int directory_fd)
{
        json_t *used CLEANUP_JSON = NULL, *record, *item;
        const char *id;
        size_t i;
        int r = store_index_used(store, NULL, member, &used);

        json_object_foreach(store->removed, id, record)
                json_array_foreach(json_get_array(record, member), i, item) {
                        const char *digest = json_string_value(item);

                        if (r < 0)
                                return r;
                        if (store_digest_is_valid(digest) && !json_object_get(used, digest))
                                r = drop(store, digest);
                }
        return r >= 0 && fsync(directory_fd) < 0 ? -errno : r;
}

bool store_is_settled(const Store *store)
{
        return !store->removed;
}

int store_settle(Store *store)
{
        int r = 0;

        if (!store->removed)
                return 0;
        if (store->removal_fd >= 0 && fdatasync(store->removal_fd) < 0)
                return -errno;
        /* First what makes room, so that a full disk hinders nothing but the references. */
        if (json_object_size(store->removed) > 0) {
                r = drop_records(store);
                if (r >= 0)
                        r = drop_unused(store, "Layers", drop_layer, store->layer_fd);
                if (r >= 0)
                        r = drop_unused(store, "Blobs", drop_blob, store->blob_fd);
        }
        if (r >= 0)
                r = json_write_at(store->image_fd, STORE_REFERENCES_NAME, store->references, 0600);
        if (r < 0)
                return r;
        if ((unlinkat(store->image_fd, STORE_REMOVALS_NAME, 0) < 0 && errno != ENOENT) || fsync(store->image_fd) < 0)
                return -errno;
        store->removal_fd = fd_close(store->removal_fd);
        json_decref(TAKE_PTR(store->removed));
        return 0;
}

/* --- At the start ------------------------------------------------------------------------------------------------- */

static int redo(Store *store, const char *line, size_t size)
{
        json_t *note CLEANUP_JSON = json_loadb(line, size, 0, NULL);
        const char *id = json_get_string(note, "ID");
        StoreImage *image = NULL;
        int r = 0;

        if (!store_digest_is_valid(id))
                return 0;
        if (json_is_true(json_object_get(note, "Image")))
                image = store_index_find(store, id);
        if (image)
                r = keep_record(store, image);
        if (r >= 0)
                forget(store, image, id, json_get_array(note, "Names"));
        return r;
}

int store_removals_recover(Store *store)
{
        char *text CLEANUP_FREE = NULL;
        size_t size;
        int r = file_read_at(store->image_fd, STORE_REMOVALS_NAME, NOTE_SIZE_MAX, &text, &size);

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        store->removed = json_object();
        r = store->removed ? store_metadata_load(store) : -ENOMEM;
        for (char *line = text, *end; r >= 0 && line < text + size; line = end + 1) {
                end = memchr(line, '\n', (size_t) (text + size - line)) ?: text + size;
                r = redo(store, line, (size_t) (end - line));
        }
        /* The layers of an image whose record went before the cut are known to nobody. */
        if (r >= 0)
                r = store_collect(store);
        return r < 0 ? r : store_settle(store);
}
