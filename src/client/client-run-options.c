/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every option of `run` and `create`, and the field of the create request it is, where it is one. Nothing but
 * tables. */
#include "client-run.h"

#define OPTION(letter, name, kind, label, fallback, help, field, check) \
        { letter, name, OPTION_##kind, label, fallback, help, field, check, false }
#define HIDDEN(letter, name, kind, label, fallback, help, field, check) \
        { letter, name, OPTION_##kind, label, fallback, help, field, check, true }

#define OPTIONS_A_TO_D                                                                                               \
        OPTION(0, "add-host", LIST, "list", NULL, "Add a line to /etc/hosts (host:ip)", NULL, client_check_host),    \
                OPTION(0, "annotation", MAP, "map", NULL, "Add an annotation, passed through to the OCI runtime",    \
                       "HostConfig.Annotations", NULL),                                                              \
                OPTION('a', "attach", LIST, "list", NULL, "Attach to STDIN, STDOUT or STDERR", NULL,                 \
                       client_check_attach),                                                                         \
                OPTION(0, "blkio-weight", UINT16, "uint16", "0", "Weight of block IO, 10 to 1000, or 0 for none",    \
                       "HostConfig.BlkioWeight", NULL),                                                              \
                OPTION(0, "blkio-weight-device", LIST, "list", NULL, "Weight of block IO of a device (path:weight)", \
                       NULL, client_check_throttle),                                                                 \
                OPTION(0, "cap-add", LIST, "list", NULL, "Add Linux capabilities", "HostConfig.CapAdd", NULL),       \
                OPTION(0, "cap-drop", LIST, "list", NULL, "Drop Linux capabilities", "HostConfig.CapDrop", NULL),    \
                OPTION(0, "cgroup-parent", STRING, "string", NULL, "Parent cgroup or slice",                         \
                       "HostConfig.CgroupParent", NULL),                                                             \
                OPTION(0, "cgroupns", STRING, "string", NULL, "Cgroup namespace: host or private",                   \
                       "HostConfig.CgroupnsMode", NULL),                                                             \
                OPTION(0, "cidfile", STRING, "string", NULL, "Write the container's ID to this file",                \
                       "HostConfig.ContainerIDFile", NULL),                                                          \
                OPTION(0, "cpu-count", INT, "int", NULL, "CPU count (Windows only)", "HostConfig.CpuCount", NULL),   \
                OPTION(0, "cpu-percent", INT, "int", NULL, "CPU percent (Windows only)", "HostConfig.CpuPercent",    \
                       NULL),                                                                                        \
                OPTION(0, "cpu-period", INT, "int", NULL, "Period of the CPU quota in microseconds",                 \
                       "HostConfig.CpuPeriod", NULL),                                                                \
                OPTION(0, "cpu-quota", INT, "int", NULL, "CPU time a period in microseconds", "HostConfig.CpuQuota", \
                       NULL),                                                                                        \
                OPTION(0, "cpu-rt-period", INT, "int", NULL, "Period of the real-time quota in microseconds",        \
                       "HostConfig.CpuRealtimePeriod", NULL),                                                        \
                OPTION(0, "cpu-rt-runtime", INT, "int", NULL, "Real-time CPU time a period in microseconds",         \
                       "HostConfig.CpuRealtimeRuntime", NULL),                                                       \
                OPTION('c', "cpu-shares", INT, "int", NULL, "Relative weight of CPU time", "HostConfig.CpuShares",   \
                       NULL),                                                                                        \
                OPTION(0, "cpus", DECIMAL, "decimal", NULL, "Number of CPUs", "HostConfig.NanoCpus", NULL),          \
                OPTION(0, "cpuset-cpus", STRING, "string", NULL, "CPUs it may run on (0-3, 0,1)",                    \
                       "HostConfig.CpusetCpus", NULL),                                                               \
                OPTION(0, "cpuset-mems", STRING, "string", NULL, "Memory nodes it may use (0-3, 0,1)",               \
                       "HostConfig.CpusetMems", NULL)

#define OPTIONS_DEVICES                                                                                             \
        OPTION(0, "device", LIST, "list", NULL, "Add a host device (host[:container[:rwm]])", NULL, NULL),          \
                OPTION(0, "device-cgroup-rule", LIST, "list", NULL, "Add a rule to the list of allowed devices",    \
                       "HostConfig.DeviceCgroupRules", NULL),                                                       \
                OPTION(0, "device-read-bps", LIST, "list", NULL,                                                    \
                       "Limit bytes read a second from a device (path:rate)", NULL, client_check_rate),             \
                OPTION(0, "device-read-iops", LIST, "list", NULL, "Limit reads a second from a device (path:rate)", \
                       NULL, client_check_throttle),                                                                \
                OPTION(0, "device-write-bps", LIST, "list", NULL,                                                   \
                       "Limit bytes written a second to a device (path:rate)", NULL, client_check_rate),            \
                OPTION(0, "device-write-iops", LIST, "list", NULL, "Limit writes a second to a device (path:rate)", \
                       NULL, client_check_throttle),                                                                \
                OPTION(0, "disable-content-trust", BOOL, NULL, "true", "Do not ask for signatures", NULL, NULL),    \
                OPTION(0, "dns", LIST, "list", NULL, "Name servers", "HostConfig.Dns", client_check_address),       \
                HIDDEN(0, "dns-opt", LIST, "list", NULL, "Old name of --dns-option", NULL, NULL),                   \
                OPTION(0, "dns-option", LIST, "list", NULL, "Resolver options", NULL, NULL),                        \
                OPTION(0, "dns-search", LIST, "list", NULL, "Domains that short names are looked up in",            \
                       "HostConfig.DnsSearch", NULL),                                                               \
                OPTION(0, "domainname", STRING, "string", NULL, "NIS domain name", "Domainname", NULL)

#define OPTIONS_E_TO_L                                                                                                 \
        OPTION(0, "entrypoint", STRING, "string", NULL, "Replace the image's entrypoint", NULL, NULL),                 \
                OPTION('e', "env", LIST, "list", NULL, "Set environment variables", NULL, client_check_env),           \
                OPTION(0, "env-file", LIST, "list", NULL, "Read environment variables from a file", NULL, NULL),       \
                OPTION(0, "expose", LIST, "list", NULL, "Expose a port or a range of ports", NULL, NULL),              \
                OPTION(0, "gpus", LIST, "gpu-request", NULL, "GPUs to add ('all' for all of them)", NULL,              \
                       client_check_gpus),                                                                             \
                OPTION(0, "group-add", LIST, "list", NULL, "Further groups to join", "HostConfig.GroupAdd", NULL),     \
                OPTION(0, "health-cmd", STRING, "string", NULL, "Command that checks health", NULL, NULL),             \
                OPTION(0, "health-interval", DURATION, "duration", "0s", "Time between checks (ms|s|m|h)", NULL,       \
                       NULL),                                                                                          \
                OPTION(0, "health-retries", INT, "int", NULL, "Failures in a row that make it unhealthy", NULL, NULL), \
                OPTION(0, "health-start-interval", DURATION, "duration", "0s",                                         \
                       "Time between checks during the start period (ms|s|m|h)", NULL, NULL),                          \
                OPTION(0, "health-start-period", DURATION, "duration", "0s",                                           \
                       "Time to get ready before failures count (ms|s|m|h)", NULL, NULL),                              \
                OPTION(0, "health-timeout", DURATION, "duration", "0s", "Longest time a check may take (ms|s|m|h)",    \
                       NULL, NULL),                                                                                    \
                OPTION('h', "hostname", STRING, "string", NULL, "Host name", "Hostname", NULL),                        \
                OPTION(0, "init", BOOL, NULL, NULL, "Run an init that forwards signals and reaps processes",           \
                       "HostConfig.Init", NULL),                                                                       \
                OPTION('i', "interactive", BOOL, NULL, NULL, "Keep STDIN open even if not attached", NULL, NULL),      \
                OPTION(0, "io-maxbandwidth", BYTES, "bytes", NULL, "IO bandwidth of the system drive (Windows only)",  \
                       "HostConfig.IOMaximumBandwidth", NULL),                                                         \
                OPTION(0, "io-maxiops", INT, "uint", NULL, "IOps of the system drive (Windows only)",                  \
                       "HostConfig.IOMaximumIOps", NULL),                                                              \
                OPTION(0, "ip", STRING, "string", NULL, "IPv4 address (e.g., 172.30.100.104)", NULL, NULL),            \
                OPTION(0, "ip6", STRING, "string", NULL, "IPv6 address (e.g., 2001:db8::33)", NULL, NULL),             \
                OPTION(0, "ipc", STRING, "string", NULL, "IPC namespace to use", "HostConfig.IpcMode", NULL),          \
                OPTION(0, "isolation", STRING, "string", NULL, "Isolation technology", "HostConfig.Isolation", NULL),  \
                OPTION(0, "kernel-memory", BYTES, "bytes", NULL, "Kernel memory limit", "HostConfig.KernelMemory",     \
                       NULL),                                                                                          \
                OPTION('l', "label", LIST, "list", NULL, "Set a label", NULL, NULL),                                   \
                OPTION(0, "label-file", LIST, "list", NULL, "Read labels from a file, one a line", NULL, NULL),        \
                OPTION(0, "link", LIST, "list", NULL, "Add a link to another container", NULL, client_check_link),     \
                OPTION(0, "link-local-ip", LIST, "list", NULL, "Link-local addresses", NULL, client_check_address),    \
                OPTION(0, "log-driver", STRING, "string", NULL, "Logging driver", "HostConfig.LogConfig.Type", NULL),  \
                OPTION(0, "log-opt", MAP, "list", NULL, "Options of the logging driver",                               \
                       "HostConfig.LogConfig.Config", NULL)

#define OPTIONS_M_TO_P                                                                                                 \
        OPTION(0, "mac-address", STRING, "string", NULL, "MAC address (e.g., 92:d0:c6:0a:29:33)", NULL, NULL),         \
                OPTION('m', "memory", BYTES, "bytes", NULL, "Memory limit", "HostConfig.Memory", NULL),                \
                OPTION(0, "memory-reservation", BYTES, "bytes", NULL, "Soft memory limit",                             \
                       "HostConfig.MemoryReservation", NULL),                                                          \
                OPTION(0, "memory-swap", BYTES, "bytes", NULL,                                                         \
                       "Limit of memory and swap together: '-1' for unlimited swap", "HostConfig.MemorySwap", NULL),   \
                OPTION(0, "memory-swappiness", INT, "int", "-1", "Inclination to swap (0 to 100)",                     \
                       "HostConfig.MemorySwappiness", NULL),                                                           \
                OPTION(0, "mount", LIST, "mount", NULL, "Mount something (type=,source=,target=,...)", NULL,           \
                       client_check_mount),                                                                            \
                OPTION(0, "name", STRING, "string", NULL, "Name of the container", NULL, NULL),                        \
                HIDDEN(0, "net", LIST, "network", NULL, "Old name of --network", NULL, NULL),                          \
                HIDDEN(0, "net-alias", LIST, "list", NULL, "Old name of --network-alias", NULL, NULL),                 \
                OPTION(0, "network", LIST, "network", NULL, "Connect to a network", NULL, NULL),                       \
                OPTION(0, "network-alias", LIST, "list", NULL, "Further name on the network", NULL, NULL),             \
                OPTION(0, "no-healthcheck", BOOL, NULL, NULL, "Disable the image's health check", NULL, NULL),         \
                OPTION(0, "oom-kill-disable", BOOL, NULL, NULL, "Disable the OOM killer", "HostConfig.OomKillDisable", \
                       NULL),                                                                                          \
                OPTION(0, "oom-score-adj", INT, "int", NULL, "Change of the OOM score (-1000 to 1000)",                \
                       "HostConfig.OomScoreAdj", NULL),                                                                \
                OPTION(0, "pid", STRING, "string", NULL, "PID namespace to use", "HostConfig.PidMode", NULL),          \
                OPTION(0, "pids-limit", INT, "int", NULL, "Most processes it may have (-1 for unlimited)",             \
                       "HostConfig.PidsLimit", NULL),                                                                  \
                OPTION(0, "platform", STRING, "string", NULL, "Platform of the image (os[/arch[/variant]])", NULL,     \
                       NULL),                                                                                          \
                OPTION(0, "privileged", BOOL, NULL, NULL, "Give it nearly all rights of the host's root",              \
                       "HostConfig.Privileged", NULL),                                                                 \
                OPTION('p', "publish", LIST, "list", NULL,                                                             \
                       "Publish a port on the host ([ip:][host:]container[/protocol])", NULL, NULL),                   \
                OPTION('P', "publish-all", BOOL, NULL, NULL, "Publish all exposed ports on random ports",              \
                       "HostConfig.PublishAllPorts", NULL),                                                            \
                OPTION(0, "pull", STRING, "string", "missing",                                                         \
                       "Pull the image before (\"always\", \"missing\", \"never\")", NULL, NULL)

#define OPTIONS_Q_TO_Z                                                                                           \
        OPTION('q', "quiet", BOOL, NULL, NULL, "Suppress the output of the pull", NULL, NULL),                   \
                OPTION(0, "read-only", BOOL, NULL, NULL, "Mount the root file system read only",                 \
                       "HostConfig.ReadonlyRootfs", NULL),                                                       \
                OPTION(0, "restart", STRING, "string", "no",                                                     \
                       "When to start it again: no, always, unless-stopped, on-failure[:most]", NULL, NULL),     \
                OPTION(0, "rm", BOOL, NULL, NULL, "Remove the container and its anonymous volumes when it ends", \
                       "HostConfig.AutoRemove", NULL),                                                           \
                OPTION(0, "runtime", STRING, "string", NULL, "Runtime to use", "HostConfig.Runtime", NULL),      \
                OPTION(0, "security-opt", LIST, "list", NULL, "Security options", NULL, NULL),                   \
                OPTION(0, "shm-size", BYTES, "bytes", NULL, "Size of /dev/shm", "HostConfig.ShmSize", NULL)

#define OPTIONS_S_TO_Z                                                                                                 \
        OPTION(0, "stop-signal", STRING, "string", NULL, "Signal that stops the container", "StopSignal", NULL),       \
                OPTION(0, "stop-timeout", INT, "int", NULL, "Seconds it is given to stop", "StopTimeout", NULL),       \
                OPTION(0, "storage-opt", MAP, "list", NULL, "Options of the storage driver", "HostConfig.StorageOpt",  \
                       NULL),                                                                                          \
                OPTION(0, "sysctl", MAP, "map", NULL, "Kernel parameters", "HostConfig.Sysctls", NULL),                \
                OPTION(0, "tmpfs", LIST, "list", NULL, "Mount a tmpfs (path[:options])", NULL, NULL),                  \
                OPTION('t', "tty", BOOL, NULL, NULL, "Allocate a pseudo-TTY", "Tty", NULL),                            \
                OPTION(0, "ulimit", LIST, "ulimit", NULL, "Resource limits (name=soft[:hard])", NULL,                  \
                       client_check_ulimit),                                                                           \
                OPTION('u', "user", STRING, "string", NULL, "User it runs as (<name|uid>[:<group|gid>])", "User",      \
                       NULL),                                                                                          \
                OPTION(0, "userns", STRING, "string", NULL, "User namespace to use", "HostConfig.UsernsMode", NULL),   \
                OPTION(0, "uts", STRING, "string", NULL, "UTS namespace to use", "HostConfig.UTSMode", NULL),          \
                OPTION('v', "volume", LIST, "list", NULL,                                                              \
                       "Mount a host directory or a volume (source:target[:options])", NULL, NULL),                    \
                OPTION(0, "volume-driver", STRING, "string", NULL, "Driver of its volumes", "HostConfig.VolumeDriver", \
                       NULL),                                                                                          \
                OPTION(0, "volumes-from", LIST, "list", NULL, "Mount another container's volumes",                     \
                       "HostConfig.VolumesFrom", NULL),                                                                \
                OPTION('w', "workdir", STRING, "string", NULL, "Working directory", "WorkingDir", NULL)

const ClientOption client_run_options[] = {
        OPTIONS_A_TO_D,
        OPTION('d', "detach", BOOL, NULL, NULL, "Run in the background and print the container's ID", NULL, NULL),
        OPTION(0, "detach-keys", STRING, "string", NULL, "Keys that detach from the container", NULL, NULL),
        OPTIONS_DEVICES,
        OPTIONS_E_TO_L,
        OPTIONS_M_TO_P,
        OPTIONS_Q_TO_Z,
        OPTION(0, "sig-proxy", BOOL, NULL, "true", "Pass signals on to the process", NULL, NULL),
        OPTIONS_S_TO_Z,
        {},
};

const ClientOption client_create_options[] = {
        OPTIONS_A_TO_D, OPTIONS_DEVICES, OPTIONS_E_TO_L, OPTIONS_M_TO_P, OPTIONS_Q_TO_Z, OPTIONS_S_TO_Z, {},
};
