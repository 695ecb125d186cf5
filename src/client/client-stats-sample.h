/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What one answer of GET /containers/ID/stats says. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

typedef struct StatsSample {
        double cpu;            /* percent of one CPU */
        double memory, limit;  /* bytes; memory without what the kernel could drop */
        double received, sent; /* bytes over all networks */
        double read, written;  /* bytes of block devices */
        long long pids;
} StatsSample;

StatsSample stats_sample_read(const json_t *stats);
