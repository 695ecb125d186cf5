/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Limits of directories, by the project quotas of XFS and ext4: what is made in a directory of a project belongs to
 * that project, and the file system counts what a project has. The calls are those XFS began with; the kernel makes
 * them work for ext4, too. */
#include <errno.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/mount.h"
#include "mount-quota.h"

#define BASIC_BLOCK 512u
/* Enough for a directory on any file system. */
#define ROOM_BLOCKS 2048u
#define TRIES 16

static int quota_call(int fd, int command, uint32_t project, void *data)
{
        return syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), project, data) < 0 ? -errno : 0;
}

static int open_directory(const char *path)
{
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

bool mount_quota_supported(const char *path)
{
        CLEANUP_CLOSE int fd = open_directory(path);
        struct fs_quota_stat state = {};

        return fd >= 0 && quota_call(fd, Q_XGETQSTAT, 0, &state) >= 0 && (state.qs_flags & FS_QUOTA_PDQ_ENFD);
}

static int set_limit(int fd, uint32_t project, uint64_t blocks)
{
        struct fs_disk_quota quota = {
                .d_version = FS_DQUOT_VERSION,
                .d_flags = FS_PROJ_QUOTA,
                .d_fieldmask = FS_DQ_BHARD | FS_DQ_BSOFT,
                .d_id = project,
                .d_blk_hardlimit = blocks,
                .d_blk_softlimit = blocks,
        };

        return quota_call(fd, Q_XSETQLIM, project, &quota);
}

/* A number that nothing on the file system has. */
static int choose_project(int fd, uint32_t *ret)
{
        for (int i = 0; i < TRIES; i++) {
                struct fs_disk_quota quota = {};
                uint32_t project;

                if (getrandom(&project, sizeof(project), 0) != (ssize_t) sizeof(project))
                        return -EIO;
                /* The highest ones are taken for negative numbers here and there. */
                project = (project & 0x7fffffff) | 0x10000;
                int r = quota_call(fd, Q_XGETQUOTA, project, &quota);
                if (r < 0 && r != -ENOENT)
                        return r;
                if (r < 0 || (quota.d_blk_hardlimit == 0 && quota.d_bcount == 0 && quota.d_icount == 0)) {
                        *ret = project;
                        return 0;
                }
        }
        return -EBUSY;
}

/* 0: none. */
static int get_project(int fd, uint32_t *ret)
{
        struct fsxattr attributes = {};

        if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0 && errno != ENOTTY && errno != EOPNOTSUPP)
                return -errno;
        *ret = attributes.fsx_projid;
        return 0;
}

static int set_project(const char *path, uint32_t project)
{
        CLEANUP_CLOSE int fd = open_directory(path);
        struct fsxattr attributes;

        if (fd < 0)
                return fd;
        if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
                return -errno;
        attributes.fsx_projid = project;
        attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
        return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}

int mount_quota_set(const char *path, uint64_t bytes)
{
        CLEANUP_CLOSE int fd = open_directory(path);
        uint32_t project;
        int r = fd < 0 ? fd : choose_project(fd, &project);

        if (r >= 0)
                r = set_project(path, project);
        return r < 0 ? r : set_limit(fd, project, bytes / BASIC_BLOCK + (bytes % BASIC_BLOCK > 0));
}

int mount_quota_join(const char *path, const char *other)
{
        CLEANUP_CLOSE int fd = open_directory(other);
        uint32_t project = 0;
        int r = fd < 0 ? fd : get_project(fd, &project);

        return r < 0 || project == 0 ? r : set_project(path, project);
}

int mount_quota_clear(const char *path)
{
        CLEANUP_CLOSE int fd = open_directory(path);
        uint32_t project = 0;
        int r = fd < 0 ? fd : get_project(fd, &project);

        return r < 0 || project == 0 ? r : set_limit(fd, project, 0);
}

void mount_quota_raise(const char *path, MountQuota *quota)
{
        CLEANUP_CLOSE int fd = open_directory(path);
        struct fs_disk_quota present = {};
        uint32_t project = 0;

        if (fd < 0 || get_project(fd, &project) < 0 || project == 0 ||
            quota_call(fd, Q_XGETQUOTA, project, &present) < 0 || present.d_blk_hardlimit == 0 ||
            set_limit(fd, project, present.d_blk_hardlimit + ROOM_BLOCKS) < 0)
                return;
        *quota = (MountQuota) { TAKE_FD(fd), project, present.d_blk_hardlimit };
}

void mount_quota_restore(MountQuota *quota)
{
        if (quota->fd >= 0)
                (void) set_limit(quota->fd, quota->project, quota->blocks);
        quota->fd = fd_close(quota->fd);
}
