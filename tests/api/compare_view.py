#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a container sees of itself and the host, compared with what dockerd's containers see on the same host. Every
difference has to be listed, with its reason."""
import re
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor

import engine
from compare_shapes import BERTH, REFERENCE

# Prints "== name" and then what that is. Nothing here may change the container or depend on the time of day.
PROBE = r"""
say() { echo "== $1"; }
say status; grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|Umask)' /proc/self/status
say identity; id; hostname | wc -c; umask; pwd
say environment; env | grep -v -E '^(SHLVL|_|HOSTNAME)=' | sort
say oom_score_adj; cat /proc/self/oom_score_adj
say descriptors; for fd in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && echo $fd; done
say descriptor types; for fd in 0 1 2; do readlink /proc/$$/fd/$fd | sed 's/[0-9]*\]//; s/[0-9]*$//'; done
say processes; ls /proc 2>/dev/null | grep -E '^[0-9]+$' | sort -n | head -1; tr '\0' ' ' </proc/$$/cmdline | cut -c1-6; echo
say session; cut -d' ' -f5-8 /proc/$$/stat | sed "s/\b$$\b/SELF/g"
say limits; cat /proc/self/limits
say cgroup; cat /proc/self/cgroup
say proc; ls /proc 2>/dev/null | grep -v -E '^[0-9]+$' | sort
say mounts; cut -d' ' -f4- /proc/$$/mountinfo
say dev; ls -lAn /dev | awk 'NR > 1 { print $1, $3, $4, $5, $6, $NF }' | sed 's/ [A-Z][a-z][a-z] / /'
say dev/net etc; ls -ldn /dev /dev/shm /dev/pts /dev/mqueue /proc /sys /sys/fs/cgroup 2>&1 | awk '{ print $1, $3, $4, $NF }'
say root; ls -ldn / /etc /tmp /proc/sys | awk '{ print $1, $3, $4, $NF }'
say etc; ls -ln /etc/hostname /etc/hosts /etc/resolv.conf /.dockerenv 2>&1 | awk '{ print $1, $3, $4, $NF }'
say masked
for path in /proc/asound /proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats \
    /proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap; do
    if [ -d $path ]; then echo $path: directory of $(ls $path 2>/dev/null | wc -l)
    elif [ -e $path ]; then echo $path: file of $(head -c 10 $path 2>/dev/null | wc -c)
    else echo $path: none; fi
