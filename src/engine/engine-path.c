/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths in a container's root. Nothing is ever opened but within that root, whatever links the container makes
 * meanwhile; texts alone decide only what things are called. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/base64.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "engine-private.h"

#define LINKS_MAX 255u

static bool ends_in_current(const char *path)
{
        return str_equal(path, ".") || str_has_suffix(path, "/.");
}

/* "/a/b" without ., .. and doubled slashes. */
static char *clean(const char *path)
{
        char *result = malloc(strlen(path) + 2);
        size_t used = 0;

        if (!result)
                return NULL;
        while (*path) {
                size_t n = strcspn(path, "/");

                if (n == 2 && memcmp(path, "..", 2) == 0) {
                        while (used > 0 && result[--used] != '/')
                                ;
                } else if (n > 0 && !(n == 1 && *path == '.')) {
                        result[used++] = '/';
                        memcpy(result + used, path, n);
                        used += n;
                }
                path += n;
                path += strspn(path, "/");
        }
        if (used == 0)
                result[used++] = '/';
        result[used] = 0;
        return result;
}

char *path_in_root(const char *path)
{
        CLEANUP_FREE char *result = clean(path);
        const char *slash = result && str_equal(result, "/") ? "" : "/";

        if (!result)
                return NULL;
        if (ends_in_current(path))
                return str_printf("%s%s.", result, slash);
        return str_has_suffix(path, "/") ? str_printf("%s%s", result, slash) : TAKE_PTR(result);
}

char *path_last(const char *path)
{
        size_t end = strlen(path), start;

        while (end > 1 && path[end - 1] == '/')
                end--;
        start = end;
        while (start > 0 && path[start - 1] != '/')
                start--;
        return start == end ? strdup("/") : strndup(path + start, end - start);
}

/* The link's target; NULL where it is none, or not there. */
static char *read_link(int root_fd, const char *path)
{
        CLEANUP_CLOSE int fd = mount_path_open(root_fd, path, O_PATH | O_NOFOLLOW);
        char target[PATH_MAX];
        ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", target, sizeof(target));

        return n > 0 ? strndup(target, (size_t) n) : NULL;
}

char *path_resolve(int root_fd, const char *path)
{
        CLEANUP_FREE char *done = strdup(""), *rest = strdup(path);
        unsigned links = 0;

        while (done && rest) {
                const char *next = rest + strspn(rest, "/");
                size_t n = strcspn(next, "/");

                if (n == 0)
                        return *done ? TAKE_PTR(done) : strdup("/");
                CLEANUP_FREE char *joined = str_printf("%s/%.*s", done, (int) n, next), *here = NULL, *target = NULL;
                CLEANUP_FREE char *after = strdup(next + n);
                here = joined ? clean(joined) : NULL;
                if (!here || !after)
                        return NULL;
                target = links < LINKS_MAX ? read_link(root_fd, here) : NULL;
                free(rest);
                if (target) {
                        links++;
                        rest = str_printf("%s/%s", target, after);
                        if (*target == '/')
                                *done = 0;
                        continue;
                }
                rest = TAKE_PTR(after);
                free(done);
                done = str_equal(here, "/") ? strdup("") : TAKE_PTR(here);
        }
        return NULL;
}

/* As Go's os.FileMode has it. */
static int64_t go_mode(mode_t mode)
{
        static const struct {
                mode_t type;
                int64_t bits;
        } types[] = {
                { S_IFDIR, INT64_C(1) << 31 }, { S_IFLNK, INT64_C(1) << 27 },
                { S_IFBLK, INT64_C(1) << 26 }, { S_IFCHR, INT64_C(1) << 26 | INT64_C(1) << 21 },
                { S_IFIFO, INT64_C(1) << 25 }, { S_IFSOCK, INT64_C(1) << 24 },
        };
        int64_t result = mode & 0777;

        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if ((mode & S_IFMT) == types[i].type)
                        result |= types[i].bits;
        return result | (mode & S_ISUID ? INT64_C(1) << 23 : 0) | (mode & S_ISGID ? INT64_C(1) << 22 : 0) |
               (mode & S_ISVTX ? INT64_C(1) << 20 : 0);
}

int path_describe(int root_fd, const char *path, char **ret_text, mode_t *ret_mode)
{
        CLEANUP_CLOSE int fd = mount_path_open(root_fd, path, O_PATH | O_NOFOLLOW);
        CLEANUP_FREE char *name = path_last(path), *target = NULL, *text = NULL;
        char mtime[TIME_RFC3339_SIZE];
        struct stat st;

        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        target = S_ISLNK(st.st_mode) ? path_resolve(root_fd, path) : strdup("");
        if (!name || !target)
                return -ENOMEM;
        time_format_rfc3339((int64_t) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, mtime);
        CLEANUP_JSON json_t *object =
                json_pack("{ss sI sI ss ss}", "name", name, "size", (json_int_t) st.st_size, "mode",
                          (json_int_t) go_mode(st.st_mode), "mtime", mtime, "linkTarget", target);
        text = object ? json_dumps(object, JSON_COMPACT) : NULL;
        *ret_text = text ? base64_encode(text, strlen(text), false) : NULL;
        *ret_mode = st.st_mode;
        return *ret_text ? 0 : -ENOMEM;
}
