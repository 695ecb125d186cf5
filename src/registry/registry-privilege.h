/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a process that speaks to strangers gives up. */
#pragma once

/* Closes all descriptors but the standard ones and these two. */
int registry_close_others(int a, int b);

/* Becomes nobody, without capabilities and without a way back. */
int registry_become_nobody(void);
