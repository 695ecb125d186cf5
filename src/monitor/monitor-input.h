/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's standard input: the writing end of its pipe, or its terminal. Clients are read only while nothing is
 * pending here, so that a container that does not read holds its clients up and no memory grows. */
#pragma once

#include <stdbool.h>

#include "berth/buffer.h"

typedef struct MonitorInput {
        int fd;         /* owned unless it is the terminal; -EBADF where there is no input any more */
        bool terminal;  /* FD is the terminal, which belongs to the output's side and is never closed here */
        bool once;      /* close it when a client's input ends */
        bool ended;     /* close it when nothing is pending any more */
        Buffer pending; /* what it did not take yet */
} MonitorInput;

static inline bool monitor_input_has_room(const MonitorInput *input)
{
        return input->fd >= 0 && !input->ended && input->pending.size == 0;
}

/* Writes what is pending, as far as it goes, and closes the input if it has ended or nobody reads it any more. */
void monitor_input_write(MonitorInput *input);

/* A client's input has ended. */
void monitor_input_client_ended(MonitorInput *input);

void monitor_input_close(MonitorInput *input);
