/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Manifests and indexes (OCI image-spec; Docker's schema 2 and manifest list), as a registry sends them. */
#pragma once

#include "berth/digest.h"
#include "berth/platform.h"
#include "registry-private.h"

#define REGISTRY_TYPE_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define REGISTRY_TYPE_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define REGISTRY_TYPE_DOCKER_SCHEMA1 "application/vnd.docker.distribution.manifest.v1+prettyjws"
#define REGISTRY_TYPE_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define REGISTRY_TYPE_DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar.gzip"
#define REGISTRY_TYPE_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define REGISTRY_TYPE_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define REGISTRY_TYPE_OCI_CONFIG "application/vnd.oci.image.config.v1+json"

#define REGISTRY_LAYERS_MAX 1000

typedef enum RegistryManifestKind {
        REGISTRY_MANIFEST_IMAGE,
        REGISTRY_MANIFEST_INDEX,
} RegistryManifestKind;

/* The empty value is {}. */
typedef struct RegistryManifest {
        RegistryManifestKind kind;
        json_t *json;                   /* owned; checked: digests are valid, sizes are not negative */
        const char *type;               /* borrowed: one of the above */
        char digest[STORE_DIGEST_SIZE]; /* of the bytes */
} RegistryManifest;

void registry_manifest_clear(RegistryManifest *manifest);
#define CLEANUP_REGISTRY_MANIFEST CLEANUP(registry_manifest_clear)

/* TYPE is the Content-Type, which a mediaType inside overrules; NAME stands in messages. */
int registry_manifest_parse(const void *data, size_t size, const char *type, const char *name, RegistryManifest *ret,
                            Error *error);

/* The index's best descriptor for a platform, borrowed; what is about other manifests (attestations) is passed over. */
int registry_manifest_choose(const RegistryManifest *index, const StorePlatform *platform, const json_t **ret,
                             Error *error);

/* Whether a configuration of the media type belongs to an image: OUTCOME_FAILED with Docker's words. */
int registry_manifest_check_config(const RegistryManifest *manifest, Error *error);

/* A manifest (owned text) of descriptors ({"mediaType","size","digest"}): OCI's, or schema 2 as Docker writes it. */
char *registry_manifest_build(const char *config_digest, size_t config_size, const json_t *layers, bool oci);
