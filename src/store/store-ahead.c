/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A ring of blocks between the thread that fills them and the stream that lends them. A block is the thread's until it
 * is counted in `filled`, then the reader's until the reader asks for the next one. */
#include "store-ahead.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define AHEAD_BLOCK_SIZE (256u * 1024)
#define AHEAD_BLOCKS 8

struct StoreAhead {
        StoreStream stream;
        StoreStream *parent;
        uint8_t *blocks; /* owned */
        size_t sizes[AHEAD_BLOCKS];
        unsigned head, tail, filled; /* head is where the thread fills, tail what the reader has or gets next */
        bool lent;                   /* the reader has the block at tail */
        bool ended, cancelled;
        int error; /* how the parent ended */
        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t changed;
};

static void *ahead_main(void *userdata)
{
        StoreAhead *ahead = userdata;

        pthread_mutex_lock(&ahead->mutex);
        for (;;) {
                ssize_t n;

                while (ahead->filled == AHEAD_BLOCKS && !ahead->cancelled)
                        pthread_cond_wait(&ahead->changed, &ahead->mutex);
                if (ahead->cancelled)
                        break;
                pthread_mutex_unlock(&ahead->mutex);
                n = store_stream_read(ahead->parent, ahead->blocks + (size_t) ahead->head * AHEAD_BLOCK_SIZE,
                                      AHEAD_BLOCK_SIZE);
                pthread_mutex_lock(&ahead->mutex);
                if (n <= 0) {
                        ahead->error = (int) n;
                        break;
                }
                ahead->sizes[ahead->head] = (size_t) n;
                ahead->head = (ahead->head + 1) % AHEAD_BLOCKS;
                ahead->filled++;
                pthread_cond_signal(&ahead->changed);
        }
        ahead->ended = true;
        pthread_cond_signal(&ahead->changed);
        pthread_mutex_unlock(&ahead->mutex);
        return NULL;
}

static ssize_t ahead_next(StoreStream *stream, const uint8_t **ret)
{
        StoreAhead *ahead = (StoreAhead *) stream;
        ssize_t n;

        pthread_mutex_lock(&ahead->mutex);
        if (ahead->lent) {
                ahead->tail = (ahead->tail + 1) % AHEAD_BLOCKS;
                ahead->filled--;
                ahead->lent = false;
                pthread_cond_signal(&ahead->changed);
        }
        while (ahead->filled == 0 && !ahead->ended)
                pthread_cond_wait(&ahead->changed, &ahead->mutex);
        if (ahead->filled > 0) {
                *ret = ahead->blocks + (size_t) ahead->tail * AHEAD_BLOCK_SIZE;
                n = (ssize_t) ahead->sizes[ahead->tail];
                ahead->lent = true;
        } else
                n = ahead->error;
        pthread_mutex_unlock(&ahead->mutex);
        return n;
}

int store_ahead_new(StoreStream *parent, StoreAhead **ret)
{
        StoreAhead *ahead = calloc(1, sizeof(*ahead));
        int r;

        if (!ahead)
                return -ENOMEM;
        ahead->stream.next = ahead_next;
        ahead->parent = parent;
        ahead->blocks = malloc((size_t) AHEAD_BLOCKS * AHEAD_BLOCK_SIZE);
        if (!ahead->blocks) {
                free(ahead);
                return -ENOMEM;
        }
        pthread_mutex_init(&ahead->mutex, NULL);
        pthread_cond_init(&ahead->changed, NULL);
        r = pthread_create(&ahead->thread, NULL, ahead_main, ahead);
        if (r > 0) {
                free(ahead->blocks);
                free(ahead);
                return -r;
        }
        *ret = ahead;
        return 0;
}

void store_ahead_free(StoreAhead *ahead)
{
        if (!ahead)
                return;
        pthread_mutex_lock(&ahead->mutex);
        ahead->cancelled = true;
        pthread_cond_signal(&ahead->changed);
        pthread_mutex_unlock(&ahead->mutex);
        pthread_join(ahead->thread, NULL);
        pthread_mutex_destroy(&ahead->mutex);
        pthread_cond_destroy(&ahead->changed);
        free(ahead->blocks);
        free(ahead);
}

StoreStream *store_ahead_stream(StoreAhead *ahead)
{
        return &ahead->stream;
}
