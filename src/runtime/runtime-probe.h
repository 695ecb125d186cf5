/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A check as the start hands it to the monitor: this header, then limits, the seccomp program, groups, and strings,
 * each ended by a zero byte: the directory, the AppArmor profile (or ""), the arguments, the environment. Numbers are
 * in the host's byte order; whoever writes and whoever reads it are of one build. */
#pragma once

#include "runtime-private.h"

#define RUNTIME_PROBE_MAGIC UINT64_C(0x31656275726f7062)

typedef struct RuntimeProbeHeader {
        uint64_t magic;
        uint64_t size; /* of all */
        int64_t interval_ns, timeout_ns, start_period_ns, start_interval_ns;
        RuntimeCapabilities capabilities;
        uint32_t retries;
        uint32_t uid, gid;
        uint32_t n_groups, n_limits, n_arguments, n_environment;
        uint32_t seccomp_size, seccomp_flags;
        int32_t oom_score;
        bool set_oom_score, no_new_privileges;
} RuntimeProbeHeader;
