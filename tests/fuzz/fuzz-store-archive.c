/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archive bytes: loaded as an archive of images and imported as a layer, for real, into a directory under /dev/shm. An
 * import that succeeds must give its bytes back. Run it as root in a mount namespace of its own, best in a container.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/store.h"
#include "berth/string.h"
#include "tar.h"

#define INPUT_MAX (256 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Source {
        const uint8_t *data;
        size_t size;
} Source;

static ssize_t source_read(void *userdata, void *buffer, size_t size)
{
        Source *source = userdata;
        size_t n = MIN(MIN(size, source->size), (size_t) 1000);

        memcpy(buffer, source->data, n);
        source->data += n;
        source->size -= n;
        return (ssize_t) n;
}

static int count_bytes(void *userdata, const void *data, size_t size)
{
        (void) data;
        *(uint64_t *) userdata += size;
        return 0;
}

static void check_layer(int staging_fd)
{
        int layer CLEANUP_CLOSE = openat(staging_fd, "layer-0", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        json_t *record CLEANUP_JSON = NULL;
        uint64_t total = 0;

        if (layer < 0 || json_read_at(layer, "layer.json", &record) < 0)
                abort();
        if (store_layer_write_tar(layer, count_bytes, &total) < 0 ||
            (int64_t) total != json_get_int(record, "TarSize", -1))
                abort();
}

static void run(const uint8_t *data, size_t size, bool import)
{
        char template[] = "/dev/shm/berth-fuzz.XXXXXX";
        Source source = { data, size };
        StoreInput input = { .read = source_read, .userdata = &source };
        StoreImport what = {};
        json_t *result CLEANUP_JSON = NULL;
        Error error CLEANUP_ERROR = {};
        int r;

        if (!mkdtemp(template))
                abort();
        input.staging_fd = open(template, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = import ? store_import(&input, &what, &result, &error) : store_load_archive(&input, &result, &error);
        if (import && r == 0)
                check_layer(input.staging_fd);
        fd_close(input.staging_fd);
        if (path_remove_tree_at(AT_FDCWD, template) < 0)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        uint8_t *copy CLEANUP_FREE = malloc(size + 1);

        if (!copy || size > INPUT_MAX)
                return 0;
        memcpy(copy, data, size);
        fix_checksums(copy, size);
        run(copy, size, false);
        run(copy, size, true);
        return 0;
}
