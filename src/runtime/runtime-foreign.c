/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container started by another program with the command line that OCI runtimes share ("runc", "crun"): the parent
 * mounts the overlay, makes the network namespace and the streams as for a container of its own, writes the bundle, and
 * has the program create and start the container. It is its first process's parent, as the program leaves it behind and
 * the parent asked to be given such orphans; so it becomes the monitor like any other. What the program keeps of the
 * container is in the run-time directory and goes with it. */
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

#define LOG_MAX (1u << 20)
#define ARGUMENTS_MAX 16
#define CGROUP_ROOT "/sys/fs/cgroup"

/* Paths of one start; all owned. */
typedef struct Foreign {
        char *bundle, *state, *log, *pid_file, *console;
        int console_fd; /* owned: where the terminal comes from */
} Foreign;

static void foreign_clear(Foreign *foreign)
{
        free(foreign->bundle);
        free(foreign->state);
        free(foreign->log);
        free(foreign->pid_file);
        free(foreign->console);
        fd_close(foreign->console_fd);
}

static int foreign_init(const RuntimePlan *plan, Foreign *foreign)
{
        const char *root = json_get_string_or(json_get_object(plan->config, "root"), "path", "");
        const char *slash = strrchr(root, '/');

        *foreign = (Foreign) { .console_fd = -EBADF };
        foreign->bundle = slash ? strndup(root, (size_t) (slash - root)) : NULL;
        if (!foreign->bundle)
                return -ENOMEM;
        foreign->state = path_join(foreign->bundle, "oci");
        foreign->log = path_join(foreign->bundle, "oci.log");
        foreign->pid_file = path_join(foreign->bundle, "oci.pid");
        foreign->console = path_join(foreign->bundle, "console.sock");
        return foreign->state && foreign->log && foreign->pid_file && foreign->console ? 0 : -ENOMEM;
}

/* --- Before the scope is there ------------------------------------------------------------------------------------ */

static json_t *find_namespace(const json_t *config, const char *type)
{
        json_t *list = json_get_array(json_get_object(config, "linux"), "namespaces"), *object;
        size_t i;

        json_array_foreach(list, i, object)
                if (str_equal(json_get_string(object, "type"), type))
                        return object;
        return NULL;
}

/* The network namespace, made here so that the host can connect it. */
static int make_network(RuntimePlan *plan, Error *ret_error)
{
        int *fd = &plan->namespaces.fds[RUNTIME_NS_NETWORK];
        CLEANUP_CLOSE int host = -EBADF;
        int r = 0;

        *fd = plan->start->network_namespace;
        if (*fd >= 0 || !find_namespace(plan->config, "network"))
                return 0;
        host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (host < 0 || unshare(CLONE_NEWNET) < 0)
                return runtime_error(ret_error, errno, "make a network namespace");
        *fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (*fd < 0)
                r = -errno;
        else
                r = runtime_network_loopback();
        if (setns(host, CLONE_NEWNET) < 0)
                r = -errno;
        if (r < 0)
                return runtime_error(ret_error, -r, "make a network namespace");
        return plan->start->setup_network ? plan->start->setup_network(*fd, plan->start->userdata, ret_error) : 0;
}

int runtime_foreign_prepare(const RuntimeStart *start, RuntimePlan *plan, Error *ret_error)
{
        CLEANUP_CLOSE int root = -EBADF;
        const char *path;
        int r;

        plan->start = start;
        plan->config = start->config;
        plan->process = json_get_object(plan->config, "process");
        plan->environment = json_to_strv(json_get_array(plan->process, "env"));
        path = json_get_string_or(json_get_object(plan->config, "root"), "path", "");
        if (!plan->environment)
                return -ENOMEM;
        r = runtime_plan_mount_root(plan, path, ret_error);
        if (r < 0)
                return r;
        root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return runtime_error(ret_error, errno, "open %s", path);
        r = runtime_user_resolve(root, plan->config, &plan->user, ret_error);
        if (r >= 0)
                r = runtime_plan_home(plan);
        /* A terminal is made by the program. */
        if (r >= 0 && !json_get_bool(plan->process, "terminal"))
                r = runtime_stdio_open(start, root, &plan->user, false, &plan->stdio, ret_error);
        return r < 0 ? r : make_network(plan, ret_error);
}

/* --- The bundle --------------------------------------------------------------------------------------------------- */

static int set_user(const RuntimePlan *plan, json_t *process)
{
        CLEANUP_JSON json_t *groups = json_array();
        json_t *environment = json_from_strv(plan->environment);

        for (size_t i = 0; groups && i < plan->user.n_groups; i++)
                json_array_append_new(groups, json_integer(plan->user.groups[i]));
        if (!groups || !environment || json_object_set_new(process, "env", environment) < 0)
                return -ENOMEM;
        return json_object_set_new(process, "user",
                                   json_pack("{si si sO}", "uid", (int) plan->user.uid, "gid", (int) plan->user.gid,
                                             "additionalGids", groups)) < 0
                       ? -ENOMEM
                       : 0;
}

