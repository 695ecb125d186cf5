/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* No time later than one that was asked for: what a command made has the time it ran at. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "build-private.h"

#define DEPTH_MAX 2000

static int clamp(int parent, const char *name, time_t epoch, unsigned depth);

static int clamp_below(int fd, time_t epoch, unsigned depth)
{
        CLEANUP_STRV char **names = NULL;
        int r = depth > DEPTH_MAX ? -ELOOP : build_read_names(fd, &names);

        for (size_t i = 0; r == 0 && names[i]; i++)
                r = clamp(fd, names[i], epoch, depth);
        return r;
}

static int clamp(int parent, const char *name, time_t epoch, unsigned depth)
{
        struct timespec times[2] = { { .tv_sec = epoch }, { .tv_sec = epoch } };
        struct stat st;
        int r = 0;

        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode)) {
                CLEANUP_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                r = fd < 0 ? -errno : clamp_below(fd, epoch, depth + 1);
        }
        if (r == 0 && st.st_mtim.tv_sec >= epoch && utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                r = -errno;
        return r;
}

int build_clamp_times(int root_fd, int64_t epoch_ns)
{
        return epoch_ns > 0 ? clamp(root_fd, ".", (time_t) (epoch_ns / 1000000000), 0) : 0;
}
