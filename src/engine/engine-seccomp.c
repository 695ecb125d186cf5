/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The default system call filter: what is listed is allowed, anything else fails with EPERM. Some calls come with a
 * capability, some only with certain arguments. Names a kernel or library doesn't know are left out when compiled.
 * And a user's own profile in Docker's form: an OCI one whose rules may hang on capabilities, machine and kernel. */
#include <sched.h>
#include <sys/utsname.h>

#include "berth/cleanup.h"
#include "berth/json.h"
#include "berth/spec.h"
#include "berth/string.h"

#define CLONE_NAMESPACES \
        (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP)
#define FAMILY_VSOCK 40
#define ERRNO_NOSYS 38

static const char always[] =
        "accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 "
        "clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep "
        "clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create "
        "epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 "
        "execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir "
        "fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork "
        "fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex "
        "futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 "
        "getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid "
        "getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit "
        "get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 "
        "getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy "
        "io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill "
        "landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat "
        "listen listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack "
        "membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 "
        "mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
        "mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap "
        "name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal "
        "pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 "
        "prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink "
        "readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr rename renameat "
        "renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
        "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr "
        "sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval "
        "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield "
        "seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg "
        "sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid "
        "setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit "
        "set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr shmat shmctl "
        "shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat "
        "stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time "
        "timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 "
        "timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate "
        "truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork vmsplice "
        "wait4 waitid waitpid write writev process_vm_readv process_vm_writev ptrace arch_prctl modify_ldt";

static const struct {
        const char *capability;
        const char *names;
} with_capability[] = {
        { "CAP_DAC_READ_SEARCH", "open_by_handle_at" },
        { "CAP_SYS_ADMIN",
          "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
          "move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns "
          "syslog umount umount2 unshare" },
        { "CAP_SYS_BOOT", "reboot" },
        { "CAP_SYS_CHROOT", "chroot" },
        { "CAP_SYS_MODULE", "delete_module init_module finit_module" },
        { "CAP_SYS_PACCT", "acct" },
        { "CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise" },
        { "CAP_SYS_RAWIO", "iopl ioperm" },
        { "CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64" },
        { "CAP_SYS_TTY_CONFIG", "vhangup" },
        { "CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node" },
        { "CAP_SYSLOG", "syslog" },
        { "CAP_BPF", "bpf" },
        { "CAP_PERFMON", "perf_event_open" },
};

static int add_names(json_t *syscalls, const char *names, const char *action, int error, json_t *arguments)
{
        CLEANUP_FREE char *copy = strdup(names);
        CLEANUP_JSON json_t *list = json_array();
        char *rest = copy;

        for (char *name; (name = strsep(&rest, " "));)
                json_array_append_new(list, json_string(name));
        json_t *entry = json_pack("{sO ss}", "names", list, "action", action);
        if (error > 0)
                json_object_set_new(entry, "errnoRet", json_integer(error));
        if (arguments)
                json_object_set_new(entry, "args", json_pack("[o]", arguments));
        return json_array_append_new(syscalls, entry) < 0 ? -ENOMEM : 0;
}

static json_t *argument(int index, json_int_t value, json_int_t value_two, const char *op)
{
        return json_pack("{si sI sI ss}", "index", index, "value", value, "valueTwo", value_two, "op", op);
}

static int make_default(char *const *capabilities, json_t **ret_seccomp)
{
        static const json_int_t personalities[] = { 0x0, 0x8, 0x20000, 0x20008, 0xffffffff };
        CLEANUP_JSON json_t *syscalls = json_array();
        bool admin = strv_contains(capabilities, "CAP_SYS_ADMIN");
        static const char allow[] = "SCMP_ACT_ALLOW";

        int r = add_names(syscalls, always, allow, 0, NULL);
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(personalities); i++)
                r = add_names(syscalls, "personality", allow, 0, argument(0, personalities[i], 0, "SCMP_CMP_EQ"));
        if (r >= 0)
                r = add_names(syscalls, "socket", allow, 0, argument(0, FAMILY_VSOCK, 0, "SCMP_CMP_NE"));
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(with_capability); i++)
                if (strv_contains(capabilities, with_capability[i].capability))
                        r = add_names(syscalls, with_capability[i].names, allow, 0, NULL);
        if (r >= 0 && !admin)
                r = add_names(syscalls, "clone", allow, 0, argument(0, CLONE_NAMESPACES, 0, "SCMP_CMP_MASKED_EQ"));
        /* A C library that is told there is no clone3 falls back to clone, whose flags can be looked at. */
        if (r >= 0 && !admin)
                r = add_names(syscalls, "clone3", "SCMP_ACT_ERRNO", ERRNO_NOSYS, NULL);
        if (r < 0)
                return r;
        json_t *seccomp = json_pack("{ss si s[s s s] sO}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet", 1,
                                    "architectures",
#ifdef __aarch64__
                                    "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64",
#else
                                    "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
#endif
                                    "syscalls", syscalls);
        if (!seccomp)
                return -ENOMEM;
        *ret_seccomp = seccomp;
        return 0;
}

/* Of the capabilities, those that the profile depends on. */
static unsigned int significant(char *const *capabilities)
{
        unsigned int bits = 0;

        for (size_t i = 0; i < ARRAY_SIZE(with_capability); i++)
                if (strv_contains(capabilities, with_capability[i].capability))
                        bits |= 1U << i;
        return bits;
}

