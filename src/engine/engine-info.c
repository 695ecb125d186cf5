/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What GET /info and GET /version say of the host and the engine. */
#include <fcntl.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define API_VERSION "1.51"
#define API_VERSION_MINIMUM "1.24"

static const char *go_architecture(const char *machine)
{
        if (str_equal(machine, "x86_64"))
                return "amd64";
        return str_equal(machine, "aarch64") ? "arm64" : machine;
}

json_t *engine_version(void)
{
        struct utsname host;
        uname(&host);
        const char *architecture = go_architecture(host.machine);

        return json_pack("{s{ss} s[{ss ss s{ss ss ss ss ss ss}}] ss ss ss ss ss ss ss ss ss}", "Platform", "Name",
                         "Berth", "Components", "Name", "Engine", "Version", BERTH_VERSION, "Details", "ApiVersion",
                         API_VERSION, "Arch", architecture, "KernelVersion", host.release, "MinAPIVersion",
                         API_VERSION_MINIMUM, "Os", "linux", "Experimental", "false", "Version", BERTH_VERSION,
                         "ApiVersion", API_VERSION, "MinAPIVersion", API_VERSION_MINIMUM, "GitCommit", "", "GoVersion",
                         "", "Os", "linux", "Arch", architecture, "KernelVersion", host.release, "BuildTime", "");
}

static char *operating_system(void)
{
        CLEANUP_FREE char *text = NULL;
        char name[256];

        if (file_read_at(AT_FDCWD, "/etc/os-release", 65536, &text, NULL) >= 0) {
                const char *line = strstr(text, "PRETTY_NAME=\"");
                if (line && sscanf(line, "PRETTY_NAME=\"%255[^\"]", name) == 1)
                        return strdup(name);
        }
        return strdup("Linux");
}

static json_t *host_members(const Engine *engine)
{
        struct utsname host;
        struct sysinfo memory;
        CLEANUP_FREE char *system = operating_system();

        uname(&host);
        sysinfo(&memory);
        return json_pack("{ss ss ss* ss ss sI si ss ss ss ss ss ss ss}", "Name", host.nodename, "KernelVersion",
                         host.release, "OperatingSystem", system, "OSType", "linux", "Architecture", host.machine,
                         "MemTotal", (json_int_t) memory.totalram * memory.mem_unit, "NCPU", get_nprocs(),
                         "DockerRootDir", engine->config->data_root, "CgroupDriver", "systemd", "CgroupVersion", "2",
                         "LoggingDriver", engine->config->log_driver, "DefaultRuntime", "berth", "Driver", "overlay2",
                         "ServerVersion", BERTH_VERSION);
}

json_t *engine_info(Engine *engine)
{
        const Container *container;
        int running = 0, stopped = 0;
        CLEANUP_JSON json_t *images = NULL;

        LIST_FOREACH(container, &engine->containers, link)
                container_is_running(container) ? running++ : stopped++;
        engine_image_list(engine, false, false, NULL, &images, NULL);
        json_t *info = host_members(engine);
        CLEANUP_JSON json_t *more = json_pack(
                "{ss si si si si si sb sb sb sb sb sb sb sb s{s{ss}} s{s[] s[sss] sn s[ss]} s[s] s{ss}}", "ID", "berth",
                "Containers", running + stopped, "ContainersRunning", running, "ContainersPaused", 0,
                "ContainersStopped", stopped, "Images", (int) json_array_size(images), "MemoryLimit", 1, "SwapLimit", 1,
                "CpuCfsPeriod", 1, "CpuCfsQuota", 1, "CPUShares", 1, "PidsLimit", 1, "IPv4Forwarding", 1,
                "LiveRestoreEnabled", 1, "Runtimes", "berth", "path", "berthd", "Plugins", "Volume", "Network",
                "bridge", "host", "none", "Authorization", "Log", "journald", "none", "SecurityOptions",
                "name=seccomp,profile=builtin", "Swarm", "LocalNodeState", "inactive");
        if (info && more)
                json_object_update(info, more);
        return info;
}
