#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many containers at once, BERTH_CONTAINERS of them (20), and what they cost; settings over BERTH_RELOADS daemon-reloads (100).
Runs as root in a booted host; too long for a group of run.sh: "bash tests/system/run.sh test_many.py"."""
import concurrent.futures
import glob
import os
import re
import subprocess
import time
import unittest

import hosted
from hosted import call, run

CONTAINERS = int(os.environ.get("BERTH_CONTAINERS", "20"))
RELOADS = int(os.environ.get("BERTH_RELOADS", "100"))
AT_ONCE = 8
# Nothing of memory or processors: the host has no such controllers, and vm_limits.py looks at those.
LIMITS = ("--ulimit", "nofile=77:99", "--oom-score-adj", "55", "--stop-timeout", "7", "--stop-signal", "INT", "--init")
# What says how a unit goes, not what it is.
CHANGING = re.compile(r"(NSec|Current|Peak|Available|Bytes|Operations|Packets|TasksCurrent|MemoryCurrent|NRestarts)=|^(IP|IO)\w+(Bytes|Operations)=|"
                      r"^(EffectiveMemory|EffectiveTasks)\w*=|^NeedDaemonReload=")
MEASURES = re.compile(r"\.(stat|events|current|pressure|peak|local)$|cgroup\.(procs|threads|kill)$|\.events\.local$|memory\.reclaim$")


def settings(identity):
    """Everything that systemd and the kernel hold fixed for a container."""
    unit = f"berth-{identity}.scope"
    found = {"unit": [line for line in run("systemctl", "show", unit).splitlines() if not CHANGING.search(line)]}
    for path in glob.glob(f"{hosted.SLICE}/{unit}/**", recursive=True):
        if os.path.isfile(path) and not MEASURES.search(path):
            try:
                with open(path, encoding="ascii") as file:
                    found[path] = file.read()
            except OSError:
                continue
    return found


def processes(identity):
    with open(f"{hosted.SLICE}/berth-{identity}.scope/payload/cgroup.procs", encoding="ascii") as file:
        return file.read()


def ticks(pid):
    """Processor time used so far, in seconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def monitors():
    """The number of them, and their proportional share of memory together, in KiB."""
    count = total = 0
    for path in glob.glob("/proc/[0-9]*"):
        try:
            with open(path + "/comm", encoding="ascii", errors="replace") as comm:
                if comm.read().strip() != "berth-monitor" or hosted.holds_scope(path.split("/")[2]):
                    continue
            with open(path + "/smaps_rollup", encoding="ascii") as lines:
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            count += 1
        except OSError:
            continue
    return count, total


class Many(unittest.TestCase):
    def setUp(self):
        hosted.load_images()
        hosted.remove_all()
        self.addCleanup(hosted.remove_all)

    def test_limits_over_daemon_reloads(self):
        names = ["plain", "limited"]
        for name in names:
            run("docker", "run", "-d", "--name", name, *(LIMITS if name == "limited" else ()), "busybox", "sleep", "10000")
        identities = [run("docker", "inspect", "-f", "{{.Id}}", name).strip() for name in names]
        before = [settings(identity) for identity in identities]
        running = [processes(identity) for identity in identities]
        for line in ("TimeoutStopUSec=17s", "Slice=berth.slice", "Delegate=yes"):
            self.assertIn(line, before[1]["unit"])
        for _ in range(RELOADS):
            run("systemctl", "daemon-reload")
        for i, identity in enumerate(identities):
            after = settings(identity)
            for key in before[i]:
                self.assertEqual(after.get(key), before[i][key], (names[i], key))
            self.assertEqual(processes(identity), running[i])
        self.assertEqual(run("docker", "exec", "limited", "sh", "-c", "ulimit -n; cat /proc/1/oom_score_adj"), "77\n55\n")

    def test_many_at_once(self):
        def start(i):
            body = {"Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": "none"}}
            made = call("POST", f"/containers/create?name=many-{i}", body)
            self.assertEqual(made.status, 201, made.body)
            begun = call("POST", f"/containers/many-{i}/start")
            self.assertEqual(begun.status, 204, begun.body)
        first, begin = ticks(1), time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(start, range(CONTAINERS)))
        took = time.monotonic() - begin
        print(f"{CONTAINERS} containers: {CONTAINERS / took:.1f} starts a second; process 1 had {(ticks(1) - first) / took:.0%} of a processor",
              flush=True)
        begin = time.monotonic()
        listed = run("docker", "ps", "-q", timeout=600).split()
        print(f"docker ps: {time.monotonic() - begin:.2f} s", flush=True)
        self.assertEqual(len(listed), CONTAINERS)
        count, total = monitors()
        self.assertEqual(count, CONTAINERS)
        print(f"monitors: {total / 1024:.0f} MiB together, {total / count:.0f} KiB each", flush=True)
        first, begin = ticks(1), time.monotonic()
        time.sleep(5)
        took = time.monotonic() - begin
        print(f"while they sleep process 1 has {(ticks(1) - first) / took:.1%} of a processor", flush=True)
        for i in (0, CONTAINERS // 2, CONTAINERS - 1):
            self.assertEqual(run("docker", "exec", f"many-{i}", "echo", "alive"), "alive\n")
        begin = time.monotonic()
        subprocess.run(["docker", "rm", "-f", *listed], check=True, capture_output=True, timeout=1200)
        print(f"removals: {CONTAINERS / (time.monotonic() - begin):.1f} a second", flush=True)
        self.assertEqual(run("docker", "ps", "-aq"), "")


if __name__ == "__main__":
    unittest.main()
