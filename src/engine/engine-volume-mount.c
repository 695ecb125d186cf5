/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a start does to the volumes of a container, in its child, where waiting for a server or a disk holds up nobody
 * else: file systems that the volumes' options name are mounted, parts of volumes and images get a place of their own
 * in the run-time directory, and empty volumes are filled from the image. Two starts of one volume wait for each other
 * by a lock on its directory. Taking away is the engine's, which knows who runs.
 *
 * Inside a volume nothing is trusted: whoever has it mounted may put links there. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netdb.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "engine-join.h"
#include "engine-volume-private.h"

#define UNMOUNTS_MAX 64

typedef struct Preparation {
        const Container *container;
        const char *root; /* the container's, mounted */
        Error *error;
} Preparation;

/* A message that stands alone, with the reason in Go's words. ERRNUM is what the failure counts as. */
static int refuse(Error *error, int reason, int errnum, const char *text)
{
        CLEANUP_ERROR Error whole = { 0 };

        mount_error(&whole, reason, "%s", text);
        error_set(error, OUTCOME_BAD_REQUEST, "%s", whole.message ? whole.message : text);
        return -errnum;
}

/* --- File systems of volumes -------------------------------------------------------------------------------------- */

static char *state_path(const Engine *engine, const char *name)
{
        return path_join(engine->volume_state, name);
}

bool volume_is_mounted(const Engine *engine, const char *name)
{
        CLEANUP_FREE char *path = state_path(engine, name);

        return path && access(path, F_OK) == 0;
}

int volume_unmount(const Engine *engine, const char *name)
{
        CLEANUP_FREE char *state = state_path(engine, name), *path = volume_path(engine, name, VOLUME_DATA);
        int r = 0;

        if (!state || !path)
                return -ENOMEM;
        for (int i = 0; r >= 0 && i < UNMOUNTS_MAX; i++)
                r = umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
        if (r < 0 && r != -EINVAL && r != -ENOENT)
                return r;
        return unlink(state) < 0 && errno != ENOENT ? -errno : 0;
}

