/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was found in an archive of images: its members by path, small ones with their content, layers as they were
 * staged. */
#pragma once

#include <jansson.h>

#include "berth/store.h"
#include "store-digest.h"

typedef enum StoreMemberKind {
        STORE_MEMBER_DOCUMENT,
        STORE_MEMBER_LAYER,
        STORE_MEMBER_ALIAS,
} StoreMemberKind;

typedef struct StoreMember {
        char *path; /* clean; all owned */
        StoreMemberKind kind;
        char *target; /* alias: the clean path of what it stands for */
        char *data;   /* document: its bytes, zero-terminated */
        size_t size;
        json_t *layer;                  /* layer: the member for "Layers" of the result; NULL where unpacking failed */
        char *problem;                  /* ... and why */
        char digest[STORE_DIGEST_SIZE]; /* of the member's bytes; layers and documents */
} StoreMember;

typedef struct StoreMembers {
        StoreMember *items; /* owned; sorted by path once the archive is read */
        size_t count, allocated;
} StoreMembers;

void store_members_clear(StoreMembers *members);
#define CLEANUP_MEMBERS CLEANUP(store_members_clear)

/* Looks a member up through aliases; NULL where there is none. */
const StoreMember *store_members_find(const StoreMembers *members, const char *path);
const StoreMember *store_members_find_blob(const StoreMembers *members, const char *digest);

/* Works out which images there are, and writes their configurations into the staging directory. */
int store_load_resolve(const StoreMembers *members, const StoreInput *input, json_t **ret_result, Error *error);

/* Adds an image with this configuration, whose layers have these members (in order, the lowest first; an item is NULL
 * where the archive has none, and the store must). */
int store_load_add_image(const StoreInput *input, json_t *result, const char *config, size_t config_size,
                         const StoreMember *const *layers, size_t n_layers, json_t *references, Error *error);

/* The forms of archives, store-load-docker.c and store-load-oci.c. */
int store_load_docker(const StoreMembers *members, const StoreMember *manifest, const StoreInput *input, json_t *result,
                      Error *error);
int store_load_oci(const StoreMembers *members, const StoreMember *index, const StoreInput *input, json_t *result,
                   Error *error);
int store_load_legacy(const StoreMembers *members, const StoreMember *repositories, const StoreInput *input,
                      json_t *result, Error *error);

/* Parses a document of the archive. */
int store_load_parse(const StoreMember *document, json_t **ret, Error *error);
