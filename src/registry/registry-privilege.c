/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "berth/cleanup.h"

#define NOBODY 65534

int registry_become_nobody(void)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        /* Without root (a test of the module alone) there is nothing to give up. */
        if (geteuid() == 0 &&
            (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0))
                return -errno;
        if (syscall(SYS_capset, &header, none) < 0)
                return -errno;
        /* A change of identity ends this, as it does dumpability. */
        return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
}

int registry_close_others(int a, int b)
{
        unsigned low = (unsigned) MIN(a, b), high = (unsigned) MAX(a, b);

        if ((low > 3 && syscall(SYS_close_range, 3, low - 1, 0) < 0) ||
            (high > low + 1 && syscall(SYS_close_range, low + 1, high - 1, 0) < 0) ||
            syscall(SYS_close_range, high + 1, ~0U, 0) < 0)
                return -errno;
        return 0;
}
