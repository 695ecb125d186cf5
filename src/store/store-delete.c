/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Untagging and removing images by Docker's rules. A name is untagged, and takes the image with it if it was the last;
 * an ID takes the image if it has at most one name. What stands in the way is a soft conflict (force overrides) or a
 * hard one, and is looked for in Docker's order, so that the message is the same.
 *
 * What goes is noted, and leaves the disk later: see store-removal.c.
 *
 * Containers need what they were made of. An image that is removed by force while it has some is hidden only; what it
 * is made of goes when nothing uses it any more. */
#include <string.h>

#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"

typedef enum Conflict {
        CONFLICT_CHILD = 1 << 0,
        CONFLICT_RUNNING = 1 << 1,
        CONFLICT_REFERENCE = 1 << 2,
        CONFLICT_STOPPED = 1 << 3,
        CONFLICT_HARD = CONFLICT_CHILD | CONFLICT_RUNNING,
        CONFLICT_SOFT = CONFLICT_REFERENCE | CONFLICT_STOPPED,
} Conflict;

typedef struct Delete {
        Store *store;
        const StoreUsers *users;
        bool force, prune;
        json_t *items; /* owned; what was done */
        Error *error;
} Delete;

static void delete_clear(Delete *delete)
{
        json_decref(delete->items);
}

static const char *container_of(const Delete *delete, const char *id, bool running)
{
        return delete->users && delete->users->container
                       ? delete->users->container(id, running, delete->users->userdata)
                       : NULL;
}

static int refuse(const Delete *delete, const char *id, bool hard, const char *what, const char *container)
{
        return error_set(delete->error, OUTCOME_CONFLICT, "conflict: unable to delete %.12s (%s) - %s%.12s",
                         store_digest_hex(id), hard ? "cannot be forced" : "must be forced", what, container);
}

/* 0 where nothing stands in the way; *ret_used where it is a container that does. */
static int check_conflict(const Delete *delete, const char *id, unsigned mask, bool *ret_used)
{
        const char *container;
        size_t children;
        int r;

        *ret_used = false;
        if (mask & CONFLICT_CHILD) {
                r = store_index_children(delete->store, id, &children);
                if (r < 0)
                        return r;
                if (children > 0)
                        return refuse(delete, id, true, "image has dependent child images", "");
        }
        if ((mask & CONFLICT_RUNNING) && (container = container_of(delete, id, true))) {
                *ret_used = true;
                return refuse(delete, id, true, "image is being used by running container ", container);
        }
        if ((mask & CONFLICT_REFERENCE) && json_array_size(store_references_of(delete->store, id)) > 0)
                return refuse(delete, id, false, "image is referenced in multiple repositories", "");
        if ((mask & CONFLICT_STOPPED) && (container = container_of(delete, id, false))) {
                *ret_used = true;
                return refuse(delete, id, false, "image is being used by stopped container ", container);
        }
        return 0;
}

static size_t name_size(const char *normal)
{
        const char *at = strchr(normal, '@'), *slash = strrchr(normal, '/'), *colon = strchr(slash ?: normal, ':');

        return at ? (size_t) (at - normal) : colon ? (size_t) (colon - normal) : strlen(normal);
}

static bool same_name(const char *a, const char *b)
{
        return name_size(a) == name_size(b) && strncmp(a, b, name_size(a)) == 0;
}

/* At most one tag, and no digest of another repository. */
static bool is_single_reference(const json_t *references)
{
        const char *single = NULL;
        json_t *item;
        size_t i;

        json_array_foreach(references, i, item) {
                if (strchr(json_string_value(item), '@'))
                        continue;
                if (single)
                        return false;
                single = json_string_value(item);
        }
        json_array_foreach(references, i, item) {
                if (!single)
                        single = json_string_value(item);
                if (!same_name(single, json_string_value(item)))
                        return false;
        }
        return true;
}

