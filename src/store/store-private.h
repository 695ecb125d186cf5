/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The opened store: its directories, and the part of its records that was needed so far. */
#pragma once

#include "berth/store.h"
#include "store-digest.h"

#define STORE_BLOB_SIZE_MAX (16u * 1024 * 1024)
#define STORE_LAYER_ID_LENGTH 20
#define STORE_REFERENCES_NAME "references.json"
#define STORE_REMOVALS_NAME "removals"
#define STORE_SOURCES_NAME "sources.json"
#define STORE_TRASH_PREFIX "trash-"
#define STORE_JOB_PREFIX "job-"
#define STORE_CHECK_PREFIX "check-"
#define STORE_NO_IMAGE "No such image: %s"

/* An image's record, as kept in image/record/HEX.json:
 * {"Created":ns,"Size","Layers":[diff IDs] lowest first,"Sizes":[of the
 * layers],"Labels":{},"Parent":ID,"LastTagTime":ns, "Blobs":[digests]} */
typedef struct StoreImage {
        char id[STORE_DIGEST_SIZE];
        json_t *record; /* owned; NULL until needed */
        bool removed;   /* for everybody but the containers that it has: image/record/HEX.removed is there */
} StoreImage;

#define STORE_REMOVED_SUFFIX ".removed"

struct Store {
        char *root, *layer_root; /* owned, as the descriptors are */
        int root_fd, image_fd, record_fd, blob_fd, layer_fd, staging_fd;
        StoreImage *images; /* owned; sorted by ID */
        size_t n_images, allocated_images;
        bool indexed;       /* the images' IDs were read */
        json_t *references; /* owned; NULL until needed */
        json_t *by_image;   /* owned; ID to array of references; NULL until needed */

        /* Removals that are noted, see store-removal.c. */
        json_t *removed; /* owned; ID to record of the images that are still on disk; NULL where all is settled */
        int removal_fd;  /* owned; the note */

        json_t *layer_users, *children; /* owned; counts by diff ID and by parent; NULL until needed */
};

/* Reads the images' IDs / references, if that was not done yet. */
int store_index_load(Store *store);
int store_references_load(Store *store);
int store_metadata_load(Store *store); /* both */

/* Borrowed until the index changes; NULL where there is none. The index is loaded. */
StoreImage *store_index_find(Store *store, const char *id);

/* The image's record, borrowed. -ENOENT where it went missing. */
int store_index_record(Store *store, StoreImage *image, json_t **ret_record);

/* Writes records, by image ID, and makes them known: what was removed is there again. */
int store_index_put(Store *store, const json_t *records);

/* The same in two steps: all of them durable, under names that mean nothing yet; then under their own. What was staged
 * is taken back where the second step fails, or by the third function. */
int store_index_stage(Store *store, const json_t *records);
int store_index_publish(Store *store, const json_t *records);
void store_index_unstage(const Store *store, const json_t *records);

/* Forgets an image / removes its record and mark, not synced. */
void store_index_forget(Store *store, StoreImage *image);
int store_index_unlink(const Store *store, const char *id);

/* Marks an image as removed: nothing but its ID tells of it, and all that it is made of stays in use. */
int store_index_hide(Store *store, StoreImage *image);

/* The image's normal references, borrowed; NULL where there are none. References are loaded. */
json_t *store_references_of(Store *store, const char *id);

/* Writes references as they are to be from now on (a new reference is taken). */
int store_references_replace(Store *store, json_t *references);

/* An object whose keys are the diff IDs of all images' layers, or all images' blobs, but for one image (may be NULL);
 * a value is the layer's size. */
int store_index_used(Store *store, const char *except_id, const char *member, json_t **ret_used);

/* A filter's values, owned by the caller / the one truth value that they are, as Docker reads them: OUTCOME_BAD_REQUEST
 * where they are none, or contradict each other. */
int store_filter_values(const json_t *values, char ***ret);
int store_filter_bool(const char *name, const json_t *values, bool *ret, Error *error);

/* The number of images whose parent it is / that have the layer, hidden ones too. */
int store_index_children(Store *store, const char *id, size_t *ret_count);
int store_index_layer_users(Store *store, const char *diff_id, size_t *ret_count);

/* The counts are no longer true / are without the image of this record from now on. */
void store_counts_drop(Store *store);
void store_counts_take(Store *store, const json_t *record, bool hidden);

/* Takes NAMES (not the index's own array) from the image, and with IMAGE the image too, for everybody that asks from
 * now on; what is on disk follows with store_settle(). */
int store_removal_note(Store *store, const char *id, bool image, const json_t *names);

/* Does what the process before had noted. */
int store_removals_recover(Store *store);

/* A layer's directory name: the first digits of its diff ID. */
void store_layer_name(const char *diff_id, char ret_name[static STORE_LAYER_ID_LENGTH + 1]);

/* The chain ID of the lowest N layers of a record. */
int store_chain_id(const json_t *layers, size_t n, char ret_digest[static STORE_DIGEST_SIZE]);

/* A name for staging that nothing has yet: PREFIX and a random number. Owned by the caller. */
int store_staging_name(const char *prefix, char **ret_name);

/* Makes a fresh directory in staging, named PREFIX and a random number. Not synced. */
int store_staging_make(const Store *store, const char *prefix, char **ret_name);

/* Moves DIRFD/NAME into the trash. */
int store_trash(const Store *store, int dirfd, const char *name);

/* A reference's text for people ("busybox:latest") from its normal form, owned by the caller. */
char *store_familiar(const char *normal);
