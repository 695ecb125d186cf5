/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors in systemd's store (FDSTORE=1 of sd_notify(3)): a client that waits is not cut off when this process
 * ends, whichever way; the next one gets the descriptor back under its name. */
#include <systemd/sd-daemon.h>

#include "berth/file.h"
#include "engine-private.h"

void keep_store(const char *name, int fd)
{
        CLEANUP_FREE char *state = str_printf("FDSTORE=1\nFDNAME=%s", name);

        if (state)
                sd_pid_notify_with_fds(0, 0, state, &fd, 1);
}

void keep_remove(const char *name)
{
        sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

void engine_restore_kept(Engine *engine, const char *name, int fd)
{
        const char *arguments = str_after_prefix(name, "wait-");

        /* From now on the new owner keeps it, under a name of its own. */
        keep_remove(name);
        if (arguments) {
                wait_restore(engine, arguments, fd);
                return;
        }
        arguments = str_after_prefix(name, "attach-");
        if (arguments)
                attach_restore(engine, arguments, fd);
        else
                fd_close(fd);
}
