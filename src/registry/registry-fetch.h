/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Documents from a repository: manifests, configurations, lists of tags. */
#pragma once

#include "registry-manifest.h"
#include "registry-session.h"

/* A document's bytes as they came. */
typedef struct RegistryDocument {
        Buffer data;
        RegistryManifest manifest; /* of its parsed form, where it is one */
} RegistryDocument;

void registry_document_clear(RegistryDocument *document);
#define CLEANUP_REGISTRY_DOCUMENT CLEANUP(registry_document_clear)

/* WHAT is a tag, or a digest that the bytes must have. Refusals to pull are worded as Docker's; without a REFERENCE the
 * registry's words are left alone. */
int registry_fetch_manifest(RegistrySession *session, const char *what, const StoreReference *reference,
                            RegistryDocument *ret, Error *error);

/* A small blob whose bytes must have the digest. */
int registry_fetch_blob(RegistrySession *session, const char *digest, int64_t size, Buffer *ret, Error *error);

/* All tags, in the registry's order; owned by the caller. */
int registry_fetch_tags(RegistrySession *session, const StoreReference *reference, char ***ret, Error *error);

/* Docker's words, and the status behind them, for a refusal to read. */
int registry_refuse_read(const RegistryResponse *response, const StoreReference *reference, Error *error);
