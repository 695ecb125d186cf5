/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parent: a fork of the engine that starts one container and becomes its monitor. It owns every descriptor in its
 * plan; those the monitor needs lose close-on-exec right before the exec. Killed at any point it leaves at most a
 * mounted overlay and an empty scope, both of which the engine's start-up pass knows. */
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/string.h"
#include "runtime-private.h"

#define START_PREFIX                                                                                               \
        "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create " \
        "failed: unable to start container process: "

/* 0 when told to go, -ECANCELED when called off. */
static int wait_for_go(int control)
{
        struct pollfd poll_fd = { .fd = control, .events = POLLIN };
        char byte;

        for (;;) {
                ssize_t n = recv(control, &byte, 1, 0);

                if (n > 0 && byte == RUNTIME_GO)
                        return 0;
                if (n >= 0)
                        return -ECANCELED;
                if (errno == EAGAIN)
                        (void) poll(&poll_fd, 1, -1);
                else if (errno != EINTR)
                        return -errno;
        }
}

static int container_start(RuntimePlan *plan, pid_t *ret_pid, int *ret_pidfd, Error *ret_error)
{
        json_t *resources = json_get_object(json_get_object(plan->config, "linux"), "resources");
        int r;

        r = runtime_cgroup_setup(plan->start->program ? NULL : resources, &plan->cgroup, ret_error);
        if (r < 0)
                return r;
        if (plan->start->program)
                return runtime_foreign_spawn(plan, ret_pid, ret_pidfd, ret_error);
        if (plan->device_program >= 0) {
                r = runtime_devices_attach(plan->cgroup.payload_fd, plan->device_program);
                if (r < 0)
                        return runtime_error(ret_error, -r, "attach device cgroup program");
        }
        return runtime_parent_spawn(plan, ret_pid, ret_pidfd, ret_error);
}

/* Undoes what the start did to the host and says why. */
static _Noreturn void give_up(const RuntimePlan *plan, const RuntimeStart *start, int r, const Error *error, bool told)
{
        RuntimeReport header = {};
        CLEANUP_FREE char *text = NULL;

        if (plan->overlay_mounted)
                (void) mount_overlay_undo(json_get_string(json_get_object(start->config, "root"), "path"));
        if (r != -ECANCELED) {
                header.error = -r;
                text = runtime_parent_failure(START_PREFIX, r, error);
                runtime_parent_report(start->control, &header, text ? text : "out of memory");
        }
        /* A word that arrives unread at the end would reach the engine as ECONNRESET, in front of the report. */
        if (r != -ECANCELED && !told)
                (void) wait_for_go(start->control);
        _exit(1);
}

void runtime_container_main(const RuntimeStart *start)
{
        RuntimePlan plan = RUNTIME_PLAN_EMPTY;
        RuntimeReport header = {};
        Error error = {};
        bool told = false;
        pid_t pid = 0;
        mode_t mask;
        int pidfd = -EBADF, r;

        /* Modes are the configuration's, exactly. */
        mask = umask(0);
        r = runtime_parent_begin(start, -EBADF, &error);
        if (r >= 0)
                r = start->program ? runtime_foreign_prepare(start, &plan, &error)
                                   : runtime_plan_prepare(start, &plan, &error);
        (void) process_start_time(getpid(), &header.monitor_start_time);
        if (r >= 0) {
                r = wait_for_go(start->control);
                told = r >= 0;
        }
        if (r >= 0)
                r = container_start(&plan, &pid, &pidfd, &error);
        if (r < 0)
                give_up(&plan, start, r, &error, told);
        header.pid = pid;
        (void) process_start_time(pid, &header.start_time);
        runtime_parent_report(start->control, &header, "");
        umask(mask);
        r = runtime_parent_become_monitor(&plan, pid, pidfd);
        log_error_errno(r, "Cannot execute %s", start->monitor_argv[0]);
        /* The bond between the two ends the container as well. */
        _exit(127);
}
