/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One layer blob or small blob to files in a staging directory. A blob's bytes pass once: digested as they are if they
 * are compressed and somebody wants to know, decompressed, and unpacked by store-unpack.c, which digests them again. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/store.h"
#include "berth/string.h"
#include "store-ahead.h"
#include "store-flush.h"
#include "store-stage.h"
#include "store-tar.h"
#include "store-unpack.h"

typedef struct Tick {
        const StoreInput *input;
        const char *name;
        int64_t total, reported;
        StoreFlusher *flusher; /* owned */
} Tick;

static void tick_clear(Tick *tick)
{
        store_flusher_free(tick->flusher);
}

/* Tells of the progress once a megabyte. */
static void stage_tick(void *userdata, int64_t bytes)
{
        Tick *tick = userdata;

        if (tick->flusher)
                store_flusher_note(tick->flusher, bytes);
        if (!tick->input->progress || bytes < tick->reported + 1024 * 1024)
                return;
        tick->reported = bytes;
        tick->input->progress(tick->input->userdata, tick->name, bytes, tick->total);
}

static int tree_result(const StoreUnpacked *unpacked, json_t **ret_tree)
{
        *ret_tree =
                json_pack("{s:I, s:I}", "Size", (json_int_t) unpacked->size, "Entries", (json_int_t) unpacked->entries);
        return *ret_tree ? 0 : -ENOMEM;
}

static int layer_record(const StoreUnpacked *unpacked, int layer_fd, const char *staged, json_t **ret_layer)
{
        json_t *record CLEANUP_JSON =
                json_pack("{s:s, s:I, s:I, s:I}", "DiffID", unpacked->diff_id, "Size", (json_int_t) unpacked->size,
                          "TarSize", (json_int_t) unpacked->tar_size, "Entries", (json_int_t) unpacked->entries);
        json_t *layer;
        int r;

        if (!record)
                return -ENOMEM;
        /* Volatile: the whole staging directory is synced at once. */
        r = json_write_volatile_at(layer_fd, STORE_LAYER_RECORD, record, 0600);
        if (r < 0)
                return r;
        layer = json_pack("{s:s, s:I, s:s}", "DiffID", unpacked->diff_id, "Size", (json_int_t) unpacked->size, "Staged",
                          staged);
        if (!layer)
                return -ENOMEM;
        *ret_layer = layer;
        return 0;
}

static int unpack_stream(StoreStream *stream, StorePack *pack, const StoreInput *input, int layer_fd,
                         const char *staged, const char *name, int64_t total, json_t **ret_layer, Error *error)
{
        Tick tick CLEANUP(tick_clear) = { .input = input, .name = name, .total = total };
        StoreUnpacked unpacked;
        int r;

        r = input->plain ? 0 : store_flusher_new(layer_fd, &tick.flusher); /* only layers are to be durable */
        if (r < 0)
                return r;
        r = store_unpack(stream, pack, layer_fd, input->plain, stage_tick, &tick, &unpacked, error);
        if (r != 0)
                return r;
        if (input->progress)
                input->progress(input->userdata, name, unpacked.size, total > 0 ? total : unpacked.size);
        return input->plain ? tree_result(&unpacked, ret_layer) : layer_record(&unpacked, layer_fd, staged, ret_layer);
}

/* The compressed form: two digests, if the caller wants the first, and a reader in between. What follows the compressed
 * data counts for its digest. */
static int unpack_compressed(StoreStream *parent, StoreCompression compression, const StoreInput *input, int layer_fd,
                             const char *staged, const char *name, int64_t total, char *ret_digest, json_t **ret_layer,
                             Error *error)
{
        StoreInflateStream inflate CLEANUP_INFLATE_STREAM = {};
        StoreHasher *hasher CLEANUP_HASHER = NULL;
        StoreHashStream hash;
        StoreStream *source = parent;
        StoreAhead *ahead CLEANUP_AHEAD = NULL;
        json_t *layer CLEANUP_JSON = NULL;
        int r;

        if (ret_digest) {
                r = store_hasher_new(false, &hasher);
                if (r < 0)
                        return r;
                store_hash_stream_init(&hash, parent, hasher);
                source = &hash.stream;
        }
        r = store_inflate_stream_init(&inflate, source, compression);
        if (r == -EBADMSG || r == -EOPNOTSUPP)
                return error_set(error, OUTCOME_BAD_REQUEST, "corrupt compressed data");
        if (r >= 0)
                r = store_ahead_new(&inflate.stream, &ahead);
        if (r < 0)
                return r;
        r = unpack_stream(store_ahead_stream(ahead), NULL, input, layer_fd, staged, name, total, &layer, error);
        if (r != 0)
                return r;
        store_ahead_free(TAKE_PTR(ahead));
        r = store_stream_drain(source);
        if (r >= 0 && ret_digest)
                r = store_hasher_finish(hasher, ret_digest);
        if (r >= 0)
                *ret_layer = TAKE_PTR(layer);
        return r;
}

