/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks, run by the monitor without the engine: a child is cloned into the container's group and pid namespace, joins
 * its other namespaces, confines itself as the container's own process was confined, and executes the check. Nothing
 * here needs a library, as the monitor is small. The order of what the child does is that of runtime-init.c. */
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "berth/file.h"
#include "berth/string.h"
#include "runtime-probe.h"

#define PROBE_MAX (16u * 1024 * 1024)
#define FAILURE "OCI runtime exec failed: exec failed: unable to start container process: "

struct RuntimeProbe {
        const RuntimeProbeHeader *header; /* the mapping */
        size_t size;                      /* of the mapping, bytes */
        const RuntimeLimit *limits;
        const struct sock_filter *seccomp;
        const uint32_t *groups;
        const char *cwd, *apparmor;
        char **argv, **environment; /* into the mapping */
};

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* COUNT strings from *POSITION on, as a vector. */
static char **take_strings(const char **position, const char *end, size_t count)
{
        char **strings = calloc(count + 1, sizeof(*strings));

        if (!strings)
                return NULL;
        for (size_t i = 0; i < count; i++) {
                const char *next = *position < end ? memchr(*position, 0, (size_t) (end - *position)) : NULL;
                if (!next) {
                        free(strings);
                        return NULL;
                }
                strings[i] = (char *) *position;
                *position = next + 1;
        }
        return strings;
}

static int divide(RuntimeProbe *probe, size_t size)
{
        const RuntimeProbeHeader *header = probe->header;
        const char *position = (const char *) (header + 1), *end = (const char *) header + size;
        uint64_t fixed = sizeof(*header) + (uint64_t) header->n_limits * sizeof(RuntimeLimit) + header->seccomp_size +
                         (uint64_t) header->n_groups * sizeof(uint32_t);

        if (header->magic != RUNTIME_PROBE_MAGIC || header->size != size || fixed > size)
                return -EBADMSG;
        probe->limits = (const void *) position;
        position += header->n_limits * sizeof(RuntimeLimit);
        probe->seccomp = (const void *) position;
        position += header->seccomp_size;
        probe->groups = (const void *) position;
        position += header->n_groups * sizeof(uint32_t);
        CLEANUP_FREE char **first = take_strings(&position, end, 2);
        probe->argv = first ? take_strings(&position, end, header->n_arguments) : NULL;
        probe->environment = probe->argv ? take_strings(&position, end, header->n_environment) : NULL;
        if (!probe->environment || header->n_arguments == 0)
                return -EBADMSG;
        probe->cwd = first[0];
        probe->apparmor = first[1];
        return 0;
}

int runtime_probe_map(int fd, RuntimeProbe **ret_probe)
{
        CLEANUP_CLOSE int owned = fd;
        RuntimeProbe *probe = calloc(1, sizeof(*probe));
        struct stat st;
        void *map = MAP_FAILED;
        int r = probe ? 0 : -ENOMEM;

        if (r >= 0 && fstat(owned, &st) < 0)
                r = -errno;
        if (r >= 0 && ((size_t) st.st_size < sizeof(RuntimeProbeHeader) || st.st_size > PROBE_MAX))
                r = -EBADMSG;
        if (r >= 0) {
                map = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, owned, 0);
                r = map == MAP_FAILED ? -errno : 0;
        }
        if (r >= 0) {
                probe->header = map;
                probe->size = (size_t) st.st_size;
                r = divide(probe, (size_t) st.st_size);
        }
        if (r < 0) {
                runtime_probe_free(probe);
                return r;
        }
        *ret_probe = probe;
        return 0;
}

RuntimeProbe *runtime_probe_free(RuntimeProbe *probe)
{
        if (!probe)
                return NULL;
        if (probe->header)
                munmap((void *) probe->header, probe->size);
        free(probe->argv);
        free(probe->environment);
        free(probe);
        return NULL;
}

RuntimeHealth runtime_probe_health(const RuntimeProbe *probe)
{
        const RuntimeProbeHeader *header = probe->header;

        return (RuntimeHealth) { .interval_ns = header->interval_ns,
                                 .timeout_ns = header->timeout_ns,
                                 .start_period_ns = header->start_period_ns,
                                 .start_interval_ns = header->start_interval_ns,
                                 .retries = header->retries };
}

