/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The look-up of the user's program and its execution. */
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "berth/string.h"
#include "runtime-private.h"

/* False where the way leads through a magic link of /proc: that could be the engine's own program. */
static bool resolves_plainly(const char *path)
{
        struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
        CLEANUP_CLOSE int fd = (int) syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

        return fd >= 0;
}

/* 0, or why this path cannot be executed. */
static int executable(const char *path)
{
        CLEANUP_CLOSE int fd = -EBADF;
        struct stat st;

        if (stat(path, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
                return -errno;
        /* Root's override does not extend to files that nobody may execute. */
        if (!(st.st_mode & 0111))
                return -EACCES;
        return resolves_plainly(path) ? 0 : -EACCES;
}

static int search(const char *name, const char *path_list, char **ret_path, Error *ret_error)
{
        while (path_list && *path_list) {
                size_t length = strcspn(path_list, ":");
                CLEANUP_FREE char *path =
                        length > 0 ? str_printf("%.*s/%s", (int) length, path_list, name) : str_printf("./%s", name);
                int r;

                if (!path)
                        return -ENOMEM;
                r = executable(path);
                if (r == 0) {
                        *ret_path = TAKE_PTR(path);
                        return 0;
                }
                path_list += length + (path_list[length] == ':');
        }
        error_set(ret_error, OUTCOME_FAILED, "exec: \"%s\": executable file not found in $PATH", name);
        return -ENOENT;
}

static int look_up(const char *name, char *const *environment, char **ret_path, Error *ret_error)
{
        const char *path_list = NULL;
        int r;

        if (!strchr(name, '/')) {
                for (; *environment; environment++)
                        path_list = str_after_prefix(*environment, "PATH=") ?: path_list;
                return search(name, path_list, ret_path, ret_error);
        }
        r = executable(name);
        if (r == -ENOENT || r == -ENOTDIR)
                return runtime_error(ret_error, -r, "exec: \"%s\": stat %s", name, name);
        if (r < 0)
                return runtime_error(ret_error, -r, "exec: \"%s\"", name);
        *ret_path = strdup(name);
        return *ret_path ? 0 : -ENOMEM;
}

int runtime_execute(char **argv, char **environment, Error *ret_error)
{
        CLEANUP_FREE char *path = NULL;
        CLEANUP_ERROR Error reason = {};
        int r;

        r = look_up(argv[0], environment, &path, ret_error);
        if (r < 0 || !path)
                return r;
        if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
                return runtime_error(ret_error, errno, "close_range");
        execve(path, argv, environment);
        /* From here on it is the container that failed, after its start: the engine sees an exit status, and the
         * reason stands in the container's output. */
        runtime_error(&reason, errno, "exec %s", path);
        dprintf(STDERR_FILENO, "%s\n", reason.message ? reason.message : "exec");
        _exit(1);
}
