/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Makes the filter, once for this process and the children it has later. */
int store_seccomp_prepare(void);

/* Leaves this process the system calls and the memory that unpacking takes, for good. New privileges must be off. */
int store_seccomp_apply(void);
