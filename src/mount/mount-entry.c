/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One entry of the configuration's mounts: its options by table, and its mounting. An entry owns its options' text and
 * the detached tree of a bind's source. Binds are cloned in the host's mount namespace, before the container's exists,
 * so that a shared source stays a peer of the host's mount. */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "berth/json.h"
#include "berth/mount.h"
#include "berth/string.h"

typedef struct MountOption {
        const char *name;
        unsigned long flag, unflag; /* MS_... */
        uint64_t set, clear;        /* MOUNT_ATTR_... */
        uint64_t set_recursive;
        unsigned long propagation;
        bool propagation_recursive;
} MountOption;

static const MountOption mount_options[] = {
        { .name = "async", .unflag = MS_SYNCHRONOUS },
        { .name = "atime", .unflag = MS_NOATIME, .clear = MOUNT_ATTR__ATIME },
        { .name = "defaults" },
        { .name = "dev", .unflag = MS_NODEV, .clear = MOUNT_ATTR_NODEV },
        { .name = "diratime", .unflag = MS_NODIRATIME, .clear = MOUNT_ATTR_NODIRATIME },
        { .name = "dirsync", .flag = MS_DIRSYNC },
        { .name = "exec", .unflag = MS_NOEXEC, .clear = MOUNT_ATTR_NOEXEC },
        { .name = "iversion", .flag = MS_I_VERSION },
        { .name = "lazytime", .flag = MS_LAZYTIME },
        { .name = "loud", .unflag = MS_SILENT },
        { .name = "mand", .flag = MS_MANDLOCK },
        { .name = "noatime", .flag = MS_NOATIME, .set = MOUNT_ATTR_NOATIME, .clear = MOUNT_ATTR__ATIME },
        { .name = "nodev", .flag = MS_NODEV, .set = MOUNT_ATTR_NODEV },
        { .name = "nodiratime", .flag = MS_NODIRATIME, .set = MOUNT_ATTR_NODIRATIME },
        { .name = "noexec", .flag = MS_NOEXEC, .set = MOUNT_ATTR_NOEXEC },
        { .name = "noiversion", .unflag = MS_I_VERSION },
        { .name = "nomand", .unflag = MS_MANDLOCK },
        { .name = "norelatime", .unflag = MS_RELATIME },
        { .name = "nostrictatime", .unflag = MS_STRICTATIME },
        { .name = "nosuid", .flag = MS_NOSUID, .set = MOUNT_ATTR_NOSUID },
        { .name = "private", .propagation = MS_PRIVATE },
        { .name = "relatime", .flag = MS_RELATIME, .set = MOUNT_ATTR_RELATIME, .clear = MOUNT_ATTR__ATIME },
        { .name = "remount" },
        { .name = "rnodev", .set_recursive = MOUNT_ATTR_NODEV },
        { .name = "rnoexec", .set_recursive = MOUNT_ATTR_NOEXEC },
        { .name = "rnosuid", .set_recursive = MOUNT_ATTR_NOSUID },
        { .name = "ro", .flag = MS_RDONLY, .set = MOUNT_ATTR_RDONLY },
        { .name = "rprivate", .propagation = MS_PRIVATE, .propagation_recursive = true },
        { .name = "rro", .set_recursive = MOUNT_ATTR_RDONLY },
        { .name = "rshared", .propagation = MS_SHARED, .propagation_recursive = true },
        { .name = "rslave", .propagation = MS_SLAVE, .propagation_recursive = true },
        { .name = "runbindable", .propagation = MS_UNBINDABLE, .propagation_recursive = true },
        { .name = "rw", .unflag = MS_RDONLY, .clear = MOUNT_ATTR_RDONLY },
        { .name = "shared", .propagation = MS_SHARED },
        { .name = "silent", .flag = MS_SILENT },
        { .name = "slave", .propagation = MS_SLAVE },
        { .name = "strictatime", .flag = MS_STRICTATIME, .set = MOUNT_ATTR_STRICTATIME, .clear = MOUNT_ATTR__ATIME },
        { .name = "suid", .unflag = MS_NOSUID, .clear = MOUNT_ATTR_NOSUID },
        { .name = "sync", .flag = MS_SYNCHRONOUS },
        { .name = "unbindable", .propagation = MS_UNBINDABLE },
};

void mount_entry_clear(MountEntry *entry)
{
        free(entry->data);
        fd_close(entry->tree_fd);
        *entry = MOUNT_ENTRY_EMPTY;
}

static const MountOption *option_find(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(mount_options); i++)
                if (str_equal(mount_options[i].name, name))
                        return mount_options + i;
        return NULL;
}

