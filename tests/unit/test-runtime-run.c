/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole starts: this program plays the engine, the runtime starts tests/payload as a container, and this program again,
 * executed as the monitor, collects output and exit status. Needs root, and a cgroup version 2 hierarchy in which it
 * makes one group and removes it. Everything is mounted in a mount namespace of its own. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "berth/runtime.h"
#include "berth/string.h"

static char top[] = "/tmp/test-runtime-XXXXXX"; /* a tmpfs */
static char program[4096];                      /* this program */
static char group[256];                         /* the cgroup of all runs */
static unsigned int run_number;

static const char base_config[] =
        "{'ociVersion':'1.2.0','hostname':'testhost','domainname':'example.org',"
        "'root':{'path':''},"
        "'process':{'cwd':'/','env':['PATH=/bin:/sbin','KEY=value'],"
        " 'user':{'username':'','umask':18},'oomScoreAdj':0,"
        " 'capabilities':{'bounding':['CAP_CHOWN','CAP_KILL','CAP_SETUID','CAP_MKNOD'],"
        "  'effective':['CAP_CHOWN','CAP_KILL','CAP_SETUID','CAP_MKNOD'],"
        "  'permitted':['CAP_CHOWN','CAP_KILL','CAP_SETUID','CAP_MKNOD']}},"
        "'mounts':["
        " {'destination':'/proc','type':'proc','source':'proc','options':['nosuid','noexec','nodev']},"
        " {'destination':'/dev','type':'tmpfs','source':'tmpfs',"
        "  'options':['nosuid','strictatime','mode=755','size=65536k']},"
        " {'destination':'/dev/pts','type':'devpts','source':'devpts',"
        "  'options':['nosuid','noexec','newinstance','ptmxmode=0666','mode=0620','gid=5']},"
        " {'destination':'/sys','type':'sysfs','source':'sysfs','options':['nosuid','noexec','nodev','ro']},"
        " {'destination':'/sys/fs/cgroup','type':'cgroup','source':'cgroup',"
        "  'options':['ro','nosuid','noexec','nodev']},"
        " {'destination':'/dev/mqueue','type':'mqueue','source':'mqueue','options':['nosuid','noexec','nodev']},"
        " {'destination':'/dev/shm','type':'tmpfs','source':'shm',"
        "  'options':['nosuid','noexec','nodev','mode=1777','size=67108864']}],"
        "'linux':{'namespaces':[{'type':'mount'},{'type':'network'},{'type':'uts'},{'type':'pid'},{'type':'ipc'},"
        "  {'type':'cgroup'}],"
        " 'sysctl':{'net.ipv4.ip_unprivileged_port_start':'0','kernel.msgmax':'4242'},"
        " 'resources':{'devices':[{'allow':false,'access':'rwm'},"
        "  {'allow':true,'type':'c','major':1,'minor':3,'access':'rwm'},"
        "  {'allow':true,'type':'c','major':1,'minor':5,'access':'r'},"
        "  {'allow':true,'type':'c','major':5,'access':'rwm'},{'allow':true,'type':'c','major':136,'access':'rwm'},"
        "  {'allow':true,'type':'b','access':'m'}]},"
        " 'maskedPaths':['/proc/version','/proc/acpi','/proc/none','/sys/firmware'],"
        " 'readonlyPaths':['/proc/sys','/proc/none']}}";

static int put_file(const char *path, const void *data, size_t size, mode_t mode)
{
        CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

        return fd < 0 ? -errno : fd_write_all(fd, data, size);
}

/* --- the monitor's side --- */

static void monitor_pump(int fd, int out)
{
        char buffer[65536];
        ssize_t n = read(fd, buffer, sizeof(buffer));

        if (n > 0)
                (void) !write(out, buffer, (size_t) n);
        else
                _exit(0);
}

/* Copies one stream into a file, in a process of its own. */
static pid_t monitor_collect(const char *directory, const char *name, const char *fd)
{
        pid_t pid;

        if (!fd)
                return 0;
        pid = fork();
        if (pid == 0) {
                char *path = path_join(directory, name);
                int out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

                for (;;)
                        monitor_pump(atoi(fd), out);
        }
        close(atoi(fd));
        return pid;
}

static const char *argument(char **argv, const char *name)
{
        for (; *argv; argv++)
                if (str_equal(*argv, name))
                        return argv[1];
        return NULL;
}

