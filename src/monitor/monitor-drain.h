/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is left to do when no container is left to guard: bringing the spool's records to journald. */
#pragma once

#include "monitor-journal.h"
#include "monitor-options.h"

/* Lets MONITOR_LEAVE_SIGNAL end the drain. The signal is to be blocked: it is taken in the drain's wait. */
void monitor_drain_prepare(void);

/* Until all is stored or the spool was left. */
int monitor_drain(MonitorJournal *journal);

/* --drain 1. */
int monitor_drain_main(const MonitorOptions *options);
