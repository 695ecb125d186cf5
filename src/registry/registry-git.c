/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's git, run as nobody where all is read-only but the directory it works in, which it sees as /tmp. It is told
 * of no configuration, asks nobody, runs no hook and speaks only the protocols named here, submodules included. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/registry.h"
#include "berth/string.h"
#include "registry-privilege.h"

#define NOBODY 65534
#define WORK "/tmp"
#define WORDS_MAX 2048
#define NOT_INSTALLED 127

static const char *const environment[] = { "PATH=/usr/local/bin:/usr/bin:/bin",
                                           "HOME=/nonexistent",
                                           "LC_ALL=C",
                                           "GIT_CONFIG_NOSYSTEM=1",
                                           "GIT_CONFIG_GLOBAL=/dev/null",
                                           "GIT_TERMINAL_PROMPT=0",
                                           "GIT_ASKPASS=/bin/false",
                                           "GIT_ALLOW_PROTOCOL=http:https:git",
                                           "GIT_HTTP_LOW_SPEED_LIMIT=1",
                                           "GIT_HTTP_LOW_SPEED_TIME=120" };

/* The directory's path is looked up in the new namespace: a mount cannot be taken from another one. */
static int enter(const char *directory)
{
        struct mount_attr closed = { .attr_set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE },
                          opened = { .attr_clr = MOUNT_ATTR_RDONLY, .attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID };

        if (chown(directory, NOBODY, NOBODY) < 0 || unshare(CLONE_NEWNS) < 0 ||
            mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &closed, sizeof(closed)) < 0 ||
            mount(directory, WORK, NULL, MS_BIND, NULL) < 0 ||
            mount_setattr(AT_FDCWD, WORK, 0, &opened, sizeof(opened)) < 0 || chdir(WORK) < 0)
                return -errno;
        umask(022);
        return registry_become_nobody();
}

static _Noreturn void run_program(const char *const *arguments, char *const *variables, int words_fd)
{
        const char *line[24] = { "git", "-c", "core.hooksPath=/dev/null", "-c", "init.defaultBranch=main" };
        CLEANUP_CLOSE int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

        for (size_t i = 0; arguments[i] && i + 6 < ARRAY_SIZE(line); i++)
                line[i + 5] = arguments[i];
        signal(SIGPIPE, SIG_DFL);
        if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(nothing, STDOUT_FILENO) < 0 ||
            dup2(words_fd, STDERR_FILENO) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
            registry_close_others(STDIN_FILENO, STDERR_FILENO) < 0)
                _exit(1);
        execvpe("git", (char *const *) line, variables);
        _exit(errno == ENOENT ? NOT_INSTALLED : 1);
}

/* The status of one that ran; what it complained of. */
static int run_git(char *const *variables, const char *const *arguments, Buffer *words)
{
        int fds[2], status = 0;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        CLEANUP_CLOSE int from = fds[0], to = fds[1];
        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                run_program(arguments, variables, to);
        to = fd_close(to);
        buffer_clear(words);
        for (ssize_t n = 1; n > 0 || n == -EINTR;) {
                n = buffer_read(words, from, 4096);
                if (words->size > WORDS_MAX)
                        buffer_consume(words, words->size - WORDS_MAX);
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int refuse(int status, const char *step, const Buffer *words, Error *error)
{
        int n = (int) words->size;

        if (status < 0)
                return status;
        if (status == NOT_INSTALLED && n == 0)
                return error_set(error, OUTCOME_FAILED,
                                 "exec: \"git\": executable file not found in $PATH: Git repositories need the program "
                                 "git on this host");
        while (n > 0 && words->data[n - 1] == '\n')
                n--;
        return error_set(error, OUTCOME_FAILED, "error %s: %.*s", step, n, n > 0 ? words->data : "");
}

/* A history of one commit, unless the server (one of plain files) has nothing but all of it. */
static int run_shallow(char *const *variables, const char *const *shallow, const char *const *whole, Buffer *words)
{
        int status = run_git(variables, shallow, words);

        return status > 0 && status != NOT_INSTALLED ? run_git(variables, whole, words) : status;
}

static int fetch(const RegistryGit *git, char *const *variables, Error *error)
{
        const char *const init[] = { "init", "-q", ".", NULL },
                          *const name[] = { "config", "remote.origin.url", git->remote, NULL },
                          *const shallow[] = { "fetch", "-q",        "--depth",
                                               "1",     "--no-tags", "--no-recurse-submodules",
                                               "--",    "origin",    git->ref,
                                               NULL },
                          *const whole[] = { "fetch", "-q",     "--no-tags", "--no-recurse-submodules",
                                             "--",    "origin", git->ref,    NULL },
                          *const checkout[] = { "checkout", "-q", "--detach", "FETCH_HEAD", NULL },
                          *const few[] = { "submodule", "-q", "update", "--init", "--recursive", "--depth=1", NULL },
                          *const all[] = { "submodule", "-q", "update", "--init", "--recursive", NULL };
        CLEANUP_BUFFER Buffer words = { 0 };
        int status = run_git(variables, init, &words);

        if (status == 0)
                status = run_git(variables, name, &words);
        if (status != 0)
                return refuse(status, "initializing a Git repository", &words, error);
        status = run_shallow(variables, shallow, whole, &words);
        if (status != 0)
                return refuse(status, "fetching", &words, error);
        status = run_git(variables, checkout, &words);
        if (status != 0)
                return refuse(status, "checking out", &words, error);
        if (faccessat(AT_FDCWD, WORK "/.gitmodules", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
                return 0;
        status = run_shallow(variables, few, all, &words);
        return status == 0 ? 0 : refuse(status, "initializing submodules", &words, error);
}

static int add_proxy(char ***variables, const char *name, const char *value)
{
        CLEANUP_FREE char *line = str_empty(value) ? NULL : str_printf("%s=%s", name, value);

        return str_empty(value) ? 0 : line ? strv_append(variables, line) : -ENOMEM;
}

int registry_git(const RegistryConfig *config, const RegistryGit *git, Error *error)
{
        CLEANUP_STRV char **variables = calloc(1, sizeof(char *));
        int r = variables ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(environment); i++)
                r = strv_append(&variables, environment[i]);
        if (r == 0)
                r = add_proxy(&variables, "http_proxy", config->http_proxy);
        if (r == 0)
                r = add_proxy(&variables, "https_proxy", config->https_proxy);
        if (r == 0)
                r = add_proxy(&variables, "no_proxy", config->no_proxy);
        if (r == 0)
                r = enter(git->directory);
        return r == 0 ? fetch(git, variables, error) : r;
}
