/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-media.h"

#include "berth/string.h"
#include "registry-manifest.h"

#define OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"

static const struct {
        const char *docker, *oci;
} types[] = {
        { REGISTRY_TYPE_DOCKER_LAYER, OCI_LAYER "+gzip" },
        { DOCKER_LAYER, OCI_LAYER },
        { DOCKER_LAYER ".zstd", OCI_LAYER "+zstd" },
};

const char *registry_layer_type(const char *type, bool oci)
{
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if (str_equal(type, types[i].docker) || str_equal(type, types[i].oci))
                        return oci ? types[i].oci : types[i].docker;
        return type;
}

bool registry_type_is_gzip(const char *type)
{
        return str_equal(registry_layer_type(type, false), REGISTRY_TYPE_DOCKER_LAYER);
}
