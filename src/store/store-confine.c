/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Confinement of a worker that reads what strangers wrote. Its root directory becomes its staging directory, so that
 * even a path that slipped through leads nowhere else; it has no network, no descriptors it was not given, and the
 * capabilities and system calls that making files with all their attributes takes. */
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "berth/file.h"
#include "berth/store.h"
#include "store-seccomp.h"

/* FSETID: set-id bits survive; SYS_ADMIN: trusted.* attributes, which overlayfs reads. */
static const int needed_capabilities[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER,   CAP_FSETID,
                                           CAP_MKNOD, CAP_SETFCAP,      CAP_SYS_ADMIN };

static bool is_kept(int fd, int staging_fd, const int *keep, size_t n_keep)
{
        if (fd <= STDERR_FILENO || fd == staging_fd)
                return true;
        for (size_t i = 0; i < n_keep; i++)
                if (keep[i] == fd)
                        return true;
        return false;
}

/* Closes the gaps between the descriptors that stay. */
static int close_others(int staging_fd, const int *keep, size_t n_keep)
{
        int last = staging_fd, start = STDERR_FILENO + 1;

        for (size_t i = 0; i < n_keep; i++)
                last = MAX(last, keep[i]);
        for (int fd = start; fd <= last + 1; fd++) {
                if (fd <= last && !is_kept(fd, staging_fd, keep, n_keep))
                        continue;
                if (fd > start && syscall(SYS_close_range, start, fd - 1, 0) < 0)
                        return -errno;
                start = fd + 1;
        }
        return syscall(SYS_close_range, last + 1, ~0U, 0) < 0 ? -errno : 0;
}

static int drop_capabilities(void)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {}, held[_LINUX_CAPABILITY_U32S_3] = {};

        if (syscall(SYS_capget, &header, held) < 0)
                return -errno;
        for (size_t i = 0; i < ARRAY_SIZE(needed_capabilities); i++)
                data[CAP_TO_INDEX(needed_capabilities[i])].permitted |= CAP_TO_MASK(needed_capabilities[i]);
        for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
                data[i].permitted &= held[i].permitted;
                data[i].effective = data[i].permitted;
        }
        for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
                bool needed = false;

                for (size_t i = 0; i < ARRAY_SIZE(needed_capabilities); i++)
                        needed = needed || needed_capabilities[i] == capability;
                if (!needed && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EPERM)
                        return -errno;
        }
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* --- The network -------------------------------------------------------------------------------------------------- */

/* An empty namespace of the network that all workers may share, as none of them can make a socket: one for each would
 * take half a millisecond to make, and longer to remove. */
static struct {
        int fd;
        dev_t dev;
        ino_t ino;
} no_network = { .fd = -EBADF };

int store_worker_prepare(void)
{
        struct stat st;

        if (no_network.fd >= 0)
                return 0;
        CLEANUP_CLOSE int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (own < 0 || unshare(CLONE_NEWNET) < 0)
                return -errno;
        CLEANUP_CLOSE int empty = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        int r = empty < 0 || fstat(empty, &st) < 0 ? -errno : store_seccomp_prepare();
        if (setns(own, CLONE_NEWNET) < 0)
                abort(); /* without its network a daemon is none */
        if (r < 0)
                return r;
        no_network.dev = st.st_dev;
        no_network.ino = st.st_ino;
        no_network.fd = TAKE_FD(empty);
        return 0;
}

int store_worker_network(void)
{
        return no_network.fd;
}

/* Somebody may have closed the descriptor, and another may have its number. */
static bool is_prepared(void)
{
        struct stat st;

        return no_network.fd >= 0 && fstat(no_network.fd, &st) >= 0 && st.st_dev == no_network.dev &&
               st.st_ino == no_network.ino;
}

/* IPC too: abstract sockets go with the network, message queues with this. */
static int leave_network(void)
{
        if (!is_prepared())
                return unshare(CLONE_NEWNET | CLONE_NEWIPC) < 0 ? -errno : 0;
        return setns(no_network.fd, CLONE_NEWNET) < 0 || unshare(CLONE_NEWIPC) < 0 ? -errno : 0;
}

/* --- All of it ---------------------------------------------------------------------------------------------------- */

int store_worker_confine(int staging_fd, const int *keep, size_t n_keep)
{
        int r = leave_network();

        if (r >= 0)
                r = close_others(staging_fd, keep, n_keep);
        if (r < 0)
                return r;
        if (fchdir(staging_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
                return -errno;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        r = drop_capabilities();
        return r < 0 ? r : store_seccomp_apply();
}
