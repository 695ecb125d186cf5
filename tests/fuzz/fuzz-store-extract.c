/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An archive of changes, unpacked for real into a tree with links out of it, in a directory under /dev/shm: nothing
 * beside the tree may change. Run it as fuzz-store-archive. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/store.h"
#include "tar.h"

#define INPUT_MAX (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Source {
        const uint8_t *data;
        size_t size;
} Source;

static ssize_t read_source(void *userdata, void *buffer, size_t size)
{
        Source *source = userdata;
        size_t n = MIN(size, source->size);

        memcpy(buffer, source->data, n);
        source->data += n;
        source->size -= n;
        return (ssize_t) n;
}

static void must(int r)
{
        if (r < 0)
                abort();
}

static void make_file(int fd, const char *path)
{
        must(file_replace_volatile_at(fd, path, "x", 1, 0644));
}

static int make_tree(int top)
{
        static const char *const directories[] = { "outside", "tree", "tree/d", "tree/d/e" };

        for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
                must(mkdirat(top, directories[i], 0755));
        make_file(top, "outside/f");
        make_file(top, "tree/f");
        make_file(top, "tree/d/f");
        make_file(top, "tree/d/e/f");
        must(symlinkat("../outside", top, "tree/out"));
        must(symlinkat("d", top, "tree/in"));
        int fd = openat(top, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(fd);
        return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char template[] = "/dev/shm/berth-fuzz.XXXXXX";
        uint8_t *copy CLEANUP_FREE = malloc(size + 1);
        Error error CLEANUP_ERROR = {};
        struct stat st;

        if (!copy || size > INPUT_MAX)
                return 0;
        memcpy(copy, data, size);
        fix_checksums(copy, size);
        if (!mkdtemp(template))
                abort();
        int top = open(template, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int tree = make_tree(top);
        Source source = { copy, size };
        StoreExtract extract = {
                .root_fd = tree, .path = "/", .read = read_source, .userdata = &source, .removals = true
        };
        (void) store_extract(&extract, &error);
        if (path_tree_count_at(top, "outside", 9) != 1 || fstatat(top, "outside/f", &st, 0) < 0 || st.st_size != 1 ||
            st.st_nlink != 1 || (st.st_mode & 07777) != 0644 || fstatat(top, "tree", &st, 0) < 0)
                abort();
        fd_close(tree);
        fd_close(top);
        must(path_remove_tree_at(AT_FDCWD, template));
        return 0;
}
