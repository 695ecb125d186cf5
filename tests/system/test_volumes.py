#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes and mounts on a booted host, by the stock docker client and by berth."""
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

from hosted import RUNTIME, call, daemon_pid, load_images, remove_all, run, wait_until

CLIENTS = ("docker", "berth")
VOLUMES = "/var/lib/berth/volume"


def mounts_of(name):
    return {mount["Destination"]: mount for mount in json.loads(run("docker", "inspect", name))[0]["Mounts"]}


def volumes():
    return run("docker", "volume", "ls", "-q").split()


def busybox(*arguments, client="docker", status=0):
    return run(client, "run", "--rm", *arguments, status=status)


def mounted_volumes():
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return [line.split()[4] for line in table if line.split()[4].startswith(VOLUMES)]


def failure(*command):
    result = subprocess.run(command, capture_output=True, timeout=60)
    assert result.returncode != 0, command
    return result.stderr.decode()


class Volumes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()

    def tearDown(self):
        remove_all()
        for name in volumes():
            run("docker", "volume", "rm", name)
        self.assertEqual(mounted_volumes(), [])
        wait_until(lambda: os.listdir(f"{VOLUMES}/.trash") == [], what="removed")

    # --- the commands ---

    def test_commands(self):
        for client in CLIENTS:
            self.assertEqual(run(client, "volume", "create", "--label", "a=b", "data").strip(), "data")
            self.assertEqual(run(client, "volume", "create", "data").strip(), "data")
            self.assertEqual(run(client, "volume", "ls"), run("docker", "volume", "ls"))
            self.assertIn("data", run(client, "volume", "ls", "--filter", "label=a=b", "-q").split())
            self.assertNotIn("data", run(client, "volume", "ls", "--filter", "label=a=c", "-q").split())
            self.assertEqual(run(client, "volume", "ls", "-q", "--filter", "name=^dat").split(), ["data"])
            shown = json.loads(run(client, "volume", "inspect", "data"))[0]
            self.assertEqual((shown["Driver"], shown["Labels"], shown["Scope"]), ("local", {"a": "b"}, "local"))
            self.assertEqual(shown["Mountpoint"], f"{VOLUMES}/data/_data")
            self.assertTrue(os.path.isdir(shown["Mountpoint"]))
            anonymous = run(client, "volume", "create").strip()
            self.assertEqual(len(anonymous), 64)
            self.assertEqual(run(client, "volume", "rm", "data", anonymous).split(), ["data", anonymous])
            self.assertIn("no such volume", failure(client, "volume", "rm", "data"))
            run(client, "volume", "rm", "-f", "data")
        self.assertIn("only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed", failure("docker", "volume", "create", "a b"))

    def test_prune_takes_anonymous_ones(self):
        run("docker", "volume", "create", "named")
        run("docker", "volume", "create", "--label", "keep=1", "labelled")
        anonymous = run("docker", "volume", "create").strip()
        used = run("docker", "create", "-v", "/used", "busybox", "true").strip()
        with open(f"{VOLUMES}/{anonymous}/_data/file", "wb") as file:
            file.write(b"x" * 5000)
        for client, arguments, gone in (("docker", ("-f",), {anonymous}), ("berth", ("-f",), set()),
                                        ("berth", ("-af", "--filter", "label!=keep"), {"named"}),
                                        ("docker", ("-af",), {"labelled"})):
            before = set(volumes())
            text = run(client, "volume", "prune", *arguments)
            self.assertEqual(before - set(volumes()), gone)
            if anonymous in gone:
                self.assertIn("Total reclaimed space: 5kB", text)
        self.assertEqual(len(volumes()), 1)
        run("docker", "rm", "-v", used)

    def test_usage(self):
        run("docker", "create", "--name", "one", "-v", "vol:/v", "busybox", "true")
        run("docker", "create", "--name", "two", "-v", "vol:/v:ro", "-v", "vol:/w", "busybox", "true")
        with open(f"{VOLUMES}/vol/_data/file", "wb") as file:
            file.write(b"x" * 70000)
        for client in CLIENTS:
            line = [line for line in run(client, "system", "df", "-v").splitlines() if line.startswith("vol ")][0]
            self.assertEqual(line.split(), ["vol", "2", "70kB"])
        ids = [json.loads(run("docker", "inspect", name))[0]["Id"] for name in ("one", "two")]
        text = failure("docker", "volume", "rm", "vol")
        self.assertIn("remove vol: volume is in use - [", text)
        for container in ids:
            self.assertIn(container, text)
        self.assertEqual(run("docker", "volume", "ls", "-q", "--filter", "dangling=false").split(), ["vol"])
        self.assertEqual(run("docker", "volume", "ls", "-q", "--filter", "dangling=true").split(), [])

    # --- in containers ---

    def test_data_stays(self):
        for client in CLIENTS:
            busybox("-v", "data:/d", "busybox", "sh", "-c", "echo kept >/d/file; chmod 640 /d/file", client=client)
            self.assertEqual(busybox("-v", "data:/d:ro", "busybox", "cat", "/d/file", client=client), "kept\n")
            busybox("-v", "data:/d:ro", "busybox", "touch", "/d/x", client=client, status=1)
            self.assertEqual(busybox("--mount", "type=volume,src=data,dst=/d,readonly", "busybox", "cat", "/d/file",
                                     client=client), "kept\n")

    def test_anonymous_ones_go_with_the_container(self):
        for client in CLIENTS:
            busybox("-v", "/anon", "--mount", "type=volume,dst=/more", "busybox", "touch", "/anon/x", "/more/x", client=client)
            self.assertEqual(volumes(), [])
            for arguments, left in (((), 1), (("-v",), 0)):
                run(client, "create", "--name", "holder", "-v", "/anon", "busybox", "true")
                run(client, "rm", *arguments, "holder")
                self.assertEqual(len(volumes()), left)
                run("docker", "volume", "prune", "-f")
            run(client, "run", "--name", "holder", "-v", "/anon", "-v", "named:/named", "busybox", "true")
            run(client, "rm", "-v", "holder")
            self.assertEqual(volumes(), ["named"])
            run(client, "volume", "rm", "named")

    def test_inspect(self):
        run("docker", "create", "--name", "shown", "-v", "named:/named", "-v", "other:/ro:ro,nocopy", "-v", "/anon",
            "-v", "/etc:/host:ro,rslave", "--mount", "type=tmpfs,dst=/tmp", "--mount", "type=bind,src=/usr,dst=/usr2",
            "busybox", "true")
        shown = mounts_of("shown")
        self.assertEqual(shown["/named"], {
            "Type": "volume", "Name": "named", "Source": f"{VOLUMES}/named/_data", "Destination": "/named",
            "Driver": "local", "Mode": "z", "RW": True, "Propagation": ""})
        self.assertEqual((shown["/ro"]["Mode"], shown["/ro"]["RW"]), ("ro,nocopy", False))
        self.assertEqual((shown["/anon"]["Mode"], len(shown["/anon"]["Name"])), ("", 64))
        self.assertEqual(shown["/host"], {"Type": "bind", "Source": "/etc", "Destination": "/host", "Mode": "ro,rslave",
                                          "RW": False, "Propagation": "rslave"})
        self.assertEqual(shown["/tmp"], {"Type": "tmpfs", "Source": "", "Destination": "/tmp", "Mode": "", "RW": True,
                                         "Propagation": ""})
        self.assertEqual(shown["/usr2"]["Propagation"], "rprivate")
        self.assertIn("named", run("docker", "ps", "-a", "--format", "{{.Mounts}}"))
        self.assertEqual(len(run("docker", "ps", "-aq", "--filter", "volume=named").split()), 1)
        run("docker", "rm", "-v", "shown")

    def test_volumes_from(self):
        run("docker", "create", "--name", "source", "-v", "data:/data", "-v", "/anon", "-v", "/etc:/host:ro", "busybox", "true")
        for client in CLIENTS:
            text = busybox("--volumes-from", "source:ro", "busybox", "sh", "-c",
                           "touch /data/x || echo refused; ls /host/passwd", client=client)
            self.assertIn("refused", text)
            self.assertIn("/host/passwd", text)
            busybox("--volumes-from", "source", "busybox", "touch", "/anon/x", "/data/y", client=client)
            busybox("--volumes-from", "source", "-v", "own:/data", "busybox", "sh", "-c", "! test -e /data/y", client=client)
            self.assertIn("own", volumes())
        self.assertEqual(len(mounts_of("source")), 3)
        self.assertIn("invalid mode: nocopy", failure("docker", "create", "--volumes-from", "source:nocopy", "busybox"))
        run("docker", "rm", "-v", "source")

    def test_filled_from_the_image(self):
        tree = "/a/dir; echo text >/a/dir/file; ln /a/dir/file /a/hard; ln -s dir/file /a/soft; mkfifo /a/fifo; " \
               "chown 33:50 /a/dir; chmod 2751 /a/dir; chown 7:8 /a; chmod 1733 /a; touch -d '2001-02-03 04:05:06' /a/dir/file"
        run("docker", "run", "--name", "maker", "debian:13", "sh", "-c", f"mkdir -p {tree}; setcap cap_net_raw+ep /a/dir/file 2>&1 || true")
        run("docker", "commit", "maker", "filled")
        try:
            look = "cd /a && stat -c '%n %f %u %g %h %Y %s' . dir dir/file hard && readlink soft && test -p fifo"
            wanted = busybox("filled", "sh", "-c", look)
            for client, options in (("docker", ("-v", "full:/a")), ("berth", ("--mount", "src=full2,dst=/a")),
                                    ("docker", ("-v", "/a"))):
                self.assertEqual(busybox(*options, "filled", "sh", "-c", look, client=client), wanted)
            self.assertEqual(busybox("-v", "empty:/a:nocopy", "filled", "ls", "/a"), "")
            self.assertEqual(busybox("--mount", "src=empty2,dst=/a,volume-nocopy", "filled", "ls", "/a"), "")
            # What is there is left alone, and is not brought back.
            busybox("-v", "full:/a", "filled", "rm", "-r", "/a/dir", "/a/hard")
            self.assertNotIn("hard", busybox("-v", "full:/a", "filled", "ls", "/a"))
            run("docker", "run", "--name", "again", "-v", "emptied:/a", "filled", "sh", "-c", "rm -rf /a/*; ls /a")
            self.assertEqual(run("docker", "start", "-a", "again"), "")
        finally:
            remove_all()
            run("docker", "rmi", "filled")

    def test_subpath(self):
        busybox("-v", "data:/d", "busybox", "sh", "-c", "mkdir -p /d/sub/deep; echo deep >/d/sub/deep/file; "
                "ln -s /etc /d/escape; ln -s ../../../../../etc /d/escape2; ln -s sub/deep /d/inside")
        for client in CLIENTS:
            for part in ("sub/deep", "inside"):
                self.assertEqual(busybox("--mount", f"src=data,dst=/m,volume-subpath={part}", "busybox", "ls", "/m",
                                         client=client), "file\n")
            self.assertEqual(busybox("--mount", "src=data,dst=/m,volume-subpath=sub/deep/file", "busybox", "cat", "/m",
                                     client=client), "deep\n")
        for part in ("escape", "escape2", "escape/passwd"):
            self.assertIn("escapes the base directory", failure(
                "docker", "run", "--rm", "--mount", f"src=data,dst=/m,volume-subpath={part}", "busybox", "ls", "/m"))
        self.assertIn("no such file or directory", failure(
            "docker", "run", "--rm", "--mount", "src=data,dst=/m,volume-subpath=nosuch", "busybox", "true"))

    def test_image_mounts(self):
        for client in CLIENTS:
            self.assertIn("busybox", busybox("--mount", "type=image,src=busybox,dst=/i", "debian:13", "ls", "/i/bin", client=client))
            busybox("--mount", "type=image,src=busybox,dst=/i", "debian:13", "touch", "/i/x", client=client, status=1)
        self.assertIn("root:", busybox("--mount", "type=image,src=busybox,dst=/i,image-subpath=etc", "debian:13",
                                       "cat", "/i/passwd", client="berth"))
        run("docker", "create", "--name", "holder", "--mount", "type=image,src=busybox,dst=/i", "debian:13", "true")
        self.assertIn("container", failure("docker", "rmi", "busybox"))
        self.assertIn("No such image", failure("docker", "create", "--mount", "type=image,src=nosuch,dst=/i", "debian:13"))

    # --- options of the driver ---

    def test_tmpfs_volume(self):
        run("docker", "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=33", "ram")
        self.assertEqual(mounted_volumes(), [])
        for name in ("first", "second"):
            run("docker", "run", "-d", "--name", name, "-v", "ram:/r", "busybox", "sleep", "60")
        self.assertEqual(mounted_volumes(), [f"{VOLUMES}/ram/_data"])
        run("docker", "run", "--rm", "-v", "ram:/r", "busybox", "sh", "-c", "echo both >/r/file")
        self.assertEqual(run("docker", "run", "--rm", "--volumes-from", "first", "busybox", "sh", "-c",
                             "cat /r/file; stat -c %u /r; df -k /r | tail -1 | awk '{print $2}'").split(), ["both", "33", "1024"])
        run("docker", "kill", "first")
        self.assertEqual(mounted_volumes(), [f"{VOLUMES}/ram/_data"])
        run("docker", "kill", "second")
        wait_until(lambda: mounted_volumes() == [], what="unmounted")

    def test_bound_volume(self):
        with tempfile.TemporaryDirectory(dir="/srv") as directory:
            with open(f"{directory}/file", "w", encoding="ascii") as file:
                file.write("bound\n")
            run("docker", "volume", "create", "-o", "type=none", "-o", f"device={directory}", "-o", "o=bind", "bound")
            self.assertEqual(busybox("-v", "bound:/b", "busybox", "cat", "/b/file"), "bound\n")
            run("docker", "volume", "create", "-o", "type=none", "-o", f"device={directory}", "-o", "o=bind,ro", "read")
            busybox("-v", "read:/b", "busybox", "touch", "/b/x", status=1)
            run("docker", "volume", "prune", "-af")
            self.assertEqual(sorted(volumes()), ["bound", "read"])
            run("docker", "volume", "rm", "bound", "read")
            self.assertEqual(os.listdir(directory), ["file"])
        run("docker", "volume", "create", "-o", "type=none", "-o", "device=/nosuch", "-o", "o=bind", "missing")
        self.assertIn("failed to mount local volume: mount /nosuch:", failure("docker", "run", "--rm", "-v", "missing:/m", "busybox"))
        self.assertEqual(mounted_volumes(), [])

    def test_unmounted_when_nobody_looked(self):
        """The last container ends while the daemon is not there to see it."""
        run("docker", "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "ram")
        run("docker", "run", "-d", "--name", "user", "-v", "ram:/r", "busybox", "sleep", "60")
        pid = json.loads(run("docker", "inspect", "user"))[0]["State"]["Pid"]
        os.kill(int(daemon_pid()), signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
        run("docker", "ps")
        wait_until(lambda: mounted_volumes() == [], what="unmounted")

    # --- other mounts ---

    def test_bind_options(self):
        with tempfile.TemporaryDirectory(dir="/srv") as directory:
            os.makedirs(f"{directory}/below")
            run("mount", "-t", "tmpfs", "tmpfs", f"{directory}/below")
            try:
                script = "touch /m/below/x && echo wrote || echo refused"
                for client in CLIENTS:
                    bind = f"type=bind,src={directory},dst=/m"
                    self.assertIn("wrote", busybox("--mount", bind, "busybox", "sh", "-c", script, client=client))
                    self.assertIn("refused", busybox("--mount", bind + ",ro", "busybox", "sh", "-c", script, client=client))
                    self.assertIn("wrote", busybox("--mount", bind + ",ro,bind-recursive=writable", "busybox", "sh", "-c",
                                                   script, client=client))
                    self.assertIn("refused", busybox("--mount", bind + ",ro,bind-recursive=readonly,bind-propagation=rprivate",
                                                     "busybox", "sh", "-c", script, client=client))
                    self.assertEqual(busybox("--mount", bind + ",bind-recursive=disabled", "busybox", "ls", "/m/below",
                                             client=client), "")
                self.assertIn("bind source path does not exist", failure(
                    "docker", "run", "--rm", "--mount", "type=bind,src=/srv/nosuch,dst=/m", "busybox"))
            finally:
                run("umount", f"{directory}/below")

    def test_propagation(self):
        with tempfile.TemporaryDirectory(dir="/srv") as directory:
            run("mount", "--bind", directory, directory)
            run("mount", "--make-shared", directory)
            os.mkdir(f"{directory}/later")
            try:
                for mode, seen in (("rprivate", False), ("rslave", True), ("rshared", True)):
                    run("docker", "run", "-d", "--name", mode, "-v", f"{directory}:/m:{mode}", "busybox", "sleep", "60")
                    run("mount", "-t", "tmpfs", "tmpfs", f"{directory}/later")
                    text = run("docker", "exec", mode, "cat", "/proc/mounts")
                    self.assertEqual(" /m/later " in text, seen, mode)
                    run("umount", f"{directory}/later")
                run("docker", "run", "--rm", "--privileged", "-v", f"{directory}:/m:rshared", "busybox",
                    "mount", "-t", "tmpfs", "tmpfs", "/m/later")
                with open("/proc/mounts", encoding="utf-8") as table:
                    self.assertIn(f"{directory}/later", table.read())
                run("umount", f"{directory}/later")
            finally:
                remove_all()
                run("umount", directory)

    def test_tmpfs_options(self):
        for client in CLIENTS:
            text = busybox("--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700", "--tmpfs", "/u:size=2m,exec",
                           "busybox", "sh", "-c", "grep -E ' /[tu] ' /proc/mounts; stat -c %a /t", client=client)
            self.assertRegex(text, r"/t tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k,mode=700")
            self.assertRegex(text, r"/u tmpfs rw,nosuid,nodev,relatime,size=2048k")

    # --- what goes wrong ---

    def test_killed_while_filling(self):
        """The daemon and the start die in the middle of a copy; the next start goes on where it ended."""
        run("docker", "create", "--name", "filler", "-v", "half:/usr/lib", "debian:13", "sh", "-c", "find /usr/lib | wc -l")
        wanted = busybox("debian:13", "sh", "-c", "find /usr/lib | wc -l")
        client = subprocess.Popen(["docker", "start", "filler"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: os.path.exists(f"{VOLUMES}/half/populating"), pause=0.001, what="begun")
        run("systemctl", "kill", "-s", "KILL", "berth.service")
        client.wait(timeout=30)
        wait_until(lambda: json.loads(run("docker", "inspect", "filler"))[0]["State"]["Status"] != "running", what="ended")
        if os.path.exists(f"{VOLUMES}/half/populating"):
            self.assertNotEqual(run("sh", "-c", f"find {VOLUMES}/half/_data | wc -l").strip(), wanted.strip())
        self.assertEqual(run("docker", "start", "-a", "filler"), wanted)
        self.assertFalse(os.path.exists(f"{VOLUMES}/half/populating"))

    def test_what_a_crash_left(self):
        os.makedirs(f"{VOLUMES}/.trash/left/_data/deep")
        os.makedirs(f"{VOLUMES}/no-record/_data")
        run("systemctl", "restart", "berth.service")
        self.assertNotIn("no-record", volumes())
        wait_until(lambda: os.listdir(f"{VOLUMES}/.trash") == [], what="swept")
        os.rmdir(f"{VOLUMES}/no-record/_data")
        os.rmdir(f"{VOLUMES}/no-record")
        run("docker", "create", "--name", "user", "-v", "gone:/v", "busybox", "sh", "-c", "touch /v/x; ls /v")
        run("rm", "-r", f"{VOLUMES}/gone")
        self.assertEqual(run("docker", "start", "-a", "user"), "x\n")

    def test_events(self):
        since = str(time.time())
        run("docker", "run", "--rm", "-v", "told:/v:ro", "busybox", "true")
        run("docker", "volume", "rm", "told")
        events = [json.loads(line) for line in run("docker", "events", "--since", since, "--until", str(time.time() + 0.5),
                                                   "--filter", "type=volume", "--format", "{{json .}}").splitlines()]
        self.assertEqual([event["Action"] for event in events], ["create", "mount", "unmount", "destroy"])
        mount = events[1]["Actor"]["Attributes"]
        self.assertEqual((mount["destination"], mount["read/write"], mount["driver"]), ("/v", "false", "local"))

    def test_refused(self):
        for body, text in (
            ({"Binds": ["a:/x:rshared"]}, "field BindOptions must not be specified"),
            ({"Binds": ["name:/"]}, "destination can't be '/'"),
            ({"Binds": ["/foo:rw"]}, "invalid volume specification: '/foo:rw'"),
            ({"Binds": ["one:/a", "two:/a/"]}, "Duplicate mount point: /a"),
            ({"Binds": ["data:/t"], "Tmpfs": {"/t": ""}}, "Duplicate mount point: /t"),
            ({"VolumesFrom": ["nosuch"]}, "No such container: nosuch"),
            ({"VolumeDriver": "nosuch", "Binds": ["data:/d"]}, 'create data: error looking up volume plugin nosuch'),
            ({"Mounts": [{"Type": "volume", "Target": "/m", "ReadOnly": True}]}, "must not set ReadOnly mode when using anonymous"),
            ({"Mounts": [{"Type": "volume", "Source": "v1", "Target": "/m", "BindOptions": {}}]},
             'BindOptions must not be specified on mount type "volume"'),
        ):
            answer = call("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": body})
            self.assertGreaterEqual(answer.status, 400)
            self.assertIn(text, answer.message())
        self.assertEqual(volumes(), [])
        self.assertEqual(os.listdir(RUNTIME), [])


if __name__ == "__main__":
    unittest.main()
