/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-input.h. The descriptor does not block. */
#include <errno.h>

#include "monitor-input.h"

void monitor_input_close(MonitorInput *input)
{
        if (!input->terminal)
                fd_close(input->fd);
        input->fd = -EBADF;
        buffer_clear(&input->pending);
}

void monitor_input_write(MonitorInput *input)
{
        ssize_t n;

        while (input->fd >= 0 && input->pending.size > 0) {
                n = write(input->fd, input->pending.data, input->pending.size);
                if (n >= 0) {
                        buffer_consume(&input->pending, (size_t) n);
                } else if (errno == EAGAIN) {
                        return;
                } else if (errno == EINTR) {
                        continue;
                } else if (input->terminal) {
                        /* Nobody has the terminal open just now: what is typed goes nowhere. */
                        buffer_clear(&input->pending);
                } else {
                        monitor_input_close(input);
                }
        }
        buffer_clear(&input->pending);
        if (input->fd >= 0 && input->ended)
                monitor_input_close(input);
}

void monitor_input_client_ended(MonitorInput *input)
{
        if (!input->once || input->terminal)
                return;
        input->ended = true;
        monitor_input_write(input);
}
