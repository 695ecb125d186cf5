/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signals by name. */
#pragma once

/* "9", "KILL", "SIGKILL", "RTMIN", "RTMIN+3", "RTMAX-3", in any case. 0 or -EINVAL. */
int signal_parse(const char *name, int *ret_signal);
