/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Capability sets applied. The system calls are made directly, as libcap's wrappers allocate and this runs between
 * clone and exec; the monitor, which does so for checks, links no library. */
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "runtime-private.h"

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
