/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A seccomp program put in force; apart from its making, as the monitor links no library. */
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "runtime-private.h"

int runtime_seccomp_apply(const RuntimeSeccomp *seccomp)
{
        struct sock_fprog program = {
                .len = (unsigned short) (seccomp->size / sizeof(struct sock_filter)),
                .filter = seccomp->program,
        };

        if (!seccomp->program)
                return 0;
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, seccomp->flags, &program) < 0)
                return -errno;
        return 0;
}
