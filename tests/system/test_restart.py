#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Restart policies over the daemon's and the host's lives, and what a boot starts. Runs as root in the host."""
import glob
import json
import os
import shutil
import subprocess
import time
import unittest
import urllib.parse

from hosted import call, daemon_pid, load_images, remove_all, run, wait_until

BERTHD = "/usr/libexec/berth/berthd"


def inspect(name):
    return json.loads(run("docker", "inspect", name))[0]


def status(name):
    return inspect(name)["State"]["Status"]


def events(since, *wanted):
    query = urllib.parse.urlencode({"since": since, "until": f"{time.time():.6f}", "filters": json.dumps({"event": wanted})})
    return call("GET", f"/events?{query}").lines()


def crash_host():
    """All that dies with a host dies: what is left is what a boot finds."""
    run("systemctl", "stop", "berth.service", "berth.socket")
    for scope in glob.glob("/sys/fs/cgroup/berth.slice/*.scope"):
        with open(scope + "/cgroup.kill", "w", encoding="ascii") as kill:
            kill.write("1")
    wait_until(lambda: not glob.glob("/sys/fs/cgroup/berth.slice/*.scope"), what="the end of all scopes")
    for target in run("findmnt", "-rn", "-o", "TARGET").split():
        if target.startswith("/run/berth/"):
            run("umount", target)
    for name in os.listdir("/run/berth"):
        path = f"/run/berth/{name}"
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    run("ip", "link", "del", "docker0", status=None)


def boot():
    run("systemctl", "start", "berth.socket")
    return subprocess.Popen([BERTHD, "--autostart"])


def run_idle(name, *options):
    run("docker", "run", "-d", "--name", name, *options, "busybox", "sleep", "1000")


