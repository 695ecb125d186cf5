/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From an OCI runtime-spec configuration to a running process, and on to its guardian.
 *
 * The engine forks; the child calls runtime_container_main() and never comes back. It prepares what needs no cgroup
 * (the overlay, the network namespace) while systemd makes its scope, waits for the engine's word that the scope is
 * there, starts the container's first process straight into the scope's `payload` group, reports, and becomes
 * berth-monitor by exec. A start that fails reports why and ends, leaving nothing but what the engine made before the
 * fork. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "berth/outcome.h"

/* What the engine tells the child over the control socket (SOCK_SEQPACKET): this one byte, once the scope runs. End of
 * stream instead means the start was called off. */
#define RUNTIME_GO 'G'

/* The child's one answer, as the message's bytes: this header, then the error's text (not terminated). */
typedef struct RuntimeReport {
        int32_t error;       /* 0, or a positive errno that stands for the failure's kind (ENOENT, EACCES, ...) */
        int32_t pid;         /* the container's first process in the engine's pid namespace */
        uint64_t start_time; /* its start time, see process_start_time() */
        uint64_t monitor_start_time; /* the same of the child itself */
} RuntimeReport;

#define RUNTIME_REPORT_TEXT_MAX 4096

/* In the engine: reads the answer of the child whose end of the control socket is the peer of CONTROL, without waiting.
 * -EAGAIN: there is none yet; -EIO: the child ended without one. */
int runtime_report_receive(int control, RuntimeReport *ret_report, char ret_text[static RUNTIME_REPORT_TEXT_MAX + 1]);

/* A check that the monitor runs in the container, again and again. */
typedef struct RuntimeHealth {
        char **argv; /* NULL: none */
        int64_t interval_ns, timeout_ns, start_period_ns, start_interval_ns;
        uint32_t retries;
} RuntimeHealth;

typedef struct RuntimeStart {
        const char *id; /* 64 hexadecimal digits */
        const json_t
                *config; /* OCI runtime-spec 1.2 configuration, complete: the root file system is config.root.path */
        const char *layer_root; /* directory that LOWER is relative to; the overlay is mounted on config.root.path */
        char *const *lower;     /* layer directories relative to layer_root, topmost first; never empty */
        const char *upper;      /* absolute; exists, on the same file system as WORK */
        const char *work;       /* absolute; exists */
        bool discard;           /* the upper directory goes with the container: see MountOverlay */
        int network_namespace;  /* a namespace to join, or -EBADF to do what config says */
        int control;            /* see RUNTIME_GO and RuntimeReport */
        int terminal_rows, terminal_columns; /* the first size of a terminal; 0 where unknown */
        bool open_stdin;                     /* keep a pipe for standard input; else it is /dev/null */
        char *const *monitor_argv; /* program and arguments of the monitor; runtime appends the options it alone knows:
                                    * --pid N --pidfd FD --payload CGROUP-DIR and --terminal FD or --stdin FD (if any)
                                    * --stdout FD --stderr FD */
        const RuntimeHealth *health; /* handed to the monitor as --health FD, see runtime_probe_map(); NULL: none */
        const int *keep_fds;         /* further descriptors the monitor inherits under the same numbers */
        size_t n_keep_fds;
        const int *
                open_fds; /* further descriptors that the child needs and the monitor does not; -EBADF ones count not */
        size_t n_open_fds;

        /* A program with the command line of OCI runtimes that starts the container instead, and its first arguments;
         * NULL: none. */
        char *const *program;

        /* Called in the child after it made the container's network namespace (a descriptor of it is passed) and while
         * the scope is still being made; NULL where there is nothing to do. Runs in the host's network namespace. */
        int (*setup_network)(int namespace_fd, void *userdata, Error *ret_error);

        /* Called in the child once the root file system is mounted at ROOT, before the mounts of config are opened:
         * makes what they need on the host. NULL where there is nothing to do. */
        int (*prepare_mounts)(const char *root, void *userdata, Error *ret_error);
        void *userdata;
} RuntimeStart;

/* Runs in the forked child. Closes every descriptor but those named in START. Never returns. */
_Noreturn void runtime_container_main(const RuntimeStart *start);

