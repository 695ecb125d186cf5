/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256 by libcrypto. A threaded hasher owns a ring of blocks: the caller copies into the block at `head`, the thread
 * digests the one at `tail`; a block belongs to the caller while it is being filled and to the thread from the moment
 * it is counted in `filled`. The thread ends when `finished` is set and nothing is filled. */
#include "store-digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#include "berth/string.h"

#define HASHER_BLOCK_SIZE (256u * 1024)
#define HASHER_BLOCKS 8

struct StoreHasher {
        EVP_MD_CTX *context;
        int error; /* of the digest itself; only the thread writes it while it runs */
        bool threaded;
        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        uint8_t *blocks;
        size_t sizes[HASHER_BLOCKS];
        unsigned head, tail, filled;
        bool finished;
};

bool store_digest_is_valid(const char *digest)
{
        const char *hex = digest ? str_after_prefix(digest, STORE_DIGEST_PREFIX) : NULL;

        return hex && strlen(hex) == ID_LENGTH && id_is_prefix(hex);
}

static int digest_write(EVP_MD_CTX *context, char ret_digest[static STORE_DIGEST_SIZE])
{
        uint8_t value[EVP_MAX_MD_SIZE];
        unsigned size = 0;

        if (EVP_DigestFinal_ex(context, value, &size) != 1 || size != ID_LENGTH / 2)
                return -EIO;
        memcpy(ret_digest, STORE_DIGEST_PREFIX, sizeof(STORE_DIGEST_PREFIX) - 1);
        hex_encode(value, size, ret_digest + sizeof(STORE_DIGEST_PREFIX) - 1);
        return 0;
}

int store_digest_data(const void *data, size_t size, char ret_digest[static STORE_DIGEST_SIZE])
{
        StoreHasher *hasher CLEANUP_HASHER = NULL;
        int r;

        r = store_hasher_new(false, &hasher);
        if (r >= 0)
                r = store_hasher_update(hasher, data, size);
        return r < 0 ? r : store_hasher_finish(hasher, ret_digest);
}

static void *hasher_main(void *userdata)
{
        StoreHasher *hasher = userdata;

        pthread_mutex_lock(&hasher->mutex);
        for (;;) {
                while (hasher->filled == 0 && !hasher->finished)
                        pthread_cond_wait(&hasher->changed, &hasher->mutex);
                if (hasher->filled == 0)
                        break;
                pthread_mutex_unlock(&hasher->mutex);
                if (EVP_DigestUpdate(hasher->context, hasher->blocks + (size_t) hasher->tail * HASHER_BLOCK_SIZE,
                                     hasher->sizes[hasher->tail]) != 1)
                        hasher->error = -EIO;
                pthread_mutex_lock(&hasher->mutex);
                hasher->tail = (hasher->tail + 1) % HASHER_BLOCKS;
                hasher->filled--;
                pthread_cond_signal(&hasher->changed);
        }
        pthread_mutex_unlock(&hasher->mutex);
        return NULL;
}

static int hasher_start(StoreHasher *hasher)
{
        int r;

        hasher->blocks = malloc((size_t) HASHER_BLOCKS * HASHER_BLOCK_SIZE);
        if (!hasher->blocks)
                return -ENOMEM;
        pthread_mutex_init(&hasher->mutex, NULL);
        pthread_cond_init(&hasher->changed, NULL);
        r = pthread_create(&hasher->thread, NULL, hasher_main, hasher);
        if (r > 0)
                return -r;
        hasher->threaded = true;
        return 0;
}

int store_hasher_new(bool threaded, StoreHasher **ret)
{
        StoreHasher *hasher CLEANUP_HASHER = calloc(1, sizeof(*hasher));
        int r;

        if (!hasher)
                return -ENOMEM;
        hasher->context = EVP_MD_CTX_new();
        if (!hasher->context)
                return -ENOMEM;
        if (EVP_DigestInit_ex(hasher->context, EVP_sha256(), NULL) != 1)
                return -EIO;
        if (threaded) {
                r = hasher_start(hasher);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(hasher);
        return 0;
}

/* Gives the block being filled to the thread. The mutex is held. */
static void hasher_pass_block(StoreHasher *hasher)
{
        hasher->filled++;
        hasher->head = (hasher->head + 1) % HASHER_BLOCKS;
        hasher->sizes[hasher->head] = 0;
        pthread_cond_signal(&hasher->changed);
}

int store_hasher_update(StoreHasher *hasher, const void *data, size_t size)
{
        const uint8_t *bytes = data;

        if (!hasher->threaded)
                return EVP_DigestUpdate(hasher->context, data, size) == 1 ? 0 : -EIO;
        while (size > 0) {
                size_t *used, count;

                /* At most all blocks but one are filled, so the one at `head` is always the caller's. */
                used = &hasher->sizes[hasher->head];
                count = MIN(size, HASHER_BLOCK_SIZE - *used);
                memcpy(hasher->blocks + (size_t) hasher->head * HASHER_BLOCK_SIZE + *used, bytes, count);
                *used += count;
                bytes += count;
                size -= count;
                if (*used == HASHER_BLOCK_SIZE) {
                        pthread_mutex_lock(&hasher->mutex);
                        while (hasher->filled + 1 == HASHER_BLOCKS)
                                pthread_cond_wait(&hasher->changed, &hasher->mutex);
                        hasher_pass_block(hasher);
                        pthread_mutex_unlock(&hasher->mutex);
                }
        }
        return 0;
}

static void hasher_join(StoreHasher *hasher)
{
        if (!hasher->threaded)
                return;
        pthread_mutex_lock(&hasher->mutex);
        if (hasher->sizes[hasher->head] > 0)
                hasher->filled++;
        hasher->finished = true;
        pthread_cond_signal(&hasher->changed);
        pthread_mutex_unlock(&hasher->mutex);
        pthread_join(hasher->thread, NULL);
        hasher->threaded = false;
}

int store_hasher_finish(StoreHasher *hasher, char ret_digest[static STORE_DIGEST_SIZE])
{
        hasher_join(hasher);
        return hasher->error < 0 ? hasher->error : digest_write(hasher->context, ret_digest);
}

void store_hasher_free(StoreHasher *hasher)
{
        if (!hasher)
                return;
        hasher_join(hasher);
        if (hasher->blocks) {
                pthread_mutex_destroy(&hasher->mutex);
                pthread_cond_destroy(&hasher->changed);
        }
        free(hasher->blocks);
        EVP_MD_CTX_free(hasher->context);
        free(hasher);
}
