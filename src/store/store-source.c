/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a layer is known to be in compressed form. The file lies in the layer's directory and goes with it; what is
 * lost of it by a power cut is only knowledge, so it is not synced. It is made in the staging directory, so that one
 * that was cut off is found there and not in the layer. */
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-private.h"

#define SOURCES_MAX 50
#define REPOSITORIES_MAX 50

int store_layer_sources(const char *layer_root, const char *diff_id, json_t **ret_sources)
{
        int fd CLEANUP_CLOSE = store_layer_open(layer_root, diff_id);
        json_t *sources;
        int r;

        if (fd < 0)
                return fd;
        r = json_read_at(fd, STORE_SOURCES_NAME, &sources);
        if (r >= 0 && !json_is_array(sources)) {
                json_decref(sources);
                r = -EBADMSG;
        }
        if (r == -ENOENT || r == -EBADMSG) {
                sources = json_array();
                r = sources ? 0 : -ENOMEM;
        }
        if (r >= 0)
                *ret_sources = sources;
        return r < 0 ? r : 0;
}

static json_t *find_source(json_t *sources, const char *digest)
{
        json_t *source;
        size_t i;

        json_array_foreach(sources, i, source)
                if (str_equal(json_get_string(source, "Digest"), digest))
                        return source;
        return NULL;
}

/* The latest comes first. */
static int put_first(json_t *array, json_t *value, size_t max)
{
        json_t *item;
        size_t i;

        json_array_foreach(array, i, item)
                if (item == value || (json_is_string(item) && json_equal(item, value))) {
                        json_array_remove(array, i);
                        break;
                }
        if (json_array_insert(array, 0, value) < 0)
                return -ENOMEM;
        while (json_array_size(array) > max)
                json_array_remove(array, max);
        return 0;
}

static int replace_sources(Store *store, int layer_fd, const json_t *sources)
{
        char *name CLEANUP_FREE = NULL;
        int r = store_staging_name(STORE_JOB_PREFIX, &name);

        if (r >= 0)
                r = json_write_volatile_at(store->staging_fd, name, sources, 0600);
        if (r >= 0 && renameat(store->staging_fd, name, layer_fd, STORE_SOURCES_NAME) < 0) {
                r = -errno;
                (void) unlinkat(store->staging_fd, name, 0);
        }
        return r;
}

int store_source_add(Store *store, const char *diff_id, const char *digest, int64_t size, const char *media_type,
                     const char *repository)
{
        json_t *sources CLEANUP_JSON = NULL, *before CLEANUP_JSON = NULL, *source CLEANUP_JSON = NULL,
                        *name CLEANUP_JSON = json_string(repository);
        int fd CLEANUP_CLOSE = -EBADF;
        int r;

        if (!store_digest_is_valid(digest))
                return -EINVAL;
        fd = store_layer_open(store->layer_root, diff_id);
        if (fd < 0)
                return fd;
        r = store_layer_sources(store->layer_root, diff_id, &sources);
        if (r < 0)
                return r;
        before = json_deep_copy(sources);
        source = json_incref(find_source(sources, digest));
        if (!source)
                source = json_pack("{ss sI ss s[]}", "Digest", digest, "Size", (json_int_t) size, "MediaType",
                                   media_type, "Repositories");
        if (!before || !source || !name ||
            put_first(json_get_array(source, "Repositories"), name, REPOSITORIES_MAX) < 0 ||
            put_first(sources, source, SOURCES_MAX) < 0)
                return -ENOMEM;
        return json_equal(sources, before) ? 0 : replace_sources(store, fd, sources);
}
