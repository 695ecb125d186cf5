/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A layer's tar, written again, and compressed, as a stream of bytes from a process of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The empty value is all zero but for the descriptor, which is negative. */
typedef struct RegistryTarSource {
        pid_t pid;
        int fd;            /* owned: the bytes */
        int64_t *consumed; /* bytes of tar so far; mapped, owned */
} RegistryTarSource;

/* GZIP: compressed, the same bytes each time. */
int registry_tar_source_open(RegistryTarSource *source, const char *layer_root, const char *diff_id, bool gzip);

/* After the end of the bytes: whether it is the true end. -EBADMSG where the layer's files have changed. */
int registry_tar_source_finish(RegistryTarSource *source);

/* Ends the process too. */
void registry_tar_source_clear(RegistryTarSource *source);