/* argv: PROGRAM --monitor DIRECTORY STDIN-TEXT ... as the runtime appends. Writes "status". */
static int monitor_main(char **argv)
{
        const char *directory = argument(argv, "--monitor"), *in = argument(argv, "--stdin");
        const char *in_text = argument(argv, "--input"), *terminal = argument(argv, "--terminal");
        CLEANUP_FREE char *text = NULL, *path = path_join(directory, "status");
        pid_t pid = atoi(argument(argv, "--pid")), out, err;
        int status = -1;
        struct rlimit files;

        /* What it inherited beyond the streams would show up here. */
        for (int fd = 3; getrlimit(RLIMIT_NOFILE, &files) >= 0 && fd < 256; fd++)
                if (fcntl(fd, F_GETFD) >= 0 && !strstr(argument(argv, "--expected"), "any")) {
                        const char *const options[] = { "--pidfd", "--stdin", "--stdout", "--stderr", "--terminal" };
                        bool known = false;

                        for (size_t i = 0; i < ARRAY_SIZE(options); i++)
                                known = known || (argument(argv, options[i]) && atoi(argument(argv, options[i])) == fd);
                        if (!known)
                                return 99;
                }
        if (in) {
                fd_write_all(atoi(in), in_text, strlen(in_text));
                close(atoi(in));
        }
        if (terminal && *in_text)
                fd_write_all(atoi(terminal), in_text, strlen(in_text));
        out = monitor_collect(directory, "stdout", terminal ? terminal : argument(argv, "--stdout"));
        err = monitor_collect(directory, "stderr", argument(argv, "--stderr"));
        if (waitpid(pid, &status, 0) != pid)
                status = -1;
        waitpid(out, NULL, 0);
        if (err > 0)
                waitpid(err, NULL, 0);
        text = str_printf("%d %s", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                          argument(argv, "--payload"));
        return put_file(path, text, strlen(text), 0600) < 0;
}

/* --- the engine's side --- */

typedef struct Run {
        /* asked */
        const char *config; /* merged over the base; quotes are ' */
        const char *args;   /* words of the payload's command line */
        const char *input;  /* NULL: no standard input */
        bool call_off;
        bool no_wait;
        int rows, columns;
        int (*setup)(int, void *, Error *);
        /* answered */
        RuntimeReport report;
        char error[4200];
        char *out, *err;
        int status;
        pid_t monitor;
        char directory[128], root[160];
} Run;

static json_t *parse(const char *text)
{
        CLEANUP_FREE char *copy = strdup(text);
        json_error_t error;
        json_t *value;

        for (char *p = copy; *p; p++)
                *p = *p == '\'' ? '"' : *p;
        value = json_loads(copy, 0, &error);
        if (!value)
                fail_msg("%s: %s", error.text, copy);
        return value;
}

static json_t *make_config(const Run *run)
{
        CLEANUP_FREE char *words = strdup(run->args);
        json_t *config = parse(base_config), *args = json_array(), *process = json_object_get(config, "process");
        char *rest = words, *word;

        if (!strstr(run->args, "#"))
                json_array_append_new(args, json_string("/bin/payload"));
        while ((word = strsep(&rest, " ")))
                if (*word && *word != '#')
                        json_array_append_new(args, json_string(word));
        json_object_set_new(process, "args", args);
        if (run->config) {
                CLEANUP_JSON json_t *merge = parse(run->config);
                json_t *mounts = json_object_get(merge, "mounts");

                if (mounts) {
                        json_array_extend(json_object_get(config, "mounts"), mounts);
                        json_object_del(merge, "mounts");
                }
                assert_int_equal(json_object_update_recursive(config, merge), 0);
        }
        json_object_set_new(json_object_get(config, "root"), "path", json_string(run->root));
        return config;
}

static void make_directory(char *buffer, size_t size, const char *directory, const char *name)
{
        snprintf(buffer, size, "%s/%s", directory, name);
        assert_int_equal(mkdir(buffer, 0755), 0);
}

static _Noreturn void engine_child(const Run *run, const json_t *config, int control, const char *upper,
                                   const char *work)
{
        char lower_name[] = "layer";
        char *lower[] = { lower_name, NULL };
        char *monitor[] = { program,
                            (char *) "--monitor",
                            (char *) run->directory,
                            (char *) "--input",
                            (char *) (run->input ? run->input : ""),
                            (char *) "--expected",
                            (char *) "",
                            NULL };
        RuntimeStart start = {
                .id = "0123456789abcdef",
                .config = config,
                .layer_root = top,
                .lower = lower,
                .upper = upper,
                .work = work,
                .network_namespace = -EBADF,
                .control = control,
                .terminal_rows = run->rows,
                .terminal_columns = run->columns,
                .open_stdin = run->input != NULL,
                .monitor_argv = monitor,
                .setup_network = run->setup,
        };

        runtime_container_main(&start);
}

static void slurp(const Run *run, const char *name, char **ret)
{
        CLEANUP_FREE char *path = path_join(run->directory, name);

        if (file_read_at(AT_FDCWD, path, 1 << 24, ret, NULL) < 0)
                *ret = strdup("");
}

/* Puts the parent into a group of its own, as systemd would. */
static void make_scope(pid_t pid)
{
        CLEANUP_FREE char *path = str_printf("%s/run-%u", group, run_number);
        CLEANUP_FREE char *procs = str_printf("%s/cgroup.procs", path), *text = str_printf("%d", pid);

        assert_int_equal(mkdir(path, 0755), 0);
        assert_int_equal(file_write_kernel(procs, text), 0);
}

