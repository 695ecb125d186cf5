/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the runtime share.
 *
 * Three processes take part. The engine forks the *parent*, which prepares everything that needs neither the scope nor
 * the new pid namespace into a RuntimePlan while systemd makes the scope. Then it clones the *init*, which inherits the
 * plan as memory and turns it into the user's program. The parent becomes the monitor.
 *
 * Errors: a function returns a negative errno, with a message in its Error. OUTCOME_FAILED marks a message that is to
 * be wrapped the way runc's errors reach Docker's clients, OUTCOME_BAD_REQUEST one that stands alone. runtime_error()
 * adds the reason to its message; a message complete in itself is set by error_set(). */
#pragma once

#include <linux/filter.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/types.h>

#include "berth/mount.h"
#include "berth/runtime.h"

#define runtime_error mount_error

/* --- namespaces --------------------------------------------------------------------------------------------------- */

typedef enum RuntimeNamespace {
        RUNTIME_NS_MOUNT,
        RUNTIME_NS_NETWORK,
        RUNTIME_NS_PID,
        RUNTIME_NS_IPC,
        RUNTIME_NS_UTS,
        RUNTIME_NS_CGROUP,
        RUNTIME_NS_COUNT,
} RuntimeNamespace;

typedef struct RuntimeNamespaces {
        int fds[RUNTIME_NS_COUNT]; /* owned: joined by init, or -EBADF */
        int clone_flags;           /* made new, as CLONE_NEW... */
} RuntimeNamespaces;

/* Reads linux.namespaces and opens those that have a path. */
int runtime_namespaces_open(const json_t *config, RuntimeNamespaces *ret, Error *ret_error);

/* --- users -------------------------------------------------------------------------------------------------------- */

typedef struct RuntimeUser {
        uid_t uid;
        gid_t gid;
        gid_t *groups; /* owned */
        size_t n_groups;
        char *home; /* owned */
} RuntimeUser;

void runtime_user_clear(RuntimeUser *user);

/* Resolves process.user (and the annotation berth.group-add) against the root's own passwd and group files. */
int runtime_user_resolve(int root_fd, const json_t *config, RuntimeUser *ret_user, Error *ret_error);

/* --- capabilities and seccomp ------------------------------------------------------------------------------------- */

typedef struct RuntimeCapabilities {
        bool given;
        uint64_t bounding, effective, permitted, inheritable, ambient;
} RuntimeCapabilities;

int runtime_capabilities_parse(const json_t *process, RuntimeCapabilities *ret, Error *ret_error);

/* Before and after the change of user. */
int runtime_capabilities_limit(const RuntimeCapabilities *capabilities);
int runtime_capabilities_apply(const RuntimeCapabilities *capabilities);

typedef struct RuntimeSeccomp {
        struct sock_filter *program; /* owned; NULL: unconfined */
        size_t size;                 /* bytes */
        unsigned int flags;
} RuntimeSeccomp;

/* From the file that the annotation berth.seccomp names, else compiled. */
int runtime_seccomp_load(const json_t *config, RuntimeSeccomp *ret, Error *ret_error);
int runtime_seccomp_apply(const RuntimeSeccomp *seccomp);

/* --- limits ------------------------------------------------------------------------------------------------------- */

typedef struct RuntimeLimit {
        int32_t resource; /* RLIMIT_... */
        uint32_t unused;
        uint64_t soft, hard;
} RuntimeLimit;

/* One of process.rlimits. */
int runtime_rlimit_parse(const json_t *item, RuntimeLimit *ret_limit, Error *ret_error);

/* --- devices ------------------------------------------------------------------------------------------------------ */

/* The cgroup device program for linux.resources.devices, loaded or as it was kept before the fork. Returns its
 * descriptor; -ENODATA without rules. */
int runtime_devices_program(const json_t *resources, Error *ret_error);