/* A further process in a container that runs. */
typedef struct RuntimeExec {
        /* As above; of config, process, annotations and linux.seccomp count, and all that concerns the overlay, the
         * network and RUNTIME_GO does not: nothing is waited for. */
        RuntimeStart start;
        int container;     /* pidfd of the container's first process, whose namespaces are joined */
        pid_t pid;         /* the same process */
        const char *scope; /* the cgroup directory of the container's scope */

        /* Called in the child with what the engine is told, before it is: the process runs (report->error is 0), or why
         * it does not. Text is "" or the reason. What it writes is there even if the engine no longer is. */
        void (*started)(const RuntimeReport *report, const char *text, void *userdata);
        void *userdata;
} RuntimeExec;

/* In a process that was put into a scope of its own, and is to hold it ready for a container: once RUNTIME_GO comes
 * over CONTROL (SOCK_SEQPACKET) divides the scope's cgroup as a start does, answers with the same byte, and returns
 * when the other side closes. 0 or a negative errno. */
int runtime_spare_hold(int control);

/* fork(2) of a process without threads, whose child is born in the monitor group of the scope with the cgroup directory
 * SCOPE: to be moved there costs a grace period of the kernel's, which is most of an exec's time. The child's 0, the
 * parent's pid of it, or a negative errno: -ENOENT or -ENODEV when the scope has gone. */
pid_t runtime_exec_fork(const char *scope);

/* Runs in the child of that as runtime_container_main() does, and ends as berth-monitor in the scope's monitor group.
 */
_Noreturn void runtime_exec_main(const RuntimeExec *exec);

/* --- In the monitor ----------------------------------------------------------------------------------------------- */

/* All that a check's process is made from, which no longer needs the engine. It refers to mapped memory. */
typedef struct RuntimeProbe RuntimeProbe;

/* Maps what --health FD named, and closes that; to be freed by runtime_probe_free(). 0 or a negative errno. */
int runtime_probe_map(int fd, RuntimeProbe **ret_probe);
/* The mapping goes with it; NULL is accepted. Returns NULL. */
RuntimeProbe *runtime_probe_free(RuntimeProbe *probe);
/* Its argv is not given. */
RuntimeHealth runtime_probe_health(const RuntimeProbe *probe);

/* A check that runs. */
typedef struct RuntimeProbeRun {
        pid_t pid;  /* to be reaped */
        int pidfd;  /* owned */
        int failed; /* owned, not blocking: a byte is there if the check's program could not be executed */
} RuntimeProbeRun;

/* Starts the check in the container whose first process is PID (PIDFD), as an exec of the container's user. What it
 * writes goes to OUTPUT, and so does the reason if its program cannot be executed. 0 or a negative errno. */
int runtime_probe_start(const RuntimeProbe *probe, int pidfd, pid_t pid, int output, RuntimeProbeRun *ret_run);

/* May be called in the engine before the fork: keeps what most starts have in common (the program of the device rules,
 * the libraries' first calls) so that the child need not make it again. */
void runtime_warm_up(const json_t *config);

/* Compiles an OCI linux.seccomp object into a BPF program for this machine, as read by seccomp(2): an array of
 * struct sock_filter, owned by the caller. The engine keeps it in a file under /run so that a start does not compile.
 */
int runtime_seccomp_compile(const json_t *seccomp, void **ret_program, size_t *ret_size, Error *ret_error);

/* Writes an OCI linux.resources object into the files of a cgroup (version 2), as a start does and an update may do
 * again. A limit whose controller is not there is left out. */
int runtime_cgroup_apply(int cgroup_fd, const json_t *resources, Error *ret_error);

/* To be called first in the daemon's main(): goes on in a copy of the program's mount that is read-only. A container's
 * first process is for a moment a fork of the daemon, and could otherwise make the kernel execute the daemon's binary
 * inside the container ("#!/proc/self/exe") and then open that file for writing. Returns 0 where already protected, a
 * negative errno where that is not possible; else the program starts again with ARGV and the present environment. */
int runtime_protect_program(char *const *argv);

/* May be called in the engine as soon as a start is likely: makes the kernel ready to move a process to another control
 * group, beside what the caller does next. Returns the descriptor of a child's process, which the caller reaps when it
 * has ended, or a negative errno, which costs nothing but time. */
int runtime_cgroup_warm_up(void);
