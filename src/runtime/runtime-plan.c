/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parent's preparations, all done while systemd makes the scope: overlay, network namespace, the container's tree
 * in a mount namespace of its own, devices, user, streams, seccomp and device programs. The parent goes into the
 * network and mount namespace to build them and comes back; only descriptors remain. What is left to init are the file
 * systems that show the pid, ipc and cgroup namespace, and everything below them. */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

static const char *const late_types[] = { "proc", "cgroup", "cgroup2" };

static bool path_is_late(const RuntimePlan *plan, const char *path)
{
        for (size_t i = 0; i < plan->n_mounts; i++)
                for (size_t j = 0; j < ARRAY_SIZE(late_types); j++)
                        if (str_equal(plan->mounts[i].type, late_types[j]) &&
                            mount_path_is_below(path, plan->mounts[i].destination))
                                return true;
        return false;
}

int runtime_plan_mount(const RuntimePlan *plan, int root_fd, bool late, Error *ret_error)
{
        for (size_t i = 0; i < plan->n_mounts; i++) {
                const MountEntry *entry = plan->mounts + i;
                int r = 0;

                if (path_is_late(plan, entry->destination) == late)
                        r = mount_entry_apply(entry, root_fd, ret_error);
                else if (!late && !entry->bind)
                        /* The root may be read-only by the time init mounts there. */
                        r = mount_entry_make_target(entry, root_fd);
                if (r < 0)
                        return r;
        }
        return 0;
}

int runtime_plan_guard(const RuntimePlan *plan, int root_fd, bool late, Error *ret_error)
{
        static const struct {
                const char *key;
                int (*guard)(int root_fd, const char *path);
        } kinds[] = { { "readonlyPaths", mount_path_protect }, { "maskedPaths", mount_path_mask } };
        json_t *object = json_get_object(plan->config, "linux"), *item;
        size_t j;

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                json_array_foreach(json_get_array(object, kinds[i].key), j, item) {
                        const char *path = json_string_value(item);
                        int r;

                        if (!path || path[0] != '/' || path_is_late(plan, path) != late)
                                continue;
                        r = kinds[i].guard(root_fd, path);
                        if (r < 0)
                                return runtime_error(ret_error, -r, "can't guard path \"%s\"", path);
                }
        return 0;
}

/* --- reading the configuration --- */

static int plan_read_mounts(RuntimePlan *plan, Error *ret_error)
{
        json_t *list = json_get_array(plan->config, "mounts"), *object;
        size_t i;
        int r;

        plan->mounts = calloc(json_array_size(list) + 1, sizeof(*plan->mounts));
        if (!plan->mounts)
                return -ENOMEM;
        json_array_foreach(list, i, object) {
                r = mount_entry_parse(object, plan->mounts + i, ret_error);
                if (r < 0)
                        return r;
                plan->n_mounts++;
        }
        return 0;
}

/* Init begins with the parent's value; an unchanged one needs no permission. */
void runtime_plan_compare_oom_score(RuntimePlan *plan)
{
        json_t *value = json_object_get(plan->process, "oomScoreAdj");
        CLEANUP_FREE char *present = NULL;
        int64_t number;

        if (!json_is_integer(value))
                return;
        plan->set_oom_score = true;
        if (file_read_at(AT_FDCWD, "/proc/self/oom_score_adj", 64, &present, NULL) < 0)
                return;
        present[strcspn(present, "\n")] = '\0';
        if (str_to_int64(present, -1000, 1000, &number) >= 0 && number == json_integer_value(value))
                plan->set_oom_score = false;
}

static int plan_read(RuntimePlan *plan, Error *ret_error)
{
        int r;

        plan->process = json_get_object(plan->config, "process");
        plan->argv = json_to_strv(json_get_array(plan->process, "args"));
        plan->environment = json_to_strv(json_get_array(plan->process, "env"));
        plan->cwd = json_get_string_or(plan->process, "cwd", "/");
        if (!plan->argv || !plan->environment)
                return -ENOMEM;
        if (!plan->argv[0]) {
                error_set(ret_error, OUTCOME_BAD_REQUEST, "no command specified");
                return -EINVAL;
        }
        r = runtime_namespaces_open(plan->config, &plan->namespaces, ret_error);
        if (r >= 0)
                r = plan_read_mounts(plan, ret_error);
        if (r >= 0)
                r = runtime_capabilities_parse(plan->process, &plan->capabilities, ret_error);
        if (r >= 0)
                r = runtime_seccomp_load(plan->config, &plan->seccomp, ret_error);
        if (r < 0)
                return r;
        if (plan->start->network_namespace >= 0)
                plan->namespaces.fds[RUNTIME_NS_NETWORK] = plan->start->network_namespace;
        r = runtime_sysctl_check(plan->config, &plan->namespaces, ret_error);
        if (r < 0)
                return r;
        runtime_plan_compare_oom_score(plan);
        r = runtime_devices_program(json_get_object(json_get_object(plan->config, "linux"), "resources"), ret_error);
        if (r >= 0)
                plan->device_program = r;
        return r == -ENODATA ? 0 : MIN(r, 0);
}

