/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tar of a root file system to an image of one layer, whose configuration is made here. */
#include <string.h>

#include "berth/json.h"
#include "berth/store.h"
#include "berth/string.h"
#include "store-platform.h"

static json_t *import_config(const StoreImport *import, const StorePlatform *platform, const char *diff_id)
{
        const char *message = import->message ?: "";
        char created[TIME_RFC3339_SIZE];
        json_t *config;

        time_format_rfc3339(time_now_ns(), created);
        config = json_pack("{s:s, s:s, s:s, s:s, s:o, s:[{s:s, s:s}], s:{s:s, s:[s]}}", "architecture",
                           platform->architecture, "os", platform->os, "created", created, "comment", message, "config",
                           import->config ? json_deep_copy(import->config) : json_object(), "history", "created",
                           created, "comment", message, "rootfs", "type", "layers", "diff_ids", diff_id);
        if (config && *platform->variant)
                (void) json_set_string(config, "variant", platform->variant);
        return config;
}

static int import_references(const StoreImport *import, json_t **ret, Error *error)
{
        json_t *references CLEANUP_JSON = json_array();
        StoreReference reference CLEANUP_REFERENCE = {};
        char *normal CLEANUP_FREE = NULL;
        int r;

        if (!references)
                return -ENOMEM;
        if (!str_empty(import->reference)) {
                r = store_reference_parse(import->reference, &reference, error);
                if (r != 0)
                        return r;
                if (reference.digest)
                        return error_set(error, OUTCOME_BAD_REQUEST, "cannot import digest reference");
                if (store_reference_default_tag(&reference) < 0)
                        return -ENOMEM;
                normal = store_reference_normal(&reference);
                if (!normal || json_array_append_new(references, json_string(normal)) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(references);
        return 0;
}

int store_import(const StoreInput *input, const StoreImport *import, json_t **ret_result, Error *error)
{
        json_t *layer CLEANUP_JSON = NULL, *config CLEANUP_JSON = NULL, *references CLEANUP_JSON = NULL, *result,
                      *blob = NULL;
        char *text CLEANUP_FREE = NULL;
        StorePlatform platform;
        int r;

        r = store_platform_parse(input->platform, &platform, error);
        if (r == 0)
                r = import_references(import, &references, error);
        if (r == 0)
                r = store_stage_layer(input, "layer-0", NULL, NULL, &layer, error);
        if (r != 0)
                return r;
        config = import_config(import, &platform, json_get_string(layer, "DiffID"));
        text = config ? json_dumps(config, JSON_COMPACT) : NULL;
        if (!text)
                return -ENOMEM;
        r = store_stage_blob(input->staging_fd, "config-0", text, strlen(text), &blob);
        if (r < 0)
                return r;
        result = json_pack("{s:[O], s:[{s:o, s:O, s:I}]}", "Layers", layer, "Images", "Config", blob, "References",
                           references, "Time", (json_int_t) time_now_ns());
        if (!result)
                return -ENOMEM;
        r = store_stage_sync(input->staging_fd);
        if (r < 0) {
                json_decref(result);
                return r;
        }
        *ret_result = result;
        return 0;
}
