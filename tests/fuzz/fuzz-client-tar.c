/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An archive as the daemon sends it to `cp`: it is read to an end or refused, and each entry that is read can be
 * written and read again. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client-tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Source {
        const uint8_t *data;
        size_t left;
} Source;

static ssize_t read_source(void *userdata, void *data, size_t size)
{
        Source *source = userdata;
        size_t n = size < source->left ? size : source->left;

        memcpy(data, source->data, n);
        source->data += n;
        source->left -= n;
        return (ssize_t) n;
}

static void check_again(const TarEntry *entry)
{
        CLEANUP_BUFFER Buffer out = {};
        CLEANUP_TAR_ENTRY TarEntry again = {};
        Source source;
        TarReader reader = { .read = read_source, .userdata = &source };

        if (tar_header_append(&out, entry) < 0)
                abort();
        source = (Source) { (const uint8_t *) out.data, out.size };
        if (tar_reader_next(&reader, &again) != 1 || strcmp(again.path, entry->path) != 0 ||
            strcmp(again.link, entry->link) != 0 || again.mode != entry->mode || again.size != entry->size ||
            again.uid != entry->uid || again.gid != entry->gid)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Source source = { data, size };
        TarReader reader = { .read = read_source, .userdata = &source };
        char piece[1000];

        for (;;) {
                CLEANUP_TAR_ENTRY TarEntry entry = {};
                ssize_t n;
                int r = tar_reader_next(&reader, &entry);

                if (r <= 0)
                        break;
                if (!entry.path || !entry.link || entry.size < 0 || (entry.mode & ~07777u))
                        abort();
                if (strchr("0123456", entry.type) && *entry.path)
                        check_again(&entry);
                while ((n = tar_reader_read(&reader, piece, sizeof(piece))) > 0)
                        if ((size_t) n > sizeof(piece))
                                abort();
                if (n < 0)
                        break;
        }
        return 0;
}