/* The program kept before the fork, or -EBADF. */
int runtime_devices_kept(void);
int runtime_devices_attach(int cgroup_fd, int program_fd);

/* Fills a fresh /dev: default nodes, linux.devices, links. */
int runtime_devices_make(int root_fd, const json_t *config, Error *ret_error);

/* --- cgroup ------------------------------------------------------------------------------------------------------- */

typedef struct RuntimeCgroup {
        char *payload_path; /* owned: absolute directory */
        int payload_fd;     /* owned */
} RuntimeCgroup;

#define RUNTIME_CGROUP_EMPTY ((RuntimeCgroup) { .payload_fd = -EBADF })

void runtime_cgroup_clear(RuntimeCgroup *cgroup);

/* The directory of the group that a process is in, by its file in /proc. -ENODEV without a unified hierarchy. */
int runtime_cgroup_path(const char *file, char **ret_path);

/* The groups of a scope. This process, which is alone in the scope's own, enters the monitor's. */
#define CGROUP_FILE_MAX 65536 /* of what the kernel writes there */
#define RUNTIME_CGROUP_MONITOR "monitor"
#define RUNTIME_CGROUP_PAYLOAD "payload"
int runtime_cgroup_divide(int scope_fd);
int runtime_cgroup_write(int group_fd, const char *file, const char *text);

/* Makes the groups below the parent's own, moves the parent, and limits the payload. */
int runtime_cgroup_setup(const json_t *resources, RuntimeCgroup *ret, Error *ret_error);

/* Finds the group for a further process of the container whose first process is PID. The parent is in the scope's
 * monitor group already. */
int runtime_cgroup_join(const char *scope, pid_t pid, RuntimeCgroup *ret, Error *ret_error);

/* --- standard streams --------------------------------------------------------------------------------------------- */

typedef struct RuntimeStdio {
        int inner[3]; /* owned: init's ends; the first is -EBADF for the root's /dev/null */
        int outer[3]; /* owned: the monitor's ends; a terminal's is the first alone */
        bool terminal;
} RuntimeStdio;

#define RUNTIME_STDIO_EMPTY \
        ((RuntimeStdio) { .inner = { -EBADF, -EBADF, -EBADF }, .outer = { -EBADF, -EBADF, -EBADF } })

void runtime_stdio_clear(RuntimeStdio *stdio);

/* With a terminal: from the root's own /dev/pts, with CONSOLE also bound over the root's /dev/console. */
int runtime_stdio_open(const RuntimeStart *start, int root_fd, const RuntimeUser *user, bool console, RuntimeStdio *ret,
                       Error *ret_error);

/* In init: makes the streams descriptors 0, 1 and 2, and a terminal the controlling one. */
int runtime_stdio_install(const RuntimeStdio *stdio, int root_fd);

/* --- network ------------------------------------------------------------------------------------------------------ */

/* Brings lo up in the present network namespace. */
int runtime_network_loopback(void);

/* --- sysctls ------------------------------------------------------------------------------------------------------ */

/* Refuses (-EINVAL) a name that is not of a namespace of the container's. */
int runtime_sysctl_check(const json_t *config, const RuntimeNamespaces *namespaces, Error *ret_error);

/* Writes linux.sysctl for the present namespaces through PROC_FD, a /proc. */
int runtime_sysctl_apply(int proc_fd, const json_t *config, Error *ret_error);

/* --- the plan ----------------------------------------------------------------------------------------------------- */

typedef struct RuntimePlan {
        const RuntimeStart *start;
        const json_t *config, *process; /* borrowed */
        RuntimeNamespaces namespaces;   /* the mount namespace is the prepared one, the container's root its root */
        MountEntry *mounts;             /* owned */
        size_t n_mounts;
        RuntimeUser user;
        RuntimeCapabilities capabilities;
        RuntimeSeccomp seccomp;
        RuntimeStdio stdio;
        RuntimeCgroup cgroup;
        int device_program;         /* owned */
        char **argv, **environment; /* owned */
        const char *cwd;
        bool overlay_mounted;
        bool joins;         /* a further process: the container's namespaces and tree are there */
        bool late_sysctls;  /* left to init */
        bool set_oom_score; /* it differs from the parent's own */
        int error_reader;   /* the parent's end of that pipe; not init's */
        int error_fd;       /* init's end of the pipe that a failure travels over */
} RuntimePlan;

