/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The overlay of one container, in the present (the host's) mount namespace, by libmount without its tables: this mount
 * is nobody's fstab entry. Newer versions would use fsconfig(2), where one option holds 255 bytes, and so refuse an
 * image of ten layers; they are told to use mount(2), whose options are one page together. libmount returns positive
 * errno from failed system calls; that is normalised here and nowhere else. */
#include "berth/mount.h"

#include <libmount.h>
#include <sys/mount.h>

#include "berth/string.h"
#include "mount-quota.h"

#define CLEANUP_MOUNT_CONTEXT CLEANUP(cleanup_mount_context_ptr)
DEFINE_CLEANUP(cleanup_mount_context_ptr, struct libmnt_context *, mnt_free_context)

static int overlay_options(const MountOverlay *overlay, Buffer *options)
{
        int r = buffer_append_string(options, "lowerdir=");

        for (size_t i = 0; r >= 0 && overlay->lower[i]; i++) {
                if (strpbrk(overlay->lower[i], ",:\\"))
                        return -EINVAL;
                r = buffer_printf(options, "%s%s", i > 0 ? ":" : "", overlay->lower[i]);
        }
        if (r >= 0 && overlay->upper) {
                if (strpbrk(overlay->upper, ",\\") || strpbrk(overlay->work, ",\\"))
                        return -EINVAL;
                r = buffer_printf(options, ",upperdir=%s,workdir=%s", overlay->upper, overlay->work);
        }
        if (r >= 0 && overlay->discard)
                r = buffer_append_string(options, ",volatile");
        /* What a kernel's configuration may have switched on would make layers that depend on each other or on inode
         * numbers, so that they could no longer be stored one by one. */
        if (r >= 0)
                r = buffer_append_string(options, ",index=off,metacopy=off,redirect_dir=off");
        return r;
}

static int overlay_context(const char *target, const char *options, struct libmnt_context **ret_context)
{
        CLEANUP_MOUNT_CONTEXT struct libmnt_context *context = mnt_new_context();

        if (!context)
                return -ENOMEM;
        if (mnt_context_disable_mtab(context, true) || mnt_context_disable_helpers(context, true) ||
            mnt_context_disable_canonicalize(context, true) || mnt_context_set_fstype(context, "overlay") ||
            mnt_context_set_source(context, "overlay") || mnt_context_set_target(context, target) ||
            mnt_context_set_options(context, options))
                return -ENOMEM;
        *ret_context = TAKE_PTR(context);
        return 0;
}

void mount_warm_up(void)
{
        CLEANUP_MOUNT_CONTEXT struct libmnt_context *context = NULL;

        if (overlay_context("/", "lowerdir=/", &context) >= 0 && mnt_context_prepare_mount(context) != 0)
                return;
}

static int overlay_mount(const MountOverlay *overlay, const char *options)
{
        CLEANUP_MOUNT_CONTEXT struct libmnt_context *context = NULL;
        int r = overlay_context(overlay->target, options, &context);

        if (r < 0)
                return r;
        if (setenv("LIBMOUNT_FORCE_MOUNT2", "always", true) < 0)
                return -errno;
        r = mnt_context_mount(context);
        (void) unsetenv("LIBMOUNT_FORCE_MOUNT2");
        if (r == 0)
                return 0;
        if (mnt_context_syscall_called(context) && mnt_context_get_syscall_errno(context) > 0)
                return -mnt_context_get_syscall_errno(context);
        return r > 0 ? -r : r;
}

int mount_overlay(const MountOverlay *overlay, Error *ret_error)
{
        CLEANUP_BUFFER Buffer options = {};
        int r;

        r = overlay_options(overlay, &options);
        if (r >= 0 && chdir(overlay->layer_root) < 0)
                r = -errno;
        if (r >= 0) {
                CLEANUP(mount_quota_restore) MountQuota quota = MOUNT_QUOTA_INIT;

                if (overlay->upper)
                        mount_quota_raise(overlay->upper, &quota);
                r = overlay_mount(overlay, options.data);
        }
        if (chdir("/") < 0 && r >= 0)
                r = -errno;
        if (r < 0)
                return mount_error(ret_error, -r, "error creating overlay mount to %s", overlay->target);
        return 0;
}

int mount_overlay_undo(const char *target)
{
        if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
                return -errno;
        return 0;
}
