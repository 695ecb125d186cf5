/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding and making the parents of an archive's paths. The quick way is one openat2(2) that neither leaves the root
 * nor follows a link; only where that fails is the path walked component by component, links being replaced by their
 * targets as text, so that the walk never depends on the kernel to stay inside. */
#include "store-tree.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "berth/file.h"
#include "berth/store.h"
#include "berth/string.h"

#define LINKS_MAX 40

int store_tree_create(StoreTree *tree, int layer_fd, StoreHeaders *headers)
{
        tree->headers = headers;
        tree->layer_fd = fcntl(layer_fd, F_DUPFD_CLOEXEC, 3);
        if (tree->layer_fd < 0)
                return -errno;
        if (mkdirat(layer_fd, STORE_TREE_FS, 0755) < 0)
                return -errno;
        tree->root_fd = openat(layer_fd, STORE_TREE_FS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return tree->root_fd < 0 ? -errno : 0;
}

static void tree_forget_parent(StoreTree *tree)
{
        free(TAKE_PTR(tree->parent_path));
        free(TAKE_PTR(tree->parent_real));
        tree->parent_fd = fd_close(tree->parent_fd);
}

void store_tree_clear(StoreTree *tree)
{
        tree_forget_parent(tree);
        tree->kept_fd = fd_close(tree->kept_fd);
        tree->root_fd = fd_close(tree->root_fd);
        tree->layer_fd = fd_close(tree->layer_fd);
}

int store_tree_clean_path(const char *path, char **ret)
{
        bool absolute = *path == '/';
        char *clean CLEANUP_FREE = malloc(strlen(path) + 1);
        size_t used = 0;

        if (!clean)
                return -ENOMEM;
        while (*path) {
                size_t n = strcspn(path, "/");

                if (n == 2 && memcmp(path, "..", 2) == 0) {
                        if (used == 0 && !absolute)
                                return -EXDEV;
                        while (used > 0 && clean[used - 1] != '/')
                                used--;
                        if (used > 0)
                                used--;
                } else if (n > 0 && !(n == 1 && *path == '.')) {
                        if (used > 0)
                                clean[used++] = '/';
                        memcpy(clean + used, path, n);
                        used += n;
                }
                path += n;
                path += strspn(path, "/");
        }
        clean[used] = 0;
        *ret = TAKE_PTR(clean);
        return 0;
}

int store_tree_open_directory(const StoreTree *tree, const char *real_path)
{
        struct open_how how = {
                .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
        };
        int fd;

        fd = (int) syscall(SYS_openat2, tree->root_fd, *real_path ? real_path : ".", &how, sizeof(how));
        return fd < 0 ? -errno : fd;
}

/* A directory where a whiteout stood: what the layers below have under that name stays hidden. */
static int tree_replace_whiteout(int parent_fd, const char *name)
{
        int fd CLEANUP_CLOSE = -EBADF;

        if (unlinkat(parent_fd, name, 0) < 0 || mkdirat(parent_fd, name, 0755) < 0)
                return -errno;
        fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : store_set_opaque(fd);
}

/* Puts a link's target in front of what is still to be walked. */
static int walk_follow(int fd, const char *name, Buffer *real, char **pending, const char *rest)
{
        char target[PATH_MAX];
        char *joined;
        ssize_t n;

        n = readlinkat(fd, name, target, sizeof(target));
        if (n < 0)
                return -errno;
        if (n == sizeof(target))
                return -ENAMETOOLONG;
        target[n] = 0;
        joined = str_printf("%s/%s", target, rest);
        if (!joined)
                return -ENOMEM;
        if (*target == '/')
                real->size = 0;
        free(*pending);
        *pending = joined;
        return 0;
}

static int walk_append(Buffer *real, const char *name)
{
        int r = 0;

        if (real->size > 0)
                r = buffer_append(real, "/", 1);
        if (r >= 0)
                r = buffer_append_string(real, name);
        return r;
}

static void walk_up(Buffer *real)
{
        while (real->size > 0 && real->data[--real->size] != '/')
                ;
        if (real->data)
                real->data[real->size] = 0;
}

static const char *walk_real(const Buffer *real)
{
        return real->size > 0 ? real->data : "";
}

/* One component. 1 where it was a link and *pending is the new rest of the walk. */
static int walk_step(StoreTree *tree, Buffer *real, const char *name, bool create, char **pending, const char *rest,
                     unsigned *links)
{
        int fd CLEANUP_CLOSE = store_tree_open_directory(tree, walk_real(real));
        struct stat st;
        int r;

        if (fd < 0)
                return fd;
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno != ENOENT || !create)
                        return -errno;
                if (mkdirat(fd, name, 0755) < 0)
                        return -errno;
        } else if (S_ISLNK(st.st_mode)) {
                if (++*links > LINKS_MAX)
                        return -ELOOP;
                r = walk_follow(fd, name, real, pending, rest);
                return r < 0 ? r : 1;
        } else if (store_is_whiteout(&st) && create) {
                r = tree_replace_whiteout(fd, name);
                if (r < 0)
                        return r;
        } else if (!S_ISDIR(st.st_mode))
                return -ENOTDIR;
        return walk_append(real, name);
}

