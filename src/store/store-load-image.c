/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From an archive's members to images: which form the archive has, and, for all forms, one image with its configuration
 * checked against the layers that were unpacked. */
#include <string.h>

#include "berth/json.h"
#include "berth/string.h"
#include "store-load.h"
#include "store-platform.h"
#include "store-stage.h"

/* Legacy names come last: newer archives carry them too, for old engines. */
static const struct {
        const char *path;
        int (*load)(const StoreMembers *members, const StoreMember *document, const StoreInput *input, json_t *result,
                    Error *error);
} forms[] = {
        { "manifest.json", store_load_docker },
        { "index.json", store_load_oci },
        { "repositories", store_load_legacy },
};

int store_load_resolve(const StoreMembers *members, const StoreInput *input, json_t **ret_result, Error *error)
{
        json_t *result CLEANUP_JSON = json_pack("{s:[], s:[]}", "Layers", "Images");

        if (!result)
                return -ENOMEM;
        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
                const StoreMember *document = store_members_find(members, forms[i].path);
                int r;

                if (!document)
                        continue;
                r = forms[i].load(members, document, input, result, error);
                if (r != 0)
                        return r;
                *ret_result = TAKE_PTR(result);
                return 0;
        }
        return error_set(error, OUTCOME_BAD_REQUEST,
                         "invalid archive: does not contain a manifest.json, an index.json or a repositories file");
}

/* A layer once, however many images have it. */
static int result_add_layer(json_t *result, json_t *layer)
{
        json_t *layers = json_get_array(result, "Layers"), *item;
        size_t i;

        json_array_foreach(layers, i, item)
                if (str_equal(json_get_string(item, "DiffID"), json_get_string(layer, "DiffID")))
                        return 0;
        return json_array_append(layers, layer) < 0 ? -ENOMEM : 0;
}

static int add_layer(json_t *result, const StoreMember *member, const char *diff_id, Error *error)
{
        if (!store_digest_is_valid(diff_id))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: invalid diff ID in configuration");
        if (!member)
                return 0;
        if (member->kind != STORE_MEMBER_LAYER)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: %s is no layer", member->path);
        if (member->problem)
                return error_set(error, OUTCOME_BAD_REQUEST, "%s", member->problem);
        if (!str_equal(json_get_string(member->layer, "DiffID"), diff_id))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid diffID for layer: expected \"%s\", got \"%s\"",
                                 diff_id, json_get_string(member->layer, "DiffID"));
        return result_add_layer(result, member->layer);
}

/* Where a platform was asked for, an image of another one is none. */
static int check_platform(const StoreInput *input, const json_t *config, Error *error)
{
        StorePlatform platform;
        int r;

        if (str_empty(input->platform))
                return 0;
        r = store_platform_parse(input->platform, &platform, error);
        if (r != 0 || store_platform_match(&platform, config) > 0)
                return r;
        return error_set(error, OUTCOME_NOT_FOUND, "no suitable image found for platform %s", input->platform);
}

int store_load_add_image(const StoreInput *input, json_t *result, const char *config, size_t config_size,
                         const StoreMember *const *layers, size_t n_layers, json_t *references, Error *error)
{
        json_t *parsed CLEANUP_JSON = json_loadb(config, config_size, 0, NULL);
        json_t *diff_ids = store_config_layers(parsed);
        json_t *images = json_get_array(result, "Images"), *image, *blob = NULL;
        char staged[32];
        int r;

        if (!parsed)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: the configuration is not JSON");
        if (json_array_size(diff_ids) != n_layers)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid manifest, layers length mismatch: expected %zu, got %zu",
                                 json_array_size(diff_ids), n_layers);
        for (size_t i = 0; i < n_layers; i++) {
                r = add_layer(result, layers[i], json_string_value(json_array_get(diff_ids, i)), error);
                if (r != 0)
                        return r;
        }
        r = check_platform(input, parsed, error);
        if (r != 0)
                return r;
        snprintf(staged, sizeof(staged), "config-%zu", json_array_size(images));
        r = store_stage_blob(input->staging_fd, staged, config, config_size, &blob);
        if (r < 0)
                return r;
        image = json_pack("{s:o, s:O}", "Config", blob, "References", references);
        return image && json_array_append_new(images, image) >= 0 ? 0 : -ENOMEM;
}
