/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The image store: blobs, layers, references, all under one root directory.
 *
 *   image/blobs/sha256/HEX     manifests and configurations, byte for byte
 *   image/record/HEX.json      one per image: what listing, counting and inspecting need besides the configuration
 *   image/references.json      {"docker.io/library/busybox:latest": "sha256:<image id>",
 *                               "docker.io/library/busybox@sha256:...": "sha256:<image id>", ...}
 *   image/removals             what was removed and is still on disk: see store_settle()
 *   layer/ID/fs                one unpacked layer in overlayfs' form; ID is the first 20 digits of its diff ID, so that
 * a layer is there once, whatever it is stacked upon layer/ID/layer.json        {"DiffID","Size","TarSize","Entries"}
 *   layer/ID/headers.zst       its tar headers in order, so that the tar can be written again byte for byte
 *   layer/ID/kept/             content that the tar replaces by later entries (rarely there)
 *   staging/                   what workers write before it is committed by rename, and what waits to be removed
 *
 * An image ID is the digest of its configuration. Metadata is changed only by the process that opened the store
 * (berthd); workers fill a staging directory and report. Every change is staged, synced and renamed. Records are read
 * when they are first needed: opening costs the same with one image and with thousands.
 *
 * JSON results have the shapes of the API's version 1.51. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "berth/outcome.h"

typedef struct Store Store;

/* Makes the directories where they are missing (0700). What a crash left in staging becomes trash; where it interrupted
 * a commit or a removal, layers and blobs that nothing names are collected. */
int store_open(const char *root, Store **ret_store);
void store_free(Store *store);

/* Directory that layer paths are relative to ("<root>/layer"), borrowed. */
const char *store_layer_root(const Store *store);

/* --- References --------------------------------------------------------------------------------------------------- */

/* A parsed reference. The empty value is {}. */
typedef struct StoreReference {
        char *domain; /* "docker.io"; all owned */
        char *path;   /* "library/busybox" */
        char *tag;    /* NULL where not said */
        char *digest; /* "sha256:..."; NULL where not said */
} StoreReference;

void store_reference_clear(StoreReference *reference);
#define CLEANUP_REFERENCE CLEANUP(store_reference_clear)

/* Parses a normal or familiar name ("busybox", "host:5000/a/b:tag@sha256:..."). OUTCOME_BAD_REQUEST with Docker's
 * words. */
int store_reference_parse(const char *text, StoreReference *ret, Error *error);

/* Gives it the tag "latest" if it has neither tag nor digest. */
int store_reference_default_tag(StoreReference *reference);

/* Sets the tag, after a check: OUTCOME_BAD_REQUEST "invalid tag format". */
int store_reference_set_tag(StoreReference *reference, const char *tag, Error *error);

/* "docker.io/library/busybox:latest" / "busybox:latest" / "docker.io/library/busybox" / "busybox", owned by the caller;
 * NULL when out of memory. */
char *store_reference_normal(const StoreReference *reference);
char *store_reference_familiar(const StoreReference *reference);
char *store_reference_normal_name(const StoreReference *reference);
char *store_reference_familiar_name(const StoreReference *reference);

/* The parts "repo" and "tag" of an API query (tag may be empty, or a digest), as one reference with a tag or digest. */
int store_reference_from_query(const char *repo, const char *tag, StoreReference *ret, Error *error);
/* The same for a name that an image is to get: digests are refused. */
int store_reference_for_name(const char *repo, const char *tag, StoreReference *ret, Error *error);

/* --- Finding ------------------------------------------------------------------------------------------------------ */

/* Finds an image by reference (short forms included), by digest, or by ID or unambiguous prefix of it, with and without
 * "sha256:". The full ID ("sha256:HEX") is owned by the caller. OUTCOME_NOT_FOUND with Docker's "No such image: ...",
 * OUTCOME_BAD_REQUEST for a name that breaks the grammar. */
int store_resolve(Store *store, const char *name, char **ret_id, Error *error);

/* The image's configuration (OCI image-spec config), a new reference. -ENOENT where there is none. */
int store_image_config(Store *store, const char *image_id, json_t **ret_config);

/* Is PATH (without a slash in front), which is NAME in DIRFD, a mount point or a mark as the engine makes it for every
 * container, with nothing of the container's own in it? Those are of no image, and no change. */
bool store_is_placeholder(int dirfd, const char *name, const char *path);

/* The image's layer directories, relative to store_layer_root(), topmost first; a NULL-terminated vector owned by the
 * caller, empty for an image without layers. A layer that occurs twice is named once, where it is topmost: overlayfs
 * takes no directory twice, and the lower occurrence can never be seen. */
