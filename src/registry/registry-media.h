/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The media types of layers, which Docker and OCI name differently. */
#pragma once

#include <stdbool.h>

/* The layer's media type in a manifest of the one kind or the other; unknown ones stay as they are. */
const char *registry_layer_type(const char *type, bool oci);

/* Whether it is a tar compressed by gzip, which any manifest can name. */
bool registry_type_is_gzip(const char *type);