/* --- In the child ------------------------------------------------------------------------------------------------- */

static int child_join(const RuntimeProbe *probe, int pidfd, int *ret_apparmor, Error *ret_error)
{
        char score[16];

        if (probe->header->set_oom_score) {
                snprintf(score, sizeof(score), "%d", probe->header->oom_score);
                (void) file_write_kernel("/proc/self/oom_score_adj", score);
        }
        if (*probe->apparmor) {
                *ret_apparmor = open("/proc/self/attr/apparmor/exec", O_WRONLY | O_CLOEXEC);
                if (*ret_apparmor < 0)
                        *ret_apparmor = open("/proc/self/attr/exec", O_WRONLY | O_CLOEXEC);
                if (*ret_apparmor < 0)
                        return runtime_error(ret_error, errno, "open the AppArmor attribute");
        }
        if (setns(pidfd, CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWNET | CLONE_NEWNS) < 0)
                return runtime_error(ret_error, errno, "join namespace");
        return 0;
}

static int child_streams(int output, Error *ret_error)
{
        CLEANUP_CLOSE int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
            dup2(output, STDERR_FILENO) < 0)
                return runtime_error(ret_error, errno, "install the standard streams");
        return 0;
}

static int child_directory(const RuntimeProbe *probe)
{
        struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
        CLEANUP_CLOSE int fd = (int) syscall(SYS_openat2, AT_FDCWD, probe->cwd, &how, sizeof(how));

        if (fd < 0)
                return -errno;
        return fchdir(fd) < 0 ? -errno : 0;
}

static int child_limits(const RuntimeProbe *probe, Error *ret_error)
{
        for (size_t i = 0; i < probe->header->n_limits; i++) {
                const RuntimeLimit *limit = &probe->limits[i];
                const struct rlimit value = { .rlim_cur = (rlim_t) limit->soft, .rlim_max = (rlim_t) limit->hard };

                if (prlimit(0, (__rlimit_resource_t) limit->resource, &value, NULL) < 0)
                        return runtime_error(ret_error, errno, "error setting rlimit type %d", limit->resource);
        }
        return 0;
}

static int child_seccomp(const RuntimeProbe *probe, Error *ret_error)
{
        const RuntimeSeccomp seccomp = { .program = probe->header->seccomp_size > 0 ? (void *) probe->seccomp : NULL,
                                         .size = probe->header->seccomp_size,
                                         .flags = probe->header->seccomp_flags };
        int r = runtime_seccomp_apply(&seccomp);

        return r < 0 ? runtime_error(ret_error, -r, "unable to init seccomp") : 0;
}

static int child_user(const RuntimeProbe *probe, Error *ret_error)
{
        const RuntimeProbeHeader *header = probe->header;
        int r = runtime_capabilities_limit(&header->capabilities);

        if (r < 0)
                return runtime_error(ret_error, -r, "drop bounding capabilities");
        if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(header->n_groups, probe->groups) < 0 ||
            setresgid(header->gid, header->gid, header->gid) < 0 ||
            setresuid(header->uid, header->uid, header->uid) < 0 || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
                return runtime_error(ret_error, errno, "become the user");
        r = runtime_capabilities_apply(&header->capabilities);
        return r < 0 ? runtime_error(ret_error, -r, "apply caps") : 0;
}

