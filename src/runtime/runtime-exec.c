/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parent of a further process in a container: a fork of the engine, born into the container's scope, that looks at
 * the container's tree for the user and the terminal, clones the process into the container's namespaces, and becomes
 * the monitor of that one process. Killed at any point it takes the process with it. It owns every descriptor in its
 * plan.
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/string.h"
#include "runtime-private.h"

#define EXEC_PREFIX "OCI runtime exec failed: exec failed: unable to start container process: "

/* The root of the container's mount namespace. */
static int open_root(int container, int *ret_root)
{
        CLEANUP_CLOSE int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), root = -EBADF;

        if (own < 0)
                return -errno;
        if (setns(container, CLONE_NEWNS) < 0)
                return -errno;
        root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (setns(own, CLONE_NEWNS) < 0 || root < 0)
                return -errno;
        *ret_root = TAKE_FD(root);
        return 0;
}

static int exec_read(const RuntimeExec *exec, RuntimePlan *plan, Error *ret_error)
{
        int r;

        plan->start = &exec->start;
        plan->config = exec->start.config;
        plan->process = json_get_object(plan->config, "process");
        plan->joins = true;
        plan->argv = json_to_strv(json_get_array(plan->process, "args"));
        plan->environment = json_to_strv(json_get_array(plan->process, "env"));
        plan->cwd = json_get_string_or(plan->process, "cwd", "/");
        if (!plan->argv || !plan->environment || !plan->argv[0])
                return plan->argv && plan->environment ? -EINVAL : -ENOMEM;
        /* One descriptor stands for all of them. */
        for (size_t i = 0; i < RUNTIME_NS_COUNT; i++)
                plan->namespaces.fds[i] = exec->container;
        runtime_plan_compare_oom_score(plan);
        r = runtime_capabilities_parse(plan->process, &plan->capabilities, ret_error);
        return r < 0 ? r : runtime_seccomp_load(plan->config, &plan->seccomp, ret_error);
}

static int exec_prepare(const RuntimeExec *exec, RuntimePlan *plan, Error *ret_error)
{
        CLEANUP_CLOSE int root = -EBADF;
        int r;

        r = exec_read(exec, plan, ret_error);
        if (r >= 0)
                r = runtime_cgroup_join(exec->scope, exec->pid, &plan->cgroup, ret_error);
        if (r < 0)
                return r;
        r = open_root(exec->container, &root);
        if (r < 0)
                return runtime_error(ret_error, -r, "open the container's root");
        r = runtime_user_resolve(root, plan->config, &plan->user, ret_error);
        if (r >= 0)
                r = runtime_stdio_open(&exec->start, root, &plan->user, false, &plan->stdio, ret_error);
        return r < 0 ? r : runtime_plan_home(plan);
}

static void tell(const RuntimeExec *exec, const RuntimeReport *report, const char *text)
{
        if (exec->started)
                exec->started(report, text, exec->userdata);
        runtime_parent_report(exec->start.control, report, text);
}

pid_t runtime_exec_fork(const char *scope)
{
        CLEANUP_FREE char *path = path_join(scope, RUNTIME_CGROUP_MONITOR);
        CLEANUP_CLOSE int group = path ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -EBADF;
        struct clone_args args = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t) group };

        if (group < 0)
                return path ? -errno : -ENOMEM;
        /* The child has its own descriptor of the group closed with all others that nobody names. */
        pid_t pid = (pid_t) syscall(SYS_clone3, &args, sizeof(args));
        return pid < 0 ? -errno : pid;
}

void runtime_exec_main(const RuntimeExec *exec)
{
        RuntimePlan plan = RUNTIME_PLAN_EMPTY;
        RuntimeReport report = {};
        CLEANUP_FREE char *text = NULL;
        Error error = {};
        pid_t pid = 0;
        mode_t mask = umask(0);
        int pidfd = -EBADF, r;

        r = runtime_parent_begin(&exec->start, exec->container, &error);
        if (r >= 0)
                r = exec_prepare(exec, &plan, &error);
        (void) process_start_time(getpid(), &report.monitor_start_time);
        if (r >= 0)
                r = runtime_parent_spawn(&plan, &pid, &pidfd, &error);
        if (r < 0) {
                report.error = -r;
                text = runtime_parent_failure(EXEC_PREFIX, r, &error);
                tell(exec, &report, text ? text : "out of memory");
                _exit(1);
        }
        report.pid = pid;
        (void) process_start_time(pid, &report.start_time);
        tell(exec, &report, "");
        umask(mask);
        r = runtime_parent_become_monitor(&plan, pid, pidfd);
        log_error_errno(r, "Cannot execute %s", exec->start.monitor_argv[0]);
        _exit(127);
}
