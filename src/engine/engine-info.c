/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What GET /info and GET /version say of the host and the engine. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <systemd/sd-id128.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"
#include "engine-runtime.h"

#define API_VERSION "1.51"
#define API_VERSION_MINIMUM "1.24"
#define ENGINE_APPLICATION SD_ID128_MAKE(9d, c2, 5a, 84, 1e, 6f, 4b, 0b, a3, 57, 20, 6e, f1, 43, 88, d5)
#define CGROUP_CONTROLLERS "/sys/fs/cgroup/cgroup.controllers"

static const char *go_architecture(const char *machine)
{
        if (str_equal(machine, "x86_64"))
                return "amd64";
        return str_equal(machine, "aarch64") ? "arm64" : machine;
}

bool engine_is_experimental(const Engine *engine)
{
        return engine->config->experimental;
}

json_t *engine_version(const Engine *engine)
{
        struct utsname host;
        uname(&host);
        const char *architecture = go_architecture(host.machine);
        const char *experimental = engine_is_experimental(engine) ? "true" : "false";

        json_t *version =
                json_pack("{s{ss} s[{ss ss s{ss ss ss ss ss ss}}] ss ss ss ss ss ss ss ss}", "Platform", "Name",
                          "Berth", "Components", "Name", "Engine", "Version", BERTH_VERSION, "Details", "ApiVersion",
                          API_VERSION, "Arch", architecture, "Experimental", experimental, "KernelVersion",
                          host.release, "MinAPIVersion", API_VERSION_MINIMUM, "Os", "linux", "Version", BERTH_VERSION,
                          "ApiVersion", API_VERSION, "MinAPIVersion", API_VERSION_MINIMUM, "GitCommit", "", "GoVersion",
                          "", "Os", "linux", "Arch", architecture, "KernelVersion", host.release);
        if (engine_is_experimental(engine))
                json_set_bool(version, "Experimental", true);
        return version;
}

/* --- The host ------------------------------------------------------------------------------------------------------
 */

/* The value of a variable of /etc/os-release, or FALLBACK. */
static char *os_release(const char *variable, const char *fallback)
{
        CLEANUP_FREE char *text = NULL;
        char *rest, *line;

        if (file_read_at(AT_FDCWD, "/etc/os-release", 65536, &text, NULL) < 0)
                return strdup(fallback);
        for (rest = text; (line = strsep(&rest, "\n"));) {
                const char *value = str_after_prefix(line, variable);
                if (!value || *value != '=')
                        continue;
                value += value[1] == '"' ? 2 : 1;
                return strndup(value, strcspn(value, "\""));
        }
        return strdup(fallback);
}

static bool switched_on(const char *path)
{
        CLEANUP_FREE char *text = NULL;

        return file_read_at(AT_FDCWD, path, 64, &text, NULL) >= 0 && text[0] == '1';
}

static json_t *host_members(const Engine *engine)
{
        struct utsname host;
        struct sysinfo memory;
        CLEANUP_FREE char *system = os_release("PRETTY_NAME", "Linux"), *version = os_release("VERSION_ID", "");
        char now[TIME_RFC3339_SIZE];

        uname(&host);
        sysinfo(&memory);
        return json_pack("{ss ss ss* ss* ss ss sI si ss ss ss ss ss ss ss ss sb sb sb}", "Name", host.nodename,
                         "KernelVersion", host.release, "OperatingSystem", system, "OSVersion", version, "OSType",
                         "linux", "Architecture", host.machine, "MemTotal",
                         (json_int_t) memory.totalram * memory.mem_unit, "NCPU", get_nprocs(), "DockerRootDir",
                         engine->config->data_root, "CgroupDriver", "systemd", "CgroupVersion", "2", "LoggingDriver",
                         engine->config->log_driver, "DefaultRuntime", engine->config->runtime, "Driver", "overlay2",
                         "ServerVersion", BERTH_VERSION, "SystemTime", time_format_rfc3339(time_now_ns(), now),
                         "IPv4Forwarding", switched_on("/proc/sys/net/ipv4/ip_forward"), "BridgeNfIptables",
                         switched_on("/proc/sys/net/bridge/bridge-nf-call-iptables"), "BridgeNfIp6tables",
                         switched_on("/proc/sys/net/bridge/bridge-nf-call-ip6tables"));
}