int store_image_layers(Store *store, const char *image_id, char ***ret_layers);

/* The normal references ("docker.io/library/busybox:latest") of the image, owned by the caller. */
int store_image_references(Store *store, const char *image_id, char ***ret_references);

/* --- Asking ------------------------------------------------------------------------------------------------------- */

/* What the engine knows of containers. Any member may be NULL. */
typedef struct StoreUsers {
        /* How many containers use the image. */
        int64_t (*count)(const char *image_id, void *userdata);
        /* The full ID of a container that uses the image, running or not as asked; NULL where there is none.
         * Borrowed. */
        const char *(*container)(const char *image_id, bool running, void *userdata);
        /* Is told what happens to images, in Docker's words for its events: "untag" or "delete". LABELS may be NULL. */
        void (*happened)(const char *action, const char *image_id, const json_t *labels, void *userdata);
        void *userdata;
} StoreUsers;

typedef struct StoreListOptions {
        bool all;              /* intermediate images too */
        bool shared_size;      /* work SharedSize out */
        bool container_count;  /* fill Containers in */
        const json_t *filters; /* as the API takes them: {"label":["a=b"]} or {"label":{"a=b":true}}; may be NULL */
} StoreListOptions;

/* An array of ImageSummary, newest first. */
int store_list(Store *store, const StoreListOptions *options, const StoreUsers *users, json_t **ret_list, Error *error);

/* Whether the image is of the platform "os[/architecture[/variant]]" (NULL or "": of any): OUTCOME_NOT_FOUND with what
 * the user calls it, NAME, where it is not. OUTCOME_BAD_REQUEST. */
int store_image_check_platform(Store *store, const char *image_id, const char *name, const char *platform,
                               Error *error);

/* Whether there is an image of this ID for anybody to use: a hidden one is none, see store_has_hidden(). */
bool store_image_exists(Store *store, const char *image_id);

/* ImageInspect / the array that GET /images/NAME/history answers. -ENOENT where there is no such image. */
int store_image_inspect(Store *store, const char *image_id, json_t **ret_inspect);
int store_image_history(Store *store, const char *image_id, json_t **ret_history);

/* The sum of the sizes of all layers, each counted once, for system df. */
int store_layers_size(Store *store, int64_t *ret_size);

/* --- Changing ----------------------------------------------------------------------------------------------------- */

/* Makes REFERENCE (any form; the tag defaults to latest) name the image. */
int store_tag(Store *store, const char *image_id, const char *reference, Error *error);

/* Removes what NAME says, as DELETE /images/NAME does: an untagging, or the image with the layers nothing else uses,
 * and with PRUNE its untagged parents. An array of ImageDeleteResponseItem. OUTCOME_CONFLICT with Docker's words.
 * It is for good once store_settle() was called; until then a power cut, but no crash of this process, may leave the
 * image as it was. */
int store_delete(Store *store, const char *name, bool force, bool prune, const StoreUsers *users, json_t **ret_items,
                 Error *error);

/* Carries out on disk, for all at once, what was removed since it was called last; layers become trash: see
 * store_trash_paths(). Whatever adds to the store does so first, and so do store_open() and store_free(). To be called
 * again after an error. / Whether there is nothing to do. */
int store_settle(Store *store);
bool store_is_settled(const Store *store);

/* An image that was removed by force while a container used it is hidden, and keeps its configuration and layers for
 * that container. Whether there is one, and removing those that nothing uses any more: when a container has gone. */
bool store_has_hidden(Store *store);
int store_forget_hidden(Store *store, const StoreUsers *users);

/* The names that a prune of images removes, one store_delete() each, as POST /images/prune has it: images without a
 * tag, or with "dangling" false all that no container uses, by the filters dangling, until, label and label!. An image
 * that is used is refused by the removal. A vector owned by the caller. OUTCOME_BAD_REQUEST. */
int store_prune_names(Store *store, const json_t *filters, char ***ret_names, Error *error);

/* The absolute paths of what is trash by now, for a process that removes them at leisure; a vector owned by the caller,
 * NULL where there is none. */
int store_trash_paths(const Store *store, char ***ret_paths);

/* Moves layers and blobs that no image names to the trash. Not while a commit is under way elsewhere. */
int store_collect(Store *store);

/* --- Checking ------------------------------------------------------------------------------------------------------
 */

typedef struct StoreCheck {
        size_t images, layers, blobs, references, faults;
} StoreCheck;