static void run_answer(Run *run, int control)
{
        char message[sizeof(RuntimeReport) + RUNTIME_REPORT_TEXT_MAX];
        ssize_t n = recv(control, message, sizeof(message), 0);

        if (run->call_off) {
                assert_true(n <= 0);
                return;
        }
        assert_true(n >= (ssize_t) sizeof(run->report));
        memcpy(&run->report, message, sizeof(run->report));
        memcpy(run->error, message + sizeof(run->report), (size_t) n - sizeof(run->report));
}

static void run_container(Run *run)
{
        CLEANUP_JSON json_t *config = NULL;
        CLEANUP_FREE char *status = NULL;
        char upper[160], work[160], name[32];
        int pair[2], wait_status;

        run_number++;
        snprintf(name, sizeof(name), "run-%u", run_number);
        make_directory(run->directory, sizeof(run->directory), top, name);
        make_directory(upper, sizeof(upper), run->directory, "upper");
        make_directory(work, sizeof(work), run->directory, "work");
        make_directory(run->root, sizeof(run->root), run->directory, "root");
        config = make_config(run);
        assert_int_equal(socket_pair(SOCK_SEQPACKET, pair), 0);
        run->monitor = fork();
        if (run->monitor == 0)
                engine_child(run, config, pair[1], upper, work);
        close(pair[1]);
        make_scope(run->monitor);
        if (run->call_off)
                shutdown(pair[0], SHUT_WR);
        else
                (void) !send(pair[0], "G", 1, MSG_NOSIGNAL); /* it may have failed and gone already */
        run_answer(run, pair[0]);
        close(pair[0]);
        if (run->no_wait && run->report.error == 0)
                return;
        assert_int_equal(waitpid(run->monitor, &wait_status, 0), run->monitor);
        if (run->report.error == 0 && !run->call_off)
                assert_int_equal(wait_status, 0);
        slurp(run, "stdout", &run->out);
        slurp(run, "stderr", &run->err);
        slurp(run, "status", &status);
        run->status = atoi(status);
}

static void run_clear(Run *run)
{
        (void) mount_overlay_undo(run->root);
        free(run->out);
        free(run->err);
}

#define CLEANUP_RUN CLEANUP(run_clear)

static void assert_has(const char *text, const char *part)
{
        if (!strstr(text, part))
                fprintf(stderr, "\"%s\" is not in:\n%s\n", part, text);
        assert_true(strstr(text, part));
}

static void assert_hasnt(const char *text, const char *part)
{
        if (strstr(text, part))
                fprintf(stderr, "\"%s\" is in:\n%s\n", part, text);
        assert_false(strstr(text, part));
}

static void assert_started(const Run *run)
{
        if (run->report.error != 0)
                fail_msg("start failed: %s", run->error);
        assert_true(run->report.pid > 0);
        assert_true(run->report.start_time > 0 && run->report.monitor_start_time > 0);
}

/* --- tests --- */

static void test_exit_and_streams(void **state)
{
        CLEANUP_RUN Run run = { .args = "echo hello , err oops , exit 7" };
        CLEANUP_RUN Run killed = { .args = "trap 15 9 , kill 15" };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_string_equal(run.out, "hello\n");
        assert_string_equal(run.err, "oops\n");
        assert_int_equal(run.status, 7);
        run_container(&killed);
        assert_int_equal(killed.status, 9);
}

static void test_stdin(void **state)
{
        CLEANUP_RUN Run run = { .args = "copy", .input = "abc" };
        CLEANUP_RUN Run none = { .args = "fds" };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_string_equal(run.out, "abc");
        run_container(&none);
        assert_has(none.out, "fd 0 /dev/null\nfd 1 pipe:");
        assert_hasnt(none.out, "fd 3");
}

static void test_default_view(void **state)
{
        CLEANUP_RUN Run run = { .args = "status , names , mounts , ls /dev , signals , prctl , umask , env" };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_has(run.out, "CapEff:\t0000000008000"
                            "0a1\n");
        assert_has(run.out, "CapBnd:\t00000000080000a1\n");
        assert_has(run.out, "CapInh:\t0000000000000000\n");
        assert_has(run.out, "hostname testhost\ndomainname example.org\ncwd /\npid 1\nsid 1\n");
        assert_has(run.out, " / /proc rw,nosuid,nodev,noexec,relatime");
        assert_has(run.out, " / /dev rw,nosuid");
        assert_has(run.out, " / /sys ro,nosuid,nodev,noexec,relatime");
        assert_has(run.out, " / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2");
        assert_has(run.out, "/proc/sys ro,");
        assert_hasnt(run.out, "/proc/sys rw,");
        assert_has(run.out, "stat /dev/null 20666 0:0 1:3");
        assert_has(run.out, "stat /dev/ptmx 120777 0:0 -> pts/ptmx");
        assert_has(run.out, "stat /dev/fd 120777 0:0 -> /proc/self/fd");
        assert_hasnt(run.out, "changed");
        assert_hasnt(run.out, " - devtmpfs ");
        assert_has(run.out, "pdeathsig 9\ndumpable 1\nno_new_privs 0\numask 0022\n");
        assert_has(run.out, "env KEY=value\nenv HOME=/root\n");
}