/* Which limits the host can keep, and a warning for each that it can't. */
static int add_limits(json_t *info, json_t *warnings)
{
        static const struct {
                const char *controller, *member, *warning;
        } limits[] = {
                { "memory", "MemoryLimit", "WARNING: No memory limit support" },
                { "memory", "SwapLimit", "WARNING: No swap limit support" },
                { "cpu", "CpuCfsQuota", "WARNING: No cpu cfs quota support" },
                { "cpu", "CpuCfsPeriod", "WARNING: No cpu cfs period support" },
                { "cpu", "CPUShares", "WARNING: No cpu shares support" },
                { "cpuset", "CPUSet", "WARNING: No cpuset support" },
                { "pids", "PidsLimit", NULL },
                { "io", NULL, "WARNING: No io.weight support" },
                { "io", NULL, "WARNING: No io.weight (per device) support" },
                { "io", NULL, "WARNING: No io.max (rbps) support" },
                { "io", NULL, "WARNING: No io.max (wbps) support" },
                { "io", NULL, "WARNING: No io.max (riops) support" },
                { "io", NULL, "WARNING: No io.max (wiops) support" },
        };
        CLEANUP_FREE char *text = NULL;
        CLEANUP_STRV char **controllers = NULL;
        char *rest, *word;

        if (file_read_at(AT_FDCWD, CGROUP_CONTROLLERS, 4096, &text, NULL) >= 0)
                for (rest = text; (word = strsep(&rest, " \n"));)
                        strv_append(&controllers, word);
        for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
                bool there = strv_contains(controllers, limits[i].controller);

                if (limits[i].member && json_set_bool(info, limits[i].member, there) < 0)
                        return -ENOMEM;
                if (!there && limits[i].warning && json_array_append_new(warnings, json_string(limits[i].warning)) < 0)
                        return -ENOMEM;
        }
        if (!json_is_true(json_object_get(info, "IPv4Forwarding")))
                json_array_append_new(warnings, json_string("WARNING: IPv4 forwarding is disabled"));
        return json_set_bool(info, "OomKillDisable", false);
}

/* --- The engine ----------------------------------------------------------------------------------------------------
 */

/* The same as long as the host keeps its machine ID. */
static json_t *engine_id(void)
{
        sd_id128_t id = SD_ID128_NULL;

        (void) sd_id128_get_machine_app_specific(ENGINE_APPLICATION, &id);
        return json_sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                            SD_ID128_FORMAT_VAL(id));
}

static const char *file_system_name(const char *path)
{
        static const struct {
                unsigned long magic;
                const char *name;
        } names[] = { { EXT4_SUPER_MAGIC, "extfs" },          { XFS_SUPER_MAGIC, "xfs" },
                      { BTRFS_SUPER_MAGIC, "btrfs" },         { TMPFS_MAGIC, "tmpfs" },
                      { OVERLAYFS_SUPER_MAGIC, "overlayfs" }, { F2FS_SUPER_MAGIC, "f2fs" } };
        struct statfs about;

        if (statfs(path, &about) < 0)
                return "<unknown>";
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if ((unsigned long) about.f_type == names[i].magic)
                        return names[i].name;
        return "<unknown>";
}

static json_t *driver_status(const Engine *engine)
{
        return json_pack("[[ss] [ss] [ss] [ss] [ss]]", "Backing Filesystem",
                         file_system_name(engine->config->data_root), "Supports d_type", "true", "Using metacopy",
                         "false", "Native Overlay Diff", "true", "userxattr", "false");
}

static json_t *labels(const Engine *engine)
{
        json_t *array = json_array();

        for (char **label = engine->config->labels; label && *label; label++)
                json_array_append_new(array, json_string(*label));
        return array;
}

