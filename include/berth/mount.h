/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mounting: the overlay of a container on the host, and the container's own tree inside its root file system.
 *
 * Everything inside a root is reached through a descriptor of that root, by openat2(2) with RESOLVE_IN_ROOT: a symbolic
 * link made by an image leads nowhere else. File systems are mounted on the working directory (fchdir(2) first) or
 * moved from a detached tree onto a descriptor, so no function needs /proc.
 *
 * Functions return 0 (or a descriptor) or a negative errno; with an Error, its message says what failed and why. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "berth/buffer.h"
#include "berth/outcome.h"

/* Sets the message, followed by the reason in the words Go programs use ("no such file or directory"), which clients of
 * the API look for. Returns -ERRNUM. */
int mount_error(Error *error, int errnum, const char *format, ...) __attribute__((format(printf, 3, 4)));

typedef struct MountOverlay {
        const char *layer_root; /* directory that LOWER is relative to */
        char *const *lower;     /* topmost first, NULL-terminated, never empty; names without ',' and ':' */
        const char *upper; /* absolute, with WORK on one file system; both NULL: read-only, then at least two lower */
        const char *work;
        const char *target; /* absolute, exists */
        bool discard;       /* UPPER needs not outlive the mount: nothing is synced, and WORK can't be used again */
} MountOverlay;

/* Mounts it. 128 lower directories of up to 23 bytes fit the kernel's one page of options. The working directory is
 * "/" afterwards. */
int mount_overlay(const MountOverlay *overlay, Error *ret_error);

/* Makes the first calls of the library, in a process whose forks will mount. */
void mount_warm_up(void);

/* Detaches whatever is mounted on TARGET; nothing being mounted there is success. */
int mount_overlay_undo(const char *target);

/* Opens PATH inside the root. FLAGS as in open(2); O_CLOEXEC is added. Magic links of /proc are refused (-ELOOP). */
int mount_path_open(int root_fd, const char *path, int flags);

/* Opens (O_PATH) PATH inside the root and makes what is missing: directories with MODE, and the last name as an empty
 * file unless DIRECTORY. Links that lead to nothing are followed and their target is made. Returns the descriptor. */
int mount_path_make(int root_fd, const char *path, bool directory, mode_t mode);

/* One entry of an OCI configuration's "mounts". Strings are borrowed from the configuration but for DATA. */
typedef struct MountEntry {
        const char *source, *destination, *type;
        unsigned long flags;       /* MS_... for a new file system */
        uint64_t set, clear;       /* MOUNT_ATTR_... for a bind */
        uint64_t set_recursive;    /* the same for the mounts below, too ("rro" and such) */
        unsigned long propagation; /* MS_PRIVATE, ..., 0: as it comes */
        bool propagation_recursive;
        bool bind, recursive;
        char *data;  /* owned: options of the file system itself */
        int tree_fd; /* owned: the cloned source of a bind once opened, else -EBADF */
} MountEntry;

#define MOUNT_ENTRY_EMPTY ((MountEntry) { .tree_fd = -EBADF })

void mount_entry_clear(MountEntry *entry);

/* -EINVAL with a message for an entry that makes no sense. OBJECT must outlive the entry. */
int mount_entry_parse(const json_t *object, MountEntry *ret_entry, Error *ret_error);

/* For a bind: clones its source, as seen in the present mount namespace, with its attributes and propagation. Nothing
 * to do for others. */
int mount_entry_open(MountEntry *entry, Error *ret_error);

/* Makes the destination where it is missing. */
int mount_entry_make_target(const MountEntry *entry, int root_fd);

/* Mounts it inside the root, making the destination where missing. Changes the working directory. */
int mount_entry_apply(const MountEntry *entry, int root_fd, Error *ret_error);

/* True where DESTINATION is TOP or lies below it (both clean absolute paths). */
bool mount_path_is_below(const char *destination, const char *top);

/* Makes PATH in the root read-only for this mount namespace, or hides it (a file behind the root's /dev/null, a
 * directory behind an empty read-only tmpfs). What does not exist is success. */
int mount_path_protect(int root_fd, const char *path);
int mount_path_mask(int root_fd, const char *path);

/* A mount namespace of its own for this process, receiving and sending nothing; MORE are CLONE_NEW... flags of further
 * namespaces made by the same call. */
int mount_namespace_enter(int more);

/* Makes the mount that ROOT_FD is open on the root of the present mount namespace and detaches the old one. PROPAGATION
 * (MS_..., 0 for none) is what the new root gets. */
int mount_root_pivot(int root_fd, unsigned long propagation, bool read_only);

/* Whether the file system that the directory is on can limit what a directory takes. */
bool mount_quota_supported(const char *path);

/* From now on what is made in the directory, which is empty, takes no more than BYTES together. */
int mount_quota_set(const char *path, uint64_t bytes);

/* What is made in the directory, which is empty, counts as if it were made in OTHER, on the same file system; that
 * there is no limit for OTHER is success. */
int mount_quota_join(const char *path, const char *other);

/* Forgets the limit of a directory that is going to be removed, where it has one. */
int mount_quota_clear(const char *path);
