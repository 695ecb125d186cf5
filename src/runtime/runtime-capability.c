/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Capability sets as 64-bit masks. libcap knows the names; the system calls are made directly, as libcap's wrappers
 * allocate and this runs between clone and exec. */
#include <linux/capability.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

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

int runtime_capabilities_limit(const RuntimeCapabilities *capabilities)
{
        if (!capabilities->given)
                return 0;
        for (unsigned long value = 0; value < 64; value++) {
                if (capabilities->bounding & (UINT64_C(1) << value))
                        continue;
                if (prctl(PR_CAPBSET_DROP, value, 0, 0, 0) < 0)
                        /* Past the last one the kernel knows. */
                        return errno == EINVAL && value > 0 ? 0 : -errno;
        }
        return 0;
}

/* What the kernel refuses because the engine itself lacks it (a nested host) is left out rather than fatal. */
static uint64_t own_permitted(void)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};

        if (syscall(SYS_capget, &header, data) < 0)
                return 0;
        return data[0].permitted | (uint64_t) data[1].permitted << 32;
}

int runtime_capabilities_apply(const RuntimeCapabilities *capabilities)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];
        uint64_t own, permitted;

        if (!capabilities->given)
                return 0;
        own = own_permitted();
        permitted = capabilities->permitted & own;
        for (unsigned int i = 0; i < 2; i++)
                data[i] = (struct __user_cap_data_struct) {
                        .effective = (uint32_t) ((capabilities->effective & permitted) >> (32 * i)),
                        .permitted = (uint32_t) (permitted >> (32 * i)),
                        .inheritable = (uint32_t) ((capabilities->inheritable & own) >> (32 * i)),
                };
        if (syscall(SYS_capset, &header, data) < 0)
                return -errno;
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
                return -errno;
        for (unsigned long value = 0; value < 64; value++)
                if (capabilities->ambient & own & (UINT64_C(1) << value) &&
                    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, value, 0, 0) < 0)
                        return -errno;
        return 0;
}