/* Checks all below ROOT, while nothing changes it: that every blob and every layer's tar, written again, has its
 * digest, that all is there that something names, and nothing else. TELL gets each fault, a line. Nothing is changed.
 */
int store_check(const char *root, void (*tell)(void *userdata, const char *text), void *userdata, StoreCheck *ret);

/* --- Staging and committing --------------------------------------------------------------------------------------- */

/* A fresh directory in staging for one job. The name is owned by the caller, the descriptor too. */
int store_staging_create(Store *store, char **ret_name, int *ret_fd);

/* Gives a job's directory up, whatever is in it. */
int store_staging_discard(Store *store, const char *name);

/* Makes what a worker staged part of the store, in the order layers, blobs, records, references, each on disk before
 * anything names it; then discards the staging directory. RESULT is what the worker returned, and is checked:
 *   {"Layers":[{"DiffID","Size","Staged":"layer-0"}],
 *    "Images":[{"Config":{"Digest","Staged":"config-0"}, "Blobs":[{"Digest","Staged"}], "References":["..."],
 *               "Parent":"sha256:...", "Time":ns or absent: when it was tagged here}]}
 * Layers of the store need not be staged again; staged copies of what is there are dropped.
 * Returns an array [{"ID","References":[familiar...],"Replaced":[{"Reference","ID"}]}]. */
int store_commit(Store *store, const char *staging_name, const json_t *result, json_t **ret_images, Error *error);

/* Notes that a registry's repository ("docker.io/library/busybox") has the layer as the blob DIGEST. */
int store_source_add(Store *store, const char *diff_id, const char *digest, int64_t size, const char *media_type,
                     const char *repository);

/* What was noted of a layer, the latest first: [{"Digest","Size","MediaType","Repositories":[...]}]. */
int store_layer_sources(const char *layer_root, const char *diff_id, json_t **ret_sources);

/* The tags of a repository ("docker.io/library/busybox"): {"latest": "<image ID>"}. */
int store_repository_tags(Store *store, const char *name, json_t **ret_tags);

/* The manifests (their text) that are kept for an image, indexes left out. */
int store_image_manifests(Store *store, const char *image_id, json_t **ret_texts);

/* The configuration's bytes, owned by the caller. -ENOENT where there is none. */
int store_image_config_text(Store *store, const char *image_id, char **ret_text);

/* What is to be saved, worked out where the store is open: {"Images":[{"ID","Config":text,"Layers":[diff IDs],
 * "References":[normal ...],"Created":ns}]}. NAMES is NULL-terminated: names without a tag mean all tags of theirs.
 * PLATFORM, if not NULL, has to be that of each image. OUTCOME_NOT_FOUND with Docker's words. */
int store_save_plan(Store *store, char *const *names, const char *platform, json_t **ret_plan, Error *error);

/* --- In workers ----------------------------------------------------------------------------------------------------
 */

typedef struct StoreInput {
        int fd;                                                     /* the archive, borrowed */
        ssize_t (*read)(void *userdata, void *buffer, size_t size); /* instead of the descriptor, if set */
        int staging_fd;                                             /* borrowed */
        bool plain;           /* a tar is no layer: whiteouts are files like any other, and nobody wants its digest */
        const char *platform; /* "linux/arm64/v8"; NULL: this machine's */

        /* Called now and then; LAYER is a short name, TOTAL 0 where unknown. May be NULL. */
        void (*progress)(void *userdata, const char *layer, int64_t current, int64_t total);
        void *userdata; /* of both callbacks: READ may run in a thread of its own while PROGRESS runs */
} StoreInput;

/* Unpacks an archive of images (docker save, or an OCI layout; compressed or not) into the staging directory, and syncs
 * it. The result is for store_commit(). */
int store_load_archive(const StoreInput *input, json_t **ret_result, Error *error);

typedef struct StoreImport {
        const char *reference; /* NULL: none */
        const char *message;   /* of the history's entry */
        const json_t *config;  /* the image's "config" object; may be NULL */
} StoreImport;

/* The diff IDs of an image's configuration, lowest first, borrowed; NULL where it has none. */
json_t *store_config_layers(const json_t *config);

/* Overlayfs' own form of layers: "there is nothing of this name", and marking a directory so that nothing of the layers
 * below shows in it. */
bool store_is_whiteout(const struct stat *st);
int store_set_opaque(int fd);
bool store_is_opaque(int fd);

/* The same for the tar of a root file system, which becomes an image of one layer. */
int store_import(const StoreInput *input, const StoreImport *import, json_t **ret_result, Error *error);