static void test_masks_and_sysctls(void **state)
{
        CLEANUP_RUN Run run = {
                .args = "cat /proc/version , ls /proc/acpi , open /proc/sys/kernel/msgmax w , "
                        "cat /proc/sys/kernel/msgmax , "
                        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start , cat /sys/class/net/lo/flags"
        };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_string_equal(run.out, "open /proc/sys/kernel/msgmax w EROFS\n4242\n0\n0x9\n");
}

static void test_devices(void **state)
{
        CLEANUP_RUN Run run = {
                .args = "open /dev/zero r , open /dev/zero w , open /dev/full r , open /dev/null w , mknod /a c 1 7 , "
                        "mknod /b b 8 0 , open /b r , open /dev/x/null r , stat /dev/x/null",
                .config = "{'linux':{'devices':[{'path':'/dev/x/null','type':'c','major':1,'minor':3,'fileMode':432,"
                          "'uid':0,'gid':4}]}}",
        };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_string_equal(run.out, "open /dev/zero r OK\nopen /dev/zero w EPERM\nopen /dev/full r EPERM\n"
                                     "open /dev/null w OK\nmknod /a EPERM\nmknod /b OK\nopen /b r EPERM\n"
                                     "open /dev/x/null r OK\nstat /dev/x/null 20660 0:4 1:3\n");
}

