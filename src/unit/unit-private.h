/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this module share. */
#pragma once

#include <systemd/sd-bus.h>

#include "berth/unit.h"

/* The connection, opened if need be; borrowed. */
int unit_manager_bus(UnitManager *manager, sd_bus **ret_bus);