/* Descriptors of this process, by names that hold for others. */
static int set_namespaces(const RuntimePlan *plan, json_t *config)
{
        json_t *list = json_get_array(json_get_object(config, "linux"), "namespaces"), *object;
        char path[64];
        size_t i;

        json_array_foreach(list, i, object) {
                const char *own = str_after_prefix(json_get_string_or(object, "path", ""), "/proc/self/");
                int fd = plan->namespaces.fds[RUNTIME_NS_NETWORK];

                if (own)
                        snprintf(path, sizeof(path), "/proc/%d/%s", (int) getpid(), own);
                else if (str_equal(json_get_string(object, "type"), "network") && fd >= 0)
                        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int) getpid(), fd);
                else
                        continue;
                if (json_set_string(object, "path", path) < 0)
                        return -ENOMEM;
        }
        /* One that was joined is not in the list. */
        if (plan->start->network_namespace < 0 || find_namespace(config, "network"))
                return 0;
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int) getpid(), plan->start->network_namespace);
        return json_array_append_new(list, json_pack("{ss ss}", "type", "network", "path", path)) < 0 ? -ENOMEM : 0;
}

/* Programs take a kind of limits that is there, however empty, for one whose controller has to be. */
static void drop_empty_limits(json_t *linux_object)
{
        static const char *const kinds[] = { "memory", "cpu", "blockIO", "pids" };
        json_t *resources = json_get_object(linux_object, "resources");

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (json_object_size(json_get_object(resources, kinds[i])) == 0)
                        json_object_del(resources, kinds[i]);
}

