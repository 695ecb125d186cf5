/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include "berth/file.h"

int process_start_time(pid_t pid, uint64_t *ret)
{
        char path[32];
        CLEANUP_FREE char *text = NULL;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
        int r = file_read_at(AT_FDCWD, path, 4096, &text, NULL);
        if (r < 0)
                return r == -ENOENT ? -ESRCH : r;

        /* The name in parentheses may hold blanks and parentheses itself, so count from its end. */
        char *p = strrchr(text, ')');
        if (!p)
                return -EBADMSG;
        p++;
        for (int field = 3; field < 22; field++) {
                p = strchr(p + 1, ' ');
                if (!p)
                        return -EBADMSG;
        }
        *ret = strtoull(p + 1, NULL, 10);
        return 0;
}

int process_open(pid_t pid, uint64_t start_time)
{
        uint64_t found;
        CLEANUP_CLOSE int fd = (int) syscall(SYS_pidfd_open, pid, 0);

        if (fd < 0)
                return -errno;
        int r = process_start_time(pid, &found);
        if (r < 0)
                return r;
        return found == start_time ? TAKE_FD(fd) : -ESRCH;
}
