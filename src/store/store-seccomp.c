/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The system calls of a worker that reads what strangers wrote: making files, reading and writing descriptors, memory
 * and threads. All others fail with EPERM, and as if they did not exist where libc has another way then. */
#include "store-seccomp.h"

#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "berth/cleanup.h"

/* Names that this machine does not have are passed over. */
static const char *const allowed[] = {
        /* descriptors */
        "read",
        "write",
        "readv",
        "writev",
        "pread64",
        "pwrite64",
        "lseek",
        "_llseek",
        "close",
        "close_range",
        "dup",
        "dup3",
        "fcntl",
        "fcntl64",
        "poll",
        "ppoll",
        "ppoll_time64",
        "sendto",
        "recvfrom",
        "sendmsg",
        "recvmsg",
        "copy_file_range",
        "getdents64",
        "fsync",
        "fdatasync",
        "syncfs",
        "ftruncate",
        "ftruncate64",
        "fallocate",
        /* files */
        "open",
        "openat",
        "openat2",
        "stat",
        "lstat",
        "fstat",
        "fstat64",
        "newfstatat",
        "fstatat64",
        "statx",
        "access",
        "faccessat",
        "faccessat2",
        "readlink",
        "readlinkat",
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "symlinkat",
        "linkat",
        "renameat",
        "renameat2",
        "rename",
        "unlink",
        "unlinkat",
        "rmdir",
        "chmod",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "chown",
        "lchown",
        "fchown",
        "fchown32",
        "fchownat",
        "utimensat",
        "utimensat_time64",
        "umask",
        "chdir",
        "fchdir",
        "getcwd",
        "setxattr",
        "lsetxattr",
        "fsetxattr",
        "getxattr",
        "lgetxattr",
        "fgetxattr",
        "listxattr",
        "llistxattr",
        "flistxattr",
        "removexattr",
        "lremovexattr",
        "fremovexattr",
        "fstatfs",
        "statfs",
        "fstatfs64",
        "statfs64",
        /* memory, threads, time */
        "mmap",
        "mmap2",
        "munmap",
        "mremap",
        "mprotect",
        "madvise",
        "brk",
        "futex",
        "futex_time64",
        "set_robust_list",
        "set_tid_address",
        "rseq",
        "sched_yield",
        "sched_getaffinity",
        "membarrier",
        "exit",
        "exit_group",
        "getpid",
        "gettid",
        "tgkill",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sigreturn",
        "restart_syscall",
        "clock_gettime",
        "clock_gettime64",
        "clock_nanosleep",
        "clock_nanosleep_time64",
        "gettimeofday",
        "time",
        "getrandom",
        "uname",
        "sysinfo",
        "getrlimit",
        "ugetrlimit",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "arch_prctl",
};

#define MEMORY_MAX (UINT64_C(4) << 30)

static int add_rules(scmp_filter_ctx filter)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(allowed); i++) {
                int number = seccomp_syscall_resolve_name(allowed[i]);

                if (number != __NR_SCMP_ERROR)
                        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
        }
        /* Threads, no processes; of the other call the flags cannot be seen. */
        if (r >= 0)
                r = seccomp_rule_add(
                        filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                        SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NEWUSER | CLONE_NEWNS, CLONE_THREAD));
        if (r >= 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        if (r >= 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                                     SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, FICLONE));
        return r;
}

static int set_limits(void)
{
        static const struct rlimit none = { 0, 0 };
        struct rlimit memory = { 0 };

        if (setrlimit(RLIMIT_CORE, &none) < 0 || getrlimit(RLIMIT_AS, &memory) < 0)
                return -errno;
        memory.rlim_max = MIN(memory.rlim_max, MEMORY_MAX);
        memory.rlim_cur = memory.rlim_max;
        return setrlimit(RLIMIT_AS, &memory) < 0 ? -errno : 0;
}

/* The sanitizers' own calls and shadow memory are not to be listed. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

static struct sock_fprog program; /* made once; children inherit it */

static int read_program(int fd)
{
        off_t size = lseek(fd, 0, SEEK_END);
        size_t n = size > 0 ? (size_t) size / sizeof(struct sock_filter) : 0;
        CLEANUP_FREE struct sock_filter *code = n > 0 && n <= BPF_MAXINSNS ? calloc(n, sizeof(*code)) : NULL;

        if (size < 0)
                return -errno;
        if (!code)
                return n > 0 && n <= BPF_MAXINSNS ? -ENOMEM : -E2BIG;
        ssize_t got = pread(fd, code, n * sizeof(*code), 0);
        if (got != size)
                return got < 0 ? -errno : -EIO;
        program = (struct sock_fprog) { .len = (unsigned short) n, .filter = TAKE_PTR(code) };
        return 0;
}

int store_seccomp_prepare(void)
{
        scmp_filter_ctx filter;
        int r;

        if (SANITIZED || program.filter)
                return 0;
        CLEANUP_CLOSE int fd = memfd_create("seccomp", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        if (!filter)
                return -ENOMEM;
        r = add_rules(filter);
        if (r >= 0)
                r = seccomp_export_bpf(filter, fd);
        seccomp_release(filter);
        return r < 0 ? r : read_program(fd);
}

int store_seccomp_apply(void)
{
        int r = SANITIZED ? 0 : set_limits();

        if (r >= 0)
                r = store_seccomp_prepare();
        if (r < 0 || SANITIZED)
                return r;
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 ? -errno : 0;
}
