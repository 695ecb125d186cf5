/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Capability sets as 64-bit masks. libcap knows the names. */
#include <sys/capability.h>

#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

static int set_parse(const json_t *object, const char *key, uint64_t *ret_set, Error *ret_error)
{
        json_t *name;
        uint64_t set = 0;
        size_t i;

        json_array_foreach(json_get_array(object, key), i, name) {
                cap_value_t value;

                /* A name that this kernel's headers do not know is nothing that could be granted. */
                if (!json_is_string(name) || cap_from_name(json_string_value(name), &value) < 0)
                        return runtime_error(ret_error, EINVAL, "unknown capability \"%s\"",
                                             json_is_string(name) ? json_string_value(name) : "");
                set |= UINT64_C(1) << value;
        }
        *ret_set = set;
        return 0;
}

int runtime_capabilities_parse(const json_t *process, RuntimeCapabilities *ret, Error *ret_error)
{
        json_t *object = json_get_object(process, "capabilities");
        RuntimeCapabilities capabilities = { .given = object != NULL };
        struct {
                const char *key;
                uint64_t *set;
        } sets[] = {
                { "bounding", &capabilities.bounding },   { "effective", &capabilities.effective },
                { "permitted", &capabilities.permitted }, { "inheritable", &capabilities.inheritable },
                { "ambient", &capabilities.ambient },
        };

        for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
                int r = set_parse(object, sets[i].key, sets[i].set, ret_error);

                if (r < 0)
                        return r;
        }
        *ret = capabilities;
        return 0;
}
