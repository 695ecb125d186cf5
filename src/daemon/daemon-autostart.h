/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berthd --autostart: what berth-autostart.service runs at boot. */
#pragma once

#include "berth/config.h"

/* Has the daemon, which systemd starts for it, start the containers that are due, and waits for that. Does nothing
 * where no container has a restart policy. Returns the exit status. */
int daemon_autostart(const Config *config);