static void test_users(void **state)
{
        static const struct {
                const char *user, *expected;
        } cases[] = {
                { "", "uid 0\ngid 0\ngroups 0 10\n" },
                { "alice", "uid 1000\ngid 1000\ngroups 10 50 1000\n" },
                { "1000", "uid 1000\ngid 1000\ngroups 10 50 1000\n" },
                { "alice:staff", "uid 1000\ngid 50\ngroups 50\n" },
                { "4711", "uid 4711\ngid 0\ngroups 0\n" },
                { "4711:4712", "uid 4711\ngid 4712\ngroups 4712\n" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                CLEANUP_FREE char *config = str_printf("{'process':{'user':{'username':'%s'}}}", cases[i].user);
                CLEANUP_RUN Run run = { .args = "id", .config = config };

                run_container(&run);
                assert_started(&run);
                assert_string_equal(run.out, cases[i].expected);
        }
}

static void test_user_details(void **state)
{
        CLEANUP_RUN Run run = { .args = "status , env , open /dev/stdout w , id",
                                .config = "{'process':{'user':{'username':'alice:staff'}},"
                                          "'annotations':{'berth.group-add':'wheel,77'}}" };
        CLEANUP_RUN Run user = { .args = "id", .config = "{'process':{'user':{'username':'bob'}}}" };
        CLEANUP_RUN Run no_group = { .args = "id", .config = "{'process':{'user':{'username':'alice:nope'}}}" };
        CLEANUP_RUN Run added = { .args = "id", .config = "{'annotations':{'berth.group-add':'nope'}}" };
        CLEANUP_RUN Run range = { .args = "id", .config = "{'process':{'user':{'username':'4294967296'}}}" };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_has(run.out, "CapEff:\t0000000000000000\n");
        assert_has(run.out, "CapBnd:\t00000000080000a1\n");
        assert_has(run.out, "env HOME=/home/alice\n");
        assert_has(run.out, "open /dev/stdout w OK\n");
        assert_has(run.out, "groups 10 50 77\n");
        run_container(&user);
        assert_string_equal(user.error, "unable to find user bob: no matching entries in passwd file");
        run_container(&no_group);
        assert_string_equal(no_group.error, "unable to find group nope: no matching entries in group file");
        run_container(&added);
        assert_string_equal(added.error, "Unable to find group nope: no matching entries in group file");
        run_container(&range);
        assert_string_equal(range.error, "uids and gids must be in range 0-2147483647");
}

static void test_terminal(void **state)
{
        CLEANUP_RUN Run run = { .args = "tty , fds , stat /dev/console , stat /dev/pts/0 , copy",
                                .config = "{'process':{'terminal':true,'user':{'username':'alice'}}}",
                                .input = "typed\n\004",
                                .rows = 33,
                                .columns = 77 };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_has(run.out, "tty /dev/pts/0\r\n");
        assert_has(run.out, "controlling yes\r\n");
        assert_has(run.out, "size 33 77\r\n");
        assert_has(run.out, "fd 2 /dev/pts/0\r\n");
        assert_has(run.out, "stat /dev/pts/0 20620 1000:5 136:0");
        assert_has(run.out, "stat /dev/console 20620 1000:5 136:0");
        /* The echo and the copy; what the program wrote before may come between them. */
        const char *echo = strstr(run.out, "typed\r\n");
        assert_non_null(echo);
        assert_non_null(strstr(echo + 1, "typed\r\n"));
}

static void test_mounts(void **state)
{
        CLEANUP_FREE char *source = str_printf("%s/source", top);
        CLEANUP_FREE char *config = str_printf(
                "{'mounts':["
                "{'destination':'/data','type':'bind','source':'%s','options':['rbind','rprivate']},"
                "{'destination':'/ro','type':'bind','source':'%s','options':['rbind','ro','nosuid']},"
                "{'destination':'/new/dir/file','type':'bind','source':'%s/file','options':['rbind','ro']},"
                "{'destination':'/link/inside','type':'bind','source':'%s','options':['rbind']},"
                "{'destination':'/shared','type':'bind','source':'%s','options':['rbind','rshared']},"
                "{'destination':'/slave','type':'bind','source':'%s','options':['rbind','rslave']},"
                "{'destination':'/proc/meminfo','type':'bind','source':'%s/file','options':['rbind']},"
                "{'destination':'/tmpfs','type':'tmpfs','source':'tmpfs','options':['noexec','size=1m','mode=700']},"
                "{'destination':'/bin','type':'bind','source':'%s/layer/bin','options':['bind','ro']}]}",
                source, source, source, source, source, source, source, top);
        CLEANUP_RUN Run run = { .args = "mounts , cat /new/dir/file , open /ro/x c , open /data/y c , stat /escape , "
                                        "cat /proc/meminfo , stat /tmpfs , open /new/dir/file w",
                                .config = config };
        CLEANUP_FREE char *written = str_printf("%s/y", source), *outside = str_printf("%s/../outside/inside", top);

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_has(run.out, "open /ro/x c EROFS\nopen /data/y c OK\n");
        assert_has(run.out, "\ncontent\nstat /tmpfs 40700");
        assert_has(run.out, "open /new/dir/file w EROFS");
        assert_has(run.out, "/ro ro,nosuid");
        assert_has(run.out, "/data rw,relatime - tmpfs");
        assert_has(run.out, "/shared rw,relatime shared:");
        assert_has(run.out, "/slave rw,relatime master:");
        assert_int_equal(access(written, F_OK), 0);
        /* "/link" of the image points to ../../../../outside: inside the root it is /outside. */
        assert_int_not_equal(access(outside, F_OK), 0);
        assert_has(run.out, " /outside/inside rw,");
}

static void test_mount_errors(void **state)
{
        CLEANUP_FREE char *onto_file = str_printf("{'mounts':[{'destination':'/etc/passwd','type':'bind',"
                                                  "'source':'%s/source','options':['rbind']}]}",
                                                  top);
        CLEANUP_FREE char *proc = str_printf("{'mounts':[{'destination':'/proc/self','type':'bind',"
                                             "'source':'%s/source','options':['rbind']}]}",
                                             top);
        CLEANUP_RUN Run not_directory = { .args = "id", .config = onto_file };
        CLEANUP_RUN Run in_proc = { .args = "id", .config = proc };
        CLEANUP_RUN Run missing = { .args = "id",
                                    .config = "{'mounts':[{'destination':'/x','type':'bind',"
                                              "'source':'/nonexistent','options':['rbind']}]}" };

        (void) state;
        run_container(&not_directory);
        assert_int_equal(not_directory.report.error, ENOTDIR);
        assert_has(not_directory.error, "to rootfs at \"/etc/passwd\"");
        assert_has(not_directory.error, ": not a directory: unknown: Are you trying to mount a directory onto a file");
        run_container(&in_proc);
        assert_has(in_proc.error, "\"/proc/self\" cannot be mounted because it is inside /proc");
        run_container(&missing);
        assert_has(missing.error, "no such file or directory");
}

static void test_exec_errors(void **state)
{
        static const struct {
                const char *args, *config, *text;
                int error;
        } cases[] = {
                { "# nope", NULL, "exec: \"nope\": executable file not found in $PATH: unknown", ENOENT },
                { "# /nope", NULL, "exec: \"/nope\": stat /nope: no such file or directory: unknown", ENOENT },
                { "# /etc", NULL, "exec: \"/etc\": is a directory: unknown: permission denied", EISDIR },
                { "# /etc/passwd", NULL, "exec: \"/etc/passwd\": permission denied: unknown", EACCES },
                { "# /proc/self/exe", NULL, "exec: \"/proc/self/exe\": permission denied: unknown", EACCES },
                { "id", "{'process':{'cwd':'/proc/version'}}",
                  "process: chdir to cwd (\"/proc/version\") set in config.json failed: not a directory: unknown",
                  ENOTDIR },
                { "id", "{'linux':{'sysctl':{'net.bogus.x':'1'}}}",
                  "process: error during container init: open /proc/sys/net/bogus/x: no such file or directory: "
                  "unknown",
                  ENOENT },
                { "id", "{'process':{'rlimits':[{'type':'RLIMIT_X','soft':1,'hard':1}]}}", "RLIMIT_X", EINVAL },
                { "id", "{'process':{'capabilities':{'bounding':['CAP_NONSENSE']}}}", "CAP_NONSENSE", EINVAL },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                CLEANUP_RUN Run run = { .args = cases[i].args, .config = cases[i].config };
                CLEANUP_FREE char *mountinfo = NULL;

                run_container(&run);
                assert_int_equal(run.report.error, cases[i].error);
                assert_has(run.error, cases[i].text);
                assert_has(run.error, "failed to create task for container: failed to create shim task: OCI runtime "
                                      "create failed: runc create failed: unable to start container process: ");
                assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/mountinfo", 1 << 22, &mountinfo, NULL), 0);
                assert_hasnt(mountinfo, run.root);
        }
}

static void test_exec_format(void **state)
{
        CLEANUP_RUN Run run = { .args = "# /bin/noformat" }, interpreter = { .args = "# /bin/nointerpreter" };
        CLEANUP_RUN Run script = { .args = "# /bin/selfexe" };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_has(run.err, "exec /bin/noformat: exec format error\n"); /* a sanitizer may have its say, too */
        assert_int_equal(run.status, 1);
        run_container(&interpreter);
        assert_has(interpreter.err, "exec /bin/nointerpreter: no such file or directory\n");
        run_clear(&interpreter);
        interpreter = (Run) {};
        /* The shebang /proc/self/exe: this program is dynamic and the image has no loader for it. */
        run_container(&script);
        assert_int_equal(script.status, 1);
}

static void test_path_and_cwd(void **state)
{
        CLEANUP_RUN Run run = { .args = "# payload names , stat /work/dir",
                                .config = "{'process':{'cwd':'/work/dir'}}" };
        CLEANUP_RUN Run no_directory = { .args = "id", .config = "{'process':{'cwd':'/etc/passwd'}}" };
        CLEANUP_RUN Run relative = { .args = "# ./payload names", .config = "{'process':{'cwd':'/bin'}}" };
        CLEANUP_RUN Run nobody = { .args = "names",
                                   .config = "{'process':{'cwd':'/home/alice','user':{'username':'alice'}}}" };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_has(run.out, "cwd /work/dir\n");
        assert_has(run.out, "stat /work/dir 40755 0:0\n");
        run_container(&no_directory);
        assert_string_equal(no_directory.error, "Cannot mkdir: /etc/passwd is not a directory");
        run_container(&relative);
        assert_started(&relative);
        run_container(&nobody);
        assert_started(&nobody);
        assert_has(nobody.out, "cwd /home/alice\n");
}

static void test_read_only_root(void **state)
{
        CLEANUP_RUN Run run = { .args = "open /x c , open /dev/shm/x c , open /tmpfs/x c , names",
                                .config = "{'root':{'readonly':true},'process':{'cwd':'/made'},'mounts':["
                                          "{'destination':'/tmpfs','type':'tmpfs','source':'tmpfs','options':[]}]}" };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_has(run.out, "open /x c EROFS\nopen /dev/shm/x c OK\nopen /tmpfs/x c OK\n");
        assert_has(run.out, "cwd /made\n");
}

static void test_limits(void **state)
{
        CLEANUP_RUN Run run = { .args = "limits , status",
                                .config = "{'process':{'noNewPrivileges':true,'rlimits':["
                                          "{'type':'RLIMIT_NOFILE','soft':100,'hard':200}]}}" };

        (void) state;
        run_container(&run);
        assert_started(&run);
        assert_has(run.out, "Max open files            100                  200");
        assert_has(run.out, "NoNewPrivs:\t1\n");
}

static void test_seccomp(void **state)
{
        static const char rules[] =
                "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':["
                "{'names':['getpgid','nosuchcall'],'action':'SCMP_ACT_ERRNO','errnoRet':77},"
                "{'names':['personality'],'action':'SCMP_ACT_ERRNO','args':"
                "[{'index':0,'value':8,'op':'SCMP_CMP_EQ'},{'index':0,'value':9,'op':'SCMP_CMP_EQ'}]}]}";
        CLEANUP_FREE char *plain = str_printf("{'linux':{%s}}", rules);
        CLEANUP_FREE char *locked = str_printf("{'process':{'noNewPrivileges':true},'linux':{%s}}", rules);
        const char *const configs[] = { plain, locked };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
                CLEANUP_RUN Run run = {
                        .args = "syscall 121 0 , syscall 135 8 , syscall 135 9 , syscall 135 0 , status",
                        .config = configs[i]
                };

                run_container(&run);
                assert_started(&run);
                assert_has(run.out, "syscall 121 EBADFD\nsyscall 135 EPERM\nsyscall 135 EPERM\nsyscall 135 OK\n");
                assert_has(run.out, "Seccomp:\t2\n");
        }
}

