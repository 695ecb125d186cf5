/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making a staging directory durable. syncfs(2) also waits for whatever others have written to the file system, so it
 * is for what is large. A few files and directories are synced one by one: first all of them are sent on their way, so
 * that one commit of a journal takes them along together. What is neither file nor directory has nothing that fsync(2)
 * could be called on, and is left to syncfs(2) as well. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/store.h"
#include "berth/string.h"

#define FEW 32u
#define DEPTH_MAX 16u

typedef int (*SyncOne)(int fd);

static int send_off(int fd)
{
        (void) sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* a directory has nothing to send */
        return 0;
}

static int wait_for(int fd)
{
        return fsync(fd) < 0 ? -errno : 0;
}

static int each_below(int dirfd, SyncOne sync, unsigned *left, unsigned depth);

/* -E2BIG: it is not for this. */
static int each_entry(int dirfd, const char *name, SyncOne sync, unsigned *left, unsigned depth)
{
        struct stat st;

        if ((*left)-- == 0)
                return -E2BIG;
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
                return -E2BIG;
        CLEANUP_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? each_below(fd, sync, left, depth + 1) : sync(fd);
}

static int each_below(int dirfd, SyncOne sync, unsigned *left, unsigned depth)
{
        int own = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CLEANUP_CLOSEDIR DIR *directory = own < 0 ? NULL : fdopendir(own);
        struct dirent *entry;
        int r = depth > DEPTH_MAX ? -E2BIG : 0;

        if (!directory) {
                r = -errno;
                fd_close(own);
                return r;
        }
        while (r == 0 && (entry = readdir(directory)))
                if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
                        r = each_entry(dirfd, entry->d_name, sync, left, depth);
        return r < 0 ? r : sync(dirfd);
}

int store_stage_sync(int staging_fd)
{
        unsigned left = FEW;
        int r = each_below(staging_fd, send_off, &left, 0);

        if (r == -E2BIG)
                return syncfs(staging_fd) < 0 ? -errno : 0;
        left = FEW;
        return r < 0 ? r : each_below(staging_fd, wait_for, &left, 0);
}