static int child_confine(const RuntimeProbe *probe, int apparmor, Error *ret_error)
{
        bool no_new_privileges = probe->header->no_new_privileges;
        int directory, r = child_limits(probe, ret_error);

        if (r < 0)
                return r;
        if (apparmor >= 0 && dprintf(apparmor, "exec %s", probe->apparmor) < 0)
                return runtime_error(ret_error, errno, "apply apparmor profile");
        if (no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return runtime_error(ret_error, errno, "set no_new_privs");
        directory = child_directory(probe);
        if (!no_new_privileges)
                r = child_seccomp(probe, ret_error);
        if (r >= 0)
                r = child_user(probe, ret_error);
        if (r < 0)
                return r;
        if (directory < 0)
                directory = child_directory(probe);
        if (directory < 0)
                return runtime_error(ret_error, -directory, "chdir to cwd (\"%s\") set in config.json failed",
                                     probe->cwd);
        return no_new_privileges ? child_seccomp(probe, ret_error) : 0;
}

static void reset_signals(void)
{
        struct sigaction action = { .sa_handler = SIG_DFL };
        sigset_t none;

        for (int i = 1; i < NSIG; i++)
                (void) sigaction(i, &action, NULL);
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_run(const RuntimeProbe *probe, int pidfd, int output, Error *ret_error)
{
        int apparmor = -EBADF, r;

        reset_signals();
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return runtime_error(ret_error, errno, "prctl");
        r = child_join(probe, pidfd, &apparmor, ret_error);
        if (r < 0)
                return r;
        if (setsid() < 0)
                return runtime_error(ret_error, errno, "setsid");
        (void) syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
        r = child_streams(output, ret_error);
        if (r < 0)
                return r;
        umask(0022);
        r = child_confine(probe, apparmor, ret_error);
        return r < 0 ? r : runtime_execute(probe->argv, probe->environment, ret_error);
}

static _Noreturn void child_main(const RuntimeProbe *probe, int pidfd, int output, int failed)
{
        Error error = {};

        (void) child_run(probe, pidfd, output, &error);
        dprintf(output, FAILURE "%s: unknown", error.message ? error.message : "out of memory");
        (void) !write(failed, "", 1);
        _exit(1);
}

/* --- Starting it -------------------------------------------------------------------------------------------------- */

/* The group of the container's first process: where it has made groups of its own, the payload's takes no process. */
static int open_group(pid_t pid)
{
        char path[64];
        CLEANUP_FREE char *text = NULL;

        snprintf(path, sizeof(path), "/proc/%d/cgroup", (int) pid);
        int r = file_read_at(AT_FDCWD, path, 65536, &text, NULL);
        if (r < 0)
                return r;
        char *group = strstr(text, "0::");
        if (!group || (group != text && group[-1] != '\n'))
                return -EBADMSG;
        group += strlen("0::");
        group[strcspn(group, "\n")] = 0;
        CLEANUP_FREE char *directory = str_printf("/sys/fs/cgroup%s", group);
        if (!directory)
                return -ENOMEM;
        int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Children are born into the pid namespace of PIDFD, but for a moment only. */
static pid_t clone_into(int pidfd, int group, int *ret_pidfd)
{
        CLEANUP_CLOSE int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
        int child_fd = -EBADF;
        struct clone_args args = { .flags = CLONE_PIDFD | CLONE_INTO_CGROUP,
                                   .pidfd = (uintptr_t) &child_fd,
                                   .exit_signal = SIGCHLD,
                                   .cgroup = (uint64_t) group };

        if (own < 0 || setns(pidfd, CLONE_NEWPID) < 0)
                return -errno;
        pid_t child = (pid_t) syscall(SYS_clone3, &args, sizeof(args));
        int error = errno;
        if (child == 0)
                return 0;
        if (setns(own, CLONE_NEWPID) < 0)
                abort(); /* the rest of this process's life would be lived in the wrong place */
        if (child < 0)
                return -error;
        *ret_pidfd = child_fd;
        return child;
}

int runtime_probe_start(const RuntimeProbe *probe, int pidfd, pid_t pid, int output, RuntimeProbeRun *ret_run)
{
        CLEANUP_CLOSE int group = open_group(pid);
        int fds[2], child_fd = -EBADF;

        if (group < 0)
                return group;
        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        CLEANUP_CLOSE int reader = fds[0], writer = fds[1];
        pid_t child = clone_into(pidfd, group, &child_fd);
        if (child == 0)
                child_main(probe, pidfd, output, writer);
        if (child < 0)
                return child;
        *ret_run = (RuntimeProbeRun) { .pid = child, .pidfd = child_fd, .failed = TAKE_FD(reader) };
        return 0;
}