/* --- the namespaces --- */

static const struct {
        RuntimeNamespace which;
        int flag;
        const char *path;
} entered[] = {
        { RUNTIME_NS_NETWORK, CLONE_NEWNET, "/proc/self/ns/net" },
        { RUNTIME_NS_IPC, CLONE_NEWIPC, "/proc/self/ns/ipc" },
        { RUNTIME_NS_UTS, CLONE_NEWUTS, "/proc/self/ns/uts" },
        { RUNTIME_NS_MOUNT, CLONE_NEWNS, "/proc/self/ns/mnt" },
};

/* Joins what is given and makes what is new, and takes a descriptor of it. */
static int plan_enter_namespaces(RuntimePlan *plan, Error *ret_error)
{
        int made = 0, r;

        for (size_t i = 0; i < ARRAY_SIZE(entered); i++) {
                int fd = plan->namespaces.fds[entered[i].which];

                if (fd >= 0 && setns(fd, entered[i].flag) < 0)
                        return runtime_error(ret_error, errno, "join namespace");
                if (plan->namespaces.clone_flags & entered[i].flag && fd < 0)
                        made |= entered[i].flag;
                plan->namespaces.clone_flags &= ~entered[i].flag;
        }
        r = mount_namespace_enter(made & ~CLONE_NEWNS);
        if (r < 0)
                return runtime_error(ret_error, -r, "unshare");
        for (size_t i = 0; i < ARRAY_SIZE(entered); i++) {
                int *fd = &plan->namespaces.fds[entered[i].which];

                if (!(made & entered[i].flag))
                        continue;
                *fd = open(entered[i].path, O_RDONLY | O_CLOEXEC);
                if (*fd < 0)
                        return runtime_error(ret_error, errno, "open %s", entered[i].path);
        }
        if (made & CLONE_NEWNET && (r = runtime_network_loopback()) < 0)
                return runtime_error(ret_error, -r, "bring up lo");
        return 0;
}

static int plan_set_names(const RuntimePlan *plan, Error *ret_error)
{
        const char *host = json_get_string_or(plan->config, "hostname", "");
        const char *domain = json_get_string_or(plan->config, "domainname", "");

        if (plan->namespaces.fds[RUNTIME_NS_UTS] < 0)
                return 0;
        if (*host && sethostname(host, strlen(host)) < 0)
                return runtime_error(ret_error, errno, "sethostname");
        if (*domain && setdomainname(domain, strlen(domain)) < 0)
                return runtime_error(ret_error, errno, "setdomainname");
        return 0;
}

/* Those of the namespaces entered here, through the host's /proc, which shows the caller's. Where the host has made
 * that read-only (as one that is a container itself does) they wait for the container's own. */
static int plan_set_sysctls(RuntimePlan *plan, Error *ret_error)
{
        CLEANUP_CLOSE int proc = -EBADF;
        int r;

        if (!json_object_get(json_get_object(plan->config, "linux"), "sysctl"))
                return 0;
        proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (proc < 0)
                return runtime_error(ret_error, errno, "open /proc");
        r = runtime_sysctl_apply(proc, plan->config, ret_error);
        if (r != -EROFS)
                return r;
        error_clear(ret_error);
        plan->late_sysctls = true;
        return 0;
}

/* --- the tree --- */

/* True where /dev is the container's own file system and not the image's or a volume. */
static bool plan_makes_dev(const RuntimePlan *plan)
{
        for (size_t i = 0; i < plan->n_mounts; i++)
                if (str_equal(plan->mounts[i].destination, "/dev"))
                        return !plan->mounts[i].bind;
        return false;
}

static unsigned long plan_propagation(const RuntimePlan *plan)
{
        static const struct {
                const char *name;
                unsigned long flag;
        } kinds[] = { { "shared", MS_SHARED }, { "slave", MS_SLAVE }, { "unbindable", MS_UNBINDABLE } };
        const char *name = json_get_string_or(json_get_object(plan->config, "linux"), "rootfsPropagation", "");

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (str_equal(name, kinds[i].name) || str_equal(str_after_prefix(name, "r"), kinds[i].name))
                        return kinds[i].flag;
        return 0;
}

static int plan_make_cwd(const RuntimePlan *plan, int root_fd, Error *ret_error)
{
        CLEANUP_CLOSE int fd = -EBADF;
        struct stat st;

        if (plan->cwd[0] != '/')
                return runtime_error(ret_error, EINVAL, "Cwd must be an absolute path");
        if (path_is_late(plan, plan->cwd))
                return 0;
        fd = mount_path_make(root_fd, plan->cwd, true, 0755);
        if (fd == -ENOTDIR || (fd >= 0 && fstat(fd, &st) >= 0 && !S_ISDIR(st.st_mode))) {
                error_set(ret_error, OUTCOME_BAD_REQUEST, "Cannot mkdir: %s is not a directory", plan->cwd);
                return -EINVAL;
        }
        return fd < 0 ? runtime_error(ret_error, -fd, "mkdir %s", plan->cwd) : 0;
}

