/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256 digests in their written form, of data at hand and of data that streams by. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/cleanup.h"

/* "sha256:" and 64 digits, terminated. */
#define STORE_DIGEST_SIZE 72
#define STORE_DIGEST_PREFIX "sha256:"

/* True for "sha256:" and 64 lower-case hexadecimal digits, and nothing else. */
bool store_digest_is_valid(const char *digest);

/* The digits behind the prefix of a valid digest. */
static inline const char *store_digest_hex(const char *digest)
{
        return digest + sizeof(STORE_DIGEST_PREFIX) - 1;
}

int store_digest_data(const void *data, size_t size, char ret_digest[static STORE_DIGEST_SIZE]);

typedef struct StoreHasher StoreHasher;

/* A running digest. THREADED moves the work to a thread of its own, so that it costs its caller one copy. */
int store_hasher_new(bool threaded, StoreHasher **ret);
void store_hasher_free(StoreHasher *hasher);
int store_hasher_update(StoreHasher *hasher, const void *data, size_t size);

/* Ends the hasher: no update may follow. */
int store_hasher_finish(StoreHasher *hasher, char ret_digest[static STORE_DIGEST_SIZE]);

DEFINE_CLEANUP(store_hasher_cleanup, StoreHasher *, store_hasher_free)
#define CLEANUP_HASHER CLEANUP(store_hasher_cleanup)
