/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* systemd tells journald a unit's LogRateLimitIntervalSec= and LogRateLimitBurst= by symbolic links whose targets are
 * the numbers; a unit has none as long as it does not set them, and a transient scope cannot. Journald reads the links
 * when it first sees a process of the unit, and 0 means no limit. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/journal.h"
#include "berth/string.h"

#define UNITS "/run/systemd/units"

static const char *const settings[] = { "log-rate-limit-interval", "log-rate-limit-burst" };

static int make_link(const char *path)
{
        if (symlink("0", path) >= 0)
                return 0;
        if (errno != EEXIST)
                return -errno;
        /* Left by an earlier life of the unit, perhaps with another value. */
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;
        return symlink("0", path) < 0 ? -errno : 0;
}

int journal_lift_rate_limit(const char *unit)
{
        int r = path_make_directories(UNITS, 0755);

        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(settings); i++) {
                CLEANUP_FREE char *path = str_printf(UNITS "/%s:%s", settings[i], unit);

                r = path ? make_link(path) : -ENOMEM;
        }
        return r < 0 ? r : 0;
}

void journal_restore_rate_limit(const char *unit)
{
        for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
                CLEANUP_FREE char *path = str_printf(UNITS "/%s:%s", settings[i], unit);

                if (path)
                        (void) unlink(path);
        }
}
