/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tests run inside containers: one static program that shows what a container's process sees and does what a test
 * wants done, so that no image is needed. It takes commands, each with its arguments, separated by a lone ",":
 *     payload id , fds , exit 3
 * Every command prints one "name value" line a fact. It depends on nothing but the kernel. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

typedef struct Command {
        const char *name;
        int n_args; /* at least */
        void (*run)(int argc, char **argv);
} Command;

static void print_file(const char *path)
{
        char buffer[65536];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0) {
                printf("error %s %s\n", path, strerrorname_np(errno));
                return;
        }
        fflush(stdout);
        while ((n = read(fd, buffer, sizeof(buffer))) > 0)
                if (write(STDOUT_FILENO, buffer, (size_t) n) < 0)
                        _exit(97);
        close(fd);
}

static void run_id(int argc, char **argv)
{
        gid_t groups[256];
        int n = getgroups(256, groups);

        (void) argc;
        (void) argv;
        printf("uid %u\ngid %u\ngroups", geteuid(), getegid());
        for (int i = 0; i < n; i++)
                printf(" %u", groups[i]);
        printf("\n");
}

static void run_fds(int argc, char **argv)
{
        char target[4096];

        (void) argc;
        (void) argv;
        for (int fd = 0; fd < 1024; fd++) {
                char path[64];
                ssize_t n;

                if (fcntl(fd, F_GETFD) < 0)
                        continue;
                snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
                n = readlink(path, target, sizeof(target) - 1);
                target[n < 0 ? 0 : n] = '\0';
                printf("fd %d %s\n", fd, target);
        }
}

static void run_env(int argc, char **argv)
{
        (void) argc;
        (void) argv;
        for (char **p = environ; *p; p++)
                printf("env %s\n", *p);
}

static void run_status(int argc, char **argv)
{
        (void) argc;
        (void) argv;
        print_file("/proc/self/status");
}

static void run_mounts(int argc, char **argv)
{
        (void) argc;
        (void) argv;
        print_file("/proc/self/mountinfo");
}

static void run_cat(int argc, char **argv)
{
        for (int i = 0; i < argc; i++)
                print_file(argv[i]);
}

