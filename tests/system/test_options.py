#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every option of docker run and docker create: what it does in the container, or what inspect says of it, or why that cannot
be shown here. Both clients run each row."""
import json
import os
import re
import subprocess
import tempfile
import unittest

from hosted import Terminal, daemon_pid, load_images, remove_all, run, wait_until

CLIENTS = ("docker", "berth")

# Options, what runs in the container, and what it prints (a regular expression that must be found).
EFFECTS = [
    ("--cap-add", ["--cap-add", "SYS_ADMIN"], "grep CapEff /proc/self/status", r"00000000a82425fb"),
    ("--cap-add", ["--cap-add", "all"], "grep CapEff /proc/self/status", "CAPABILITIES"),
    ("--cap-drop", ["--cap-drop", "ALL"], "grep CapBnd /proc/self/status", r"0000000000000000"),
    ("--cap-drop", ["--cap-drop", "chown"], "touch /x && chown 5 /x", r"not permitted"),
    ("--cgroupns", ["--cgroupns", "private"], "cat /proc/self/cgroup", r"^0::/$"),
    ("--cgroupns", ["--cgroupns", "host"], "cat /proc/self/cgroup", r"^0::/berth\.slice/berth-[0-9a-f]+\.scope/payload$"),
    ("--cgroup-parent", ["--cgroup-parent", "berth-other.slice", "--cgroupns", "host"], "cat /proc/self/cgroup",
     r"^0::/berth\.slice/berth-other\.slice/berth-[0-9a-f]+\.scope/payload$"),
    ("--device", ["--device", "/dev/fuse"], "ls -l /dev/fuse", r"^crw.* 10, 229 .*/dev/fuse$"),
    ("--device", ["--device", "/dev/null:/dev/nothing:r"], "head -c 1 /dev/nothing | wc -c; echo x >/dev/nothing", r"^0\n"),
    ("--device-cgroup-rule", ["--device-cgroup-rule", "c 10:229 rwm"], "mknod /f c 10 229 && exec 3<>/f && echo opened", r"opened"),
    ("--domainname", ["--domainname", "example.org"], "cat /proc/sys/kernel/domainname", r"^example\.org$"),
    ("--entrypoint", ["--entrypoint", "/bin/echo"], "shown", r"^-c shown$"),
    ("--env", ["--env", "A=b c", "-e", "B="], "env", r"(?s)A=b c.*B=\n"),
    ("--group-add", ["--group-add", "staff", "--group-add", "1234"], "id", r"groups=0\(root\),50\(staff\),1234"),
    ("--hostname", ["--hostname", "boat"], "hostname; cat /etc/hostname; echo $HOSTNAME", r"boat\nboat\nboat"),
    ("--interactive", ["-i"], "cat", r"^typed$"),
    ("--ipc", ["--ipc", "private"], "readlink /proc/self/ns/ipc; df /dev/shm | tail -1", r"shm +65536 "),
    ("--ipc", ["--ipc", "none"], "grep -c /dev/shm /proc/mounts", r"^0$"),
    ("--ipc", ["--ipc", "host"], "readlink /proc/self/ns/ipc", "HOST:ipc"),
    ("--mount", ["--mount", "type=tmpfs,dst=/t,tmpfs-size=1m"], "df -k /t | tail -1", r"tmpfs +1024 "),
    ("--network", ["--network", "none"], "ls /sys/class/net", r"^lo$"),
    ("--oom-score-adj", ["--oom-score-adj", "321"], "cat /proc/self/oom_score_adj", r"^321$"),
    ("--pid", ["--pid", "host"], "readlink /proc/self/ns/pid", "HOST:pid"),
    ("--privileged", ["--privileged"], "mount -t tmpfs t /tmp && echo mounted; ls /dev/fuse; touch /proc/sys/net/x",
     r"(?s)mounted.*/dev/fuse.*(No such file|nonexistent)"),
    ("--privileged", ["--privileged"], "grep CapEff /proc/self/status", "CAPABILITIES"),
    ("--read-only", ["--read-only"], "touch /x 2>&1; touch /dev/shm/x && echo shm", r"(?s)Read-only file system.*shm"),
    ("--read-only", ["--read-only", "--tmpfs", "/run"], "touch /run/x && echo wrote", r"wrote"),
    ("--security-opt", ["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status", r"NoNewPrivs:\t1"),
    ("--security-opt", ["--security-opt", "no-new-privileges:false"], "grep NoNewPrivs /proc/self/status", r"NoNewPrivs:\t0"),
    ("--security-opt", ["--security-opt", "seccomp=unconfined"], "grep Seccomp_filters /proc/self/status", "FILTERS+0"),
    ("--security-opt", [], "grep Seccomp_filters /proc/self/status", "FILTERS+1"),
    ("--security-opt", ["--security-opt", "seccomp=/run/profile.json"], "mkdir /made", r"not permitted"),
    ("--security-opt", ["--security-opt", "systempaths=unconfined"], "grep -c -e /proc/kcore -e '/proc/sys ' /proc/mounts", r"^0$"),
    ("--security-opt", ["--security-opt", "label=disable"], "echo fine", r"fine"),
    ("--security-opt", ["--security-opt", "apparmor=unconfined"], "echo fine", r"fine"),
    ("--shm-size", ["--shm-size", "1m"], "df -k /dev/shm | tail -1", r"shm +1024 "),
    ("--sysctl", ["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward", r"^1$"),
    ("--sysctl", [], "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", r"^0$"),
    ("--tmpfs", ["--tmpfs", "/t:size=2m,mode=700,uid=33"], "stat -c '%a %u' /t; df -k /t | tail -1", r"(?s)^700 33\n.* 2048 "),
    ("--ulimit", ["--ulimit", "nofile=100:200", "--ulimit", "core=0"], "ulimit -Sn; ulimit -Hn; ulimit -c", r"^100\n200\n0\n"),
    ("--user", ["--user", "www-data"], "id", r"uid=33\(www-data\) gid=33\(www-data\)"),
    ("--user", ["--user", "33:50"], "id; echo $HOME", r"uid=33\(www-data\) gid=50\(staff\)"),
    ("--user", ["--user", "4321"], "id -u; id -g; echo $HOME", r"^4321\n0\n/\n"),
    ("--userns", ["--userns", "host"], "readlink /proc/self/ns/user", "HOST:user"),
    ("--uts", ["--uts", "host"], "readlink /proc/self/ns/uts", "HOST:uts"),
    ("--volume", ["-v", "/etc:/host:ro"], "ls /host/passwd; touch /host/x", r"(?s)/host/passwd.*Read-only"),
    ("--workdir", ["--workdir", "/new/place"], "pwd", r"^/new/place$"),
    ("--dns", ["--dns", "192.0.2.1"], "cat /etc/resolv.conf", r"nameserver 192\.0\.2\.1"),
    ("--dns-option", ["--dns-option", "ndots:9"], "cat /etc/resolv.conf", r"options.*ndots:9"),
    ("--dns-search", ["--dns-search", "example.net"], "cat /etc/resolv.conf", r"search example\.net"),
    ("--add-host", ["--add-host", "far:192.0.2.7"], "cat /etc/hosts", r"192\.0\.2\.7\s+far"),
]

# Options and what inspect has of them, by the path in its answer.
RECORDS = [
    ("--annotation", ["--annotation", "a=b"], "HostConfig.Annotations", {"a": "b"}),
    ("--attach", ["--attach", "stderr"], "Config.AttachStdout", False),
    ("--expose", ["--expose", "80", "--expose", "90-91/udp"], "Config.ExposedPorts", {"80/tcp": {}, "90/udp": {}, "91/udp": {}}),
    ("--label", ["--label", "a=b", "-l", "c"], "Config.Labels", {"a": "b", "c": ""}),
    ("--log-driver", ["--log-driver", "none"], "HostConfig.LogConfig.Type", "none"),
    ("--log-opt", ["--log-opt", "tag=x"], "HostConfig.LogConfig.Config", {"tag": "x"}),
    ("--name", ["--name", "chosen"], "Name", "/chosen"),
    ("--stop-signal", ["--stop-signal", "SIGINT"], "Config.StopSignal", "SIGINT"),
    ("--stop-timeout", ["--stop-timeout", "7"], "Config.StopTimeout", 7),
    ("--tty", ["--tty"], "Config.Tty", True),
    ("--no-healthcheck", ["--no-healthcheck"], "Config.Healthcheck.Test", ["NONE"]),
    ("--health-cmd", ["--health-cmd", "true"], "Config.Healthcheck.Test", ["CMD-SHELL", "true"]),
    ("--health-interval", ["--health-cmd", "true", "--health-interval", "9s"], "Config.Healthcheck.Interval", 9000000000),
    ("--health-retries", ["--health-cmd", "true", "--health-retries", "4"], "Config.Healthcheck.Retries", 4),
    ("--health-start-interval", ["--health-cmd", "true", "--health-start-interval", "8s"], "Config.Healthcheck.StartInterval", 8000000000),
    ("--health-start-period", ["--health-cmd", "true", "--health-start-period", "8s"], "Config.Healthcheck.StartPeriod", 8000000000),
    ("--health-timeout", ["--health-cmd", "true", "--health-timeout", "8s"], "Config.Healthcheck.Timeout", 8000000000),
    ("--restart", ["--restart", "on-failure:3"], "HostConfig.RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 3}),
    ("--runtime", ["--runtime", "berth"], "HostConfig.Runtime", "berth"),
    ("--platform", ["--platform", "linux/amd64"], "Platform", "linux"),
    ("--pull", ["--pull", "never"], "Config.Image", "busybox"),
    ("--volume-driver", ["--volume-driver", "local"], "HostConfig.VolumeDriver", "local"),
    ("--disable-content-trust", ["--disable-content-trust"], "Config.Image", "busybox"),
    ("--quiet", ["--quiet"], "Config.Image", "busybox"),
    ("--isolation", ["--isolation", "default"], "HostConfig.Isolation", "default"),
    ("--kernel-memory", [], "HostConfig.Memory", 0),
    ("--cpu-shares", ["--cpu-shares", "-1"], "HostConfig.CpuShares", -1),
]

# Options whose limit this host cannot set: what is warned of.
WARNINGS = [
    ("--blkio-weight", ["--blkio-weight", "100"], "Block I/O weight or"),
    ("--blkio-weight-device", ["--blkio-weight-device", "/dev/null:100"], "Block I/O weight_device"),
    ("--device-read-bps", ["--device-read-bps", "/dev/null:1mb"], "BPS Block I/O read limit"),
    ("--device-write-bps", ["--device-write-bps", "/dev/null:1mb"], "BPS Block I/O write limit"),
    ("--device-read-iops", ["--device-read-iops", "/dev/null:10"], "IOPS Block read limit"),
    ("--device-write-iops", ["--device-write-iops", "/dev/null:10"], "IOPS Block write limit"),
    ("--memory", ["--memory", "64m"], "memory limit capabilities"),
    ("--memory-swap", ["--memory", "64m", "--memory-swap", "128m"], "memory limit capabilities"),
    ("--memory-reservation", ["--memory-reservation", "64m"], "memory soft limit"),
    ("--memory-swappiness", ["--memory-swappiness", "10"], "memory swappiness"),
    ("--oom-kill-disable", ["--oom-kill-disable"], "OomKillDisable"),
    ("--cpu-shares", ["--cpu-shares", "512"], "CPU shares"),
    ("--cpu-period", ["--cpu-period", "50000"], "CPU CFS scheduler"),
    ("--cpu-quota", ["--cpu-quota", "50000"], "CPU CFS scheduler"),
    ("--cpuset-cpus", ["--cpuset-cpus", "0"], "cpuset"),
    ("--cpuset-mems", ["--cpuset-mems", "0"], "cpuset"),
    ("--pids-limit", ["--pids-limit", "20"], "PIDs limit"),
]

# Options, and how they are refused.
REFUSALS = [
    ("--cpus", ["--cpus", "0.5"], "NanoCPUs can not be set"),
    ("--cpu-rt-period", ["--cpu-rt-period", "100000"], "does not support CPU real-time scheduler"),
    ("--cpu-rt-runtime", ["--cpu-rt-runtime", "1000"], "does not support CPU real-time scheduler"),
    ("--storage-opt", ["--storage-opt", "size=1g"], "--storage-opt is supported only for overlay over xfs with 'pquota'"),
    ("--storage-opt", ["--storage-opt", "other=1"], "Unknown option other"),
    ("--memory", ["--memory", "4m"], "Minimum memory limit allowed is 6MB"),
    ("--runtime", ["--runtime", "nosuch"], "unknown or invalid runtime name: nosuch"),
    ("--isolation", ["--isolation", "hyperv"], "linux only supports 'default'"),
    ("--ipc", ["--ipc", "odd"], "invalid IPC mode: odd"),
    ("--pid", ["--pid", "container:nosuch"], "No such container: nosuch"),
    ("--uts", ["--uts", "odd"], "invalid UTS mode"),
    ("--userns", ["--userns", "odd"], "invalid USER mode|invalid user namespace mode|invalid --userns"),
    ("--cgroupns", ["--cgroupns", "odd"], "invalid CGROUP mode|invalid cgroup namespace mode"),
    ("--cgroup-parent", ["--cgroup-parent", "odd"], "valid slice"),
    ("--cap-add", ["--cap-add", "ODD"], "unknown capability"),
    ("--device", ["--device", "/dev/nosuch"], "error gathering device information while adding custom device"),
    ("--device-cgroup-rule", ["--device-cgroup-rule", "odd"], "invalid device cgroup format|invalid device cgroup rule"),
    ("--security-opt", ["--security-opt", "odd=1"], "invalid --security-opt"),
    ("--group-add", ["--group-add", "nosuch"], "Unable to find group nosuch"),
    ("--user", ["--user", "nosuch"], "unable to find user nosuch"),
    ("--sysctl", ["--sysctl", "kernel.panic=1"], "not in a separate kernel namespace|is not allowed"),
    ("--sysctl", ["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"], "not allowed in host network namespace"),
    ("--ulimit", ["--ulimit", "nofile=300:200"], "ulimit soft limit must be less than or equal to hard limit"),
    ("--oom-score-adj", ["--oom-score-adj", "2000"], "range for oom score adj is"),
    ("--workdir", ["--workdir", "rel"], "needs to be an absolute path"),
]

# Options that other tests are about, or that nothing here can show.
ELSEWHERE = {
    "--cidfile": "test_files", "--env-file": "test_files", "--label-file": "test_files", "--detach": "test_files",
    "--detach-keys": "test_containers.py", "--rm": "test_containers.py", "--sig-proxy": "test_client.py",
    "--volumes-from": "test_volumes.py", "--help": "test_client.py",
    "--gpus": "test_described_devices",
    "--link-local-ip": "networks", "--link": "networks", "--ip": "networks", "--ip6": "networks", "--mac-address": "networks",
    "--network-alias": "networks", "--publish": "networks", "--publish-all": "networks",
    "--init": "the test of restart policies and health",
}


def attempt(client, options, script, image="busybox"):
    data = b"typed\n" if "-i" in options else None
    result = subprocess.run([client, "run", "--rm", *options, image, *(("-c",) if "--entrypoint" in options else ("sh", "-c")), script],
                            input=data, capture_output=True, timeout=60)
    return result.returncode, result.stdout.decode(errors="replace") + result.stderr.decode(errors="replace")


def of_daemon(key):
    """What the engine itself has is all that it can give away: this host is a container."""
    with open(f"/proc/{daemon_pid()}/status", encoding="ascii") as status:
        return [line.split()[1] for line in status if line.startswith(key + ":")][0]


def look(value, path):
    for name in path.split("."):
        value = value[name]
    return value


class Options(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()
        with open("/run/profile.json", "w", encoding="ascii") as file:
            json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}, file)

    def tearDown(self):
        remove_all()
        run("docker", "volume", "prune", "-af")

    def test_table_is_complete(self):
        known = {row[0] for table in (EFFECTS, RECORDS, WARNINGS, REFUSALS) for row in table} | set(ELSEWHERE)
        for command in ("run", "create"):
            options = set(re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", run("docker", command, "--help"), re.MULTILINE))
            self.assertEqual(options - known, set())

    def test_effects(self):
        for option, options, script, wanted in EFFECTS:
            for client in CLIENTS:
                with self.subTest(client=client, option=option, options=options):
                    _, text = attempt(client, options, script)
                    if wanted.startswith("HOST:"):
                        self.assertEqual(text.strip(), os.readlink(f"/proc/self/ns/{wanted[5:]}"))
                    elif wanted == "CAPABILITIES":
                        self.assertEqual(text.split()[1], of_daemon("CapEff"))
                    elif wanted.startswith("FILTERS"):
                        self.assertEqual(int(text.split()[1]), int(of_daemon("Seccomp_filters")) + int(wanted[8:]))
                    else:
                        self.assertRegex(text, re.compile(wanted, re.MULTILINE))

    def test_records(self):
        for option, options, path, wanted in RECORDS:
            for client in CLIENTS:
                with self.subTest(client=client, option=option):
                    name = run(client, "create", *options, "busybox", "true").split()[-1]
                    shown = json.loads(run("docker", "inspect", name))[0]
                    self.assertEqual(look(shown, path), wanted)
                    run("docker", "rm", name)

    def test_warnings(self):
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as controllers:
            if controllers.read().strip():
                self.skipTest("this host has controllers: vm_limits.py shows their effects")
        for option, options, wanted in WARNINGS:
            # The stock client of this version sends empty lists for limits of devices.
            for client in CLIENTS if not option.startswith(("--device-read", "--device-write")) else ("berth",):
                with self.subTest(client=client, option=option):
                    status, text = attempt(client, options, "echo ran")
                    self.assertEqual(status, 0)
                    self.assertIn("ran", text)
                    self.assertIn(wanted, text)
                    self.assertIn("discarded", text)

    def test_refusals(self):
        for option, options, wanted in REFUSALS:
            for client in CLIENTS:
                with self.subTest(client=client, option=option, options=options):
                    status, text = attempt(client, options, "echo ran")
                    self.assertNotIn(status, (0,))
                    self.assertRegex(text, wanted)
        self.assertEqual(run("docker", "ps", "-aq"), "")

    def test_files(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(f"{directory}/env", "w", encoding="ascii") as file:
                file.write("# comment\nONE=1\nTWO=two words\n")
            with open(f"{directory}/labels", "w", encoding="ascii") as file:
                file.write("one=1\n")
            for client in CLIENTS:
                cid = f"{directory}/{client}.cid"
                name = run(client, "run", "-d", "--cidfile", cid, "--env-file", f"{directory}/env", "--label-file",
                           f"{directory}/labels", "busybox", "env").strip()
                with open(cid, encoding="ascii") as file:
                    self.assertEqual(file.read().strip(), name)
                self.assertEqual(run("docker", "wait", name).strip(), "0")
                self.assertIn("ONE=1\nTWO=two words\n", run(client, "logs", name))
                self.assertEqual(json.loads(run("docker", "inspect", name))[0]["Config"]["Labels"], {"one": "1"})

    def test_tty(self):
        for client in CLIENTS:
            terminal = Terminal(client, "run", "--rm", "-it", "busybox", "sh", "-c", "tty; stty size")
            terminal.expect("/dev/pts/0")
            self.assertEqual(terminal.status(), 0)

    # --- other runtimes ---

    def test_runtimes(self):
        script = "echo $0; id -u; hostname; ip addr show eth0 | grep -c 'inet '; cat /v/file; grep -c Seccomp:.2 /proc/self/status; exit 7"
        run("docker", "run", "--rm", "-v", "data:/v", "busybox", "sh", "-c", "echo text >/v/file")
        for runtime in ("runc", "crun"):
            self.assertIn(runtime, json.loads(run("docker", "info", "--format", "{{json .Runtimes}}")))
            result = subprocess.run(["docker", "run", "--rm", "--runtime", runtime, "-v", "data:/v:ro", "--hostname", "boat", "--user", "www-data",
                                     "busybox", "sh", "-c", script, "name"], capture_output=True, timeout=60)
            self.assertEqual((result.returncode, result.stdout), (7, b"name\n33\nboat\n1\ntext\n1\n"), result.stderr)
            self.assertEqual(run("berth", "run", "--rm", "-i", "--runtime", runtime, "busybox", "cat", data=b"typed\n"), "typed\n")
            terminal = Terminal("docker", "run", "--rm", "-it", "--runtime", runtime, "busybox", "sh")
            terminal.expect("# ")
            terminal.resize(33, 91)
            terminal.type("sleep 0.5; stty size; tty\r")
            terminal.expect("33 91")
            terminal.expect("/dev/pts/0")
            terminal.type("exit 5\r")
            self.assertEqual(terminal.status(), 5)
            status, text = attempt("docker", ["--runtime", runtime, "--user", "nosuch"], "true")
            self.assertNotEqual(status, 0)
            self.assertIn("unable to find user nosuch", text)
            name = run("docker", "run", "-d", "--runtime", runtime, "busybox", "sh", "-c",
                       "trap 'exit 3' TERM; while :; do sleep 0.1; done").strip()
            self.assertEqual(json.loads(run("docker", "inspect", name))[0]["HostConfig"]["Runtime"], runtime)
            run("systemctl", "kill", "-s", "KILL", "berth.service")
            self.assertEqual(run("docker", "exec", name, "sh", "-c", "ls /proc/1/exe && echo inside").split()[-1], "inside")
            run("docker", "stop", name)
            self.assertEqual(json.loads(run("docker", "inspect", name))[0]["State"]["ExitCode"], 3)
            run("docker", "start", name)
            run("docker", "rm", "-f", name)
        self.assertEqual(run("sh", "-c", "findmnt -rn -o TARGET | grep -c /run/berth/container || true").strip(), "0")
        self.assertEqual(os.listdir("/run/berth/container"), [])

    # --- devices by name ---

    def test_described_devices(self):
        description = {"cdiVersion": "0.6.0", "kind": "example.org/box", "devices": [
            {"name": "one", "containerEdits": {"env": ["BOX=one"], "deviceNodes": [
                {"path": "/dev/box", "hostPath": "/dev/fuse", "permissions": "rw", "fileMode": 0o600, "uid": 33}]}},
            {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/bin/true"}]}}],
            "containerEdits": {"mounts": [{"hostPath": "/etc/passwd", "containerPath": "/box/passwd", "options": ["ro"]}]}}
        os.makedirs("/etc/cdi", exist_ok=True)
        with open("/etc/cdi/box.json", "w", encoding="ascii") as file:
            json.dump(description, file)
        script = "echo $BOX; stat -c '%t:%T %a %u' /dev/box; grep -c systemd-network /box/passwd; exec 3<>/dev/box && echo opened"
        for client in CLIENTS:
            self.assertEqual(run(client, "run", "--rm", "--device", "example.org/box=one", "busybox", "sh", "-c", script),
                             "one\na:e5 600 33\n1\nopened\n")
            for name, wanted in (("nosuch", "unresolvable CDI devices example.org/box=nosuch"), ("hooked", "has hooks")):
                status, text = attempt(client, ["--device", f"example.org/box={name}"], "true")
                self.assertNotEqual(status, 0)
                self.assertIn(wanted, text)
            _, text = attempt(client, ["--gpus", "all"], "true")
            self.assertIn('could not select device driver "" with capabilities: [[gpu]]', text)

    # --- namespaces of other containers ---

    def test_shared_ipc(self):
        run("docker", "run", "-d", "--name", "donor", "--ipc", "shareable", "--shm-size", "2m", "busybox", "sleep", "100")
        run("docker", "run", "-d", "--name", "closed", "busybox", "sleep", "100")
        wanted = run("docker", "exec", "donor", "readlink", "/proc/self/ns/ipc")
        run("docker", "exec", "donor", "sh", "-c", "echo shared >/dev/shm/file")
        for client in CLIENTS:
            self.assertEqual(run(client, "run", "--rm", "--ipc", "container:donor", "busybox", "sh", "-c",
                                 "readlink /proc/self/ns/ipc; cat /dev/shm/file; df -k /dev/shm | tail -1 | awk '{print $2}'"),
                             wanted + "shared\n2048\n")
            status, text = attempt(client, ["--ipc", "container:closed"], "true")
            self.assertNotEqual(status, 0)
            self.assertIn("non-shareable IPC (hint: use IpcMode:shareable for the donor container)", text)
        run("docker", "create", "--name", "late", "--ipc", "container:donor", "busybox", "sleep", "100")
        run("docker", "start", "late")
        run("docker", "kill", "donor")
        # Who joined keeps what it has; the host keeps nothing.
        self.assertEqual(run("docker", "exec", "late", "cat", "/dev/shm/file"), "shared\n")
        wait_until(lambda: "/shm" not in run("findmnt", "-rn", "-o", "TARGET", "-t", "tmpfs").replace("/dev/shm", ""),
                   what="unmounted")
        status, text = attempt("docker", ["--ipc", "container:donor"], "true")
        self.assertIn("is not running", text)

    def test_shared_pid(self):
        run("docker", "run", "-d", "--name", "target", "busybox", "sleep", "12345")
        for client in CLIENTS:
            text = run(client, "run", "--rm", "--pid", "container:target", "busybox", "ps")
            self.assertRegex(text, r"(?m)^ +1 root .*sleep 12345")
            self.assertNotIn("systemd", text)
        run("docker", "run", "-d", "--name", "guest", "--pid", "container:target", "busybox", "sleep", "100")
        run("docker", "kill", "target")
        wait_until(lambda: json.loads(run("docker", "inspect", "guest"))[0]["State"]["Status"] == "exited",
                   what="ended with the namespace")

    def test_shared_network(self):
        run("docker", "run", "-d", "--name", "target", "busybox", "sleep", "100")
        wanted = run("docker", "exec", "target", "readlink", "/proc/self/ns/net")
        self.assertEqual(run("berth", "run", "--rm", "--network", "container:target", "busybox", "readlink", "/proc/self/ns/net"), wanted)

    # --- the daemon's defaults ---

    def test_defaults_of_the_daemon(self):
        path = "/etc/berth/daemon.json"
        before = None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                before = file.read()
        os.makedirs("/etc/berth", exist_ok=True)
        try:
            with open(path, "w", encoding="ascii") as file:
                json.dump({"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 300, "Soft": 200}},
                           "runtimes": {"other": {"path": "/usr/bin/crun", "runtimeArgs": ["--debug"]}}, "default-runtime": "other",
                           "default-shm-size": "3m", "default-ipc-mode": "shareable", "default-cgroupns-mode": "host"}, file)
            run("systemctl", "restart", "berth.service")
            self.assertEqual(run("docker", "run", "--rm", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn"), "200\n300\n")
            self.assertEqual(run("docker", "run", "--rm", "--ulimit", "nofile=50", "busybox", "sh", "-c", "ulimit -Hn"), "50\n")
            run("docker", "run", "-d", "--name", "donor", "busybox", "sleep", "100")
            shown = json.loads(run("docker", "inspect", "donor"))[0]["HostConfig"]
            self.assertEqual((shown["IpcMode"], shown["CgroupnsMode"], shown["ShmSize"]), ("shareable", "host", 3 << 20))
            self.assertEqual(shown["Runtime"], "other")
            self.assertEqual(run("docker", "info", "--format", "{{.DefaultRuntime}}").strip(), "other")
            self.assertIn("berth.slice", run("docker", "run", "--rm", "--ipc", "container:donor", "busybox", "cat", "/proc/self/cgroup"))
        finally:
            os.remove(path)
            if before is not None:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(before)
            run("systemctl", "restart", "berth.service")


if __name__ == "__main__":
    unittest.main()