/* Takes one word: a known option, or data of the file system. */
static int entry_add_option(MountEntry *entry, Buffer *data, const char *word)
{
        const MountOption *option = option_find(word);

        if (str_equal(word, "bind") || str_equal(word, "rbind")) {
                entry->bind = true;
                entry->recursive = word[0] == 'r';
                return 0;
        }
        if (!option)
                return buffer_printf(data, "%s%s", data->size > 0 ? "," : "", word);
        entry->flags = (entry->flags & ~option->unflag) | option->flag;
        /* The kernel applies what is cleared before what is set; an option that comes later wins. */
        entry->set = (entry->set & ~option->clear) | option->set;
        entry->clear = (entry->clear & ~option->set) | option->clear;
        entry->set_recursive |= option->set_recursive;
        if (option->propagation) {
                entry->propagation = option->propagation;
                entry->propagation_recursive = option->propagation_recursive;
        }
        return 0;
}

int mount_entry_parse(const json_t *object, MountEntry *ret_entry, Error *ret_error)
{
        CLEANUP(mount_entry_clear) MountEntry entry = MOUNT_ENTRY_EMPTY;
        CLEANUP_BUFFER Buffer data = {};
        json_t *options = json_get_array(object, "options"), *word;
        size_t i;

        entry.source = json_get_string(object, "source");
        entry.destination = json_get_string(object, "destination");
        entry.type = json_get_string_or(object, "type", "");
        entry.bind = str_equal(entry.type, "bind");
        if (!entry.destination || entry.destination[0] != '/') {
                error_set(ret_error, OUTCOME_FAILED, "mount destination not absolute: %s",
                          entry.destination ? entry.destination : "");
                return -EINVAL;
        }
        json_array_foreach(options, i, word) {
                int r = entry_add_option(&entry, &data, json_string_value(word) ? json_string_value(word) : "");

                if (r < 0)
                        return r;
        }
        if (entry.bind && !entry.source) {
                error_set(ret_error, OUTCOME_FAILED, "bind mount without a source: %s", entry.destination);
                return -EINVAL;
        }
        if (entry.bind && !entry.propagation) {
                entry.propagation = MS_PRIVATE;
                entry.propagation_recursive = true;
        }
        entry.data = buffer_take(&data);
        if (!entry.data)
                return -ENOMEM;
        *ret_entry = entry;
        entry = MOUNT_ENTRY_EMPTY;
        return 0;
}

static int tree_set_attributes(int tree, const MountEntry *entry)
{
        struct mount_attr attr = {
                .attr_set = entry->set,
                .attr_clr = entry->clear & ~entry->set,
                .propagation = entry->propagation_recursive ? 0 : entry->propagation,
        };
        struct mount_attr below = {
                .attr_set = entry->set_recursive,
                .propagation = entry->propagation_recursive ? entry->propagation : 0,
        };

        /* A change of the atime mode needs its whole field cleared first. */
        if (entry->set & MOUNT_ATTR__ATIME || entry->clear & MOUNT_ATTR__ATIME)
                attr.attr_clr |= MOUNT_ATTR__ATIME;
        if ((attr.attr_set || attr.attr_clr || attr.propagation) &&
            mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return -errno;
        if ((below.attr_set || below.propagation) &&
            mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &below, sizeof(below)) < 0)
                return -errno;
        return 0;
}

int mount_entry_open(MountEntry *entry, Error *ret_error)
{
        CLEANUP_CLOSE int tree = -EBADF;
        int r;

        if (!entry->bind || entry->tree_fd >= 0)
                return 0;
        tree = open_tree(AT_FDCWD, entry->source,
                         OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (entry->recursive ? AT_RECURSIVE : 0));
        r = tree < 0 ? -errno : tree_set_attributes(tree, entry);
        if (r < 0)
                return mount_error(ret_error, -r, "error mounting \"%s\" to rootfs at \"%s\": stat %s", entry->source,
                                   entry->destination, entry->source);
        entry->tree_fd = TAKE_FD(tree);
        return 0;
}

static int entry_target(const MountEntry *entry, int root_fd)
{
        struct stat st;
        bool directory = true;

        if (entry->bind) {
                if (fstat(entry->tree_fd, &st) < 0)
                        return -errno;
                directory = S_ISDIR(st.st_mode);
        }
        return mount_path_make(root_fd, entry->destination, directory, 0755);
}

int mount_entry_make_target(const MountEntry *entry, int root_fd)
{
        int fd = entry_target(entry, root_fd);

        fd_close(fd);
        return fd < 0 ? fd : 0;
}

/* A tmpfs takes over the mode of the directory it covers, if the image had one there; else it is the kernel's 1777. */
static int tmpfs_data(const MountEntry *entry, int root_fd, char **ret_data)
{
        CLEANUP_CLOSE int fd = -EBADF;
        char *data;
        struct stat st;

        if (strstr(entry->data, "mode="))
                fd = -ENOENT;
        else
                fd = mount_path_open(root_fd, entry->destination, O_PATH | O_DIRECTORY);
        if (fd < 0 || fstat(fd, &st) < 0)
                data = strdup(entry->data);
        else
                data = str_printf("%s%smode=%04o", entry->data, *entry->data ? "," : "", st.st_mode & 07777u);
        if (!data)
                return -ENOMEM;
        *ret_data = data;
        return 0;
}