static void test_seccomp_file(void **state)
{
        CLEANUP_JSON json_t *profile = parse("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':["
                                             "{'names':['getpgid'],'action':'SCMP_ACT_ERRNO','errnoRet':38}]}");
        CLEANUP_FREE char *path = str_printf("%s/seccomp.bpf", top);
        CLEANUP_FREE char *config = str_printf("{'annotations':{'berth.seccomp':'%s'}}", path);
        CLEANUP_FREE void *code = NULL;
        CLEANUP_RUN Run run = { .args = "syscall 121 0", .config = config };
        size_t size;

        (void) state;
        assert_int_equal(runtime_seccomp_compile(profile, &code, &size, NULL), 0);
        assert_int_equal(put_file(path, code, size, 0600), 0);
        run_container(&run);
        assert_started(&run);
        assert_string_equal(run.out, "syscall 121 ENOSYS\n");
}

/* A program kept before the fork is used for the rules it was made of, and for those only. */
static void test_warm_up(void **state)
{
        CLEANUP_JSON json_t *config = parse(base_config);
        CLEANUP_RUN Run same = { .args = "open /dev/zero r , open /dev/full r" };
        CLEANUP_RUN Run other = { .args = "open /dev/zero r , open /dev/full r",
                                  .config = "{'linux':{'resources':{'devices':[{'allow':true,'access':'rwm'}]}}}" };

        (void) state;
        runtime_warm_up(config);
        runtime_warm_up(config);
        run_container(&same);
        assert_started(&same);
        assert_string_equal(same.out, "open /dev/zero r OK\nopen /dev/full r EPERM\n");
        run_container(&other);
        assert_started(&other);
        assert_string_equal(other.out, "open /dev/zero r OK\nopen /dev/full r OK\n");
}