#define RUNTIME_PLAN_EMPTY                                                                     \
        ((RuntimePlan) { .namespaces.fds = { -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF }, \
                         .stdio = RUNTIME_STDIO_EMPTY,                                         \
                         .cgroup = RUNTIME_CGROUP_EMPTY,                                       \
                         .device_program = -EBADF,                                             \
                         .error_fd = -EBADF,                                                   \
                         .error_reader = -EBADF })

/* All that can be done before the scope is there, into an empty plan. Enters and leaves namespaces and ends in those it
 * began in, on failure too. A plan lives as long as its process, which ends or becomes another program. */
int runtime_plan_prepare(const RuntimeStart *start, RuntimePlan *plan, Error *ret_error);

/* Mounts and guards (masks, makes read-only) what needs the new pid, ipc and cgroup namespaces, and what lies below
 * that: LATE; or all the rest. */
int runtime_plan_mount(const RuntimePlan *plan, int root_fd, bool late, Error *ret_error);
int runtime_plan_guard(const RuntimePlan *plan, int root_fd, bool late, Error *ret_error);

/* Whether the oom score has to be set at all. */
void runtime_plan_compare_oom_score(RuntimePlan *plan);

/* Mounts the overlay on ROOT, and what the mounts need on the host. */
int runtime_plan_mount_root(RuntimePlan *plan, const char *root, Error *ret_error);

/* Puts HOME into the environment where it is missing. */
int runtime_plan_home(RuntimePlan *plan);

/* --- another program (start->program) in the place of the plan and of init ---------------------------------------- */

int runtime_foreign_prepare(const RuntimeStart *start, RuntimePlan *plan, Error *ret_error);
int runtime_foreign_spawn(RuntimePlan *plan, pid_t *ret_pid, int *ret_pidfd, Error *ret_error);

/* --- the parent --------------------------------------------------------------------------------------------------- */

/* A fork of the engine becomes a process without its descriptors and signal handlers; ONE_MORE is kept, too. */
int runtime_parent_begin(const RuntimeStart *start, int one_more, Error *ret_error);

/* The failure in the words of Docker's clients; NULL when out of memory. */
char *runtime_parent_failure(const char *prefix, int error, const Error *reason);
void runtime_parent_report(int control, const RuntimeReport *header, const char *text);

/* Clones init into the payload group and waits until it has become the user's program. */
int runtime_parent_spawn(RuntimePlan *plan, pid_t *ret_pid, int *ret_pidfd, Error *ret_error);

/* What the monitor makes checks from, in a sealed memory file: runtime-probe.h. Returns its descriptor. */
int runtime_health_write(const RuntimePlan *plan);

/* Returns on failure only. */
int runtime_parent_become_monitor(RuntimePlan *plan, pid_t pid, int pidfd);

/* clone3(2) of a process that runs ENTRY, which never returns, and may do so in this process's memory while this one is
 * stopped. Returns its pid or a negative errno. */
int runtime_clone(struct clone_args *args, void (*entry)(const void *), const void *argument);

/* The first process, from clone to exec. ARGUMENT is the plan. */
void runtime_init_main(const void *argument) __attribute__((noreturn));

/* Looks the program up as execvp(3) would, in the words of Go's exec.LookPath, and executes it. Returns on a failed
 * look-up only; what fails later is told on standard error, and exit status 1, as runc 1.1 has it. */
int runtime_execute(char **argv, char **environment, Error *ret_error);
