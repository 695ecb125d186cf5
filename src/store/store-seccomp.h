/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Leaves this process the system calls and the memory that unpacking takes, for good. New privileges must be off. */
int store_seccomp_apply(void);
