/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A manifest or an index; the first line may be a Content-Type. What is taken has digests and sizes that the rest of
 * the code may rely upon. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "berth/json.h"
#include "berth/string.h"
#include "registry-manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_descriptor(const json_t *descriptor)
{
        if (!store_digest_is_valid(json_get_string(descriptor, "digest")) || json_get_int(descriptor, "size", 0) < 0)
                abort();
}

static void check_list(const json_t *list)
{
        json_t *descriptor;
        size_t i;

        json_array_foreach(list, i, descriptor)
                check_descriptor(descriptor);
}

static void check(const RegistryManifest *manifest)
{
        CLEANUP_ERROR Error error = { 0 };
        StorePlatform platform = { .os = "linux", .architecture = "arm64", .variant = "v8" };
        const json_t *chosen = NULL;

        if (!store_digest_is_valid(manifest->digest) || !manifest->type)
                abort();
        if (manifest->kind == REGISTRY_MANIFEST_IMAGE) {
                check_descriptor(json_get_object(manifest->json, "config"));
                check_list(json_get_array(manifest->json, "layers"));
                registry_manifest_check_config(manifest, &error);
        } else if (registry_manifest_choose(manifest, &platform, &chosen, &error) == 0)
                check_descriptor(chosen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const uint8_t *line = memchr(data, '\n', size);
        size_t head = line && size > 0 && *data != '{' ? (size_t) (line - data) : 0;
        CLEANUP_FREE char *type = head > 0 ? strndup((const char *) data, head) : NULL;
        CLEANUP_REGISTRY_MANIFEST RegistryManifest manifest = { 0 };
        CLEANUP_ERROR Error error = { 0 };

        if (head > 0) {
                data += head + 1;
                size -= head + 1;
        }
        if (registry_manifest_parse(data, size, type, "name", &manifest, &error) == 0)
                check(&manifest);
        return 0;
}