static int open_descriptors(void)
{
        CLEANUP_CLOSEDIR DIR *directory = opendir("/proc/self/fd");
        int n = -3; /* ".", ".." and this one */

        while (directory && readdir(directory))
                n++;
        return MAX(n, 0);
}

static json_t *engine_members(const Engine *engine)
{
        return json_pack("{so so so sb sb si si si sb so so s{s[s] s[sss] sn s[ssss]} s[ss] ss ss}", "ID", engine_id(),
                         "DriverStatus", driver_status(engine), "Labels", labels(engine), "Debug",
                         engine->config->debug, "ExperimentalBuild", engine->config->experimental, "NFd",
                         open_descriptors(), "NGoroutines", 1, "NEventsListener", 0, "LiveRestoreEnabled", 1,
                         "CDISpecDirs", json_from_strv(engine->config->cdi_directories), "Runtimes",
                         runtime_list(engine->config), "Plugins", "Volume", "local", "Network", "bridge", "host",
                         "none", "Authorization", "Log", "journald", "json-file", "local", "none", "SecurityOptions",
                         "name=seccomp,profile=builtin", "name=cgroupns", "InitBinary", "berth-init", "Isolation", "");
}

static json_t *proxy(const char *upper, const char *lower)
{
        return json_string(getenv(upper) ?: getenv(lower) ?: "");
}

/* Members that say where images come from, and of what the engine does not have. */
static json_t *constant_members(void)
{
        return json_pack("{ss s{sn sn s[s] s{s{ss s[] sb sb}} sn} sn so so so s{ss ss} s{ss ss} s{ss ss} "
                         "s{ss ss ss sb ss sn}}",
                         "IndexServerAddress", "https://index.docker.io/v1/", "RegistryConfig",
                         "AllowNondistributableArtifactsCIDRs", "AllowNondistributableArtifactsHostnames",
                         "InsecureRegistryCIDRs", "127.0.0.0/8", "IndexConfigs", "docker.io", "Name", "docker.io",
                         "Mirrors", "Secure", 1, "Official", 1, "Mirrors", "GenericResources", "HttpProxy",
                         proxy("HTTP_PROXY", "http_proxy"), "HttpsProxy", proxy("HTTPS_PROXY", "https_proxy"),
                         "NoProxy", proxy("NO_PROXY", "no_proxy"), "ContainerdCommit", "ID", "", "Expected", "",
                         "RuncCommit", "ID", "", "Expected", "", "InitCommit", "ID", "", "Expected", "", "Swarm",
                         "NodeID", "", "NodeAddr", "", "LocalNodeState", "inactive", "ControlAvailable", 0, "Error", "",
                         "RemoteManagers");
}

static json_t *counts(Engine *engine)
{
        const Container *container;
        int running = 0, paused = 0, stopped = 0;
        CLEANUP_JSON json_t *images = NULL;

        LIST_FOREACH(container, &engine->containers, link)
                ++*(!container_is_running(container) ? &stopped : container->paused ? &paused : &running);
        store_list(engine->store, &(StoreListOptions) { 0 }, NULL, &images, NULL);
        return json_pack("{si si si si si}", "Containers", running + paused + stopped, "ContainersRunning", running,
                         "ContainersPaused", paused, "ContainersStopped", stopped, "Images",
                         (int) json_array_size(images));
}

json_t *engine_info(Engine *engine)
{
        CLEANUP_JSON json_t *info = host_members(engine), *warnings = json_array(), *numbers = counts(engine),
                            *own = engine_members(engine), *constant = constant_members();

        if (json_object_update(info, numbers) < 0 || json_object_update(info, own) < 0 ||
            json_object_update(info, constant) < 0 || add_limits(info, warnings) < 0)
                return NULL;
        if (json_array_size(warnings) > 0)
                json_object_set(info, "Warnings", warnings);
        else
                json_object_set_new(info, "Warnings", json_null());
        return TAKE_PTR(info);
}