static int add_untagged(Delete *delete, const json_t *names)
{
        json_t *item;
        size_t i;

        json_array_foreach((json_t *) names, i, item) {
                char *familiar CLEANUP_FREE = store_familiar(json_string_value(item));

                if (!familiar || json_array_append_new(delete->items, json_pack("{s:s}", "Untagged", familiar)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static void tell(const Delete *delete, const char *action, const char *id, const json_t *labels)
{
        if (delete->users && delete->users->happened)
                delete->users->happened(action, id, labels, delete->users->userdata);
}

/* Removes names, and tells of the first so many of them. */
static int untag(Delete *delete, const char *id, const json_t *names, size_t told)
{
        json_t *record;
        int r = 0;

        if (json_array_size(names) == 0)
                return 0;
        r = store_index_record(delete->store, store_index_find(delete->store, id), &record);
        if (r >= 0)
                r = store_removal_note(delete->store, id, false, names);
        for (size_t i = 0; r >= 0 && i < MIN(told, json_array_size(names)); i++)
                tell(delete, "untag", id, json_get_object(record, "Labels"));
        return r < 0 ? r : add_untagged(delete, names);
}

/* Tells of the layers of a removed record that no other image has, topmost first. */
static int add_layers(Delete *delete, const json_t *record)
{
        json_t *layers = json_get_array(record, "Layers"), *gone CLEANUP_JSON = json_object();

        if (!gone)
                return -ENOMEM;
        for (size_t i = json_array_size(layers); i-- > 0;) {
                const char *diff_id = json_string_value(json_array_get(layers, i));
                char chain_id[STORE_DIGEST_SIZE];
                size_t users;
                int r;

                if (!store_digest_is_valid(diff_id) || json_object_get(gone, diff_id))
                        continue;
                r = store_index_layer_users(delete->store, diff_id, &users);
                if (r >= 0 && users == 0)
                        r = store_chain_id(layers, i + 1, chain_id);
                if (r < 0)
                        return r;
                if (users == 0 && (json_object_set_new(gone, diff_id, json_true()) < 0 ||
                                   json_array_append_new(delete->items, json_pack("{s:s}", "Deleted", chain_id)) < 0))
                        return -ENOMEM;
        }
        return 0;
}

/* For everybody but the containers that it has. */
static int hide_image(Delete *delete, const char *id)
{
        int r = store_settle(delete->store);

        return r < 0 ? r : store_index_hide(delete->store, store_index_find(delete->store, id));
}

static int remove_image(Delete *delete, const char *id, char **ret_parent)
{
        char *parent CLEANUP_FREE = NULL;
        json_t *record CLEANUP_JSON = NULL, *borrowed, *names CLEANUP_JSON = NULL, *none CLEANUP_JSON = json_array();
        bool used = container_of(delete, id, false) || container_of(delete, id, true);
        int r;

        r = none ? store_index_record(delete->store, store_index_find(delete->store, id), &borrowed) : -ENOMEM;
        if (r < 0)
                return r;
        record = json_incref(borrowed);
        if (json_get_string(record, "Parent")) {
                parent = strdup(json_get_string(record, "Parent"));
                if (!parent)
                        return -ENOMEM;
        }
        names = json_copy(store_references_of(delete->store, id));
        r = untag(delete, id, names, SIZE_MAX);
        if (r >= 0)
                r = used ? hide_image(delete, id) : store_removal_note(delete->store, id, true, none);
        if (r >= 0)
                tell(delete, "delete", id, NULL);
        if (r >= 0 && json_array_append_new(delete->items, json_pack("{s:s}", "Deleted", id)) < 0)
                r = -ENOMEM;
        if (r >= 0)
                r = add_layers(delete, record);
        if (r >= 0)
                *ret_parent = TAKE_PTR(parent);
        return r;
}

bool store_has_hidden(Store *store)
{
        bool found = false;

        if (store_index_load(store) < 0)
                return false;
        for (size_t i = 0; i < store->n_images && !found; i++)
                found = store->images[i].removed;
        return found;
}

int store_forget_hidden(Store *store, const StoreUsers *users)
{
        Delete delete CLEANUP(delete_clear) = { .store = store, .users = users, .items = json_array() };
        int r = delete.items ? store_metadata_load(store) : -ENOMEM;

        /* Backwards, as what is behind moves up. */
        for (size_t i = store->n_images; r >= 0 && i-- > 0;) {
                char id[STORE_DIGEST_SIZE], *parent = NULL;

                snprintf(id, sizeof(id), "%s", store->images[i].id);
                if (!store->images[i].removed || container_of(&delete, id, false) || container_of(&delete, id, true))
                        continue;
                r = remove_image(&delete, id, &parent);
                free(parent);
        }
        return r;
}

/* Nobody would notice that it is gone: it has neither names nor children. */
static bool is_dangling(const Delete *delete, const char *id)
{
        size_t children = 0;

        return json_array_size(store_references_of(delete->store, id)) == 0 &&
               store_index_children(delete->store, id, &children) >= 0 && children == 0;
}

/* Removes the image unless something is in the way. QUIET: then the untagging alone was what could be done. */
static int delete_image(Delete *delete, const char *image_id, bool force, bool quiet)
{
        char *id CLEANUP_FREE = strdup(image_id);

        if (!id)
                return -ENOMEM;
        for (;;) {
                char *parent = NULL;
                bool used;
                int r;

                r = check_conflict(delete, id, CONFLICT_HARD | (force ? 0 : CONFLICT_SOFT), &used);
                if (r > 0 && quiet && (used || !is_dangling(delete, id))) {
                        error_clear(delete->error);
                        return 0;
                }
                if (r == 0)
                        r = remove_image(delete, id, &parent);
                if (r != 0)
                        return r;
                free(id);
                id = parent;
                if (!delete->prune || !id || !store_image_exists(delete->store, id))
                        return 0;
                /* Its parents go too if nobody needs them. */
                force = false;
                quiet = true;
                if (json_array_size(store_references_of(delete->store, id)) > 0)
                        return 0;
                r = check_conflict(delete, id, CONFLICT_HARD | CONFLICT_SOFT, &used);
                if (r > 0) {
                        error_clear(delete->error);
                        return 0;
                }
                if (r < 0)
                        return r;
        }
}

/* The names that go when KEY goes: itself, and, where no other tag of its repository stays, that repository's
 * digests. */
static int names_with(const json_t *references, const char *key, json_t *names)
{
        bool tag_stays = strchr(key, '@');
        json_t *item;
        size_t i;

        json_array_foreach(references, i, item) {
                const char *other = json_string_value(item);

                if (!str_equal(other, key) && !strchr(other, '@') && same_name(other, key))
                        tag_stays = true;
        }
        if (json_array_append_new(names, json_string(key)) < 0)
                return -ENOMEM;
        json_array_foreach(references, i, item) {
                const char *other = json_string_value(item);

                if (!tag_stays && strchr(other, '@') && same_name(other, key) && json_array_append(names, item) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int delete_by_reference(Delete *delete, const char *name, const char *key, const char *id)
{
        json_t *names CLEANUP_JSON = json_array();
        const char *container = container_of(delete, id, true) ?: container_of(delete, id, false);
        int r;

        if (!names)
                return -ENOMEM;
        if (!delete->force && container && is_single_reference(store_references_of(delete->store, id)))
                return error_set(
                        delete->error, OUTCOME_CONFLICT,
                        "conflict: unable to remove repository reference \"%s\" (must force) - container %.12s is "
                        "using its referenced image %.12s",
                        name, container, store_digest_hex(id));
        r = names_with(store_references_of(delete->store, id), key, names);
        if (r >= 0)
                r = untag(delete, id, names, 1);
        if (r < 0)
                return r;
        if (json_array_size(store_references_of(delete->store, id)) > 0)
                return 0;
        return delete_image(delete, id, delete->force, true);
}

static int delete_by_id(Delete *delete, const char *id)
{
        json_t *names CLEANUP_JSON = NULL;
        bool used;
        int r;

        if (is_single_reference(store_references_of(delete->store, id))) {
                r = check_conflict(delete, id, CONFLICT_HARD | (delete->force ? 0 : CONFLICT_STOPPED), &used);
                if (r != 0)
                        return r;
                names = json_copy(store_references_of(delete->store, id));
                r = untag(delete, id, names, SIZE_MAX);
                if (r < 0)
                        return r;
        }
        return delete_image(delete, id, delete->force, false);
}

/* The reference NAME is, in the form it is kept; NULL where NAME is an ID. */
static char *reference_key(Store *store, const char *name)
{
        StoreReference reference CLEANUP_REFERENCE = {};
        char *key;

        if (store_reference_parse(name, &reference, NULL) != 0 || store_reference_default_tag(&reference) < 0)
                return NULL;
        if (reference.digest)
                free(TAKE_PTR(reference.tag));
        key = store_reference_normal(&reference);
        if (key && !json_object_get(store->references, key))
                free(TAKE_PTR(key));
        return key;
}

int store_delete(Store *store, const char *name, bool force, bool prune, const StoreUsers *users, json_t **ret_items,
                 Error *error)
{
        Delete delete CLEANUP(
                delete_clear) = { .store = store, .users = users, .force = force, .prune = prune, .error = error };
        char *id CLEANUP_FREE = NULL, *key CLEANUP_FREE = NULL;
        int r;

        delete.items = json_array();
        if (!delete.items)
                return -ENOMEM;
        r = store_resolve(store, name, &id, error);
        if (r != 0)
                return r;
        if (!store_image_exists(store, id))
                return error_set(error, OUTCOME_NOT_FOUND, STORE_NO_IMAGE, name);
        key = reference_key(store, name);
        r = key ? delete_by_reference(&delete, name, key, id) : delete_by_id(&delete, id);
        if (r != 0)
                return r;
        *ret_items = TAKE_PTR(delete.items);
        return 0;
}