static int write_bundle(const RuntimePlan *plan, const Foreign *foreign)
{
        CLEANUP_JSON json_t *config = json_deep_copy(plan->config);
        json_t *process = json_get_object(config, "process"), *linux_object = json_get_object(config, "linux");
        const char *group = str_after_prefix(plan->cgroup.payload_path, CGROUP_ROOT);
        const char *name;
        json_t *value;
        void *next;

        if (!config || !process || !linux_object || json_set_string(linux_object, "cgroupsPath", group) < 0)
                return -ENOMEM;
        json_object_foreach_safe(json_get_object(config, "annotations"), next, name,
                                 value) if (str_after_prefix(name, "berth."))
                json_object_del(json_get_object(config, "annotations"), name);
        drop_empty_limits(linux_object);
        int r = set_user(plan, process);
        if (r >= 0)
                r = set_namespaces(plan, config);
        if (r < 0)
                return r;
        CLEANUP_CLOSE int directory = open(foreign->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return directory < 0 ? -errno : json_write_volatile_at(directory, "config.json", config, 0600);
}

/* --- The program -------------------------------------------------------------------------------------------------- */

/* Becomes the program, in a child: with the container's streams or without any, and nothing of what systemd told the
 * daemon. */
static _Noreturn void run_program(const RuntimePlan *plan, char *const *argv, bool streams)
{
        char *environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        for (int i = 0; i < 3; i++) {
                int fd = streams ? plan->stdio.inner[i] : -1;

                if (dup2(fd >= 0 ? fd : null, i) < 0)
                        _exit(126);
        }
        umask(0022);
        execve(argv[0], argv, environment);
        _exit(127);
}

static int call_program(const RuntimePlan *plan, char *const *argv, bool streams)
{
        pid_t pid = fork();
        int status;

        if (pid < 0)
                return -errno;
        if (pid == 0)
                run_program(plan, argv, streams);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/* What the program says last in its log, and which kind of failure that is. */
static int read_failure(const Foreign *foreign, const char *program, Error *ret_error)
{
        CLEANUP_FREE char *text = NULL, *last = NULL;
        char *rest, *line;

        if (file_read_at(AT_FDCWD, foreign->log, LOG_MAX, &text, NULL) >= 0) {
                for (rest = text; (line = strsep(&rest, "\n"));) {
                        CLEANUP_JSON json_t *entry = json_loads(line, 0, NULL);
                        const char *message = json_get_string(entry, "msg");

                        if (message) {
                                free(last);
                                last = strdup(message);
                        }
                }
        }
        error_set(ret_error, OUTCOME_BAD_REQUEST,
                  "failed to create task for container: failed to create shim task: OCI runtime create failed: %s: "
                  "unknown",
                  last ? last : program);
        if (last && (strstr(last, "not found") || strcasestr(last, "no such file")))
                return -ENOENT;
        return last && strcasestr(last, "permission denied") ? -EACCES : -EIO;
}

/* PROGRAM [ARGUMENTS] --root STATE --log LOG --log-format json COMMAND ... */
static int arguments_begin(const RuntimeStart *start, const Foreign *foreign, char ***ret)
{
        const char *const common[] = { "--root", foreign->state, "--log", foreign->log, "--log-format", "json" };
        int r = 0;

        for (char *const *word = start->program; r >= 0 && *word; word++)
                r = strv_append(ret, *word);
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(common); i++)
                r = strv_append(ret, common[i]);
        return r;
}

static int create(const RuntimePlan *plan, const Foreign *foreign)
{
        bool terminal = json_get_bool(plan->process, "terminal");
        const char *const words[] = { "create",
                                      "--bundle",
                                      foreign->bundle,
                                      "--pid-file",
                                      foreign->pid_file,
                                      terminal ? "--console-socket" : plan->start->id,
                                      terminal ? foreign->console : NULL,
                                      plan->start->id };
        CLEANUP_STRV char **argv = NULL;
        int r = arguments_begin(plan->start, foreign, &argv);

        for (size_t i = 0; r >= 0 && i < (terminal ? 8 : 6); i++)
                r = strv_append(&argv, words[i]);
        return r < 0 ? r : call_program(plan, argv, true);
}

static int command(const RuntimePlan *plan, const Foreign *foreign, const char *word, const char *option)
{
        CLEANUP_STRV char **argv = NULL;
        int r = arguments_begin(plan->start, foreign, &argv);

        if (r >= 0)
                r = strv_append(&argv, word);
        if (r >= 0 && option)
                r = strv_append(&argv, option);
        if (r >= 0)
                r = strv_append(&argv, plan->start->id);
        return r < 0 ? r : call_program(plan, argv, false);
}

/* The terminal's master, from the program's socket. */
static int take_terminal(RuntimePlan *plan, const Foreign *foreign)
{
        struct winsize size = { .ws_row = (unsigned short) plan->start->terminal_rows,
                                .ws_col = (unsigned short) plan->start->terminal_columns };
        CLEANUP_CLOSE int connection = accept4(foreign->console_fd, NULL, NULL, SOCK_CLOEXEC);
        char name[256];
        size_t n = 1;
        int fd = -EBADF;

        if (connection < 0)
                return -errno;
        ssize_t size_read = socket_recv_fds(connection, name, sizeof(name), &fd, &n);
        if (size_read < 0 || n != 1)
                return size_read < 0 ? (int) size_read : -EIO;
        plan->stdio.terminal = true;
        plan->stdio.outer[0] = fd;
        if (size.ws_row > 0 && size.ws_col > 0 && ioctl(fd, TIOCSWINSZ, &size) < 0)
                return -errno;
        return 0;
}

static int read_pid(const Foreign *foreign, pid_t *ret_pid, int *ret_pidfd)
{
        CLEANUP_FREE char *text = NULL;
        int64_t pid;
        int r = file_read_at(AT_FDCWD, foreign->pid_file, 64, &text, NULL);

        if (r < 0)
                return r;
        text[strcspn(text, "\n")] = '\0';
        if (str_to_int64(text, 1, INT32_MAX, &pid) < 0)
                return -EBADMSG;
        *ret_pidfd = (int) syscall(SYS_pidfd_open, (pid_t) pid, 0);
        *ret_pid = (pid_t) pid;
        return *ret_pidfd < 0 ? -errno : 0;
}

int runtime_foreign_spawn(RuntimePlan *plan, pid_t *ret_pid, int *ret_pidfd, Error *ret_error)
{
        CLEANUP(foreign_clear) Foreign foreign = { .console_fd = -EBADF };
        int r = foreign_init(plan, &foreign);

        if (r >= 0)
                r = write_bundle(plan, &foreign);
        if (r >= 0 && json_get_bool(plan->process, "terminal")) {
                foreign.console_fd = socket_listen_unix(foreign.console, SOCK_STREAM, 0600);
                r = MIN(foreign.console_fd, 0);
        }
        if (r < 0)
                return runtime_error(ret_error, -r, "prepare the bundle");
        if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
                return runtime_error(ret_error, errno, "prctl");
        r = create(plan, &foreign);
        if (r < 0)
                return read_failure(&foreign, plan->start->program[0], ret_error);
        (void) prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
        if (foreign.console_fd >= 0)
                r = take_terminal(plan, &foreign);
        if (r >= 0)
                r = read_pid(&foreign, ret_pid, ret_pidfd);
        if (r >= 0 && command(plan, &foreign, "start", NULL) < 0)
                r = read_failure(&foreign, plan->start->program[0], ret_error);
        else if (r < 0)
                runtime_error(ret_error, -r, "%s", plan->start->program[0]);
        if (r < 0)
                (void) command(plan, &foreign, "delete", "--force");
        return r;
}