static void run_copy(int argc, char **argv)
{
        char buffer[65536];
        ssize_t n;

        (void) argc;
        (void) argv;
        while ((n = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0)
                if (write(STDOUT_FILENO, buffer, (size_t) n) < 0)
                        _exit(97);
}

static void print_stat(const char *directory, const char *name)
{
        char path[4096], target[4096];
        struct stat st;
        ssize_t n;

        snprintf(path, sizeof(path), "%s%s%s", directory, *directory ? "/" : "", name);
        if (lstat(path, &st) < 0) {
                printf("stat %s %s\n", path, strerrorname_np(errno));
                return;
        }
        printf("stat %s %o %u:%u", path, st.st_mode, st.st_uid, st.st_gid);
        if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
                printf(" %u:%u", major(st.st_rdev), minor(st.st_rdev));
        if (S_ISLNK(st.st_mode)) {
                n = readlink(path, target, sizeof(target) - 1);
                target[n < 0 ? 0 : n] = '\0';
                printf(" -> %s", target);
        }
        printf("\n");
}

static void run_stat(int argc, char **argv)
{
        for (int i = 0; i < argc; i++)
                print_stat("", argv[i]);
}

static void run_ls(int argc, char **argv)
{
        struct dirent **names;
        int n;

        (void) argc;
        n = scandir(argv[0], &names, NULL, alphasort);
        if (n < 0)
                printf("ls %s %s\n", argv[0], strerrorname_np(errno));
        for (int i = 0; i < n; i++)
                if (strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0)
                        print_stat(argv[0], names[i]->d_name);
}

/* open PATH r|w|c: the error's name, or OK */
static void run_open(int argc, char **argv)
{
        int flags = argv[1][0] == 'r' ? O_RDONLY : argv[1][0] == 'w' ? O_WRONLY : O_WRONLY | O_CREAT;
        int fd = open(argv[0], flags | O_CLOEXEC | O_NOCTTY, 0644);

        (void) argc;
        printf("open %s %s %s\n", argv[0], argv[1], fd < 0 ? strerrorname_np(errno) : "OK");
        if (fd >= 0)
                close(fd);
}

static void run_write(int argc, char **argv)
{
        int fd = open(argv[0], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        ssize_t n = fd < 0 ? -1 : write(fd, argv[1], strlen(argv[1]));

        (void) argc;
        printf("write %s %s\n", argv[0], n < 0 ? strerrorname_np(errno) : "OK");
        if (fd >= 0)
                close(fd);
}

/* mknod PATH c|b MAJOR MINOR */
static void run_mknod(int argc, char **argv)
{
        int r = mknod(argv[0], (argv[1][0] == 'b' ? S_IFBLK : S_IFCHR) | 0600,
                      makedev((unsigned int) atoi(argv[2]), (unsigned int) atoi(argv[3])));

        (void) argc;
        printf("mknod %s %s\n", argv[0], r < 0 ? strerrorname_np(errno) : "OK");
}

/* syscall NUMBER [ARGUMENT...]: the error's name, or OK; in a child, which may not survive it */
static void run_syscall(int argc, char **argv)
{
        unsigned long a[6] = {};
        int status;
        pid_t pid;

        for (int i = 1; i < argc && i < 7; i++)
                a[i - 1] = strtoul(argv[i], NULL, 0);
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
                long r = syscall(strtol(argv[0], NULL, 0), a[0], a[1], a[2], a[3], a[4], a[5]);

                printf("syscall %s %s\n", argv[0], r < 0 ? strerrorname_np(errno) : "OK");
                fflush(stdout);
                _exit(0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
                printf("syscall %s KILLED\n", argv[0]);
}

/* scan MAX: every system call number that the filter refuses with EPERM or ENOSYS, with arguments that do no harm */
static void run_scan(int argc, char **argv)
{
        (void) argc;
        for (long number = 0; number < strtol(argv[0], NULL, 0); number++) {
                int status;
                pid_t pid;

                fflush(stdout);
                pid = fork();
                if (pid == 0) {
                        long r;

                        alarm(1);
                        r = syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
                        printf("scan %ld %s\n", number, r < 0 ? strerrorname_np(errno) : "OK");
                        fflush(stdout);
                        _exit(0);
                }
                if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
                        printf("scan %ld KILLED\n", number);
        }
}

static void run_limits(int argc, char **argv)
{
        (void) argc;
        (void) argv;
        print_file("/proc/self/limits");
}

static void run_names(int argc, char **argv)
{
        char host[256] = "", domain[256] = "", directory[4096] = "";

        (void) argc;
        (void) argv;
        gethostname(host, sizeof(host));
        if (getdomainname(domain, sizeof(domain)) < 0 || !getcwd(directory, sizeof(directory)))
                printf("error names\n");
        printf("hostname %s\ndomainname %s\ncwd %s\npid %d\nsid %d\n", host, domain, directory, getpid(), getsid(0));
}

static void run_prctl(int argc, char **argv)
{
        int death = 0;

        (void) argc;
        (void) argv;
        prctl(PR_GET_PDEATHSIG, &death);
        printf("pdeathsig %d\ndumpable %d\nno_new_privs %d\n", death, prctl(PR_GET_DUMPABLE),
               prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void run_umask(int argc, char **argv)
{
        (void) argc;
        (void) argv;
        printf("umask %04o\n", umask(022));
}

static void run_signals(int argc, char **argv)
{
        sigset_t mask;

        (void) argc;
        (void) argv;
        sigprocmask(SIG_SETMASK, NULL, &mask);
        for (int i = 1; i < 32; i++) {
                struct sigaction action;

                if (sigaction(i, NULL, &action) >= 0 && (action.sa_handler != SIG_DFL || sigismember(&mask, i)))
                        printf("signal %d changed\n", i);
        }
}

static void run_tty(int argc, char **argv)
{
        struct winsize size = {};
        char *name = ttyname(0);
        int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);

        (void) argc;
        (void) argv;
        printf("tty %s\ncontrolling %s\n", name ? name : "none", fd < 0 ? strerrorname_np(errno) : "yes");
        if (ioctl(0, TIOCGWINSZ, &size) >= 0)
                printf("size %d %d\n", size.ws_row, size.ws_col);
        if (fd >= 0)
                close(fd);
}

static void run_echo(int argc, char **argv)
{
        for (int i = 0; i < argc; i++)
                printf("%s%s", argv[i], i + 1 < argc ? " " : "");
        printf("\n");
}

static void run_err(int argc, char **argv)
{
        for (int i = 0; i < argc; i++)
                fprintf(stderr, "%s%s", argv[i], i + 1 < argc ? " " : "");
        fprintf(stderr, "\n");
}

/* lines N [SIZE] */
static void run_lines(int argc, char **argv)
{
        int size = argc > 1 ? atoi(argv[1]) : 0;

        for (int i = 1; i <= atoi(argv[0]); i++)
                printf("line %d%*s\n", i, size, "");
}

/* alloc MIB: takes and touches memory */
static void run_alloc(int argc, char **argv)
{
        size_t size = (size_t) atoi(argv[0]) << 20;
        volatile char *memory = malloc(size);

        (void) argc;
        for (size_t i = 0; memory && i < size; i += 4096)
                memory[i] = 1;
        printf("alloc %s\n", memory ? "OK" : "ENOMEM");
        fflush(stdout);
        free((void *) memory);
}

static void run_sleep(int argc, char **argv)
{
        (void) argc;
        fflush(stdout);
        usleep((useconds_t) (atof(argv[0]) * 1e6));
}

/* trap SIGNAL CODE: the first process does not die of signals it did not ask for */
static int trap_code;

static void on_signal(int signal)
{
        (void) signal;
        _exit(trap_code);
}

static void run_trap(int argc, char **argv)
{
        (void) argc;
        trap_code = atoi(argv[1]);
        signal(atoi(argv[0]), on_signal);
}

static void run_kill(int argc, char **argv)
{
        (void) argc;
        fflush(stdout);
        kill(getpid(), atoi(argv[0]));
}

static void run_exit(int argc, char **argv)
{
        (void) argc;
        fflush(stdout);
        _exit(atoi(argv[0]));
}

static const Command commands[] = {
        { "alloc", 1, run_alloc }, { "cat", 1, run_cat },         { "copy", 0, run_copy },
        { "echo", 0, run_echo },   { "env", 0, run_env },         { "err", 0, run_err },
        { "exit", 1, run_exit },   { "fds", 0, run_fds },         { "id", 0, run_id },
        { "kill", 1, run_kill },   { "limits", 0, run_limits },   { "lines", 1, run_lines },
        { "ls", 1, run_ls },       { "mknod", 4, run_mknod },     { "mounts", 0, run_mounts },
        { "names", 0, run_names }, { "open", 2, run_open },       { "prctl", 0, run_prctl },
        { "scan", 1, run_scan },   { "signals", 0, run_signals }, { "sleep", 1, run_sleep },
        { "stat", 1, run_stat },   { "status", 0, run_status },   { "syscall", 1, run_syscall },
        { "trap", 2, run_trap },   { "tty", 0, run_tty },         { "umask", 0, run_umask },
        { "write", 2, run_write },
};

static void run_command(int argc, char **argv)
{
        for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
                if (strcmp(commands[i].name, argv[0]) == 0 && argc - 1 >= commands[i].n_args) {
                        commands[i].run(argc - 1, argv + 1);
                        fflush(stdout);
                        return;
                }
        fprintf(stderr, "payload: bad command %s\n", argv[0]);
        _exit(98);
}

int main(int argc, char **argv)
{
        for (int i = 1; i < argc; i++) {
                int begin = i;

                while (i < argc && strcmp(argv[i], ",") != 0)
                        i++;
                if (i > begin)
                        run_command(i - begin, argv + begin);
        }
        return 0;
}