static int make_layer(const StoreInput *input, const char *staged)
{
        int fd;

        if (mkdirat(input->staging_fd, staged, 0700) < 0)
                return -errno;
        fd = openat(input->staging_fd, staged, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? -errno : fd;
}

int store_stage_stream(StoreStream *stream, const StoreInput *input, const char *staged, const char *name,
                       int64_t total, char *ret_digest, json_t **ret_layer, Error *error)
{
        int fd CLEANUP_CLOSE = -EBADF;
        StoreCompression compression;
        const uint8_t *head;
        ssize_t n;
        int r;

        n = store_stream_peek(stream, STORE_STREAM_PEEK, &head);
        if (n < 0)
                return n;
        compression = store_compression_of(head, n);
        fd = make_layer(input, staged);
        if (fd < 0)
                return fd;
        if (compression != STORE_PLAIN)
                r = unpack_compressed(stream, compression, input, fd, staged, name, total, ret_digest, ret_layer,
                                      error);
        else {
                r = unpack_stream(stream, NULL, input, fd, staged, name, total, ret_layer, error);
                if (r == 0 && ret_digest)
                        snprintf(ret_digest, STORE_DIGEST_SIZE, "%s", json_get_string(*ret_layer, "DiffID"));
        }
        if (r != 0)
                (void) path_remove_tree_at(input->staging_fd, staged);
        return r;
}

/* What shares no blocks has to be copied: it is read by one thread while another writes it. */
static int unpack_copied(StorePack *pack, const StoreInput *input, int layer_fd, const char *staged, json_t **ret_layer,
                         Error *error)
{
        StoreAhead *ahead CLEANUP_AHEAD = NULL;
        int r;

        r = store_ahead_new(store_pack_stream(pack), &ahead);
        return r < 0 ? r
                     : unpack_stream(store_ahead_stream(ahead), NULL, input, layer_fd, staged, "", 0, ret_layer, error);
}

int store_stage_pack(StorePack *pack, const StoreInput *input, const char *staged, json_t **ret_layer, Error *error)
{
        int fd CLEANUP_CLOSE = make_layer(input, staged);
        int r;

        if (fd < 0)
                return fd;
        if (store_pack_clones(pack))
                r = unpack_stream(store_pack_stream(pack), pack, input, fd, staged, "", 0, ret_layer, error);
        else
                r = unpack_copied(pack, input, fd, staged, ret_layer, error);
        if (r != 0)
                (void) path_remove_tree_at(input->staging_fd, staged);
        return r;
}

int store_stage_layer(const StoreInput *input, const char *staged, const char *digest, const char *diff_id,
                      json_t **ret_layer, Error *error)
{
        StoreInputStream stream CLEANUP_INPUT_STREAM = {};
        json_t *layer CLEANUP_JSON = NULL;
        char found[STORE_DIGEST_SIZE];
        const char *name = digest ? digest : diff_id;
        char short_name[ID_SHORT_LENGTH + 1] = "";
        int r;

        if (name && store_digest_is_valid(name))
                snprintf(short_name, sizeof(short_name), "%.12s", store_digest_hex(name));
        r = store_input_stream_init(&stream, input->fd, input->read, input->userdata);
        if (r < 0)
                return r;
        r = store_stage_stream(&stream.stream, input, staged, short_name, 0, digest ? found : NULL, &layer, error);
        if (r != 0)
                return r;
        if (digest && !str_equal(digest, found))
                return error_set(error, OUTCOME_FAILED, "filesystem layer verification failed for digest %s", digest);
        if (diff_id && !str_equal(diff_id, json_get_string(layer, "DiffID")))
                return error_set(error, OUTCOME_FAILED, "layer %s has the diff ID %s, not %s", name,
                                 json_get_string(layer, "DiffID"), diff_id);
        *ret_layer = TAKE_PTR(layer);
        return 0;
}

int store_stage_blob(int staging_fd, const char *staged, const void *data, size_t size, json_t **ret_blob)
{
        char digest[STORE_DIGEST_SIZE];
        json_t *blob;
        int r;

        r = store_digest_data(data, size, digest);
        if (r >= 0)
                r = file_replace_volatile_at(staging_fd, staged, data, size, 0600);
        if (r < 0)
                return r;
        blob = json_pack("{s:s, s:s}", "Digest", digest, "Staged", staged);
        if (!blob)
                return -ENOMEM;
        *ret_blob = blob;
        return 0;
}

int store_stage_sync(int staging_fd)
{
        return syncfs(staging_fd) < 0 ? -errno : 0;
}

int store_stage_sync_blob(int staging_fd, const char *staged)
{
        int fd CLEANUP_CLOSE = openat(staging_fd, staged, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}
