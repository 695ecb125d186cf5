/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Order matters: a change of owner clears set-id bits and capabilities, so the owner comes first, then the mode, then
 * extended attributes, then the time. Attributes that overlayfs itself reads are never taken from an archive: they
 * could redirect a lookup to somewhere else. */
#include "store-apply.h"

#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>

#include "berth/string.h"

#define DEFAULT_ACL "system.posix_acl_default"

typedef struct StoreApplyLastItem {
        char *path; /* owned */
        struct timespec mtime;
        uint8_t *acl; /* owned; default ACL, or NULL */
        size_t acl_size;
} StoreApplyLastItem;

void store_apply_last_clear(StoreApplyLast *last)
{
        for (size_t i = 0; i < last->count; i++) {
                free(last->items[i].path);
                free(last->items[i].acl);
        }
        free(last->items);
        *last = (StoreApplyLast) {};
}

static bool xattr_is_forbidden(const char *name)
{
        return str_after_prefix(name, "trusted.overlay.") || str_after_prefix(name, "user.overlay.");
}

/* A file system or a security module that does not take an attribute is no reason to refuse an image, except where the
 * attribute is what a program's privileges hang on. */
static int apply_xattrs(int fd, const StoreTarEntry *entry, bool with_default_acl)
{
        for (size_t i = 0; i < entry->n_xattrs; i++) {
                const StoreTarXattr *xattr = &entry->xattrs[i];

                if (xattr_is_forbidden(xattr->name) || (!with_default_acl && str_equal(xattr->name, DEFAULT_ACL)))
                        continue;
                if (fsetxattr(fd, xattr->name, xattr->value, xattr->size, 0) >= 0)
                        continue;
                if (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == ENOMEM ||
                    str_equal(xattr->name, "security.capability"))
                        return -errno;
        }
        return 0;
}

static int apply_time(int fd, struct timespec mtime)
{
        const struct timespec times[2] = { mtime, mtime };

        return futimens(fd, times) < 0 ? -errno : 0;
}

int store_apply_to_file(int fd, const StoreTarEntry *entry, bool setgid)
{
        int r;

        if ((entry->uid != 0 || entry->gid != 0 || setgid) && fchown(fd, entry->uid, entry->gid) < 0)
                return -errno;
        if ((entry->mode & 07000) && fchmod(fd, entry->mode) < 0)
                return -errno;
        r = apply_xattrs(fd, entry, true);
        return r < 0 ? r : apply_time(fd, entry->mtime);
}

static int last_add(StoreApplyLast *last, const char *real, const StoreTarEntry *entry)
{
        StoreApplyLastItem *item;

        if (last->count == last->allocated) {
                size_t want = MAX(last->allocated * 2, (size_t) 64);
                StoreApplyLastItem *grown = reallocarray(last->items, want, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                last->items = grown;
                last->allocated = want;
        }
        item = &last->items[last->count];
        *item = (StoreApplyLastItem) { .path = strdup(real), .mtime = entry->mtime };
        if (!item->path)
                return -ENOMEM;
        last->count++;
        for (size_t i = 0; i < entry->n_xattrs; i++) {
                if (!str_equal(entry->xattrs[i].name, DEFAULT_ACL))
                        continue;
                free(item->acl);
                item->acl = malloc(entry->xattrs[i].size + 1);
                if (!item->acl)
                        return -ENOMEM;
                memcpy(item->acl, entry->xattrs[i].value, entry->xattrs[i].size);
                item->acl_size = entry->xattrs[i].size;
        }
        return 0;
}

int store_apply_to_directory(StoreApplyLast *last, int fd, const char *real, const StoreTarEntry *entry)
{
        int r;

        if (fchown(fd, entry->uid, entry->gid) < 0 || fchmod(fd, entry->mode) < 0)
                return -errno;
        r = apply_xattrs(fd, entry, false);
        return r < 0 ? r : last_add(last, real, entry);
}

int store_apply_to_name(int dirfd, const char *name, const StoreTarEntry *entry)
{
        const struct timespec times[2] = { entry->mtime, entry->mtime };

        if (fchownat(dirfd, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        /* The tree is not reachable by anybody else, so NAME is still the device or FIFO that was just made. */
        if (entry->type != '2' && (entry->mode & 07000) && fchmodat(dirfd, name, entry->mode, 0) < 0)
                return -errno;
        return utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* A directory that a later entry replaced is passed over: its path may be anything by now. So is one that something is
 * mounted on. */
int store_apply_last(const StoreApplyLast *last, const StoreTree *tree)
{
        for (size_t i = 0; i < last->count; i++) {
                const StoreApplyLastItem *item = &last->items[i];
                int fd CLEANUP_CLOSE = store_tree_open_directory(tree, item->path);
                int r;

                if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV)
                        continue;
                if (fd < 0)
                        return fd;
                if (item->acl && fsetxattr(fd, DEFAULT_ACL, item->acl, item->acl_size, 0) < 0 &&
                    (errno == ENOSPC || errno == EIO))
                        return -errno;
                r = apply_time(fd, item->mtime);
                if (r < 0)
                        return r;
        }
        return 0;
}
