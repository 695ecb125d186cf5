/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archives from before Docker 1.10: `repositories`, {"REPOSITORY":{"TAG":ID}}, and a directory for each layer, with its
 * tar and a `json` that names its parent. A configuration is made of the topmost json and of what the chain says. */
#include "berth/buffer.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-load.h"

#define CHAIN_MAX 512

typedef struct Legacy {
        const StoreMembers *members;
        const StoreInput *input;
        json_t *result;
} Legacy;

static int legacy_json(const Legacy *legacy, const char *id, json_t **ret, Error *error)
{
        char *path CLEANUP_FREE = NULL;
        const StoreMember *member;

        if (!id || strchr(id, '/'))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: invalid layer ID");
        path = str_printf("%s/json", id);
        if (!path)
                return -ENOMEM;
        member = store_members_find(legacy->members, path);
        if (!member)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: %s is missing", path);
        return store_load_parse(member, ret, error);
}

static const StoreMember *legacy_layer(const Legacy *legacy, const char *id)
{
        char *path CLEANUP_FREE = str_printf("%s/layer.tar", id);

        return path ? store_members_find(legacy->members, path) : NULL;
}

static json_t *legacy_history(const json_t *json)
{
        json_t *history = json_object();
        char **command CLEANUP_STRV = json_to_strv(json_get_array(json_get_object(json, "container_config"), "Cmd"));
        Buffer created_by CLEANUP_BUFFER = {};

        if (!history || !command)
                return history;
        for (size_t i = 0; command[i]; i++)
                if (buffer_printf(&created_by, "%s%s", i > 0 ? " " : "", command[i]) < 0)
                        break;
        (void) json_set_string(history, "created", json_get_string(json, "created"));
        (void) json_set_string(history, "author", json_get_string(json, "author"));
        (void) json_set_string(history, "created_by", created_by.data);
        (void) json_set_string(history, "comment", json_get_string(json, "comment"));
        return history;
}

/* Walks from the topmost layer down; what is found is put in front. */
static int legacy_chain(const Legacy *legacy, const json_t *top, const char *id, json_t *diff_ids, json_t *history,
                        const StoreMember **layers, size_t *ret_count, Error *error)
{
        json_t *json CLEANUP_JSON = json_incref((json_t *) top);
        char *at CLEANUP_FREE = strdup(id);
        size_t count = 0;

        while (at) {
                const StoreMember *layer = legacy_layer(legacy, at);
                const char *parent = json_get_string(json, "parent");
                char *next = NULL;
                json_t *parent_json = NULL;
                int r;

                if (count >= CHAIN_MAX)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: too many layers");
                if (!layer || !layer->layer)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: %s",
                                         layer && layer->problem ? layer->problem : "a layer is missing");
                memmove(layers + 1, layers, count * sizeof(*layers));
                layers[0] = layer;
                count++;
                if (json_array_insert_new(diff_ids, 0, json_string(json_get_string(layer->layer, "DiffID"))) < 0 ||
                    json_array_insert_new(history, 0, legacy_history(json)) < 0)
                        return -ENOMEM;
                if (!str_empty(parent)) {
                        next = strdup(parent);
                        r = next ? legacy_json(legacy, next, &parent_json, error) : -ENOMEM;
                        if (r != 0) {
                                free(next);
                                return r;
                        }
                }
                free(at);
                at = next;
                json_decref(json);
                json = parent_json;
        }
        *ret_count = count;
        return 0;
}

static int legacy_image(const Legacy *legacy, const char *id, json_t *references, Error *error)
{
        static const char *const dropped[] = { "id", "parent", "parent_id", "layer_id", "Size", "throwaway" };
        json_t *config CLEANUP_JSON = NULL, *diff_ids CLEANUP_JSON = json_array(), *history CLEANUP_JSON = json_array();
        const StoreMember **layers CLEANUP_FREE = calloc(CHAIN_MAX, sizeof(*layers));
        char *text CLEANUP_FREE = NULL;
        size_t count = 0;
        int r;

        if (!diff_ids || !history || !layers)
                return -ENOMEM;
        r = legacy_json(legacy, id, &config, error);
        if (r == 0)
                r = legacy_chain(legacy, config, id, diff_ids, history, layers, &count, error);
        if (r != 0)
                return r;
        for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
                (void) json_object_del(config, dropped[i]);
        if (json_object_set_new(config, "rootfs", json_pack("{s:s, s:O}", "type", "layers", "diff_ids", diff_ids)) <
                    0 ||
            json_object_set(config, "history", history) < 0)
                return -ENOMEM;
        text = json_dumps(config, JSON_COMPACT);
        if (!text)
                return -ENOMEM;
        return store_load_add_image(legacy->input, legacy->result, text, strlen(text), layers, count, references,
                                    error);
}

int store_load_legacy(const StoreMembers *members, const StoreMember *repositories, const StoreInput *input,
                      json_t *result, Error *error)
{
        Legacy legacy = { members, input, result };
        json_t *document CLEANUP_JSON = NULL, *tags, *id;
        const char *repository, *tag;
        int r;

        r = store_load_parse(repositories, &document, error);
        if (r != 0)
                return r;
        json_object_foreach(document, repository, tags) {
                json_object_foreach(tags, tag, id) {
                        StoreReference reference CLEANUP_REFERENCE = {};
                        json_t *references CLEANUP_JSON = NULL;
                        char *normal CLEANUP_FREE = NULL;

                        r = store_reference_from_query(repository, tag, &reference, error);
                        if (r != 0)
                                return r;
                        normal = store_reference_normal(&reference);
                        references = normal ? json_pack("[s]", normal) : NULL;
                        if (!references)
                                return -ENOMEM;
                        r = legacy_image(&legacy, json_string_value(id), references, error);
                        if (r != 0)
                                return r;
                }
        }
        return 0;
}