class Restart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()

    def setUp(self):
        remove_all()

    def tearDown(self):
        run("systemctl", "start", "berth.socket")
        remove_all()

    def started_at_boot(self):
        """In their order, by name."""
        return [event["Actor"]["Attributes"]["name"] for event in events(self.crashed, "start")]

    def crash(self):
        crash_host()
        self.crashed = f"{time.time():.6f}"

    def test_a_pending_restart_holds_the_daemon(self):
        run("docker", "run", "-d", "--name", "loop", "--restart", "always", "busybox", "false")
        wait_until(lambda: inspect("loop")["RestartCount"] >= 5)
        pid = daemon_pid()
        time.sleep(12)
        self.assertEqual(daemon_pid(), pid)
        run("docker", "stop", "loop")
        wait_until(lambda: daemon_pid() == "0", seconds=20, what="the daemon's end")

    def test_a_killed_daemon_owes_the_restart(self):
        run("docker", "run", "-d", "--name", "loop", "--restart", "always", "busybox", "false")
        wait_until(lambda: inspect("loop")["RestartCount"] >= 4)
        for blow in (("systemctl", "kill", "-s", "KILL", "berth.service"), ("systemctl", "restart", "berth.service")):
            wait_until(lambda: inspect("loop")["State"]["Restarting"])
            count = inspect("loop")["RestartCount"]
            run(*blow)
            time.sleep(0.5)
            self.assertGreaterEqual(inspect("loop")["RestartCount"], count)
            wait_until(lambda: inspect("loop")["RestartCount"] > count, seconds=30)

    def test_an_end_while_no_daemon_is_there(self):
        run("docker", "run", "-d", "--name", "alone", "--restart", "always", "busybox", "sleep", "3")
        run("systemctl", "stop", "berth.service")
        self.assertEqual(daemon_pid(), "0")
        time.sleep(5)
        self.assertNotEqual(daemon_pid(), "0")
        self.assertGreaterEqual(inspect("alone")["RestartCount"], 1)

    def test_what_a_boot_starts(self):
        run_idle("always", "--restart", "always")
        run_idle("stopped", "--restart", "always")
        run_idle("unless", "--restart", "unless-stopped")
        run_idle("unless-stopped", "--restart", "unless-stopped")
        run_idle("failing", "--restart", "on-failure")
        run_idle("plain")
        run("docker", "create", "--name", "never", "--restart", "always", "busybox", "sleep", "1000")
        run("docker", "stop", "-t", "0", "stopped", "unless-stopped")
        self.crash()
        self.assertEqual(boot().wait(30), 0)
        self.assertEqual(set(self.started_at_boot()), {"always", "stopped", "unless", "failing"})
        self.assertEqual({name: status(name) for name in ("always", "unless-stopped", "plain", "never")},
                         {"always": "running", "unless-stopped": "exited", "plain": "exited", "never": "created"})

    def test_order(self):
        def compose(service, *depends):
            labels = {"project": "shop", "service": service, "depends_on": ",".join(depends)}
            return [word for key, value in labels.items() for word in ("--label", f"com.docker.compose.{key}={value}")]

        # The other way round than they have to start.
        run_idle("db", "--restart", "always", *compose("db"))
        run_idle("web", "--restart", "always", *compose("web", "db:service_started:false", "cache:service_started:false"))
        run_idle("side", "--restart", "always", "--network", "container:web")
        run_idle("cache", "--restart", "always", *compose("cache", "db:service_started:false"))
        self.crash()
        self.assertEqual(boot().wait(30), 0)
        self.assertEqual(self.started_at_boot(), ["db", "cache", "web", "side"])

    def test_a_circle_starts_all_the_same(self):
        for one, other in (("a", "b"), ("b", "a")):
            run_idle(f"circle-{one}", "--restart", "always", "--label", "com.docker.compose.project=p", "--label",
                     f"com.docker.compose.service={one}", "--label", f"com.docker.compose.depends_on={other}:service_started:false")
        self.crash()
        self.assertEqual(boot().wait(30), 0)
        self.assertEqual(sorted(self.started_at_boot()), ["circle-a", "circle-b"])

    def test_a_bind_source_comes_late(self):
        os.makedirs("/srv/late", exist_ok=True)
        run_idle("bound", "--restart", "always", "-v", "/srv/late:/data")
        run_idle("other", "--restart", "always")
        self.crash()
        os.rmdir("/srv/late")
        waiting = boot()
        wait_until(lambda: self.started_at_boot() == ["other"])
        time.sleep(1.5)
        self.assertEqual(self.started_at_boot(), ["other"])
        self.assertIsNone(waiting.poll())
        os.makedirs("/srv/late")
        self.assertEqual(waiting.wait(5), 0)
        self.assertEqual(status("bound"), "running")

    def test_a_mount_comes_late(self):
        """A mount of fstab's that is not there yet is waited for, though its directory is there."""
        os.makedirs("/srv/mounted", exist_ok=True)
        run_idle("mounted", "--restart", "always", "-v", "/srv/mounted:/data")
        unit = "/run/systemd/system/srv-mounted.mount"
        wants = "/run/systemd/system/local-fs.target.wants"
        os.makedirs(wants, exist_ok=True)
        with open(unit, "w", encoding="ascii") as file:
            file.write("[Mount]\nWhat=tmpfs\nWhere=/srv/mounted\nType=tmpfs\n")
        os.symlink(unit, wants + "/srv-mounted.mount")
        self.addCleanup(run, "systemctl", "daemon-reload")
        self.addCleanup(os.unlink, unit)
        self.addCleanup(os.unlink, wants + "/srv-mounted.mount")
        run("systemctl", "daemon-reload")
        self.crash()
        waiting = boot()
        time.sleep(2.5)
        self.assertEqual(self.started_at_boot(), [])
        run("systemctl", "start", "srv-mounted.mount")
        self.addCleanup(run, "systemctl", "stop", "srv-mounted.mount")
        with open("/srv/mounted/mark", "w", encoding="ascii") as file:
            file.write("it is here")
        self.assertEqual(waiting.wait(5), 0)
        self.assertEqual(run("docker", "exec", "mounted", "cat", "/data/mark"), "it is here")
        run("docker", "rm", "-f", "mounted")

    def test_links(self):
        run_idle("linked", "--restart", "always")
        run_idle("unlinked")
        linked, unlinked = inspect("linked")["Id"], inspect("unlinked")["Id"]
        self.assertEqual(os.readlink(f"/var/lib/berth/autostart/{linked}"), f"../container/{linked}")
        self.assertFalse(os.path.lexists(f"/var/lib/berth/autostart/{unlinked}"))
        run("docker", "rm", "-f", "linked")
        self.assertFalse(os.path.lexists(f"/var/lib/berth/autostart/{linked}"))

    def test_a_boot_without_any_needs_no_daemon(self):
        run_idle("plain")
        self.crash()
        self.assertEqual(boot().wait(10), 0)
        self.assertEqual(daemon_pid(), "0")

    def test_unhealthy_containers_restart_where_wanted(self):
        run("docker", "run", "-d", "--name", "ill", "--label", "berth.health-on-failure=restart", "--health-cmd", "false",
            "--health-interval", "300ms", "--health-retries", "1", "--stop-timeout", "0", "busybox", "sleep", "1000")
        first = inspect("ill")["State"]["StartedAt"]
        wait_until(lambda: inspect("ill")["State"]["StartedAt"] != first and status("ill") == "running")
        run("docker", "rm", "-f", "ill")
        run("docker", "run", "-d", "--name", "killed", "--label", "berth.health-on-failure=kill", "--restart", "on-failure:1",
            "--health-cmd", "false", "--health-interval", "300ms", "--health-retries", "1", "busybox", "sleep", "1000")
        wait_until(lambda: status("killed") == "exited")
        self.assertEqual((inspect("killed")["RestartCount"], inspect("killed")["State"]["ExitCode"]), (1, 137))

    def test_checks_go_on_without_a_daemon(self):
        run("docker", "run", "-d", "--name", "checked", "--health-cmd", "test -e /ok", "--health-interval", "500ms", "--health-retries",
            "1", "busybox", "sleep", "1000")
        wait_until(lambda: inspect("checked")["State"].get("Health", {}).get("Status") == "unhealthy")
        run("systemctl", "stop", "berth.service")
        time.sleep(2)
        self.assertEqual(daemon_pid(), "0", "checks without a change need no daemon")
        since = f"{time.time():.6f}"
        run("touch", f"/run/berth/container/{os.listdir('/run/berth/container')[0]}/rootfs/ok")
        wait_until(lambda: daemon_pid() != "0", what="the daemon's start for the change")
        self.assertIn("(healthy)", run("docker", "ps"))
        wait_until(lambda: events(since, "health_status: healthy"))


unittest.main(verbosity=1)
