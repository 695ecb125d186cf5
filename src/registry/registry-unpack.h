/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other half of a download: a process without network, whose root is the staging directory, that unpacks what comes
 * through a pipe. */
#pragma once

#include "registry-companion.h"
#include "registry-private.h"

/* Starts it; what its companion counts as consumed are bytes of the blob. STAGING_FD is borrowed. */
int registry_unpacker_start(RegistryCompanion *unpacker, int staging_fd);

/* Begins a layer: *ret_fd takes its blob's bytes and is to be closed at their end. They are digested unpacked only. */
int registry_unpacker_begin(RegistryCompanion *unpacker, const char *staged, const char *diff_id, int *ret_fd);

/* Waits up to TIMEOUT_MS for the layer's end: 0 with the member for "Layers" of a result, -EAGAIN while it goes on, or
 * what went wrong. */
int registry_unpacker_finish(RegistryCompanion *unpacker, int timeout_ms, json_t **ret_layer, Error *error);
