/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archives of docker save: manifest.json, [{"Config":PATH,"RepoTags":[...],"Layers":[PATH, ...]}, ...]. */
#include "berth/json.h"
#include "berth/string.h"
#include "store-load.h"

static int docker_references(const json_t *entry, json_t **ret, Error *error)
{
        json_t *references CLEANUP_JSON = json_array(), *tag;
        size_t i;

        if (!references)
                return -ENOMEM;
        json_array_foreach(json_get_array(entry, "RepoTags"), i, tag) {
                StoreReference reference CLEANUP_REFERENCE = {};
                char *normal CLEANUP_FREE = NULL;
                int r;

                r = store_reference_parse(json_string_value(tag) ?: "", &reference, error);
                if (r != 0)
                        return r;
                if (!reference.tag)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid tag \"%s\"", json_string_value(tag));
                normal = store_reference_normal(&reference);
                if (!normal || json_array_append_new(references, json_string(normal)) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(references);
        return 0;
}

static int docker_image(const StoreMembers *members, const json_t *entry, const StoreInput *input, json_t *result,
                        Error *error)
{
        const char *path = json_get_string(entry, "Config");
        const StoreMember *config = store_members_find(members, path);
        json_t *layers = json_get_array(entry, "Layers"), *references CLEANUP_JSON = NULL;
        const StoreMember **found CLEANUP_FREE = calloc(json_array_size(layers) + 1, sizeof(*found));
        int r;

        if (!found)
                return -ENOMEM;
        if (!config || config->kind != STORE_MEMBER_DOCUMENT)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: configuration %s is missing",
                                 path ?: "");
        for (size_t i = 0; i < json_array_size(layers); i++)
                found[i] = store_members_find(members, json_string_value(json_array_get(layers, i)));
        r = docker_references(entry, &references, error);
        if (r != 0)
                return r;
        return store_load_add_image(input, result, config->data, config->size, found, json_array_size(layers),
                                    references, error);
}

int store_load_docker(const StoreMembers *members, const StoreMember *manifest, const StoreInput *input, json_t *result,
                      Error *error)
{
        json_t *entries CLEANUP_JSON = NULL, *entry;
        size_t i;
        int r;

        r = store_load_parse(manifest, &entries, error);
        if (r != 0)
                return r;
        if (!json_is_array(entries))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: manifest.json is no array");
        json_array_foreach(entries, i, entry) {
                r = docker_image(members, entry, input, result, error);
                if (r != 0)
                        return r;
        }
        return 0;
}
