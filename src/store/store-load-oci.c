/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OCI image layouts: index.json names manifests, or indexes that name manifests for several platforms, of which one is
 * chosen. Everything but index.json is found by its digest, which was computed when it was read. */
#include "berth/json.h"
#include "berth/string.h"
#include "store-load.h"
#include "store-platform.h"

#define NESTING_MAX 4
#define OCI_INDEX "application/vnd.oci.image.index.v1+json"

typedef struct Oci {
        const StoreMembers *members;
        const StoreInput *input;
        StorePlatform platform;
        json_t *result;
} Oci;

static bool is_index(const json_t *object, const char *media_type)
{
        return str_equal(media_type, OCI_INDEX) ||
               str_equal(media_type, "application/vnd.docker.distribution.manifest.list.v2+json") ||
               (!media_type && json_get_array(object, "manifests"));
}

/* Signatures, provenance and the like stand beside the images they are about. */
static bool is_attestation(const json_t *descriptor)
{
        return json_get_string(json_get_object(descriptor, "annotations"), "vnd.docker.reference.type") ||
               str_equal(json_get_string(json_get_object(descriptor, "platform"), "os"), "unknown");
}

static int oci_document(const Oci *oci, const json_t *descriptor, json_t **ret, const StoreMember **ret_member,
                        Error *error)
{
        const char *digest = json_get_string(descriptor, "digest");
        const StoreMember *member = store_members_find_blob(oci->members, digest);

        if (!member || member->kind != STORE_MEMBER_DOCUMENT)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: content digest %s: not found",
                                 digest ?: "");
        if (ret_member)
                *ret_member = member;
        return store_load_parse(member, ret, error);
}

static int descriptor_match(const Oci *oci, const json_t *descriptor)
{
        json_t *platform = json_get_object(descriptor, "platform");

        if (is_attestation(descriptor))
                return 0;
        return platform ? store_platform_match(&oci->platform, platform) : 1;
}

static const json_t *choose(const Oci *oci, const json_t *index)
{
        const json_t *best = NULL;
        json_t *descriptor;
        int best_match = 0;
        size_t i;

        json_array_foreach(json_get_array(index, "manifests"), i, descriptor) {
                int match = descriptor_match(oci, descriptor);

                if (match > best_match) {
                        best_match = match;
                        best = descriptor;
                }
        }
        return best;
}

static int oci_manifest(const Oci *oci, const json_t *manifest, json_t *references, Error *error)
{
        json_t *layers = json_get_array(manifest, "layers"), *config CLEANUP_JSON = NULL;
        const StoreMember **found CLEANUP_FREE = calloc(json_array_size(layers) + 1, sizeof(*found));
        const StoreMember *member;
        int r;

        if (!found)
                return -ENOMEM;
        r = oci_document(oci, json_get_object(manifest, "config"), &config, &member, error);
        if (r != 0)
                return r;
        for (size_t i = 0; i < json_array_size(layers); i++)
                found[i] = store_members_find_blob(oci->members, json_get_string(json_array_get(layers, i), "digest"));
        return store_load_add_image(oci->input, oci->result, member->data, member->size, found, json_array_size(layers),
                                    references, error);
}

/* Follows indexes down to a manifest. */
static int oci_descriptor(const Oci *oci, const json_t *descriptor, json_t *references, Error *error)
{
        json_t *document CLEANUP_JSON = NULL;
        const char *media_type = json_get_string(descriptor, "mediaType");
        int r;

        r = oci_document(oci, descriptor, &document, NULL, error);
        for (unsigned depth = 0; r == 0 && is_index(document, media_type); depth++) {
                json_t *inner = NULL;
                const json_t *chosen = depth < NESTING_MAX ? choose(oci, document) : NULL;

                if (!chosen)
                        return error_set(error, OUTCOME_NOT_FOUND, "no suitable image found for platform %s/%s",
                                         oci->platform.os, oci->platform.architecture);
                r = oci_document(oci, chosen, &inner, NULL, error);
                if (r == 0) {
                        /* What says the type goes with the document it is in. */
                        media_type = is_index(inner, json_get_string(chosen, "mediaType")) ? OCI_INDEX : "";
                        json_decref(document);
                        document = inner;
                }
        }
        return r != 0 ? r : oci_manifest(oci, document, references, error);
}

/* The annotation of containerd and of Docker is a whole reference; OCI's own may be a mere tag, of nobody knows
 * what. */
static int oci_references(const json_t *descriptor, json_t **ret)
{
        json_t *annotations = json_get_object(descriptor, "annotations"), *references CLEANUP_JSON = json_array();
        const char *name = json_get_string(annotations, "io.containerd.image.name");
        StoreReference reference CLEANUP_REFERENCE = {};
        Error ignored CLEANUP_ERROR = {};
        char *normal CLEANUP_FREE = NULL;

        if (!references)
                return -ENOMEM;
        if (!name) {
                name = json_get_string(annotations, "org.opencontainers.image.ref.name");
                if (name && !strpbrk(name, ":/"))
                        name = NULL;
        }
        if (name && store_reference_parse(name, &reference, &ignored) == 0 && !reference.digest) {
                if (store_reference_default_tag(&reference) < 0)
                        return -ENOMEM;
                normal = store_reference_normal(&reference);
                if (!normal || json_array_append_new(references, json_string(normal)) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(references);
        return 0;
}

int store_load_oci(const StoreMembers *members, const StoreMember *index, const StoreInput *input, json_t *result,
                   Error *error)
{
        Oci oci = { .members = members, .input = input, .result = result };
        json_t *document CLEANUP_JSON = NULL, *descriptor;
        bool taken = false;
        size_t i;
        int r;

        r = store_platform_parse(input->platform, &oci.platform, error);
        if (r == 0)
                r = store_load_parse(index, &document, error);
        if (r != 0)
                return r;
        json_array_foreach(json_get_array(document, "manifests"), i, descriptor) {
                json_t *references CLEANUP_JSON = NULL;

                if (descriptor_match(&oci, descriptor) == 0)
                        continue;
                r = oci_references(descriptor, &references);
                if (r == 0)
                        r = oci_descriptor(&oci, descriptor, references, error);
                if (r != 0)
                        return r;
                taken = true;
        }
        if (!taken)
                return error_set(error, OUTCOME_NOT_FOUND, "no suitable image found for platform %s/%s",
                                 oci.platform.os, oci.platform.architecture);
        return 0;
}
