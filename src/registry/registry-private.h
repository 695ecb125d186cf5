/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the registry module share. */
#pragma once

#include "berth/buffer.h"
#include "berth/registry.h"

#define REGISTRY_HUB "docker.io"
#define REGISTRY_HUB_HOST "registry-1.docker.io"

/* Both alphabets, padding optional. -EINVAL where it is not base64. */
int registry_base64_decode(const char *text, Buffer *ret);
