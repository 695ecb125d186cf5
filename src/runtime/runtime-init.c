/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's first process, or a further one, between clone and exec. It is in the payload group, the first one
 * alone in its (new) pid namespace, and holds a copy of the plan. Order matters throughout: what needs privilege comes
 * before the change of user, seccomp after what it may forbid, and the bond to the parent's life last, as a change of
 * credentials cuts it. Until exec the process is not dumpable: nobody in a joined namespace can look into what is still
 * the engine. */
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

static const struct {
        const char *name;
        int resource;
} rlimits[] = {
        { "RLIMIT_AS", RLIMIT_AS },
        { "RLIMIT_CORE", RLIMIT_CORE },
        { "RLIMIT_CPU", RLIMIT_CPU },
        { "RLIMIT_DATA", RLIMIT_DATA },
        { "RLIMIT_FSIZE", RLIMIT_FSIZE },
        { "RLIMIT_LOCKS", RLIMIT_LOCKS },
        { "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
        { "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
        { "RLIMIT_NICE", RLIMIT_NICE },
        { "RLIMIT_NOFILE", RLIMIT_NOFILE },
        { "RLIMIT_NPROC", RLIMIT_NPROC },
        { "RLIMIT_RSS", RLIMIT_RSS },
        { "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
        { "RLIMIT_RTTIME", RLIMIT_RTTIME },
        { "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
        { "RLIMIT_STACK", RLIMIT_STACK },
};

/* --- before the root changes --- */

/* Through the host's /proc, where /proc/self is this process. */
static int init_oom_score(const RuntimePlan *plan, Error *ret_error)
{
        CLEANUP_FREE char *text = NULL;
        int r;

        if (!plan->set_oom_score)
                return 0;
        text = str_printf("%lld", (long long) json_get_int(plan->process, "oomScoreAdj", 0));
        if (!text)
                return -ENOMEM;
        r = file_write_kernel("/proc/self/oom_score_adj", text);
        return r < 0 ? runtime_error(ret_error, -r, "write oom_score_adj") : 0;
}

static int init_apparmor_open(const RuntimePlan *plan, int *ret_fd, Error *ret_error)
{
        if (str_empty(json_get_string(plan->process, "apparmorProfile")))
                return 0;
        *ret_fd = open("/proc/self/attr/apparmor/exec", O_WRONLY | O_CLOEXEC);
        if (*ret_fd < 0)
                *ret_fd = open("/proc/self/attr/exec", O_WRONLY | O_CLOEXEC);
        return *ret_fd < 0 ? runtime_error(ret_error, errno, "open the AppArmor attribute") : 0;
}

static int init_join(const RuntimePlan *plan, Error *ret_error)
{
        static const struct {
                RuntimeNamespace which;
                int flag;
        } order[] = {
                { RUNTIME_NS_IPC, CLONE_NEWIPC },       { RUNTIME_NS_UTS, CLONE_NEWUTS },
                { RUNTIME_NS_CGROUP, CLONE_NEWCGROUP }, { RUNTIME_NS_NETWORK, CLONE_NEWNET },
                { RUNTIME_NS_MOUNT, CLONE_NEWNS },
        };

        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
                int fd = plan->namespaces.fds[order[i].which];

                if (fd >= 0 && setns(fd, order[i].flag) < 0)
                        return runtime_error(ret_error, errno, "join namespace");
        }
        /* Its root is the group this process is in now. */
        if (plan->namespaces.clone_flags & CLONE_NEWCGROUP && unshare(CLONE_NEWCGROUP) < 0)
                return runtime_error(ret_error, errno, "make cgroup namespace");
        return 0;
}

/* --- inside the root --- */

/* Only through what is a /proc for certain. */
static int init_sysctls(const RuntimePlan *plan, int root_fd, Error *ret_error)
{
        CLEANUP_CLOSE int proc = -EBADF;
        struct statfs fs;

        if (!plan->late_sysctls)
                return 0;
        proc = mount_path_open(root_fd, "/proc", O_PATH | O_DIRECTORY);
        if (proc < 0 || fstatfs(proc, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
                return runtime_error(ret_error, EROFS, "write /proc/sys");
        return runtime_sysctl_apply(proc, plan->config, ret_error);
}

int runtime_rlimit_parse(const json_t *item, RuntimeLimit *ret_limit, Error *ret_error)
{
        const char *type = json_get_string_or(item, "type", "");
        size_t i = 0;

        while (i < ARRAY_SIZE(rlimits) && !str_equal(rlimits[i].name, type))
                i++;
        if (i == ARRAY_SIZE(rlimits))
                return runtime_error(ret_error, EINVAL, "invalid rlimit type \"%s\"", type);
        *ret_limit = (RuntimeLimit) { .resource = rlimits[i].resource,
                                      .soft = (uint64_t) json_get_int(item, "soft", 0),
                                      .hard = (uint64_t) json_get_int(item, "hard", 0) };
        return 0;
}

static int init_rlimits(const RuntimePlan *plan, Error *ret_error)
{
        json_t *item;
        size_t i;

        json_array_foreach(json_get_array(plan->process, "rlimits"), i, item) {
                RuntimeLimit limit;
                int r = runtime_rlimit_parse(item, &limit, ret_error);

                if (r < 0)
                        return r;
                const struct rlimit value = { .rlim_cur = (rlim_t) limit.soft, .rlim_max = (rlim_t) limit.hard };
                if (prlimit(0, (__rlimit_resource_t) limit.resource, &value, NULL) < 0)
                        return runtime_error(ret_error, errno,
                                             "error setting rlimits for ready process: error setting "
                                             "rlimit type %d",
                                             limit.resource);
        }
        return 0;
}

static int init_directory(const RuntimePlan *plan, int root_fd)
{
        CLEANUP_CLOSE int fd = mount_path_open(root_fd, plan->cwd, O_PATH | O_DIRECTORY);

        if (fd < 0)
                return fd;
        return fchdir(fd) < 0 ? -errno : 0;
}

static int init_become_user(const RuntimePlan *plan, Error *ret_error)
{
        const RuntimeUser *user = &plan->user;
        int r = runtime_capabilities_limit(&plan->capabilities);

        if (r < 0)
                return runtime_error(ret_error, -r, "drop bounding capabilities");
        if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
                return runtime_error(ret_error, errno, "keep capabilities");
        if (setgroups(user->n_groups, user->groups) < 0)
                return runtime_error(ret_error, errno, "setgroups");
        if (setresgid(user->gid, user->gid, user->gid) < 0)
                return runtime_error(ret_error, errno, "setgid");
        if (setresuid(user->uid, user->uid, user->uid) < 0)
                return runtime_error(ret_error, errno, "setuid");
        if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
                return runtime_error(ret_error, errno, "keep capabilities");
        r = runtime_capabilities_apply(&plan->capabilities);
        return r < 0 ? runtime_error(ret_error, -r, "apply caps") : 0;
}

static int init_seccomp(const RuntimePlan *plan, Error *ret_error)
{
        int r = runtime_seccomp_apply(&plan->seccomp);

        return r < 0 ? runtime_error(ret_error, -r, "unable to init seccomp") : 0;
}

/* From now on the parent's end is this process's end. If that was earlier, the pipe has no reader any more. */
static int init_bind_to_parent(const RuntimePlan *plan)
{
        struct pollfd poll_fd = { .fd = plan->error_fd };

        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
                return -errno;
        if (poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & POLLERR)
                _exit(1);
        return 0;
}

/* Credentials, filters and the rest up to exec. */
static int init_confine(const RuntimePlan *plan, int root_fd, int apparmor_fd, Error *ret_error)
{
        bool no_new_privileges = json_get_bool(plan->process, "noNewPrivileges");
        const char *profile = json_get_string(plan->process, "apparmorProfile");
        int directory, r;

        r = init_rlimits(plan, ret_error);
        if (r < 0)
                return r;
        if (apparmor_fd >= 0 && dprintf(apparmor_fd, "exec %s", profile) < 0)
                return runtime_error(ret_error, errno, "apply apparmor profile");
        if (no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return runtime_error(ret_error, errno, "set no_new_privs");
        /* Root may be kept out (NFS) where the user is not, and the other way round. */
        directory = init_directory(plan, root_fd);
        /* Without no_new_privs loading a filter takes a capability that is about to go. */
        if (!no_new_privileges)
                r = init_seccomp(plan, ret_error);
        if (r >= 0)
                r = init_become_user(plan, ret_error);
        if (r < 0)
                return r;
        if (directory < 0)
                directory = init_directory(plan, root_fd);
        if (directory < 0)
                return runtime_error(ret_error, -directory, "chdir to cwd (\"%s\") set in config.json failed",
                                     plan->cwd);
        if (no_new_privileges)
                r = init_seccomp(plan, ret_error);
        return r;
}

static int init_tree(const RuntimePlan *plan, int root_fd, Error *ret_error)
{
        int r;

        r = runtime_plan_mount(plan, root_fd, true, ret_error);
        if (r >= 0)
                r = init_sysctls(plan, root_fd, ret_error);
        if (r >= 0)
                r = runtime_plan_guard(plan, root_fd, true, ret_error);
        return r;
}

static int init_run(const RuntimePlan *plan, Error *ret_error)
{
        CLEANUP_CLOSE int root_fd = -EBADF, apparmor_fd = -EBADF;
        int r;

        /* The parent alone reads: its end being closed is how init sees that the parent is gone. */
        fd_close(plan->error_reader);
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return runtime_error(ret_error, errno, "prctl");
        r = init_oom_score(plan, ret_error);
        if (r >= 0)
                r = init_apparmor_open(plan, &apparmor_fd, ret_error);
        if (r >= 0)
                r = init_join(plan, ret_error);
        if (r < 0)
                return r;
        root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0)
                return runtime_error(ret_error, errno, "open the root");
        r = plan->joins ? 0 : init_tree(plan, root_fd, ret_error);
        if (r < 0)
                return r;
        if (setsid() < 0)
                return runtime_error(ret_error, errno, "setsid");
        /* A keyring of its own, where that is possible at all. */
        (void) syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, plan->start->id, 0, 0, 0);
        r = runtime_stdio_install(&plan->stdio, root_fd);
        if (r < 0)
                return runtime_error(ret_error, -r, "install the standard streams");
        umask((mode_t) json_get_int(json_get_object(plan->process, "user"), "umask", 0022));
        r = init_confine(plan, root_fd, apparmor_fd, ret_error);
        if (r < 0)
                return r;
        r = init_bind_to_parent(plan);
        if (r < 0)
                return runtime_error(ret_error, -r, "set the parent death signal");
        return runtime_execute(plan->argv, plan->environment, ret_error);
}

void runtime_init_main(const void *argument)
{
        const RuntimePlan *plan = argument;
        Error error = {};
        int r = init_run(plan, &error);
        struct iovec parts[3] = {
                { &r, sizeof(r) },
                { &error.outcome, sizeof(error.outcome) },
                { error.message, error.message ? strlen(error.message) : 0 },
        };

        /* Less than PIPE_BUF matters not: nobody else writes, and the parent reads to the end. */
        (void) !writev(plan->error_fd, parts, ARRAY_SIZE(parts));
        _exit(1);
}