typedef struct StoreChild {
        int upper_fd;          /* the overlay's upper directory: what changed; negative: nothing. Borrowed, as all is */
        const json_t *parent;  /* the configuration of the image that it changed; NULL: there was none */
        const char *parent_id; /* ... and its ID */
        const char *reference; /* NULL: none */
        const json_t *config;  /* the new image's "config" object */
        const json_t *container_config;            /* what the container was made with */
        const char *container_id;                  /* may be NULL */
        const char *author, *comment, *created_by; /* of the history's entry; may be NULL */
        int64_t created_ns;                        /* when; 0: now */
        const json_t *entry; /* all of the history's entry, where PARENT has its layer already; may be NULL */
        bool bare;           /* UPPER_FD was no container's: nothing in it is the engine's own */
} StoreChild;

/* What changed becomes a layer upon the parent's, which gives an image. Where nothing changed there is no layer. */
int store_child(const StoreInput *input, const StoreChild *child, json_t **ret_result, Error *error);

/* Writes the tree below ROOT_FD as a tar. The working directory changes. */
int store_export(int root_fd, int (*write)(void *userdata, const void *data, size_t size), void *userdata);

/* The same of NAME in PARENT_FD ("." for all of it) alone, with what is below it; the archive calls it AS. */
int store_export_name(int parent_fd, const char *name, const char *as,
                      int (*write)(void *userdata, const void *data, size_t size), void *userdata);

#define STORE_TAR_REMOVAL 'R'

typedef struct StoreExtract {
        int root_fd;      /* the container's root: no link leads out of it. Borrowed, as all is */
        const char *path; /* of the directory in it: absolute, without links */
        ssize_t (*read)(void *userdata, void *buffer, size_t size);
        void *userdata;
        bool keep_kinds; /* nothing but a directory replaces a directory, nor it anything else */
        bool set_owner;  /* UID and GID instead of the archive's */
        uid_t uid;
        gid_t gid;
        bool removals; /* an entry of the type STORE_TAR_REMOVAL removes what has its name */
} StoreExtract;

/* Unpacks a tar (compressed or not) into a directory that others may be changing meanwhile. */
int store_extract(const StoreExtract *extract, Error *error);

/* Unpacks one layer blob (compressed or not) as STAGED ("layer-0") without syncing, for pulls. DIFF_ID, if not NULL,
 * must be its digest when uncompressed, DIGEST, if not NULL, that of the blob. Returns the member for "Layers" of a
 * result; of a plain tar {"Size","Entries"}. */
int store_stage_layer(const StoreInput *input, const char *staged, const char *digest, const char *diff_id,
                      json_t **ret_layer, Error *error);

/* Writes a blob into the staging directory, not synced: {"Digest","Staged"}. */
int store_stage_blob(int staging_fd, const char *staged, const void *data, size_t size, json_t **ret_blob);

/* Makes all that was staged durable / one blob of it, where there is nothing else. */
int store_stage_sync(int staging_fd);
int store_stage_sync_blob(int staging_fd, const char *staged);

/* Writes an archive of images as docker save does: an OCI layout that has manifest.json and repositories, too.
 * LAYER_ROOT as store_layer_root() says; its layers are opened before the first byte is written. -EBADMSG where a
 * layer's files are not what they were. */
int store_save(const char *layer_root, const json_t *plan, int (*write)(void *userdata, const void *data, size_t size),
               void *userdata);

/* Writes the layer's tar as it was, byte for byte. LAYER_FD is the layer's directory. -EBADMSG where its files changed.
 */
int store_layer_write_tar(int layer_fd, int (*write)(void *userdata, const void *data, size_t size), void *userdata);

/* The size of a layer's tar. */
int store_layer_tar_size(const char *layer_root, const char *diff_id, int64_t *ret_size);

/* Opens a layer's directory by its diff ID, checking that it is that layer's. */
int store_layer_open(const char *layer_root, const char *diff_id);

/* Makes what confining takes once for the children this process has later, in about a millisecond. Without it each
 * makes its own. */
int store_worker_prepare(void);

/* A descriptor that such a child is to keep until it is confined; negative where nothing was prepared. */
int store_worker_network(void);

/* Takes from a worker what it does not need: other descriptors (all but 0 to 2 and KEEP), the network, the file system
 * but for STAGING_FD, which becomes its root, new privileges, and capabilities, system calls and
 * memory beyond those that unpacking needs. */
int store_worker_confine(int staging_fd, const int *keep, size_t n_keep);
