#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A reboot with 20 containers under restart policies. Runs as root in a QEMU machine, twice on the same disk: the first
boot makes them, the shutdown stops them, and the second one looks at what became of them."""
import json
import os
import subprocess
import sys
import time
import unittest

MADE = "/var/lib/vm-reboot"
LATE = "10.77.0.1"
SLOW_STOP = "trap 'sleep 4; echo done >/mark/done; exit 0' TERM; sleep 1000 & wait; wait"
# The state that a boot is to find or to make: name, options, what runs in it, whether it is stopped by hand, and whether a
# boot starts it.
IDLE = ("sleep", "1000")


def ends_with(status):
    return ("sh", "-c", f"trap 'exit {status}' TERM; sleep 1000 & wait")


def compose(service, *depends):
    labels = {"project": "shop", "service": service, "depends_on": ",".join(f"{name}:service_started:false" for name in depends)}
    return [word for key, value in labels.items() for word in ("--label", f"com.docker.compose.{key}={value}")]


ALWAYS, UNLESS, FAILURE = (("--restart", policy) for policy in ("always", "unless-stopped", "on-failure"))
# Those that Compose orders are made the other way round.
CONTAINERS = [
    ("always-1", ALWAYS, IDLE, False, True),
    ("always-2", ALWAYS, ends_with(0), False, True),
    ("always-stopped", ALWAYS, ends_with(0), True, True),
    ("unless-1", UNLESS, IDLE, False, True),
    ("unless-2", UNLESS, ends_with(0), False, True),
    ("unless-stopped-1", UNLESS, ends_with(0), True, False),
    ("unless-stopped-2", UNLESS, IDLE, True, False),
    ("failure-1", FAILURE, IDLE, False, True),
    ("failure-2", FAILURE, ends_with(3), False, True),
    ("failure-ended", FAILURE, ("true",), False, False),
    # As with dockerd, what was stopped by hand ended in failure all the same.
    ("failure-stopped", FAILURE, ends_with(3), True, True),
    ("failure-stopped-well", FAILURE, ends_with(0), True, False),
    ("no-1", (), IDLE, False, False),
    ("no-2", (), ends_with(0), False, False),
    ("slow", ("--stop-timeout", "60", "-v", "/srv/mark:/mark"), ("sh", "-c", SLOW_STOP), False, False),
    ("shop-web", (*ALWAYS, *compose("web", "db", "cache")), IDLE, False, True),
    ("shop-cache", (*ALWAYS, *compose("cache", "db")), IDLE, False, True),
    ("shop-db", (*ALWAYS, *compose("db")), IDLE, False, True),
    ("late", (*ALWAYS, "-p", f"{LATE}:8080:80"), IDLE, False, True),
    ("healthy", (*ALWAYS, "--health-cmd", "test -e /etc/passwd", "--health-interval", "5s"), IDLE, False, True),
]


def run(*command, status=0):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=200, check=False)
    if status is not None and result.returncode != status:
        raise AssertionError(f"{command}: exit {result.returncode}, {result.stdout!r} {result.stderr!r}")
    return result.stdout.decode()


def inspect():
    """All containers by name."""
    found = json.loads(run("berth", "inspect", *run("berth", "ps", "-aq", "--no-trunc").split()))
    return {container["Name"][1:]: container for container in found}


def wait_for(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(1)


def make():
    run("systemd-sysusers")
    run("systemd-tmpfiles", "--create", "berth.conf")
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--now", "berth.socket")
    run("berth", "load", "-i", "/var/lib/vm/busybox.tar")
    os.makedirs("/srv/mark")
    run("ip", "address", "add", f"{LATE}/32", "dev", "lo")
    for name, options, command, stopped, _ in CONTAINERS:
        network = () if "-p" in options else ("--network", "none")
        # A short stop timeout for those that do not listen to SIGTERM.
        timeout = () if "--stop-timeout" in options else ("--stop-timeout", "1")
        run("berth", "run", "-d", "--name", name, *network, *timeout, *options, "busybox", *command)
        if stopped:
            run("berth", "stop", name)
    wait_for("the end of the short one", lambda: inspect()["failure-ended"]["State"]["Status"] == "exited")
    assert len(CONTAINERS) == 20
    running = sorted(name for name, container in inspect().items() if container["State"]["Running"])
    assert running == sorted(name for name, _, command, stopped, _ in CONTAINERS if not stopped and command != ("true",)), running
    os.sync()
    with open(MADE, "w", encoding="ascii") as file:
        json.dump({name: container["State"]["StartedAt"] for name, container in inspect().items()}, file)
    print("20 containers made, now the machine goes down", flush=True)


class Rebooted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(MADE, encoding="ascii") as file:
            cls.before = json.load(file)

    def test_1_the_late_address_is_waited_for(self):
        """And holds up nobody else."""
        others = {name for name, *_, starts in CONTAINERS if starts and name != "late"}
        wait_for("all others run", lambda: others <= {name for name, found in inspect().items() if found["State"]["Running"]})
        self.assertFalse(inspect()["late"]["State"]["Running"])
        run("ip", "address", "add", f"{LATE}/32", "dev", "lo")
        wait_for("the late one runs", lambda: inspect()["late"]["State"]["Running"])
        self.assertIn(f"{LATE}:8080->80/tcp", run("berth", "ps", "--filter", "name=late"))

    def test_2_those_that_are_due_run(self):
        found = inspect()
        self.assertEqual(sorted(found), sorted(name for name, *_ in CONTAINERS))
        for name, _, _, _, starts in CONTAINERS:
            with self.subTest(name):
                self.assertEqual(found[name]["State"]["Running"], starts)
                self.assertEqual(found[name]["State"]["StartedAt"] != self.before[name], starts)
                self.assertEqual(found[name]["RestartCount"], 0)
                if starts:
                    unit = f"berth-{found[name]['Id']}.scope"
                    self.assertEqual(run("systemctl", "is-active", unit).strip(), "active")

    def test_3_in_the_order_of_compose(self):
        found = inspect()
        started = [found[f"shop-{name}"]["State"]["StartedAt"] for name in ("db", "cache", "web")]
        self.assertEqual(started, sorted(started))

    def test_4_health_is_looked_at(self):
        wait_for("a healthy container", lambda: inspect()["healthy"]["State"]["Health"]["Status"] == "healthy")

    def test_5_the_shutdown_was_orderly(self):
        """Each had its stop signal and its time; how it ended is known."""
        found = inspect()
        self.assertTrue(os.path.exists("/srv/mark/done"))
        # The last one does not listen.
        self.assertEqual({name: found[name]["State"]["ExitCode"] for name in ("slow", "no-2", "failure-ended", "no-1")},
                         {"slow": 0, "no-2": 0, "failure-ended": 0, "no-1": 137})

    def test_6_and_everything_can_go(self):
        run("berth", "rm", "-f", *(name for name, *_ in CONTAINERS))
        units = run("systemctl", "list-units", "--plain", "--no-legend", "berth-*.scope").splitlines()
        self.assertEqual([unit for unit in units if not unit.endswith("Room for the next container")], [])
        self.assertEqual(os.listdir("/var/lib/berth/autostart"), [])


if __name__ == "__main__":
    if os.path.exists(MADE):
        unittest.main(verbosity=2, testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
    make()