static int plan_build_tree(RuntimePlan *plan, int root_fd, Error *ret_error)
{
        json_t *root = json_get_object(plan->config, "root");
        int r;

        r = runtime_plan_mount(plan, root_fd, false, ret_error);
        if (r >= 0 && plan_makes_dev(plan))
                r = runtime_devices_make(root_fd, plan->config, ret_error);
        if (r >= 0)
                r = runtime_user_resolve(root_fd, plan->config, &plan->user, ret_error);
        if (r >= 0)
                r = runtime_stdio_open(plan->start, root_fd, &plan->user, true, &plan->stdio, ret_error);
        if (r >= 0)
                r = plan_make_cwd(plan, root_fd, ret_error);
        if (r >= 0)
                r = runtime_plan_guard(plan, root_fd, false, ret_error);
        if (r < 0)
                return r;
        r = mount_root_pivot(root_fd, plan_propagation(plan), json_get_bool(root, "readonly"));
        return r < 0 ? runtime_error(ret_error, -r, "pivot_root") : 0;
}

/* Everything done inside the container's namespaces, which the caller leaves again. */
static int plan_inside(RuntimePlan *plan, const char *root, Error *ret_error)
{
        CLEANUP_CLOSE int root_fd = -EBADF;
        int r;

        r = plan_enter_namespaces(plan, ret_error);
        if (r >= 0)
                r = plan_set_names(plan, ret_error);
        if (r >= 0)
                r = plan_set_sysctls(plan, ret_error);
        if (r < 0)
                return r;
        root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0)
                return runtime_error(ret_error, errno, "open %s", root);
        return plan_build_tree(plan, root_fd, ret_error);
}

/* Goes back to where FDS were opened. */
static int plan_leave(const int fds[static ARRAY_SIZE(entered)])
{
        for (size_t i = 0; i < ARRAY_SIZE(entered); i++)
                if (setns(fds[i], entered[i].flag) < 0)
                        return -errno;
        return 0;
}

static int plan_go_inside(RuntimePlan *plan, const char *root, Error *ret_error)
{
        int host[ARRAY_SIZE(entered)], left, r = 0;

        for (size_t i = 0; i < ARRAY_SIZE(entered); i++) {
                host[i] = open(entered[i].path, O_RDONLY | O_CLOEXEC);
                if (host[i] < 0)
                        r = -errno;
        }
        if (r < 0)
                return runtime_error(ret_error, -r, "open the host's namespaces");
        r = plan_inside(plan, root, ret_error);
        left = plan_leave(host);
        for (size_t i = 0; i < ARRAY_SIZE(entered); i++)
                fd_close(host[i]);
        if (left >= 0)
                return r;
        /* Nothing more may be done from here, and nothing was done to the host that its start-up pass misses. */
        plan->overlay_mounted = false;
        return runtime_error(ret_error, -left, "return to the host's namespaces");
}

int runtime_plan_home(RuntimePlan *plan)
{
        CLEANUP_FREE char *home = NULL;

        for (char **p = plan->environment; *p; p++)
                if (str_after_prefix(*p, "HOME=") && !str_equal(*p, "HOME="))
                        return 0;
        home = str_printf("HOME=%s", plan->user.home);
        if (!home)
                return -ENOMEM;
        return strv_append(&plan->environment, home);
}

static int plan_mount_overlay(RuntimePlan *plan, const char *root, Error *ret_error)
{
        const RuntimeStart *start = plan->start;
        MountOverlay overlay = {
                .layer_root = start->layer_root,
                .lower = start->lower,
                .upper = start->upper,
                .work = start->work,
                .discard = start->discard,
                .target = root,
        };
        int r = mount_overlay(&overlay, ret_error);

        plan->overlay_mounted = r >= 0;
        return r;
}

int runtime_plan_mount_root(RuntimePlan *plan, const char *root, Error *ret_error)
{
        const RuntimeStart *start = plan->start;
        int r = plan_mount_overlay(plan, root, ret_error);

        if (r >= 0 && start->prepare_mounts)
                r = start->prepare_mounts(root, start->userdata, ret_error);
        return r;
}

int runtime_plan_prepare(const RuntimeStart *start, RuntimePlan *plan, Error *ret_error)
{
        const char *root;
        int r;

        plan->start = start;
        plan->config = start->config;
        root = json_get_string_or(json_get_object(plan->config, "root"), "path", "");
        r = plan_read(plan, ret_error);
        if (r >= 0)
                r = runtime_plan_mount_root(plan, root, ret_error);
        for (size_t i = 0; r >= 0 && i < plan->n_mounts; i++)
                r = mount_entry_open(plan->mounts + i, ret_error);
        if (r >= 0)
                r = plan_go_inside(plan, root, ret_error);
        if (r >= 0)
                r = runtime_plan_home(plan);
        if (r >= 0 && start->setup_network && plan->namespaces.fds[RUNTIME_NS_NETWORK] >= 0)
                r = start->setup_network(plan->namespaces.fds[RUNTIME_NS_NETWORK], start->userdata, ret_error);
        return r > 0 ? -EIO : r;
}