done
say writable
for path in /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger /proc/irq/default_smp_affinity \
    /proc/bus/x /proc/fs/x /sys/fs/cgroup/cgroup.procs /sys/kernel/mm/ksm/run \
    /etc/x /x /tmp/x /dev/shm/x /dev/x /proc/self/oom_score_adj; do
    if [ -d ${path%/*} ] && sh -c ": >>$path" 2>/dev/null; then echo "$path: yes"; else echo "$path: no"; fi
done
rm -f /etc/x /x /tmp/x /dev/shm/x /dev/x
say sysctl; for key in $(cd /proc/sys/net; find ipv4/ip_* ipv4/ping_group_range core/somaxconn ipv4/conf/all -type f | sort); do
    echo $key = $(cat /proc/sys/net/$key 2>&1); done
say sysctl kernel; for key in shmmax shmall shmmni sem msgmax msgmnb msgmni domainname; do echo $key = $(cat /proc/sys/kernel/$key); done
say mqueue; cat /proc/sys/fs/mqueue/*
say allowed
mknod /tmp/node c 1 3 2>&1; rm -f /tmp/node
chroot / true 2>&1 && echo chroot; mount -t tmpfs none /tmp 2>&1 && umount /tmp && echo mount; unshare -U true 2>&1 && echo unshare
hostname x 2>&1 && echo hostname; date -s @1 2>&1 | grep -v 1970; chown 5:5 /tmp 2>&1 && chown 0:0 /tmp && echo chown
say terminal; tty | sed 's/[0-9]*$/N/'
"""

CASES = {
    "default": (),
    "privileged": ("--privileged",),
    "user": ("--user", "1000"),
    "user and group": ("--user", "nobody:5", "--group-add", "staff"),
    "terminal": ("-t",),
    "no capabilities": ("--cap-drop", "ALL"),
    "capabilities": ("--cap-add", "SYS_ADMIN", "--cap-drop", "CHOWN", "--user", "1000"),
    "no new privileges": ("--security-opt", "no-new-privileges"),
    "unconfined": ("--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"),
    "read-only": ("--read-only",),
    "read-only with tmpfs": ("--read-only", "--tmpfs", "/tmp", "--tmpfs", "/run:size=1m,mode=700"),
    "settings": ("-e", "A=b c", "-w", "/var/tmp", "--hostname", "web.example", "--ulimit", "nofile=100:200",
                 "--oom-score-adj", "500", "--sysctl", "net.ipv4.ip_forward=1", "--shm-size", "1m"),
    "host's": ("--pid", "host", "--ipc", "host", "--uts", "host"),
    "cgroup of the host": ("--cgroupns", "host"),
    "binds": ("-v", "/usr/share:/share:ro", "--mount", "type=tmpfs,target=/scratch,tmpfs-size=65536", "--device", "/dev/fuse"),
}

# Section, pattern of a line, reason: lines that only one of the two shows.
DIFFERENCES = [
    ("mounts", r"^[+-] / / r[ow],relatime - overlay overlay",
     "uuid=on: the kernel gives an overlay its UUID when it is mounted for the first time; dockerd has mounted it before"),
    ("mounts", r"^\+ /null /proc/interrupts ", "masked as well: it tells what else the host does"),
    ("cgroup", r"^\+ 0::/berth\.slice/berth-ID\.scope/payload$", "the scope is in Berth's slice, its processes in a group of their own"),
    ("cgroup", r"^- 0::/system\.slice/docker-ID\.scope$", "as above"),
]


def normal(line, identifier):
    """Without what differs from container to container."""
    line = line.replace(identifier, "ID").replace(identifier[:12], "SHORT")
    line = re.sub(r"/(var/lib/docker/containers/ID|var/lib/berth/container/ID)/", "/STATE/", line)
    line = re.sub(r"(lowerdir|upperdir|workdir)=[^, ]+", r"\1=", line)
    return re.sub(r"\b(master|shared|propagate_from):\d+ ", "", line)


def run(*command):
    result = subprocess.run(command, capture_output=True, timeout=60)
    assert result.returncode == 0, (command, result.stderr)
    return result.stdout.decode(errors="replace")


def view(server, options):
    client = ("docker", "-H", f"unix://{server}")
    identifier = run(*client, "create", "--network", "none", "--label", engine.LABEL, *options, "busybox", "sh", "-c",
                     PROBE).strip()
    result = subprocess.run((*client, "start", "-a", identifier), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    run(*client, "rm", "-f", identifier)
    sections, current = {}, None
    for line in result.stdout.decode(errors="replace").replace("\r", "").splitlines():
        if line.startswith("== "):
            current = sections.setdefault(line[3:], [])
        elif current is None:
            current = sections.setdefault("before", [line])
        else:
            current.append(normal(line, identifier))
    return sections


class View(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        for server in (BERTH, REFERENCE):
            engine.load_busybox(server)
            cls.addClassCleanup(engine.clean_up, server)

    def test_same_as_dockerd(self):
        for name, options in CASES.items():
            with ThreadPoolExecutor() as pool:
                ours, theirs = pool.map(lambda server: view(server, options), (BERTH, REFERENCE))
            self.assertGreater(len(theirs), 20, theirs)
            for section in theirs:
                mine, other = ours.get(section, ["(nothing)"]), theirs[section]
                different = [f"+ {line}" for line in mine if line not in other] + [f"- {line}" for line in other if line not in mine]
                unlisted = [line for line in different
                            if not any(section == where and re.search(pattern, line) for where, pattern, _ in DIFFERENCES)]
                with self.subTest(case=name, section=section):
                    self.assertEqual(unlisted, [])

    def test_namespaces(self):
        """Each is the container's own, or the host's where that was asked for."""
        script = "for ns in cgroup ipc mnt net pid uts user; do readlink /proc/self/ns/$ns; done"
        host = run("sh", "-c", script).split()
        own = run("docker", "-H", f"unix://{BERTH}", "run", "--rm", "--network", "none", "busybox", "sh", "-c", script).split()
        self.assertEqual(set(own) & set(host), {host[-1]}, "only the user namespace is shared")
        shared = run("docker", "-H", f"unix://{BERTH}", "run", "--rm", "--network", "host", "--ipc", "host", "--uts", "host", "--pid", "host", "--cgroupns",
                     "host", "busybox", "sh", "-c", script).split()
        self.assertEqual(set(host) - set(shared), {host[2]}, "all but the mount namespace")

    def test_no_descriptor_leaks(self):
        """Neither in the first process nor, by a name that leads out of it, in any descriptor."""
        for options in ((), ("-t",), ("-i",), ("--privileged",)):
            output = run("docker", "-H", f"unix://{BERTH}", "run", "--rm", *options, "busybox", "sh", "-c", "ls -1 /proc/1/fd; ls -l /proc/1/fd; true")
            descriptors = re.findall(r"^\d+$", output.replace("\r", ""), re.M)
            self.assertEqual(descriptors[:3], ["0", "1", "2"], output)
            self.assertLessEqual(len(descriptors), 3, output)
            self.assertNotRegex(output, "/(run|var/lib)/berth|socket:")


if __name__ == "__main__":
    engine.main()
