/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-manifest.h"

#include <string.h>

#include "berth/json.h"
#include "berth/string.h"

void registry_manifest_clear(RegistryManifest *manifest)
{
        json_decref(manifest->json);
        *manifest = (RegistryManifest) { 0 };
}

static const char *known_type(const char *type)
{
        static const char *const known[] = { REGISTRY_TYPE_DOCKER_MANIFEST, REGISTRY_TYPE_DOCKER_LIST,
                                             REGISTRY_TYPE_OCI_MANIFEST, REGISTRY_TYPE_OCI_INDEX };

        for (size_t i = 0; i < ARRAY_SIZE(known) && type; i++) {
                const char *rest = str_after_prefix(type, known[i]);

                if (rest && (*rest == 0 || *rest == ';'))
                        return known[i];
        }
        return NULL;
}

static bool descriptor_is_valid(const json_t *descriptor)
{
        const json_t *size = json_object_get(descriptor, "size");

        return json_is_object(descriptor) && store_digest_is_valid(json_get_string(descriptor, "digest")) &&
               json_is_integer(size) && json_integer_value(size) >= 0;
}

static bool descriptors_are_valid(const json_t *array)
{
        json_t *item;
        size_t i;

        if (!json_is_array(array) || json_array_size(array) > REGISTRY_LAYERS_MAX)
                return false;
        json_array_foreach((json_t *) array, i, item)
                if (!descriptor_is_valid(item))
                        return false;
        return true;
}

static int refuse_schema1(const char *name, Error *error)
{
        return error_set(
                error, OUTCOME_BAD_REQUEST,
                "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 "
                "support is disabled by default and will be removed in an upcoming release. Suggest the author "
                "of %s to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. More "
                "information at https://docs.docker.com/go/deprecated-image-specs/",
                name);
}

int registry_manifest_parse(const void *data, size_t size, const char *type, const char *name, RegistryManifest *ret,
                            Error *error)
{
        CLEANUP_REGISTRY_MANIFEST RegistryManifest manifest = { 0 };
        json_error_t where;
        int r = store_digest_data(data, size, manifest.digest);

        if (r < 0)
                return r;
        manifest.json = size > 0 ? json_loadb(data, size, JSON_REJECT_DUPLICATES, &where) : NULL;
        if (!json_is_object(manifest.json))
                return error_set(error, OUTCOME_FAILED, "invalid manifest for %s: %s", name,
                                 size > 0 ? where.text : "unexpected end of JSON input");
        if (json_get_int(manifest.json, "schemaVersion", 0) == 1)
                return refuse_schema1(name, error);
        manifest.type = known_type(json_get_string(manifest.json, "mediaType")) ?: known_type(type);
        if (!manifest.type) {
                if (!str_empty(type) && !known_type(type) && !str_after_prefix(type, "application/json") &&
                    !str_after_prefix(type, "text/plain"))
                        return error_set(error, OUTCOME_FAILED,
                                         "unsupported manifest media type and no default "
                                         "available: %s",
                                         type);
                manifest.type = json_get_array(manifest.json, "manifests") ? REGISTRY_TYPE_OCI_INDEX
                                                                           : REGISTRY_TYPE_OCI_MANIFEST;
        }
        manifest.kind =
                str_equal(manifest.type, REGISTRY_TYPE_DOCKER_LIST) || str_equal(manifest.type, REGISTRY_TYPE_OCI_INDEX)
                        ? REGISTRY_MANIFEST_INDEX
                        : REGISTRY_MANIFEST_IMAGE;
        bool valid = manifest.kind == REGISTRY_MANIFEST_INDEX
                             ? descriptors_are_valid(json_object_get(manifest.json, "manifests"))
                             : descriptor_is_valid(json_object_get(manifest.json, "config")) &&
                                       descriptors_are_valid(json_object_get(manifest.json, "layers"));
        if (!valid)
                return error_set(error, OUTCOME_FAILED, "invalid manifest for %s: invalid descriptor", name);
        *ret = manifest;
        manifest = (RegistryManifest) { 0 };
        return 0;
}

static bool is_about_another(const json_t *descriptor)
{
        const json_t *platform = json_object_get(descriptor, "platform");

        return json_get_string(json_get_object(descriptor, "annotations"), "vnd.docker.reference.type") ||
               str_equal(json_get_string(platform, "os"), "unknown") ||
               str_equal(json_get_string(platform, "architecture"), "unknown");
}

int registry_manifest_choose(const RegistryManifest *index, const StorePlatform *platform, const json_t **ret,
                             Error *error)
{
        const json_t *best = NULL;
        json_t *descriptor;
        int best_match = 0;
        size_t i;

        json_array_foreach(json_get_array(index->json, "manifests"), i, descriptor) {
                const json_t *own = json_object_get(descriptor, "platform");
                int match = is_about_another(descriptor) ? 0 : own ? store_platform_match(platform, own) : 1;

                if (match > best_match) {
                        best_match = match;
                        best = descriptor;
                }
        }
        if (!best)
                return error_set(error, OUTCOME_NOT_FOUND,
                                 "no matching manifest for %s/%s%s%s in the manifest list entries", platform->os,
                                 platform->architecture, *platform->variant ? "/" : "", platform->variant);
        *ret = best;
        return 0;
}

int registry_manifest_check_config(const RegistryManifest *manifest, Error *error)
{
        /* The last four are what old tools wrote. */
        static const char *const accepted[] = { REGISTRY_TYPE_DOCKER_CONFIG,
                                                REGISTRY_TYPE_OCI_CONFIG,
                                                "application/octet-stream",
                                                "application/json",
                                                "text/html",
                                                "" };
        const char *type = json_get_string_or(json_get_object(manifest->json, "config"), "mediaType", "");

        for (size_t i = 0; i < ARRAY_SIZE(accepted); i++)
                if (str_equal(type, accepted[i]))
                        return 0;
        return error_set(error, OUTCOME_FAILED, "unsupported media type %s", type);
}

char *registry_manifest_build(const char *config_digest, size_t config_size, const json_t *layers, bool oci)
{
        CLEANUP_JSON json_t *manifest =
                json_pack("{si ss s{ss sI ss} sO}", "schemaVersion", 2, "mediaType",
                          oci ? REGISTRY_TYPE_OCI_MANIFEST : REGISTRY_TYPE_DOCKER_MANIFEST, "config", "mediaType",
                          oci ? REGISTRY_TYPE_OCI_CONFIG : REGISTRY_TYPE_DOCKER_CONFIG, "size",
                          (json_int_t) config_size, "digest", config_digest, "layers", layers);

        /* Docker indents by three. */
        return manifest ? json_dumps(manifest, JSON_INDENT(3)) : NULL;
}