static int mount_new(const MountEntry *entry, const char *type, const char *data, int target, int root_fd)
{
        struct mount_attr attr = { .propagation = entry->propagation };
        CLEANUP_CLOSE int mounted = -EBADF;

        if (fchdir(target) < 0)
                return -errno;
        if (mount(entry->source ? entry->source : type, ".", type, entry->flags, data) < 0)
                return -errno;
        /* A new file system in a private tree is private already. */
        if (entry->propagation == 0 || entry->propagation == MS_PRIVATE)
                return 0;
        mounted = mount_path_open(root_fd, entry->destination, O_PATH);
        if (mounted < 0)
                return mounted;
        if (mount_setattr(mounted, "", AT_EMPTY_PATH | (entry->propagation_recursive ? AT_RECURSIVE : 0), &attr,
                          sizeof(attr)) < 0)
                return -errno;
        return 0;
}

/* The kernel's own answer to covering a file with a directory, or the reverse, depends on the call. */
static bool same_kind(int a, int b)
{
        struct stat st_a, st_b;

        return fstat(a, &st_a) >= 0 && fstat(b, &st_b) >= 0 && S_ISDIR(st_a.st_mode) == S_ISDIR(st_b.st_mode);
}

static int entry_mount(const MountEntry *entry, int root_fd)
{
        /* The configuration says "cgroup" whichever version the host has; only the unified one is supported. */
        const char *type = str_equal(entry->type, "cgroup") ? "cgroup2" : entry->type;
        CLEANUP_FREE char *tmpfs = NULL;
        CLEANUP_CLOSE int target = -EBADF;
        int r;

        if (!entry->bind && str_equal(type, "tmpfs")) {
                r = tmpfs_data(entry, root_fd, &tmpfs);
                if (r < 0)
                        return r;
        }
        target = entry_target(entry, root_fd);
        if (target < 0)
                return target;
        if (!entry->bind)
                return mount_new(entry, type, tmpfs ? tmpfs : entry->data, target, root_fd);
        if (!same_kind(entry->tree_fd, target))
                return -ENOTDIR;
        if (move_mount(entry->tree_fd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
                return -errno;
        return 0;
}

/* What may be bound below /proc: what containers are commonly given a view of their own of. Anything else there could
 * stand in for a file that this or another program trusts to be the kernel's. */
static const char *const proc_binds[] = {
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/net/dev",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/proc/sys/crypto/fips_enabled",
        "/proc/sys/kernel/ns_last_pid",
};

static int entry_check(const MountEntry *entry, int root_fd, Error *ret_error)
{
        CLEANUP_CLOSE int target = -EBADF;
        struct statfs fs;
        struct stat st;

        if (entry->bind && mount_path_is_below(entry->destination, "/proc")) {
                if (str_equal(entry->destination, "/proc") && fstatfs(entry->tree_fd, &fs) >= 0 &&
                    fs.f_type == PROC_SUPER_MAGIC)
                        return 0;
                for (size_t i = 0; i < ARRAY_SIZE(proc_binds); i++)
                        if (str_equal(entry->destination, proc_binds[i]))
                                return 0;
                error_set(ret_error, OUTCOME_FAILED,
                          "error mounting \"%s\" to rootfs at \"%s\": create mount destination for %s mount: check "
                          "proc-safety of %s mount: \"%s\" cannot be mounted because it is inside /proc",
                          entry->source, entry->destination, entry->destination, entry->destination,
                          entry->destination);
                return -EINVAL;
        }
        if (!str_equal(entry->type, "proc") && !str_equal(entry->type, "sysfs"))
                return 0;
        /* A link here would put the real one where neither masks nor programs look for it. */
        target = mount_path_open(root_fd, entry->destination, O_PATH | O_NOFOLLOW);
        if (target < 0 || (fstat(target, &st) >= 0 && S_ISDIR(st.st_mode)))
                return 0;
        error_set(ret_error, OUTCOME_FAILED, "filesystem \"%s\" must be mounted on ordinary directory", entry->type);
        return -ENOTDIR;
}

int mount_entry_apply(const MountEntry *entry, int root_fd, Error *ret_error)
{
        const char *source = entry->source ? entry->source : entry->type;
        int r = entry_check(entry, root_fd, ret_error);

        if (r < 0)
                return r;
        r = entry_mount(entry, root_fd);
        if (r < 0)
                return mount_error(ret_error, -r, "error mounting \"%s\" to rootfs at \"%s\": mount %s:%s", source,
                                   entry->destination, source, entry->destination);
        return 0;
}
