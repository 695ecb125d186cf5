# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of the commands that are about containers, and for each where its effect is shown: the file and the name of a
test, or a text that stands in the file. What begins with "-" is the reason why the tests' hosts can't show it.
test_cli_options.py holds the table against what both clients list, and the names against the files."""

EFFECTS = "test_options.py:test_effects"
FILES = "test_options.py:test_files"
HEALTH = "test_cli_options.py:test_health"
HERE = "test_cli_options.py:"
LIMITS = "vm_limits.py:test_limits_are_visible"
DEVICES = "vm_limits.py:test_block_devices"
QUOTA = "vm_limits.py:test_quota"
UPDATED = "vm_limits.py:test_update"
WINDOWS = "- it is of Windows alone"
REALTIME = "- no Debian kernel has real-time groups: refused, test_options.py:test_refusals"
WEIGHTS = "vm_limits.py:test_weights"

CREATE = {
    "--add-host": EFFECTS, "--annotation": HERE + "test_annotation", "--attach": HERE + "test_attach",
    "--blkio-weight": WEIGHTS, "--blkio-weight-device": WEIGHTS, "--cap-add": EFFECTS, "--cap-drop": EFFECTS,
    "--cgroup-parent": EFFECTS, "--cgroupns": EFFECTS, "--cidfile": FILES, "--cpu-count": WINDOWS, "--cpu-percent": WINDOWS,
    "--cpu-period": QUOTA, "--cpu-quota": QUOTA, "--cpu-rt-period": REALTIME,
    "--cpu-rt-runtime": REALTIME, "--cpu-shares": DEVICES, "--cpus": LIMITS, "--cpuset-cpus": DEVICES,
    "--cpuset-mems": QUOTA, "--device": EFFECTS, "--device-cgroup-rule": EFFECTS, "--device-read-bps": DEVICES,
    "--device-read-iops": DEVICES, "--device-write-bps": DEVICES, "--device-write-iops": DEVICES,
    "--disable-content-trust": HERE + "test_images", "--dns": EFFECTS, "--dns-option": EFFECTS, "--dns-search": EFFECTS,
    "--domainname": EFFECTS, "--entrypoint": EFFECTS, "--env": EFFECTS, "--env-file": FILES, "--expose": HERE + "test_ports",
    "--gpus": "test_options.py:test_described_devices", "--group-add": EFFECTS, "--health-cmd": HEALTH,
    "--health-interval": HEALTH, "--health-retries": HEALTH, "--health-start-interval": HEALTH, "--health-start-period": HEALTH,
    "--health-timeout": HEALTH, "--help": "- it lists the options", "--hostname": EFFECTS, "--init": HERE + "test_init",
    "--interactive": EFFECTS, "--io-maxbandwidth": WINDOWS, "--io-maxiops": WINDOWS, "--ip": HERE + "test_addresses",
    "--ip6": HERE + "test_addresses", "--ipc": EFFECTS,
    "--isolation": "- there is one on Linux: another is refused, test_options.py:test_refusals",
    "--kernel-memory": "- kernels no longer have the limit; no API since 1.42 has the field", "--label": HERE + "test_ps",
    "--label-file": FILES, "--link": "test_dns.py:test_links",
    "--link-local-ip": "- this version gives an interface no further addresses: warned of, test_unhonoured.py",
    "--log-driver": "test_log_drivers.py:test_lines_and_pieces", "--log-opt": "test_log_drivers.py:test_rotation",
    "--mac-address": HERE + "test_addresses", "--memory": LIMITS, "--memory-reservation": DEVICES, "--memory-swap": UPDATED,
    "--memory-swappiness": "- a control of cgroups version 1: warned of, test_options.py:test_warnings", "--mount": EFFECTS,
    "--name": HERE + "test_ps", "--network": EFFECTS, "--network-alias": HERE + "test_addresses",
    "--no-healthcheck": HERE + "test_no_healthcheck",
    "--oom-kill-disable": "- a control of cgroups version 1: warned of, test_options.py:test_warnings",
    "--oom-score-adj": EFFECTS, "--pid": EFFECTS, "--pids-limit": "vm_limits.py:test_fork_bomb",
    "--platform": HERE + "test_images", "--privileged": EFFECTS, "--publish": "test_networks.py:test_published",
    "--publish-all": HERE + "test_ports", "--pull": HERE + "test_images", "--quiet": HERE + "test_images", "--read-only": EFFECTS,
    "--restart": HERE + "test_restart", "--rm": HERE + "test_rm", "--runtime": "test_options.py:test_runtimes",
    "--security-opt": EFFECTS, "--shm-size": EFFECTS, "--stop-signal": HERE + "test_stop",
    "--stop-timeout": HERE + "test_stop",
    "--storage-opt": "vm_limits.py:test_storage_size",
    "--sysctl": EFFECTS, "--tmpfs": EFFECTS, "--tty": HERE + "test_terminal", "--ulimit": EFFECTS, "--user": EFFECTS,
    "--userns": EFFECTS, "--uts": EFFECTS, "--volume": EFFECTS, "--volume-driver": HERE + "test_volume_driver",
    "--volumes-from": "test_volumes.py:test_volumes_from", "--workdir": EFFECTS,
}

RUN = CREATE | {"--detach": FILES, "--detach-keys": HERE + "test_terminal", "--sig-proxy": HERE + "test_signals"}

EXEC = dict.fromkeys(("--detach", "--env", "--env-file", "--interactive", "--privileged", "--tty", "--user", "--workdir"),
                     HERE + "test_exec") | {"--detach-keys": HERE + "test_terminal"}

UPDATE = dict.fromkeys(("--cpus", "--cpu-shares", "--cpuset-cpus", "--memory", "--memory-reservation", "--memory-swap", "--pids-limit"),
                       UPDATED) | {
    "--blkio-weight": WEIGHTS, "--cpu-rt-period": REALTIME, "--cpu-rt-runtime": REALTIME, "--cpu-period": QUOTA,
    "--cpu-quota": QUOTA, "--cpuset-mems": QUOTA, "--restart": HERE + "test_restart",
}

COMMANDS = ("run", "create", "update", "exec", "ps", "logs", "inspect", "cp", "stats", "events")
TABLE = {
    "run": RUN, "create": CREATE, "exec": EXEC, "update": UPDATE,
    "ps": dict.fromkeys(("--all", "--filter", "--format", "--last", "--latest", "--no-trunc", "--quiet", "--size"), HERE + "test_ps"),
    "logs": dict.fromkeys(("--details", "--follow", "--since", "--tail", "--timestamps", "--until"), HERE + "test_logs"),
    "inspect": dict.fromkeys(("--format", "--size", "--type"), HERE + "test_inspect"),
    "cp": dict.fromkeys(("--archive", "--follow-link", "--quiet"), HERE + "test_cp"),
    "stats": dict.fromkeys(("--all", "--format", "--no-stream", "--no-trunc"), HERE + "test_stats"),
    "events": dict.fromkeys(("--filter", "--format", "--since", "--until"), HERE + "test_events"),
}
