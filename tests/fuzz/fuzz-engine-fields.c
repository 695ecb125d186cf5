/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The body of a container's creation: normalised once, it stays as it is when that is done again, and what is accepted
 * gives a specification or a refusal with a message. */
#include <stdint.h>
#include <stdlib.h>

#include "berth/json.h"
#include "berth/spec.h"
#include "engine-private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int normalise(const char *name, const json_t *given, json_t **ret_normal)
{
        CLEANUP_ERROR Error error = {};
        CLEANUP_JSON json_t *normal = NULL, *again = NULL;
        int r = fields_normalise(name, given, &normal, &error);

        if (r != 0) {
                if (r > 0 && !error.message)
                        abort();
                return r;
        }
        if (fields_normalise(name, normal, &again, &error) != 0 || !json_equal(normal, again))
                abort();
        *ret_normal = TAKE_PTR(normal);
        return 0;
}

static void generate(json_t *config, json_t *host)
{
        static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        CLEANUP_JSON json_t *record =
                json_pack("{ss s[] sO sO}", "Path", "/bin/sh", "Args", "Config", config, "HostConfig", host);
        CLEANUP_JSON json_t *spec = NULL;
        CLEANUP_ERROR Error error = {};
        SpecInput input = { .id = id, .record = record, .rootfs = "/", .check_only = true };
        int r = spec_generate(&input, &spec, &error);

        if (r > 0 && !error.message)
                abort();
        if (r == 0 &&
            (!json_is_object(json_object_get(spec, "process")) || !json_is_object(json_object_get(spec, "linux"))))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_JSON json_t *body = json_loadb((const char *) data, size, 0, NULL), *config = NULL, *host = NULL;
        const json_t *given = json_object_get(body, "HostConfig");

        if (!json_is_object(body) || (given && !json_is_object(given)))
                return 0;
        if (normalise("Config", body, &config) == 0 && normalise("HostConfig", given, &host) == 0)
                generate(config, host);
        return 0;
}