static bool is_mount(int fd)
{
        struct statx st;

        return statx(fd, "", AT_EMPTY_PATH, 0, &st) == 0 && st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

/* "addr=NAME" becomes "addr=NUMBER": the kernel looks nothing up. */
static char *resolve_address(const char *options)
{
        const char *address = strstr(options, "addr=");
        CLEANUP_FREE char *name = address ? strndup(address + 5, strcspn(address + 5, ",")) : NULL;
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
        char number[INET6_ADDRSTRLEN];
        char *resolved = NULL;

        if (!name || (address != options && address[-1] != ',') || getaddrinfo(name, NULL, &hints, &list) != 0)
                return strdup(options);
        if (getnameinfo(list->ai_addr, list->ai_addrlen, number, sizeof(number), NULL, 0, NI_NUMERICHOST) == 0)
                resolved = str_printf("%.*s%s%s", (int) (address + 5 - options), options, number,
                                      address + 5 + strlen(name));
        freeaddrinfo(list);
        return resolved ? resolved : strdup(options);
}

static json_t *split(const char *options)
{
        CLEANUP_FREE char *copy = strdup(options);
        json_t *list = json_array();
        char *rest = copy;

        for (char *word; (word = strsep(&rest, ","));)
                if (*word)
                        json_array_append_new(list, json_string(word));
        return list;
}

static int mount_file_system(const char *target, const json_t *options, Error *error)
{
        const char *type = json_get_string_or(options, "type", ""), *device = json_get_string_or(options, "device", "");
        CLEANUP_FREE char *words = resolve_address(json_get_string_or(options, "o", ""));
        CLEANUP_JSON json_t *object = json_pack("{ss ss ss so}", "destination", target, "source", device, "type", type,
                                                "options", split(words ? words : ""));
        CLEANUP(mount_entry_clear) MountEntry entry = MOUNT_ENTRY_EMPTY;
        int r = object ? mount_entry_parse(object, &entry, error) : -ENOMEM;

        if (r < 0)
                return r;
        unsigned long bind = entry.bind ? MS_BIND | (entry.recursive ? MS_REC : 0) : 0;
        r = mount(device, target, type, entry.flags | bind, *entry.data ? entry.data : NULL) < 0 ? -errno : 0;
        /* A bind takes its flags in a second step. */
        if (r >= 0 && entry.bind && entry.flags)
                r = mount(NULL, target, NULL, entry.flags | MS_REMOUNT | MS_BIND, NULL) < 0 ? -errno : 0;
        if (r >= 0 && entry.propagation && !entry.bind)
                r = mount(NULL, target, NULL, entry.propagation, NULL) < 0 ? -errno : 0;
        if (r >= 0)
                return 0;
        CLEANUP_FREE char *text = str_printf("error while mounting volume '%s': failed to mount local volume: mount "
                                             "%s:%s, flags: 0x%lx",
                                             target, device, target, entry.flags | bind);
        umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
        return text ? refuse(error, -r, EIO, text) : -ENOMEM;
}

/* Mounts what the options say, if it is not there; the note of it comes first. */
static int mount_volume(const Preparation *p, const char *name, int data)
{
        CLEANUP_FREE char *state = state_path(p->container->engine, name);
        CLEANUP_FREE char *target = volume_path(p->container->engine, name, VOLUME_DATA);
        CLEANUP_FREE char *record_path = volume_path(p->container->engine, name, VOLUME_RECORD);
        CLEANUP_JSON json_t *record = NULL;

        if (!state || !target || !record_path)
                return -ENOMEM;
        int r = json_read_at(AT_FDCWD, record_path, &record);
        if (r < 0)
                return r;
        const json_t *options = json_get_object(record, "Options");
        if (str_empty(json_get_string(options, "device")) || is_mount(data))
                return 0;
        CLEANUP_CLOSE int note = open(state, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (note < 0)
                return -errno;
        return mount_file_system(target, options, p->error);
}

/* --- Parts -------------------------------------------------------------------------------------------------------- */

/* Opens a part of the tree BASE, links followed as long as they stay in it. */
static int open_part(const Preparation *p, int base, const char *base_path, const char *subpath)
{
        struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
        int fd = (int) syscall(SYS_openat2, base, subpath, &how, sizeof(how)), failure = errno;

        if (fd >= 0)
                return fd;
        CLEANUP_FREE char *escape =
                str_printf("path concatenation escapes the base directory, base: %s, subpath: %s", base_path, subpath);
        CLEANUP_FREE char *missing =
                str_printf("cannot access path %s/%s: lstat %s/%s", base_path, subpath, base_path, subpath);
        if (!escape || !missing)
                return -ENOMEM;
        if (failure != EXDEV && failure != ELOOP)
                return refuse(p->error, failure, ENOENT, missing);
        error_set(p->error, OUTCOME_BAD_REQUEST, "%s", escape);
        return -EACCES;
}

/* Puts the tree that FD is open on in the place of the mount point I. */
static int stage(const Preparation *p, size_t i, int fd)
{
        CLEANUP_FREE char *place = container_staged_mount(p->container, i);
        CLEANUP_CLOSE int tree = open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
        struct stat st;

        if (!place)
                return -ENOMEM;
        if (tree < 0 || fstat(fd, &st) < 0)
                return -errno;
        CLEANUP_CLOSE int file =
                S_ISDIR(st.st_mode) ? -EBADF : open(place, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (S_ISDIR(st.st_mode) ? mkdir(place, 0700) < 0 && errno != EEXIST : file < 0)
                return -errno;
        return move_mount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

/* --- Filling ------------------------------------------------------------------------------------------------------ */

static bool is_empty(int directory)
{
        return path_tree_count_at(directory, ".", 1) == 0;
}

/* VOLUME is the volume's directory, and DATA what will be mounted. A file that says that it is being filled outlives a
 * power cut, and the next start goes on. */
static int fill(const Preparation *p, const json_t *point, int volume, int data)
{
        const char *destination = json_get_string_or(point, "Destination", "");
        bool begun = faccessat(volume, VOLUME_POPULATING, F_OK, 0) == 0;

        if (!json_get_bool(point, "CopyData") || (!begun && p->container->run > 1))
                return 0;
        CLEANUP_CLOSE int root = open(p->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        CLEANUP_CLOSE int target = openat(data, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return -errno;
        CLEANUP_CLOSE int source = mount_path_open(root, destination, O_RDONLY | O_DIRECTORY);
        if (source < 0 || target < 0 || (!begun && !is_empty(target)))
                return 0; /* nothing to copy, or nowhere: what does not fit is told when it is mounted */
        CLEANUP_CLOSE int note = openat(volume, VOLUME_POPULATING, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (note < 0)
                return -errno;
        int r = volume_copy(source, target);
        if (r >= 0 && syncfs(target) < 0)
                r = -errno;
        if (r < 0) {
                CLEANUP_FREE char *text = str_printf("failed to copy the image's files to volume %s",
                                                     json_get_string_or(point, "Name", ""));
                return text ? refuse(p->error, -r, EIO, text) : -ENOMEM;
        }
        return unlinkat(volume, VOLUME_POPULATING, 0) < 0 ? -errno : 0;
}

static int prepare_volume(const Preparation *p, const json_t *point, size_t i)
{
        const char *name = json_get_string_or(point, "Name", ""), *subpath = json_get_string(point, "Subpath");
        CLEANUP_FREE char *path = volume_path(p->container->engine, name, NULL);
        CLEANUP_FREE char *data_path = volume_path(p->container->engine, name, VOLUME_DATA);

        if (!path || !data_path)
                return -ENOMEM;
        CLEANUP_CLOSE int volume = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CLEANUP_CLOSE int data = open(data_path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (volume < 0 || data < 0 || flock(volume, LOCK_EX) < 0)
                return refuse(p->error, errno, EIO, data_path);
        int r = mount_volume(p, name, data);
        if (r < 0)
                return r;
        fd_close(data);
        data = open(data_path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); /* what is mounted on it now */
        if (data < 0)
                return -errno;
        if (subpath) {
                int part = open_part(p, data, data_path, subpath);
                if (part < 0)
                        return part;
                fd_close(data);
                data = part;
                r = stage(p, i, part);
        }
        return r < 0 ? r : fill(p, point, volume, data);
}

/* --- Images ------------------------------------------------------------------------------------------------------- */

/* The image's layers under an empty one, as one overlay without a place to write. */
static int mount_image(const Preparation *p, const char *image, const char *place)
{
        Store *store = p->container->engine->store;
        CLEANUP_STRV char **lower = NULL;
        CLEANUP_FREE char *empty = str_printf("%s.empty", place);
        MountOverlay overlay = { .layer_root = store_layer_root(store), .target = place };

        if (!empty)
                return -ENOMEM;
        int r = store_image_layers(store, image, &lower);
        if (r < 0) {
                error_set(p->error, OUTCOME_BAD_REQUEST, "No such image: %s", image);
                return -EIO;
        }
        if ((mkdir(place, 0700) < 0 && errno != EEXIST) || (mkdir(empty, 0755) < 0 && errno != EEXIST))
                return -errno;
        r = strv_append(&lower, empty);
        overlay.lower = lower;
        if (r >= 0 && strv_length(lower) < 2)
                return mount(empty, place, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
        return r < 0 ? r : mount_overlay(&overlay, p->error);
}

static int prepare_image(const Preparation *p, const json_t *point, size_t i)
{
        CLEANUP_FREE char *place = container_staged_mount(p->container, i);
        const char *subpath = json_get_string(point, "Subpath");

        if (!place)
                return -ENOMEM;
        int r = mount_image(p, json_get_string_or(point, "Image", ""), place);
        if (r < 0 || !subpath)
                return r;
        CLEANUP_CLOSE int base = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (base < 0)
                return -errno;
        CLEANUP_CLOSE int part = open_part(p, base, place, subpath);
        if (part < 0)
                return part;
        /* The part takes the place of the whole. */
        CLEANUP_CLOSE int tree = open_tree(part, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        struct stat st;
        if (tree < 0 || fstat(part, &st) < 0 || umount2(place, MNT_DETACH) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode) && (rmdir(place) < 0 || mknod(place, S_IFREG | 0600, 0) < 0))
                return -errno;
        return move_mount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

int volumes_prepare(const Container *container, const char *root, Error *error)
{
        Preparation p = { .container = container, .root = root, .error = error };
        json_t *point;
        size_t i;
        int r = 0;

        json_array_foreach(json_get_array(container->record, "MountPoints"), i, point) {
                const char *type = json_get_string_or(point, "Type", "");

                if (r >= 0 && str_equal(type, "volume"))
                        r = prepare_volume(&p, point, i);
                else if (r >= 0 && str_equal(type, "image"))
                        r = prepare_image(&p, point, i);
        }
        return r;
}

int shared_memory_prepare(const Container *container, Error *error)
{
        CLEANUP_FREE char *place = NULL, *data = NULL;

        if (!container_shares_memory(container))
                return 0;
        place = container_shared_memory(container);
        data = str_printf("mode=1777,size=%lld",
                          (long long) json_get_int(container_host_config(container), "ShmSize", 0));
        if (!place || !data)
                return -ENOMEM;
        if ((mkdir(place, 01777) < 0 && errno != EEXIST) ||
            mount("shm", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, data) < 0)
                return refuse(error, errno, EIO, "mounting shm tmpfs");
        return 0;
}

void container_unstage_mounts(const Container *container)
{
        CLEANUP_FREE char *path = container_runtime_path(container, NULL);
        CLEANUP_CLOSEDIR DIR *directory = path ? opendir(path) : NULL;
        struct dirent *entry;

        while (directory && (entry = readdir(directory))) {
                CLEANUP_FREE char *place = str_printf("%s/%s", path, entry->d_name);

                if (!str_after_prefix(entry->d_name, STAGED_MOUNT_PREFIX) && !str_equal(entry->d_name, STAGED_SHM))
                        continue;
                while (place && umount2(place, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                        ;
        }
}