static int tree_walk(StoreTree *tree, const char *path, bool create, char **ret_real)
{
        char *pending CLEANUP_FREE = strdup(path);
        Buffer real CLEANUP_BUFFER = {};
        char *result;
        unsigned links = 0;
        size_t at = 0;
        int r;

        if (!pending)
                return -ENOMEM;
        if (buffer_reserve(&real, 1) < 0)
                return -ENOMEM;
        while (pending[at]) {
                size_t n = strcspn(pending + at, "/"), rest = at + n + strspn(pending + at + n, "/");
                char *name = pending + at;

                if (pending[at + n])
                        pending[at + n] = 0;
                at = rest;
                if (n == 0 || str_equal(name, "."))
                        continue;
                if (str_equal(name, "..")) {
                        walk_up(&real);
                        continue;
                }
                r = walk_step(tree, &real, name, create, &pending, pending + rest, &links);
                if (r < 0)
                        return r;
                if (r > 0) {
                        if (real.data)
                                real.data[real.size] = 0;
                        at = 0;
                }
        }
        result = strdup(walk_real(&real));
        if (!result)
                return -ENOMEM;
        *ret_real = result;
        return 0;
}

/* Opens the directory, and says where it really is. */
static int tree_find(StoreTree *tree, const char *path, bool create, int *ret_fd, char **ret_real)
{
        char *real CLEANUP_FREE = NULL;
        int fd, r;

        fd = store_tree_open_directory(tree, path);
        if (fd >= 0) {
                real = strdup(path);
                if (!real) {
                        close(fd);
                        return -ENOMEM;
                }
        } else {
                if (fd != -ENOENT && fd != -ELOOP && fd != -ENOTDIR)
                        return fd;
                r = tree_walk(tree, path, create, &real);
                if (r < 0)
                        return r;
                fd = store_tree_open_directory(tree, real);
                if (fd < 0)
                        return fd;
        }
        *ret_fd = fd;
        *ret_real = TAKE_PTR(real);
        return 0;
}

int store_tree_enter_parent(StoreTree *tree, const char *path, bool create, const char **ret_name)
{
        const char *slash = strrchr(path, '/');
        size_t size = slash ? (size_t) (slash - path) : 0;
        char *parent CLEANUP_FREE = NULL, *real = NULL;
        struct stat st;
        int fd = -EBADF, r;

        *ret_name = slash ? slash + 1 : path;
        if (tree->parent_fd >= 0 && strlen(tree->parent_path) == size && memcmp(tree->parent_path, path, size) == 0)
                return 0;
        parent = strndup(path, size);
        if (!parent)
                return -ENOMEM;
        tree_forget_parent(tree);
        r = tree_find(tree, parent, create, &fd, &real);
        if (r < 0)
                return r;
        tree->parent_fd = fd;
        tree->parent_real = real;
        tree->parent_path = TAKE_PTR(parent);
        if (fstat(fd, &st) < 0)
                return -errno;
        tree->parent_setgid = st.st_mode & S_ISGID;
        return 0;
}

char *store_tree_real_path(const StoreTree *tree, const char *name)
{
        return *tree->parent_real ? path_join(tree->parent_real, name) : strdup(name);
}

static int tree_keep(StoreTree *tree, const char *name)
{
        char *real CLEANUP_FREE = store_tree_real_path(tree, name);
        char number[16];
        int r;

        if (!real)
                return -ENOMEM;
        if (tree->n_kept >= STORE_TREE_KEPT_MAX)
                return -E2BIG;
        if (tree->kept_fd < 0) {
                if (mkdirat(tree->layer_fd, STORE_TREE_KEPT, 0700) < 0)
                        return -errno;
                tree->kept_fd =
                        openat(tree->layer_fd, STORE_TREE_KEPT, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                if (tree->kept_fd < 0)
                        return -errno;
        }
        snprintf(number, sizeof(number), "%u", tree->n_kept);
        if (renameat(tree->parent_fd, name, tree->kept_fd, number) < 0)
                return -errno;
        r = store_headers_kept(tree->headers, tree->n_kept, real);
        if (r < 0)
                return r;
        tree->n_kept++;
        return 0;
}

int store_tree_displace(StoreTree *tree, const char *name, const struct stat *st)
{
        if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))
                return tree_keep(tree, name);
        return unlinkat(tree->parent_fd, name, 0) < 0 ? -errno : 0;
}
