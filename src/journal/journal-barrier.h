/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting until journald has stored what was sent to it before. */
#pragma once

/* 0 when all datagrams that were in journald's queue are in the journal; -ETIME when it did not get to them in time;
 * another negative errno when journald is not there. */
int journal_barrier(void);
