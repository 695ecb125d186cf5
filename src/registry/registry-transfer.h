/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of a layer to a registry. */
#pragma once

#include "berth/digest.h"
#include "registry-blob.h"
#include "registry-progress.h"
#include "registry-reader.h"

/* The empty value is {} but for the descriptor, which is negative. */
typedef struct RegistryTransfer {
        RegistrySession *session; /* these are borrowed */
        RegistryCompanion *reader;
        const char *diff_id;
        RegistryShortId id; /* of progress messages */
        bool gzip;
        int64_t tar_size;

        char digest[STORE_DIGEST_SIZE]; /* of the blob; "" until it is known */
        int64_t size;

        RegistryUploadPlace place; /* owned; an upload that has begun already, or none */
        size_t chunk;              /* 0: one stream */
        bool not_whole;            /* the registry takes no blob in one request */
        int64_t received;          /* bytes that the registry has */

        /* The pass over the layer at hand. */
        int fd;              /* owned; from the reader */
        StoreHasher *hasher; /* owned */
        int64_t offset;
        bool complete;
        Error failure; /* owned; the reader's */
        int64_t told_ns;
} RegistryTransfer;

/* Sends it, and learns digest and size. */
int registry_transfer_run(RegistryTransfer *transfer, Error *error);
void registry_transfer_clear(RegistryTransfer *transfer);
