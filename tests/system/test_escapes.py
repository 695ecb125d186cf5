#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ways out of a container that other engines once had, or that a mistake would open: each is tried, and has to fail. What is
run is root in a container with default options, unless the row says otherwise."""
import glob
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import tempfile
import threading
import unittest

from hosted import daemon_pid, load_images, remove_all, run, wait_until

PROGRAMS = ("/usr/libexec/berth/berthd", "/usr/libexec/berth/berth-monitor", "/usr/bin/berth")
VOLUMES = "/var/lib/berth/volume"


def call_system(number, *arguments):
    """Perl that makes one system call of x86-64 and prints how it failed, or that it did not."""
    return f"perl -e '@a = ({', '.join(map(str, arguments))}); $!=0; $r = syscall({number}, @a); print $r == -1 ? \"error $!\\n\" : \"succeeded\\n\"'"


FAILS = r"error (Operation not permitted|Function not implemented|Permission denied)"

# What is tried, options, image, script, what has to be in its output, what must not be.
ATTEMPTS = [
    # Descriptors and the engine's own files
    ("descriptors that were left open", [], "busybox", "ls /proc/self/fd | tr '\\n' ' '", r"^0 1 2 3 $", None),
    ("the directory a descriptor was left on (CVE-2024-21626)", ["-w", "/proc/self/fd/7"], "busybox", "ls -d $PWD/etc/machine-id", None, r"etc/machine-id$"),
    ("the first process is the engine still", [], "debian:13", "ls -l /proc/1/exe; : >>/proc/1/exe", r"/bin/(da)?sh", None),
    # The kernel's files
    ("core_pattern", [], "busybox", "echo '|/evil' >/proc/sys/kernel/core_pattern; cat /proc/sys/kernel/core_pattern", r"Read-only", r"^\|/evil"),
    ("sysrq", [], "busybox", "echo h >/proc/sysrq-trigger && echo wrote", None, r"wrote"),
    ("kernel memory", [], "busybox", "head -c 16 /proc/kcore | wc -c; head -c 1 /dev/mem", r"^0$", None),
    ("keys of others", [], "busybox", "wc -c </proc/keys", r"^0$", None),
    ("a mask is taken off", [], "busybox", "umount /proc/kcore && echo off; umount /sys/firmware && echo off", r"not permitted|denied", r"^off"),
    ("a mask by another way", [], "busybox", "for p in /proc/self/root /proc/1/root /proc/1/cwd /proc/self/task/1/root; do head -c 1 $p/proc/kcore | wc -c; done", r"(?s)^0$.*^0$.*^0$", r"^1$"),
    ("a proc of one's own", [], "busybox", "mount -t proc proc /tmp && echo mounted", r"denied|not permitted", r"^mounted"),
    ("a read-only path is made writable", [], "busybox", "mount -o remount,rw,bind /proc/sys && echo mounted", r"denied|not permitted", r"^mounted"),
    ("sysfs is written to", [], "busybox", "for f in /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run; do echo 1 >$f && echo wrote; done", None, r"^wrote"),
    ("sysctls of the host", [], "busybox", "for f in kernel/hostname kernel/domainname vm/drop_caches kernel/modprobe; do echo x >/proc/sys/$f && echo wrote; done", None, r"^wrote"),
    # Control groups
    ("release_agent", [], "busybox", "mkdir /tmp/c; mount -t cgroup -o rdma none /tmp/c && echo mounted; echo /x >/sys/fs/cgroup/release_agent && echo wrote", None, r"mounted|wrote"),
    ("groups of others", [], "busybox", "mkdir /sys/fs/cgroup/x && echo made; cat /proc/self/cgroup; echo 1 >/sys/fs/cgroup/cgroup.procs", r"^0::/$", r"^made"),
    ("a group's limits", [], "busybox", "echo 1 >/sys/fs/cgroup/cgroup.freeze && echo wrote; echo 1 >/sys/fs/cgroup/cgroup.kill && echo wrote", None, r"^wrote"),
    # Devices
    ("the disk by a node of one's own", [], "busybox", "for n in '8 0' '254 0' '259 0' '7 0'; do mknod /d b $n && head -c 1 /d | wc -c; rm -f /d; done", None, r"^[1-9]"),
    ("memory by a node of one's own", [], "busybox", "mknod /m c 1 1; head -c 1 /m | wc -c; mknod /k c 1 11; head -c 1 /k | wc -c", r"(?s)^0$.*^0$", r"^[1-9]"),
    ("loop devices, tunnels and the kernel's ports", [], "busybox", "for n in '10 237' '10 200' '1 4' '10 238'; do mknod /x c $n && exec 3<>/x && echo opened; rm -f /x; done", None, r"^opened"),
    ("fuse without asking", [], "busybox", "mknod /f c 10 229 && exec 3<>/f && echo opened", r"not permitted", r"^opened"),
    ("a file system of the host's disk", [], "busybox", "mknod /d b 254 0; mount -t ext4 /d /mnt && echo mounted", None, r"^mounted"),
    # System calls (numbers of x86-64)
    ("unshare: a user namespace", [], "debian:13", call_system(272, "0x10000000"), FAILS, None),
    ("unshare: a mount namespace", [], "debian:13", call_system(272, "0x20000"), FAILS, None),
    ("clone: a user namespace", [], "debian:13", call_system(56, "0x10000011", 0, 0, 0, 0), FAILS, None),
    ("clone3, whose flags no filter sees", [], "debian:13", call_system(435, '"\\0" x 64', 64), r"error Function not implemented", None),
    ("mount_setattr", [], "debian:13", call_system(442, "-100", '""', "0x1000", '"\\0" x 32', 32), FAILS, None),
    ("a descriptor of another process", ["--pid", "host"], "debian:13", call_system(438, 3, 0, 0), r"error", None),
    ("setns", [], "debian:13", call_system(308, 0, 0), FAILS, None),
    ("add_key", [], "debian:13", call_system(248, '"user"', '"name"', '"data"', 4, "-2"), FAILS, None),
    ("keyctl", [], "debian:13", call_system(250, 0, "-3", 1), FAILS, None),
    ("request_key", [], "debian:13", call_system(249, '"user"', '"name"', 0, 0), FAILS, None),
    ("bpf", [], "debian:13", call_system(321, 0, 0, 0), FAILS, None),
    ("perf_event_open", [], "debian:13", call_system(298, 0, 0, "-1", "-1", 0), FAILS, None),
    ("userfaultfd", [], "debian:13", call_system(323, 0), FAILS, None),
    ("io_uring_setup", [], "debian:13", call_system(425, 1, 0), FAILS, None),
    ("init_module", [], "debian:13", call_system(175, 0, 0, '""'), FAILS, None),
    ("finit_module", [], "debian:13", call_system(313, 0, '""', 0), FAILS, None),
    ("kexec_load", [], "debian:13", call_system(246, 0, 0, 0, 0), FAILS, None),
    ("reboot", [], "debian:13", call_system(169, "0xfee1dead", 672274793, 0), FAILS, None),
    ("swapon", [], "debian:13", call_system(167, '"/etc/passwd"', 0), FAILS, None),
    ("pivot_root", [], "debian:13", call_system(155, '"/"', '"/tmp"'), FAILS, None),
    ("mount", [], "debian:13", call_system(165, '"none"', '"/tmp"', '"tmpfs"', 0, 0), FAILS, None),
    ("fsopen", [], "debian:13", call_system(430, '"tmpfs"', 0), FAILS, None),
    ("open_tree", [], "debian:13", call_system(428, "-100", '"/"', 1), FAILS, None),
    ("move_mount", [], "debian:13", call_system(429, "-100", '"/tmp"', "-100", '"/mnt"', 0), FAILS, None),
    ("open_by_handle_at (\"shocker\")", [], "debian:13", call_system(304, "-100", '"\\x08\\0\\0\\0\\x01\\0\\0\\0\\x02\\0\\0\\0\\0\\0\\0\\0"', 0), FAILS, None),
    ("settimeofday", [], "debian:13", call_system(164, '"\\0" x 16', 0), FAILS, None),
    ("acct", [], "debian:13", call_system(163, '"/etc/passwd"'), FAILS, None),
    ("syslog", [], "debian:13", call_system(103, 3, '" " x 16', 16), FAILS, None),
    ("iopl", [], "debian:13", call_system(172, 3), FAILS, None),
    ("quotactl", [], "debian:13", call_system(179, 0, 0, 0, 0), FAILS, None),
    ("lookup_dcookie", [], "debian:13", call_system(212, 0, '" " x 16', 16), FAILS, None),
    ("vhangup", [], "debian:13", call_system(153), FAILS, None),
    # Names and files
    ("a root within the root", [], "debian:13", "perl -e 'mkdir \"/x\"; chroot \"/x\"; chdir \"..\" for 1..99; chroot \".\"; exec \"/bin/ls\", \"/.dockerenv\"'", r"^/\.dockerenv$", None),
    ("links that climb", [], "busybox", "ln -s ../../../../../../../../.. /up; ls /up/.dockerenv", r"^/up/\.dockerenv$", None),
    ("attributes of the overlay", [], "debian:13", call_system(188, '"/tmp"', '"trusted.overlay.opaque"', '"y"', 1, 0), FAILS, None),
    ("higher limits", [], "busybox", "ulimit -Hn 99999999 && echo raised", None, r"^raised"),
    ("the place of a file of the engine's", [], "busybox", "rm -f /etc/hosts || echo refused", r"^refused$", None),
    # Processes
    ("processes of the host", [], "busybox", "ls /proc | grep -c '^[0-9]'; ps | grep -c systemd-journal", r"^[1-9]\n", None),
    ("the root of a process of the host", ["--pid", "host"], "busybox", "ls /proc/1/root/etc && echo seen; cat /proc/1/environ && echo read; ls /proc/1/cwd/ && echo seen", None, r"^(seen|read)"),
    ("tracing a process of the host", ["--pid", "host"], "debian:13", call_system(101, 16, 1, 0, 0), r"error", None),
    ("killing all there is", [], "busybox", "kill -9 -1; true", None, None),
    ("sockets without a name of the host's", [], "debian:13", "grep -c . /proc/net/unix", r"^1$", None),
    # Terminals
    ("other terminals", ["-t"], "busybox", "ls /dev/pts; tty", r"(?s)^0 +ptmx\r?$.*^/dev/pts/0", r"^[1-9]"),
    ("the console's clipboard", ["-t"], "debian:13", "perl -e '$c = chr(3); print ioctl(STDIN, 0x541C, $c) ? \"pasted\\n\" : \"error\\n\"'", r"error", r"pasted"),
    ("input pushed into a terminal that is not one's own", ["-t"], "debian:13", "perl -e '$c = \"x\"; open T, \"</dev/console\"; print ioctl(T, 0x5412, $c) ? \"own\\n\" : \"error\\n\"'; ls -l /proc/self/fd/0", r"/dev/pts/0", None),
    # Rights
    ("capabilities that come back", [], "debian:13", "perl -e 'open F, \"</proc/self/status\"; print grep /Cap(Inh|Amb)/, <F>'", r"(?s)CapInh:\t0+$.*CapAmb:\t0+$", None),
    ("a user's way back to root", ["--user", "33", "--security-opt", "no-new-privileges"], "debian:13", "su -c id root </dev/null; id -u; perl -e '$>=0; print $>, \"\\n\"'", r"^33$", r"^0$"),
]

# Mounts that would cover what the kernel says, and what refuses them.
COVERINGS = [
    (["-v", "evil:/proc"], "inside /proc|cannot be mounted"),
    (["-v", "evil:/proc/sys"], "inside /proc"),
    (["-v", "evil:/proc/self"], "inside /proc"),
    (["--tmpfs", "/proc/sys"], None),
    (["--mount", "type=bind,src=/etc,dst=/proc/1"], "inside /proc"),
]


def attempt(options, image, script):
    result = subprocess.run(["docker", "run", "--rm", *options, image, "sh", "-c", script], capture_output=True, timeout=60)
    return result.returncode, result.stdout.decode(errors="replace") + result.stderr.decode(errors="replace")


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def import_image(name, entries):
    """An image of links, directories and files over busybox: (path, kind, content)."""
    with tempfile.TemporaryDirectory() as directory:
        run("docker", "create", "--name", "base", "busybox", "true")
        run("docker", "export", "-o", f"{directory}/base.tar", "base")
        run("docker", "rm", "base")
        with tarfile.open(f"{directory}/base.tar") as base, tarfile.open(f"{directory}/image.tar", "w") as image:
            taken = {path for path, _, _ in entries}
            for member in base:
                if not any(member.name.strip("/") == path or member.name.startswith(path + "/") for path in taken):
                    image.addfile(member, base.extractfile(member) if member.isfile() else None)
            for path, kind, content in entries:
                member = tarfile.TarInfo(path)
                member.type, member.mode = kind, 0o755
                data = b""
                if kind == tarfile.SYMTYPE:
                    member.linkname = content
                elif kind == tarfile.REGTYPE:
                    data = content.encode()
                    member.size = len(data)
                image.addfile(member, io.BytesIO(data))
        run("docker", "import", f"{directory}/image.tar", name)


class Escapes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()

    def setUp(self):
        self.programs = [digest(path) for path in PROGRAMS]

    def tearDown(self):
        remove_all()
        for name in run("docker", "volume", "ls", "-q").split():
            run("docker", "volume", "rm", name)
        for name in run("docker", "images", "-q", "--filter", "reference=evil*").split():
            run("docker", "rmi", "-f", name)
        self.assertEqual([digest(path) for path in PROGRAMS], self.programs)

    def test_attempts(self):
        for name, options, image, script, wanted, unwanted in ATTEMPTS:
            with self.subTest(name):
                _, text = attempt(options, image, script)
                if wanted:
                    self.assertRegex(text, re.compile(wanted, re.MULTILINE))
                if unwanted:
                    self.assertNotRegex(text, re.compile(unwanted, re.MULTILINE))

    def test_attempts_of_an_exec(self):
        """What is run later has no more than the first process."""
        run("docker", "run", "-d", "--name", "target", "debian:13", "sleep", "1000")
        for name, options, image, script, wanted, unwanted in ATTEMPTS:
            if options or image != "debian:13":
                continue
            with self.subTest(name):
                result = subprocess.run(["docker", "exec", "target", "sh", "-c", script], capture_output=True, timeout=60)
                text = result.stdout.decode(errors="replace") + result.stderr.decode(errors="replace")
                if "/proc/1/exe" not in script:
                    self.assertRegex(text, re.compile(wanted, re.MULTILINE))
        self.assertEqual(run("docker", "exec", "target", "sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ")

    def test_working_directories(self):
        """The host's tree by a descriptor that is open while the container starts."""
        run("docker", "run", "-d", "--name", "target", "busybox", "sleep", "1000")
        for number in range(3, 24):
            for command in (["run", "--rm", "-w", f"/proc/self/fd/{number}", "busybox"],
                            ["exec", "-w", f"/proc/self/fd/{number}", "target"]):
                result = subprocess.run(["docker", *command, "ls", "-d", "../../../../../../etc/machine-id"],
                                        capture_output=True, timeout=60)
                self.assertNotEqual(result.returncode, 0, command)
                self.assertNotIn(b"machine-id\n", result.stdout)

    def test_coverings(self):
        for options, wanted in COVERINGS:
            with self.subTest(options=options):
                status, text = attempt(options, "busybox", "echo ran")
                if wanted:
                    self.assertNotEqual(status, 0)
                    self.assertRegex(text, wanted)

    def test_the_engines_program(self):
        """A container that has the engine executed inside of it, to open it for writing (CVE-2019-5736)."""
        import_image("evil", [("evil", tarfile.REGTYPE, "#!/proc/self/exe\n")])
        for command in (["/proc/self/exe"], ["/evil"]):
            subprocess.run(["docker", "run", "--rm", "evil", *command], capture_output=True, timeout=60)
        run("docker", "run", "-d", "--name", "target", "evil", "sh", "-c",
            "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || (echo evil >>$p/exe) 2>/dev/null; done; done")
        for _ in range(10):
            subprocess.run(["docker", "exec", "target", "/evil"], capture_output=True, timeout=60)
        self.assertEqual([digest(path) for path in PROGRAMS], self.programs)

    def test_links_in_images(self):
        """Places of mounts, and of the kernel's file systems, that the image made links of."""
        os.makedirs("/srv/victim", exist_ok=True)
        import_image("evil-links", [("data", tarfile.SYMTYPE, "../../../../../../srv/victim"),
                                    ("abs", tarfile.SYMTYPE, "/srv/victim")])
        text = run("docker", "run", "--rm", "-v", "evil:/data", "-v", "evil2:/abs/deep", "evil-links", "sh", "-c",
                   "touch /data/x /abs/deep/y; ls /srv/victim")
        self.assertIn("x", text)
        self.assertEqual(os.listdir("/srv/victim"), [])
        for name in ("proc", "sys"):
            import_image("evil-" + name, [(name, tarfile.SYMTYPE, "/tmp")])
            status, text = attempt([], "evil-" + name, "echo ran")
            self.assertNotEqual(status, 0)
            self.assertIn("must be mounted on ordinary directory", text)
        os.rmdir("/srv/victim")

    def test_a_dev_of_ones_own(self):
        """Masks are bound from /dev/null, which this one is not (CVE-2025-31133)."""
        run("docker", "volume", "create", "dev")
        data = f"{VOLUMES}/dev/_data"
        os.symlink("/proc/sys/kernel/core_pattern", f"{data}/null")
        _, text = attempt(["-v", "dev:/dev"], "busybox", "echo '|/evil' >/proc/kcore && echo wrote; cat /proc/sys/kernel/core_pattern")
        self.assertNotIn("wrote", text)
        with open("/proc/sys/kernel/core_pattern", encoding="ascii") as pattern:
            self.assertNotIn("/evil", pattern.read())
        os.unlink(f"{data}/null")

    def test_a_console_of_ones_own(self):
        """The terminal is bound on /dev/console, which leads somewhere else here (CVE-2025-52565)."""
        run("docker", "volume", "create", "dev")
        data = f"{VOLUMES}/dev/_data"
        with open("/proc/sys/kernel/core_pattern", encoding="ascii") as pattern:
            before = pattern.read()
        for target in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/kcore"):
            os.symlink(target, f"{data}/console")
            _, text = attempt(["-t", "-v", "dev:/dev"], "busybox", f"echo '|/evil' >{target} && [ ! -c {target} ] && echo wrote; head -c 1 /proc/kcore | wc -c")
            self.assertNotIn("wrote", text)
            self.assertNotRegex(text, r"(?m)^1")
            os.unlink(f"{data}/console")
        with open("/proc/sys/kernel/core_pattern", encoding="ascii") as pattern:
            self.assertEqual(pattern.read(), before)

    def test_keyrings(self):
        """Where the filter of system calls is off: a key of one container's session is not in another's."""
        free = ["--security-opt", "seccomp=unconfined"]
        keep = call_system(248, '"user"', '"berth-secret"', '"data"', 4, "-3")
        search = call_system(250, 10, "-3", '"user"', '"berth-secret"', 0)
        self.assertIn("succeeded\nsucceeded\n", attempt(free, "debian:13", f"{keep}; {search}")[1])
        run("docker", "run", "-d", "--name", "keeper", *free, "debian:13", "sh", "-c", f"{keep}; touch /kept; exec sleep 1000")
        wait_until(lambda: "/kept" in run("docker", "diff", "keeper"))
        self.assertIn("error", attempt(free, "debian:13", search)[1])
        self.assertIn("error", attempt([*free, "--pid", "container:keeper"], "debian:13", search)[1])

    def test_links_planted_in_volumes(self):
        """An image's files are copied into a volume where somebody put links in their way."""
        os.makedirs("/srv/victim", exist_ok=True)
        import_image("evil-fill", [("a", tarfile.DIRTYPE, None), ("a/sub", tarfile.DIRTYPE, None),
                                   ("a/sub/file", tarfile.REGTYPE, "planted\n"), ("a/file", tarfile.REGTYPE, "planted\n")])
        run("docker", "volume", "create", "planted")
        data = f"{VOLUMES}/planted/_data"
        os.symlink("/srv/victim", f"{data}/sub")
        os.symlink("/srv/victim/made", f"{data}/file")
        with open(f"{VOLUMES}/planted/populating", "w", encoding="ascii"):
            pass  # as if an earlier copy had been cut off
        run("docker", "run", "--rm", "-v", "planted:/a", "evil-fill", "true")
        self.assertEqual(os.listdir("/srv/victim"), [])
        os.rmdir("/srv/victim")

    def test_race_for_a_part_of_a_volume(self):
        """The part becomes a link to the host's root and back, all the time, while containers mount it."""
        run("docker", "run", "-d", "--name", "racer", "-v", "race:/r", "busybox", "sh", "-c",
            "cd /r; mkdir dir; while :; do mv dir part; mv part dir; ln -s / part; rm part; ln -s ../../../../.. part; rm part; done")
        for _ in range(25):
            status, text = attempt(["--mount", "src=race,dst=/m,volume-subpath=part"], "busybox", "ls -a /m")
            if status == 0:
                self.assertEqual(text.split(), [".", ".."])

    def test_nothing_is_shared(self):
        """/dev/shm, message queues, semaphores, keyrings and sockets of one container are not another's."""
        run("docker", "run", "-d", "--name", "one", "debian:13", "sh", "-c", "echo secret >/dev/shm/secret; "
            "perl -e 'syscall(64, 4711, 1, 0x3ff); syscall(29, 4712, 4096, 0x3ff)'; exec sleep 1000")
        run("docker", "exec", "one", "touch", "/dev/mqueue/queue")
        for options in ([], ["--network", "container:one"], ["--volumes-from", "one"]):
            _, text = attempt(options, "debian:13", "ls /dev/shm /dev/mqueue; cat /proc/sysvipc/sem /proc/sysvipc/shm; cat /dev/shm/secret")
            self.assertNotRegex(text, r"^queue|^secret|4711|4712")
        for path in ("/dev/shm/secret", "/dev/mqueue/queue"):
            self.assertFalse(os.path.exists(path))

    def test_abstract_sockets(self):
        """A socket without a name in the file system is the network namespace's."""
        import socket
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("\0berth-escape")
            listener.listen()
            script = 'perl -MSocket -e \'socket(S, AF_UNIX, SOCK_STREAM, 0); print connect(S, pack("Sa*", AF_UNIX, "\\0berth-escape")) ? "connected\\n" : "error $!\\n"\''
            self.assertIn("error", attempt([], "debian:13", script)[1])
            self.assertIn("connected", attempt(["--network", "host"], "debian:13", script)[1])

    def test_files_of_the_engine(self):
        """Nobody but root reads what is in the engine's directories, nor talks to a monitor."""
        run("docker", "run", "-d", "--name", "target", "-v", "data:/d", "busybox", "sleep", "1000")
        identity = json.loads(run("docker", "inspect", "target"))[0]["Id"]
        for path in (f"/var/lib/berth/container/{identity}/container.json", f"/var/lib/berth/container/{identity}/upper",
                     f"/run/berth/container/{identity}/state.json", *glob.glob(f"/run/berth/container/{identity}/*.sock*")):
            status = subprocess.run(["setpriv", "--reuid", "33", "--regid", "33", "--clear-groups", "sh", "-c", f"cat {path} || ls {path}/"],
                                    capture_output=True, timeout=20).returncode
            self.assertNotEqual(status, 0, path)

    def test_descriptors_of_the_monitor(self):
        """Neither the container's first process nor its monitor has a descriptor of the daemon's."""
        run("docker", "run", "-d", "--name", "target", "busybox", "sleep", "1000")
        pid = json.loads(run("docker", "inspect", "target"))[0]["State"]["Pid"]
        self.assertEqual(sorted(os.listdir(f"/proc/{pid}/fd")), ["0", "1", "2"])
        daemon = {os.readlink(path) for path in glob.glob(f"/proc/{daemon_pid()}/fd/*") if os.path.lexists(path)}
        sockets = {target for target in daemon if target.startswith("socket:")}
        for path in glob.glob(f"/proc/{pid}/fd/*"):
            self.assertNotIn(os.readlink(path), sockets)


if __name__ == "__main__":
    threading.stack_size(1 << 18)
    unittest.main()