static void test_called_off(void **state)
{
        CLEANUP_RUN Run run = { .args = "id", .call_off = true };
        CLEANUP_FREE char *mountinfo = NULL;

        (void) state;
        run_container(&run);
        assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/mountinfo", 1 << 22, &mountinfo, NULL), 0);
        assert_hasnt(mountinfo, run.root);
}

static int refuse_network(int fd, void *userdata, Error *error)
{
        (void) fd;
        (void) userdata;
        error_set(error, OUTCOME_BAD_REQUEST, "no network today");
        return -EADDRINUSE;
}

static void test_network_failure(void **state)
{
        CLEANUP_RUN Run run = { .args = "id", .setup = refuse_network };

        (void) state;
        run_container(&run);
        assert_int_equal(run.report.error, EADDRINUSE);
        assert_string_equal(run.error, "no network today");
}

/* Reads /proc/PID/... until the process is gone. */
static bool gone_within(pid_t pid, uint64_t start_time, int milliseconds)
{
        for (int i = 0; i < milliseconds; i++) {
                int fd = process_open(pid, start_time);

                if (fd < 0)
                        return true;
                struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
                int r = poll(&poll_fd, 1, 1);

                close(fd);
                if (r > 0)
                        return true;
        }
        return false;
}

static void test_killed_monitor(void **state)
{
        CLEANUP_RUN Run run = { .args = "sleep 60", .no_wait = true };
        CLEANUP_RUN Run user = { .args = "sleep 60",
                                 .config = "{'process':{'user':{'username':'alice'}}}",
                                 .no_wait = true };
        Run *const runs[] = { &run, &user };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
                run_container(runs[i]);
                assert_started(runs[i]);
                assert_false(gone_within(runs[i]->report.pid, runs[i]->report.start_time, 5));
                assert_int_equal(kill(runs[i]->monitor, SIGKILL), 0);
                assert_int_equal(waitpid(runs[i]->monitor, NULL, 0), runs[i]->monitor);
                assert_true(gone_within(runs[i]->report.pid, runs[i]->report.start_time, 2000));
        }
}

static void test_joined_namespaces(void **state)
{
        CLEANUP_RUN Run first = { .args = "sleep 60", .no_wait = true };
        CLEANUP_FREE char *config = NULL;

        (void) state;
        run_container(&first);
        assert_started(&first);
        config = str_printf("{'hostname':'other','linux':{'namespaces':[{'type':'mount'},"
                            "{'type':'network','path':'/proc/%d/ns/net'},{'type':'pid','path':'/proc/%d/ns/pid'},"
                            "{'type':'ipc','path':'/proc/%d/ns/ipc'},{'type':'uts'}],'sysctl':null}}",
                            first.report.pid, first.report.pid, first.report.pid);
        CLEANUP_RUN Run second = { .args = "names , cat /proc/1/cmdline , cat /proc/self/cgroup , stat /proc/1/exe "
                                           ", stat /proc/1/ns/net , stat /proc/self/ns/net",
                                   .config = config };
        run_container(&second);
        assert_started(&second);
        assert_has(second.out, "hostname other\n");
        assert_hasnt(second.out, "pid 1\n");
        assert_int_equal(kill(first.monitor, SIGKILL), 0);
        assert_int_equal(waitpid(first.monitor, NULL, 0), first.monitor);
}