int spec_default_seccomp(char *const *capabilities, json_t **ret_seccomp)
{
        /* Nearly all containers have the same, of some four hundred names. */
        static json_t *last;
        static unsigned int last_bits;
        unsigned int bits = significant(capabilities);

        if (!last || bits != last_bits) {
                json_t *made;
                int r = make_default(capabilities, &made);

                if (r < 0)
                        return r;
                json_decref(last);
                last = made;
                last_bits = bits;
        }
        *ret_seccomp = json_incref(last);
        return 0;
}

/* --- a profile of the user's -------------------------------------------------------------------------------------- */

#ifdef __aarch64__
#define MACHINE "arm64"
#define MACHINE_SECCOMP "SCMP_ARCH_AARCH64"
#else
#define MACHINE "amd64"
#define MACHINE_SECCOMP "SCMP_ARCH_X86_64"
#endif

static bool list_has(const json_t *list, const char *word)
{
        json_t *entry;
        size_t i;

        json_array_foreach((json_t *) list, i, entry)
                if (str_equal(json_string_value(entry), word))
                        return true;
        return false;
}

static bool kernel_at_least(const char *version)
{
        struct utsname name;
        int wanted[2] = { 0 }, running[2] = { 0 };

        if (sscanf(version, "%d.%d", wanted, wanted + 1) != 2 || uname(&name) < 0 ||
            sscanf(name.release, "%d.%d", running, running + 1) != 2)
                return false;
        return running[0] > wanted[0] || (running[0] == wanted[0] && running[1] >= wanted[1]);
}

/* Whether a rule holds here: everything of "includes", nothing of "excludes". */
static bool rule_applies(const json_t *rule, char *const *capabilities)
{
        const json_t *includes = json_get_object(rule, "includes"), *excludes = json_get_object(rule, "excludes");
        const json_t *arches = json_get_array(includes, "arches");
        const char *kernel = json_get_string(includes, "minKernel");
        json_t *entry;
        size_t i;

        if (list_has(json_get_array(excludes, "arches"), MACHINE) ||
            (json_array_size(arches) > 0 && !list_has(arches, MACHINE)) ||
            (!str_empty(kernel) && !kernel_at_least(kernel)))
                return false;
        kernel = json_get_string(excludes, "minKernel");
        if (!str_empty(kernel) && kernel_at_least(kernel))
                return false;
        json_array_foreach(json_get_array(includes, "caps"), i, entry)
                if (!strv_contains(capabilities, json_string_value(entry)))
                        return false;
        json_array_foreach(json_get_array(excludes, "caps"), i, entry)
                if (strv_contains(capabilities, json_string_value(entry)))
                        return false;
        return true;
}

/* The rule in OCI's form: "names" for the older "name", and without what was decided here. */
static json_t *rule_plain(const json_t *rule)
{
        json_t *plain = json_deep_copy(rule);
        const char *name = json_get_string(rule, "name");

        if (plain && !str_empty(name))
                json_object_set_new(plain, "names", json_pack("[s]", name));
        json_object_del(plain, "name");
        json_object_del(plain, "includes");
        json_object_del(plain, "excludes");
        json_object_del(plain, "comment");
        if (!json_is_array(json_object_get(plain, "args")))
                json_object_del(plain, "args");
        return plain;
}

static json_t *profile_architectures(const json_t *profile)
{
        const json_t *map = json_get_array(profile, "archMap");
        json_t *entry;
        size_t i;

        if (json_array_size(map) == 0)
                return json_is_array(json_object_get(profile, "architectures"))
                               ? json_deep_copy(json_object_get(profile, "architectures"))
                               : json_array();
        json_array_foreach((json_t *) map, i, entry)
                if (str_equal(json_get_string(entry, "architecture"), MACHINE_SECCOMP)) {
                        json_t *list = json_pack("[s]", MACHINE_SECCOMP);

                        json_array_extend(list, json_get_array(entry, "subArchitectures"));
                        return list;
                }
        return json_array();
}

int spec_custom_seccomp(const char *text, char *const *capabilities, json_t **ret_seccomp, Error *ret_error)
{
        json_error_t json_error;
        CLEANUP_JSON json_t *profile = json_loads(text, 0, &json_error), *syscalls = json_array(), *seccomp = NULL;
        json_t *rule;
        size_t i;

        if (!json_is_object(profile))
                return error_set(ret_error, OUTCOME_BAD_REQUEST, "Decoding seccomp profile failed: %s",
                                 profile ? "not an object" : json_error.text);
        if (json_array_size(json_get_array(profile, "archMap")) > 0 &&
            json_array_size(json_get_array(profile, "architectures")) > 0)
                return error_set(ret_error, OUTCOME_BAD_REQUEST,
                                 "both 'architectures' and 'archMap' are specified in the seccomp profile, use either "
                                 "'architectures' or 'archMap'");
        json_array_foreach(json_get_array(profile, "syscalls"), i, rule) {
                if (!str_empty(json_get_string(rule, "name")) && json_array_size(json_get_array(rule, "names")) > 0)
                        return error_set(ret_error, OUTCOME_BAD_REQUEST,
                                         "both 'name' and 'names' are specified in the seccomp profile, use either "
                                         "'name' or 'names'");
                if (rule_applies(rule, capabilities) && json_array_append_new(syscalls, rule_plain(rule)) < 0)
                        return -ENOMEM;
        }
        seccomp = json_pack("{sO* sO* sO* so sO}", "defaultAction", json_object_get(profile, "defaultAction"),
                            "defaultErrnoRet", json_object_get(profile, "defaultErrnoRet"), "flags",
                            json_get_array(profile, "flags"), "architectures", profile_architectures(profile),
                            "syscalls", syscalls);
        if (!seccomp)
                return -ENOMEM;
        *ret_seccomp = TAKE_PTR(seccomp);
        return 0;
}
