/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What HostConfig limits a container to, as properties of its scope. */
#pragma once

#include <jansson.h>

#include "berth/unit.h"

/* Fills in the limits and how the scope is stopped; the rest of SCOPE stays as it is. */
void scope_describe(const json_t *config, const json_t *host, UnitScope *scope);

/* What the container's first process gets then, and for how many seconds it is waited for; negative: without end. */
int scope_stop_signal(const json_t *config);
int64_t scope_stop_timeout(const json_t *config);

/* The limits of block devices; a vector owned by the caller, of strings borrowed from HOST. */
UnitDeviceLimit *scope_device_limits(const json_t *host, size_t *ret_n);