/* A program that ends before the parent has become the monitor is still waited for by it. */
static void test_many(void **state)
{
        (void) state;
        for (int i = 0; i < 20; i++) {
                CLEANUP_RUN Run run = { .args = "exit 3" };

                run_container(&run);
                assert_started(&run);
                assert_int_equal(run.status, 3);
        }
}

/* --- the fixture --- */

static void write_file(const char *path, const char *text, mode_t mode)
{
        CLEANUP_FREE char *full = str_printf("%s/%s", top, path);

        assert_int_equal(put_file(full, text, strlen(text), mode), 0);
}

static void copy_payload(void)
{
        CLEANUP_FREE char *to = str_printf("%s/layer/bin/payload", top), *from = NULL, *data = NULL;
        const char *given = getenv("BERTH_PAYLOAD");
        size_t size;

        from = given ? strdup(given) : str_printf("%.*s/payload", (int) (strrchr(program, '/') - program), program);
        if (file_read_at(AT_FDCWD, from, 1 << 24, &data, &size) < 0)
                fail_msg("%s: the payload program is missing", from);
        assert_int_equal(put_file(to, data, size, 0755), 0);
}

static int make_group(void)
{
        static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
        CLEANUP_FREE char *text = NULL;
        const char *line;

        if (file_read_at(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL) < 0 || !(line = strstr(text, "0::")))
                return -ENODEV;
        for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
                snprintf(group, sizeof(group), "%s/cgroup.controllers", mounts[i]);
                if (access(group, F_OK) < 0)
                        continue;
                snprintf(group, sizeof(group), "%s%.*s/test-runtime-%d", mounts[i], (int) strcspn(line + 3, "\n"),
                         line + 3, getpid());
                return mkdir(group, 0755) < 0 ? -errno : 0;
        }
        return -ENODEV;
}

static int set_up(void **state)
{
        static const char *const directories[] = { "layer",      "layer/bin",        "layer/etc", "layer/home",
                                                   "layer/root", "layer/home/alice", "source",    "layer/tmp" };
        CLEANUP_FREE char *link = NULL, *home = NULL;

        (void) state;
        assert_true(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
        assert_int_equal(unshare(CLONE_NEWNS), 0);
        assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
        assert_non_null(mkdtemp(top));
        assert_int_equal(mount("tmpfs", top, "tmpfs", 0, "mode=755"), 0);
        assert_int_equal(mount(NULL, top, NULL, MS_SHARED, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
                CLEANUP_FREE char *path = path_join(top, directories[i]);

                assert_int_equal(mkdir(path, 0755), 0);
        }
        copy_payload();
        write_file("layer/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n", 0644);
        write_file("layer/etc/group", "root:x:0:\nwheel:x:10:root,alice\nstaff:x:50:alice\nalice:x:1000:\n", 0644);
        write_file("layer/bin/noformat", "no program", 0755);
        write_file("layer/bin/nointerpreter", "#!/nope\n", 0755);
        write_file("layer/bin/selfexe", "#!/proc/self/exe\n", 0755);
        write_file("source/file", "content\n", 0644);
        link = path_join(top, "layer/link");
        home = path_join(top, "layer/home/alice");
        assert_int_equal(symlink("../../../../outside", link), 0);
        assert_int_equal(chmod(home, 0700), 0);
        assert_int_equal(chown(home, 1000, 1000), 0);
        return make_group();
}

static int tear_down(void **state)
{
        (void) state;
        for (unsigned int i = 1; i <= run_number; i++) {
                static const char *const below[] = { "/monitor", "/payload", "" };

                for (size_t j = 0; j < ARRAY_SIZE(below); j++) {
                        CLEANUP_FREE char *path = str_printf("%s/run-%u%s", group, i, below[j]);

                        (void) rmdir(path);
                }
        }
        (void) rmdir(group);
        (void) umount2(top, MNT_DETACH);
        (void) rmdir(top);
        return 0;
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_exit_and_streams),
                cmocka_unit_test(test_stdin),
                cmocka_unit_test(test_default_view),
                cmocka_unit_test(test_masks_and_sysctls),
                cmocka_unit_test(test_devices),
                cmocka_unit_test(test_users),
                cmocka_unit_test(test_user_details),
                cmocka_unit_test(test_terminal),
                cmocka_unit_test(test_mounts),
                cmocka_unit_test(test_mount_errors),
                cmocka_unit_test(test_exec_errors),
                cmocka_unit_test(test_exec_format),
                cmocka_unit_test(test_path_and_cwd),
                cmocka_unit_test(test_read_only_root),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_seccomp),
                cmocka_unit_test(test_seccomp_file),
                cmocka_unit_test(test_warm_up),
                cmocka_unit_test(test_called_off),
                cmocka_unit_test(test_network_failure),
                cmocka_unit_test(test_killed_monitor),
                cmocka_unit_test(test_joined_namespaces),
                cmocka_unit_test(test_many),
        };

        if (argc > 1 && str_equal(argv[1], "--monitor"))
                return monitor_main(argv);
        if (geteuid() != 0) {
                printf("skipped: needs root\n");
                return 0;
        }
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
